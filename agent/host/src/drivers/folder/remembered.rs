//! Which pool was seen in which folder, kept outside the pools: a missing disk looks just like an
//! empty folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dc_types::PoolName;
use uuid::Uuid;

use super::layout::write_durably;

/// The memory of one agent; clones share it.
#[derive(Clone)]
pub struct Remembered(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// Held while the file is read, changed and written.
    writing: Mutex<()>,
}

impl Remembered {
    /// `state` is a folder of the agent's own; it is made when it is needed.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self(Arc::new(Inner {
            path: state.join("pools.json"),
            writing: Mutex::default(),
        }))
    }

    /// The id that a pool is known by.
    pub fn id_of(&self, pool: &PoolName) -> Result<Option<Uuid>, String> {
        Ok(self.read()?.get(pool).copied())
    }

    pub fn remember(&self, pool: &PoolName, id: Uuid) -> Result<(), String> {
        let _held = self
            .0
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut pools = self.read()?;
        if pools.insert(pool.clone(), id) == Some(id) {
            return Ok(());
        }
        let text = serde_json::to_vec(&pools).map_err(|error| error.to_string())?;
        write_durably(&self.0.path, &text)
            .map_err(|error| format!("{}: {error}", self.0.path.display()))
    }

    fn read(&self) -> Result<BTreeMap<PoolName, Uuid>, String> {
        let path = &self.0.path;
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }
}
