//! What one MachineRestore asks, checked against the backup it names, and its design against what
//! is there.

use std::net::IpAddr;

use dc_crds::machine_restore::Identity;
use dc_crds::restore::RepositorySnapshot;
use dc_crds::vm::Interface;
use dc_types::claim::{ManifestClaim, keys};
use dc_types::plan::RepositoryAccess;
use dc_types::{Bytes, HostName, Mac, SubnetUid};

use super::design::Design;
use super::{Around, Seen, objects};
use crate::claims::Claimed;
use crate::object;
use crate::quota::Asker;
use crate::quota::wish::{Exposed, MachineSize, of_machine};
use crate::volume::Named;
use crate::words::{BackupFact, Fact, MachineRestoreFact};

/// Who is asked for the manifest.
pub(super) fn validate(seen: &Seen<'_>) -> Result<ManifestClaim, Fact> {
    let (repository, snapshot_id, reader) = source(seen).map_err(Fact::Backup)?;
    let named = seen.restore.spec.pool.as_ref();
    // The pool's host writes the volumes: it reaches the repository, or nothing comes back there.
    let host = match (named, seen.pool) {
        (Some(pool), None) => {
            return Err(Fact::MachineRestore(MachineRestoreFact::NoLonger {
                what: "StoragePool",
                name: pool.clone(),
                field: "pool",
            }));
        }
        (Some(_), Some(pool)) => pool.spec.driver.host().map(str::to_owned),
        (None, _) => reader,
    };
    let host = host.and_then(|host| HostName::new(host).ok());
    let Some(host) = host else {
        return Err(Fact::MachineRestore(MachineRestoreFact::NoReader));
    };
    match seen.repository {
        None => Err(Fact::Backup(BackupFact::RepositoryMissing { repository })),
        Some(found) => match found.access {
            Err(fact) => Err(Fact::Backup(fact.clone())),
            Ok(_) => Ok(ManifestClaim {
                owner: seen.me.clone(),
                host,
                repository,
                snapshot_id,
            }),
        },
    }
}

/// The repository, the snapshot in it, and the host that has written it.
fn source(seen: &Seen<'_>) -> Result<(String, String, Option<String>), BackupFact> {
    let spec = &seen.restore.spec;
    if let Some(RepositorySnapshot { repository, id }) = &spec.snapshot {
        return Ok((repository.clone(), id.clone(), None));
    }
    let name = spec.backup.clone().unwrap_or_default();
    let Some(found) = seen.backup else {
        return Err(BackupFact::BackupMissing { backup: name });
    };
    let status = found.status.clone().unwrap_or_default();
    match status.snapshot_id {
        Some(id) => Ok((found.spec.repository.clone(), id, status.host)),
        None => Err(BackupFact::BackupNotDone { backup: name }),
    }
}

/// Everything that keeps a design from being built; asked before anything of it is made.
pub(super) fn fits(seen: &Seen<'_>, design: &Design, around: &Around<'_>) -> Result<(), Vec<Fact>> {
    let mut wrong = missing(design, around);
    wrong.extend(taken(seen, design, around));
    if wrong.is_empty() {
        wrong.extend(over_quota(seen, design, around));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong),
    }
}

fn no_longer(what: &'static str, name: &str, field: &'static str) -> Fact {
    Fact::MachineRestore(MachineRestoreFact::NoLonger {
        what,
        name: name.to_owned(),
        field,
    })
}

/// What the machine needs and is not there.
fn missing(design: &Design, around: &Around<'_>) -> Vec<Fact> {
    let mut wrong = Vec::new();
    if around.system == Named::Absent {
        wrong.push(no_longer(
            "InformationSystem",
            &design.spec.system,
            "system",
        ));
    }
    if around.class.is_none() {
        wrong.push(no_longer("MachineClass", &design.spec.class, "class"));
    }
    let mut pools: Vec<&str> = design
        .volumes
        .iter()
        .map(|of| of.to.pool.as_str())
        .collect();
    pools.sort_unstable();
    pools.dedup();
    let gone = pools
        .iter()
        .filter(|pool| !around.pools.contains_key(**pool));
    wrong.extend(gone.map(|pool| no_longer("StoragePool", pool, "pool")));
    let mut subnets: Vec<&str> = design
        .spec
        .interfaces
        .iter()
        .map(|of| of.subnet.as_str())
        .collect();
    subnets.sort_unstable();
    subnets.dedup();
    let gone = subnets
        .iter()
        .filter(|name| !around.subnets.contains_key(**name));
    wrong.extend(gone.map(|name| no_longer("Subnet", name, "subnets")));
    wrong
}

/// Names and addresses that others have.
fn taken(seen: &Seen<'_>, design: &Design, around: &Around<'_>) -> Vec<Fact> {
    let mut wrong = Vec::new();
    wrong.extend(machine_taken(seen, design, around).map(Fact::MachineRestore));
    for volume in &design.volumes {
        let there = around.volumes.get(&volume.to.name);
        if there.is_some_and(|of| of.spec.source.restore.as_ref() != Some(&volume.restore)) {
            wrong.push(Fact::MachineRestore(MachineRestoreFact::VolumeTaken {
                was: volume.was.clone(),
                volume: volume.to.name.clone(),
            }));
        }
    }
    for interface in &design.spec.interfaces {
        wrong.extend(addresses_taken(seen, interface, around));
    }
    wrong
}

/// Whether another machine has the name of the one to be built.
pub(super) fn machine_taken(
    seen: &Seen<'_>,
    design: &Design,
    around: &Around<'_>,
) -> Option<MachineRestoreFact> {
    let there = around.machine?;
    let machine = design.name.clone();
    match (
        objects::is_built_by(there, seen),
        seen.restore.spec.identity,
    ) {
        (true, _) => None,
        (false, Identity::Copy) => Some(MachineRestoreFact::MachineTaken { machine }),
        (false, Identity::Same) => Some(MachineRestoreFact::MachineRemains { machine }),
    }
}

fn addresses_taken(seen: &Seen<'_>, interface: &Interface, around: &Around<'_>) -> Vec<Fact> {
    let subnet = around.subnets.get(&interface.subnet);
    let subnet = subnet.and_then(|subnet| object::uid(&subnet.metadata));
    let mac = interface
        .mac
        .as_ref()
        .and_then(|mac| mac.parse::<Mac>().ok());
    let mac = mac.map(|mac| (mac.to_string(), keys::mac(mac)));
    let v4 = interface.ipv4.map(IpAddr::V4);
    let addresses = v4.into_iter().chain(interface.ipv6.map(IpAddr::V6));
    let addresses = addresses.filter_map(|address| {
        let key = keys::address(SubnetUid(subnet?.0), address);
        Some((address.to_string(), key))
    });
    let held = mac.into_iter().chain(addresses);
    let held = held.filter_map(|(what, key)| {
        let (by, _) = seen.claims.held.get(&key)?;
        let mut vms = seen.claims.vms.values();
        let vm = vms.find(|vm| vm.value.owner.uid == by.holder);
        Some(Fact::MachineRestore(MachineRestoreFact::AddressTaken {
            what,
            by: vm.map(|vm| vm.value.owner.name.clone()),
        }))
    });
    held.collect()
}

/// All of it at once: half a machine helps nobody.
fn over_quota(seen: &Seen<'_>, design: &Design, around: &Around<'_>) -> Option<Fact> {
    let class = &around.class?.spec;
    let memory = class.memory.parse::<Bytes>().unwrap_or_default();
    let size = MachineSize {
        vcpus: class.vcpus,
        memory: memory.to_mib(),
        exposed: Exposed::of(&design.spec.interfaces),
    };
    let mut asks = of_machine(size, None);
    for volume in &design.volumes {
        if let Some(thing) = seen.allowance.storage(&volume.to.pool) {
            asks.add(thing, volume.size.0);
        }
    }
    let allowed = seen.allowance.check(seen.claims, Asker::of(seen.me), &asks);
    allowed.err()
}

/// What opens the repository that is claimed.
pub(super) fn access<'a>(
    seen: &Seen<'a>,
    claim: &Claimed<ManifestClaim>,
) -> Result<&'a RepositoryAccess, Fact> {
    match seen.repository.map(|found| found.access) {
        Some(Ok(access)) => Ok(access),
        Some(Err(fact)) => Err(Fact::Backup(fact.clone())),
        None => Err(Fact::Backup(BackupFact::RepositoryMissing {
            repository: claim.value.repository.clone(),
        })),
    }
}
