//! The small commands on a lab that is there.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result, bail};
use dc_lab::kubectl::Kubectl;
use dc_lab::lab::{Lab, LabName};
use dc_lab::{progress, remains, teardown};

use crate::state::State;

pub fn take_down(name: &LabName) -> Result<()> {
    let Some(lab) = Lab::open(name)? else {
        progress::note(format!("there is no lab {name} in this work tree"));
        return Ok(());
    };
    let _lock = lab.lock()?;
    let step = progress::step(format!("taking the lab {name} down"));
    teardown::remove(&lab)?;
    let remains = remains::find(&lab)?;
    if !remains.is_empty() {
        bail!(
            "something of the lab {name} is still there:\n  {}",
            remains.join("\n  ")
        );
    }
    step.done("nothing of it is left");
    Ok(())
}

pub fn kubectl_of(state: &State) -> Option<Kubectl> {
    Some(Kubectl::new(
        state.kubectl.as_deref()?,
        state.kubeconfig.as_deref()?,
    ))
}

/// Becomes kubectl.
pub fn run_kubectl(name: &LabName, args: &[String]) -> Result<()> {
    let lab = Lab::open(name)?.with_context(|| format!("there is no lab {name}; `up` makes it"))?;
    let state = State::read(&lab)?;
    let kubectl = state.as_ref().and_then(kubectl_of);
    let kubectl = kubectl.with_context(|| format!("the lab {name} has no cluster yet"))?;
    Err(kubectl.command().args(args).exec()).context("cannot run kubectl")
}
