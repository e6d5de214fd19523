//! InformationSystem: how many of its machines are as they should be.

use dc_operator_core::conditions::Judged;
use dc_operator_core::plan::Plan;
use dc_operator_core::system::{Machines, status};
use dc_operator_core::{lease, object};
use k8s_openapi::jiff::Timestamp;

use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, time_text};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(system) = context.stores.systems.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let system = context.reports.latest(system);
    let clock = Timestamp::now();
    let now = time_text(clock);
    settle(context, key, &system, Kind::System, |_, _| {
        // A department has tens of machines, a few hundred at most.
        let vms = context.stores.vms.in_namespace(&key.namespace);
        let mine = vms.iter().filter(|vm| *vm.spec.system == *key.name);
        let machines = Machines::count(mine.map(|vm| &**vm));
        let judged = Judged {
            generation: object::generation(&system.metadata),
            now: &now,
        };
        let term = lease::judge(&system.spec.lease, clock);
        let status = status(&system, machines, &term, &judged);
        Decision {
            plan: match term {
                Ok(term) => Plan {
                    again_at: term.and_then(|term| term.next),
                    ..Plan::default()
                },
                Err(wrong) => Plan::found(wrong),
            },
            status: Some(status),
            wake: Vec::new(),
            counts: Counts::Only,
        }
    })
    .await
}
