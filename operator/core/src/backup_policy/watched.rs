//! What the people who watch over a policy look for: whose backup fails or does not get on, whose is
//! unlike those before it, and what the last backups of its machines were like.

use std::collections::{BTreeMap, BTreeSet};

use dc_crds::condition::types::{READY, USUAL};
use dc_crds::{Backup, ConditionStatus};
use k8s_openapi::jiff::Timestamp;

use super::plan::Progress;
use super::{Seen, selects};
use crate::backup::status::FAILED;
use crate::conditions::find;
use crate::words::WatchFact;

#[cfg(test)]
mod tests;

/// The last backup of each machine that is done, together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastRuns {
    /// In bytes, added up: of all volumes, what was read of them, what the repository has grown by.
    pub size: u64,
    pub read: u64,
    pub added: u64,
    /// When the oldest of them was taken, seconds since 1970.
    pub oldest: Option<i64>,
    /// The longest time from when one was due to when it was whole.
    pub lag_s: Option<i64>,
    /// The longest time that one was read for.
    pub duration_s: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    pub failing: Vec<String>,
    pub unusual: Vec<String>,
    pub last: LastRuns,
}

/// Reasons of a backup that is not done which say that it does not get on, though it is tried again.
/// What only takes its time is not among them.
const TROUBLES: [&str; 20] = [
    "HostsApart",
    "LockLost",
    "LoginMissing",
    "LoginSecretMissing",
    "PoolUnusable",
    "RecoveryKeyMissing",
    "RepositoryDamaged",
    "RepositoryFailed",
    "RepositoryFull",
    "RepositoryLocked",
    "RepositoryMissing",
    "RepositoryRefused",
    "RepositoryUnreachable",
    "SnapshotMissing",
    "SnapshotUnreadable",
    "StateUnwritable",
    "VolumeInUse",
    "VolumeMissing",
    "VolumeUnwritable",
    "WrongPassword",
];

/// The youngest backups first.
type Machines<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Backup>>;

#[must_use]
pub(super) fn watched(seen: &Seen<'_>) -> Watched {
    let watch = seen.policy.spec.watch.clone().unwrap_or_default();
    let mut watched = Watched::default();
    for ((department, vm), backups) in machines(seen) {
        if backups.first().is_some_and(|last| fails(last)) {
            watched.failing.push(format!("{department}/{vm}"));
        }
        let mut recent = backups.iter().take(watch.runs as usize);
        if let Some(found) = recent.find(|one| is_unusual(one)) {
            let name = found.metadata.name.as_deref().unwrap_or_default();
            watched.unusual.push(format!("{department}/{name}"));
        }
        if let Some(last) = backups.iter().find(|one| is_done(one)) {
            watched.last.add(last);
        }
    }
    watched
}

/// What of it somebody has to do something about.
#[must_use]
pub(super) fn facts(progress: &Progress, named: usize) -> Vec<WatchFact> {
    let some = |names: &[String]| names.iter().take(named).cloned().collect::<Vec<_>>();
    let mut facts = Vec::new();
    if !progress.unusual.is_empty() {
        facts.push(WatchFact::Unusual {
            backups: some(&progress.unusual),
            all: progress.unusual.len(),
        });
    }
    if !progress.failing.is_empty() {
        facts.push(WatchFact::Failing {
            machines: some(&progress.failing),
            all: progress.failing.len(),
        });
    }
    facts
}

fn machines<'a>(seen: &Seen<'a>) -> Machines<'a> {
    let selected = seen.machines.iter();
    let selected: BTreeSet<(&str, &str)> = selected
        .filter(|(vm, system)| selects(seen.policy, vm, *system))
        .filter_map(|(vm, _)| {
            Some((
                vm.metadata.namespace.as_deref()?,
                vm.metadata.name.as_deref()?,
            ))
        })
        .collect();
    let mut machines: Machines<'_> = BTreeMap::new();
    for backup in seen.backups {
        let namespace = backup.metadata.namespace.as_deref().unwrap_or_default();
        let key = (namespace, backup.spec.vm.as_str());
        if selected.contains(&key) {
            machines.entry(key).or_default().push(backup);
        }
    }
    for backups in machines.values_mut() {
        // RFC 3339 in UTC, to the second: such texts are in the order of their times.
        backups.sort_by(|a, b| b.spec.scheduled_at.cmp(&a.spec.scheduled_at));
    }
    machines
}

fn is_done(backup: &Backup) -> bool {
    let status = backup.status.as_ref();
    status.is_some_and(|status| status.snapshot_id.is_some())
}

fn fails(backup: &Backup) -> bool {
    let Some(status) = &backup.status else {
        return false;
    };
    let ready = find(&status.conditions, READY);
    let troubled = ready.is_some_and(|ready| TROUBLES.contains(&ready.reason.as_str()));
    status.snapshot_id.is_none() && (status.state == FAILED || troubled)
}

fn is_unusual(backup: &Backup) -> bool {
    let status = backup.status.as_ref();
    let usual = status.and_then(|status| find(&status.conditions, USUAL));
    usual.is_some_and(|usual| usual.status == ConditionStatus::False)
}

impl LastRuns {
    fn add(&mut self, backup: &Backup) {
        let Some(status) = &backup.status else {
            return;
        };
        if let Some(figures) = status.figures {
            let count = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
            let add = |sum: &mut u64, bytes| *sum = sum.saturating_add(count(bytes));
            add(&mut self.size, figures.size_bytes);
            add(&mut self.read, figures.read_bytes);
            add(&mut self.added, figures.added_bytes);
        }
        let second = |text: &Option<String>| {
            let at = text.as_deref()?.parse::<Timestamp>().ok()?;
            Some(at.as_second())
        };
        let (due, taken) = (second(&backup.spec.scheduled_at), second(&status.taken_at));
        let (began, ended) = (second(&status.began_at), second(&status.ended_at));
        let since = |from: Option<i64>| Some((ended? - from?).max(0));
        self.oldest = [self.oldest, taken].into_iter().flatten().min();
        self.lag_s = self.lag_s.max(since(due));
        self.duration_s = self.duration_s.max(since(began));
    }
}
