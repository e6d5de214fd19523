//! The next step of one backup.

use dc_types::claim::{
    BackedUp, BackupClaim, BackupState, PendingRelease, SnapshotClaim, SnapshotState, keys,
};
use dc_types::plan::{Disposition, Item, Release};
use dc_types::report::{BackupDone, Consistency, Detail};

use super::validate::{is_running, validate};
use super::{Seen, deletion, is_recorded, item, key};
use crate::claims::{Claimed, Rebuilt};
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::sight::{self, Sight};
use crate::snapshot::{self, Purpose};
use crate::txn::Txn;
use crate::volume::Named;
use crate::words::{BackupFact, Fact};

#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    let claim = seen.claims.backups.get(&seen.me.uid);
    if object::life(&seen.backup.metadata) == Life::Deleting {
        return deletion::plan(seen, claim);
    }
    if !object::is_held(&seen.backup.metadata) {
        return Plan::found(Fact::Creating);
    }
    let Some(claim) = claim else {
        let leftover = seen.claims.snapshots_by(seen.me.uid).next().is_some();
        return match (is_recorded(seen.backup), leftover) {
            (true, false) => Plan::default(),
            // Of a ledger that was lost: what was not finished is not a backup, and is done anew.
            (_, true) => deletion::give_back(seen, None),
            (false, false) => begin(seen),
        };
    };
    match &claim.value.state {
        BackupState::Running => running(seen, claim),
        BackupState::Failed { attempts } => {
            let found = Fact::Backup(BackupFact::NotOneInstant {
                attempts: *attempts,
            });
            match is_recorded(seen.backup) {
                false => Plan::found(found),
                true => Plan {
                    found: vec![found],
                    ..deletion::give_back(seen, Some(claim))
                },
            }
        }
        BackupState::Done(done) => kept(seen, claim, done),
    }
}

/// What its snapshots ask for now.
pub(super) fn with_group<R>(seen: &Seen<'_>, look: impl FnOnce(&snapshot::Seen<'_>) -> R) -> R {
    let group = super::group(seen.backup);
    look(&snapshot::Seen {
        snapshot: &group,
        me: seen.me,
        system: Named::There,
        target: seen.target,
        machine: seen.machine,
        members: seen.members,
        claims: seen.claims,
        purpose: Purpose::Backup,
    })
}

fn begin(seen: &Seen<'_>) -> Plan {
    let claim = match validate(seen) {
        Ok(claim) => claim,
        Err(found) if !found.is_empty() => return Plan::all_found(found),
        // Its volumes are not claimed yet: the group says which.
        Err(_) => return with_group(seen, snapshot::plan).without_txn(),
    };
    let group = with_group(seen, snapshot::plan);
    let Some(txn) = group.txn else {
        return group;
    };
    let txn = Txn {
        why: format!("backup {}: claim", seen.me),
        ..txn.claim(keys::backup(seen.me.uid), &claim)
    };
    Plan {
        txn: Some(txn),
        ..group
    }
}

fn running(seen: &Seen<'_>, claim: &Claimed<BackupClaim>) -> Plan {
    let mut group = with_group(seen, snapshot::plan);
    let failed = group.found.iter().find_map(|fact| match fact {
        Fact::SnapshotFailed { attempts } => Some(*attempts),
        _ => None,
    });
    if let Some(attempts) = failed {
        return fail(seen, claim, attempts);
    }
    let Some((level, taken_at)) = taken(seen) else {
        return group;
    };
    // What becomes of them while they are read, the host that reads them tells.
    group.found.clear();
    let (access, limit) = match seen.repository {
        None => {
            group
                .found
                .push(Fact::Backup(BackupFact::RepositoryMissing {
                    repository: claim.value.repository.clone(),
                }));
            return group;
        }
        Some(found) => match found.access {
            Ok(access) => (access, super::repository::limit(found.object)),
            Err(fact) => {
                group.found.push(Fact::Backup(fact.clone()));
                return group;
            }
        },
    };
    let Some(item) = item(claim, seen.claims, access, limit) else {
        return group;
    };
    let host = &claim.value.host;
    match sight::of_item(host, seen.presence, &item, seen.said) {
        Sight::AsAsked(Detail::Backup {
            done: Some(done), ..
        }) => return finish(seen, claim, &item, (level, taken_at), &done),
        Sight::AsAsked(detail) | Sight::OnTheWay(detail) => group.found.push(copying(&detail)),
        Sight::Told(fact) => {
            let progress = seen.said.map(|said| copying(&said.detail));
            group.found.push(progress_or(fact, progress));
        }
    }
    group.carry.push((host.clone(), item));
    group
}

/// How far it is says more than that it is on its way.
fn progress_or(fact: Fact, progress: Option<Fact>) -> Fact {
    use crate::words::Standing;
    match (fact.standing(), progress) {
        (Standing::Moving, Some(Fact::Backup(BackupFact::Copying { done, of }))) if of > 0 => {
            Fact::Backup(BackupFact::Copying { done, of })
        }
        _ => fact,
    }
}

fn copying(detail: &Detail) -> Fact {
    let progress = match detail {
        Detail::Backup { progress, .. } => *progress,
        _ => None,
    };
    let (done, of) = progress.map_or((0, 0), |progress| (progress.done.0, progress.of.0));
    Fact::Backup(BackupFact::Copying { done, of })
}

/// What was reached, and when the last of its volumes was taken; `None` while one is not.
fn taken(seen: &Seen<'_>) -> Option<(Consistency, i64)> {
    let mut reached: Option<(Consistency, i64)> = None;
    for snapshot in seen.claims.snapshots_by(seen.me.uid) {
        let SnapshotState::Taken { level, taken_at } = snapshot.value.state else {
            return None;
        };
        reached = Some(match reached {
            Some((least, last)) => (least.min(level), last.max(taken_at)),
            None => (level, taken_at),
        });
    }
    reached
}

/// The host has it in the repository: what it said is kept, and it carries the run no more.
fn finish(
    seen: &Seen<'_>,
    claim: &Claimed<BackupClaim>,
    item: &Item,
    (level, taken_at): (Consistency, i64),
    done: &BackupDone,
) -> Plan {
    let value = BackupClaim {
        manifest: String::new(),
        state: BackupState::Done(Box::new(BackedUp {
            level,
            taken_at,
            done: done.clone(),
        })),
        ..claim.value.clone()
    };
    let txn = Txn::new(format!("backup {}: done", seen.me));
    let txn = put_again(txn, claim, value);
    Plan {
        uncarry: vec![(claim.value.host.clone(), item.key)],
        ..Plan::claim(release(txn, claim))
    }
}

fn fail(seen: &Seen<'_>, claim: &Claimed<BackupClaim>, attempts: u32) -> Plan {
    let value = BackupClaim {
        manifest: String::new(),
        state: BackupState::Failed { attempts },
        ..claim.value.clone()
    };
    let txn = Txn::new(format!("backup {}: not of one instant", seen.me));
    Plan::claim(put_again(txn, claim, value))
}

/// Written again under the epoch that the host knows it by.
fn put_again(txn: Txn, claim: &Claimed<BackupClaim>, value: BackupClaim) -> Txn {
    let key = keys::backup(value.owner.uid);
    let kept_epoch = claim.epoch;
    txn.unchanged(key.clone(), claim.revision)
        .put(key, &Rebuilt { value, kept_epoch })
}

/// Records that the storage host is to stop the run, or to forget that it is done.
pub(super) fn release(txn: Txn, claim: &Claimed<BackupClaim>) -> Txn {
    let BackupClaim { owner, host, .. } = &claim.value;
    let key = key(owner.uid);
    let release = PendingRelease {
        host: host.clone(),
        release: Release {
            key,
            epoch: claim.epoch,
            object: owner.clone(),
            disposition: Disposition::Remove,
        },
    };
    txn.put(keys::release(host, &key), &release)
}

/// Its snapshots stay until nobody tells changes from them any more.
fn kept(seen: &Seen<'_>, claim: &Claimed<BackupClaim>, done: &BackedUp) -> Plan {
    let needed = base_of(seen).is_some() || !is_recorded(seen.backup);
    let useless = is_superseded(seen, claim, done) || machine_goes(seen) || has_moved(seen);
    if !needed && useless {
        return deletion::give_back(seen, Some(claim));
    }
    let mine: Vec<&Claimed<SnapshotClaim>> = seen.claims.snapshots_by(seen.me.uid).collect();
    let carry = mine.iter().map(|snapshot| {
        let host = snapshot.value.host.clone();
        (host, snapshot::item(snapshot))
    });
    Plan {
        carry: carry.collect(),
        ..Plan::default()
    }
}

/// The backup that runs and reads what has changed since this one.
pub(super) fn base_of<'a>(seen: &Seen<'a>) -> Option<&'a Claimed<BackupClaim>> {
    let claim = seen.claims.backups.get(&seen.me.uid)?;
    let mut others = seen.claims.backups_of(claim.value.vm);
    others.find(|other| {
        let base = other.value.base.as_ref();
        is_running(other) && base.is_some_and(|base| base.backup == seen.me.uid)
    })
}

fn is_superseded(seen: &Seen<'_>, claim: &Claimed<BackupClaim>, done: &BackedUp) -> bool {
    seen.claims.backups_of(claim.value.vm).any(|other| {
        let BackupState::Done(newer) = &other.value.state else {
            return false;
        };
        let same = other.value.repository == claim.value.repository;
        same && (newer.taken_at, other.revision) > (done.taken_at, claim.revision)
    })
}

/// Bytes that were moved have nothing in common with it: it would keep what a move has left behind.
fn has_moved(seen: &Seen<'_>) -> bool {
    let mut mine = seen.claims.snapshots_by(seen.me.uid);
    mine.any(|snapshot| {
        let SnapshotClaim { volume, .. } = &snapshot.value;
        seen.claims.place_of(*volume) != snapshot.value.place()
    })
}

/// A base would keep the volumes of a machine that nobody wants any more.
fn machine_goes(seen: &Seen<'_>) -> bool {
    let claim = seen.claims.backups.get(&seen.me.uid);
    let vm = seen.vm.and_then(|vm| object::uid(&vm.metadata));
    let vm_there = vm.is_some_and(|uid| claim.is_some_and(|claim| claim.value.vm.0 == uid.0))
        && seen
            .vm
            .is_some_and(|vm| object::life(&vm.metadata) == Life::Wanted);
    let targets = match seen.target {
        snapshot::Target::Volumes(targets) => targets,
        snapshot::Target::Absent => &[],
    };
    let goes = |target: &snapshot::TargetSeen<'_>| {
        let life = target.volume.map(|volume| object::life(&volume.metadata));
        life == Some(Life::Deleting)
    };
    !vm_there || targets.iter().any(goes)
}
