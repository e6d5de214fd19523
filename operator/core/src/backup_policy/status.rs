//! What people read of a policy.

use dc_crds::BackupPolicyStatus;

use super::{Progress, Seen};
use crate::backup::status::time;
use crate::conditions::{Draft, Judged, merge};
use crate::plan::Plan;
use crate::words::{BackupFact, Fact, all_words};

/// How many machines or backups are named, of each kind.
const NAMED: usize = 20;

#[must_use]
pub fn status(
    seen: &Seen<'_>,
    plan: &Plan,
    progress: &Progress,
    judged: &Judged<'_>,
) -> BackupPolicyStatus {
    let Progress {
        machines,
        backed_up,
        running,
        late,
        unproven,
        failing,
        unusual,
        last,
        next,
    } = progress;
    let next = next.map(time);
    let words = all_words(&plan.found).unwrap_or_else(|| {
        let next = next.clone().unwrap_or_default();
        let machines = *machines;
        Fact::Backup(BackupFact::Scheduled { machines, next }).words()
    });
    let old = seen.policy.status.as_ref();
    let conditions = old.map_or(&[][..], |old| &old.conditions);
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    BackupPolicyStatus {
        conditions: merge(conditions, vec![Draft::ready(words)], judged),
        machines: count(*machines),
        backed_up: count(*backed_up),
        running: count(*running),
        late: count(late.len() as u64),
        late_machines: late.iter().take(NAMED).cloned().collect(),
        unproven: count(unproven.len() as u64),
        unproven_machines: unproven.iter().take(NAMED).cloned().collect(),
        failing: count(failing.len() as u64),
        failing_machines: failing.iter().take(NAMED).cloned().collect(),
        unusual: count(unusual.len() as u64),
        unusual_backups: unusual.iter().take(NAMED).cloned().collect(),
        oldest_last_backup: last.oldest.map(time),
        next,
    }
}
