//! Volumes: a claim on a pool, then an item on the pool's storage host.
//!
//! ```text
//! wanted ─ valid ─▶ claimed ─▶ carried ─▶ Ready        size grows: claim written anew, carried again
//! deleted ─ nobody holds it ─▶ release recorded ─ host confirms ─▶ claim deleted ─▶ let go
//! ```
//! What always holds: a pool never promises more than its limit, a department no more than its
//! quota; the claim stays until the storage
//! host has confirmed what became of the bytes; nothing is released that a machine holds.

use dc_crds::{Image, StoragePool, Volume};
use dc_types::plan::{ItemKey, ItemKind};
use dc_types::report::{Observation, PoolFacts};
use dc_types::{Bytes, InstanceId, ObjectRef};

use crate::claims::Claims;
use crate::place::Presence;
use crate::quota::Allowance;
use crate::sight::Removal;

pub mod plan;
pub mod status;
pub mod validate;

pub use plan::plan;
pub use status::status;
pub use validate::{ValidVolume, validate};

/// What was read for one volume.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub volume: &'a Volume,
    pub me: &'a ObjectRef,
    pub system: Named,
    pub pool: Option<PoolSeen<'a>>,
    pub image: Option<ImageSeen<'a>>,
    pub source: Option<SourceSeen<'a>>,
    pub claims: &'a Claims,
    pub allowance: Allowance<'a>,
    /// What the storage host says of the volume.
    pub said: Option<&'a Observation>,
    /// How far the release of the volume is, and that of its last grant.
    pub removal: Removal,
    pub grant_removal: Removal,
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

/// The volume's id for life: the uid of the object that first asked for it.
#[must_use]
pub fn id(me: &ObjectRef) -> InstanceId {
    InstanceId(me.uid.0)
}

#[must_use]
pub fn key(me: &ObjectRef) -> ItemKey {
    ItemKey::new(ItemKind::Volume, me.uid.0)
}

/// How much a pool may promise: its capacity times the percentage.
#[must_use]
pub fn promise_limit(capacity: Bytes, percent: u32) -> Bytes {
    let limit = u128::from(capacity.0) * u128::from(percent) / 100;
    Bytes(u64::try_from(limit).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
