//! A run as seen from outside: to stop it, and to see how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::BackupError;

/// Given to one run; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_stopped: AtomicBool,
    done: AtomicU64,
    of: AtomicU64,
}

impl Control {
    /// The run ends soon, with [`BackupError::Stopped`] unless it was about to end anyway.
    pub fn stop(&self) {
        self.0.is_stopped.store(true, Ordering::SeqCst);
    }

    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped.load(Ordering::SeqCst)
    }

    /// Bytes read of the volumes, or written to one, and how many it will be; `None` before that is
    /// known.
    #[must_use]
    pub fn progress(&self) -> Option<(u64, u64)> {
        let of = self.0.of.load(Ordering::SeqCst);
        (of > 0).then(|| (self.0.done.load(Ordering::SeqCst).min(of), of))
    }

    pub(crate) fn check(&self) -> Result<(), BackupError> {
        match self.is_stopped() {
            true => Err(BackupError::Stopped),
            false => Ok(()),
        }
    }

    /// Nothing is done yet of so many bytes.
    pub(crate) fn expect(&self, of: u64) {
        self.0.done.store(0, Ordering::SeqCst);
        self.0.of.store(of, Ordering::SeqCst);
    }

    pub(crate) fn advance(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::SeqCst);
    }
}
