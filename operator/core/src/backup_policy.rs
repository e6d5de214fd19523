//! Policies: which machines are backed up when, and what of it is kept.
//!
//! What always holds:
//! - A backup of a policy is called by the time that it is for: two looks, or two leaders, make one.
//! - Of the times that were missed the last one is made up for, once; within the policy's window.
//! - A machine begins at the same minute each time, which its uid and the policy's decide.
//! - A proof of a backup is called as the backup: it is made once.
//! - Nothing is begun while the last backup of the machine by the same policy has not ended: the
//!   machine is late then, and that is told.

use dc_crds::{Backup, BackupPolicy, BackupSpec, InformationSystem, RestoreProof, VirtualMachine};
use dc_types::ObjectUid;

use crate::object;

pub mod keep;
pub mod plan;
mod proofs;
pub mod schedule;
pub mod status;
#[cfg(test)]
mod tests;
pub mod usual;
pub mod watched;

pub use plan::{Progress, plan};
pub use status::status;

/// What was read for one policy.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub policy: &'a BackupPolicy,
    /// Every machine of the data centre, with its system if that is there.
    pub machines: &'a [(&'a VirtualMachine, Option<&'a InformationSystem>)],
    /// Backups that the policy made.
    pub backups: &'a [&'a Backup],
    /// All proofs there are.
    pub proofs: &'a [&'a RestoreProof],
    /// Whether its repository is there.
    pub repository: Repository,
    /// Seconds since 1970.
    pub now: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repository {
    There,
    Absent,
}

/// A Backup that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct NewBackup {
    pub namespace: String,
    pub name: String,
    pub spec: BackupSpec,
}

impl NewBackup {
    #[must_use]
    pub fn object(&self) -> Backup {
        let Self {
            namespace,
            name,
            spec,
        } = self;
        let mut backup = Backup::new(name, spec.clone());
        backup.metadata.namespace = Some(namespace.clone());
        backup
    }
}

/// Whether the policy is for a machine.
#[must_use]
pub fn selects(
    policy: &BackupPolicy,
    vm: &VirtualMachine,
    system: Option<&InformationSystem>,
) -> bool {
    let dc_crds::backup_policy::MachineSelector {
        departments,
        systems,
        security_levels,
        labels,
    } = &policy.spec.selector;
    let department = vm.metadata.namespace.as_deref().unwrap_or_default();
    let level = system.and_then(|system| system.spec.security_level);
    let has = |(key, value): (&String, &String)| {
        let labels = vm.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(key)) == Some(value)
    };
    (departments.is_empty() || departments.iter().any(|name| name == department))
        && (systems.is_empty() || systems.contains(&vm.spec.system))
        && (security_levels.is_empty() || level.is_some_and(|l| security_levels.contains(&l)))
        && labels.iter().all(has)
        && object::life(&vm.metadata) == object::Life::Wanted
}

/// Whether anything is begun by the policy.
#[must_use]
pub fn works(policy: &BackupPolicy) -> bool {
    !policy.spec.suspend && schedule::validate(&policy.spec.schedule).is_ok()
}

/// How many seconds after the policy's time a machine begins: less than `minutes` minutes.
#[must_use]
pub fn jitter_s(policy: ObjectUid, vm: ObjectUid, minutes: u32) -> i64 {
    // Two uids by chance: their sum is as good as a digest of them.
    let mixed = policy.0.as_u128().wrapping_add(vm.0.as_u128());
    let spread = u128::from(minutes) * 60;
    match spread {
        0 => 0,
        spread => i64::try_from(mixed % spread).unwrap_or_default(),
    }
}
