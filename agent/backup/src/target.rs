//! From a backup straight into a volume.

use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use dc_agent_core::storage::Extent;
use rustic_core::Id;
use rustic_core::repofile::SnapshotId;

use crate::archive::pace::Pace;
use crate::blocks::BLOCK;
use crate::cipher::hash;
use crate::control::Control;
use crate::error::BackupError;
use crate::repository::{Access, Repository, release};

/// A volume to be written, by several threads where they do not overlap.
pub trait Target: Send + Sync {
    /// In bytes.
    fn size(&self) -> u64;

    /// # Errors
    /// When not all of it is written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes an extent read as zero, and gives its blocks back if that can be.
    ///
    /// # Errors
    /// When it may read otherwise.
    fn zero(&self, extent: Extent) -> io::Result<()>;

    /// Makes durable what was written.
    ///
    /// # Errors
    /// When it may not be.
    fn flush(&self) -> io::Result<()>;
}

/// How a volume is written.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// How many blobs are held at a time.
    pub writers: usize,
    /// How much of the volume is done in a second, zeros included; as fast as it goes when absent.
    pub bytes_per_second: Option<NonZeroU64>,
}

impl Writing {
    #[must_use]
    pub fn with(writers: usize) -> Self {
        Self {
            writers,
            bytes_per_second: None,
        }
    }
}

/// A blob and the extent of the file that it is.
type Part = (Id, Extent);

impl Repository {
    /// Writes a file of a backup over a volume, from its first byte on; what lies beyond the file
    /// reads as zero then. Each blob is compared with its name before it is written. Gives the file's
    /// length.
    ///
    /// # Errors
    /// When the volume is too small, a blob is missing or damaged, or the volume cannot be written.
    /// It holds a part of the backup then, and is whole when it is repeated.
    pub fn restore_volume(
        &self,
        access: Access,
        backup: SnapshotId,
        file: &str,
        target: &dyn Target,
        how: Writing,
        control: &Control,
    ) -> Result<u64, BackupError> {
        let lock = self.lock_to_read(access)?;
        let library = self.index_to_read()?;
        let parts = library.parts(backup, file)?;
        let end = parts.last().map_or(0, |(_, extent)| extent.end());
        let rest = target.size().checked_sub(end);
        let rest = rest.ok_or_else(|| BackupError::Impossible {
            what: format!("{file} of {end} bytes, onto a volume of {},", target.size()),
            why: "the volume is too small".to_owned(),
        })?;
        control.expect(end);
        let zero = hash(&vec![0; usize::try_from(BLOCK).unwrap_or_default()]);
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let pace = Pace::new(how.bytes_per_second);
        let failed_yet = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let write = || {
            while failed_yet().is_none()
                && let Some((id, extent)) = parts.get(next.fetch_add(1, Ordering::SeqCst))
            {
                let turn = pace
                    .wait(extent.length, control)
                    .and_then(|()| control.check());
                if let Err(stopped) = turn {
                    failed_yet().get_or_insert(stopped);
                    return;
                }
                let written = match *id == zero {
                    true => target.zero(*extent),
                    false => match library.blob(*id) {
                        Ok(bytes) => target.write_at(extent.start, &bytes),
                        Err(error) => {
                            failed_yet().get_or_insert(error);
                            return;
                        }
                    },
                };
                if let Err(source) = written {
                    failed_yet().get_or_insert(unwritten(file, extent.start, source));
                }
                control.advance(extent.length);
            }
        };
        thread::scope(|scope| {
            for _ in 0..how.writers.max(1) {
                scope.spawn(write);
            }
        });
        if let Some(error) = failed_yet().take() {
            return Err(error);
        }
        let finish = || {
            if rest > 0 {
                target.zero(Extent::new(end, rest))?;
            }
            target.flush()
        };
        finish().map_err(|source| unwritten(file, end, source))?;
        release(lock)?;
        Ok(end)
    }
}

fn unwritten(file: &str, at: u64, source: io::Error) -> BackupError {
    BackupError::Target {
        volume: file.to_owned(),
        at,
        source,
    }
}

impl crate::repository::Reader {
    pub(crate) fn parts(&self, backup: SnapshotId, file: &str) -> Result<Vec<Part>, BackupError> {
        let mut start = 0;
        let blobs = self.blobs(backup, file)?.into_iter();
        Ok(blobs
            .map(|(id, length)| {
                let extent = Extent::new(start, length);
                start = extent.end();
                (id, extent)
            })
            .collect())
    }
}
