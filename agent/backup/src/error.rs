//! Why a backup or restore was not done.

use std::error::Error;
use std::io;

use rustic_core::RusticError;
use thiserror::Error;

use crate::lock::Holder;
use crate::store::StoreError;

#[derive(Debug, Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the password does not open the repository at {at}; it may be another repository's")]
    WrongPassword { at: String },
    #[error("there is no repository at {at}; it may not be mounted, or not made yet")]
    NoRepository { at: String },
    #[error("the repository is locked by {by}; it is tried again when that has ended")]
    Locked { by: Holder },
    /// Whoever prunes may have taken away what this run relies on, so nothing more is written.
    #[error("our lock of the repository is gone or could not be renewed; run it again")]
    LockLost,
    #[error("{what} is damaged: {fault}")]
    Corrupt { what: String, fault: String },
    #[error("volume {volume} could not be read at byte {at}")]
    Source {
        volume: String,
        at: u64,
        source: io::Error,
    },
    #[error("volume {volume} could not be written at byte {at}")]
    Target {
        volume: String,
        at: u64,
        source: io::Error,
    },
    /// A volume that was written does not read as it was written.
    #[error("the volume of {file} differs from the backup in the block at byte {at}")]
    Differs { file: String, at: u64 },
    /// What was asked for cannot be done with any repository.
    #[error("{what} cannot be backed up or restored: {why}")]
    Impossible { what: String, why: String },
    #[error("backup {snapshot} has no {what}")]
    NotInBackup { snapshot: String, what: String },
    /// What another version of this product has made.
    #[error(
        "{what} has format {found}, and {understood} is understood: restore it with the version that made it, or its volumes one by one"
    )]
    OtherFormat {
        what: String,
        found: u32,
        understood: u32,
    },
    #[error("it was stopped")]
    Stopped,
    #[error("{what}: {said}")]
    Library { what: &'static str, said: String },
}

impl BackupError {
    /// What `rustic_core` says, with our own errors taken out of it again.
    pub(crate) fn library(what: &'static str, error: &RusticError) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(store) = cause.downcast_ref::<StoreError>() {
                return Self::Store(store.clone());
            }
            if let Some(inner) = cause.downcast_ref::<Box<RusticError>>() {
                return Self::library(what, inner);
            }
            source = cause.source();
        }
        Self::Library {
            what,
            said: error.display_log(),
        }
    }
}
