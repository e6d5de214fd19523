//! InformationSystem: how many of its machines are as they should be, and what keeps it from going.

use dc_operator_core::conditions::Judged;
use dc_operator_core::system::{Machines, plan, status};
use dc_operator_core::{lease, object};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
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
        let plan = plan(&system, &term, || users(context, key));
        Decision {
            status: Some(status(&system, machines, &plan, &term, &judged)),
            plan,
            wake: Vec::new(),
            counts: Counts::Only,
        }
    })
    .await
}

/// All that belongs to a system, also what is being deleted.
fn users(context: &Context, key: &Key) -> Vec<String> {
    let named = |kind: &str, meta: &ObjectMeta| {
        let name = meta.name.as_deref().unwrap_or_default();
        format!("{kind} {name}")
    };
    let (stores, namespace) = (&context.stores, &*key.namespace);
    let vms = stores.vms.in_namespace(namespace);
    let vms = vms.iter().filter(|vm| *vm.spec.system == *key.name);
    let mut users: Vec<String> = vms.map(|vm| named("machine", &vm.metadata)).collect();
    let volumes = stores.volumes.in_namespace(namespace);
    let volumes = volumes.iter().filter(|v| *v.spec.system == *key.name);
    users.extend(volumes.map(|volume| named("volume", &volume.metadata)));
    let subnets = stores.subnets.in_namespace(namespace);
    let subnets = subnets
        .iter()
        .filter(|subnet| subnet.spec.system.as_deref() == Some(&*key.name));
    users.extend(subnets.map(|subnet| named("subnet", &subnet.metadata)));
    users
}
