//! A store in memory, for tests: it remembers, and counts what it was asked to write.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustic_core::Id;

use super::{Kind, Store, StoreError};

#[derive(Debug, Default)]
pub struct MemoryStore {
    files: Mutex<BTreeMap<(Kind, Id), Vec<u8>>>,
}

impl MemoryStore {
    /// Another one with the same files.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            files: Mutex::new(self.files().clone()),
        }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<(Kind, Id), Vec<u8>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(kind: Kind, id: Id) -> (Kind, Id) {
    match kind {
        Kind::Config => (kind, Id::default()),
        _ => (kind, id),
    }
}

impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn create(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, StoreError> {
        let files = self.files();
        let of_kind = files.iter().filter(|((of, _), _)| *of == kind);
        Ok(of_kind
            .map(|((_, id), bytes)| (*id, bytes.len() as u64))
            .collect())
    }

    fn read(&self, kind: Kind, id: Id, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        let at = || format!("{}/{}", kind.folder(), id.to_hex().as_str());
        let files = self.files();
        let bytes = files
            .get(&key(kind, id))
            .ok_or_else(|| StoreError::NotThere { at: at() })?;
        let Some(range) = range else {
            return Ok(bytes.clone());
        };
        let within = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok())
            .and_then(|(start, end)| bytes.get(start..end));
        within
            .map(<[u8]>::to_vec)
            .ok_or_else(|| StoreError::Failed {
                at: at(),
                what: "read",
                said: "it ends before".to_owned(),
            })
    }

    fn write(&self, kind: Kind, id: Id, bytes: &[u8]) -> Result<(), StoreError> {
        self.files().insert(key(kind, id), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, kind: Kind, id: Id) -> Result<(), StoreError> {
        self.files().remove(&key(kind, id));
        Ok(())
    }
}
