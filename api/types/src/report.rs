//! What a host says: what it is, what it holds, and how each item stands.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::plan::{Disposition, ItemHash, ItemKey, Portal, Probes, RbdCluster};
use crate::{Bytes, Epoch, HostName, InstanceId, MiB, PoolName, Term};

mod backup;

pub use backup::*;

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
    pub place: PoolPlace,
    /// What its driver cannot do, and why.
    pub lacks: Vec<Lack>,
    /// What lies in it that no claim speaks of; never removed by itself.
    pub orphans: Vec<Orphan>,
}

/// The driver of a pool, and how its volumes are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolPlace {
    /// Over the host's portal.
    #[default]
    Iscsi,
    /// Files below this folder of the host.
    Directory {
        folder: String,
    },
    Rbd(RbdCluster),
}

/// Something that a driver cannot do in a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    pub verb: Verb,
    /// For people: why not, and what would help.
    pub why: String,
}

/// What not every driver can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verb {
    Snapshot,
    /// A clone that shares blocks with its source; without it a clone is a full copy.
    Clone,
    ChangedExtents,
    GrowOnline,
    /// A holder is cut off by the storage, not merely waited for.
    Fence,
    Discard,
}

/// Something in a pool that nobody claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    pub kind: OrphanKind,
    /// As the driver calls it: a path, a target, an image.
    pub name: String,
    /// What it takes, as far as that is known.
    pub size: Bytes,
    /// When it was last changed, seconds since 1970.
    pub since: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OrphanKind {
    Volume,
    Snapshot,
    Image,
    Grant,
    Other,
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
        /// The order of the last restore that was done.
        restored: Option<String>,
    },
    Snapshot {
        size: Bytes,
        /// Seconds since 1970.
        taken_at: i64,
    },
    Backup {
        /// While it runs.
        progress: Option<Progress>,
        done: Option<Box<BackupDone>>,
    },
    Restore {
        /// While it runs.
        progress: Option<Progress>,
        done: Option<RestoreDone>,
    },
    Manifest {
        /// Once it is read.
        read: Option<Box<ManifestRead>>,
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
        /// How the last hold that was asked of it stands.
        #[serde(default)]
        held: Option<Box<HoldSeen>>,
        /// Disks whose bytes are being moved, or have been since the plan was made.
        #[serde(default)]
        moves: Vec<MoveSeen>,
        /// How much its disks are used, of those of which that is known; another figure than last
        /// time only when it differs materially.
        #[serde(default)]
        used: Vec<DiskUse>,
        /// Encrypted volumes that have their header, of those of which the plan does not know it.
        #[serde(default)]
        formatted: Vec<InstanceId>,
        /// What came of its probes; `None` when none were asked for.
        #[serde(default)]
        probed: Option<Box<Probed>>,
    },
}

/// What a guest has shown of itself since it was started: it stays so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Its console has shown the text.
    pub console: bool,
    /// Its agent has answered.
    pub agent: bool,
    /// How the command last ended: 0 is well. `None`: it has not ended yet.
    pub command: Option<i32>,
}

impl Probed {
    /// Whether all that is asked for has been shown.
    #[must_use]
    pub fn satisfies(&self, probes: &Probes) -> bool {
        let Probes {
            console,
            agent,
            command,
        } = probes;
        (console.is_none() || self.console)
            && (!agent || self.agent)
            && (command.is_empty() || self.command == Some(0))
    }
}

/// How much a disk is used: a mean over a minute or more, reads and writes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    pub volume: InstanceId,
    /// Operations a second.
    pub iops: u64,
    /// Bytes a second.
    pub bandwidth: Bytes,
}

/// How far a disk is on its way to another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveSeen {
    pub volume: InstanceId,
    /// Where to: the mirror's place in the plan.
    pub place: InstanceId,
    /// How often the copy was begun.
    pub tries: u32,
    pub state: MoveState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MoveState {
    /// Nothing is copied now: the guest is off, or the copy broke off and is begun again.
    Waiting,
    Copying {
        percent: u32,
    },
    /// The copy is whole, and kept up with what the guest writes.
    Ready,
    /// It is no longer asked for, and QEMU has not closed the place yet.
    Ending,
    /// The guest writes to the new place alone, and will whatever happens to the host.
    Switched,
}

/// How a hold of a guest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldSeen {
    pub id: Epoch,
    /// What a snapshot taken under it can be relied on for.
    pub level: Consistency,
    pub state: HoldState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldState {
    /// Nothing is written.
    Holding,
    /// It was taken back, and nothing had been written until then.
    Kept,
    /// The guest was let go, stopped or lost before the hold was taken back.
    Broken,
}

/// What a snapshot can be relied on for; never more than was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Consistency {
    /// As after a power cut.
    Crash,
    /// The guest had written its file systems out.
    FileSystem,
    /// Its applications had written theirs out too.
    Application,
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
    /// How the bytes were erased, when they were.
    pub erasure: Option<Erasure>,
}

/// What an erasure did: the facts of its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    pub method: Disposition,
    /// Runs of blocks that held something, and their length in all.
    pub extents: u64,
    pub bytes: Bytes,
    /// Bytes that were read back and held nothing.
    pub verified: Bytes,
    /// Seconds since 1970.
    pub began_at: i64,
    pub ended_at: i64,
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
