//! What one Backup asks, checked against the machine, the repository and the other backups.

use std::collections::BTreeSet;

use dc_types::HostName;
use dc_types::claim::{
    BackupBase, BackupClaim, BackupState, BackupVolumeClaim, Makes, SnapshotClaim, SnapshotState,
};

use super::{Made, Seen, manifest};
use crate::claims::Claimed;
use crate::object::{self, Life};
use crate::snapshot::{self, Target};
use crate::vm;
use crate::words::{BackupFact, EncryptionFact, Fact};

/// The claim of a run that may begin; or all that keeps it from it.
pub(super) fn validate(seen: &Seen<'_>) -> Result<BackupClaim, Vec<Fact>> {
    let name = &seen.backup.spec.vm;
    let Some(vm) = seen.vm else {
        return Err(vec![Fact::SnapshotTargetMissing {
            what: format!("vm/{name}"),
        }]);
    };
    let mut wrong = Vec::new();
    if object::life(&vm.metadata) == Life::Deleting {
        let vm = name.clone();
        wrong.push(Fact::Backup(BackupFact::MachineDeleting { vm }));
    }
    match seen.repository {
        None => wrong.push(Fact::Backup(BackupFact::RepositoryMissing {
            repository: seen.backup.spec.repository.clone(),
        })),
        Some(found) => {
            let fact = found.access.err();
            wrong.extend(fact.map(|fact| Fact::Backup(fact.clone())));
        }
    }
    let volumes = volumes(seen);
    wrong.extend(encrypted(seen, &volumes));
    let host = one_host(seen, &volumes).map_err(|fact| wrong.extend(fact));
    let Some(vm_ref) = object::object_ref(&vm.metadata) else {
        return Err(vec![Fact::Creating]);
    };
    let vm = vm::id(&vm_ref);
    if let Some(other) = seen
        .claims
        .backups_of(vm)
        .find(|other| is_running(other) && other.value.repository == seen.backup.spec.repository)
    {
        wrong.push(Fact::Backup(BackupFact::Waits {
            by: other.value.owner.name.clone(),
        }));
    }
    let makes = makes(seen).map_err(|fact| wrong.push(fact));
    match (host, makes, wrong.is_empty()) {
        (Ok(host), Ok(makes), true) => Ok(BackupClaim {
            owner: seen.me.clone(),
            vm,
            machine: name.clone(),
            repository: seen.backup.spec.repository.clone(),
            host,
            volumes,
            base: base(seen, vm),
            makes,
            manifest: manifest::manifest(seen),
            state: BackupState::Running,
        }),
        _ => Err(wrong),
    }
}

pub(super) fn is_running(claim: &Claimed<BackupClaim>) -> bool {
    claim.value.state == BackupState::Running
}

fn volumes(seen: &Seen<'_>) -> Vec<BackupVolumeClaim> {
    let targets = match seen.target {
        Target::Volumes(targets) => targets,
        Target::Absent => &[],
    };
    let found = targets.iter().filter_map(|target| {
        let uid = object::uid(&target.volume?.metadata)?;
        Some(BackupVolumeClaim {
            volume: dc_types::InstanceId(uid.0),
            name: target.name.clone(),
        })
    });
    found.collect()
}

/// The volumes whose bytes open by a key that is not in the backup.
fn encrypted(seen: &Seen<'_>, volumes: &[BackupVolumeClaim]) -> Option<Fact> {
    let is_encrypted = |volume: &&BackupVolumeClaim| {
        let claim = seen.claims.volumes.get(&volume.volume);
        claim.is_some_and(|claim| !claim.value.cipher.is_plain())
    };
    let found = volumes.iter().filter(is_encrypted);
    let volumes: Vec<String> = found.map(|volume| volume.name.clone()).collect();
    match volumes.is_empty() {
        true => None,
        false => Some(Fact::Encryption(EncryptionFact::EncryptedNotBackedUp {
            volumes,
        })),
    }
}

/// The one storage host that has them all; whatever else is wrong with one of them the group says.
fn one_host(seen: &Seen<'_>, volumes: &[BackupVolumeClaim]) -> Result<HostName, Option<Fact>> {
    let claimed = volumes
        .iter()
        .filter_map(|volume| seen.claims.volumes.get(&volume.volume));
    let hosts: BTreeSet<&HostName> = claimed.map(|claim| &claim.value.host).collect();
    let mut one = hosts.iter();
    match (one.next(), one.next()) {
        (Some(&host), None) => Ok(host.clone()),
        (Some(_), Some(_)) => Err(Some(Fact::Backup(BackupFact::HostsApart {
            hosts: hosts.iter().map(ToString::to_string).collect(),
        }))),
        (None, _) => Err(None),
    }
}

/// Whether it makes the department's repository. One at a time may, until a backup is done there: a
/// place that is not mounted is else taken for a new one, and a department has two halves.
fn makes(seen: &Seen<'_>) -> Result<Makes, Fact> {
    let there = seen.claims.backups.values().filter(|other| {
        other.value.owner.namespace == seen.me.namespace
            && other.value.repository == seen.backup.spec.repository
    });
    let mut making = None;
    for other in there {
        match (&other.value.state, other.value.makes) {
            (BackupState::Done(_), _) => return Ok(Makes::Nothing),
            (BackupState::Running, Makes::Repository) => making = Some(&other.value.owner),
            (BackupState::Running, Makes::Nothing) | (BackupState::Failed { .. }, _) => {}
        }
    }
    match (seen.made, making) {
        (Made::Certainly, _) => Ok(Makes::Nothing),
        (Made::Unknown, None) => Ok(Makes::Repository),
        (Made::Unknown, Some(by)) => Err(Fact::Backup(BackupFact::RepositoryBegins {
            by: by.name.clone(),
        })),
    }
}

/// The last backup of the machine in the repository, if its snapshots are still there.
fn base(seen: &Seen<'_>, vm: dc_types::InstanceId) -> Option<BackupBase> {
    let done = seen.claims.backups_of(vm).filter_map(|other| {
        let BackupState::Done(done) = &other.value.state else {
            return None;
        };
        let same = other.value.repository == seen.backup.spec.repository;
        (same && keeps_snapshots(seen, other)).then_some((done, other))
    });
    let (done, last) = done.max_by_key(|(done, other)| (done.taken_at, other.revision))?;
    Some(BackupBase {
        backup: last.value.owner.uid,
        snapshot_id: done.done.backup.clone(),
    })
}

fn keeps_snapshots(seen: &Seen<'_>, other: &Claimed<BackupClaim>) -> bool {
    let mut snapshots = seen.claims.snapshots_by(other.value.owner.uid).peekable();
    snapshots.peek().is_some()
        && snapshots.all(|snapshot| {
            let SnapshotClaim { host, state, .. } = &snapshot.value;
            let key = snapshot::key(snapshot.value.snapshot);
            let released = seen.claims.releases.contains_key(&(host.clone(), key));
            !released && matches!(state, SnapshotState::Taken { .. })
        })
}
