//! What the operator asks one host to carry: items under a key, and releases.
//!
//! A host's plan is the set of its items. It reaches the host as deltas; an item that is not
//! mentioned stays. Nothing is ever removed because it is absent: removal is a [`Release`], with
//! the epoch of what is released, kept in the ledger until the host has confirmed it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    DepartmentName, Epoch, HostName, InstanceId, Mac, MiB, ObjectRef, Service, SubnetUid, Vni,
};

mod backup;
mod storage;

pub use backup::*;
pub use storage::*;

/// The kinds of items, in the order in which a host brings them up; removal goes in reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ItemKind {
    Image,
    Volume,
    Snapshot,
    Backup,
    Restore,
    Manifest,
    Grant,
    Network,
    Endpoint,
    Vm,
}

/// One item of a host's plan. `card` tells the cards of one machine apart, and is 0 elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemKey {
    pub kind: ItemKind,
    pub id: Uuid,
    pub card: u32,
}

impl ItemKey {
    #[must_use]
    pub fn new(kind: ItemKind, id: Uuid) -> Self {
        Self { kind, id, card: 0 }
    }

    #[must_use]
    pub fn endpoint(vm: InstanceId, card: u32) -> Self {
        Self {
            kind: ItemKind::Endpoint,
            id: vm.0,
            card,
        }
    }

    /// The key of a department's network: its id is made from the department's name.
    #[must_use]
    pub fn network(department: &DepartmentName) -> Self {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, department.as_str().as_bytes());
        Self::new(ItemKind::Network, id)
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.id)?;
        if self.kind == ItemKind::Endpoint {
            write!(f, " card {}", self.card)
        } else {
            Ok(())
        }
    }
}

/// The digest of an item's body; equal hashes mean that nothing needs to be sent or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemHash(pub u64);

/// One thing a host is to carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub key: ItemKey,
    /// The epoch of the claim behind the item. A host refuses one older than what it holds.
    pub epoch: Epoch,
    /// The object people know it by, for logs, metadata and messages.
    pub object: ObjectRef,
    pub body: ItemBody,
}

impl Item {
    /// The digest of everything in the item: the first 8 bytes of SHA-256 over its JSON. Of a volume's
    /// key it is only told whether it is there.
    #[must_use]
    pub fn hash(&self) -> ItemHash {
        let hidden = self.with_keys(&|_| Some(Secret("there".to_owned())));
        let json = serde_json::to_vec(hidden.as_ref().unwrap_or(self))
            .expect("an item is always representable as JSON");
        let digest = Sha256::digest(&json);
        ItemHash(u64::from_be_bytes(
            digest[..8].try_into().expect("SHA-256 has 32 bytes"),
        ))
    }
}

impl Item {
    /// The item without the keys of its volumes, as it may be on a host's disk; `None` when it has
    /// none.
    #[must_use]
    pub fn without_keys(&self) -> Option<Self> {
        self.with_keys(&|_| None)
    }

    /// The item with another text in the place of each key that is there; `None` when none is.
    fn with_keys(&self, other: &dyn Fn(&Secret) -> Option<Secret>) -> Option<Self> {
        let ItemBody::Vm(vm) = &self.body else {
            return None;
        };
        let has_key = |disk: &DiskItem| disk.luks.as_ref().is_some_and(|luks| luks.key.is_some());
        if !vm.disks.iter().any(has_key) {
            return None;
        }
        let mut vm = vm.clone();
        for luks in vm.disks.iter_mut().filter_map(|disk| disk.luks.as_mut()) {
            luks.key = luks.key.as_ref().and_then(other);
        }
        Some(Self {
            key: self.key,
            epoch: self.epoch,
            object: self.object.clone(),
            body: ItemBody::Vm(vm),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemBody {
    Image(ImageItem),
    Volume(VolumeItem),
    Snapshot(SnapshotItem),
    Backup(Box<BackupItem>),
    Restore(Box<RestoreItem>),
    Manifest(Box<ManifestItem>),
    Grant(GrantItem),
    Network(NetworkItem),
    Endpoint(EndpointItem),
    Vm(Box<VmItem>),
}

impl ItemBody {
    #[must_use]
    pub fn kind(&self) -> ItemKind {
        match self {
            ItemBody::Image(_) => ItemKind::Image,
            ItemBody::Volume(_) => ItemKind::Volume,
            ItemBody::Snapshot(_) => ItemKind::Snapshot,
            ItemBody::Backup(_) => ItemKind::Backup,
            ItemBody::Restore(_) => ItemKind::Restore,
            ItemBody::Manifest(_) => ItemKind::Manifest,
            ItemBody::Grant(_) => ItemKind::Grant,
            ItemBody::Network(_) => ItemKind::Network,
            ItemBody::Endpoint(_) => ItemKind::Endpoint,
            ItemBody::Vm(_) => ItemKind::Vm,
        }
    }
}

/// A text that must not be seen in a log: its Debug form shows its length alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// What a zone is for; it decides what may reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoneType {
    Outside,
    Dmz,
    Internal,
    Database,
    Storage,
    Management,
    Soc,
}

/// A department's network on a host: all its segments, what may flow, and who else carries it.
/// Key: [`ItemKey::network`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkItem {
    pub department: DepartmentName,
    /// The VXLAN that joins the department's routers to those on the gateway hosts.
    pub transit: Vni,
    pub segments: Vec<Segment>,
    /// Everything that may flow; all else is dropped.
    pub flows: Vec<Flow>,
    /// The other hosts that carry this department.
    pub peers: Vec<Peer>,
    pub role: NetworkRole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkRole {
    /// Carries machines; leaves by way of a peer that is a gateway.
    Compute,
    /// Joins the department to the edge, and so to the outside.
    Gateway,
}

/// One subnet of the department.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub subnet: SubnetUid,
    pub name: String,
    pub zone: ZoneType,
    pub vni: Vni,
    pub v4: Option<Ipv4Net>,
    pub v6: Option<Ipv6Net>,
    /// The anycast gateway: the same address and MAC on every host.
    pub gateway_v4: Option<Ipv4Addr>,
    pub gateway_v6: Option<Ipv6Addr>,
    pub gateway_mac: Mac,
    /// Name servers told to the guests.
    pub dns: Vec<IpAddr>,
}

/// New connections from one end to a segment, to these services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Carried as conntrack mark, so that revoking the flow also cuts its live connections.
    /// Unique within the department, not 0.
    pub id: u32,
    pub from: FlowEnd,
    pub to: SubnetUid,
    /// From outside: these are what may be published; an endpoint must publish one to be reached.
    pub services: Vec<Service>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FlowEnd {
    Outside,
    Subnet(SubnetUid),
}

/// Another host that carries the department.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    pub host: HostName,
    /// Its address on the overlay network.
    pub vtep: IpAddr,
    pub role: PeerRole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PeerRole {
    Compute,
    Gateway,
}

/// One card of one machine of the department, here or on another host. Key: [`ItemKey::endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointItem {
    pub department: DepartmentName,
    pub subnet: SubnetUid,
    pub vm: InstanceId,
    pub card: u32,
    /// The machine's name, for DHCP and DNS.
    pub name: String,
    pub mac: Mac,
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
    /// The host that carries the machine.
    pub host: HostName,
    /// That host's address on the overlay network.
    pub vtep: IpAddr,
    /// What of it the outside may reach.
    pub published: Vec<Service>,
}

/// A virtual machine. Key: its instance id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmItem {
    pub vm: InstanceId,
    pub department: DepartmentName,
    /// The InformationSystem it belongs to.
    pub system: String,
    pub name: String,
    pub power: Power,
    /// Another text than the one the running machine was started with asks for a restart.
    pub restart: String,
    pub vcpus: u32,
    pub memory: MiB,
    /// A libvirt CPU model name, such as qemu64.
    pub cpu_model: String,
    /// Concrete and pinned, such as pc-q35-7.2.
    pub machine_type: String,
    pub firmware: Firmware,
    /// In boot order.
    pub disks: Vec<DiskItem>,
    pub nics: Vec<NicItem>,
    pub seed: SeedItem,
    /// How long a clean stop may take before force is used.
    pub stop_deadline_s: u32,
    pub on_stop: OnStop,
    /// Keep the guest from writing for the moment, so that its volumes are taken at one instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// What is asked of the guest, to show that it has come up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
}

/// What is asked of a guest; what came of it is told as [`Probed`](crate::report::Probed).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// A text that its serial console shows.
    pub console: Option<String>,
    /// Its guest agent answers.
    pub agent: bool,
    /// A program and its arguments, which the guest agent runs; it may be run more than once. Empty:
    /// none.
    pub command: Vec<String>,
}

/// An order to keep a guest from writing until the order is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The epoch of the claim behind it: never used for another hold.
    pub id: Epoch,
    /// The host lets the guest go after so many seconds, whatever it hears or does not hear.
    pub deadline_s: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Firmware {
    Bios,
    Uefi,
}

/// What happens when the guest stops by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnStop {
    /// Start it again, whatever the reason.
    Restart,
    /// Start it again after a crash, not after a clean power-off.
    RestartOnFailure,
    Stay,
}

/// Where a storage host listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Portal {
    pub address: IpAddr,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicItem {
    pub card: u32,
    pub subnet: SubnetUid,
    pub mac: Mac,
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
}

/// The cloud-init NoCloud seed. The agent adds the network-config from the machine's cards and
/// their segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedItem {
    pub hostname: String,
    pub user_data: Secret,
}

/// An order to remove what a host holds under a key, up to and including an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub key: ItemKey,
    pub epoch: Epoch,
    pub object: ObjectRef,
    pub disposition: Disposition,
}

/// What happens to the bytes of a released volume; `Remove` for everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disposition {
    /// Nothing is worth keeping.
    Remove,
    /// The file stays, under a name that says whose it was; the answer says where.
    Retain,
    /// Every block is given back and reads as zero.
    EraseDiscard,
    /// Every block is written with zeros first.
    EraseZero,
    /// Every block is written with random bytes, then with zeros.
    EraseRandom,
}

/// One change of a host's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delta {
    Upsert(Box<Item>),
    Release(Release),
}

/// A host's whole plan, as it holds it on disk.
pub type Items = BTreeMap<ItemKey, Item>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_its_debug_form() {
        let chap = Chap {
            user: "u".into(),
            secret: Secret("hunter2".into()),
        };
        assert!(!format!("{chap:?}").contains("hunter2"));
    }

    #[test]
    fn the_target_name_carries_volume_and_epoch() {
        let id = InstanceId(Uuid::from_u128(5));
        let old = GrantItem::target_name(
            id,
            Epoch {
                incarnation: 1,
                revision: 7,
            },
        );
        let new = GrantItem::target_name(
            id,
            Epoch {
                incarnation: 2,
                revision: 7,
            },
        );
        assert_ne!(old, new);
        assert!(old.ends_with(":1.7"), "{old}");
    }

    #[test]
    fn a_department_has_one_network_key() {
        let a = DepartmentName::new("so-nnmt").unwrap();
        let b = DepartmentName::new("so-khcn").unwrap();
        assert_eq!(ItemKey::network(&a), ItemKey::network(&a));
        assert_ne!(ItemKey::network(&a), ItemKey::network(&b));
    }
}
