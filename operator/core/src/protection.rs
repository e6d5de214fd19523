//! Protection: which volumes of a department are backed up, by which policies and when last; and why
//! the others are not. The operator counts them, the departments' API shows them.
//!
//! - A volume is backed up with a machine: one that no machine has is in no backup.
//! - What counts as its last backup holds this volume, not an older one of its name.
//! - A policy that is suspended, or whose schedule does not read, protects nothing.

use std::collections::HashMap;

use dc_crds::{Backup, BackupPolicy, InformationSystem, VirtualMachine, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use crate::backup_policy::{selects, works};
use crate::object::{self, Life};
use crate::vm::volume_name;
use crate::words::{Fact, WatchFact};

#[cfg(test)]
mod tests;

/// What was read of one department.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// All policies there are.
    pub policies: &'a [&'a BackupPolicy],
    pub machines: &'a [(&'a VirtualMachine, Option<&'a InformationSystem>)],
    pub volumes: &'a [&'a Volume],
    pub backups: &'a [&'a Backup],
}

/// How one volume stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub volume: String,
    pub system: String,
    pub size: String,
    /// The machine that it is backed up with, or would be.
    pub machine: Option<String>,
    /// Those that work.
    pub policies: Vec<String>,
    /// Why nothing backs it up; `None` when something does.
    pub bare: Option<Fact>,
    pub last: Option<Last>,
}

/// The last backup that holds it, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    pub backup: String,
    /// RFC 3339 in UTC.
    pub taken_at: String,
    /// When a trial last showed that it comes back.
    pub proven_at: Option<String>,
}

/// All volumes, in the order of their names.
#[must_use]
pub fn lines(seen: &Seen<'_>) -> Vec<Line> {
    let present = seen.volumes.iter();
    let present = present.filter(|volume| object::life(&volume.metadata) == Life::Wanted);
    let (machines, backups) = (machines(seen), holding(seen.backups));
    let lines = present.map(|volume| line(volume, &machines, &backups));
    let mut lines: Vec<Line> = lines.collect();
    lines.sort_by(|a, b| a.volume.cmp(&b.volume));
    lines
}

/// Those that nothing backs up.
#[must_use]
pub fn bare(seen: &Seen<'_>) -> usize {
    let lines = lines(seen);
    lines.iter().filter(|line| line.bare.is_some()).count()
}

/// The machine that each volume is backed up with, by the volume's name; of several that name it, the
/// one that is backed up.
fn machines(seen: &Seen<'_>) -> HashMap<String, Selected> {
    let mut machines: HashMap<String, Selected> = HashMap::new();
    for (vm, system) in seen.machines {
        if object::life(&vm.metadata) != Life::Wanted {
            continue;
        }
        let found = Selected::new(seen.policies, vm, *system);
        for disk in &vm.spec.disks {
            let name = volume_name(&found.vm, disk);
            let other = machines.get(&name);
            if other.is_none_or(|other| other.rank() <= found.rank()) {
                machines.insert(name, found.clone());
            }
        }
    }
    machines
}

fn line(
    volume: &Volume,
    machines: &HashMap<String, Selected>,
    backups: &HashMap<&str, Vec<Holding<'_>>>,
) -> Line {
    let name = volume.metadata.name.clone().unwrap_or_default();
    let found = machines.get(&name);
    let holding = backups.get(name.as_str()).map_or(&[][..], Vec::as_slice);
    Line {
        last: last(holding, volume),
        system: volume.spec.system.clone(),
        size: volume.spec.size.clone(),
        machine: found.map(|found| found.vm.clone()),
        policies: found.map(|found| found.working.clone()).unwrap_or_default(),
        bare: bare_fact(&name, found),
        volume: name,
    }
}

/// A machine, and the policies that are for it.
#[derive(Clone)]
struct Selected {
    vm: String,
    working: Vec<String>,
    /// Those that begin nothing.
    idle: Vec<String>,
}

impl Selected {
    fn new(
        policies: &[&BackupPolicy],
        vm: &VirtualMachine,
        system: Option<&InformationSystem>,
    ) -> Self {
        let all = policies.iter().filter(|one| selects(one, vm, system));
        let (working, idle): (Vec<&BackupPolicy>, Vec<_>) = all.partition(|one| works(one));
        let names = |all: Vec<&BackupPolicy>| {
            let names = all.into_iter().filter_map(|one| one.metadata.name.clone());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        Self {
            vm: vm.metadata.name.clone().unwrap_or_default(),
            working: names(working),
            idle: names(idle),
        }
    }

    /// How well it is backed up, compared with others.
    fn rank(&self) -> (bool, bool) {
        (!self.working.is_empty(), !self.idle.is_empty())
    }
}

fn bare_fact(volume: &str, found: Option<&Selected>) -> Option<Fact> {
    let volume = volume.to_owned();
    let Some(Selected { vm, working, idle }) = found else {
        return Some(Fact::from(WatchFact::NoMachine { volume }));
    };
    let machine = vm.clone();
    Some(Fact::from(match (working.is_empty(), idle.is_empty()) {
        (false, _) => return None,
        (true, false) => WatchFact::PolicyIdle {
            machine,
            policies: idle.clone(),
        },
        (true, true) => WatchFact::NoPolicy { machine },
    }))
}

/// A backup that is done, and when it was taken.
struct Holding<'a> {
    at: Timestamp,
    backup: &'a Backup,
}

/// By the names of the volumes that they hold.
fn holding<'a>(backups: &[&'a Backup]) -> HashMap<&'a str, Vec<Holding<'a>>> {
    let mut holding: HashMap<&str, Vec<Holding<'_>>> = HashMap::new();
    for &backup in backups {
        let Some(status) = backup.status.as_ref() else {
            continue;
        };
        let taken = status.taken_at.as_ref();
        let taken = taken.filter(|_| status.snapshot_id.is_some());
        let Some(at) = taken.and_then(|at| at.parse::<Timestamp>().ok()) else {
            continue;
        };
        for volume in &status.volumes {
            let all = holding.entry(&volume.volume).or_default();
            all.push(Holding { at, backup });
        }
    }
    holding
}

fn last(holding: &[Holding<'_>], volume: &Volume) -> Option<Last> {
    let since = created(&volume.metadata);
    let holding = holding.iter().filter(|one| one.at.as_second() >= since);
    let Holding { backup, .. } = holding.max_by_key(|one| one.at)?;
    let status = backup.status.as_ref()?;
    Some(Last {
        backup: backup.metadata.name.clone().unwrap_or_default(),
        taken_at: status.taken_at.clone()?,
        proven_at: status.proven_at.clone(),
    })
}

fn created(meta: &ObjectMeta) -> i64 {
    let at = meta.creation_timestamp.as_ref();
    at.map_or(0, |at| at.0.as_second())
}
