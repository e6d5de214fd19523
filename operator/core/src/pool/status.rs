//! What people read of a pool. Use is told in steps of a hundredth of the pool, so that a pool that
//! is being written to is not a status that is being written.

use dc_crds::condition::types;
use dc_crds::{ConditionStatus, StoragePoolStatus};
use dc_types::Bytes;

use super::Seen;
use crate::conditions::{Draft, Judged, merge};
use crate::plan::Plan;
use crate::volume::plan::human;
use crate::volume::promise_limit;
use crate::words::{Fact, all_words};

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, judged: &Judged<'_>) -> StoragePoolStatus {
    let old = seen.pool.status.clone().unwrap_or_default();
    let words = all_words(&plan.found).unwrap_or_else(|| Fact::Ready.words());
    let mut drafts = vec![Draft::ready(words)];
    drafts.extend(capacity_left(seen));
    let promised = seen.claims.promised_in(seen.name);
    let volumes = seen.host.map_or(0, |host| {
        let volumes = seen.claims.volumes_on(host);
        volumes
            .filter(|volume| volume.value.pool == *seen.name)
            .count()
    });
    StoragePoolStatus {
        conditions: merge(&old.conditions, drafts, judged),
        driver: "iscsi".to_owned(),
        capacity: seen
            .facts
            .map_or(old.capacity, |facts| human(facts.capacity.0)),
        used: seen.facts.map_or(old.used, |facts| {
            human(in_steps(facts.used, facts.capacity).0)
        }),
        promised: match seen.facts {
            Some(facts) => {
                let limit = promise_limit(facts.capacity, seen.pool.spec.promise_percent);
                format!("{} of {}", human(promised.0), human(limit.0))
            }
            None => old.promised,
        },
        volumes: i64::try_from(volumes).unwrap_or(i64::MAX),
    }
}

/// Rounded up to a hundredth of the capacity.
fn in_steps(used: Bytes, capacity: Bytes) -> Bytes {
    let step = (capacity.0 / 100).max(1);
    Bytes(used.0.div_ceil(step).saturating_mul(step))
}

fn capacity_left(seen: &Seen<'_>) -> Option<Draft> {
    let facts = seen.facts?;
    let used = u128::from(facts.used.0) * 100 / u128::from(facts.capacity.0.max(1));
    let percent = u64::try_from(used).unwrap_or(u64::MAX);
    let warn = u64::from(seen.pool.spec.warn_percent);
    Some(match percent >= warn {
        true => Draft::new(
            types::CAPACITY,
            ConditionStatus::False,
            Fact::PoolWarning {
                pool: seen.name.to_string(),
                percent,
                warn,
            }
            .words(),
        ),
        false => Draft::new(
            types::CAPACITY,
            ConditionStatus::True,
            // In steps of ten, so that the message stays while the pool fills.
            Fact::PoolHasRoom {
                percent: (percent / 10 + 1) * 10,
            }
            .words(),
        ),
    })
}
