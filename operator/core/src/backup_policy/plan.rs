//! What of a policy is due.

use std::collections::BTreeMap;

use dc_crds::{Backup, BackupPolicySpec, BackupSpec, VirtualMachine};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::schedule::{ValidSchedule, validate};
use super::watched::{self, LastRuns};
use super::{NewBackup, Repository, Seen, jitter_s, proofs, selects};
use crate::backup::is_recorded;
use crate::backup::status::{FAILED, time};
use crate::object;
use crate::plan::Plan;
use crate::words::{BackupFact, Fact, ProofFact};

/// What a Kubernetes name may have.
const NAME_MAX: usize = 63;

/// How many late machines are named.
const NAMED: usize = 10;

/// How the machines of a policy stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub machines: u64,
    pub backed_up: u64,
    pub running: u64,
    /// `department/machine`, in the order of their names.
    pub late: Vec<String>,
    /// The same, of those whose backups were not shown to come back.
    pub unproven: Vec<String>,
    /// The same, of those whose last backup has failed, or does not get on.
    pub failing: Vec<String>,
    /// `department/backup`: the last one of each machine that is unlike those before it and at which
    /// nobody has looked.
    pub unusual: Vec<String>,
    pub last: LastRuns,
    /// The next time, seconds since 1970.
    pub next: Option<i64>,
}

/// What is known of one machine's backups by the policy.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    /// The time that the last one is for.
    last: Option<i64>,
    last_failed: bool,
    running: u64,
    done: bool,
}

#[must_use]
pub fn plan(seen: &Seen<'_>) -> (Plan, Progress) {
    let spec = &seen.policy.spec;
    let schedule = match validate(&spec.schedule) {
        Ok(schedule) => schedule,
        Err(fact) => return (Plan::found(Fact::Backup(fact)), Progress::default()),
    };
    let (plan, mut progress) = of_machines(seen, &schedule);
    let due = proofs::due(seen);
    progress.unproven = due.unproven;
    let watched = watched::watched(seen);
    progress.failing = watched.failing;
    progress.unusual = watched.unusual;
    progress.last = watched.last;
    let found = match () {
        () if seen.repository == Repository::Absent => Some(BackupFact::RepositoryMissing {
            repository: spec.repository.clone(),
        }),
        () if spec.suspend => Some(BackupFact::Suspended),
        () if !progress.late.is_empty() => Some(BackupFact::Late {
            machines: progress.late.iter().take(NAMED).cloned().collect(),
            all: progress.late.len(),
        }),
        () => None,
    };
    let unproven = (!progress.unproven.is_empty()).then(|| ProofFact::Unproven {
        machines: progress.unproven.iter().take(NAMED).cloned().collect(),
        all: progress.unproven.len(),
    });
    let watched = watched::facts(&progress, NAMED);
    let begins = seen.repository == Repository::There && !spec.suspend;
    let plan = Plan {
        begin: match begins {
            true => plan.begin,
            false => Vec::new(),
        },
        prove: match begins {
            true => due.prove,
            false => Vec::new(),
        },
        found: found
            .map(Fact::Backup)
            .into_iter()
            .chain(unproven.map(Fact::Proof))
            .chain(watched.into_iter().map(Fact::from))
            .collect(),
        ..plan
    };
    (plan, progress)
}

fn of_machines(seen: &Seen<'_>, schedule: &ValidSchedule) -> (Plan, Progress) {
    let before = before(seen.backups);
    let mut progress = Progress {
        next: schedule.next(seen.now),
        ..Progress::default()
    };
    let (mut begin, mut again_at) = (Vec::new(), None);
    for (vm, system) in seen.machines {
        if !selects(seen.policy, vm, *system) {
            continue;
        }
        let Some(one) = Machine::new(seen, schedule, vm) else {
            continue;
        };
        let before = before.get(&one.key).copied().unwrap_or_default();
        progress.machines += 1;
        progress.backed_up += u64::from(before.done);
        progress.running += before.running;
        match one.due(schedule, seen.now, before) {
            Due::Now(at) => begin.push(one.backup(&seen.policy.spec, seen, at)),
            Due::Late => progress.late.push(format!("{}/{}", one.key.0, one.key.1)),
            Due::Not => {}
        }
        let next = one.next(schedule, seen.now);
        again_at = [again_at, next].into_iter().flatten().min();
    }
    progress.late.sort();
    let plan = Plan {
        begin,
        again_at: again_at.and_then(|at| Timestamp::from_second(at).ok()),
        ..Plan::default()
    };
    (plan, progress)
}

fn before<'a>(backups: &[&'a Backup]) -> BTreeMap<(&'a str, &'a str), Before> {
    let mut all: BTreeMap<(&str, &str), Before> = BTreeMap::new();
    for backup in backups {
        let namespace = backup.metadata.namespace.as_deref().unwrap_or_default();
        let one = all.entry((namespace, &backup.spec.vm)).or_default();
        let text = backup.spec.scheduled_at.as_deref().unwrap_or_default();
        let at = text.parse::<Timestamp>().ok().map(Timestamp::as_second);
        let failed = backup.status.as_ref().is_some_and(|s| s.state == FAILED);
        if at >= one.last {
            one.last = at;
            one.last_failed = failed;
        }
        match is_recorded(backup) {
            true => one.done |= !failed,
            false => one.running += 1,
        }
    }
    all
}

/// A machine that the policy selects.
struct Machine<'a> {
    /// Department and name.
    key: (&'a str, &'a str),
    jitter_s: i64,
    /// What was due before is not made up for: machine or policy was not there.
    since: i64,
}

enum Due {
    Now(i64),
    Late,
    Not,
}

impl<'a> Machine<'a> {
    fn new(seen: &Seen<'_>, schedule: &ValidSchedule, vm: &'a VirtualMachine) -> Option<Self> {
        let policy = object::uid(&seen.policy.metadata)?;
        let minutes = schedule.jitter_minutes;
        Some(Self {
            key: (
                vm.metadata.namespace.as_deref()?,
                vm.metadata.name.as_deref()?,
            ),
            jitter_s: jitter_s(policy, object::uid(&vm.metadata)?, minutes),
            since: created(&vm.metadata).max(created(&seen.policy.metadata)),
        })
    }

    fn due(&self, schedule: &ValidSchedule, now: i64, before: Before) -> Due {
        let Some(at) = schedule.last(now - self.jitter_s) else {
            return Due::Not;
        };
        let missed = match before.last_failed {
            true => Due::Late,
            false => Due::Not,
        };
        if at <= self.since || before.last >= Some(at) {
            return missed;
        }
        let window = schedule
            .window_minutes
            .map(|minutes| i64::from(minutes) * 60);
        let closed = window.is_some_and(|window| now > at + self.jitter_s + window);
        match closed || before.running > 0 {
            true => Due::Late,
            false => Due::Now(at),
        }
    }

    fn next(&self, schedule: &ValidSchedule, now: i64) -> Option<i64> {
        Some(schedule.next(now - self.jitter_s)? + self.jitter_s)
    }

    fn backup(&self, spec: &BackupPolicySpec, seen: &Seen<'_>, at: i64) -> NewBackup {
        let (department, vm) = self.key;
        let policy = seen.policy.metadata.name.clone().unwrap_or_default();
        NewBackup {
            namespace: department.to_owned(),
            name: name(vm, &policy, at),
            spec: BackupSpec {
                vm: vm.to_owned(),
                repository: spec.repository.clone(),
                policy: Some(policy),
                scheduled_at: Some(time(at)),
            },
        }
    }
}

fn created(meta: &ObjectMeta) -> i64 {
    let at = meta.creation_timestamp.as_ref();
    at.map_or(0, |at| at.0.as_second())
}

/// `<machine>-<policy>-<minute in UTC>`; of names that are too long, as much as fits and a digest.
#[must_use]
pub(super) fn name(vm: &str, policy: &str, at: i64) -> String {
    let at = time(at);
    let minute: String = at.chars().filter(char::is_ascii_digit).take(12).collect();
    let whole = format!("{vm}-{policy}-{minute}");
    if whole.len() <= NAME_MAX {
        return whole;
    }
    let digest = Sha256::digest(format!("{vm}/{policy}"));
    let digest: String = digest[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tail = format!("{digest}-{minute}");
    let room = NAME_MAX - tail.len() - 1;
    let head = whole[..room].trim_end_matches('-');
    format!("{head}-{tail}")
}
