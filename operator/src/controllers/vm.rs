//! VirtualMachine: everything around it is read, then it is decided and carried out as one.

use dc_crds::lease::Lease;
use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use dc_operator_core::proof::sandbox::probes_of;
use dc_operator_core::vm::{CardSeen, DiskSeen, Seen, plan, status};
use dc_operator_core::words::{Fact, Standing};
use dc_types::claim::VolumeKey;
use dc_types::{Epoch, InstanceId};
use k8s_openapi::jiff::Timestamp;

use super::cephx::cephx_key;
use super::chap::chap;
use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, quota, time_text};
use crate::stores::{Key, Kind};

mod read;
mod secret;

use read::Read;
pub use secret::Secrets;

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(vm) = context.stores.vms.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let vm = context.reports.latest(vm);
    let Some(me) = object::object_ref(&vm.metadata) else {
        return Ok(Settled::gone());
    };
    let user_data = context.secrets.user_data(context, &vm, &me).await?;
    let probes = probes_of(&vm, &context.parts.namespace);
    let clock = Timestamp::now();
    let now = time_text(clock);
    let chap = |volume: InstanceId, epoch: Epoch| chap(&context.parts.ledger_key, volume, epoch);
    let cephx_key =
        |volume: InstanceId, epoch: Epoch| cephx_key(&context.parts.ledger_key, volume, epoch);
    let masters = &context.parts.master_keys;
    let open_key = |key: &VolumeKey, name: &str| masters.open(key, name);
    let settled = settle(context, key, &vm, Kind::Vm, |look, found| {
        let read = Read::new(look, &vm, &me);
        let budget = quota::Read::new(look, &me.namespace);
        let leases: Vec<&Lease> = vm.spec.lease.iter().chain(&read.system_lease).collect();
        let ledger = &context.parts.ledger;
        let decision = ledger.with_claims(|claims| {
            let removals = read.removals(look, claims, &me);
            let ahead = |asker| budget.ahead(claims, asker);
            let cards: Vec<CardSeen<'_>> = read.cards();
            let disks: Vec<DiskSeen<'_>> = read.disks(&removals);
            context.hosts.with_index(|index| {
                let seen = Seen {
                    vm: &vm,
                    me: &me,
                    system: read.system,
                    class: read.class.as_deref(),
                    probes: probes.as_ref(),
                    cards: &cards,
                    disks: &disks,
                    user_data: user_data.as_seen(),
                    leases: &leases,
                    now: clock,
                    claims,
                    allowance: budget.allowance(&ahead),
                    index,
                    spread: &read.spread(claims),
                    wished: &read.wished,
                    said: read.said.as_ref(),
                    removal: removals.machine,
                    chap: &chap,
                    cephx_key: &cephx_key,
                    open_key: &open_key,
                };
                let mut plan = plan(&seen);
                let making = !plan.make.is_empty();
                context.wishes.note_begun(&me.namespace, me.uid, making);
                plan.found.splice(0..0, found.cloned());
                let judged = Judged {
                    generation: object::generation(&vm.metadata),
                    now: &now,
                };
                Decision {
                    status: Some(status(&seen, &plan, &judged)),
                    plan,
                    wake: vec![Key::global(Kind::Network, &key.namespace)],
                    counts: Counts::None,
                }
            })
        });
        quota::heed(look, &me.namespace, &decision.plan.found);
        if decision.plan.found.iter().any(waits_for_room) {
            look.capacity();
        }
        decision
    })
    .await?;
    if settled == Settled::gone() {
        context.wishes.note_begun(&me.namespace, me.uid, false);
        context.secrets.forget(me.uid);
    }
    Ok(settled)
}

fn waits_for_room(fact: &Fact) -> bool {
    matches!(fact, Fact::NoCapacity { .. } | Fact::ClassTooLarge { .. })
        && fact.standing() == Standing::Troubled
}
