//! Images: an item on the storage host of each pool that is to keep one.
//!
//! An image has no claim: it is nobody's. Its epoch is the beginning of the ledger's incarnation,
//! and its key, the object's uid, is never used twice.

use dc_crds::Image;
use dc_types::plan::{ItemKey, ItemKind};
use dc_types::report::Observation;
use dc_types::{Epoch, HostName, ObjectRef, PoolName};

use crate::claims::Claims;
use crate::place::Presence;
use crate::sight::Removal;

pub mod plan;
pub mod status;
pub mod validate;

pub use plan::plan;
pub use status::status;
pub use validate::{ValidImage, validate};

/// What was read for one image.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub image: &'a Image,
    pub me: &'a ObjectRef,
    /// In the order of the object's pools.
    pub pools: &'a [PoolSeen],
    pub claims: &'a Claims,
}

#[derive(Clone, Debug)]
pub struct PoolSeen {
    pub name: String,
    /// The pool and its storage host; `None` when there is no such pool.
    pub at: Option<(PoolName, HostName)>,
    pub presence: Presence,
    pub said: Option<Observation>,
    pub removal: Removal,
}

#[must_use]
pub fn key(me: &ObjectRef) -> ItemKey {
    ItemKey::new(ItemKind::Image, me.uid.0)
}

#[must_use]
pub fn epoch(claims: &Claims) -> Epoch {
    claims.epoch_of(0)
}

#[cfg(test)]
mod tests;
