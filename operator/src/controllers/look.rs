//! Reading for one key: everything that is read is noted as an interest first.

use std::collections::HashSet;
use std::sync::Arc;

use dc_crds::{
    Backup, BackupPolicy, BackupRepository, Department, Image, InformationSystem, MachineClass,
    ResourceRequest, Restore, StoragePool, Subnet, VirtualMachine, Volume, VolumeSnapshot, Zone,
};
use dc_operator_core::claims::Claims;
use dc_operator_core::place::Presence;
use dc_operator_core::sight::Removal;
use dc_types::plan::ItemKey;
use dc_types::report::{HostFacts, Observation};
use dc_types::{Epoch, HostName};
use uuid::Uuid;

use super::Context;
use super::interest::Thing;
use crate::observed::{HostSession, Observed};
use crate::stores::{Key, Kind};

/// One look of one key.
pub struct Look<'a> {
    pub context: &'a Context,
    key: &'a Key,
    used: HashSet<Thing>,
}

macro_rules! reads_object {
    ($($name:ident: $type:ty = $shelf:ident, $kind:expr);* $(;)?) => {$(
        pub fn $name(&mut self, namespace: &str, name: &str) -> Option<Arc<$type>> {
            self.note(Thing::Object(Key::new($kind, namespace, name)));
            self.context.stores.$shelf.get(namespace, name)
        }
    )*};
}

impl<'a> Look<'a> {
    #[must_use]
    pub fn new(context: &'a Context, key: &'a Key) -> Self {
        Self {
            context,
            key,
            used: HashSet::new(),
        }
    }

    reads_object! {
        department: Department = departments, Kind::Department;
        zone: Zone = zones, Kind::Zone;
        pool: StoragePool = pools, Kind::Pool;
        image: Image = images, Kind::Image;
        class: MachineClass = classes, Kind::Class;
        system: InformationSystem = systems, Kind::System;
        subnet: Subnet = subnets, Kind::Subnet;
        volume: Volume = volumes, Kind::Volume;
        snapshot: VolumeSnapshot = snapshots, Kind::Snapshot;
        vm: VirtualMachine = vms, Kind::Vm;
        request: ResourceRequest = requests, Kind::Request;
        repository: BackupRepository = repositories, Kind::Repository;
        backup_policy: BackupPolicy = backup_policies, Kind::BackupPolicy;
        backup: Backup = backups, Kind::Backup;
        restore: Restore = restores, Kind::Restore;
    }

    /// What a host says of an item.
    pub fn said(&mut self, host: &HostName, item: &ItemKey) -> Option<Observation> {
        self.note(Thing::Item(host.clone(), *item));
        self.context.parts.observed.item(host, item)
    }

    pub fn presence(&mut self, host: &HostName) -> Presence {
        self.note(Thing::Session(host.clone()));
        presence(&self.context.parts.observed, host)
    }

    pub fn facts(&mut self, host: &HostName) -> Option<Arc<HostFacts>> {
        self.note(Thing::Facts(host.clone()));
        self.context.parts.observed.facts(host)
    }

    /// What a host is, by one who need not know when it changes.
    #[must_use]
    pub fn facts_once(&self, host: &HostName) -> Option<Arc<HostFacts>> {
        self.context.parts.observed.facts(host)
    }

    /// Notes an interest in a claim, which is then read from the ledger.
    pub fn claim(&mut self, id: Uuid) {
        self.note(Thing::Claim(id));
    }

    /// Notes an interest in the backups of a machine.
    pub fn backups(&mut self, vm: Uuid) {
        self.note(Thing::Backups(vm));
    }

    /// Notes an interest in a thing that is read elsewhere.
    pub fn watch(&mut self, thing: Thing) {
        self.note(thing);
    }

    /// Waits for room on hosts.
    pub fn capacity(&mut self) {
        self.note(Thing::Capacity);
    }

    /// Waits for room in a department's quota.
    pub fn room(&mut self, department: &str) {
        self.note(Thing::Room(department.to_owned()));
    }

    /// No longer wants to hear of a thing, from the end of this look on.
    pub fn forget(&mut self, thing: &Thing) {
        self.used.remove(thing);
    }

    /// How far the removal of an item from a host is, when it was claimed under `epoch`.
    pub fn removal(
        &mut self,
        claims: &Claims,
        host: &HostName,
        item: &ItemKey,
        epoch: Epoch,
    ) -> Removal {
        self.note(Thing::Item(host.clone(), *item));
        if self.context.parts.observed.is_released(host, item, epoch) {
            return Removal::Done;
        }
        match claims.releases.contains_key(&(host.clone(), *item)) {
            true => Removal::Pending,
            false => Removal::NotAsked,
        }
    }

    /// Ends the look: what was not read any more no longer wakes the key.
    pub fn end(self) {
        self.context.interests.keep_only(self.key, &self.used);
    }

    fn note(&mut self, thing: Thing) {
        if !self.used.contains(&thing) {
            self.context.interests.note(self.key, &thing);
            self.used.insert(thing);
        }
    }
}

/// Whether a host's agent is in session.
#[must_use]
pub fn presence(observed: &Observed, host: &HostName) -> Presence {
    match observed.session(host) {
        HostSession::Connected { .. } => Presence::Connected,
        HostSession::Silent { .. } => Presence::Silent,
        HostSession::Never => Presence::Never,
    }
}
