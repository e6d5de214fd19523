//! Backups: the volumes of a machine at one instant, read by their storage host into the department's
//! repository.
//!
//! ```text
//! wanted ─ valid ─▶ claimed with its snapshots ─ all taken ─▶ carried ─ host: done ─▶ Done, recorded
//!                                              └ never of one instant ─▶ Failed, recorded ─▶ given back
//! Done ─ a newer one is done, or its machine goes ─▶ snapshots released ─▶ claims deleted
//! deleted ─▶ the run is stopped ─ host confirms ─▶ snapshots released ─▶ claims deleted ─▶ let go
//! ```
//! What always holds:
//! - A run is claimed in one transaction with all its snapshots, and the host's item is made of those
//!   claims alone: whoever leads, it is the same run.
//! - One backup of a machine into a repository runs at a time, and one makes a department's
//!   repository.
//! - The snapshots of the last backup that is done stay, so that the next one reads what has changed
//!   since; they keep neither volume nor machine from being deleted.
//! - A backup whose status tells how it ended is never begun again. That is the one status that is
//!   read again: the ledger would else hold every backup there ever was.

use std::collections::BTreeMap;

use dc_crds::{Backup, BackupRepository, VirtualMachine, VolumeSnapshot, VolumeSnapshotSpec};
use dc_types::claim::{BackupClaim, BackupState, Makes, SnapshotState};
use dc_types::plan::{
    BackupItem, BackupVolume, Item, ItemBody, ItemKey, ItemKind, RepositoryAccess,
};
use dc_types::report::Observation;
use dc_types::{Bytes, ObjectRef, ObjectUid, RunId, SnapshotId};

use crate::claims::{Claimed, Claims};
use crate::place::Presence;
use crate::sight::Removal;
use crate::snapshot::{MachineSeen, MemberSeen, Target};
use crate::words::BackupFact;

pub mod deletion;
pub mod manifest;
pub mod password;
pub mod plan;
mod proven;
pub mod repository;
pub mod status;
#[cfg(test)]
mod tests;
pub mod validate;

pub use plan::plan;
pub use status::status;

/// What was read for one backup.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub backup: &'a Backup,
    pub me: &'a ObjectRef,
    pub vm: Option<&'a VirtualMachine>,
    /// What its manifest says beside the machine.
    pub around: &'a manifest::Around<'a>,
    pub repository: Option<RepositorySeen<'a>>,
    /// The machine's volumes, and the machine, as a group of snapshots sees them.
    pub target: Target<'a>,
    pub machine: Option<&'a MachineSeen>,
    pub members: &'a BTreeMap<SnapshotId, MemberSeen>,
    /// The storage host, and what it says of the run.
    pub presence: Presence,
    pub said: Option<&'a Observation>,
    /// How far the release of the run is.
    pub removal: Removal,
    /// Whether the department has a record of a backup that is done in the repository.
    pub made: Made,
    pub claims: &'a Claims,
}

/// A BackupRepository, and how the department gets into its own one there.
#[derive(Clone, Copy, Debug)]
pub struct RepositorySeen<'a> {
    pub object: &'a BackupRepository,
    pub access: Result<&'a RepositoryAccess, &'a BackupFact>,
}

/// Whether a department's repository was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Certainly,
    /// No record of a backup tells of it.
    Unknown,
}

#[must_use]
pub fn key(backup: ObjectUid) -> ItemKey {
    ItemKey::new(ItemKind::Backup, backup.0)
}

/// How a backup ended, as its status tells.
#[must_use]
pub fn is_recorded(backup: &Backup) -> bool {
    let status = backup.status.as_ref();
    status.is_some_and(|status| status.snapshot_id.is_some() || status.state == status::FAILED)
}

/// The group of snapshots that a backup takes, as if it were a VolumeSnapshot.
#[must_use]
pub fn group(backup: &Backup) -> VolumeSnapshot {
    let spec = VolumeSnapshotSpec {
        system: String::new(),
        volume: None,
        vm: Some(backup.spec.vm.clone()),
    };
    let mut group = VolumeSnapshot::new("", spec);
    group.metadata = backup.metadata.clone();
    group
}

/// The item on the storage host; `None` while its snapshots are not all taken.
#[must_use]
pub fn item(
    claim: &Claimed<BackupClaim>,
    claims: &Claims,
    access: &RepositoryAccess,
    limit: Option<Bytes>,
) -> Option<Item> {
    let BackupClaim {
        owner,
        vm: _,
        machine,
        repository: _,
        host: _,
        volumes,
        base,
        makes,
        manifest,
        state,
    } = &claim.value;
    if *state != BackupState::Running {
        return None;
    }
    let of = |owner: ObjectUid, volume| {
        let mut snapshots = claims.snapshots_by(owner);
        let found = snapshots.find(|snapshot| snapshot.value.volume == volume)?;
        matches!(found.value.state, SnapshotState::Taken { .. }).then_some(&found.value)
    };
    let volumes = volumes.iter().map(|volume| {
        let mine = of(owner.uid, volume.volume)?;
        let before = base
            .as_ref()
            .and_then(|base| of(base.backup, volume.volume));
        // Bytes that have been moved have nothing in common with what the base was taken of.
        let before = before.filter(|before| before.place() == mine.place());
        Some(BackupVolume {
            file: file(&volume.name),
            volume: mine.place(),
            pool: mine.pool.clone(),
            snapshot: mine.snapshot,
            base: before.map(|before| before.snapshot),
        })
    });
    Some(Item {
        key: key(owner.uid),
        epoch: claim.epoch,
        object: owner.clone(),
        body: ItemBody::Backup(Box::new(BackupItem {
            run: RunId(owner.uid.0),
            repository: access.clone(),
            make: *makes == Makes::Repository,
            machine: format!("{}/{machine}", owner.namespace),
            manifest: manifest.clone(),
            volumes: volumes.collect::<Option<Vec<_>>>()?,
            parent: base.as_ref().map(|base| base.snapshot_id.clone()),
            limit,
        })),
    })
}

/// The file of a volume in a backup.
#[must_use]
pub fn file(volume: &str) -> String {
    format!("{volume}.raw")
}
