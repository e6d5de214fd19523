//! What people read of a pool. Use is told in steps of a hundredth of the pool, so that a pool that
//! is being written to is not a status that is being written.

use dc_crds::condition::types;
use dc_crds::pool::{PoolLack, PoolOrphan, UseSample};
use dc_crds::{ConditionStatus, StoragePoolStatus};
use dc_types::Bytes;
use dc_types::report::{Lack, Orphan};
use k8s_openapi::jiff::Timestamp;

use super::Seen;
use super::forecast::{Forecast, forecast, with_sample};
use crate::conditions::{Draft, Judged, merge};
use crate::place::Presence;
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
    let snapshots = seen.claims.snapshots.values();
    let snapshots = snapshots
        .filter(|snapshot| snapshot.value.pool == *seen.name)
        .count();
    let now = judged.now.parse::<Timestamp>().ok();
    let samples = match (seen.facts, now) {
        (Some(facts), Some(now)) => with_sample(&old.samples, facts.used, now.as_second()),
        _ => old.samples.clone(),
    };
    let orphans = seen.facts.map_or(&[][..], |facts| &facts.orphans);
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
        volumes: count(volumes),
        snapshots: count(snapshots),
        health: health(seen).to_owned(),
        fills: seen
            .facts
            .map_or(old.fills, |facts| fills(&samples, facts.capacity)),
        lacks: seen.facts.map_or(old.lacks, |facts| lacks(&facts.lacks)),
        orphan_count: seen
            .facts
            .map_or(old.orphan_count, |_| count(orphans.len())),
        orphans: seen.facts.map_or(old.orphans, |_| largest(orphans)),
        samples,
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// In one word; the conditions say more. What a silent host said is not known to be so.
fn health(seen: &Seen<'_>) -> &'static str {
    let (Presence::Connected, Some(facts)) = (seen.presence, seen.facts) else {
        return "Unknown";
    };
    let used = percent_of(facts.used, facts.capacity);
    match () {
        () if facts.fault.is_some() => "Unusable",
        () if facts.used >= facts.capacity => "Full",
        () if used >= u64::from(seen.pool.spec.warn_percent) => "Filling",
        () => "Healthy",
    }
}

/// The day alone, so that it is not written anew with every sample.
fn fills(samples: &[UseSample], capacity: Bytes) -> String {
    match forecast(samples, capacity) {
        Forecast::Unknown => "unknown".to_owned(),
        Forecast::Never => "not at this rate".to_owned(),
        Forecast::At(second) => match Timestamp::from_second(second) {
            Ok(at) => at.strftime("%Y-%m-%d").to_string(),
            Err(_) => "unknown".to_owned(),
        },
    }
}

fn lacks(lacks: &[Lack]) -> Vec<PoolLack> {
    let told = lacks.iter().map(|Lack { verb, why }| PoolLack {
        verb: format!("{verb:?}"),
        why: why.clone(),
    });
    told.collect()
}

/// As many as a person reads at once; the count is of all.
fn largest(orphans: &[Orphan]) -> Vec<PoolOrphan> {
    const SHOWN: usize = 20;
    let mut orphans: Vec<&Orphan> = orphans.iter().collect();
    orphans.sort_by(|a, b| (b.size, &a.name).cmp(&(a.size, &b.name)));
    let told = orphans.into_iter().take(SHOWN).map(|orphan| {
        let Orphan {
            kind,
            name,
            size,
            since,
        } = orphan;
        PoolOrphan {
            kind: format!("{kind:?}"),
            name: name.clone(),
            size: human(size.0),
            since: since
                .and_then(|second| Timestamp::from_second(second).ok())
                .map(|at| at.to_string()),
        }
    });
    told.collect()
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
