//! What the rules of a policy keep of a machine's backups.

use std::collections::BTreeSet;

use dc_crds::backup_policy::KeepRules;
use dc_crds::{Backup, BackupPolicy};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::schedule;
use crate::words::BackupFact;

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
pub fn verdict(backup: &Backup, policy: Option<&BackupPolicy>, siblings: &[&Backup]) -> BackupFact {
    let (Some(name), Some(policy)) = (&backup.spec.policy, policy) else {
        return BackupFact::NotScheduled;
    };
    // While its rules cannot be understood everything is kept.
    let Ok(zone) = schedule::zone(&policy.spec.schedule.time_zone) else {
        return BackupFact::NotScheduled;
    };
    let Some(mine) = taken_at(backup) else {
        return BackupFact::NotScheduled;
    };
    let taken: Vec<i64> = siblings
        .iter()
        .filter_map(|other| taken_at(other))
        .collect();
    let keeps = kept(&policy.spec.keep, &zone, &taken).contains(&mine);
    let policy = name.clone();
    match keeps {
        true => BackupFact::Kept { policy },
        false => BackupFact::MayGo { policy },
    }
}

fn taken_at(backup: &Backup) -> Option<i64> {
    let text = backup.status.as_ref()?.taken_at.as_ref()?;
    Some(text.parse::<Timestamp>().ok()?.as_second())
}
