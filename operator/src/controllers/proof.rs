//! RestoreProof: a sandbox in the operator's own namespace, which it makes, watches and erases.

use std::collections::BTreeMap;
use std::sync::Arc;

use dc_crds::pool::OwnerClass;
use dc_crds::{Backup, MachineClass, Restore, RestoreProof, StoragePool, VirtualMachine, Volume};
use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use dc_operator_core::proof::{
    AT_ONCE, Sandbox, Seen, Turn, goes_on, has_ended, plan, sandbox_name, status, validate,
    volume_name,
};
use dc_operator_core::words::{Fact, ProofFact};
use dc_operator_core::{restore, vm};
use dc_types::ObjectRef;
use dc_types::report::Observation;
use k8s_openapi::jiff::Timestamp;

use super::interest::Thing;
use super::look::Look;
use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, api, time_text};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(proof) = context.stores.proofs.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let proof = context.reports.latest(proof);
    let Some(me) = object::object_ref(&proof.metadata) else {
        return Ok(Settled::gone());
    };
    let clock = Timestamp::now();
    let now = time_text(clock);
    let nothing_left = nothing_left(context, &proof, &me).await?;
    let namespace = &context.parts.namespace;
    settle(context, key, &proof, Kind::Proof, |look, _| {
        let read = Read::new(look, &proof, &me);
        let volumes = read.volumes.iter();
        let volumes = volumes.map(|(name, volume)| (name.clone(), &**volume));
        let tried = read.tried_volumes.iter();
        let tried = tried.map(|(name, volume)| (name.clone(), &**volume));
        let restores = read.restores.iter();
        let restores =
            restores.map(|(name, (restore, said))| (name.clone(), (&**restore, said.as_ref())));
        let seen = Seen {
            proof: &proof,
            me: &me,
            namespace,
            backup: read.backup.as_deref(),
            vm: read.vm.as_deref(),
            volumes: &volumes.collect(),
            class: read.class.as_deref(),
            pool: read.pool.as_deref(),
            owner_class: read.owner_class,
            turn: read.turn,
            sandbox: Sandbox {
                restores: &restores.collect(),
                volumes: &tried.collect(),
                machine: read.machine.as_deref(),
                machine_said: read.machine_said.as_ref(),
                host: read.host.as_deref(),
                nothing_left,
            },
            now: clock,
        };
        let (plan, course) = plan(&seen);
        let judged = Judged {
            generation: object::generation(&proof.metadata),
            now: &now,
        };
        let sign = |evidence: &mut _| {
            let key = &context.parts.evidence;
            key.sign_proof(&me.namespace, &me.name, evidence);
        };
        Decision {
            status: Some(status(&seen, &plan, &course, &judged, sign)),
            plan,
            wake: Vec::new(),
            counts: Counts::None,
        }
    })
    .await
}

/// Names in the sandbox: of the machine, and of the volumes with their restores.
fn names(proof: &RestoreProof, me: &ObjectRef) -> (String, Vec<String>) {
    let machine = sandbox_name(me);
    let trial = proof.status.as_ref().and_then(|s| s.trial.as_ref());
    let count = trial.map_or(0, |trial| trial.volumes.len());
    let volumes = (0..count).map(|number| volume_name(&machine, number));
    let volumes = volumes.collect();
    (machine, volumes)
}

/// Whether the API server says that nothing of the sandbox is there. It is asked only when that
/// matters: the watches may be behind what a Restore has made a moment ago.
async fn nothing_left(
    context: &Context,
    proof: &RestoreProof,
    me: &ObjectRef,
) -> Result<bool, SettleError> {
    let told = proof.status.as_ref();
    let decided = told.is_some_and(|told| told.verdict.is_some() && told.evidence.is_none());
    if !decided && object::life(&proof.metadata) != object::Life::Deleting {
        return Ok(false);
    }
    let (machine, volumes) = names(proof, me);
    let namespace = &context.parts.namespace;
    let stores = &context.stores;
    let shown = stores.vms.get(namespace, &machine).is_some()
        || volumes.iter().any(|name| {
            stores.volumes.get(namespace, name).is_some()
                || stores.restores.get(namespace, name).is_some()
        });
    if shown || api::is_there::<VirtualMachine>(context, namespace, &machine).await? {
        return Ok(false);
    }
    // A Restore makes its Volume: when that is gone first, none is made any more.
    for name in &volumes {
        if api::is_there::<Restore>(context, namespace, name).await?
            || api::is_there::<Volume>(context, namespace, name).await?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What was read around one proof.
struct Read {
    backup: Option<Arc<Backup>>,
    vm: Option<Arc<VirtualMachine>>,
    volumes: BTreeMap<String, Arc<Volume>>,
    class: Option<Arc<MachineClass>>,
    pool: Option<Arc<StoragePool>>,
    owner_class: OwnerClass,
    turn: Turn,
    restores: BTreeMap<String, (Arc<Restore>, Option<Observation>)>,
    tried_volumes: BTreeMap<String, Arc<Volume>>,
    machine: Option<Arc<VirtualMachine>>,
    machine_said: Option<Observation>,
    host: Option<String>,
}

impl Read {
    fn new(look: &mut Look<'_>, proof: &RestoreProof, me: &ObjectRef) -> Self {
        let spec = &proof.spec;
        let backup = look.backup(&me.namespace, &spec.backup);
        let vm = backup
            .as_ref()
            .and_then(|backup| look.vm(&me.namespace, &backup.spec.vm));
        let volumes = own_volumes(look, backup.as_deref(), me);
        let class = validate::names(vm.as_deref(), spec);
        let class = class.and_then(|name| look.class("", &name));
        let first = backup.as_ref().and_then(|backup| {
            let names = backup.status.iter().flat_map(|status| &status.volumes);
            let mut names = names.map(|volume| &volume.volume);
            let volume = names.find_map(|name| volumes.get(name))?;
            Some(volume.spec.pool.clone())
        });
        let pool = spec.pool.clone().or(first);
        let department = look.department("", &me.namespace);
        let (machine, names) = names(proof, me);
        let namespace = look.context.parts.namespace.clone();
        let (mut restores, mut tried_volumes) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            if let Some(volume) = look.volume(&namespace, &name) {
                tried_volumes.insert(name.clone(), volume);
            }
            if let Some(restore) = look.restore(&namespace, &name) {
                let said = said_of_restore(look, &restore);
                restores.insert(name, (restore, said));
            }
        }
        let machine = look.vm(&namespace, &machine);
        let (host, machine_said) = said_of_machine(look, machine.as_deref());
        Self {
            backup,
            vm,
            volumes,
            class,
            pool: pool.and_then(|name| look.pool("", &name)),
            owner_class: department.map_or(OwnerClass::Shared, |d| d.spec.owner_class),
            turn: turn(look, proof, me),
            restores,
            tried_volumes,
            machine,
            machine_said,
            host,
        }
    }
}

/// The volumes of the machine that was backed up, as far as they are there.
fn own_volumes(
    look: &mut Look<'_>,
    backup: Option<&Backup>,
    me: &ObjectRef,
) -> BTreeMap<String, Arc<Volume>> {
    let status = backup.and_then(|backup| backup.status.as_ref());
    let volumes = status.into_iter().flat_map(|status| &status.volumes);
    let found = volumes.filter_map(|volume| {
        let name = volume.volume.clone();
        Some((name.clone(), look.volume(&me.namespace, &name)?))
    });
    found.collect()
}

fn said_of_restore(look: &mut Look<'_>, of: &Restore) -> Option<Observation> {
    let uid = object::uid(&of.metadata)?;
    look.claim(uid.0);
    let host = look.context.parts.ledger.with_claims(|claims| {
        let claim = claims.restores.get(&uid)?;
        Some(claim.value.host.clone())
    })?;
    look.said(&host, &restore::key(uid))
}

fn said_of_machine(
    look: &mut Look<'_>,
    of: Option<&VirtualMachine>,
) -> (Option<String>, Option<Observation>) {
    let Some(machine) = of.and_then(|vm| object::object_ref(&vm.metadata)) else {
        return (None, None);
    };
    look.claim(machine.uid.0);
    let host = look.context.parts.ledger.with_claims(|claims| {
        let claim = claims.vms.get(&vm::id(&machine))?;
        Some(claim.value.host.clone())
    });
    let said = host
        .as_ref()
        .and_then(|host| look.said(host, &vm::key(&machine)));
    (host.map(|host| host.to_string()), said)
}

/// Those that go on are few; of those that wait, the oldest are next. Who waits hears of each of
/// them that ends.
fn turn(look: &mut Look<'_>, proof: &RestoreProof, me: &ObjectRef) -> Turn {
    if goes_on(proof) || has_ended(proof) {
        return Turn::Come;
    }
    let context = look.context;
    let waits = Fact::Proof(ProofFact::WaitsForTurn).words().reason;
    let all = context.stores.proofs.everywhere();
    let all: Vec<Arc<RestoreProof>> = all
        .into_iter()
        .map(|proof| context.reports.latest(proof))
        .filter(|proof| !has_ended(proof) && object::life(&proof.metadata) == object::Life::Wanted)
        .collect();
    let age = |proof: &RestoreProof| {
        let made = proof.metadata.creation_timestamp.as_ref();
        (made.map(|at| at.0), object::uid(&proof.metadata))
    };
    // One that cannot begin holds nobody up.
    let queues = |other: &RestoreProof| {
        let conditions = other.status.iter().flat_map(|status| &status.conditions);
        let mut reasons = conditions.map(|condition| &condition.reason);
        reasons.any(|reason| *reason == waits) && age(other) < age(proof)
    };
    let before = all.iter().filter(|other| {
        goes_on(other) || (object::uid(&other.metadata) != Some(me.uid) && queues(other))
    });
    let mut ahead = 0;
    for other in before {
        ahead += 1;
        let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
        let name = other.metadata.name.as_deref().unwrap_or_default();
        look.watch(Thing::Object(Key::new(Kind::Proof, namespace, name)));
    }
    match ahead < AT_ONCE {
        true => Turn::Come,
        false => Turn::Waits,
    }
}
