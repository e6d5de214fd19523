//! Claims of backups and restores: that a run goes on, and who does it.

use serde::{Deserialize, Serialize};

use crate::report::{BackupDone, Consistency, RestoreDone};
use crate::{Bytes, HostName, InstanceId, ObjectRef, ObjectUid, PoolName};

/// One backup of a machine: that it runs, and who is to read; afterwards, that the next one tells
/// changes from its snapshots. They are claimed with it, and have the Backup as their owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupClaim {
    /// The Backup; its uid is the run's name.
    pub owner: ObjectRef,
    pub vm: InstanceId,
    /// The machine's name when it was begun.
    pub machine: String,
    /// The BackupRepository's name.
    pub repository: String,
    /// The storage host that has the volumes, and reads.
    pub host: HostName,
    /// In the order of the machine's disks.
    pub volumes: Vec<BackupVolumeClaim>,
    /// The backup that changes are told from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BackupBase>,
    /// Whether it makes the department's repository: one at a time does, until there is a backup.
    #[serde(default)]
    pub makes: Makes,
    /// All that is needed to build the machine anew, in JSON; empty once it is in the repository.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    pub state: BackupState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Makes {
    #[default]
    Nothing,
    Repository,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupVolumeClaim {
    pub volume: InstanceId,
    /// The Volume's name: its file in the backup is `<name>.raw`.
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupBase {
    /// The uid of that Backup.
    pub backup: ObjectUid,
    /// Its snapshot in the repository.
    pub snapshot_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackupState {
    /// Its snapshots are taken, then read.
    Running,
    /// It lies in the repository.
    Done(Box<BackedUp>),
    /// Its volumes could not be taken at one instant; nothing of it is left.
    Failed { attempts: u32 },
}

/// What became of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    pub level: Consistency,
    /// When the last of its volumes was taken, seconds since 1970.
    pub taken_at: i64,
    /// As the storage host said.
    pub done: BackupDone,
}

/// A storage host that is asked what stands beside the volumes of a backup, for as long as somebody
/// needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestClaim {
    /// The MachineRestore.
    pub owner: ObjectRef,
    /// The storage host.
    pub host: HostName,
    /// The BackupRepository's name.
    pub repository: String,
    /// restic's id of the snapshot in the department's repository.
    pub snapshot_id: String,
}

/// A volume that is being written from a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreClaim {
    /// The Restore.
    pub owner: ObjectRef,
    pub volume: InstanceId,
    /// The id under which the storage host has the volume's bytes.
    pub place: InstanceId,
    pub pool: PoolName,
    /// The storage host.
    pub host: HostName,
    /// Of the volume.
    pub size: Bytes,
    /// The BackupRepository's name.
    pub repository: String,
    /// restic's id of the snapshot in the department's repository.
    pub snapshot_id: String,
    /// The file in it.
    pub file: String,
    /// Whether the volume is read back and compared with the backup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
    pub state: RestoreState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestoreState {
    /// In place: its machine lets go of the volume, and what is there is snapshotted.
    Waits,
    Running,
    Done(RestoreDone),
    /// Its volume is being deleted.
    Stopped,
}
