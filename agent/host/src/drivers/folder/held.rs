//! A pool's folder, held for one verb: nothing else can come into its place meanwhile unnoticed.
//!
//! An image alone is made by the folder's name, because programs are told where to write: what came in
//! between and has gone again is not seen then, and only what was whole under the name in `tmp` is put
//! in its place.

use std::sync::PoisonError;

use super::Inner;
use super::files::{self, Reflink};
use crate::drivers::DriverError;

impl Inner {
    /// The same with the folder that the name leads to now, seen to be the pool.
    pub(super) fn hold(&self) -> Result<Self, String> {
        let folder = self.folder.hold().map_err(|error| {
            self.forget_ready();
            format!("{}: {error}", self.folder.root.display())
        })?;
        let known = self.known.clone();
        let held = Self { folder, known };
        held.ensure()?;
        Ok(held)
    }

    /// Sees that what is held is the pool still, and lies where its name says.
    pub(super) fn see_held(&self) -> Result<(), String> {
        let same = self.folder.see_same();
        if same.is_err() {
            self.forget_ready();
        }
        same.and_then(|()| self.ensure().map(drop))
    }

    /// What is there the next time may be another disk.
    fn forget_ready(&self) {
        let mut ready = self
            .known
            .ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *ready = None;
    }

    /// Sees each time that the folder is the pool; sweeps and tries reflinks the first time.
    pub(super) fn ensure(&self) -> Result<Reflink, String> {
        let folder = &self.folder;
        let mut ready = self
            .known
            .ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let id = match folder.ready(self.known.remembered.id_of(&folder.pool)?) {
            Ok(id) => id,
            Err(fault) => {
                *ready = None;
                return Err(fault);
            }
        };
        self.known.remembered.remember(&folder.pool, id)?;
        if let Some(reflink) = *ready {
            return Ok(reflink);
        }
        folder.sweep().map_err(|error| error.to_string())?;
        let reflink = files::try_reflink(folder).map_err(|error| error.to_string())?;
        tracing::info!(pool = %folder.pool, ?reflink, "pool is ready");
        *ready = Some(reflink);
        Ok(reflink)
    }

    /// Whether clones share blocks in this pool, which was readied.
    pub(super) fn reflink(&self) -> Result<Reflink, DriverError> {
        let known = *self
            .known
            .ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.ok_or_else(|| self.unusable("it is no longer as it was".to_owned()))
    }
}
