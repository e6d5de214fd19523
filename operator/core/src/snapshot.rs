//! Snapshots: of one volume, or of all volumes of a machine at one instant.
//!
//! ```text
//! wanted ─ valid ─▶ claimed, guest to be held ─ host: held ─▶ carried ─ all taken ─▶ hold lifted
//!        ─ host: held until then ─▶ Taken
//!        ─ host: let go too soon, or one could not be taken ─▶ Broken ─ released ─▶ claimed anew
//! deleted ─▶ released ─ storage confirms ─▶ claims deleted ─▶ let go
//! ```
//! What always holds:
//! - All snapshots of a group and the hold of the guest are claimed in one transaction; its
//!   revision is the epoch of all of them and the id of the hold.
//! - No snapshot is asked for before the machine's host has said that the guest is held, and none
//!   counts before that host has said that it was held until all were taken.
//! - The level is what the host reached, never what was wished for; nobody having the volume is
//!   not a level.
//! - A snapshot that is not the one that was taken is told, and nothing is made from it.

use std::collections::BTreeMap;

use dc_crds::{Volume, VolumeSnapshot};
use dc_types::plan::{Item, ItemBody, ItemKey, ItemKind, SnapshotItem};
use dc_types::report::Observation;
use dc_types::{HostName, InstanceId, ObjectRef, SnapshotId};
use uuid::Uuid;

use crate::claims::{Claimed, Claims};
use crate::place::Presence;
use crate::quota::Allowance;
use crate::sight::Removal;
use crate::volume::{Named, PoolSeen};
use dc_types::claim::{SnapshotClaim, SnapshotPurpose};

pub mod deletion;
pub mod plan;
pub mod status;
pub mod validate;

pub use plan::plan;
pub use status::status;
pub use validate::validate;

/// A group whose hold did not last is begun so often in all.
pub const ATTEMPTS: u32 = 3;

/// For how long a guest is kept from writing at most: a snapshot takes up to two seconds, and what
/// is asked for travels twice. Guests' connections survive it.
pub const HOLD_S: u32 = 30;

/// What was read for one snapshot.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub snapshot: &'a VolumeSnapshot,
    pub me: &'a ObjectRef,
    pub system: Named,
    pub target: Target<'a>,
    /// The machine that has its volumes, or had when it was begun.
    pub machine: Option<&'a MachineSeen>,
    /// Of every snapshot that is claimed for it.
    pub members: &'a BTreeMap<SnapshotId, MemberSeen>,
    pub claims: &'a Claims,
    pub purpose: Purpose<'a>,
}

/// Who it is for.
#[derive(Clone, Copy)]
pub enum Purpose<'a> {
    /// The department, which is charged.
    Department(Allowance<'a>),
    /// A Backup: the platform's.
    Backup,
}

impl Purpose<'_> {
    #[must_use]
    pub fn claimed(&self) -> SnapshotPurpose {
        match self {
            Purpose::Department(_) => SnapshotPurpose::Department,
            Purpose::Backup => SnapshotPurpose::Backup,
        }
    }
}

/// What it is to be of.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// The machine or volume that it names is not there.
    Absent,
    Volumes(&'a [TargetSeen<'a>]),
}

#[derive(Clone, Debug)]
pub struct TargetSeen<'a> {
    pub name: String,
    pub volume: Option<&'a Volume>,
    /// What the storage host says of the volume.
    pub said: Option<Observation>,
    pub pool: Option<PoolSeen<'a>>,
}

#[derive(Clone, Debug)]
pub struct MachineSeen {
    pub vm: InstanceId,
    pub name: String,
    pub host: HostName,
    pub presence: Presence,
    pub said: Option<Observation>,
}

/// One snapshot of it, at its storage host.
#[derive(Clone, Debug)]
pub struct MemberSeen {
    pub presence: Presence,
    pub said: Option<Observation>,
    pub removal: Removal,
}

/// The id of one volume's snapshot: another one at each attempt, so that what an attempt left can
/// never be taken for the next.
#[must_use]
pub fn id(me: &ObjectRef, volume: InstanceId, attempt: u32) -> SnapshotId {
    let name = format!("{volume} {attempt}");
    SnapshotId(Uuid::new_v5(&me.uid.0, name.as_bytes()))
}

#[must_use]
pub fn key(snapshot: SnapshotId) -> ItemKey {
    ItemKey::new(ItemKind::Snapshot, snapshot.0)
}

/// The item on the storage host.
#[must_use]
pub fn item(claim: &Claimed<SnapshotClaim>) -> Item {
    let SnapshotClaim {
        snapshot,
        owner,
        volume: _,
        pool,
        host: _,
        size: _,
        held: _,
        attempt: _,
        state: _,
        stored: _,
        purpose: _,
    } = &claim.value;
    Item {
        key: key(*snapshot),
        epoch: claim.epoch,
        object: owner.clone(),
        body: ItemBody::Snapshot(SnapshotItem {
            snapshot: *snapshot,
            volume: claim.value.place(),
            pool: pool.clone(),
        }),
    }
}

#[cfg(test)]
mod tests;
