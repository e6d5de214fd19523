//! Claims made again from what hosts hold, after the ledger was lost or rolled back.
//!
//! Storage has the last word on who may open a volume, because it is what really fences: a grant
//! that stands is a claim that stands. A machine that several hosts hold is claimed where its grants
//! are in force, else by the newest epoch; the others are listed for a person, and what they hold is
//! left alone. Nothing is given to anyone who did not have it before. Machines, volumes and
//! attachments keep the epochs that hosts and storage know them by, so that a guest does not notice;
//! networks get new ones. A guest that is held for a snapshot is let go.
//!
//! What no host holds is claimed by its controller as for the first time, except prefixes and ids
//! of subnets, which are taken from the status people read.

use std::collections::{BTreeMap, BTreeSet};

use dc_crds::condition::types;
use dc_crds::{Backup, Department, Subnet, Volume, VolumeSnapshot};
use dc_types::claim::{
    AttachClaim, CardClaim, Cipher, Contents, DepartmentClaim, HeldBy, SubnetClaim, VmClaim,
    VolumeClaim, keys,
};
use dc_types::plan::{GrantItem, Item, ItemBody, NetworkItem, VmItem, VolumeItem};
use dc_types::{DepartmentName, Epoch, HostName, InstanceId, ObjectRef, ObjectUid, SubnetUid, Vni};
use serde::Serialize;

use crate::claims::{HostIdentity, Rebuilt, host_key};
use crate::conditions::find;
use crate::object;
use crate::vm::claim::held_keys;
use crate::words::{BackupFact, Fact};

mod grants;
mod moves;
mod networks;
mod places;
mod snapshots;

use grants::Grants;
use places::{Places, stored};

/// What one host holds.
#[derive(Clone, Debug)]
pub struct Inventory {
    pub host: HostName,
    /// The certificate that it spoke by.
    pub identity: HostIdentity,
    pub items: Vec<Item>,
}

/// The objects whose claims are not (only) known to hosts.
#[derive(Debug, Default)]
pub struct Objects {
    pub subnets: Vec<Subnet>,
    pub departments: Vec<Department>,
    pub snapshots: Vec<VolumeSnapshot>,
    pub volumes: Vec<Volume>,
    pub backups: Vec<Backup>,
    /// The volumes whose wrapped keys the ledger has: they stay where they are.
    pub keys: BTreeSet<InstanceId>,
}

/// The ledger as it is to be, and what a person must look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Relative keys with their values.
    pub keys: BTreeMap<String, String>,
    /// One sentence each.
    pub disagreements: Vec<String>,
}

impl Outcome {
    fn put(&mut self, key: String, value: &impl Serialize) {
        let value = serde_json::to_string(value).expect("a claim is always representable as JSON");
        self.keys.insert(key, value);
    }

    fn disagree(&mut self, what: String) {
        self.disagreements.push(what);
    }

    /// Takes an index key for its holder, unless another has it.
    fn hold(&mut self, key: String, holder: ObjectUid, of: &ObjectRef) {
        let value = serde_json::to_string(&HeldBy { holder });
        let value = value.expect("an id is always representable as JSON");
        match self.keys.get(&key) {
            Some(other) if *other != value => self.disagree(format!(
                "{key} is used by {of} and by another, which keeps it in the ledger: give one of \
                 them another"
            )),
            _ => {
                self.keys.insert(key, value);
            }
        }
    }
}

/// One item on one host.
#[derive(Clone, Copy)]
struct Found<'a, T> {
    host: &'a HostName,
    item: &'a Item,
    body: &'a T,
}

#[must_use]
pub fn rebuild(inventories: &[Inventory], objects: &Objects) -> Outcome {
    let mut outcome = Outcome::default();
    for inventory in inventories {
        outcome.put(host_key(&inventory.host), &inventory.identity);
    }
    let volumes = by_id(inventories, |body| match body {
        ItemBody::Volume(volume) => Some((volume.volume, volume)),
        _ => None,
    });
    let grants = Grants::new(by_id(inventories, |body| match body {
        ItemBody::Grant(grant) => Some((grant.volume, grant)),
        _ => None,
    }));
    let open = open(inventories);
    let vms = by_id(inventories, |body| match body {
        ItemBody::Vm(vm) => Some((vm.vm, vm.as_ref())),
        _ => None,
    });
    let places = Places::new(&volumes, &vms);
    let unwritten = unwritten(inventories, objects);
    let encrypted = encrypted(&vms, objects);
    rebuild_volumes(
        &mut outcome,
        &volumes,
        &places,
        (&unwritten, &encrypted, objects),
    );
    moves::rebuild(&mut outcome, &volumes, &vms, &grants, &places);
    snapshots::rebuild(&mut outcome, inventories, &volumes, &places, objects);
    let placed = rebuild_vms(&mut outcome, &vms, &grants, &open);
    grants.rebuild(&mut outcome, &placed, &places);
    networks::rebuild(&mut outcome, inventories, objects);
    outcome
}

type ById<'a, T> = BTreeMap<InstanceId, Vec<Found<'a, T>>>;

/// Items of one kind, by what they are of; the newest epoch first.
fn by_id<'a, T>(
    inventories: &'a [Inventory],
    pick: impl Fn(&'a ItemBody) -> Option<(InstanceId, &'a T)>,
) -> ById<'a, T> {
    let mut found: ById<'a, T> = BTreeMap::new();
    for inventory in inventories {
        for item in &inventory.items {
            if let Some((id, body)) = pick(&item.body) {
                let host = &inventory.host;
                found
                    .entry(id)
                    .or_default()
                    .push(Found { host, item, body });
            }
        }
    }
    for several in found.values_mut() {
        several.sort_by_key(|found| std::cmp::Reverse(found.item.epoch));
    }
    found
}

/// Places whose bytes a restore has not all written: hosts that write hold an item of it, and until
/// it is done the volume's status says so.
fn unwritten(inventories: &[Inventory], objects: &Objects) -> BTreeSet<InstanceId> {
    let items = inventories.iter().flat_map(|inventory| &inventory.items);
    let written = items.filter_map(|item| match &item.body {
        ItemBody::Restore(restore) => Some(restore.volume),
        _ => None,
    });
    let awaits = Fact::Backup(BackupFact::AwaitsRestore {
        restore: String::new(),
    });
    let half = Fact::Backup(BackupFact::HalfRestored);
    let awaits = [awaits, half].map(|fact| fact.words().reason);
    let told = objects.volumes.iter().filter_map(|volume| {
        let ready = find(&volume.status.as_ref()?.conditions, types::READY)?;
        let uid = object::uid(&volume.metadata)?;
        awaits.contains(&ready.reason).then_some(InstanceId(uid.0))
    });
    written.chain(told).collect()
}

/// Volumes whose bytes are encrypted: a storage host does not know that, the machine that has one does,
/// and its object.
fn encrypted(vms: &ById<'_, VmItem>, objects: &Objects) -> BTreeSet<InstanceId> {
    let disks = vms.values().flatten().flat_map(|found| &found.body.disks);
    let opened = disks.filter(|disk| disk.luks.is_some());
    let asked = objects
        .volumes
        .iter()
        .filter(|volume| volume.spec.encrypted);
    let asked = asked.filter_map(|volume| object::uid(&volume.metadata));
    opened
        .map(|disk| disk.volume)
        .chain(asked.map(|uid| InstanceId(uid.0)))
        .collect()
}

fn rebuild_volumes(
    outcome: &mut Outcome,
    volumes: &ById<'_, VolumeItem>,
    places: &Places,
    (unwritten, encrypted, objects): (&BTreeSet<InstanceId>, &BTreeSet<InstanceId>, &Objects),
) {
    for (id, of_volume) in &places.by_volume(volumes) {
        let Some((place, several)) = of_volume.first() else {
            continue;
        };
        let Some(newest) = several.first() else {
            continue;
        };
        for (other, _) in &of_volume[1..] {
            outcome.disagree(format!(
                "volume {} ({id}) has bytes in two places, {place} on {} and {other}: {place} is \
                 taken; look at {other} before you delete it by hand, and touch neither before you \
                 know which the guest wrote to last",
                newest.item.object, newest.host,
            ));
        }
        if several.len() > 1 {
            outcome.disagree(format!(
                "volume {} ({id}) is held by {}: {} is taken, because its epoch is the newest",
                newest.item.object,
                hosts_of(several),
                newest.host,
            ));
        }
        let claim = VolumeClaim {
            volume: *id,
            owner: newest.item.object.clone(),
            pool: newest.body.pool.clone(),
            host: newest.host.clone(),
            size: newest.body.size,
            grows_from: None,
            restore: newest.body.restore.clone(),
            stored: stored(*id, *place),
            restored: restored(objects, *id).filter(|_| place != id),
            contents: match unwritten.contains(place) || unwritten.contains(id) {
                true => Contents::AwaitRestore,
                false => Contents::Whole,
            },
            cipher: match encrypted.contains(id) {
                true => Cipher::Luks,
                false => Cipher::Plain,
            },
        };
        if !claim.cipher.is_plain() && !objects.keys.contains(id) {
            outcome.disagree(format!(
                "volume {} ({id}) is encrypted, and the ledger has no key for it: bring back key/{id} \
                 from a snapshot of the old ledger before you delete anything",
                newest.item.object,
            ));
        }
        outcome.put(keys::volume(*id), &kept(claim, newest.item.epoch));
    }
}

/// The order of the last restore that was done, as people read it: a volume that has been moved since
/// has no host that remembers it, and must not be restored once more.
fn restored(objects: &Objects, id: InstanceId) -> Option<String> {
    let mut volumes = objects.volumes.iter();
    let of = volumes.find(|of| object::uid(&of.metadata).is_some_and(|uid| uid.0 == id.0))?;
    of.status.as_ref()?.restored.clone()
}

/// Answers which host each machine was claimed for.
fn rebuild_vms(
    outcome: &mut Outcome,
    vms: &ById<'_, VmItem>,
    grants: &Grants<'_>,
    open: &Open,
) -> BTreeMap<InstanceId, HostName> {
    let mut placed = BTreeMap::new();
    for (id, several) in vms {
        // The newest of those whose storage agrees; of equals the first, which is the newest.
        let best = several
            .iter()
            .rev()
            .max_by_key(|found| grants.in_force(found));
        let Some(taken) = best else { continue };
        if several.len() > 1 {
            let why = match grants.in_force(taken) {
                true => "its storage is granted to it",
                false => "its epoch is the newest, though no storage speaks for it",
            };
            outcome.disagree(format!(
                "machine {} ({id}) is held by {}: {} is taken, because {why}; look whether it runs \
                 on another, and stop it there",
                taken.item.object,
                hosts_of(several),
                taken.host,
            ));
        } else if !grants.in_force(taken) {
            outcome.disagree(format!(
                "machine {} ({id}) on {} has a disk that no storage host grants to it: it may have \
                 been fenced; it is claimed where it is",
                taken.item.object, taken.host,
            ));
        }
        let claim = claim_of(taken, open);
        for key in held_keys(&claim) {
            outcome.hold(key, claim.owner.uid, &claim.owner);
        }
        placed.insert(*id, taken.host.clone());
        outcome.put(keys::vm(*id), &kept(claim, taken.item.epoch));
    }
    placed
}

/// Names of the services of each card of each machine that hosts let in from outside.
type Open = BTreeMap<(InstanceId, u32), BTreeSet<String>>;

/// What is open goes on to be: nobody who reaches a machine is to notice.
fn open(inventories: &[Inventory]) -> Open {
    let mut open = Open::new();
    for item in inventories.iter().flat_map(|inventory| &inventory.items) {
        if let ItemBody::Endpoint(endpoint) = &item.body {
            let names = endpoint
                .published
                .iter()
                .map(|service| service.name.clone());
            let card = (endpoint.vm, endpoint.card);
            open.entry(card).or_default().extend(names);
        }
    }
    open
}

fn claim_of(found: &Found<'_, VmItem>, open: &Open) -> VmClaim {
    let VmItem {
        vm,
        vcpus,
        memory,
        machine_type,
        disks,
        nics,
        department: _,
        system: _,
        name: _,
        power: _,
        restart: _,
        cpu_model: _,
        firmware: _,
        seed: _,
        stop_deadline_s: _,
        on_stop: _,
        hold: _,
        probes: _,
    } = found.body;
    let mut nics: Vec<_> = nics.iter().collect();
    nics.sort_by_key(|nic| nic.card);
    let card = |nic: &dc_types::plan::NicItem| CardClaim {
        subnet: nic.subnet,
        mac: nic.mac,
        v4: nic.v4,
        v6: nic.v6,
        publish: match open.get(&(*vm, nic.card)) {
            Some(names) => names.iter().cloned().collect(),
            None => vec![],
        },
    };
    VmClaim {
        vm: *vm,
        owner: found.item.object.clone(),
        host: found.host.clone(),
        vcpus: *vcpus,
        memory: *memory,
        machine_type: machine_type.clone(),
        volumes: disks.iter().map(|disk| disk.volume).collect(),
        cards: nics.into_iter().map(card).collect(),
    }
}

fn kept<T>(value: T, kept_epoch: Epoch) -> Rebuilt<T> {
    Rebuilt { value, kept_epoch }
}

fn hosts_of<T>(several: &[Found<'_, T>]) -> String {
    let names = several
        .iter()
        .map(|found| format!("{} (epoch {})", found.host, found.item.epoch));
    names.collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests;
