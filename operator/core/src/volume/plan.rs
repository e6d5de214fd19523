//! The next step of one volume.

use dc_types::claim::{PendingRelease, VolumeClaim, keys};
use dc_types::plan::{Item, ItemBody, Release, VolumeItem};

use super::validate::{disposition, validate};
use super::{Seen, ValidVolume, id, key, promise_limit};
use crate::claims::Claimed;
use crate::object::{self, Life};
use crate::place::Presence;
use crate::plan::Plan;
use crate::quota::{Amounts, Asker};
use crate::sight::{self, Removal, Sight};
use crate::txn::Txn;
use crate::words::Fact;
use crate::words::size::human;

#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    if object::life(&seen.volume.metadata) == Life::Deleting {
        return plan_deletion(seen);
    }
    if !object::is_held(&seen.volume.metadata) {
        return Plan::found(Fact::Creating);
    }
    match validate(seen) {
        Err(found) => Plan::all_found(found),
        Ok(valid) => plan_valid(seen, &valid),
    }
}

fn plan_valid(seen: &Seen<'_>, valid: &ValidVolume) -> Plan {
    let claim = VolumeClaim {
        volume: valid.id,
        owner: seen.me.clone(),
        pool: valid.pool.clone(),
        host: valid.host.clone(),
        size: valid.size,
    };
    match seen.claims.volumes.get(&valid.id) {
        None => match room(seen, valid, valid.size.0) {
            Err(fact) => Plan::found(fact),
            Ok(()) => Plan::claim(
                Txn::new(format!("volume {}: claim", seen.me))
                    .claim(keys::volume(valid.id), &claim),
            ),
        },
        Some(old) if old.value.size < valid.size => {
            let more = valid.size.0 - old.value.size.0;
            match room(seen, valid, more) {
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
        Some(old) => carried(seen, valid, old, None),
    }
}

/// Whether the department may have, and the pool may promise, `more` bytes.
fn room(seen: &Seen<'_>, valid: &ValidVolume, more: u64) -> Result<(), Fact> {
    if let Some(thing) = seen.allowance.storage(valid.pool.as_str()) {
        let asks = Amounts::of([(thing, more)]);
        let asker = Asker::volume(seen.me, seen.volume);
        seen.allowance.check(seen.claims, asker, &asks)?;
    }
    let pool = valid.pool.to_string();
    let facts = seen.pool.and_then(|p| p.facts.map(|facts| (p, facts)));
    let Some((pool_seen, facts)) = facts else {
        return Err(Fact::PoolUnknown {
            pool,
            host: valid.host.to_string(),
        });
    };
    let limit = promise_limit(facts.capacity, pool_seen.pool.spec.promise_percent);
    let left = limit
        .0
        .saturating_sub(seen.claims.promised_in(&valid.pool).0);
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
        key: key(seen.me),
        epoch: claim.epoch,
        object: seen.me.clone(),
        body: ItemBody::Volume(VolumeItem {
            volume: valid.id,
            pool: claim.value.pool.clone(),
            size: claim.value.size,
            source: valid.source.clone(),
            restore: None,
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
            dc_types::report::Detail::Volume { size, .. } if size.0 > 0 => Fact::Growing {
                from: size.to_string(),
                to: claim.value.size.to_string(),
            },
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

fn plan_deletion(seen: &Seen<'_>) -> Plan {
    let id = id(seen.me);
    let Some(claim) = seen.claims.volumes.get(&id) else {
        return Plan::let_go();
    };
    if let Some(attached) = seen.claims.attachments.get(&id) {
        let vm = seen.claims.vms.get(&attached.value.vm);
        let by = vm.map_or(attached.value.vm.to_string(), |vm| {
            vm.value.owner.to_string()
        });
        return Plan::found(Fact::StillUsed {
            by: vec![format!("machine {by}")],
        });
    }
    if seen.grant_removal == Removal::Pending {
        return Plan::found(Fact::Deleting);
    }
    let host = &claim.value.host;
    match seen.removal {
        Removal::NotAsked => {
            let spec = &seen.volume.spec;
            let release = PendingRelease {
                host: host.clone(),
                release: Release {
                    key: key(seen.me),
                    epoch: claim.epoch,
                    object: seen.me.clone(),
                    disposition: disposition(spec.reclaim, spec.erase_method),
                },
            };
            let txn = Txn::new(format!("volume {}: release", seen.me))
                .unchanged(keys::volume(id), claim.revision)
                .absent(keys::attach(id))
                .put(keys::release(host, &key(seen.me)), &release);
            Plan {
                uncarry: vec![(host.clone(), key(seen.me))],
                ..Plan::claim(txn)
            }
        }
        Removal::Pending => Plan::found(match seen.pool.map(|pool| pool.presence) {
            Some(Presence::Silent) => Fact::HostSilent {
                host: host.to_string(),
            },
            Some(Presence::Connected | Presence::Never) | None => Fact::Deleting,
        }),
        Removal::Done => Plan::claim(
            Txn::new(format!("volume {}: let go", seen.me))
                .unchanged(keys::volume(id), claim.revision)
                .absent(keys::attach(id))
                .delete(keys::volume(id)),
        ),
    }
}
