//! What was seen of machines on this host at one moment.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::plan::Qos;
use dc_types::report::Probed;
use dc_types::{Bytes, InstanceId};
use uuid::Uuid;

use super::Record;
use super::hold::Freeze;
use super::luks::Formats;
use super::meter::{DiskCounts, Rates};
use super::xml::{Metadata, SecretLabel};

/// One look. The time belongs to it: the plan has no other clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Seconds since 1970.
    pub now: i64,
    /// Domains that carry our metadata.
    pub domains: BTreeMap<InstanceId, Domain>,
    /// All other domains; they are in the way only of their own uuid and name.
    pub foreign: Vec<ForeignDomain>,
    /// Secrets of ours that libvirt holds, by their uuid.
    pub secrets: BTreeMap<Uuid, SecretLabel>,
    pub records: BTreeMap<InstanceId, Record>,
    /// Machines that have a seed, UEFI variables or a console log here.
    pub files: BTreeSet<InstanceId>,
    /// Taps with a name of ours, wherever they are.
    pub taps: BTreeMap<String, TapPlace>,
    /// How the file systems of a guest are, of those that were asked: see
    /// [`asks_guest`](super::hold::asks_guest).
    pub freezes: BTreeMap<InstanceId, Freeze>,
    /// How much disks are used, as it is told.
    pub rates: Rates,
    /// Encrypted volumes that are being formatted, or have been since the agent started.
    pub formats: Formats,
    /// What guests that are probed have shown.
    pub probed: BTreeMap<InstanceId, Probed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    pub name: String,
    /// Of the running domain when there is one, of its definition otherwise.
    pub metadata: Metadata,
    pub power: Power,
    /// The disks of a running domain, by their serial.
    pub disks: BTreeMap<String, LiveDisk>,
    /// Ports of a running domain that have no device; `None` where none are needed.
    pub free_slots: Option<usize>,
}

/// A disk as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveDisk {
    /// Such as `vda`.
    pub device: String,
    pub qos: Qos,
    /// As the guest sees it; `None` while QEMU has not said.
    pub size: Option<Bytes>,
    /// What its storage has before that, which the guest does not see.
    pub header: Bytes,
    /// What QEMU has counted; `None` while it has not said.
    pub counts: Option<DiskCounts>,
    /// What QEMU has open: a target and its unit, an image, a file.
    pub source: String,
    /// Where it opens that: addresses with their ports.
    pub hosts: Vec<String>,
    /// The job that copies it elsewhere.
    pub mirror: Option<LiveMirror>,
}

/// A copy of a disk that QEMU makes while the guest runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveMirror {
    /// Where to, named as the source of a disk is.
    pub source: String,
    pub hosts: Vec<String>,
    pub stage: CopyStage,
    pub percent: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStage {
    Copying,
    /// It is whole, and kept up.
    Ready,
    /// QEMU is going over to it, and has not said yet whether it did.
    GoingOver,
    /// QEMU is ending it.
    Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    Running,
    Paused(Paused),
    /// QEMU is going down.
    ShuttingDown,
    /// The guest's kernel panicked, and its memory is kept.
    Panicked,
    Off(Off),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// By an order: this is how a start begins.
    Ordered,
    /// A disk's error stopped it.
    DiskError,
    /// libvirt is busy with it; it goes on by itself.
    Passing,
}

/// libvirt's reason for a domain that is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// The guest powered off, asked or not.
    ByGuest,
    Destroyed,
    Crashed,
    /// It could not be started.
    Failed,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignDomain {
    pub uuid: Uuid,
    pub name: String,
    /// Why it is not ours: no metadata of ours, or one that cannot be read.
    pub why: String,
}

/// Where a tap is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapPlace {
    /// In the host's own namespace: not plugged yet, or left over.
    Host,
    Netns {
        netns: String,
        bridge: Option<String>,
    },
}

impl Power {
    /// Whether there is a QEMU process.
    #[must_use]
    pub fn is_active(self) -> bool {
        !matches!(self, Power::Off(_))
    }
}
