//! What a host says: what it is, what it holds, and how each item stands.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::plan::{ItemHash, ItemKey, Portal};
use crate::{Bytes, Epoch, HostName, MiB, PoolName, Term};

/// The first message of a session: what the host still holds, so that only the difference is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub host: HostName,
    /// The agent's version, and the oldest protocol it speaks.
    pub version: String,
    /// The highest term it has followed. A leader of a lower one is refused.
    pub term: Term,
    pub held: Vec<Held>,
    pub facts: HostFacts,
}

/// One item a host holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub key: ItemKey,
    pub epoch: Epoch,
    pub hash: ItemHash,
}

/// What a host is, as observed. `None` is unknown, which is not the same as none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Changes at every boot of the host.
    pub boot_id: String,
    pub roles: Vec<Role>,
    pub vcpus: u32,
    pub memory: MiB,
    pub memory_available: MiB,
    /// Concrete machine types, the newest default first.
    pub machine_types: Vec<String>,
    pub firmwares: Vec<crate::plan::Firmware>,
    pub accelerator: Accelerator,
    pub cpu_models: Vec<String>,
    pub overlay: IpAddr,
    /// Where its targets listen; on storage hosts.
    pub portal: Option<Portal>,
    pub pools: Vec<PoolFacts>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Compute,
    Storage,
    Gateway,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// Software emulation.
    Tcg,
    Kvm,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFacts {
    pub pool: PoolName,
    pub capacity: Bytes,
    pub used: Bytes,
    /// Whether clones share blocks.
    pub reflink: bool,
    /// Why it cannot be used, when it cannot.
    pub fault: Option<String>,
}

/// How one item stands on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    pub key: ItemKey,
    /// The epoch and hash of the item this speaks of.
    pub epoch: Epoch,
    pub hash: ItemHash,
    pub state: ItemState,
    pub detail: Detail,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemState {
    /// As asked.
    Ready,
    /// On the way, or waiting for something that comes by itself.
    Pending(Trouble),
    /// Tried and failed; it is tried again, with growing pauses.
    Failed(Trouble),
}

/// A fact in PascalCase for programs, and a sentence for people: what, where, what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub reason: String,
    pub message: String,
}

/// What is known of an item beyond its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Detail {
    None,
    Image {
        /// Of the disk inside, not of the file.
        virtual_size: Bytes,
    },
    Volume {
        size: Bytes,
        allocated: Bytes,
    },
    Vm {
        guest: Guest,
        /// How it last stopped.
        last_stop: Option<Stop>,
        machine_type: Option<String>,
        /// When the guest was last started, seconds since 1970.
        started_at: Option<i64>,
        /// The restart text it was started with.
        restart: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Guest {
    Absent,
    Starting,
    Running,
    /// Kept from running, for example by a full pool.
    Paused,
    Stopping,
    Stopped,
    Crashed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stop {
    /// By ACPI, as asked.
    Clean,
    /// By force, after the deadline of a clean stop had passed.
    Forced,
    /// The guest powered itself off.
    ByGuest,
    Crashed,
    /// The host went down under it.
    HostLost,
}

/// A release that was carried out: nothing under this key up to this epoch is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    pub key: ItemKey,
    pub epoch: Epoch,
    /// For people, such as where a retained volume lies.
    pub note: String,
}

/// One message of a host after its [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    Facts(Box<HostFacts>),
    Observed(Vec<Observation>),
    Released(Released),
    /// A release that could not be carried out yet, and why.
    ReleaseFailed {
        key: ItemKey,
        epoch: Epoch,
        trouble: Trouble,
    },
}
