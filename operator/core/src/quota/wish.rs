//! What the objects of a department want and do not hold yet, in their turn.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dc_crds::vm::Interface;
use dc_crds::{MachineClass, Subnet, VirtualMachine, Volume, VolumeSnapshot};
use dc_types::claim::{CardClaim, VmClaim};
use dc_types::{Bytes, InstanceId, MiB, ObjectRef, ObjectUid, SubnetUid};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Amounts, Limits, PoolClasses, Thing};
use crate::claims::Claims;
use crate::object::{self, Life};
use crate::vm::volume_name;
use crate::volume::encryption::whole_size;

/// The objects of one department that may be charged, and what their sizes are read from.
pub struct Objects<'a> {
    pub vms: &'a [&'a VirtualMachine],
    pub volumes: &'a [&'a Volume],
    pub subnets: &'a [&'a Subnet],
    pub snapshots: &'a [&'a VolumeSnapshot],
    pub sizes: &'a ClassSizes,
    pub classes: &'a PoolClasses,
    /// Machines whose volumes were allowed and may not be among `volumes` yet.
    pub begun: &'a BTreeSet<ObjectUid>,
}

/// vCPUs and memory of each machine class. One that does not read has none; its machines say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassSizes(BTreeMap<String, (u32, MiB)>);

impl ClassSizes {
    #[must_use]
    pub fn of(&self, class: &str) -> Option<(u32, MiB)> {
        self.0.get(class).copied()
    }

    #[must_use]
    pub fn read<'a>(classes: impl IntoIterator<Item = &'a MachineClass>) -> Self {
        let sizes = classes.into_iter().filter_map(|class| {
            let memory = class.spec.memory.parse::<Bytes>().ok()?;
            let name = class.metadata.name.clone()?;
            Some((name, (class.spec.vcpus, memory.to_mib())))
        });
        Self(sizes.collect())
    }
}

/// By the time at which the object was made, in seconds; those of one second by their uid. A volume
/// of a template has the age of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    pub created_s: i64,
    pub uid: ObjectUid,
}

/// The kinds that are charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wisher {
    Vm,
    Volume,
    Subnet,
    Snapshot,
}

/// What one object wants beyond what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// There was room for the whole machine, and its volumes are being made: nobody goes before it
    /// any more, whoever comes in the same second with a smaller uid either.
    pub begun: bool,
    pub age: Age,
    pub uid: ObjectUid,
    pub kind: Wisher,
    pub name: String,
    pub asks: Amounts,
    /// Of the claim it has, if it has one: another one since means that it was served.
    pub revision: Option<u64>,
}

impl Wish {
    /// Who has begun goes first, then the older.
    fn turn(&self) -> (bool, Age) {
        (!self.begun, self.age)
    }

    fn is_served(&self, claims: &Claims) -> bool {
        revision(claims, self.kind, self.uid) != self.revision
    }
}

fn revision(claims: &Claims, kind: Wisher, uid: ObjectUid) -> Option<u64> {
    let id = InstanceId(uid.0);
    match kind {
        Wisher::Vm => claims.vms.get(&id).map(|claim| claim.revision),
        Wisher::Volume => claims.volumes.get(&id).map(|claim| claim.revision),
        Wisher::Subnet => {
            let claim = claims.subnets.get(&SubnetUid(uid.0));
            claim.map(|claim| claim.revision)
        }
        Wisher::Snapshot => claims.snapshots_by(uid).map(|claim| claim.revision).max(),
    }
}

/// Who asks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub uid: ObjectUid,
    /// The machine whose template it was made from.
    pub machine: Option<ObjectUid>,
}

impl Asker {
    #[must_use]
    pub fn of(me: &ObjectRef) -> Self {
        Self {
            uid: me.uid,
            machine: None,
        }
    }

    #[must_use]
    pub fn volume(me: &ObjectRef, volume: &Volume) -> Self {
        Self {
            uid: me.uid,
            machine: machine_of(&volume.metadata),
        }
    }
}

/// The machine whose template a volume was made from.
fn machine_of(volume: &ObjectMeta) -> Option<ObjectUid> {
    let mut owners = volume.owner_references.iter().flatten();
    owners.find_map(|owner| owner.uid.parse().ok())
}

fn machines_with_volumes(volumes: &[&Volume]) -> HashSet<ObjectUid> {
    let machines = volumes
        .iter()
        .filter_map(|volume| machine_of(&volume.metadata));
    machines.collect()
}

/// All wishes of a department in their turn: who has begun, then the oldest. An object that is being deleted wants nothing; one
/// whose class or pool is not there wants as much as can be told.
#[must_use]
pub fn wishes(objects: &Objects<'_>, claims: &Claims) -> Vec<Wish> {
    let Objects {
        vms,
        volumes,
        subnets,
        snapshots,
        sizes: _,
        classes: _,
        begun,
    } = objects;
    let ages: HashMap<ObjectUid, Age> = vms
        .iter()
        .filter_map(|vm| age(&vm.metadata))
        .map(|age| (age.uid, age))
        .collect();
    let there: HashSet<&str> = volumes
        .iter()
        .filter_map(|volume| volume.metadata.name.as_deref())
        .collect();
    let mut all = Vec::new();
    let has_volumes = machines_with_volumes(volumes);
    let mut wish = |meta: &ObjectMeta, kind, age, asks: Amounts| {
        if asks.is_empty() || object::life(meta) == Life::Deleting {
            return;
        }
        if let (Some(uid), Some(name)) = (object::uid(meta), meta.name.clone()) {
            let revision = revision(claims, kind, uid);
            let begun = match kind {
                Wisher::Vm => {
                    begun.contains(&uid) || (revision.is_none() && has_volumes.contains(&uid))
                }
                Wisher::Volume => revision.is_none() && machine_of(meta).is_some(),
                Wisher::Subnet | Wisher::Snapshot => false,
            };
            all.push(Wish {
                begun,
                revision,
                age,
                uid,
                kind,
                name,
                asks,
            });
        }
    };
    for vm in *vms {
        if let Some(age) = age(&vm.metadata) {
            wish(
                &vm.metadata,
                Wisher::Vm,
                age,
                of_vm(objects, vm, &there, claims),
            );
        }
    }
    for volume in *volumes {
        if let Some(own) = age(&volume.metadata) {
            let machine = machine_of(&volume.metadata);
            let of_machine = machine.and_then(|machine| ages.get(&machine));
            let asks = of_volume(objects, volume, claims);
            wish(
                &volume.metadata,
                Wisher::Volume,
                *of_machine.unwrap_or(&own),
                asks,
            );
        }
    }
    for subnet in *subnets {
        if let Some(age) = age(&subnet.metadata) {
            let held = claims.subnets.contains_key(&SubnetUid(age.uid.0));
            let asks = Amounts::of([(Thing::Subnets, u64::from(!held))]);
            wish(&subnet.metadata, Wisher::Subnet, age, asks);
        }
    }
    for snapshot in *snapshots {
        if let Some(age) = age(&snapshot.metadata) {
            let asks = of_snapshot(vms, snapshot, age.uid, claims);
            wish(&snapshot.metadata, Wisher::Snapshot, age, asks);
        }
    }
    sort(&mut all);
    all
}

fn sort(wishes: &mut [Wish]) {
    wishes.sort_by_key(|wish| (wish.turn(), wish.uid));
}

/// Notes that the volumes of a machine are being made, in a picture made before.
pub fn begin(wishes: &mut [Wish], machine: ObjectUid) {
    if let Some(wish) = wishes.iter_mut().find(|wish| wish.uid == machine) {
        wish.begun = true;
        sort(wishes);
    }
}

/// Whether a picture has the object, or the machine that it is a part of.
#[must_use]
pub fn knows(wishes: &[Wish], asker: Asker) -> bool {
    let is_asker = |wish: &Wish| wish.uid == asker.uid || Some(wish.uid) == asker.machine;
    wishes.iter().any(is_asker)
}

fn age(meta: &ObjectMeta) -> Option<Age> {
    let created = meta.creation_timestamp.as_ref();
    Some(Age {
        created_s: created.map_or(0, |created| created.0.as_second()),
        uid: object::uid(meta)?,
    })
}

fn of_vm(
    objects: &Objects<'_>,
    vm: &VirtualMachine,
    there: &HashSet<&str>,
    claims: &Claims,
) -> Amounts {
    let (Some(uid), Some(name)) = (object::uid(&vm.metadata), &vm.metadata.name) else {
        return Amounts::default();
    };
    let size = objects.sizes.of(&vm.spec.class);
    let (vcpus, memory) = size.unwrap_or_default();
    let held = claims.vms.get(&InstanceId(uid.0)).map(|claim| &claim.value);
    let size = MachineSize {
        vcpus,
        memory,
        exposed: Exposed::of(&vm.spec.interfaces),
    };
    let mut asks = of_machine(size, held.map(MachineSize::held));
    if held.is_some_and(|vm_claim| vm_claim.volumes.len() >= vm.spec.disks.len()) {
        return asks;
    }
    for disk in &vm.spec.disks {
        if let Some(template) = &disk.template
            && !there.contains(volume_name(name, disk).as_str())
            && let (Some(class), Ok(size)) = (
                objects.classes.of(&template.pool),
                template.size.parse::<Bytes>(),
            )
        {
            asks.add(Thing::Storage(class.to_owned()), size.0);
        }
    }
    asks
}

/// What of a machine is charged beside its volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineSize {
    pub vcpus: u32,
    pub memory: MiB,
    pub exposed: Exposed,
}

impl MachineSize {
    #[must_use]
    pub fn held(claim: &VmClaim) -> Self {
        Self {
            vcpus: claim.vcpus,
            memory: claim.memory,
            exposed: Exposed::of(&claim.cards),
        }
    }
}

/// What the outside may reach of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    /// Cards that publish something.
    pub addresses: u64,
    /// What they publish, each service of each card.
    pub services: u64,
}

impl Exposed {
    #[must_use]
    pub fn of<'a, C: Publishes + 'a>(cards: impl IntoIterator<Item = &'a C>) -> Self {
        let mut exposed = Self::default();
        for card in cards {
            // A name that is written twice opens one service.
            let names: BTreeSet<&String> = card.publish().iter().collect();
            exposed.addresses += u64::from(!names.is_empty());
            exposed.services += names.len() as u64;
        }
        exposed
    }
}

/// A card, as it is wished, found valid or claimed.
pub trait Publishes {
    /// Names of services.
    fn publish(&self) -> &[String];
}

impl Publishes for Interface {
    fn publish(&self) -> &[String] {
        &self.publish
    }
}

impl Publishes for CardClaim {
    fn publish(&self) -> &[String] {
        &self.publish
    }
}

/// What a machine of this size wants beyond what its claim holds.
#[must_use]
pub fn of_machine(size: MachineSize, held: Option<MachineSize>) -> Amounts {
    let has = held.unwrap_or_default();
    let more = |asked: u64, has: u64| asked.saturating_sub(has);
    let (asked, had) = (size.exposed, has.exposed);
    Amounts::of([
        (Thing::VirtualMachines, u64::from(held.is_none())),
        (Thing::Vcpus, more(size.vcpus.into(), has.vcpus.into())),
        (Thing::Memory, more(size.memory.0, has.memory.0) << 20),
        (Thing::PublicAddresses, more(asked.addresses, had.addresses)),
        (Thing::PublishedServices, more(asked.services, had.services)),
    ])
}

fn of_volume(objects: &Objects<'_>, volume: &Volume, claims: &Claims) -> Amounts {
    let (Some(uid), Ok(size)) = (object::uid(&volume.metadata), whole_size(&volume.spec)) else {
        return Amounts::default();
    };
    let held = claims.volumes.get(&InstanceId(uid.0));
    // It grows where it is. A move has no turn: it is asked for when it can begin, and waits for all
    // that others want.
    let pool = held.map_or(&*volume.spec.pool, |claim| claim.value.pool.as_str());
    let Some(class) = objects.classes.of(pool) else {
        return Amounts::default();
    };
    let held = held.map_or(Bytes(0), |claim| claim.value.size);
    let more = size.0.saturating_sub(held.0);
    Amounts::of([(Thing::Storage(class.to_owned()), more)])
}

/// One for each volume, until it is begun. One that is taken anew holds what it had.
fn of_snapshot(
    vms: &[&VirtualMachine],
    snapshot: &VolumeSnapshot,
    uid: ObjectUid,
    claims: &Claims,
) -> Amounts {
    if claims.snapshots_by(uid).next().is_some() {
        return Amounts::default();
    }
    let volumes = match &snapshot.spec.vm {
        Some(vm) => {
            let named = vms
                .iter()
                .find(|found| found.metadata.name.as_ref() == Some(vm));
            named.map_or(0, |vm| vm.spec.disks.len())
        }
        None => 1,
    };
    Amounts::of([(Thing::Snapshots, volumes as u64)])
}

/// What is wanted by those who come before who asks: older ones, and the other parts of the same
/// machine. A wish larger than a limit by itself holds nobody up.
///
/// `wishes` may be a moment old: what was served since is left out, and who is not among them comes
/// last, a volume with its machine.
#[must_use]
pub fn ahead(wishes: &[Wish], claims: &Claims, asker: Asker, limits: &Limits) -> Amounts {
    let Asker { uid, machine } = asker;
    let mine = wishes.iter().find(|wish| wish.uid == uid);
    // The machine's wish holds what its template asks for until its volume is among the wishes.
    let (turn, instead) = match (mine, machine) {
        (Some(mine), _) => (Some(mine.turn()), None),
        (None, Some(machine)) => {
            let whole = wishes.iter().find(|wish| wish.uid == machine);
            (whole.map(Wish::turn), Some(machine))
        }
        (None, None) => (None, None),
    };
    let mut ahead = Amounts::default();
    for wish in wishes {
        if turn.is_some_and(|turn| wish.turn() > turn) {
            break;
        }
        let other = wish.uid != uid && Some(wish.uid) != instead;
        if other && limits.could_allow(&wish.asks) && !wish.is_served(claims) {
            for (thing, amount) in wish.asks.iter() {
                if limits.get(thing).is_some() {
                    ahead.add(thing.clone(), amount);
                }
            }
        }
    }
    ahead
}

/// All that is wanted and could be granted.
#[must_use]
pub fn reserved(wishes: &[Wish], limits: &Limits) -> Amounts {
    let mut reserved = Amounts::default();
    for wish in wishes.iter().filter(|wish| limits.could_allow(&wish.asks)) {
        reserved.add_all(&wish.asks);
    }
    reserved
}

/// Those that there is room for now, by their turn.
#[must_use]
pub fn admitted<'a>(wishes: &'a [Wish], used: &Amounts, limits: &Limits) -> Vec<&'a Wish> {
    let mut taken = used.clone();
    let mut admitted = Vec::new();
    for wish in wishes.iter().filter(|wish| limits.could_allow(&wish.asks)) {
        let fits = wish.asks.iter().all(|(thing, amount)| {
            let limit = limits.get(thing);
            limit.is_none_or(|limit| taken.get(thing).saturating_add(amount) <= limit)
        });
        taken.add_all(&wish.asks);
        if fits {
            admitted.push(wish);
        }
    }
    admitted
}
