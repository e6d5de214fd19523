//! The steps of everything that is wanted, removals first and in reverse order.
//!
//! Steps of one key stand together and in their order; steps of different keys do not depend on
//! each other: what depends on another item waits until that is seen.

use dc_types::plan::ItemKind;

use super::judge::{Judged, Removal, judge_item, judge_release};
use super::known::Known;
use super::seen::Seen;
use super::step::Step;
use crate::wanted::Wanted;

/// In the order in which they are brought up.
pub(super) const KINDS: [ItemKind; 4] = [
    ItemKind::Image,
    ItemKind::Volume,
    ItemKind::Snapshot,
    ItemKind::Grant,
];

/// The next steps; none when all is as wanted, or waits for something else.
#[must_use]
pub fn plan(wanted: &Wanted<'_>, seen: &Seen) -> Vec<Step> {
    let seen = &Known::new(wanted, seen);
    let mut steps = Vec::new();
    for kind in KINDS.into_iter().rev() {
        for release in wanted.releases_of_kind(kind) {
            if let Removal::Steps(more) = judge_release(wanted, seen, release) {
                steps.extend(more);
            }
        }
    }
    for kind in KINDS {
        for item in wanted.of_kind(kind) {
            if let Judged::Steps(more, _) = judge_item(wanted, seen, item) {
                steps.extend(more);
            }
        }
    }
    steps
}
