//! Why a run does not run or has failed: a word for programs, from which the operator makes its
//! texts for people, and a sentence with where and what to do. No secret is ever in either.

use dc_types::report::Trouble;
use dc_types::{InstanceId, SnapshotId};
use thiserror::Error;

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BackupTrouble {
    #[error("{0}")]
    Invalid(String),
    #[error("what it takes the place of is still being stopped")]
    Releasing,
    #[error("snapshot {snapshot} of volume {volume} is not there yet")]
    WaitsForSnapshot {
        volume: InstanceId,
        snapshot: SnapshotId,
    },
    #[error("volume {volume} is not there yet")]
    WaitsForVolume { volume: InstanceId },
    #[error("{most} other runs of its repository go on; it begins when one of them ends")]
    WaitsForTurn { most: usize },
    #[error("{0}")]
    Running(String),
    #[error("whether it is done already is not known: {0}")]
    Unknown(String),
    #[error("{said}")]
    Failed { cause: Cause, said: String },
}

/// What a run failed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Another client is at work there, or has died a short while ago.
    RepositoryLocked,
    /// Neither its content nor an answer came: not mounted, not on, no way there.
    RepositoryUnreachable,
    /// The place is there, and has no repository.
    RepositoryMissing,
    RepositoryFull,
    /// Its place lets us do it not: rights, read-only, a wrong login.
    RepositoryRefused,
    WrongPassword,
    RepositoryDamaged,
    /// Anything else that was said of it.
    RepositoryFailed,
    /// It was out of reach for so long that others may have taken us for dead.
    LockLost,
    SnapshotMissing,
    SnapshotUnreadable,
    VolumeMissing,
    VolumeInUse,
    VolumeUnwritable,
    VolumeTooSmall,
    /// What was written does not read as the backup says.
    VolumeDiffers,
    BackupMissing,
    /// What stands beside its volumes is of a version that is not understood.
    ManifestUnknown,
    PoolUnusable,
    /// The host could not keep what it did.
    StateUnwritable,
    /// A fault of ours.
    Broken,
}

impl BackupTrouble {
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Invalid(_) => "InvalidItem".to_owned(),
            Self::Releasing => "Releasing".to_owned(),
            Self::WaitsForSnapshot { .. } => "WaitsForSnapshot".to_owned(),
            Self::WaitsForVolume { .. } => "WaitsForVolume".to_owned(),
            Self::WaitsForTurn { .. } => "WaitsForTurn".to_owned(),
            Self::Running(_) => "Running".to_owned(),
            Self::Unknown(_) => "RunUnknown".to_owned(),
            Self::Failed { cause, .. } => format!("{cause:?}"),
        }
    }
}

impl From<BackupTrouble> for Trouble {
    fn from(trouble: BackupTrouble) -> Self {
        Self {
            reason: trouble.reason(),
            message: trouble.to_string(),
        }
    }
}
