//! The next step of one restore.

use dc_types::claim::{Contents, PendingRelease, RestoreClaim, RestoreState, VolumeClaim, keys};
use dc_types::plan::{Disposition, Release};
use dc_types::report::{Detail, RestoreDone};

use super::validate::{Next, validate};
use super::{Seen, in_place, item, key, status};
use crate::backup::repository;
use crate::claims::{Claimed, Rebuilt};
use crate::object::{self, Life};
use crate::place::Presence;
use crate::plan::{Maker, NewVolume, Plan};
use crate::sight::{self, Removal, Sight};
use crate::txn::Txn;
use crate::words::{BackupFact, Fact, Standing};

#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    let claim = seen.claims.restores.get(&seen.me.uid);
    if object::life(&seen.restore.metadata) == Life::Deleting {
        return deletion(seen, claim);
    }
    if !object::is_held(&seen.restore.metadata) {
        return Plan::found(Fact::Creating);
    }
    let Some(claim) = claim else {
        return match status::recorded(seen.restore) {
            Some(_) => Plan::default(),
            None => begin(seen),
        };
    };
    match &claim.value.state {
        RestoreState::Waits => in_place::waits(seen, claim),
        RestoreState::Running => running(seen, claim),
        RestoreState::Done(_) | RestoreState::Stopped => match status::recorded(seen.restore) {
            Some(_) => Plan::claim(let_go(seen, claim)),
            None => Plan::default(),
        },
    }
}

fn begin(seen: &Seen<'_>) -> Plan {
    match validate(seen) {
        Err(found) => Plan::all_found(found),
        Ok(Next::Make(spec)) => {
            let name = seen.restore.spec.to.name.clone();
            let waits = BackupFact::VolumeWaits {
                volume: name.clone(),
                says: None,
            };
            Plan {
                make: vec![NewVolume {
                    name,
                    maker: Maker::Restore(seen.me.clone()),
                    spec: *spec,
                    ordered_by: None,
                }],
                ..Plan::found(Fact::Backup(waits))
            }
        }
        Ok(Next::Claim(restore, volume)) => {
            let txn = Txn::new(format!("restore {}: claim", seen.me))
                .unchanged(keys::volume(restore.volume), volume.revision)
                .claim(keys::restore(seen.me.uid), &*restore);
            Plan::claim(txn)
        }
    }
}

fn running(seen: &Seen<'_>, claim: &Claimed<RestoreClaim>) -> Plan {
    let volume = seen.claims.volumes.get(&claim.value.volume);
    let Some(volume) = volume.filter(|_| !volume_goes(seen, claim)) else {
        return stop(seen, claim);
    };
    let (access, limit) = match seen.repository {
        Some(found) => match found.access {
            Ok(access) => (access, repository::limit(found.object)),
            Err(fact) => return Plan::found(Fact::Backup(fact.clone())),
        },
        None => {
            return Plan::found(Fact::Backup(BackupFact::RepositoryMissing {
                repository: claim.value.repository.clone(),
            }));
        }
    };
    let Some(item) = item(claim, access, limit) else {
        return Plan::default();
    };
    let host = &claim.value.host;
    let found = match sight::of_item(host, seen.presence, &item, seen.said) {
        Sight::AsAsked(Detail::Restore {
            done: Some(done), ..
        }) => return finish(seen, claim, volume, done),
        Sight::AsAsked(detail) | Sight::OnTheWay(detail) => writing(&detail),
        Sight::Told(fact) => match (fact.standing(), seen.said.map(|said| &said.detail)) {
            // How far it is says more than that it is on its way.
            (Standing::Moving, Some(detail @ Detail::Restore { progress, .. }))
                if progress.is_some() =>
            {
                writing(detail)
            }
            _ => fact,
        },
    };
    Plan {
        carry: vec![(host.clone(), item)],
        ..Plan::found(found)
    }
}

fn writing(detail: &Detail) -> Fact {
    let progress = match detail {
        Detail::Restore { progress, .. } => *progress,
        _ => None,
    };
    let (done, of) = progress.map_or((0, 0), |progress| (progress.done.0, progress.of.0));
    Fact::Backup(BackupFact::Writing { done, of })
}

/// The volume that it writes is not there any more, or is being deleted.
pub(super) fn volume_goes(seen: &Seen<'_>, claim: &Claimed<RestoreClaim>) -> bool {
    let uid = seen.volume.and_then(|volume| object::uid(&volume.metadata));
    let there = uid.is_some_and(|uid| uid.0 == claim.value.volume.0);
    let life = seen.volume.map(|volume| object::life(&volume.metadata));
    !there || life == Some(Life::Deleting)
}

/// The volume is whole, and whoever asks for it next may have it.
fn finish(
    seen: &Seen<'_>,
    claim: &Claimed<RestoreClaim>,
    volume: &Claimed<VolumeClaim>,
    done: RestoreDone,
) -> Plan {
    let whole = VolumeClaim {
        contents: Contents::Whole,
        ..volume.value.clone()
    };
    let volume_key = keys::volume(claim.value.volume);
    let txn = Txn::new(format!("restore {}: done", seen.me))
        .unchanged(volume_key.clone(), volume.revision)
        .put(
            volume_key,
            &Rebuilt {
                value: whole,
                kept_epoch: volume.epoch,
            },
        );
    let txn = put_again(txn, claim, RestoreState::Done(done));
    Plan {
        uncarry: vec![(claim.value.host.clone(), key(seen.me.uid))],
        ..Plan::claim(release(txn, claim))
    }
}

/// Written again under the epoch that the host knows it by.
pub(super) fn put_again(txn: Txn, claim: &Claimed<RestoreClaim>, state: RestoreState) -> Txn {
    let value = RestoreClaim {
        state,
        ..claim.value.clone()
    };
    let key = keys::restore(value.owner.uid);
    let kept_epoch = claim.epoch;
    txn.unchanged(key.clone(), claim.revision)
        .put(key, &Rebuilt { value, kept_epoch })
}

fn release(txn: Txn, claim: &Claimed<RestoreClaim>) -> Txn {
    let RestoreClaim { owner, host, .. } = &claim.value;
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

fn let_go(seen: &Seen<'_>, claim: &Claimed<RestoreClaim>) -> Txn {
    let key = keys::restore(seen.me.uid);
    Txn::new(format!("restore {}: let go", seen.me))
        .unchanged(key.clone(), claim.revision)
        .delete(key)
}

/// The host stops writing; only when it has confirmed, nothing of the run is left.
fn stopped(seen: &Seen<'_>, claim: &Claimed<RestoreClaim>, then: impl FnOnce() -> Txn) -> Plan {
    match seen.removal {
        Removal::NotAsked => {
            let txn = Txn::new(format!("restore {}: stop", seen.me))
                .unchanged(keys::restore(seen.me.uid), claim.revision);
            Plan {
                uncarry: vec![(claim.value.host.clone(), key(seen.me.uid))],
                ..Plan::claim(release(txn, claim))
            }
        }
        Removal::Pending => Plan::found(match seen.presence {
            Presence::Connected => Fact::Deleting,
            Presence::Silent | Presence::Never => Fact::HostSilent {
                host: claim.value.host.to_string(),
            },
        }),
        Removal::Done => Plan::claim(then()),
    }
}

fn stop(seen: &Seen<'_>, claim: &Claimed<RestoreClaim>) -> Plan {
    stopped(seen, claim, || {
        let txn = Txn::new(format!("restore {}: stopped", seen.me));
        put_again(txn, claim, RestoreState::Stopped)
    })
}

fn deletion(seen: &Seen<'_>, claim: Option<&Claimed<RestoreClaim>>) -> Plan {
    match claim {
        None => Plan::let_go(),
        Some(claim) if claim.value.state == RestoreState::Running => {
            stopped(seen, claim, || let_go(seen, claim))
        }
        Some(claim) => Plan::claim(let_go(seen, claim)),
    }
}
