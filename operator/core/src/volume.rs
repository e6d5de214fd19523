//! Volumes: a claim on a pool, then an item on the pool's storage host.
//!
//! ```text
//! wanted ─ valid ─▶ claimed ─▶ carried ─▶ Ready        size grows: claim written anew, carried again
//!                                                      restore: the same, while nobody holds it
//!                                                      other pool: see `moving`
//! deleted ─ nobody holds it, no snapshot ─▶ release recorded ─ host confirms ─▶ erasure certified
//!         ─▶ claim deleted ─▶ let go
//! ```
//! What always holds: a pool never promises more than its limit, a department no more than its
//! quota; the claim stays until the storage host has confirmed what became of the bytes, and, when
//! they were erased, until the certificate stands; nothing is released that a machine holds or a
//! snapshot is of; no machine gets a volume that is being brought back.

use dc_crds::pool::OwnerClass;
use dc_crds::{Image, StoragePool, Volume, VolumeSnapshot};
use dc_types::claim::VolumeClaim;
use dc_types::plan::{ItemKey, ItemKind, RestoreOrder};
use dc_types::report::{Detail, Observation, PoolFacts};
use dc_types::{Bytes, InstanceId, ObjectRef};

use crate::claims::Claims;
use crate::place::Presence;
use crate::quota::Allowance;
use crate::sight::Removal;

pub mod destruction;
pub mod encryption;
pub mod erasure;
pub mod moving;
pub mod plan;
pub mod qos;
pub mod restore;
pub mod status;
pub mod validate;

use encryption::NewKeyOf;
pub use plan::plan;
pub use status::status;
pub use validate::{ValidVolume, validate};

/// What was read for one volume.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub volume: &'a Volume,
    pub me: &'a ObjectRef,
    pub system: Named,
    /// The one that its bytes lie in; the one that it asks for while it is not claimed.
    pub pool: Option<PoolSeen<'a>>,
    pub image: Option<ImageSeen<'a>>,
    pub source: Option<SourceSeen<'a>>,
    /// The VolumeSnapshot that it is to be made from, and the one it is to be brought back to.
    pub from_snapshot: Option<&'a VolumeSnapshot>,
    pub restore: Option<&'a VolumeSnapshot>,
    /// Whose storage its department uses.
    pub class: OwnerClass,
    /// What the host of the machine that has it says of that machine.
    pub holder_said: Option<&'a Observation>,
    pub claims: &'a Claims,
    pub allowance: Allowance<'a>,
    pub new_key: NewKeyOf<'a>,
    /// What the storage host says of the volume.
    pub said: Option<&'a Observation>,
    /// How far the release of the volume is, and that of its last grant.
    pub removal: Removal,
    pub grant_removal: Removal,
    /// Of the place that it is moved to, or was moved from.
    pub moving: moving::MovingSeen<'a>,
    pub destruction: destruction::DestructionSeen<'a>,
    /// Where its bytes are, as the host said when it confirmed the release.
    pub note: Option<&'a str>,
}

/// Whether a named object is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    There,
    Absent,
}

#[derive(Clone, Copy, Debug)]
pub struct PoolSeen<'a> {
    pub pool: &'a StoragePool,
    pub presence: Presence,
    /// What its storage host says of it, if it has ever said so.
    pub facts: Option<&'a PoolFacts>,
}

#[derive(Clone, Copy, Debug)]
pub struct ImageSeen<'a> {
    pub image: &'a Image,
    /// What the pool's storage host says of it.
    pub said: Option<&'a Observation>,
}

#[derive(Clone, Copy, Debug)]
pub struct SourceSeen<'a> {
    pub volume: &'a Volume,
    pub said: Option<&'a Observation>,
}

/// An order to bring a volume back that its storage host has not carried out yet, as far as it has
/// said.
#[must_use]
pub fn pending_restore<'a>(
    claim: &'a VolumeClaim,
    said: Option<&Observation>,
) -> Option<&'a RestoreOrder> {
    let wanted = claim.restore.as_ref()?;
    let done = match said.map(|said| &said.detail) {
        Some(Detail::Volume { restored, .. }) => restored.as_ref() == Some(&wanted.order),
        _ => false,
    };
    (!done).then_some(wanted)
}

/// The volume's id for life: the uid of the object that first asked for it.
#[must_use]
pub fn id(me: &ObjectRef) -> InstanceId {
    InstanceId(me.uid.0)
}

/// The item at the storage host, of the place of the volume's bytes.
#[must_use]
pub fn key(place: InstanceId) -> ItemKey {
    ItemKey::new(ItemKind::Volume, place.0)
}

/// How much a pool may promise: its capacity times the percentage.
#[must_use]
pub fn promise_limit(capacity: Bytes, percent: u32) -> Bytes {
    let limit = u128::from(capacity.0) * u128::from(percent) / 100;
    Bytes(u64::try_from(limit).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
