//! Protection: which volumes of a department are backed up, by which policies and when last; and why
//! the others are not. The operator counts them, the departments' API shows them.
//!
//! - A volume is backed up with a machine: one that no machine has is in no backup.
//! - What counts as its last backup holds this volume, not an older one of its name.
//! - A policy that is suspended, or whose schedule does not read, protects nothing.

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
    let mut lines: Vec<Line> = present.map(|volume| line(seen, volume)).collect();
    lines.sort_by(|a, b| a.volume.cmp(&b.volume));
    lines
}

/// Those that nothing backs up.
#[must_use]
pub fn bare(seen: &Seen<'_>) -> usize {
    let lines = lines(seen);
    lines.iter().filter(|line| line.bare.is_some()).count()
}

fn line(seen: &Seen<'_>, volume: &Volume) -> Line {
    let name = volume.metadata.name.clone().unwrap_or_default();
    let machines = seen.machines.iter().filter(|(vm, _)| {
        let of = vm.metadata.name.as_deref().unwrap_or_default();
        let mut disks = vm.spec.disks.iter();
        object::life(&vm.metadata) == Life::Wanted
            && disks.any(|disk| volume_name(of, disk) == name)
    });
    // Of several that share it, the one that is backed up.
    let found = machines.map(|(vm, system)| Selected::new(seen.policies, vm, *system));
    let found = found.max_by_key(|found| (!found.working.is_empty(), !found.idle.is_empty()));
    let bare = bare_fact(&name, found.as_ref());
    Line {
        last: last(seen.backups, volume, &name),
        system: volume.spec.system.clone(),
        size: volume.spec.size.clone(),
        volume: name,
        machine: found.as_ref().map(|found| found.vm.clone()),
        policies: found.map(|found| found.working).unwrap_or_default(),
        bare,
    }
}

/// A machine, and the policies that are for it.
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

fn last(backups: &[&Backup], volume: &Volume, name: &str) -> Option<Last> {
    let since = created(&volume.metadata);
    let holding = backups.iter().filter_map(|backup| {
        let status = backup.status.as_ref()?;
        status.snapshot_id.as_ref()?;
        let taken = status.taken_at.as_ref()?;
        let at = taken.parse::<Timestamp>().ok()?;
        let holds = status.volumes.iter().any(|one| one.volume == name);
        (holds && at.as_second() >= since).then_some((at, backup, taken, status))
    });
    let (_, backup, taken, status) = holding.max_by_key(|(at, ..)| *at)?;
    Some(Last {
        backup: backup.metadata.name.clone().unwrap_or_default(),
        taken_at: taken.clone(),
        proven_at: status.proven_at.clone(),
    })
}

fn created(meta: &ObjectMeta) -> i64 {
    let at = meta.creation_timestamp.as_ref();
    at.map_or(0, |at| at.0.as_second())
}
