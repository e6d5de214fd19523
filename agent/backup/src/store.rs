//! Where a repository lies: named files of six kinds, written once. Real ones are [`LocalStore`], a
//! folder, and [`RestStore`], a server of restic's REST protocol; beside them [`MemoryStore`] for
//! tests, and [`CutStore`], which cuts another one off.
//!
//! What every store keeps to:
//! - **A file is there whole or not at all**, and what [`Store::write`] has said to be written
//!   survives a loss of power.
//! - **Every call may be repeated.** To write what is there, or to remove what is not, is done.
//! - **A listing is complete or an error.** To prune by half a listing would lose data.

use std::fmt;
use std::ops::Range;

use rustic_core::Id;
use thiserror::Error;

mod cut;
mod local;
mod memory;
mod rest;

pub use cut::{CutAt, CutStore};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use rest::{RestAddress, RestStore};

/// What a file of a repository is. A repository has one config, and its id is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Config,
    Key,
    Lock,
    Snapshot,
    Index,
    Pack,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Config,
        Self::Key,
        Self::Lock,
        Self::Snapshot,
        Self::Index,
        Self::Pack,
    ];

    /// The folder of its files; of the config, its file.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "keys",
            Self::Lock => "locks",
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Pack => "data",
        }
    }
}

/// One place for one repository.
pub trait Store: Send + Sync + fmt::Debug {
    /// Where it is, for people; without passwords.
    fn location(&self) -> String;

    /// Makes the place ready for a repository; leaves one that is there as it is.
    ///
    /// # Errors
    /// When it cannot be written.
    fn create(&self) -> Result<(), StoreError>;

    /// All files of a kind with their sizes in bytes, in no order; none when the folder is not
    /// there. What is not named by an id is not listed.
    ///
    /// # Errors
    /// When not all of it could be listed.
    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, StoreError>;

    /// The bytes of a file, or those of a range within it.
    ///
    /// # Errors
    /// [`StoreError::NotThere`], or when it cannot be read, or ends within the range.
    fn read(&self, kind: Kind, id: Id, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError>;

    /// Writes a file. One of this name and size is taken to be the same: names are hashes.
    ///
    /// # Errors
    /// When it is not written. It may be there all the same, as when only the answer was lost.
    fn write(&self, kind: Kind, id: Id, bytes: &[u8]) -> Result<(), StoreError>;

    /// Removes a file.
    ///
    /// # Errors
    /// When it may still be there.
    fn remove(&self, kind: Kind, id: Id) -> Result<(), StoreError>;

    /// Removes what writers that died have left, where that can be told from what is being written.
    ///
    /// # Errors
    /// When some of it may still be there; nothing is lost by that but room.
    fn sweep(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Why a store did not do what it was asked. `at` is the place and, where it is about one, the file.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    #[error("{at} is not there")]
    NotThere { at: String },
    /// Read-only, no rights, or another password is wanted.
    #[error("{at} may not be {what}: {said}; look at its rights, and whether it is read-only")]
    Refused {
        at: String,
        what: &'static str,
        said: String,
    },
    #[error(
        "{at} could not be written, the repository's place is full: {said}; make room, or prune"
    )]
    Full { at: String, said: String },
    #[error("{at} cannot be reached: {said}")]
    Unreachable { at: String, said: String },
    #[error("{at} could not be {what}: {said}")]
    Failed {
        at: String,
        what: &'static str,
        said: String,
    },
}

impl StoreError {
    /// An I/O error of a folder, sorted by what is to be done about it.
    fn io(at: &std::path::Path, what: &'static str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let (at, said) = (at.display().to_string(), error.to_string());
        match error.kind() {
            ErrorKind::NotFound => Self::NotThere { at },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::Refused { at, what, said }
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full { at, said },
            _ => Self::Failed { at, what, said },
        }
    }

    #[must_use]
    pub fn is_not_there(&self) -> bool {
        matches!(self, Self::NotThere { .. })
    }
}

#[cfg(test)]
mod tests;
