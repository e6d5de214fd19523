//! Backup: its claim and its group of snapshots, then an item on the storage host that reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dc_crds::{
    Backup, BackupRepository, Image, InformationSystem, MachineClass, RestoreProof, VirtualMachine,
};
use dc_operator_core::backup::manifest::Around;
use dc_operator_core::backup::status::Known;
use dc_operator_core::backup::{
    Made, RepositorySeen, Seen, group, key as item_key, plan, repository, status,
};
use dc_operator_core::backup_policy::keep::verdict;
use dc_operator_core::backup_policy::usual::usual;
use dc_operator_core::claims::Claims;
use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use dc_operator_core::place::Presence;
use dc_operator_core::sight::Removal;
use dc_operator_core::snapshot::Target;
use dc_operator_core::vm::volume_name;
use dc_operator_core::words::{BackupFact, Fact};
use dc_types::plan::RepositoryAccess;
use dc_types::report::Observation;
use dc_types::{Epoch, HostName, ObjectRef};

use super::look::Look;
use super::repository::logins::Found;
use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now, snapshot};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(backup) = context.stores.backups.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let backup = context.reports.latest(backup);
    let Some(me) = object::object_ref(&backup.metadata) else {
        return Ok(Settled::gone());
    };
    let now = now();
    let logins = Opened::read(context, &backup.spec.repository).await?;
    let group = group(&backup);
    settle(context, key, &backup, Kind::Backup, |look, _| {
        let proofs = context.stores.proofs.in_namespace(&key.namespace);
        let proofs = proofs.iter().map(|proof| &**proof);
        let proofs: Vec<&RestoreProof> = proofs
            .filter(|proof| *proof.spec.backup == *key.name)
            .collect();
        let snapshots = snapshot::Read::new(look, &group, &me);
        let read = Read::new(look, &backup, &me, &logins);
        let ledger = &context.parts.ledger;
        ledger.with_claims(|claims| {
            let members = snapshots.members(look, claims);
            let targets = snapshots.targets();
            let access = read.access.as_ref().map(Result::as_ref);
            let seen = Seen {
                backup: &backup,
                me: &me,
                vm: read.vm.as_deref(),
                around: &read.around(),
                repository: read
                    .repository
                    .as_deref()
                    .zip(access)
                    .map(|(object, access)| RepositorySeen { object, access }),
                target: match &targets {
                    Some(targets) => Target::Volumes(targets),
                    None => Target::Absent,
                },
                machine: snapshots.machine.as_ref(),
                members: &members,
                presence: read.presence,
                said: read.said.as_ref(),
                removal: read.removal(look, claims, &me),
                made: read.made,
                claims,
            };
            let plan = plan(&seen);
            let judged = Judged {
                generation: object::generation(&backup.metadata),
                now: &now,
            };
            Decision {
                status: Some(status(
                    &seen,
                    &plan,
                    Known {
                        kept: read.kept.as_ref(),
                        usual: read.usual.as_ref(),
                        proofs: &proofs,
                    },
                    &judged,
                )),
                wake: snapshot::wake(key, &snapshots),
                plan,
                counts: Counts::Some,
            }
        })
    })
    .await
}

/// What opens a repository: read before a look, which reads nothing that takes time.
pub(super) struct Opened {
    logins: Found,
}

impl Opened {
    pub(super) async fn read(context: &Context, repository: &str) -> Result<Self, SettleError> {
        let found = context.stores.repositories.get("", repository);
        let logins = match found {
            Some(found) => context.logins.read(context, &found).await?,
            None => Found::NotAsked,
        };
        Ok(Self { logins })
    }

    /// How a department gets into its repository.
    pub(super) fn access(
        &self,
        context: &Context,
        found: &BackupRepository,
        department: &str,
    ) -> Result<RepositoryAccess, BackupFact> {
        let keys = &context.parts.recovery_keys;
        repository::access(found, department, keys, self.logins.as_seen())
    }
}

/// What was read around one backup.
struct Read {
    vm: Option<Arc<VirtualMachine>>,
    system: Option<Arc<InformationSystem>>,
    class: Option<Arc<MachineClass>>,
    images: BTreeMap<String, Arc<Image>>,
    repository: Option<Arc<BackupRepository>>,
    access: Option<Result<RepositoryAccess, BackupFact>>,
    host: Option<(HostName, Epoch)>,
    presence: Presence,
    said: Option<Observation>,
    made: Made,
    /// Whether its policy keeps it, when it is done.
    kept: Option<Fact>,
    /// Whether its run was like those before it.
    usual: Option<Fact>,
}

impl Read {
    fn new(look: &mut Look<'_>, backup: &Backup, me: &ObjectRef, opened: &Opened) -> Self {
        let context = look.context;
        look.claim(me.uid.0);
        let vm = look.vm(&me.namespace, &backup.spec.vm);
        let uid = vm.as_ref().and_then(|vm| object::uid(&vm.metadata));
        let (claimed, others) = context.parts.ledger.with_claims(|claims| {
            let claim = claims.backups.get(&me.uid);
            let claimed = claim.map(|claim| {
                let host = claim.value.host.clone();
                ((host, claim.epoch), claim.value.vm.0)
            });
            // Those that may be making the department's repository.
            let others = claims.backups.values().filter(|other| {
                other.value.owner.namespace == me.namespace
                    && other.value.repository == backup.spec.repository
            });
            let others = others.map(|other| other.value.owner.uid.0);
            (claimed, others.collect::<Vec<_>>())
        });
        let (host, claimed_vm) = claimed.unzip();
        if host.is_none() {
            others.into_iter().for_each(|other| look.claim(other));
        }
        for vm in uid.map(|uid| uid.0).into_iter().chain(claimed_vm) {
            look.backups(vm);
        }
        let repository = look.repository("", &backup.spec.repository);
        let access = repository.as_ref();
        let access = access.map(|found| opened.access(context, found, &me.namespace));
        let system = vm
            .as_ref()
            .and_then(|vm| look.system(&me.namespace, &vm.spec.system));
        let class = vm.as_ref().and_then(|vm| look.class("", &vm.spec.class));
        let at = host.as_ref().map(|(host, _)| host.clone());
        let (kept, usual) = siblings(look, backup, me);
        Self {
            images: images(look, me, vm.as_deref()),
            presence: at.as_ref().map_or(Presence::Never, |at| look.presence(at)),
            said: at.and_then(|at| look.said(&at, &item_key(me.uid))),
            made: made(context, backup, me),
            kept,
            usual,
            vm,
            system,
            class,
            repository,
            access,
            host,
        }
    }

    fn around(&self) -> Around<'_> {
        let images = self.images.iter();
        Around {
            system: self.system.as_deref(),
            class: self.class.as_deref(),
            images: images
                .map(|(name, image)| (name.clone(), &**image))
                .collect(),
        }
    }

    fn removal(&self, look: &mut Look<'_>, claims: &Claims, me: &ObjectRef) -> Removal {
        match &self.host {
            Some((host, epoch)) => look.removal(claims, host, &item_key(me.uid), *epoch),
            None => Removal::NotAsked,
        }
    }
}

/// The images that the machine's volumes were made from.
fn images(
    look: &mut Look<'_>,
    me: &ObjectRef,
    vm: Option<&VirtualMachine>,
) -> BTreeMap<String, Arc<Image>> {
    let Some(vm) = vm else {
        return BTreeMap::new();
    };
    let name = vm.metadata.name.as_deref().unwrap_or_default();
    let disks = vm.spec.disks.iter();
    let volumes: Vec<String> = disks.map(|disk| volume_name(name, disk)).collect();
    let mut images = BTreeMap::new();
    for volume in volumes {
        let volume = look.volume(&me.namespace, &volume);
        let name = volume.and_then(|volume| volume.spec.source.image.clone());
        if let Some(name) = name
            && let Some(image) = look.image("", &name)
        {
            images.insert(name, image);
        }
    }
    images
}

/// What the rules of its policy say: whether it is kept, and whether its run was like those before it.
/// Its siblings are not told of each other: that one may go is found within the quarter of an hour in
/// which everything is looked at.
fn siblings(look: &mut Look<'_>, backup: &Backup, me: &ObjectRef) -> (Option<Fact>, Option<Fact>) {
    let done = |backup: &Backup| {
        let status = backup.status.as_ref();
        status.is_some_and(|status| status.snapshot_id.is_some())
    };
    if !done(backup) {
        return (None, None);
    }
    let name = backup.spec.policy.as_ref();
    let policy = name.and_then(|name| look.backup_policy("", name));
    let all = look.context.stores.backups.in_namespace(&me.namespace);
    let siblings = all.iter().map(|other| &**other).filter(|other| {
        done(other) && other.spec.policy == backup.spec.policy && other.spec.vm == backup.spec.vm
    });
    let siblings: Vec<&Backup> = siblings.collect();
    let policy = policy.as_deref();
    let kept = verdict(backup, policy, &siblings);
    (Some(kept), usual(backup, policy, &siblings))
}

/// Whether the department has the record of a backup in the repository.
fn made(context: &Context, backup: &Backup, me: &ObjectRef) -> Made {
    let there = context.stores.backups.in_namespace(&me.namespace);
    let done = there.iter().any(|other| {
        let status = other.status.as_ref();
        other.spec.repository == backup.spec.repository
            && status.is_some_and(|status| status.snapshot_id.is_some())
    });
    match done {
        true => Made::Certainly,
        false => Made::Unknown,
    }
}
