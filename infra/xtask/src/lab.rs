//! The small commands on a lab that is there.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use dc_lab::inventory::Size;
use dc_lab::kubectl::Kubectl;
use dc_lab::lab::{Lab, LabName};
use dc_lab::machine::Machine;
use dc_lab::wires::Outside;
use dc_lab::{machines, progress, remains, teardown};

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
    let (_, kubectl) = open_with_cluster(name)?;
    Err(kubectl.command().args(args).exec()).context("cannot run kubectl")
}

/// Becomes `virsh console` on the machine that carries the guest.
pub fn run_console(name: &LabName, vm: &str) -> Result<()> {
    let (lab, kubectl) = open_with_cluster(name)?;
    let (namespace, vm_name) = vm.split_once('/').with_context(|| {
        format!("{vm}: name the machine as NAMESPACE/NAME, such as vp-ubnd/a01-web-1")
    })?;
    let get = [
        "get",
        "virtualmachine",
        vm_name,
        "--namespace",
        namespace,
        "--ignore-not-found",
    ];
    let found = kubectl.run(&[&get[..], &["--output", "json"]].concat())?;
    if found.trim().is_empty() {
        bail!(
            "there is no VirtualMachine {vm}; `cargo xtask kubectl --name {name} get vm -A` lists them"
        );
    }
    let object: serde_json::Value = serde_json::from_str(&found)?;
    let field = |pointer: &str| object.pointer(pointer).and_then(|value| value.as_str());
    let host = field("/status/host").with_context(|| format!("{vm} is on no host yet"))?;
    let domain = field("/status/instanceId").with_context(|| format!("{vm} has no id yet"))?;
    let uri = find_machine(&lab, host)?.libvirt_uri();
    let mut virsh = Command::new("virsh");
    Err(virsh
        .args(["--connect", &uri, "console", domain, "--force"])
        .exec())
    .context("cannot run virsh")
}

/// Becomes the command, or a shell, in the machine's namespaces.
pub fn run_shell(name: &LabName, host: &str, command: &[String]) -> Result<()> {
    let lab = open(name)?;
    let (program, args) = match command {
        [] => ("/bin/bash", [].as_slice()),
        [program, args @ ..] => (program.as_str(), args),
    };
    let mut command = match host {
        OUTSIDE => Outside::ensure(&lab)?.command(program),
        host => find_machine(&lab, host)?.command(program),
    };
    Err(command.args(args).exec()).with_context(|| format!("cannot run {program}"))
}

/// The world outside of the data centre, as a machine to run commands on.
const OUTSIDE: &str = "outside";

fn find_machine(lab: &Lab, host: &str) -> Result<Machine> {
    let specs = machines::specs(Size::MACHINES);
    let spec = specs
        .iter()
        .find(|spec| spec.name == host)
        .with_context(|| {
            let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
            format!(
                "{host} is neither {OUTSIDE} nor one of the machines: {}",
                names.join(", ")
            )
        })?;
    Machine::find(lab, spec)?.with_context(|| format!("{host} is not up"))
}

fn open(name: &LabName) -> Result<Lab> {
    Lab::open(name)?.with_context(|| format!("there is no lab {name}; `cargo xtask up` makes it"))
}

pub fn open_with_cluster(name: &LabName) -> Result<(Lab, Kubectl)> {
    let lab = open(name)?;
    let kubectl = State::read(&lab)?.as_ref().and_then(kubectl_of);
    let kubectl = kubectl.with_context(|| format!("the lab {name} has no cluster yet"))?;
    Ok((lab, kubectl))
}
