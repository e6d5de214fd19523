//! The next step of one image.

use dc_types::claim::{PendingRelease, keys};
use dc_types::plan::{Disposition, Item, ItemBody, Release};

use super::{Seen, epoch, key, validate};
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::sight::{self, Removal, Sight};
use crate::txn::Txn;
use crate::words::Fact;

#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    if object::life(&seen.image.metadata) == Life::Deleting {
        return plan_deletion(seen);
    }
    if !object::is_held(&seen.image.metadata) {
        return Plan::found(Fact::Creating);
    }
    let valid = match validate(seen) {
        Ok(valid) => valid,
        Err(found) => return Plan::all_found(found),
    };
    let mut plan = Plan::all_found(valid.missing);
    let mut pending = Vec::new();
    for (host, body) in valid.items {
        let pool = seen.pools.iter().find(|p| p.name == body.pool.as_str());
        let item = Item {
            key: key(seen.me),
            epoch: epoch(seen.claims),
            object: seen.me.clone(),
            body: ItemBody::Image(body),
        };
        if let Some(pool) = pool {
            match sight::of_item(&host, pool.presence, &item, pool.said.as_ref()) {
                Sight::AsAsked(_) => {}
                Sight::OnTheWay(_) => pending.push(pool.name.clone()),
                Sight::Told(fact) => plan.found.push(fact),
            }
        }
        plan.carry.push((host, item));
    }
    if !pending.is_empty() {
        plan.found.push(Fact::ImagePending { pools: pending });
    }
    plan
}

/// Clones do not need the image any more; it goes from every pool, and then the object.
fn plan_deletion(seen: &Seen<'_>) -> Plan {
    let mut txn = Txn::new(format!("image {}: release", seen.me));
    let mut plan = Plan::default();
    let mut waiting = false;
    for pool in seen.pools {
        let Some((_, host)) = &pool.at else {
            continue;
        };
        match pool.removal {
            Removal::Done => {}
            Removal::Pending => waiting = true,
            Removal::NotAsked => {
                let release = PendingRelease {
                    host: host.clone(),
                    release: Release {
                        key: key(seen.me),
                        epoch: epoch(seen.claims),
                        object: seen.me.clone(),
                        disposition: Disposition::Remove,
                    },
                };
                plan.uncarry.push((host.clone(), key(seen.me)));
                txn = txn.put(keys::release(host, &key(seen.me)), &release);
            }
        }
    }
    if !txn.writes.is_empty() {
        plan.txn = Some(txn);
        return plan;
    }
    match waiting {
        true => Plan::found(Fact::Deleting),
        false => Plan::let_go(),
    }
}
