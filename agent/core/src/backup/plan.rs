//! The steps: ends first, then what begins.

use std::time::Duration;

use dc_types::plan::ItemKind;

use super::judge::{Judged, count_turns, end_of, judge_item};
use super::seen::Seen;
use super::step::Step;
use crate::wanted::Wanted;

/// In the order in which they are brought up.
pub(super) const KINDS: [ItemKind; 3] = [ItemKind::Backup, ItemKind::Restore, ItemKind::Manifest];

/// How many runs of one repository are begun at a time. One that is out of reach so never takes
/// the place of another's, and one department's many backups leave the others theirs.
pub const PER_REPOSITORY: usize = 2;

const FIRST: Duration = Duration::from_secs(1);
/// Each try may read all of a volume before it fails.
const LAST: Duration = Duration::from_mins(10);

/// How long a run that failed so many times in a row is left alone.
#[must_use]
pub fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST.saturating_mul(1 << doublings).min(LAST)
}

/// The next steps; none when all is done, or goes on by itself.
#[must_use]
pub fn plan(wanted: &Wanted<'_>, seen: &Seen) -> Vec<Step> {
    let mut steps = Vec::new();
    for kind in KINDS.into_iter().rev() {
        let releases = wanted.releases_of_kind(kind);
        steps.extend(releases.filter_map(|release| end_of(seen, release)));
    }
    let mut turns = count_turns(wanted, seen);
    for kind in KINDS {
        for item in wanted.of_kind(kind) {
            if let Judged::Begin(step) = judge_item(wanted, seen, item, &mut turns) {
                steps.push(step);
            }
        }
    }
    steps
}
