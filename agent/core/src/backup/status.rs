//! How each run stands, and which releases are done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dc_types::plan::{Item, ItemKey};
use dc_types::report::{Detail, ItemState, Observation, Released, Trouble};

use super::judge::{Judged, count_turns, detail, end_of, judge_item};
use super::plan::{KINDS, pause};
use super::seen::{RunState, Seen};
use super::trouble::BackupTrouble;
use crate::wanted::{Status, Wanted};

/// How often it is looked how far runs are.
const FOLLOW: Duration = Duration::from_secs(5);

/// `troubles` are those of the last try of each step, `busy` the keys whose steps are being done.
#[must_use]
pub fn status(
    wanted: &Wanted<'_>,
    seen: &Seen,
    troubles: &BTreeMap<ItemKey, Trouble>,
    busy: &BTreeSet<ItemKey>,
) -> Status {
    let mut status = Status::default();
    let mut turns = count_turns(wanted, seen);
    for kind in KINDS {
        for item in wanted.of_kind(kind) {
            let (state, detail) = match judge_item(wanted, seen, item, &mut turns) {
                Judged::Ready(detail) => (ItemState::Ready, detail),
                Judged::Waits(trouble, detail) => (ItemState::Pending(trouble), detail),
                Judged::Failed(trouble, detail) => (ItemState::Failed(trouble), detail),
                Judged::Begin(_) => begins(seen, item, troubles),
            };
            status.observations.push(Observation {
                key: item.key,
                epoch: item.epoch,
                hash: item.hash(),
                state,
                detail,
            });
        }
        for release in wanted.releases_of_kind(kind) {
            if end_of(seen, release).is_none() && !busy.contains(&release.key) {
                status.released.push(Released {
                    key: release.key,
                    epoch: release.epoch,
                    note: "nothing of it runs".to_owned(),
                    erasure: None,
                });
            }
        }
    }
    status
}

fn begins(seen: &Seen, item: &Item, troubles: &BTreeMap<ItemKey, Trouble>) -> (ItemState, Detail) {
    let detail = detail(item, None);
    let before = match seen.runs.get(&item.key).map(|run| &run.state) {
        Some(RunState::Failed { trouble, .. }) => Some(trouble),
        _ => troubles.get(&item.key),
    };
    let state = match before {
        Some(trouble) => ItemState::Failed(trouble.clone()),
        None => ItemState::Pending(BackupTrouble::Running("it begins".to_owned()).into()),
    };
    (state, detail)
}

/// When to look again although no event will say so, if earlier than usual.
#[must_use]
pub fn next_look(wanted: &Wanted<'_>, seen: &Seen) -> Option<Duration> {
    let items = KINDS.into_iter().flat_map(|kind| wanted.of_kind(kind));
    let runs = items.filter_map(|item| seen.runs.get(&item.key));
    let looks = runs.filter_map(|run| match &run.state {
        RunState::Running { .. } | RunState::Unknown(_) => Some(FOLLOW),
        RunState::Failed { times, ago, .. } => Some(pause(*times).saturating_sub(*ago)),
        RunState::BackedUp(_) | RunState::Restored(_) | RunState::Read(_) => None,
    });
    looks.min()
}
