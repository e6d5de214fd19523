//! Repositories in memory, in place of folders and servers. What is in them is what the archiver
//! writes.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use dc_backup::Id;
use dc_backup::store::{Kind, MemoryStore, Store, StoreError};
use dc_types::plan::RepositoryPlace;
use tokio::runtime::Handle;

use super::places::{Places, Shown};
use crate::knobs::{Injected, Knobs};

/// All repositories there are; clones share them, as hosts share a server.
#[derive(Clone, Debug, Default)]
pub struct FakeRepositories(Arc<Mutex<BTreeMap<String, Arc<MemoryStore>>>>);

impl FakeRepositories {
    /// What is in a place, without knobs; empty when nothing was put there.
    #[must_use]
    pub fn store(&self, place: &RepositoryPlace) -> Arc<MemoryStore> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Shown(place).to_string();
        all.entry(at).or_default().clone()
    }
}

/// The way of one fake host to them. Each call asks its knobs under `repository.<verb>`.
pub struct FakePlaces {
    pub repositories: FakeRepositories,
    pub knobs: Knobs,
}

impl Places for FakePlaces {
    fn open(
        &self,
        place: &RepositoryPlace,
        runtime: &Handle,
    ) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(FakeStore {
            inner: self.repositories.store(place),
            at: Shown(place).to_string(),
            knobs: self.knobs.clone(),
            runtime: runtime.clone(),
        }))
    }
}

struct FakeStore {
    inner: Arc<MemoryStore>,
    at: String,
    knobs: Knobs,
    runtime: Handle,
}

impl fmt::Debug for FakeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeStore({})", self.at)
    }
}

impl FakeStore {
    fn call<T>(
        &self,
        call: &str,
        run: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let unreachable = |injected: Injected| StoreError::Unreachable {
            at: self.at.clone(),
            said: injected.to_string(),
        };
        let gate = self.runtime.block_on(self.knobs.gate(call));
        gate.map_err(unreachable)?;
        let done = run()?;
        self.knobs.answer(call).map_err(unreachable)?;
        Ok(done)
    }
}

impl Store for FakeStore {
    fn location(&self) -> String {
        self.at.clone()
    }

    fn create(&self) -> Result<(), StoreError> {
        self.call("repository.create", || self.inner.create())
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, StoreError> {
        self.call("repository.list", || self.inner.list(kind))
    }

    fn read(&self, kind: Kind, id: Id, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.call("repository.read", || self.inner.read(kind, id, range))
    }

    fn write(&self, kind: Kind, id: Id, bytes: &[u8]) -> Result<(), StoreError> {
        self.call("repository.write", || self.inner.write(kind, id, bytes))
    }

    fn remove(&self, kind: Kind, id: Id) -> Result<(), StoreError> {
        self.call("repository.remove", || self.inner.remove(kind, id))
    }
}
