//! What one RestoreProof asks, checked against the backup and what it is booted with.

use dc_crds::proof::{RestoreProofSpec, Trial, TriedVolume};
use dc_crds::volume::EraseMethod;
use dc_crds::{Backup, BackupStatus};

use super::{Seen, sandbox_name};
use crate::object::{self, Life};
use crate::vm;
use crate::volume::destruction;
use crate::words::{BackupFact, Fact, ProofFact};

/// All that is tried; or all that keeps it from being.
pub(super) fn validate(seen: &Seen<'_>) -> Result<Trial, Vec<Fact>> {
    let RestoreProofSpec {
        backup: name,
        pool,
        class,
        firmware,
        probes: _,
        restore_seconds: _,
        boot_seconds: _,
        why: _,
    } = &seen.proof.spec;
    let one = |fact| vec![Fact::Backup(fact)];
    let missing = || BackupFact::BackupMissing {
        backup: name.clone(),
    };
    let backup = seen.backup.ok_or_else(|| one(missing()))?;
    let status = backup.status.clone().unwrap_or_default();
    let snapshot_id = status.snapshot_id.clone().ok_or_else(|| {
        one(BackupFact::BackupNotDone {
            backup: name.clone(),
        })
    })?;
    let mut wrong = Vec::new();
    let machine = seen
        .vm
        .filter(|vm| object::life(&vm.metadata) == Life::Wanted);
    let mut named = |what: &str, own: Option<String>, given: Option<&String>| {
        let found = given.cloned().or(own);
        if found.is_none() {
            wrong.push(Fact::Proof(ProofFact::MachineGone {
                vm: backup.spec.vm.clone(),
                field: what.to_owned(),
            }));
        }
        found.unwrap_or_default()
    };
    let class = named(
        "class",
        machine.map(|vm| vm.spec.class.clone()),
        class.as_ref(),
    );
    let pool = named("pool", first_pool(seen, &status), pool.as_ref());
    let booted = machine.map(|vm| vm.spec.firmware);
    let firmware = firmware.or(booted).unwrap_or_else(|| {
        named("firmware", None, None);
        dc_crds::vm::FirmwareKind::default()
    });
    if seen.class.is_none() && !class.is_empty() {
        wrong.push(Fact::ClassMissing {
            class: class.clone(),
        });
    }
    match seen.pool {
        None if pool.is_empty() => {}
        None => wrong.push(Fact::PoolMissing { pool: pool.clone() }),
        // What is a party body's must not come to lie in another's storage, not even for an hour.
        Some(found) if found.spec.owner_class != seen.owner_class => {
            wrong.push(Fact::ClassDiffers {
                pool: pool.clone(),
                pool_class: found.spec.owner_class.name(),
                department: seen.me.namespace.clone(),
                class: seen.owner_class.name(),
            });
        }
        Some(_) => {}
    }
    if status.volumes.is_empty() {
        wrong.push(Fact::Backup(BackupFact::BackupWithoutVolume {
            backup: name.clone(),
            volume: "any".to_owned(),
            has: Vec::new(),
        }));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Trial {
        backup_uid: backup.metadata.uid.clone().unwrap_or_default(),
        repository: backup.spec.repository.clone(),
        snapshot_id,
        taken_at: status.taken_at.clone(),
        sandbox: sandbox_name(seen.me),
        pool,
        class,
        firmware,
        volumes: volumes(seen, backup, &status),
        host: None,
    })
}

/// The volumes of the backup, in the order in which the machine has them today: it boots from the
/// first. Those that it does not have any more come last.
fn volumes(seen: &Seen<'_>, backup: &Backup, status: &BackupStatus) -> Vec<TriedVolume> {
    let disks = seen.vm.iter().flat_map(|vm| &vm.spec.disks);
    let order: Vec<String> = disks
        .map(|disk| vm::volume_name(&backup.spec.vm, disk))
        .collect();
    let mut volumes: Vec<TriedVolume> = status
        .volumes
        .iter()
        .map(|volume| TriedVolume {
            volume: volume.volume.clone(),
            file: volume.file.clone(),
            size: volume.size.clone(),
            erase_method: match seen.volumes.get(&volume.volume) {
                // What is tried is not encrypted.
                Some(volume) if !destruction::is_asked(&volume.spec) => volume.spec.erase_method,
                Some(_) | None => EraseMethod::default(),
            },
            sha256: None,
        })
        .collect();
    volumes.sort_by_key(|volume| {
        let at = order.iter().position(|name| *name == volume.volume);
        at.unwrap_or(usize::MAX)
    });
    volumes
}

/// Where the first of the volumes lies that is still there.
fn first_pool(seen: &Seen<'_>, status: &BackupStatus) -> Option<String> {
    let mut names = status.volumes.iter().map(|volume| &volume.volume);
    let volume = names.find_map(|name| seen.volumes.get(name))?;
    Some(volume.spec.pool.clone())
}

/// The pool and the class that would be used, to be read before they are checked.
#[must_use]
pub fn names(seen_vm: Option<&dc_crds::VirtualMachine>, spec: &RestoreProofSpec) -> Option<String> {
    let own = || Some(seen_vm?.spec.class.clone());
    spec.class.clone().or_else(own)
}
