//! InformationSystem: how many of its machines are as they should be.

use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use dc_operator_core::plan::Plan;
use dc_operator_core::system::{Machines, status};

use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(system) = context.stores.systems.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let system = context.reports.latest(system);
    let now = now();
    settle(context, key, &system, Kind::System, |_, _| {
        // A department has tens of machines, a few hundred at most.
        let vms = context.stores.vms.in_namespace(&key.namespace);
        let mine = vms.iter().filter(|vm| *vm.spec.system == *key.name);
        let machines = Machines::count(mine.map(|vm| &**vm));
        let judged = Judged {
            generation: object::generation(&system.metadata),
            now: &now,
        };
        Decision {
            plan: Plan::default(),
            status: Some(status(&system, machines, &judged)),
            wake: Vec::new(),
            counts: Counts::Only,
        }
    })
    .await
}
