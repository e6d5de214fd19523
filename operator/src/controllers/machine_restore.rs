//! MachineRestore: an item on a storage host that reads the manifest, Restores for the volumes, then
//! the machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use dc_crds::{
    Backup, BackupRepository, MachineClass, MachineRestore, Restore, StoragePool, Subnet,
    VirtualMachine, Volume,
};
use dc_operator_core::backup::RepositorySeen;
use dc_operator_core::conditions::Judged;
use dc_operator_core::machine_restore::design::design;
use dc_operator_core::machine_restore::{
    Around, Design, Seen, key as item_key, plan, repository, status,
};
use dc_operator_core::object;
use dc_operator_core::place::Presence;
use dc_operator_core::quota::Asker;
use dc_operator_core::volume::Named;
use dc_operator_core::words::BackupFact;
use dc_types::ObjectRef;
use dc_types::plan::RepositoryAccess;
use dc_types::report::{Detail, Observation};
use k8s_openapi::jiff::Timestamp;

use super::backup::Opened;
use super::look::Look;
use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, quota, time_text};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let found = &context.stores.machine_restores;
    let Some(restore) = found.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let restore = context.reports.latest(restore);
    let Some(me) = object::object_ref(&restore.metadata) else {
        return Ok(Settled::gone());
    };
    let clock = Timestamp::now();
    let now = time_text(clock);
    let opened = Opened::read(context, &repository_of(context, &restore, &me)).await?;
    settle(context, key, &restore, Kind::MachineRestore, |look, _| {
        let budget = quota::Read::new(look, &me.namespace);
        let read = Read::new(look, &restore, &me, &opened);
        let built = read.built.as_ref().map(Built::names);
        let access = read.access.as_ref().map(Result::as_ref);
        let ledger = &context.parts.ledger;
        let decision = ledger.with_claims(|claims| {
            let ahead = |asker: Asker| budget.ahead(claims, asker);
            let seen = Seen {
                restore: &restore,
                me: &me,
                backup: read.backup.as_deref(),
                repository: read
                    .repository
                    .as_deref()
                    .zip(access)
                    .map(|(object, access)| RepositorySeen { object, access }),
                pool: read.pool.as_deref(),
                presence: read.presence,
                said: read.said.as_ref(),
                around: read
                    .built
                    .as_ref()
                    .zip(built.as_ref())
                    .map(|(built, names)| built.around(names)),
                allowance: budget.allowance(&ahead),
                claims,
            };
            let (plan, course) = plan(&seen, clock);
            let judged = Judged {
                generation: object::generation(&restore.metadata),
                now: &now,
            };
            Decision {
                status: Some(status(&seen, &plan, &course, &judged)),
                plan,
                wake: Vec::new(),
                counts: Counts::None,
            }
        });
        quota::heed(look, &me.namespace, &decision.plan.found);
        decision
    })
    .await
}

/// What is claimed says where it reads, whatever became of the record.
fn repository_of(context: &Context, restore: &MachineRestore, me: &ObjectRef) -> String {
    let claimed = context.parts.ledger.with_claims(|claims| {
        let claim = claims.manifests.get(&me.uid)?;
        Some(claim.value.repository.clone())
    });
    let named = || {
        let name = restore.spec.backup.as_ref()?;
        let backup = context.stores.backups.get(&me.namespace, name);
        repository(restore, backup.as_deref()).map(str::to_owned)
    };
    let of_snapshot = || repository(restore, None).map(str::to_owned);
    let found = claimed.or_else(of_snapshot).or_else(named);
    found.unwrap_or_default()
}

/// What was read around one restore of a machine.
struct Read {
    backup: Option<Arc<Backup>>,
    repository: Option<Arc<BackupRepository>>,
    access: Option<Result<RepositoryAccess, BackupFact>>,
    pool: Option<Arc<StoragePool>>,
    presence: Presence,
    said: Option<Observation>,
    built: Option<Built>,
}

impl Read {
    fn new(look: &mut Look<'_>, restore: &MachineRestore, me: &ObjectRef, opened: &Opened) -> Self {
        let context = look.context;
        look.claim(me.uid.0);
        let spec = &restore.spec;
        let backup = spec.backup.as_ref();
        let backup = backup.and_then(|name| look.backup(&me.namespace, name));
        let host = context.parts.ledger.with_claims(|claims| {
            let claim = claims.manifests.get(&me.uid)?;
            Some(claim.value.host.clone())
        });
        let repository = look.repository("", &repository_of(context, restore, me));
        let access = repository.as_ref();
        let access = access.map(|found| opened.access(context, found, &me.namespace));
        let presence = host
            .as_ref()
            .map_or(Presence::Never, |at| look.presence(at));
        let said = host.and_then(|at| look.said(&at, &item_key(me.uid)));
        let manifest = said.as_ref().and_then(|said| match &said.detail {
            Detail::Manifest { read } => read.as_deref(),
            _ => None,
        });
        let design = manifest.and_then(|read| design(spec, me, read).ok());
        Self {
            pool: spec.pool.as_ref().and_then(|name| look.pool("", name)),
            built: design.map(|design| Built::new(look, &design, me)),
            backup,
            repository,
            access,
            presence,
            said,
        }
    }
}

/// What of a design is there.
struct Built {
    system: Named,
    class: Option<Arc<MachineClass>>,
    pools: BTreeMap<String, Arc<StoragePool>>,
    subnets: BTreeMap<String, Arc<Subnet>>,
    volumes: BTreeMap<String, Arc<Volume>>,
    restores: BTreeMap<String, Arc<Restore>>,
    machine: Option<Arc<VirtualMachine>>,
}

/// The same, as it is looked at.
struct Names<'a> {
    pools: BTreeMap<String, &'a StoragePool>,
    subnets: BTreeMap<String, &'a Subnet>,
    volumes: BTreeMap<String, &'a Volume>,
    restores: BTreeMap<String, &'a Restore>,
}

impl Built {
    fn new(look: &mut Look<'_>, design: &Design, me: &ObjectRef) -> Self {
        let namespace = &me.namespace;
        let (mut pools, mut volumes, mut restores) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for volume in &design.volumes {
            let (pool, name) = (&volume.to.pool, &volume.to.name);
            if let Some(found) = look.pool("", pool) {
                pools.insert(pool.clone(), found);
            }
            if let Some(found) = look.volume(namespace, name) {
                volumes.insert(name.clone(), found);
            }
            if let Some(found) = look.restore(namespace, &volume.restore) {
                restores.insert(volume.restore.clone(), found);
            }
        }
        let cards = design.spec.interfaces.iter();
        let subnets = cards.filter_map(|card| {
            let found = look.subnet(namespace, &card.subnet)?;
            Some((card.subnet.clone(), found))
        });
        let subnets = subnets.collect();
        let system = match look.system(namespace, &design.spec.system) {
            Some(_) => Named::There,
            None => Named::Absent,
        };
        Self {
            system,
            class: look.class("", &design.spec.class),
            machine: look.vm(namespace, &design.name),
            pools,
            subnets,
            volumes,
            restores,
        }
    }

    fn names(&self) -> Names<'_> {
        Names {
            pools: by_name(&self.pools),
            subnets: by_name(&self.subnets),
            volumes: by_name(&self.volumes),
            restores: by_name(&self.restores),
        }
    }

    fn around<'a>(&'a self, names: &'a Names<'a>) -> Around<'a> {
        Around {
            system: self.system,
            class: self.class.as_deref(),
            pools: &names.pools,
            subnets: &names.subnets,
            volumes: &names.volumes,
            restores: &names.restores,
            machine: self.machine.as_deref(),
        }
    }
}

fn by_name<K>(all: &BTreeMap<String, Arc<K>>) -> BTreeMap<String, &K> {
    let all = all.iter();
    all.map(|(name, found)| (name.clone(), &**found)).collect()
}
