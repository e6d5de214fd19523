//! The next step of one volume.

use dc_types::claim::{Contents, PendingRelease, SnapshotPurpose, VolumeClaim, keys};
use dc_types::plan::{Disposition, Item, ItemBody, Release, VolumeItem};
use dc_types::report::{Detail, Guest, Observation, Verb};
use dc_types::{HostName, PoolName};

use super::erasure::{certificate, erases, record};
use super::validate::{disposition, validate};
use super::{
    PoolSeen, Seen, ValidVolume, id, key, moving, pending_restore, promise_limit, restore,
};
use super::{destruction, encryption};
use crate::claims::{Claimed, Claims};
use crate::object::{self, Life};
use crate::place::Presence;
use crate::plan::Plan;
use crate::pool::lacks;
use crate::quota::{Amounts, Asker};
use crate::sight::{self, Removal, Sight};
use crate::txn::Txn;
use crate::words::size::human;
use crate::words::{BackupFact, Fact};

#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    // A move goes on whatever else is wrong with the object.
    let moving = moving::next(seen);
    if let moving::Next::Commit(commit) = moving {
        return *commit;
    }
    if object::life(&seen.volume.metadata) == Life::Deleting {
        return moving.beside(plan_deletion(seen));
    }
    if !object::is_held(&seen.volume.metadata) {
        return Plan::found(Fact::Creating);
    }
    moving.beside(match validate(seen) {
        Err(found) => Plan::all_found(found),
        Ok(valid) => plan_valid(seen, &valid),
    })
}

fn plan_valid(seen: &Seen<'_>, valid: &ValidVolume) -> Plan {
    let old = seen.claims.volumes.get(&valid.id);
    if let Some(txn) = old.and_then(|old| grown(seen, valid, old)) {
        return Plan::claim(txn);
    }
    if let Some(txn) = old.and_then(|old| restore::taken_back(seen, old)) {
        return Plan::claim(txn);
    }
    let claim = VolumeClaim {
        volume: valid.id,
        owner: seen.me.clone(),
        pool: valid.pool.clone(),
        host: valid.host.clone(),
        size: valid.size,
        grows_from: old.map(|old| old.value.shown()),
        restore: old.and_then(|old| old.value.restore.clone()),
        stored: old.and_then(|old| old.value.stored),
        restored: old.and_then(|old| old.value.restored.clone()),
        contents: match (old, &seen.volume.spec.source.restore) {
            (Some(old), _) => old.value.contents,
            (None, Some(_)) => Contents::AwaitRestore,
            (None, None) => Contents::Whole,
        },
        cipher: match old {
            Some(old) => old.value.cipher,
            None => encryption::cipher(&seen.volume.spec),
        },
    };
    match old {
        None => match allowed(seen, valid, valid.size.0) {
            Err(fact) => Plan::found(fact),
            Ok(()) => {
                let txn = Txn::new(format!("volume {}: claim", seen.me))
                    .claim(keys::volume(valid.id), &claim);
                match encryption::claim_key(txn, &claim, seen.new_key) {
                    Ok(txn) => Plan::claim(txn),
                    Err(fact) => Plan::found(fact),
                }
            }
        },
        Some(old) if old.value.size < valid.size => {
            let more = valid.size.0 - old.value.size.0;
            let may = moving::may_change(seen).and_then(|()| allowed(seen, valid, more));
            match may.and_then(|()| may_grow(seen)) {
                Err(fact) => carried(seen, valid, old, Some(fact)),
                Ok(()) => Plan::claim(
                    Txn::new(format!("volume {}: grow", seen.me))
                        .unchanged(keys::volume(valid.id), old.revision)
                        .put(keys::volume(valid.id), &claim),
                ),
            }
        }
        Some(old) if old.value.size > valid.size => {
            let fact = Fact::Shrinks {
                from: old.value.size.to_string(),
                to: valid.size.to_string(),
            };
            carried(seen, valid, old, Some(fact))
        }
        Some(old) => match restore::order(seen, old) {
            Ok(Some(txn)) => Plan::claim(txn),
            Ok(None) => {
                let pending = pending_restore(&old.value, seen.said);
                let fact = pending.map(|order| Fact::Restoring {
                    volume: seen.me.name.clone(),
                    order: order.order.clone(),
                });
                let fact = fact.or_else(|| awaited(seen, &old.value));
                let fact = fact.or_else(|| encryption::missing_key(seen.claims, &old.value));
                carried(seen, valid, old, fact)
            }
            Err(fact) => carried(seen, valid, old, Some(fact)),
        },
    }
}

/// What the volume waits for when its bytes are to come from a backup.
fn awaited(seen: &Seen<'_>, claim: &VolumeClaim) -> Option<Fact> {
    match claim.contents {
        Contents::Whole => None,
        // As it is brought back it says so itself.
        Contents::TakesBack => None,
        Contents::AwaitRestore => {
            let mut writes = seen.claims.restores_of(claim.volume);
            let by = writes
                .next()
                .map(|restore| restore.value.owner.name.clone());
            let by = by.or_else(|| seen.volume.spec.source.restore.clone());
            Some(Fact::Backup(match by {
                Some(restore) => BackupFact::AwaitsRestore { restore },
                None => BackupFact::HalfRestored,
            }))
        }
    }
}

/// Lets machines know of a growth that the storage host has done and shows.
fn grown(seen: &Seen<'_>, valid: &ValidVolume, old: &Claimed<VolumeClaim>) -> Option<Txn> {
    old.value.grows_from?;
    let item = item(seen, valid, old);
    let presence = seen.pool.map_or(Presence::Never, |pool| pool.presence);
    let sight = sight::of_item(&old.value.host, presence, &item, seen.said);
    let Sight::AsAsked(Detail::Volume { size, .. }) = sight else {
        return None;
    };
    let claim = VolumeClaim {
        grows_from: None,
        ..old.value.clone()
    };
    (size >= old.value.size).then(|| {
        Txn::new(format!("volume {}: grown", seen.me))
            .unchanged(keys::volume(valid.id), old.revision)
            .put(keys::volume(valid.id), &claim)
    })
}

/// Whether the department may have `more` bytes of the volume's pool.
fn allowed(seen: &Seen<'_>, valid: &ValidVolume, more: u64) -> Result<(), Fact> {
    if let Some(thing) = seen.allowance.storage(valid.pool.as_str()) {
        let asks = Amounts::of([(thing, more)]);
        let asker = Asker::volume(seen.me, seen.volume);
        seen.allowance.check(seen.claims, asker, &asks)?;
    }
    room(seen.claims, (&valid.pool, &valid.host), seen.pool, more)
}

/// A driver that cannot grow a volume under a guest is not asked to.
fn may_grow(seen: &Seen<'_>) -> Result<(), Fact> {
    let off = |said: &Observation| {
        let Detail::Vm { guest, .. } = &said.detail else {
            return false;
        };
        matches!(guest, Guest::Absent | Guest::Stopped | Guest::Crashed)
    };
    // What is not known to be off may be writing.
    let attached = seen.claims.attachment_of(id(seen.me)).is_some();
    let in_use = attached && !seen.holder_said.is_some_and(off);
    let why = seen
        .pool
        .and_then(|pool| lacks(pool.facts, Verb::GrowOnline));
    match why {
        Some(why) if in_use => Err(Fact::PoolLacks {
            pool: seen.pool.map_or_else(String::new, |found| {
                found.pool.metadata.name.clone().unwrap_or_default()
            }),
            verb: Verb::GrowOnline,
            why: why.to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Whether a pool, which is named with its host, may promise `more` bytes.
pub(crate) fn room(
    claims: &Claims,
    (pool, host): (&PoolName, &HostName),
    found: Option<PoolSeen<'_>>,
    more: u64,
) -> Result<(), Fact> {
    let facts = found.and_then(|found| found.facts.map(|facts| (found, facts)));
    let Some((pool_seen, facts)) = facts else {
        return Err(Fact::PoolUnknown {
            pool: pool.to_string(),
            host: host.to_string(),
        });
    };
    let limit = promise_limit(facts.capacity, pool_seen.pool.spec.promise_percent);
    let left = limit.0.saturating_sub(claims.promised_in(pool).0);
    let pool = pool.to_string();
    match more <= left {
        true => Ok(()),
        false => Err(Fact::PoolFull {
            pool,
            need: human(more),
            left: human(left),
            limit: human(limit.0),
        }),
    }
}

/// The item on the storage host.
#[must_use]
pub fn item(seen: &Seen<'_>, valid: &ValidVolume, claim: &Claimed<VolumeClaim>) -> Item {
    Item {
        key: key(claim.value.place()),
        epoch: claim.epoch,
        object: seen.me.clone(),
        body: ItemBody::Volume(VolumeItem {
            volume: claim.value.place(),
            pool: claim.value.pool.clone(),
            size: claim.value.size,
            source: valid.source.clone(),
            restore: claim.value.restore.clone(),
        }),
    }
}

fn carried(
    seen: &Seen<'_>,
    valid: &ValidVolume,
    claim: &Claimed<VolumeClaim>,
    trouble: Option<Fact>,
) -> Plan {
    let item = item(seen, valid, claim);
    let presence = seen.pool.map_or(Presence::Never, |pool| pool.presence);
    let mut found: Vec<Fact> = trouble.into_iter().collect();
    match sight::of_item(&claim.value.host, presence, &item, seen.said) {
        Sight::AsAsked(_) => {}
        Sight::OnTheWay(detail) => found.push(match detail {
            Detail::Volume { size, .. } if size.0 > 0 && size < claim.value.size => Fact::Growing {
                from: size.to_string(),
                to: claim.value.size.to_string(),
            },
            Detail::Volume { size, .. } if size.0 > 0 => Fact::LookedFor,
            _ => Fact::Creating,
        }),
        Sight::Told(fact) => found.push(fact),
    }
    Plan {
        carry: vec![(claim.value.host.clone(), item)],
        found,
        ..Plan::default()
    }
}

/// What the volume says is to become of its blocks. Without their key nothing else makes sense, whatever
/// it says now.
fn of_spec(seen: &Seen<'_>) -> Disposition {
    if seen.claims.destroyed.contains_key(&id(seen.me)) {
        return Disposition::EraseDiscard;
    }
    disposition(seen.volume.spec.reclaim, seen.volume.spec.erase_method)
}

fn plan_deletion(seen: &Seen<'_>) -> Plan {
    let id = id(seen.me);
    let Some(claim) = seen.claims.volumes.get(&id) else {
        return Plan::let_go();
    };
    let place = claim.value.place();
    if let Some(attached) = seen.claims.attachments.get(&place) {
        let vm = seen.claims.vms.get(&attached.value.vm);
        let by = vm.map_or(attached.value.vm.to_string(), |vm| {
            vm.value.owner.to_string()
        });
        return Plan::found(Fact::StillUsed {
            by: vec![format!("machine {by}")],
        });
    }
    if seen.claims.moves.contains_key(&id) {
        // It has one place again first.
        return Plan::found(Fact::Deleting);
    }
    let snapshots = seen.claims.snapshots_of(id);
    // One that has written all of it, and is about to be let go, holds it too: for a moment.
    let restores = seen.claims.restores_of(id);
    let restores = restores.map(|restore| format!("restore {}", restore.value.owner));
    let by: Vec<String> = snapshots
        .map(|snapshot| match snapshot.value.purpose {
            SnapshotPurpose::Department => format!("snapshot {}", snapshot.value.owner),
            SnapshotPurpose::Backup => format!("backup {}", snapshot.value.owner),
        })
        .chain(restores)
        .collect();
    if !by.is_empty() {
        return Plan::found(Fact::StillUsed { by });
    }
    if seen.grant_removal == Removal::Pending {
        return Plan::found(Fact::Deleting);
    }
    if let Some(erased) = seen.claims.erased.get(&place) {
        // Its certificate is made first, then all of it is let go.
        let txn = Txn::new(format!("volume {}: erased, let go", seen.me))
            .unchanged(keys::erased(place), erased.revision)
            .delete(keys::erased(place))
            .unchanged(keys::volume(id), claim.revision)
            .delete(keys::volume(id));
        let txn = encryption::forget_key(txn, seen.claims, &claim.value);
        let destroyed = seen.claims.destroyed.get(&id);
        let unsigned = certificate(&erased.value, seen.volume, destroyed.map(|key| &key.value));
        return Plan {
            certify: Some(Box::new(unsigned)),
            ..Plan::claim(txn)
        };
    }
    let host = &claim.value.host;
    if seen.removal == Removal::NotAsked
        && let Some(plan) = destruction::plan(seen, claim)
    {
        return plan;
    }
    match seen.removal {
        Removal::NotAsked => {
            let release = PendingRelease {
                host: host.clone(),
                release: Release {
                    key: key(place),
                    epoch: claim.epoch,
                    object: seen.me.clone(),
                    disposition: of_spec(seen),
                },
            };
            let txn = Txn::new(format!("volume {}: release", seen.me))
                .unchanged(keys::volume(id), claim.revision)
                .absent(keys::attach(place))
                .put(keys::release(host, &key(place)), &release);
            let txn = match seen.claims.destroyed.contains_key(&id) {
                true => txn.absent(keys::key(id)),
                false => txn,
            };
            Plan {
                uncarry: vec![(host.clone(), key(place))],
                ..Plan::claim(txn)
            }
        }
        Removal::Pending => Plan::found(match seen.pool.map(|pool| pool.presence) {
            Some(Presence::Silent) => Fact::HostSilent {
                host: host.to_string(),
            },
            Some(Presence::Connected | Presence::Never) | None => Fact::Deleting,
        }),
        // The ledger is about to hold what the host said of it.
        Removal::Done
            if seen
                .claims
                .releases
                .contains_key(&(host.clone(), key(place))) =>
        {
            Plan::found(Fact::Deleting)
        }
        Removal::Done if erases(of_spec(seen)) => {
            // It was confirmed to an operator that did not keep what was said.
            let erased = record(&claim.value, of_spec(seen), None);
            Plan::claim(
                Txn::new(format!("volume {}: erased, not told how", seen.me))
                    .unchanged(keys::volume(id), claim.revision)
                    .claim(keys::erased(place), &erased),
            )
        }
        Removal::Done => Plan::claim(
            Txn::new(format!("volume {}: let go", seen.me))
                .unchanged(keys::volume(id), claim.revision)
                .absent(keys::attach(place))
                .delete(keys::volume(id)),
        ),
    }
}
