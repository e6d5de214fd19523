//! Machines: their volumes, a claim of everything they hold, then items on hosts.
//!
//! ```text
//! wanted ─ valid ─▶ volumes made ─▶ volumes claimed ─▶ placed and claimed ─▶ grants carried
//!        ─ grants Ready ─▶ machine carried ─▶ Running
//! deleted ─▶ release of the machine ─ host confirms ─▶ claims deleted, grants released
//!        ─ storage confirms ─▶ let go
//! ```
//! What always holds:
//! - A machine, its volumes, addresses and MACs are claimed in one transaction, or nothing is.
//! - It is told to a host only once the storage has opened its volumes under the claim's epoch.
//! - Nothing it holds is given back before its host has confirmed that it is gone.
//! - Its volumes are made, and it is claimed, only within its department's quota.
//! - When its lease is over it is stopped, and keeps all it holds.
//! - A machine that becomes invalid later keeps what it holds and goes on as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dc_crds::lease::Lease;
use dc_crds::{MachineClass, Subnet, VirtualMachine, Volume, Zone};
use dc_types::plan::{Chap, ItemKey, ItemKind, Portal, RbdCluster, Secret};
use dc_types::report::{HostFacts, Observation, PoolPlace};
use dc_types::{Epoch, HostName, InstanceId, ObjectRef, PoolName, SubnetUid};

use k8s_openapi::jiff::Timestamp;

use crate::claims::Claims;
use crate::place::Index;
use crate::quota::Allowance;
use crate::sight::Removal;
use crate::volume::Named;
use crate::volume::encryption::OpenKeyOf;

pub mod address;
pub mod claim;
pub mod cloud_init;
pub mod deletion;
pub mod home;
pub mod items;
pub mod moving;
pub mod plan;
mod returns;
pub mod status;
pub mod validate;

pub use home::{Home, Reach};
pub use plan::plan;
pub use status::status;
pub use validate::{ValidVm, validate};

/// The login of a grant, made from the place of the bytes and the epoch; never stored.
pub type ChapOf<'a> = &'a dyn Fn(InstanceId, Epoch) -> Chap;

/// The same for a pool of Ceph: the key of the grant's user.
pub type CephxKeyOf<'a> = &'a dyn Fn(InstanceId, Epoch) -> Secret;

/// What was read for one machine.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub vm: &'a VirtualMachine,
    pub me: &'a ObjectRef,
    pub system: Named,
    pub class: Option<&'a MachineClass>,
    /// What it has to show, when it is the machine of a proof.
    pub probes: Option<&'a dc_types::plan::Probes>,
    /// In the order of the object's interfaces.
    pub cards: &'a [CardSeen<'a>],
    /// In the order of the object's disks.
    pub disks: &'a [DiskSeen<'a>],
    pub user_data: UserData<'a>,
    /// Its own lease and its system's, as far as there are such.
    pub leases: &'a [&'a Lease],
    pub now: Timestamp,
    pub claims: &'a Claims,
    pub allowance: Allowance<'a>,
    pub index: &'a Index,
    /// How many machines of its spread group each host has.
    pub spread: &'a BTreeMap<HostName, u32>,
    /// The addresses that other machines ask for by hand in the subnets of its cards.
    pub wished: &'a BTreeSet<(SubnetUid, IpAddr)>,
    /// What the machine's host says of it.
    pub said: Option<&'a Observation>,
    pub removal: Removal,
    pub chap: ChapOf<'a>,
    pub cephx_key: CephxKeyOf<'a>,
    pub open_key: OpenKeyOf<'a>,
}

#[derive(Clone, Copy, Debug)]
pub struct CardSeen<'a> {
    pub subnet: Option<&'a Subnet>,
    pub zone: Option<&'a Zone>,
}

#[derive(Clone, Debug)]
pub struct DiskSeen<'a> {
    /// The volume that the disk names or its template makes.
    pub volume: Option<&'a Volume>,
    /// From where, by what its pool is.
    pub reach: Reach,
    /// How it is opened, as far as its storage host has said.
    pub way: Option<Way>,
    /// What the storage host says of the volume, and of its grant.
    pub volume_said: Option<Observation>,
    pub grant_said: Option<Observation>,
    pub grant_removal: Removal,
    /// Of the place that it is moved to.
    pub second: Option<moving::SecondSeen>,
}

/// How the volumes of a pool are opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// At the portal of the storage host.
    Iscsi(Portal),
    Rbd(RbdCluster),
    /// Below this folder of the storage host, by machines of that host alone.
    File {
        folder: String,
    },
}

impl Way {
    /// What a storage host says of one of its pools.
    #[must_use]
    pub fn of(facts: &HostFacts, pool: &PoolName) -> Option<Self> {
        let pool = facts.pools.iter().find(|facts| facts.pool == *pool)?;
        match &pool.place {
            PoolPlace::Iscsi => facts.portal.clone().map(Self::Iscsi),
            // A pool that cannot be looked at does not know its monitors.
            PoolPlace::Rbd(cluster) if cluster.monitors.is_empty() => None,
            PoolPlace::Rbd(cluster) => Some(Self::Rbd(cluster.clone())),
            PoolPlace::Directory { folder } => Some(Self::File {
                folder: folder.clone(),
            }),
        }
    }
}

/// Where a disk of a directory pool lies, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lies {
    pub disk: String,
    pub volume: String,
    pub pool: String,
    pub host: String,
}

/// The user-data, wherever it stands.
#[derive(Clone, Copy, Debug)]
pub enum UserData<'a> {
    /// The object asks for none.
    Absent,
    /// Written in the object.
    Inline(&'a str),
    /// In a Secret; the text must not show in a message.
    InSecret(&'a str),
    NoSecret(&'a str),
    NoKey(&'a str),
    Unreadable {
        secret: &'a str,
        error: &'a str,
    },
}

/// The machine's id for life: the uid of the object that first asked for it.
#[must_use]
pub fn id(me: &ObjectRef) -> InstanceId {
    InstanceId(me.uid.0)
}

#[must_use]
pub fn key(me: &ObjectRef) -> ItemKey {
    ItemKey::new(ItemKind::Vm, me.uid.0)
}

/// The grant of a volume, by the place of its bytes.
#[must_use]
pub fn grant_key(place: InstanceId) -> ItemKey {
    ItemKey::new(ItemKind::Grant, place.0)
}

/// The volume that a disk's template makes.
#[must_use]
pub fn template_volume_name(vm: &str, disk: &str) -> String {
    format!("{vm}-{disk}")
}

/// The volume of a disk: the one it names, or the one its template makes.
#[must_use]
pub fn volume_name(vm: &str, disk: &dc_crds::vm::Disk) -> String {
    disk.volume
        .clone()
        .unwrap_or_else(|| template_volume_name(vm, &disk.name))
}

#[cfg(test)]
mod tests;
