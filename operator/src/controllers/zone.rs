//! Zone: checked against the others, and counted.

use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use dc_operator_core::plan::Plan;
use dc_operator_core::zone::{Seen, status, validate};

use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(zone) = context.stores.zones.get("", &key.name) else {
        return Ok(Settled::gone());
    };
    let zone = context.reports.latest(zone);
    let now = now();
    settle(context, key, &zone, Kind::Zone, |_, _| {
        let others = context.stores.zones.all();
        let subnets = context.stores.subnets.keys(Kind::Subnet);
        let named = subnets.iter().filter(|subnet| {
            let subnet = context.stores.subnets.get(&subnet.namespace, &subnet.name);
            subnet.is_some_and(|subnet| *subnet.spec.zone == *key.name)
        });
        let seen = Seen {
            zone: &zone,
            others: &others,
            subnets: named.count(),
        };
        let found = validate(&seen);
        let judged = Judged {
            generation: object::generation(&zone.metadata),
            now: &now,
        };
        Decision {
            status: Some(status(&seen, &found, &judged)),
            plan: Plan::all_found(found),
            wake: Vec::new(),
            counts: Counts::Some,
        }
    })
    .await
}
