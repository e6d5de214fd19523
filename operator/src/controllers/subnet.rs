//! Subnet: a prefix and a network id.

use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use dc_operator_core::subnet::{Seen, plan, status};
use dc_operator_core::volume::Named;
use dc_types::SubnetUid;
use dc_types::claim::SubnetClaim;

use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now, quota};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(subnet) = context.stores.subnets.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let subnet = context.reports.latest(subnet);
    let Some(me) = object::object_ref(&subnet.metadata) else {
        return Ok(Settled::gone());
    };
    let now = now();
    settle(context, key, &subnet, Kind::Subnet, |look, _| {
        let system = match &subnet.spec.system {
            Some(system) if look.system(&key.namespace, system).is_none() => Named::Absent,
            Some(_) | None => Named::There,
        };
        let zone = look.zone("", &subnet.spec.zone);
        look.claim(me.uid.0);
        let others = context.stores.subnets.in_namespace(&key.namespace);
        let budget = quota::Read::new(look, &key.namespace);
        let decision = context.parts.ledger.with_claims(|claims| {
            let ahead = |asker| budget.ahead(claims, asker);
            let siblings = others.iter().filter_map(|other| {
                let uid = object::uid(&other.metadata).filter(|uid| *uid != me.uid)?;
                let claim = claims.subnets.get(&SubnetUid(uid.0))?;
                Some((other.metadata.name.clone()?, claim.value.clone()))
            });
            let siblings: Vec<(String, SubnetClaim)> = siblings.collect();
            let seen = Seen {
                subnet: &subnet,
                me: &me,
                system,
                zone: zone.as_deref(),
                claims,
                allowance: budget.allowance(&ahead),
                siblings: &siblings,
            };
            let plan = plan(&seen);
            let judged = Judged {
                generation: object::generation(&subnet.metadata),
                now: &now,
            };
            Decision {
                status: Some(status(&seen, &plan, &judged)),
                plan,
                wake: vec![Key::global(Kind::Network, &key.namespace)],
                counts: Counts::Some,
            }
        });
        quota::heed(look, &key.namespace, &decision.plan.found);
        decision
    })
    .await
}
