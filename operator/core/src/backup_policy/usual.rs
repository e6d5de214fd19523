//! Whether a run was like those before it. Ransomware shows in two figures that every run has: much
//! more has changed than usual, and of what was read the repository keeps more, since what is
//! encrypted is neither known there nor compresses.
//!
//! What always holds:
//! - It is judged from records that do not change: whoever judges, and when, says the same.
//! - A run is compared with the runs of the same machine by the same policy that were taken before it,
//!   and that read only what had changed.
//! - After a longer time more has changed: the median is that of their usual time, and grows with it.
//! - What a person has looked at (the annotation [`LOOKED_AT`]) is no alarm any more.

use dc_crds::backup_policy::Watch;
use dc_crds::{Backup, BackupPolicy};
use dc_types::Bytes;
use k8s_openapi::jiff::Timestamp;

use crate::words::{Compared, Fact, WatchFact};

#[cfg(test)]
mod tests;

/// On a Backup: who looked at it, and what it was. Administrators of the platform write it.
pub const LOOKED_AT: &str = "dc.sonla.gov.vn/looked-at";

/// What a backup says of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub backup: String,
    /// Seconds since 1970.
    pub taken_at: i64,
    /// In the order of their names.
    pub volumes: Vec<String>,
    /// Absent when it is not known what the run did.
    pub figures: Option<Figures>,
    /// Whether only what had changed was read, of all volumes.
    pub incremental: bool,
}

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    pub size: u64,
    pub read: u64,
    pub added: u64,
}

impl Figures {
    /// How much of what was read the repository has grown by, in percent.
    fn stored_percent(self) -> Option<u64> {
        let percent =
            u128::from(self.added) * 100 / u128::from((self.read > 0).then_some(self.read)?);
        u64::try_from(percent).ok()
    }
}

/// What a backup that is done says of its run.
#[must_use]
pub fn run(backup: &Backup) -> Option<Run> {
    let status = backup.status.as_ref()?;
    status.snapshot_id.as_ref()?;
    let taken_at = status.taken_at.as_ref()?.parse::<Timestamp>().ok()?;
    let mut volumes: Vec<String> = status
        .volumes
        .iter()
        .map(|one| one.volume.clone())
        .collect();
    volumes.sort();
    let count = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
    Some(Run {
        backup: backup.metadata.name.clone().unwrap_or_default(),
        taken_at: taken_at.as_second(),
        volumes,
        figures: status.figures.map(|figures| Figures {
            size: count(figures.size_bytes),
            read: count(figures.read_bytes),
            added: count(figures.added_bytes),
        }),
        incremental: !status.volumes.is_empty() && status.volumes.iter().all(|one| one.incremental),
    })
}

/// What is to be told of one backup that is done; nothing of one that no policy made. `siblings` are all
/// that are done of its machine by its policy, itself among them.
#[must_use]
pub fn usual(backup: &Backup, policy: Option<&BackupPolicy>, siblings: &[&Backup]) -> Option<Fact> {
    backup.spec.policy.as_ref()?;
    let watch = policy?.spec.watch.clone().unwrap_or_default();
    if watch.suspend {
        return None;
    }
    let mine = run(backup)?;
    let others = siblings.iter().filter_map(|other| run(other));
    // Two of one second: neither is before the other.
    let before = others.filter(|other| other.taken_at < mine.taken_at);
    let fact = judge(&watch, &mine, before.collect());
    let seen = backup.metadata.annotations.as_ref();
    let seen = seen.and_then(|all| all.get(LOOKED_AT));
    Some(Fact::from(match seen {
        Some(says) if fact.is_alarm() => WatchFact::LookedAt { says: says.clone() },
        _ => fact,
    }))
}

/// Compares a run with those before it, in whatever order.
#[must_use]
pub fn judge(watch: &Watch, run: &Run, mut before: Vec<Run>) -> WatchFact {
    before.sort_by_key(|one| one.taken_at);
    if let Some(shrunken) = before.last().and_then(|last| shrunken(run, last)) {
        return shrunken;
    }
    let Some(figures) = run.figures else {
        return WatchFact::NotKnown;
    };
    if !run.incremental {
        return WatchFact::ReadInFull;
    }
    let Some(expected) = Expected::new(watch, run, &before) else {
        return WatchFact::TooFew {
            least: watch.least,
            have: comparable(&before).len(),
        };
    };
    let much = figures.read >= least_change(watch);
    let jumped =
        much && figures.read > expected.read.saturating_mul(u64::from(watch.changed_times));
    let stored = figures.stored_percent();
    let falls = much
        && stored.zip(expected.stored).is_some_and(|(now, usual)| {
            now >= usual.saturating_add(u64::from(watch.stored_percent))
        });
    let told = Compared {
        read: figures.read,
        usual_read: expected.read,
        stored_percent: stored,
        usual_stored_percent: expected.stored,
        runs: expected.runs,
        last: expected.last,
    };
    match (jumped, falls) {
        (true, true) => WatchFact::LooksEncrypted(told),
        (true, false) => WatchFact::MuchChanged(told),
        (false, true) => WatchFact::LittleCompressed(told),
        (false, false) => WatchFact::Usual(told),
    }
}

/// Less than the run before had.
fn shrunken(run: &Run, last: &Run) -> Option<WatchFact> {
    let gone = last.volumes.iter().filter(|one| !run.volumes.contains(one));
    let gone: Vec<String> = gone.cloned().collect();
    let sizes = run.figures.zip(last.figures);
    let sizes = sizes.map(|(now, before)| (now.size, before.size));
    let smaller = sizes.filter(|(now, before)| now < before);
    (!gone.is_empty() || smaller.is_some()).then(|| WatchFact::Shrunken {
        sizes: smaller,
        gone,
        last: last.backup.clone(),
    })
}

/// What the runs before make one expect.
struct Expected {
    read: u64,
    /// Absent when none of them read anything.
    stored: Option<u64>,
    runs: usize,
    /// The last one of them.
    last: String,
}

impl Expected {
    fn new(watch: &Watch, run: &Run, before: &[Run]) -> Option<Self> {
        let all = comparable(before);
        let skip = all.len().saturating_sub(watch.runs as usize);
        let all = &all[skip..];
        if all.len() < (watch.least as usize).max(1) {
            return None;
        }
        let read = median(all.iter().map(|(_, figures)| figures.read).collect())?;
        let stored = all
            .iter()
            .filter_map(|(_, figures)| figures.stored_percent());
        Some(Self {
            read: for_time(read, run, before),
            stored: median(stored.collect()),
            runs: all.len(),
            last: all.last()?.0.backup.clone(),
        })
    }
}

fn comparable(before: &[Run]) -> Vec<(&Run, Figures)> {
    let all = before.iter().filter(|one| one.incremental);
    all.filter_map(|one| Some((one, one.figures?))).collect()
}

/// As much more as the time since the run before is longer than usual.
fn for_time(read: u64, run: &Run, before: &[Run]) -> u64 {
    let gap = |from: &Run, to: &Run| u64::try_from(to.taken_at - from.taken_at).unwrap_or_default();
    let gaps = before.windows(2).map(|pair| gap(&pair[0], &pair[1]));
    let (Some(usual), Some(last)) = (median(gaps.collect()), before.last()) else {
        return read;
    };
    let since = gap(last, run);
    if usual == 0 || since <= usual {
        return read;
    }
    let scaled = u128::from(read) * u128::from(since) / u128::from(usual);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The upper one of two in the middle.
fn median(mut all: Vec<u64>) -> Option<u64> {
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

/// The kind refuses what does not read.
fn least_change(watch: &Watch) -> u64 {
    watch
        .least_change
        .parse::<Bytes>()
        .map_or(1 << 30, |bytes| bytes.0)
}
