//! Kubernetes' objects in memory, one shelf for each kind, kept by watches.
//!
//! They are kept from the start of the process, also while another operator leads, so that a new
//! leader can act at once. There is no LIST: a watch begins with the objects as they are. Secrets
//! are not watched.
//!
//! A change is told as what to look at again, never as what it was: see [`Change`].

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use dc_crds::{
    Approval, Backup, BackupPolicy, BackupRepository, DEPARTMENT_LABEL, Department, Host, Image,
    InformationSystem, MachineClass, MachineRestore, RequestPolicy, ResourceRequest, Restore,
    RestoreProof, StoragePool, Subnet, VirtualMachine, Volume, VolumeSnapshot, Zone,
};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};

pub mod key;
mod shelf;
mod tell;

pub use key::{Key, Kind};
pub use shelf::Shelf;
use shelf::Taken;
use tell::Tells;

/// How many changes a subscriber may be behind before it must look at everything again.
const CHANGES: usize = 16384;

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An object came, went, or asks for something else.
    Object(Key),
    /// Look at this again: something that it sums up has changed.
    Look(Key),
    /// The same, for one that sums up so many that a moment later is soon enough.
    Recount(Key),
}

/// Cheap to clone; all clones are one cache.
#[derive(Clone)]
pub struct Stores {
    inner: Arc<Inner>,
}

pub struct Inner {
    pub departments: Shelf<Department>,
    pub hosts: Shelf<Host>,
    pub zones: Shelf<Zone>,
    pub pools: Shelf<StoragePool>,
    pub images: Shelf<Image>,
    pub classes: Shelf<MachineClass>,
    pub systems: Shelf<InformationSystem>,
    pub subnets: Shelf<Subnet>,
    pub volumes: Shelf<Volume>,
    pub snapshots: Shelf<VolumeSnapshot>,
    pub vms: Shelf<VirtualMachine>,
    pub requests: Shelf<ResourceRequest>,
    pub approvals: Shelf<Approval>,
    pub policies: Shelf<RequestPolicy>,
    pub repositories: Shelf<BackupRepository>,
    pub backup_policies: Shelf<BackupPolicy>,
    pub backups: Shelf<Backup>,
    pub restores: Shelf<Restore>,
    pub machine_restores: Shelf<MachineRestore>,
    pub proofs: Shelf<RestoreProof>,
    pub namespaces: Shelf<Namespace>,
    pub roles: Shelf<Role>,
    pub bindings: Shelf<RoleBinding>,
    changes: broadcast::Sender<Change>,
    /// Kinds that have not been read whole yet.
    missing: watch::Sender<usize>,
}

impl std::ops::Deref for Stores {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.inner
    }
}

/// How long a watch may show nothing before it is begun anew, and its kind read again.
const SILENCE: Duration = Duration::from_secs(600);

/// Before a watch that has ended is begun anew.
const WATCH_AGAIN: Duration = Duration::from_secs(1);

/// Kinds that are watched.
const WATCHES: usize = 23;

impl Stores {
    /// Begins to watch, for as long as the process lives.
    #[must_use]
    pub fn start(client: &Client) -> Self {
        let stores = Self::empty();
        let all = watcher::Config::default;
        let ours = || watcher::Config::default().labels(DEPARTMENT_LABEL);
        stores.watch(client, |s| &s.departments, all());
        stores.watch(client, |s| &s.hosts, all());
        stores.watch(client, |s| &s.zones, all());
        stores.watch(client, |s| &s.pools, all());
        stores.watch(client, |s| &s.images, all());
        stores.watch(client, |s| &s.classes, all());
        stores.watch(client, |s| &s.systems, all());
        stores.watch(client, |s| &s.subnets, all());
        stores.watch(client, |s| &s.volumes, all());
        stores.watch(client, |s| &s.snapshots, all());
        stores.watch(client, |s| &s.vms, all());
        stores.watch(client, |s| &s.requests, all());
        stores.watch(client, |s| &s.approvals, all());
        stores.watch(client, |s| &s.policies, all());
        stores.watch(client, |s| &s.repositories, all());
        stores.watch(client, |s| &s.backup_policies, all());
        stores.watch(client, |s| &s.backups, all());
        stores.watch(client, |s| &s.restores, all());
        stores.watch(client, |s| &s.machine_restores, all());
        stores.watch(client, |s| &s.proofs, all());
        stores.watch(client, |s| &s.namespaces, all());
        stores.watch(client, |s| &s.roles, ours());
        stores.watch(client, |s| &s.bindings, ours());
        stores
    }

    pub(crate) fn empty() -> Self {
        Self {
            inner: Arc::new(Inner {
                departments: Shelf::default(),
                hosts: Shelf::default(),
                zones: Shelf::default(),
                pools: Shelf::default(),
                images: Shelf::default(),
                classes: Shelf::default(),
                systems: Shelf::default(),
                subnets: Shelf::default(),
                volumes: Shelf::default(),
                snapshots: Shelf::default(),
                vms: Shelf::default(),
                requests: Shelf::default(),
                approvals: Shelf::default(),
                policies: Shelf::default(),
                repositories: Shelf::default(),
                backup_policies: Shelf::default(),
                backups: Shelf::default(),
                restores: Shelf::default(),
                machine_restores: Shelf::default(),
                proofs: Shelf::default(),
                namespaces: Shelf::default(),
                roles: Shelf::default(),
                bindings: Shelf::default(),
                changes: broadcast::Sender::new(CHANGES),
                missing: watch::Sender::new(WATCHES),
            }),
        }
    }

    #[cfg(test)]
    pub(crate) fn put_vm(&self, vm: VirtualMachine) {
        self.vms.take(kube::runtime::watcher::Event::Apply(vm));
    }

    /// Every change from now on. A subscriber that lags behind must look at everything again.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Returns once every kind was read whole.
    pub async fn wait_read(&self) {
        let mut missing = self.missing.subscribe();
        // The sender lives in `self`.
        let _ = missing.wait_for(|missing| *missing == 0).await;
    }

    /// The version in which the object of a key is here.
    #[must_use]
    pub fn version(&self, key: &Key) -> Option<u64> {
        let (namespace, name) = (&*key.namespace, &*key.name);
        match key.kind {
            Kind::Department => self.departments.version(namespace, name),
            Kind::Host => self.hosts.version(namespace, name),
            Kind::Zone => self.zones.version(namespace, name),
            Kind::Pool => self.pools.version(namespace, name),
            Kind::Image => self.images.version(namespace, name),
            Kind::Class => self.classes.version(namespace, name),
            Kind::System => self.systems.version(namespace, name),
            Kind::Subnet => self.subnets.version(namespace, name),
            Kind::Volume => self.volumes.version(namespace, name),
            Kind::Snapshot => self.snapshots.version(namespace, name),
            Kind::Vm => self.vms.version(namespace, name),
            Kind::Request => self.requests.version(namespace, name),
            Kind::Approval => self.approvals.version(namespace, name),
            Kind::Policy => self.policies.version(namespace, name),
            Kind::Repository => self.repositories.version(namespace, name),
            Kind::BackupPolicy => self.backup_policies.version(namespace, name),
            Kind::Backup => self.backups.version(namespace, name),
            Kind::Restore => self.restores.version(namespace, name),
            Kind::MachineRestore => self.machine_restores.version(namespace, name),
            Kind::Proof => self.proofs.version(namespace, name),
            Kind::Network | Kind::Showback => None,
        }
    }

    /// Every key there is, of the kinds that are reconciled.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        keys.extend(self.departments.keys(Kind::Department));
        keys.extend(self.hosts.keys(Kind::Host));
        keys.extend(self.zones.keys(Kind::Zone));
        keys.extend(self.pools.keys(Kind::Pool));
        keys.extend(self.images.keys(Kind::Image));
        keys.extend(self.classes.keys(Kind::Class));
        keys.extend(self.subnets.keys(Kind::Subnet));
        keys.extend(self.volumes.keys(Kind::Volume));
        keys.extend(self.snapshots.keys(Kind::Snapshot));
        keys.extend(self.vms.keys(Kind::Vm));
        keys.extend(self.systems.keys(Kind::System));
        keys.extend(self.requests.keys(Kind::Request));
        keys.extend(self.approvals.keys(Kind::Approval));
        keys.extend(self.policies.keys(Kind::Policy));
        keys.extend(self.repositories.keys(Kind::Repository));
        keys.extend(self.backups.keys(Kind::Backup));
        keys.extend(self.restores.keys(Kind::Restore));
        keys.extend(self.machine_restores.keys(Kind::MachineRestore));
        keys.extend(self.proofs.keys(Kind::Proof));
        keys.extend(self.backup_policies.keys(Kind::BackupPolicy));
        keys
    }

    fn watch<K>(&self, client: &Client, shelf: fn(&Inner) -> &Shelf<K>, config: watcher::Config)
    where
        K: Resource<DynamicType = ()> + Tells + Clone + DeserializeOwned + Debug + Send + Sync,
        K: 'static,
    {
        let api: Api<K> = Api::all(client.clone());
        let stores = self.clone();
        let config = config.streaming_lists();
        tokio::spawn(async move {
            // One that ends, or dies of a defect, is begun anew: an operator that does not hear of a
            // kind any more would go on as if nothing were asked of it.
            let read = Arc::new(AtomicBool::new(false));
            loop {
                let (stores, read) = (stores.clone(), read.clone());
                let watched = stores.follow(api.clone(), shelf, config.clone(), read);
                let ended = tokio::spawn(watched).await;
                tracing::error!(kind = %K::kind(&()), ?ended, "the watch has ended; it is begun anew");
                tokio::time::sleep(WATCH_AGAIN).await;
            }
        });
    }

    /// Takes what a watch shows, until it ends; `read` is set once the kind has been read whole.
    async fn follow<K>(
        self,
        api: Api<K>,
        shelf: fn(&Inner) -> &Shelf<K>,
        config: watcher::Config,
        read: Arc<AtomicBool>,
    ) where
        K: Resource<DynamicType = ()> + Tells + Clone + DeserializeOwned + Debug + Send + Sync,
        K: 'static,
    {
        let begin = || {
            let events = watcher(api.clone(), config.clone()).default_backoff();
            events.map_ok(|event| event.modify(drop_unread)).boxed()
        };
        let mut events = begin();
        loop {
            let event = match tokio::time::timeout(SILENCE, events.next()).await {
                Ok(Some(event)) => event,
                Ok(None) => return,
                // Most likely nothing has happened. But one that hears nothing any more looks just
                // like it, and was seen once, after the API server had been killed.
                Err(_) => {
                    events = begin();
                    continue;
                }
            };
            match event {
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "the watch is renewed");
                }
                Ok(event) => {
                    let done = matches!(event, watcher::Event::InitDone);
                    let taken = shelf(&self).take(event);
                    self.tell(&taken);
                    if done && !read.swap(true, Ordering::Relaxed) {
                        self.missing.send_modify(|missing| *missing -= 1);
                    }
                }
            }
        }
    }

    fn tell<K: Tells>(&self, taken: &[Taken<K>]) {
        for taken in taken {
            for change in K::tells(taken.old.as_deref(), taken.new.as_deref()) {
                // Nobody listening is fine: then nobody leads.
                let _ = self.changes.send(change);
            }
        }
    }
}

/// What nobody reads and weighs most: who wrote which field, and kubectl's copy of the whole.
fn drop_unread<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The version of an object. Versions of one object are ordered as numbers since Kubernetes 1.35;
/// before that they were in practice.
#[must_use]
pub fn version_of<K: Resource>(object: &K) -> u64 {
    let version = object.meta().resource_version.as_deref();
    version.and_then(|v| v.parse().ok()).unwrap_or_default()
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    // Each change leaves the shelf whole, so a panic elsewhere has not broken it.
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
