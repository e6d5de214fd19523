//! BackupPolicy: makes the Backups whose time has come.

use std::sync::Arc;

use dc_crds::{Backup, InformationSystem, RestoreProof, VirtualMachine};
use dc_operator_core::backup_policy::{Repository, Seen, plan, status};
use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use k8s_openapi::jiff::Timestamp;

use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(policy) = context.stores.backup_policies.get("", &key.name) else {
        context.parts.metrics.backups.forget_policy(&key.name);
        return Ok(Settled::gone());
    };
    let policy = context.reports.latest(policy);
    let judged_at = now();
    settle(context, key, &policy, Kind::BackupPolicy, |look, _| {
        let repository = match look.repository("", &policy.spec.repository) {
            Some(_) => Repository::There,
            None => Repository::Absent,
        };
        let read = Read::new(context, key);
        let machines = read.machines.iter();
        let machines: Vec<_> = machines
            .map(|(vm, system)| (&**vm, system.as_deref()))
            .collect();
        let proofs: Vec<&RestoreProof> = read.proofs.iter().map(|proof| &**proof).collect();
        let backups: Vec<&Backup> = read.backups.iter().map(|backup| &**backup).collect();
        let seen = Seen {
            policy: &policy,
            machines: &machines,
            backups: &backups,
            proofs: &proofs,
            repository,
            now: Timestamp::now().as_second(),
        };
        let (plan, progress) = plan(&seen);
        context.parts.metrics.backups.policy(&key.name, &progress);
        let judged = Judged {
            generation: object::generation(&policy.metadata),
            now: &judged_at,
        };
        Decision {
            status: Some(status(&seen, &plan, &progress, &judged)),
            plan,
            wake: Vec::new(),
            counts: Counts::Some,
        }
    })
    .await
}

/// All machines, and the backups by the policy: gone through when one of them came, went or ended,
/// at most once a second.
struct Read {
    machines: Vec<(Arc<VirtualMachine>, Option<Arc<InformationSystem>>)>,
    backups: Vec<Arc<Backup>>,
    proofs: Vec<Arc<RestoreProof>>,
}

impl Read {
    fn new(context: &Context, key: &Key) -> Self {
        let stores = &context.stores;
        let mut machines = stores.vms.everywhere();
        // What is tried is no machine of anybody's.
        machines.retain(|vm| vm.metadata.namespace.as_deref() != Some(&*context.parts.namespace));
        let machines = machines.into_iter().map(|vm| {
            let namespace = vm.metadata.namespace.as_deref().unwrap_or_default();
            let system = stores.systems.get(namespace, &vm.spec.system);
            (vm, system)
        });
        let mut backups = stores.backups.everywhere();
        backups.retain(|backup| backup.spec.policy.as_deref() == Some(&*key.name));
        Self {
            machines: machines.collect(),
            proofs: stores.proofs.everywhere(),
            backups,
        }
    }
}
