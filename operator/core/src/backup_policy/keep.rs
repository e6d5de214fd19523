//! What the rules of a policy keep of a machine's backups.

use std::collections::BTreeSet;

use dc_crds::backup_policy::KeepRules;
use dc_crds::{Backup, BackupPolicy};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::schedule;
use crate::words::{BackupFact, Fact, ProofFact};

/// The seconds (of `taken`, since 1970) that are kept. The last backup of each day, week, month or
/// year counts, as restic's `forget` has it; days are those of `zone`.
#[must_use]
pub fn kept(rules: &KeepRules, zone: &TimeZone, taken: &[i64]) -> BTreeSet<i64> {
    let KeepRules {
        last,
        daily,
        weekly,
        monthly,
        yearly,
    } = *rules;
    let mut newest_first = taken.to_vec();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    let mut kept: BTreeSet<i64> = newest_first.iter().take(last as usize).copied().collect();
    /// The first day of what a day is in.
    type Period = fn(Date) -> Date;
    let rules: [(u32, Period); 4] = [
        (daily, |day| day),
        (weekly, monday),
        (monthly, |day| day.first_of_month()),
        (yearly, |day| day.first_of_year()),
    ];
    for (mut left, period) in rules {
        let mut before = None;
        for &second in &newest_first {
            let Ok(at) = Timestamp::from_second(second) else {
                continue;
            };
            let of = period(at.to_zoned(zone.clone()).date());
            if left == 0 {
                break;
            }
            if before != Some(of) {
                before = Some(of);
                left -= 1;
                kept.insert(second);
            }
        }
    }
    kept
}

fn monday(day: Date) -> Date {
    let since = i64::from(day.weekday().to_monday_zero_offset());
    day.checked_sub(since.days()).unwrap_or(day)
}

/// What is to be told of one backup that is done. `siblings` are all that are done of its machine by
/// its policy, itself among them.
#[must_use]
pub fn verdict(backup: &Backup, policy: Option<&BackupPolicy>, siblings: &[&Backup]) -> Fact {
    let (Some(name), Some(policy)) = (&backup.spec.policy, policy) else {
        return Fact::Backup(BackupFact::NotScheduled);
    };
    let keeps = rules_keep(backup, policy, siblings);
    let policy = name.clone();
    match keeps {
        None => Fact::Backup(BackupFact::NotScheduled),
        Some(true) => Fact::Backup(BackupFact::Kept { policy }),
        Some(false) if is_last_proven(backup, siblings) => {
            Fact::Proof(ProofFact::KeptAsProven { policy })
        }
        Some(false) => Fact::Backup(BackupFact::MayGo { policy }),
    }
}

/// Whether it stays, by whatever rule.
#[must_use]
pub fn is_kept(backup: &Backup, policy: &BackupPolicy, siblings: &[&Backup]) -> bool {
    rules_keep(backup, policy, siblings).unwrap_or(true) || is_last_proven(backup, siblings)
}

/// `None` while the rules cannot be understood: then everything is kept.
fn rules_keep(backup: &Backup, policy: &BackupPolicy, siblings: &[&Backup]) -> Option<bool> {
    let zone = schedule::zone(&policy.spec.schedule.time_zone).ok()?;
    let mine = taken_at(backup)?;
    let taken: Vec<i64> = siblings
        .iter()
        .filter_map(|other| taken_at(other))
        .collect();
    Some(kept(&policy.spec.keep, &zone, &taken).contains(&mine))
}

/// Whether none of those that were shown to come back is younger.
fn is_last_proven(backup: &Backup, siblings: &[&Backup]) -> bool {
    let proven = |backup: &Backup| {
        let status = backup.status.as_ref();
        status.is_some_and(|status| status.proven_at.is_some())
    };
    let mut others = siblings.iter().filter(|other| proven(other));
    proven(backup) && !others.any(|other| taken_at(other) > taken_at(backup))
}

fn taken_at(backup: &Backup) -> Option<i64> {
    let text = backup.status.as_ref()?.taken_at.as_ref()?;
    Some(text.parse::<Timestamp>().ok()?.as_second())
}
