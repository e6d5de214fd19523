//! A data centre in memory for the tests of this crate: objects, a ledger that applies
//! transactions with their guards, and hosts that do at once what they are told.
//!
//! Controllers are played by [`Sim::look`]: it looks at every object in turn until nothing changes,
//! as the real ones do, only without waiting.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use dc_crds::host::HostRole;
use dc_crds::pool::OwnerClass;
use dc_crds::{
    Backup, BackupRepository, ErasureCertificate, FINALIZER, Host, MachineClass, MachineRestore,
    Restore, StoragePool, Subnet, VirtualMachine, Volume, VolumeSnapshot, Zone,
};
use dc_types::claim::SubnetClaim;
use dc_types::plan::{Chap, Item, ItemKey, Secret};
use dc_types::report::{Detail, HostFacts, ItemState, MoveSeen, MoveState, Observation};
use dc_types::{Epoch, HostName, InstanceId, ObjectRef, SubnetUid};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::host::placement_state;
use crate::object;
use crate::place::{Index, Presence};
use crate::plan::{Hold, Plan};
use crate::quota::wish::ClassSizes;
use crate::quota::{self, Allowance, Amounts, Asker, Limits, Objects, PoolClasses, Wish};
use crate::sight::Removal;
use crate::volume::Named;
use crate::volume::destruction::Reading;
use crate::{subnet, vm};

mod backups;
mod keys;
mod ledger;
mod machine_restores;
mod moves;
mod objects;
mod pools;
mod properties;
mod snapshots;
mod volumes;

pub use backups::{REPOSITORY, repository};
use ledger::Ledger;
pub use machine_restores::{copy_of, same};
pub use objects::{SERVICES, card, delete, disk, fail, observe, zone};
use objects::{vm_spec, volume_spec};

pub const NAMESPACE: &str = "so-nnmt";
pub const POOL: &str = "san";
pub const CLASS: &str = "standard";
pub const STORAGE: &str = "s1";

/// What one host holds, and what it has said.
#[derive(Default)]
pub struct SimHost {
    pub silent: bool,
    pub held: BTreeMap<ItemKey, Item>,
    pub said: BTreeMap<ItemKey, Observation>,
    pub released: BTreeMap<ItemKey, Epoch>,
    /// Guests that are held are let go at once, as when a deadline passes.
    pub lets_go: bool,
    /// It gets to the end of what takes long.
    pub copies: bool,
}

pub struct Sim {
    pub ledger: Ledger,
    pub index: Index,
    pub hosts: BTreeMap<HostName, SimHost>,
    host_objects: BTreeMap<HostName, (Host, HostFacts)>,
    pub boards: BTreeMap<HostName, BTreeMap<ItemKey, Item>>,
    pub classes: BTreeMap<String, MachineClass>,
    pub zones: BTreeMap<String, Zone>,
    pub pools: BTreeMap<String, StoragePool>,
    pub subnets: BTreeMap<String, Subnet>,
    pub volumes: BTreeMap<String, Volume>,
    pub snapshots: BTreeMap<String, VolumeSnapshot>,
    pub repositories: BTreeMap<String, BackupRepository>,
    pub backups: BTreeMap<String, Backup>,
    pub restores: BTreeMap<String, Restore>,
    pub machine_restores: BTreeMap<String, MachineRestore>,
    manifests: machine_restores::Manifests,
    /// The API server takes no status.
    pub loses_statuses: bool,
    pub certificates: BTreeMap<String, ErasureCertificate>,
    pub department: OwnerClass,
    pub vms: BTreeMap<String, VirtualMachine>,
    pub plans: BTreeMap<String, Plan>,
    /// Where the bytes of moved volumes are, as their machines' hosts know.
    pub gone: moves::Gone,
    /// What the department may hold; nothing is limited at first.
    pub limits: Limits,
    /// Master keys that the operator knows, the last of them wraps; and how many keys it has drawn.
    pub masters: Vec<&'static str>,
    pub drawn: Cell<u64>,
    /// What the ledger's members say of a key that was destroyed, and how long they are waited for.
    pub reading: Option<Reading>,
    pub patience: SignedDuration,
    pub now: Timestamp,
    next_uid: u128,
}

pub fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

impl Sim {
    /// Two compute hosts of 4 GiB, a storage host with 100 GiB, zones, a class and a subnet.
    pub fn new() -> Self {
        let mut sim = Self {
            ledger: Ledger::new(),
            index: Index::default(),
            hosts: BTreeMap::new(),
            host_objects: BTreeMap::new(),
            boards: BTreeMap::new(),
            classes: BTreeMap::new(),
            zones: BTreeMap::new(),
            pools: BTreeMap::new(),
            subnets: BTreeMap::new(),
            volumes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            repositories: BTreeMap::from([(REPOSITORY.to_owned(), repository())]),
            backups: BTreeMap::new(),
            restores: BTreeMap::new(),
            machine_restores: BTreeMap::new(),
            manifests: BTreeMap::new(),
            loses_statuses: false,
            certificates: BTreeMap::new(),
            department: OwnerClass::Shared,
            vms: BTreeMap::new(),
            plans: BTreeMap::new(),
            gone: moves::Gone::new(),
            limits: Limits::default(),
            masters: vec!["2026"],
            drawn: Cell::new(0),
            reading: None,
            patience: SignedDuration::from_secs(900),
            now: Timestamp::UNIX_EPOCH,
            next_uid: 1,
        };
        sim.add_host("h1", HostRole::Compute);
        sim.add_host("h2", HostRole::Compute);
        sim.add_host(STORAGE, HostRole::Storage);
        sim.classes.insert("small".into(), objects::class());
        sim.pools.insert(POOL.into(), objects::pool());
        sim.zones
            .insert("dmz".into(), zone("dmz", "10.16.0.0/16", "fd00:16::/48"));
        sim.add_subnet("web");
        sim.look();
        sim
    }

    fn add_host(&mut self, name: &str, role: HostRole) {
        self.host_objects
            .insert(host(name), objects::host(name, role));
        let sim_host = SimHost {
            copies: true,
            ..SimHost::default()
        };
        self.hosts.insert(host(name), sim_host);
        self.refresh(&host(name));
    }

    /// Ends or begins a host's session.
    pub fn set_silent(&mut self, name: &str, silent: bool) {
        self.hosts.get_mut(&host(name)).unwrap().silent = silent;
        self.refresh(&host(name));
    }

    fn presence(&self, name: &HostName) -> Presence {
        match self.hosts[name].silent {
            true => Presence::Silent,
            false => Presence::Connected,
        }
    }

    fn refresh(&mut self, name: &HostName) {
        let (object, facts) = &self.host_objects[name];
        let presence = self.presence(name);
        self.index
            .upsert(placement_state(object, name, presence, Some(facts)));
    }

    pub fn meta(&mut self, name: &str) -> ObjectMeta {
        self.next_uid += 1;
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some(NAMESPACE.into()),
            uid: Some(Uuid::from_u128(self.next_uid).to_string()),
            generation: Some(1),
            finalizers: Some(vec![FINALIZER.into()]),
            ..ObjectMeta::default()
        }
    }

    /// An id that nothing has had.
    pub fn new_place(&mut self) -> Uuid {
        self.next_uid += 1;
        Uuid::from_u128(self.next_uid)
    }

    pub fn add_subnet(&mut self, name: &str) {
        let mut subnet = objects::subnet(name);
        subnet.metadata = self.meta(name);
        self.subnets.insert(name.into(), subnet);
    }

    pub fn add_volume(&mut self, name: &str, size: &str) {
        let mut volume = Volume::new(name, volume_spec(size));
        volume.metadata = self.meta(name);
        self.volumes.insert(name.into(), volume);
    }

    /// A machine with one template volume and one card.
    pub fn add_vm(&mut self, name: &str) {
        let mut vm = VirtualMachine::new(name, vm_spec());
        vm.metadata = self.meta(name);
        self.vms.insert(name.into(), vm);
    }

    pub fn vm(&mut self, name: &str) -> &mut VirtualMachine {
        self.vms.get_mut(name).unwrap()
    }

    pub fn me(&self, name: &str) -> ObjectRef {
        object::object_ref(&self.vms[name].metadata).unwrap()
    }

    pub fn plan_of(&self, key: &str) -> &Plan {
        &self.plans[key]
    }

    /// Looks at everything until nothing changes any more.
    pub fn look(&mut self) {
        for _ in 0..100 {
            if !self.look_once() {
                return;
            }
        }
        panic!("it does not come to rest: {:#?}", self.plans);
    }

    fn look_once(&mut self) -> bool {
        self.look_until(|_| false)
    }

    /// Looks at everything once, or until something is so after a look.
    fn look_until(&mut self, stop: impl Fn(&Self) -> bool) -> bool {
        let mut changed = false;
        for name in keys(&self.subnets) {
            changed |= self.look_at_subnet(&name);
        }
        for name in keys(&self.volumes) {
            changed |= self.look_at_volume(&name);
            if stop(self) {
                return true;
            }
        }
        for name in keys(&self.vms) {
            changed |= self.look_at_vm(&name);
            if stop(self) {
                return true;
            }
        }
        for name in keys(&self.snapshots) {
            changed |= self.look_at_snapshot(&name);
        }
        for name in keys(&self.backups) {
            changed |= self.look_at_backup(&name);
        }
        for name in keys(&self.restores) {
            changed |= self.look_at_restore(&name);
        }
        for name in keys(&self.machine_restores) {
            changed |= self.look_at_machine_restore(&name);
        }
        for name in keys(&self.hosts) {
            changed |= self.play_host(&name);
            if stop(self) {
                return true;
            }
        }
        changed | self.collect_garbage()
    }

    /// Volumes whose machine is gone are deleted, as the garbage collector does.
    fn collect_garbage(&mut self) -> bool {
        let vms: BTreeSet<String> = self
            .vms
            .values()
            .filter_map(|vm| vm.metadata.uid.clone())
            .collect();
        let mut changed = false;
        for volume in self.volumes.values_mut() {
            let owners = volume.metadata.owner_references.iter().flatten();
            let orphaned = owners.into_iter().any(|owner| !vms.contains(&owner.uid));
            if orphaned && volume.metadata.deletion_timestamp.is_none() {
                delete(&mut volume.metadata);
                changed = true;
            }
        }
        changed
    }

    fn carry_out(&mut self, key: &str, plan: Plan) -> (bool, Hold) {
        let mut changed = false;
        for (host, item) in &plan.uncarry {
            let board = self.boards.entry(host.clone()).or_default();
            changed |= board.remove(item).is_some();
        }
        if let Some(unsigned) = &plan.certify {
            let certificate = ErasureCertificate::new(&unsigned.name, unsigned.spec.clone());
            let old = self.certificates.insert(unsigned.name.clone(), certificate);
            assert!(old.is_none(), "{key} is certified twice");
        }
        if let Some(txn) = &plan.txn {
            let before = self.used();
            assert!(self.ledger.commit(txn), "{key}: {txn:?}");
            for (thing, now) in self.used().iter().filter(|(t, now)| *now > before.get(t)) {
                let limit = self.limits.get(thing).unwrap_or(u64::MAX);
                assert!(now <= limit, "{key} takes {thing:?} to {now} of {limit}");
            }
            changed = true;
            for name in keys(&self.hosts) {
                let promise = self.ledger.claims.promised_on(&name);
                self.index.set_promise(&name, promise);
            }
        }
        for volume in &plan.make {
            let mut object = volume.object();
            let owners = object.metadata.owner_references.clone();
            object.metadata = self.meta(&volume.name);
            object.metadata.owner_references = owners;
            self.volumes.insert(volume.name.clone(), object);
            changed = true;
        }
        for (host, item) in &plan.carry {
            let board = self.boards.entry(host.clone()).or_default();
            changed |= board.insert(item.key, item.clone()).as_ref() != Some(item);
        }
        let hold = plan.hold;
        self.plans.insert(key.to_owned(), plan);
        (changed, hold)
    }

    pub fn classes(&self) -> PoolClasses {
        PoolClasses::read(self.pools.values())
    }

    /// What the department's claims hold.
    pub fn used(&self) -> Amounts {
        quota::used(&self.ledger.claims, NAMESPACE, &self.classes())
    }

    pub fn wishes(&self) -> Vec<Wish> {
        let objects = Objects {
            vms: &self.vms.values().collect::<Vec<_>>(),
            volumes: &self.volumes.values().collect::<Vec<_>>(),
            subnets: &self.subnets.values().collect::<Vec<_>>(),
            snapshots: &self.snapshots.values().collect::<Vec<_>>(),
            sizes: &ClassSizes::read(self.classes.values()),
            classes: &self.classes(),
            begun: &BTreeSet::new(),
        };
        quota::wishes(&objects, &self.ledger.claims)
    }

    fn ahead(&self, asker: Asker) -> Amounts {
        quota::wish::ahead(&self.wishes(), &self.ledger.claims, asker, &self.limits)
    }

    pub fn said(&self, host: &HostName, item: &ItemKey) -> Option<Observation> {
        self.hosts[host].said.get(item).cloned()
    }

    fn removal(&self, host: &HostName, item: &ItemKey, epoch: Epoch) -> Removal {
        if self.hosts[host].released.get(item) >= Some(&epoch) {
            return Removal::Done;
        }
        match self
            .ledger
            .claims
            .releases
            .contains_key(&(host.clone(), *item))
        {
            true => Removal::Pending,
            false => Removal::NotAsked,
        }
    }

    fn look_at_subnet(&mut self, name: &str) -> bool {
        let object = self.subnets[name].clone();
        let me = object::object_ref(&object.metadata).unwrap();
        let siblings: Vec<(String, SubnetClaim)> = self
            .subnets
            .iter()
            .filter(|(other, _)| *other != name)
            .filter_map(|(other, subnet)| {
                let uid = object::uid(&subnet.metadata)?;
                let claim = self.ledger.claims.subnets.get(&SubnetUid(uid.0))?;
                Some((other.clone(), claim.value.clone()))
            })
            .collect();
        let (classes, ahead) = (self.classes(), |asker| self.ahead(asker));
        let plan = subnet::plan(&subnet::Seen {
            allowance: self.allowance(&classes, &ahead),
            subnet: &object,
            me: &me,
            system: Named::There,
            zone: self.zones.get(&object.spec.zone),
            claims: &self.ledger.claims,
            siblings: &siblings,
        });
        let (changed, hold) = self.carry_out(&format!("subnet {name}"), plan);
        if hold == Hold::LetGo {
            self.subnets.remove(name);
            return true;
        }
        changed
    }

    fn look_at_volume(&mut self, name: &str) -> bool {
        let plan = self.decide_volume(name);
        let (changed, hold) = self.carry_out(&format!("volume {name}"), plan);
        if hold == Hold::LetGo {
            self.volumes.remove(name);
            return true;
        }
        changed
    }

    /// What the operator decides for a machine now; nothing is carried out.
    pub fn decide(&self, name: &str) -> Plan {
        let object = &self.vms[name];
        let me = object::object_ref(&object.metadata).unwrap();
        self.with_seen(object, &me, vm::plan)
    }

    pub fn with_seen<R>(
        &self,
        object: &VirtualMachine,
        me: &ObjectRef,
        look: impl FnOnce(&vm::Seen<'_>) -> R,
    ) -> R {
        let cards: Vec<vm::CardSeen<'_>> = object
            .spec
            .interfaces
            .iter()
            .map(|card| {
                let subnet = self.subnets.get(&card.subnet);
                vm::CardSeen {
                    subnet,
                    zone: subnet.and_then(|subnet| self.zones.get(&subnet.spec.zone)),
                }
            })
            .collect();
        let disks: Vec<vm::DiskSeen<'_>> = object
            .spec
            .disks
            .iter()
            .map(|disk| self.disk_seen(me, disk))
            .collect();
        let claim = self.ledger.claims.vms.get(&vm::id(me));
        let on = claim.map(|claim| (claim.value.host.clone(), claim.epoch));
        let said = on.as_ref().and_then(|(on, _)| self.said(on, &vm::key(me)));
        let (classes, ahead) = (self.classes(), |asker| self.ahead(asker));
        look(&vm::Seen {
            allowance: self.allowance(&classes, &ahead),
            vm: object,
            me,
            system: Named::There,
            class: self.classes.get(&object.spec.class),
            probes: None,
            cards: &cards,
            disks: &disks,
            user_data: vm::UserData::Absent,
            leases: &object.spec.lease.iter().collect::<Vec<_>>(),
            now: self.now,
            claims: &self.ledger.claims,
            index: &self.index,
            spread: &BTreeMap::new(),
            wished: &BTreeSet::new(),
            said: said.as_ref(),
            removal: on.map_or(Removal::NotAsked, |(on, epoch)| {
                self.removal(&on, &vm::key(me), epoch)
            }),
            chap: &chap,
            cephx_key: &cephx_key,
            open_key: &|key, name| self.open_key(key, name),
        })
    }

    fn allowance<'a>(
        &'a self,
        classes: &'a PoolClasses,
        ahead: quota::AheadOf<'a>,
    ) -> Allowance<'a> {
        Allowance {
            department: NAMESPACE,
            limits: Some(&self.limits),
            classes,
            ahead,
        }
    }

    fn look_at_vm(&mut self, name: &str) -> bool {
        let plan = self.decide(name);
        let (changed, hold) = self.carry_out(&format!("vm {name}"), plan);
        if hold == Hold::LetGo {
            self.vms.remove(name);
            return true;
        }
        changed
    }

    /// The host takes its board and its releases, does everything at once, and says so.
    fn play_host(&mut self, name: &HostName) -> bool {
        if self.hosts[name].silent {
            return false;
        }
        let pending: Vec<_> = self.ledger.claims.releases_of(name).cloned().collect();
        let board = self.boards.entry(name.clone()).or_default();
        let sim_host = self.hosts.get_mut(name).unwrap();
        let mut changed = false;
        let mut confirmed = Vec::new();
        for release in pending {
            let pending = &release.value;
            let release = &pending.release;
            let held = sim_host.held.get(&release.key);
            let mut wanted = self.ledger.claims.volumes.values();
            let lost = wanted.find(|volume| {
                let gone = self.gone.get(&volume.value.volume);
                gone.map(|place| crate::volume::key(*place)) == Some(release.key)
                    && volume.value.place().0 != release.key.id
            });
            assert!(lost.is_none(), "the only bytes of {lost:?} are erased");
            if held.is_some_and(|held| held.epoch <= release.epoch) {
                sim_host.held.remove(&release.key);
                sim_host.said.remove(&release.key);
            }
            sim_host.released.insert(release.key, release.epoch);
            confirmed.push(pending.clone());
            changed = true;
        }
        for (key, item) in board.iter() {
            let held = sim_host.held.get(key);
            let goes_on = sim_host.copies && sim_host.said.get(key).is_some_and(waits);
            if held == Some(item) && !goes_on {
                continue;
            }
            assert!(
                held.is_none_or(|held| held.epoch <= item.epoch),
                "an epoch goes back"
            );
            assert!(
                sim_host.released.get(key) < Some(&item.epoch),
                "{key} was released up to {:?} and comes back",
                sim_host.released.get(key)
            );
            sim_host.held.insert(*key, item.clone());
            let before = sim_host.said.get(key).cloned();
            let said = snapshots::with_hold(observe(item), item, before, sim_host.lets_go);
            let said = match sim_host.copies {
                true => said,
                false => backups::on_its_way(said),
            };
            let said = machine_restores::with_manifest(said, item, &mut self.manifests);
            let said = moves::with_moves(said, item, &mut self.gone, sim_host.copies);
            sim_host.said.insert(*key, said);
            changed = true;
        }
        for pending in confirmed {
            self.confirm(name, &pending);
        }
        changed
    }
}

/// Whether a host has not come to the end of something.
fn waits(said: &Observation) -> bool {
    let copying = |of: &MoveSeen| matches!(of.state, MoveState::Copying { .. });
    match (&said.state, &said.detail) {
        (ItemState::Pending(_), _) => true,
        (_, Detail::Vm { moves, .. }) => moves.iter().any(copying),
        _ => false,
    }
}

fn chap(volume: InstanceId, epoch: Epoch) -> Chap {
    Chap {
        user: "dc".into(),
        secret: Secret(format!("{volume} {epoch}")),
    }
}

fn cephx_key(volume: InstanceId, epoch: Epoch) -> Secret {
    Secret(format!("{volume} {epoch}"))
}

fn keys<K: Clone + Ord, V>(map: &BTreeMap<K, V>) -> Vec<K> {
    map.keys().cloned().collect()
}
