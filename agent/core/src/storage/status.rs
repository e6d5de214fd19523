//! How each item stands, which releases are done, and what the pools have.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::plan::{Item, ItemBody, ItemKey, ItemKind};
use dc_types::report::{Detail, ItemState, Observation, PoolFacts, Released, Trouble};

use super::judge::{Gone, Judged, Removal, judge_item, judge_release};
use super::known::Known;
use super::orphans::orphans;
use super::plan::KINDS;
use super::seen::{GrantsSeen, PoolSeen, Seen};
use super::trouble::{RESTORE_WAITS, StorageTrouble, VOLUME_IN_USE};
use crate::wanted::{Status, Wanted};

/// `troubles` are those of the last try of each key, `busy` the keys whose steps are being done.
#[must_use]
pub fn status(
    wanted: &Wanted<'_>,
    seen: &Seen,
    troubles: &BTreeMap<ItemKey, Trouble>,
    busy: &BTreeSet<ItemKey>,
) -> Status {
    let seen = &Known::new(wanted, seen);
    let mut status = Status::default();
    for kind in KINDS {
        for item in wanted.of_kind(kind) {
            let judged = judge_item(wanted, seen, item);
            let (state, detail) = stand(seen, item, judged, troubles, busy);
            status.observations.push(Observation {
                key: item.key,
                epoch: item.epoch,
                hash: item.hash(),
                state,
                detail,
            });
        }
        for release in wanted.releases_of_kind(kind) {
            if let Removal::Done(Gone { note, erasure }) = judge_release(wanted, seen, release) {
                status.released.push(Released {
                    key: release.key,
                    epoch: release.epoch,
                    note,
                    erasure,
                });
            }
        }
    }
    status
}

fn stand(
    seen: &Seen,
    item: &Item,
    judged: Judged,
    troubles: &BTreeMap<ItemKey, Trouble>,
    busy: &BTreeSet<ItemKey>,
) -> (ItemState, Detail) {
    match judged {
        Judged::Ready(detail) => (ItemState::Ready, detail),
        Judged::Waits(trouble, detail) => (ItemState::Pending(trouble), detail),
        Judged::Refused(trouble, detail) => (ItemState::Failed(trouble), detail),
        Judged::Steps(_, detail) => {
            // A trouble stays while it is tried again: else it would come and go with each try.
            let state = match troubles.get(&item.key) {
                Some(trouble) => ItemState::Failed(trouble.clone()),
                None => ItemState::Pending(working(seen, item, busy).into()),
            };
            (state, detail)
        }
    }
}

fn working(seen: &Seen, item: &Item, busy: &BTreeSet<ItemKey>) -> StorageTrouble {
    let what = match &item.body {
        ItemBody::Image(image) => match seen.fetching.get(&image.image) {
            Some(progress) => format!("fetching the image: {progress}"),
            None => "the image is to be fetched".to_owned(),
        },
        ItemBody::Volume(_) => "the volume is being made".to_owned(),
        ItemBody::Snapshot(_) => "the snapshot is being taken".to_owned(),
        ItemBody::Grant(_) => "the volume is being opened to its machine".to_owned(),
        _ => String::new(),
    };
    let next = if busy.contains(&item.key) {
        ""
    } else {
        ", as the next step"
    };
    StorageTrouble::Working(format!("{what}{next}"))
}

/// In how many seconds to look again although no event will say so, if earlier than usual.
#[must_use]
pub fn next_look(wanted: &Wanted<'_>, seen: &Seen) -> Option<u32> {
    let seen = &Known::new(wanted, seen);
    let waits_for_holder = || {
        let mut volumes = wanted.of_kind(ItemKind::Volume);
        volumes.any(|item| match judge_item(wanted, seen, item) {
            Judged::Waits(trouble, _) => [VOLUME_IN_USE, RESTORE_WAITS].contains(&&*trouble.reason),
            _ => false,
        })
    };
    let silent = |pool: &PoolSeen| matches!(pool.grants, GrantsSeen::Unknown(_));
    if seen.pools().any(silent) {
        Some(1)
    } else if !seen.fetching.is_empty() {
        Some(3)
    } else if wanted.of_kind(ItemKind::Restore).next().is_some() {
        // A volume that is opened when its restore is done.
        Some(5)
    } else {
        waits_for_holder().then_some(5)
    }
}

/// What the host tells of its pools.
#[must_use]
pub fn pool_facts(wanted: &Wanted<'_>, seen: &Seen) -> Vec<PoolFacts> {
    let told = |pool: &PoolSeen| PoolFacts {
        orphans: orphans(wanted, pool),
        ..pool.facts.clone()
    };
    seen.pools.values().map(told).collect()
}
