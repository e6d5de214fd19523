//! The next step of one subnet.

use dc_types::claim::{HeldBy, SubnetClaim, keys};

use super::allocate::{first_v4, first_v6, free_vni};
use super::validate::validate;
use super::{Seen, ValidSubnet, uid};
use crate::claims::Claimed;
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::quota::{Amounts, Asker, Thing};
use crate::txn::Txn;
use crate::words::Fact;

#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    if object::life(&seen.subnet.metadata) == Life::Deleting {
        return plan_deletion(seen);
    }
    if !object::is_held(&seen.subnet.metadata) {
        return Plan::found(Fact::Creating);
    }
    match (validate(seen), seen.claim()) {
        (Err(found), _) => Plan::all_found(found),
        (Ok(_), Some(_)) => Plan::default(),
        (Ok(valid), None) => match claim(seen, &valid) {
            Ok(txn) => Plan::claim(txn),
            Err(fact) => Plan::found(fact),
        },
    }
}

fn claim(seen: &Seen<'_>, valid: &ValidSubnet<'_>) -> Result<Txn, Fact> {
    let asks = Amounts::of([(Thing::Subnets, 1)]);
    seen.allowance
        .check(seen.claims, Asker::of(seen.me), &asks)?;
    let spec = &valid.zone.spec;
    let full = |pool: String| Fact::ZonePoolFull {
        zone: valid.zone_name.to_owned(),
        pool,
    };
    let mut from_pool = Vec::new();
    let v4 = match (valid.v4, &spec.pool_v4) {
        (Some(net), _) => Some(net),
        (None, Some(pool)) => {
            let net = first_v4(seen.claims, pool).ok_or_else(|| full(pool.cidr.to_string()))?;
            from_pool.push(net.to_string());
            Some(net)
        }
        (None, None) => None,
    };
    let v6 = match (valid.v6, &spec.pool_v6) {
        (Some(net), _) => Some(net),
        (None, Some(pool)) => {
            let net = first_v6(seen.claims, pool).ok_or_else(|| full(pool.cidr.to_string()))?;
            from_pool.push(net.to_string());
            Some(net)
        }
        (None, None) => None,
    };
    if v4.is_none() && v6.is_none() {
        return Err(Fact::ZoneWithoutPool {
            zone: valid.zone_name.to_owned(),
        });
    }
    let vni = free_vni(seen.claims).ok_or(Fact::VnisUsedUp)?;
    let claim = SubnetClaim {
        subnet: uid(seen.me),
        owner: seen.me.clone(),
        vni,
        v4,
        v6,
    };
    let holder = HeldBy {
        holder: seen.me.uid,
    };
    let mut txn = Txn::new(format!("subnet {}: claim", seen.me))
        .claim(keys::subnet(claim.subnet), &claim)
        .claim(keys::vni(vni), &holder);
    for net in from_pool {
        txn = txn.claim(keys::prefix(valid.zone_name, &net), &holder);
    }
    Ok(txn)
}

/// The index keys that a claim holds: those of prefixes only when they came from the zone's pool.
fn held_keys(seen: &Seen<'_>, claim: &SubnetClaim) -> Vec<String> {
    let zone = &seen.subnet.spec.zone;
    let nets = claim.v4.map(|net| net.to_string()).into_iter();
    let nets = nets.chain(claim.v6.map(|net| net.to_string()));
    let mine = |key: &String| {
        let holder = seen.claims.held.get(key);
        holder.is_some_and(|(held, _)| held.holder == seen.me.uid)
    };
    nets.map(|net| keys::prefix(zone, &net))
        .chain([keys::vni(claim.vni)])
        .filter(mine)
        .collect()
}

fn plan_deletion(seen: &Seen<'_>) -> Plan {
    let Some(claim) = seen.claim() else {
        return Plan::let_go();
    };
    let machines = seen.machines();
    if !machines.is_empty() {
        return Plan::found(Fact::StillUsed { by: machines });
    }
    Plan::claim(release(seen, claim))
}

fn release(seen: &Seen<'_>, claim: &Claimed<SubnetClaim>) -> Txn {
    let key = keys::subnet(claim.value.subnet);
    let mut txn = Txn::new(format!("subnet {}: let go", seen.me))
        .unchanged(key.clone(), claim.revision)
        .delete(key);
    for held in held_keys(seen, &claim.value) {
        txn = txn.delete(held);
    }
    txn
}
