//! Leases: until when a machine may run. It is warned of before, and stopped after; nothing is ever
//! deleted for it.
//!
//! ```text
//! running ── until − warnDays ─▶ ending (each of the days anew) ── until ─▶ ended
//!    ▲                              │                                       │
//!    └───────────── a later `until` is written ◀────────────────────────────┘
//! ```
//! Time comes in as an argument, and the moment of the next change goes out with the answer.

use dc_crds::ConditionStatus;
use dc_crds::condition::types;
use dc_crds::lease::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::conditions::Draft;
use crate::words::Fact;

/// How far a lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    Running,
    /// Fewer days than this are left.
    Ending {
        days: u32,
    },
    Ended,
}

/// The lease that ends first of those that something is under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// As it was written.
    pub until: String,
    pub stage: Stage,
    /// When the stage changes next by itself.
    pub next: Option<Timestamp>,
}

impl Term {
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Ended
    }

    #[must_use]
    pub fn fact(&self) -> Fact {
        let until = self.until.clone();
        match self.stage {
            Stage::Running => Fact::LeaseRunning { until },
            Stage::Ending { days } => Fact::LeaseEnding { until, days },
            Stage::Ended => Fact::LeaseEnded { until },
        }
    }

    #[must_use]
    pub fn draft(&self) -> Draft {
        let status = match self.is_over() {
            true => ConditionStatus::False,
            false => ConditionStatus::True,
        };
        Draft::new(types::WITHIN_LEASE, status, self.fact().words())
    }
}

/// Judges the leases that something is under; `None` when there is none.
pub fn judge<'a>(
    leases: impl IntoIterator<Item = &'a Lease>,
    now: Timestamp,
) -> Result<Option<Term>, Fact> {
    let mut first: Option<(Timestamp, &Lease)> = None;
    for lease in leases {
        let until: Timestamp = lease.until.parse().map_err(|_| Fact::LeaseInvalid {
            until: lease.until.clone(),
        })?;
        if first.is_none_or(|(before, _)| until < before) {
            first = Some((until, lease));
        }
    }
    Ok(first.map(|(until, lease)| term(until, lease, now)))
}

fn term(until: Timestamp, lease: &Lease, now: Timestamp) -> Term {
    let warning = |days: u32| {
        let before = SignedDuration::from_hours(24 * i64::from(days));
        // A warning before the beginning of time is due.
        until.checked_sub(before).unwrap_or(Timestamp::MIN)
    };
    let (due, later): (Vec<u32>, Vec<u32>) = lease
        .warn_days
        .iter()
        .partition(|days| warning(**days) <= now);
    let next = later.into_iter().map(warning).min().unwrap_or(until);
    let (stage, next) = match due.into_iter().min() {
        _ if now >= until => (Stage::Ended, None),
        None => (Stage::Running, Some(next)),
        Some(days) => (Stage::Ending { days }, Some(next)),
    };
    Term {
        until: lease.until.clone(),
        stage,
        next,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lease(until: &str, warn_days: &[u32]) -> Lease {
        Lease {
            until: until.into(),
            warn_days: warn_days.to_vec(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn stage(now: &str) -> Stage {
        let lease = lease("2027-12-31T17:00:00Z", &[30, 7, 1]);
        judge([&lease], at(now)).unwrap().unwrap().stage
    }

    #[test]
    fn it_warns_at_each_of_the_days_and_then_ends() {
        assert_eq!(stage("2027-12-01T16:59:59Z"), Stage::Running);
        assert_eq!(stage("2027-12-01T17:00:00Z"), Stage::Ending { days: 30 });
        assert_eq!(stage("2027-12-24T17:00:00Z"), Stage::Ending { days: 7 });
        assert_eq!(stage("2027-12-31T16:59:59Z"), Stage::Ending { days: 1 });
        assert_eq!(stage("2027-12-31T17:00:00Z"), Stage::Ended);
    }

    #[test]
    fn of_several_the_first_to_end_counts_and_a_text_that_is_no_time_is_told() {
        let (early, late) = (
            lease("2027-01-01T00:00:00+07:00", &[]),
            lease("2028-01-01T00:00:00Z", &[]),
        );
        let term = judge([&late, &early], at("2026-06-01T00:00:00Z"))
            .unwrap()
            .unwrap();
        assert_eq!(term.until, early.until);
        assert_eq!(term.next, Some(at("2026-12-31T17:00:00Z")));
        let wrong = lease("31/12/2027", &[]);
        let fact = judge([&wrong], Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(fact.words().en.contains("31/12/2027"));
        assert_eq!(judge([], Timestamp::UNIX_EPOCH), Ok(None));
    }

    proptest! {
        #[test]
        fn the_stage_stays_until_the_next_change_and_changes_there(
            days in proptest::collection::vec(1u32..400, 0..8),
            now_s in -40_000_000i64..2_000_000,
        ) {
            let lease = lease("1970-01-01T00:00:00Z", &days);
            let now = Timestamp::from_second(now_s).unwrap();
            let term = judge([&lease], now).unwrap().unwrap();
            match term.next {
                None => prop_assert!(term.is_over()),
                Some(next) => {
                    prop_assert!(next > now);
                    let just_before = next - SignedDuration::from_secs(1);
                    let before = judge([&lease], just_before.max(now)).unwrap().unwrap();
                    prop_assert_eq!(before.stage, term.stage.clone());
                    let then = judge([&lease], next).unwrap().unwrap();
                    prop_assert_ne!(then.stage, term.stage);
                }
            }
        }
    }
}
