//! A store that is cut off, as when the process that uses it dies, the network goes, or a place
//! refuses: for tests of what is left then.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustic_core::Id;

use super::{Kind, Store, StoreError};

/// At which effect (a write or removal, counted from 0) it is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutAt {
    /// It does not happen, nor does any after it.
    Before(u64),
    /// It happens, and its answer is lost; none after it happens.
    After(u64),
    Never,
}

/// Another store until it is cut off; from then on nothing is written, removed or read.
#[derive(Debug)]
pub struct CutStore {
    inner: Arc<dyn Store>,
    at: CutAt,
    effects: AtomicU64,
}

impl CutStore {
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, at: CutAt) -> Self {
        Self {
            inner,
            at,
            effects: AtomicU64::new(0),
        }
    }

    /// How many effects it was asked for.
    #[must_use]
    pub fn effects(&self) -> u64 {
        self.effects.load(Ordering::SeqCst)
    }

    fn effect(&self, run: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let number = self.effects.fetch_add(1, Ordering::SeqCst);
        match self.at {
            CutAt::Before(at) if number >= at => Err(self.gone()),
            CutAt::After(at) if number > at => Err(self.gone()),
            CutAt::After(at) if number == at => run().and(Err(self.gone())),
            _ => run(),
        }
    }

    fn look<T>(&self, run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let done = self.effects();
        match self.at {
            CutAt::Before(at) | CutAt::After(at) if done > at => Err(self.gone()),
            _ => run(),
        }
    }

    fn gone(&self) -> StoreError {
        StoreError::Unreachable {
            at: self.location(),
            said: "it was cut off".to_owned(),
        }
    }
}

impl Store for CutStore {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn create(&self) -> Result<(), StoreError> {
        self.look(|| self.inner.create())
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, StoreError> {
        self.look(|| self.inner.list(kind))
    }

    fn read(&self, kind: Kind, id: Id, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.look(|| self.inner.read(kind, id, range))
    }

    fn write(&self, kind: Kind, id: Id, bytes: &[u8]) -> Result<(), StoreError> {
        self.effect(|| self.inner.write(kind, id, bytes))
    }

    fn remove(&self, kind: Kind, id: Id) -> Result<(), StoreError> {
        self.effect(|| self.inner.remove(kind, id))
    }
}
