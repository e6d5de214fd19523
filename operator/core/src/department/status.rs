//! What people read of a department.

use dc_crds::condition::types;
use dc_crds::{ConditionStatus, DepartmentStatus};

use super::Seen;
use crate::conditions::{Draft, Judged, merge};
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::quota::{Thing, report};
use crate::words::{Fact, all_words};

/// How many machines without a policy are named.
const NAMED: usize = 20;

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, judged: &Judged<'_>) -> DepartmentStatus {
    let words = all_words(&plan.found).unwrap_or_else(|| Fact::Ready.words());
    let mut drafts = Vec::new();
    match object::life(&seen.department.metadata) {
        Life::Wanted => drafts.push(Draft::ready(words)),
        Life::Deleting => {
            drafts.push(Draft::ready(Fact::Deleting.words()));
            let deletable = match plan.found.first() {
                Some(Fact::StillUsed { .. }) => {
                    Draft::new(types::DELETABLE, ConditionStatus::False, words)
                }
                Some(_) | None => Draft::new(
                    types::DELETABLE,
                    ConditionStatus::True,
                    Fact::NothingOwned.words(),
                ),
            };
            drafts.push(deletable);
        }
    }
    let rows = seen.quota.rows(seen.claims, &seen.me.name);
    drafts.push(report::within(&rows));
    let column = |is: fn(&Thing) -> bool| report::column(&rows, is);
    let old = seen.department.status.as_ref();
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    DepartmentStatus {
        conditions: merge(old.map_or(&[], |old| &old.conditions), drafts, judged),
        systems: count(seen.counts.systems),
        virtual_machines: count(seen.counts.machines),
        volumes: count(seen.counts.volumes),
        quota: rows.iter().map(report::line).collect(),
        vcpus_text: column(|thing| *thing == Thing::Vcpus),
        memory_text: column(|thing| *thing == Thing::Memory),
        storage_text: column(|thing| matches!(thing, Thing::Storage(_))),
        unprotected: count(seen.counts.unprotected.len()),
        unprotected_machines: seen
            .counts
            .unprotected
            .iter()
            .take(NAMED)
            .cloned()
            .collect(),
        unprotected_volumes: count(seen.counts.unprotected_volumes),
    }
}
