//! What people read of a pool. Use is told in steps of a hundredth of the pool, so that a pool that
//! is being written to is not a status that is being written.

use dc_crds::condition::types;
use dc_crds::{ConditionStatus, StoragePoolStatus};
use dc_types::Bytes;

use super::Seen;
use crate::conditions::{Draft, Judged, merge};
use crate::plan::Plan;
use crate::volume::promise_limit;
use crate::words::size::human;
use crate::words::{Fact, all_words};

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, judged: &Judged<'_>) -> StoragePoolStatus {
    let old = seen.pool.status.clone().unwrap_or_default();
    let words = all_words(&plan.found).unwrap_or_else(|| Fact::Ready.words());
    let mut drafts = vec![Draft::ready(words)];
    let promised = seen.claims.promised_in(seen.name);
    drafts.extend(capacity_left(seen, promised));
    let volumes = seen.host.map_or(0, |host| {
        let volumes = seen.claims.volumes_on(host);
        volumes
            .filter(|volume| volume.value.pool == *seen.name)
            .count()
    });
    StoragePoolStatus {
        conditions: merge(&old.conditions, drafts, judged),
        driver: seen.pool.spec.driver.name().to_owned(),
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

/// Two shares are watched: of the capacity, what is used; of what may be promised, what is.
fn capacity_left(seen: &Seen<'_>, promised: Bytes) -> Option<Draft> {
    let facts = seen.facts?;
    let pool = || seen.name.to_string();
    let warn = u64::from(seen.pool.spec.warn_percent);
    let limit = promise_limit(facts.capacity, seen.pool.spec.promise_percent);
    let used = percent_of(facts.used, facts.capacity);
    let given = percent_of(promised, limit);
    let full = (used >= warn).then(|| Fact::PoolWarning {
        pool: pool(),
        percent: used,
        warn,
    });
    let nearly_promised = (given >= warn).then(|| Fact::PoolNearlyPromised {
        pool: pool(),
        percent: given,
        limit: human(limit.0),
        warn,
    });
    let troubles: Vec<Fact> = full.into_iter().chain(nearly_promised).collect();
    let (status, words) = match all_words(&troubles) {
        Some(words) => (ConditionStatus::False, words),
        // In steps of ten, so that the message stays while the pool fills.
        None => (
            ConditionStatus::True,
            Fact::PoolHasRoom {
                percent: (used / 10 + 1) * 10,
            }
            .words(),
        ),
    };
    Some(Draft::new(types::CAPACITY, status, words))
}

fn percent_of(part: Bytes, whole: Bytes) -> u64 {
    let percent = u128::from(part.0) * 100 / u128::from(whole.0.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}
