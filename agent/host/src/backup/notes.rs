//! Which backups are done, and what they did. The repository knows the first as well, at the cost
//! of asking it; the second is known here alone.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dc_types::report::BackupDone;
use dc_types::{Epoch, RunId};
use serde::{Deserialize, Serialize};

use crate::drivers::folder::layout::{remove_file, write_durably};

/// Clones share what is remembered.
#[derive(Clone)]
pub struct Notes {
    /// A file for each; nowhere on a simulated host.
    folder: Option<PathBuf>,
    /// What was read or written: nobody else writes there.
    known: Arc<Mutex<BTreeMap<RunId, Option<Note>>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Of the item that it was done for.
    pub epoch: Epoch,
    pub done: BackupDone,
}

impl Notes {
    #[must_use]
    pub fn on_disk(folder: PathBuf) -> Self {
        Self {
            folder: Some(folder),
            known: Arc::default(),
        }
    }

    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            folder: None,
            known: Arc::default(),
        }
    }

    /// `None`: it is not done, as far as is known here.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, run: RunId) -> io::Result<Option<Note>> {
        let mut known = self.known();
        if let Some(note) = known.get(&run) {
            return Ok(note.clone());
        }
        let note = match self.path(run) {
            None => None,
            Some(path) => match std::fs::read(&path) {
                Ok(text) => Some(serde_json::from_slice(&text)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            },
        };
        known.insert(run, note.clone());
        Ok(note)
    }

    /// # Errors
    /// When it is not kept for good.
    pub fn write(&self, run: RunId, note: Note) -> io::Result<()> {
        let mut known = self.known();
        if let Some(path) = self.path(run) {
            write_durably(&path, &serde_json::to_vec(&note)?)?;
        }
        known.insert(run, Some(note));
        Ok(())
    }

    /// # Errors
    /// When it may still be there.
    pub fn remove(&self, run: RunId) -> io::Result<()> {
        let mut known = self.known();
        if let Some(path) = self.path(run)
            && path.try_exists()?
        {
            remove_file(&path)?;
        }
        known.remove(&run);
        Ok(())
    }

    fn path(&self, run: RunId) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        Some(folder.join(format!("{run}.json")))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<RunId, Option<Note>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
