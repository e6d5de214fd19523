//! The machines of the embedded data centre, with their agents: made, joined, ready.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::agents::{self, Pool};
use crate::cargo::Programs;
use crate::ceph::{Ceph, CephSpec};
use crate::control_plane::ControlPlane;
use crate::images::{BuiltImage, GuestImage};
use crate::inventory::{self, HostRole, Size, Storage};
use crate::join;
use crate::kubectl::Kubectl;
use crate::lab::Lab;
use crate::machine::{Machine, MachineSpec};
use crate::san::SanSpec;
use crate::simulated::FIELD_MANAGER;
use crate::status;
use crate::wait::{self, Look};
use crate::{process, progress};

/// The first machine's number on the networks.
const FIRST_NUMBER: u8 = 11;

const READY_DEADLINE: Duration = Duration::from_secs(180);

/// The machines of a size, numbered in the order of the inventory.
pub fn specs(size: Size) -> Vec<MachineSpec> {
    let numbered = size.hosts().into_iter().zip(FIRST_NUMBER..);
    numbered
        .map(|(host, number)| {
            let spec = MachineSpec::new(host.name, number, host.role);
            match (host.role, host.pool) {
                (HostRole::Compute, Some(_)) => spec.with_pool(SanSpec::FOLDER),
                (HostRole::Compute | HostRole::Storage | HostRole::Gateway, _) => spec,
            }
        })
        .collect()
}

/// Boots what is off, starts what has died, and waits until every host is ready. The operator has
/// to be running.
pub async fn ensure(
    plane: &ControlPlane,
    programs: &Programs,
    size: Size,
    storage: Storage,
    images: &[(GuestImage, BuiltImage)],
) -> Result<Vec<Machine>> {
    let (lab, kubectl) = (plane.lab(), plane.kubectl()?);
    let specs = specs(size);
    let step = progress::step(format!("starting {} machines", specs.len()));
    // Most of a boot is waiting for libvirt to look around, which each machine may do at once.
    let boots = specs.iter().map(|spec| Machine::ensure(lab, spec));
    let machines = futures::future::try_join_all(boots).await?;
    step.done("they are up");
    let clusters = ensure_ceph(&machines, storage).await?;
    let step = progress::step("joining the hosts");
    kubectl.apply_text(
        &inventory::render_hosts(&size.hosts(), storage).to_string(),
        FIELD_MANAGER,
    )?;
    let names: Vec<String> = machines
        .iter()
        .map(|machine| machine.name().to_owned())
        .collect();
    let joins = lab.subfolder("joins")?;
    join::fetch(&kubectl, &names, &joins).await?;
    for (machine, host) in machines.iter().zip(size.hosts()) {
        let pool = host.pool.map(|name| match clusters.get(machine.name()) {
            Some(ceph) => Pool::Ceph { name, ceph },
            None if host.role == HostRole::Compute => Pool::Directory { name },
            None => Pool::Folder { name },
        });
        agents::ensure(machine, pool, &programs.agent, &joins)?;
    }
    wait_hosts_ready(lab, &kubectl, &machines).await?;
    step.done("all are ready");
    ensure_images(&kubectl, &machines, size, images)?;
    Ok(machines)
}

/// A cluster on each storage machine, by the machine's name.
async fn ensure_ceph(machines: &[Machine], storage: Storage) -> Result<BTreeMap<String, Ceph>> {
    let mut clusters = BTreeMap::new();
    if storage == Storage::Rbd {
        for machine in machines {
            if machine.spec().roles.contains(&HostRole::Storage) {
                let ceph = Ceph::ensure(machine, &CephSpec::default()).await?;
                clusters.insert(machine.name().to_owned(), ceph);
            }
        }
    }
    Ok(clusters)
}

async fn wait_hosts_ready(lab: &Lab, kubectl: &Kubectl, machines: &[Machine]) -> Result<()> {
    wait::until(
        "all hosts to be ready",
        READY_DEADLINE,
        async || match status::read_unready(kubectl, "hosts") {
            Ok(unready) if unready.is_empty() => Look::Holds(()),
            Ok(unready) => Look::NotYet(format!("{}{}", unready.join("; "), silent(lab, machines))),
            Err(error) => Look::NotYet(format!("{error:#}")),
        },
    )
    .await
}

/// The ends of the logs of agents that do not run.
fn silent(lab: &Lab, machines: &[Machine]) -> String {
    let names = machines.iter().map(agents::process_name);
    let dead = names.filter(|name| !matches!(process::working(lab, name), Ok(Some(_))));
    dead.map(|name| format!("\n{name} has ended; {}", process::tail(lab, &name)))
        .collect()
}

/// Images are immutable: one that is there already is kept, even if this program would now build
/// another one.
fn ensure_images(
    kubectl: &Kubectl,
    machines: &[Machine],
    size: Size,
    images: &[(GuestImage, BuiltImage)],
) -> Result<()> {
    let there = kubectl.list("images.dc.sonla.gov.vn")?;
    for (image, built) in images {
        let same_name = there
            .iter()
            .find(|found| found["metadata"]["name"] == image.name());
        match same_name {
            Some(found) if found["spec"]["sha256"] == built.sha256 => {}
            Some(_) => progress::note(format!(
                "the lab keeps the image {} it was made with; the recipe has changed since",
                image.name()
            )),
            None => {
                make_image(kubectl, machines, size, *image, built)
                    .with_context(|| format!("cannot make the image {}", image.name()))?;
            }
        }
    }
    Ok(())
}

fn make_image(
    kubectl: &Kubectl,
    machines: &[Machine],
    size: Size,
    image: GuestImage,
    built: &BuiltImage,
) -> Result<()> {
    let mut entry = None;
    for machine in machines {
        // Where a pool is, whoever adds it to an image's pools finds the file.
        if machine.spec().pool.is_some() {
            entry = Some(agents::ensure_image(machine, image, built)?);
        }
    }
    let entry = entry.context("there is no storage machine to hold it")?;
    let mut pools = size.pools();
    if image == GuestImage::Tiny {
        // Each pool unpacks its own copy, which for a large image takes both cores for a while.
        pools.extend(size.folders());
    }
    kubectl.apply_text(
        &inventory::render_image(&entry, &pools).to_string(),
        FIELD_MANAGER,
    )
}
