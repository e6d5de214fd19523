//! Which backups are done, and what they did. The repository knows the first as well, at the cost
//! of asking it; the second is known here alone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
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
            Some(path) => read_file(&path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?,
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

    /// One file for each run, by its id.
    fn path(&self, run: RunId) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        Some(folder.join(format!("{run}.json")))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<RunId, Option<Note>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is damaged says nothing: the run is begun again, and finds itself in the repository.
fn read_file(path: &Path) -> io::Result<Option<Note>> {
    match std::fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "it is damaged"))
            .ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use dc_types::Bytes;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_done_is_known_to_the_next_process_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunId(Uuid::from_u128(7));
        let note = Note {
            epoch: Epoch::default(),
            done: BackupDone {
                backup: "a".repeat(64),
                size: Bytes(5),
                began_at: 1,
                ended_at: 2,
                counts: None,
            },
        };
        let open = || Notes::on_disk(folder.path().join("backups"));
        let first = open();
        assert_eq!(first.read(run).unwrap(), None);
        first.write(run, note.clone()).unwrap();
        assert_eq!(first.read(run).unwrap(), Some(note.clone()));
        let next = open();
        assert_eq!(next.read(run).unwrap(), Some(note));
        for _ in 0..2 {
            next.remove(run).unwrap();
            assert_eq!(next.read(run).unwrap(), None);
        }
        assert_eq!(open().read(run).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_damaged_says_nothing_and_one_that_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::on_disk(folder.path().to_owned());
        let path = |n| folder.path().join(format!("{}.json", Uuid::from_u128(n)));
        std::fs::write(path(7), "{").unwrap();
        assert_eq!(notes.read(RunId(Uuid::from_u128(7))).unwrap(), None);
        std::fs::create_dir(path(8)).unwrap();
        let said = notes.read(RunId(Uuid::from_u128(8))).unwrap_err();
        let said = said.to_string();
        assert!(said.starts_with(&path(8).display().to_string()), "{said}");
    }
}
