//! What one item or one release asks, given what was seen: its steps, or why there are none.
//!
//! ```text
//! item     ─ does it make sense? ─ is its pool there? ─ by its kind ─────────────▶ Judged
//! release  ─ what is left up to its epoch? ────────────────────────────────────▶ Removal
//! ```

use dc_types::plan::{Item, ItemBody, ItemKey, ItemKind};
use dc_types::report::{Detail, Erasure, Trouble};
use dc_types::{Epoch, InstanceId, PoolName};

use super::known::Known;
use super::seen::{GrantsSeen, PoolSeen, VolumeSeen};
use super::step::Step;
use super::trouble::StorageTrouble;
use crate::wanted::Wanted;

mod grant;
mod image;
mod snapshot;
mod volume;

pub(super) use grant::{grant_release, grant_removal_steps};
pub(super) use image::image_release;
pub(super) use snapshot::snapshot_release;
pub(super) use volume::volume_release;

/// What an item asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// As asked.
    Ready(Detail),
    /// These steps, in this order; what is known meanwhile.
    Steps(Vec<Step>, Detail),
    /// Nothing to do now; it goes on by itself.
    Waits(Trouble, Detail),
    /// Nothing will be done until what is asked changes.
    Refused(Trouble, Detail),
}

impl Judged {
    fn waits(trouble: StorageTrouble, detail: Detail) -> Self {
        Self::Waits(trouble.into(), detail)
    }

    fn refused(trouble: StorageTrouble, detail: Detail) -> Self {
        Self::Refused(trouble.into(), detail)
    }
}

/// What a release asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// Nothing is left.
    Done(Gone),
    Steps(Vec<Step>),
    Waits(StorageTrouble),
}

/// What became of what was released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// For people.
    pub note: String,
    pub erasure: Option<Erasure>,
}

impl Removal {
    fn done(note: impl Into<String>) -> Self {
        Self::Done(Gone {
            note: note.into(),
            erasure: None,
        })
    }
}

/// The item under `key`, unless a release of its epoch or a newer one is there.
pub(super) fn live<'a>(wanted: &Wanted<'a>, key: &ItemKey) -> Option<&'a Item> {
    let item = wanted.items.get(key)?;
    let released = wanted.released_up_to(key);
    (released.is_none_or(|epoch| epoch < item.epoch)).then_some(item)
}

pub(super) fn judge_item(wanted: &Wanted<'_>, seen: &Known<'_>, item: &Item) -> Judged {
    if live(wanted, &item.key).is_none() {
        return Judged::waits(StorageTrouble::Releasing, Detail::None);
    }
    let older = wanted.releases.get(&item.key);
    if let Some(older) = older
        && !matches!(judge_release(wanted, seen, older), Removal::Done(_))
    {
        return Judged::waits(StorageTrouble::Releasing, Detail::None);
    }
    let judged = match &item.body {
        ItemBody::Image(body) => image::image(seen, item, body),
        ItemBody::Volume(body) => volume::volume(wanted, seen, item, body),
        ItemBody::Snapshot(body) => snapshot::snapshot(wanted, seen, item, body),
        ItemBody::Grant(body) => grant::grant(wanted, seen, item, body),
        ItemBody::Backup(_)
        | ItemBody::Restore(_)
        | ItemBody::Manifest(_)
        | ItemBody::Network(_)
        | ItemBody::Endpoint(_)
        | ItemBody::Vm(_) => {
            unreachable!("only the kinds of this vertical are judged")
        }
    };
    judged.unwrap_or_else(|judged| judged)
}

pub(super) fn judge_release(
    wanted: &Wanted<'_>,
    seen: &Known<'_>,
    release: &dc_types::plan::Release,
) -> Removal {
    match release.key.kind {
        ItemKind::Image => image_release(seen, release),
        ItemKind::Volume => volume_release(wanted, seen, release),
        ItemKind::Snapshot => snapshot_release(seen, release),
        ItemKind::Grant => grant_release(seen, release),
        ItemKind::Backup
        | ItemKind::Restore
        | ItemKind::Manifest
        | ItemKind::Network
        | ItemKind::Endpoint
        | ItemKind::Vm => {
            unreachable!("only the kinds of this vertical are judged")
        }
    }
}

/// The pool of an item, when it is there and can be used.
fn usable<'a>(seen: &'a Known<'_>, pool: &PoolName) -> Result<&'a PoolSeen, Judged> {
    let Some(found) = seen.pools.get(pool) else {
        let trouble = StorageTrouble::PoolUnknown { pool: pool.clone() };
        return Err(Judged::refused(trouble, Detail::None));
    };
    match &found.facts.fault {
        None => Ok(found),
        Some(fault) => Err(Judged::waits(
            StorageTrouble::PoolUnusable {
                pool: pool.clone(),
                fault: fault.clone(),
            },
            Detail::None,
        )),
    }
}

/// What does not make sense, as a verdict.
fn sensible(result: Result<(), StorageTrouble>) -> Result<(), Judged> {
    result.map_err(|trouble| Judged::refused(trouble, Detail::None))
}

/// Whether the grants of a pool are known.
fn listed(pool: &PoolSeen) -> Result<(), StorageTrouble> {
    match &pool.grants {
        GrantsSeen::Listed(_) => Ok(()),
        GrantsSeen::Unknown(why) => Err(StorageTrouble::GrantsUnknown(why.clone())),
    }
}

/// A pool that has a fault, so that what it holds is not known.
fn faulty<'a>(mut pools: impl Iterator<Item = &'a PoolSeen>) -> Option<StorageTrouble> {
    pools.find_map(|pool| {
        pool.facts
            .fault
            .as_ref()
            .map(|fault| StorageTrouble::PoolUnusable {
                pool: pool.facts.pool.clone(),
                fault: fault.clone(),
            })
    })
}

/// The highest epoch among a volume's grants.
fn highest_grant(seen: &Known<'_>, volume: InstanceId) -> Option<Epoch> {
    seen.grants_of(volume).map(|grant| grant.epoch).max()
}

/// The pool that holds a volume, and what it holds of it.
fn find<'a>(seen: &'a Known<'_>, volume: InstanceId) -> Option<(&'a PoolName, &'a VolumeSeen)> {
    let mut pools = seen.pools.iter();
    pools.find_map(|(name, pool)| Some((name, pool.contents.volumes.get(&volume)?)))
}
