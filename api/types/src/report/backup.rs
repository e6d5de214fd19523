//! How far backups and restores are, and what they have done.

use serde::{Deserialize, Serialize};

use super::Trouble;
use crate::Bytes;

/// How far a run is. It is told in few steps: each is written to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub done: Bytes,
    /// What is to be read of the storage, or written to it.
    pub of: Bytes,
}

/// A backup that is in the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDone {
    /// As restic names it: 64 hexadecimal digits.
    pub backup: String,
    /// Of all volumes together.
    pub size: Bytes,
    /// By the host's clock, seconds since 1970: of the attempt that ended well.
    pub began_at: i64,
    pub ended_at: i64,
    /// What the run did. Not known when its answer was lost, and a repetition found the backup.
    pub counts: Option<BackupCounts>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupCounts {
    /// Of the storage.
    pub read: Bytes,
    /// What the repository has grown by.
    pub added: Bytes,
    /// In the order of the item.
    pub volumes: Vec<VolumeBackedUp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeBackedUp {
    pub file: String,
    pub size: Bytes,
    pub read: Bytes,
    /// Why nothing was taken from the backup before; `None` when only changes were read.
    pub full: Option<Trouble>,
}

/// A volume that holds what the backup held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreDone {
    /// What was written, zeros included.
    pub written: Bytes,
    /// By the host's clock, seconds since 1970: of the attempt that ended well.
    pub began_at: i64,
    pub ended_at: i64,
}
