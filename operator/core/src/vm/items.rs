//! What hosts are to carry for a claimed machine: a grant of each volume at its storage host, and
//! the machine at its own.

use dc_types::claim::{AttachClaim, HoldPhase, VmClaim};
use dc_types::plan::{
    Cephx, DiskItem, DiskSource, GrantAccess, GrantItem, Hold, Item, ItemBody, NicItem, SeedItem,
    VmItem,
};
use dc_types::{Epoch, HostName, InstanceId, PoolName};

use super::{DiskSeen, Seen, ValidVm, Way, grant_key, key, moving};
use crate::claims::Claimed;
use crate::snapshot::HOLD_S;
use crate::volume::encryption;
use crate::volume::qos::validate_qos;

/// A volume of the machine with its claims: what a grant and a disk are made from.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    pub volume: InstanceId,
    pub attach: &'a Claimed<AttachClaim>,
    pub claim: &'a Claimed<dc_types::claim::VolumeClaim>,
}

impl<'a> Held<'a> {
    /// The claims of a volume that the machine holds.
    #[must_use]
    pub fn find(seen: &Seen<'a>, volume: InstanceId) -> Option<Self> {
        Some(Self {
            volume,
            attach: seen.claims.attachment_of(volume)?,
            claim: seen.claims.volumes.get(&volume)?,
        })
    }

    /// The id under which its storage has and grants it.
    #[must_use]
    pub fn place(&self) -> InstanceId {
        self.claim.value.place()
    }

    #[must_use]
    pub fn storage_host(&self) -> &'a HostName {
        &self.claim.value.host
    }
}

/// Opens one volume for the machine, at the storage host; `None` while it has not said how.
#[must_use]
pub fn grant(seen: &Seen<'_>, held: &Held<'_>, way: Option<&Way>) -> Option<Item> {
    let of = (held.place(), &held.claim.value.pool);
    grant_of(seen, held.attach, of, way)
}

/// The same of any place, in its pool.
#[must_use]
pub fn grant_of(
    seen: &Seen<'_>,
    attach: &Claimed<AttachClaim>,
    (place, pool): (InstanceId, &PoolName),
    way: Option<&Way>,
) -> Option<Item> {
    let epoch = attach.epoch;
    let AttachClaim {
        volume: _,
        vm,
        host,
    } = &attach.value;
    Some(Item {
        key: grant_key(place),
        epoch,
        object: seen.me.clone(),
        body: ItemBody::Grant(GrantItem {
            volume: place,
            pool: pool.clone(),
            initiator: GrantItem::initiator_name(host, *vm),
            access: match way? {
                Way::Iscsi(_) => GrantAccess::Iscsi {
                    chap: (seen.chap)(place, epoch),
                },
                Way::Rbd(_) => GrantAccess::Rbd {
                    cephx: cephx(seen, place, epoch),
                },
                // The storage host refuses it when that is another one.
                Way::File { folder: _ } => GrantAccess::File {
                    local: host.clone(),
                },
            },
        }),
    })
}

/// The user of a grant. What it may do is limited to one image, by the storage host; images lie in the
/// pool's own namespace, since libvirt before 11.6 can name no other.
fn cephx(seen: &Seen<'_>, volume: InstanceId, epoch: Epoch) -> Cephx {
    Cephx {
        user: Cephx::user_name(volume, epoch),
        key: (seen.cephx_key)(volume, epoch),
        namespace: String::new(),
    }
}

/// The machine itself; `None` while a storage host has not said where it listens.
#[must_use]
pub fn machine(
    seen: &Seen<'_>,
    valid: &ValidVm,
    claim: &Claimed<VmClaim>,
    disks: &[(Held<'_>, &DiskSeen<'_>)],
) -> Option<Item> {
    let VmClaim {
        vm,
        owner: _,
        host,
        vcpus,
        memory,
        machine_type,
        volumes: _,
        cards,
    } = &claim.value;
    let mut disk_items = Vec::new();
    for ((held, disk), named) in disks.iter().zip(&valid.disks) {
        let (epoch, place) = (held.attach.epoch, held.place());
        disk_items.push(DiskItem {
            volume: held.volume,
            name: named.name.clone(),
            grant: epoch,
            initiator: GrantItem::initiator_name(host, *vm),
            source: source(seen, place, epoch, disk.way.as_ref()?),
            size: held.claim.value.shown_to_guest(),
            qos: disk
                .volume
                .and_then(|volume| validate_qos(volume.spec.qos.as_ref()).ok())
                .unwrap_or_default(),
            stored: held.claim.value.stored,
            mirror: moving::mirror(seen, held.volume, disk).ok()?,
            luks: encryption::luks(seen.claims, &held.claim.value, seen.open_key).0,
        });
    }
    let nics = cards.iter().zip(0..).map(|(card, number)| NicItem {
        card: number,
        subnet: card.subnet,
        mac: card.mac,
        v4: card.v4,
        v6: card.v6,
    });
    Some(Item {
        key: key(seen.me),
        epoch: claim.epoch,
        object: seen.me.clone(),
        body: ItemBody::Vm(Box::new(VmItem {
            vm: *vm,
            department: valid.department.clone(),
            system: valid.system.clone(),
            name: valid.name.clone(),
            power: valid.power,
            restart: valid.restart.clone(),
            vcpus: *vcpus,
            memory: *memory,
            cpu_model: valid.cpu_model.clone(),
            machine_type: machine_type.clone(),
            firmware: valid.firmware,
            disks: disk_items,
            nics: nics.collect(),
            seed: SeedItem {
                hostname: valid.name.clone(),
                user_data: valid.user_data.clone(),
            },
            stop_deadline_s: valid.stop_deadline_s,
            on_stop: valid.on_stop,
            hold: hold(seen, *vm),
            probes: seen.probes.cloned(),
        })),
    })
}

/// How QEMU reaches the bytes in a place, under a grant.
#[must_use]
pub fn source(seen: &Seen<'_>, place: InstanceId, grant: Epoch, way: &Way) -> DiskSource {
    match way.clone() {
        Way::Iscsi(portal) => DiskSource::Iscsi {
            portal,
            chap: (seen.chap)(place, grant),
        },
        Way::Rbd(cluster) => DiskSource::Rbd {
            cluster,
            image: place.to_string(),
            cephx: cephx(seen, place, grant),
        },
        Way::File { folder } => DiskSource::File {
            path: format!("{folder}/{}", GrantItem::file_name(place, grant)),
        },
    }
}

/// The guest is kept from writing while a snapshot's claim asks for it.
fn hold(seen: &Seen<'_>, vm: InstanceId) -> Option<Hold> {
    let hold = seen.claims.holds.get(&vm)?;
    (hold.value.phase == HoldPhase::Asked).then_some(Hold {
        id: hold.epoch,
        deadline_s: HOLD_S,
    })
}
