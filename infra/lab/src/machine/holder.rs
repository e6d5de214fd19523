//! The process that is a machine: it makes the namespaces, prepares them and keeps them alive.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use uuid::Uuid;

use crate::lab::Lab;
use crate::process::{self, Identity, Spec};
use crate::wait::{self, Look};

use super::MachineSpec;
use super::inhabitants::mark;

/// A second at most on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// The running holder of a machine; `None` when the machine is off.
pub(super) fn running(lab: &Lab, machine: &str) -> Result<Option<Identity>> {
    process::running(lab, machine)
}

/// Starts the holder, if it does not run, and waits until the machine is prepared.
pub(super) async fn ensure(lab: &Lab, spec: &MachineSpec, disk: &Path) -> Result<Identity> {
    // A holder that runs is never restarted, whatever has changed: that would be a power cut.
    let holder = match running(lab, &spec.name)? {
        Some(holder) => holder,
        None => start(lab, spec, disk)?,
    };
    let ready = root_of(holder.pid).join("run/dc-machine/ready");
    wait::until(
        &format!("machine {} to be up", spec.name),
        DEADLINE,
        async || {
            if ready.exists() {
                Look::Holds(())
            } else if holder.is_alive() {
                Look::NotYet("its namespaces are being prepared".to_owned())
            } else {
                Look::Never(anyhow!("it ended: {}", process::tail(lab, &spec.name)))
            }
        },
    )
    .await?;
    Ok(holder)
}

fn start(lab: &Lab, spec: &MachineSpec, disk: &Path) -> Result<Identity> {
    // What a former life left must be forgotten, or its record would pass for this one's.
    process::stop(lab, &spec.name)?;
    let machine_id = Uuid::new_v5(&lab.id(), spec.name.as_bytes()).simple();
    let holder = Spec::new(&spec.name, "unshare")
        .args([
            "--mount",
            "--net",
            "--uts",
            "--propagation",
            "private",
            "--",
        ])
        .args(["sh", "-c", include_str!("setup.sh"), "machine"])
        .args([mark(lab, &spec.name), spec.name.clone()])
        .arg(disk.display().to_string())
        .arg(machine_id.to_string());
    match process::ensure(lab, &holder)? {
        process::Ensured::Kept(id)
        | process::Ensured::Started(id)
        | process::Ensured::Restarted(id) => Ok(id),
    }
}

/// The machine's file system as it is seen from outside.
pub(super) fn root_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root"))
}
