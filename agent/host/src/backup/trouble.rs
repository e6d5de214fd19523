//! What the errors of archiver and drivers are called in a status.

use std::error::Error;

use dc_agent_core::backup::{BackupTrouble, Cause};
use dc_backup::BackupError;
use dc_backup::store::StoreError;

use super::work::Ended;
use crate::drivers::DriverError;

pub(super) fn failed(cause: Cause, said: impl Into<String>) -> Ended {
    let said = said.into();
    Ended::Trouble(BackupTrouble::Failed { cause, said })
}

/// An error with all its causes.
pub(super) fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

/// While the repository is opened: what is not there is the place itself.
pub(super) fn of_opening(error: BackupError) -> Ended {
    match &error {
        BackupError::Store(StoreError::NotThere { .. }) => {
            failed(Cause::RepositoryUnreachable, in_full(&error))
        }
        _ => of_run(error),
    }
}

/// While it is worked with: what is not there was there when it was listed, or is named by what is.
pub(super) fn of_run(error: BackupError) -> Ended {
    let cause = match &error {
        BackupError::Stopped => return Ended::Stopped,
        BackupError::Store(error) => match error {
            StoreError::NotThere { .. } => Cause::RepositoryDamaged,
            StoreError::Refused { .. } => Cause::RepositoryRefused,
            StoreError::Full { .. } => Cause::RepositoryFull,
            StoreError::Unreachable { .. } => Cause::RepositoryUnreachable,
            StoreError::Failed { .. } => Cause::RepositoryFailed,
        },
        BackupError::WrongPassword { .. } => Cause::WrongPassword,
        BackupError::NoRepository { .. } => Cause::RepositoryMissing,
        BackupError::Locked { .. } => Cause::RepositoryLocked,
        BackupError::LockLost => Cause::LockLost,
        BackupError::Corrupt { .. } => Cause::RepositoryDamaged,
        BackupError::Differs { .. } => Cause::VolumeDiffers,
        BackupError::Source { .. } => Cause::SnapshotUnreadable,
        BackupError::Target { .. } => Cause::VolumeUnwritable,
        BackupError::Impossible { .. } => Cause::VolumeTooSmall,
        BackupError::NotInBackup { .. } => Cause::BackupMissing,
        BackupError::OtherFormat { .. } => Cause::ManifestUnknown,
        BackupError::Library { .. } => Cause::RepositoryFailed,
    };
    failed(cause, in_full(&error))
}

/// While a volume is read back.
pub(super) fn of_verifying(error: BackupError) -> Ended {
    match &error {
        BackupError::Source { .. } => failed(Cause::VolumeUnwritable, in_full(&error)),
        _ => of_run(error),
    }
}

pub(super) fn of_driver(error: DriverError) -> Ended {
    of_driver_at(Cause::PoolUnusable, error)
}

/// `otherwise` when the error has no name of its own.
pub(super) fn of_driver_at(otherwise: Cause, error: DriverError) -> Ended {
    let cause = match &error {
        DriverError::PoolUnusable { .. } => Cause::PoolUnusable,
        DriverError::InUse { .. } => Cause::VolumeInUse,
        DriverError::NotThere { .. } | DriverError::NoRecord { .. } => match otherwise {
            Cause::SnapshotUnreadable => Cause::SnapshotMissing,
            _ => Cause::VolumeMissing,
        },
        _ => otherwise,
    };
    failed(cause, in_full(&error))
}
