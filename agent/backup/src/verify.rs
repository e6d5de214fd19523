//! Whether a volume holds what a backup says that it held.

use rustic_core::repofile::SnapshotId;
use sha2::{Digest, Sha256};

use crate::blocks::BLOCK;
use crate::cipher::hash;
use crate::control::Control;
use crate::error::BackupError;
use crate::repository::{Access, Repository, release};
use crate::source::Source;

impl Repository {
    /// Reads a volume back and compares each block with the name that the backup has for it, which
    /// is its SHA-256. Gives the SHA-256 of all that was read, which is as long as the backup's
    /// file: `restic dump <backup> <file> | sha256sum` says the same.
    ///
    /// # Errors
    /// [`BackupError::Differs`] with the place, [`BackupError::Source`] when the volume cannot be
    /// read, [`BackupError::Corrupt`] when the block of zeros is damaged, which is never read to be
    /// written.
    pub fn verify_volume(
        &self,
        access: Access,
        backup: SnapshotId,
        file: &str,
        volume: &dyn Source,
        control: &Control,
    ) -> Result<[u8; 32], BackupError> {
        let lock = self.lock_to_read(access)?;
        let library = self.index_to_read()?;
        let parts = library.parts(backup, file)?;
        let end = parts.last().map_or(0, |(_, extent)| extent.end());
        if volume.size() < end {
            return Err(BackupError::Differs {
                file: file.to_owned(),
                at: volume.size(),
            });
        }
        control.expect(end);
        // Most of a thin volume; a comparison is far cheaper than a digest.
        let zeros = vec![0; usize::try_from(BLOCK).unwrap_or_default()];
        let zero = hash(&zeros);
        // All other blobs were read to be written. Who restores with restic needs this one as well.
        if parts.iter().any(|(id, _)| *id == zero) {
            library.blob(zero)?;
        }
        let (mut all, mut block) = (Sha256::new(), Vec::new());
        for (id, extent) in parts {
            control.check()?;
            block.resize(usize::try_from(extent.length).unwrap_or_default(), 0);
            let read = volume.read_at(extent.start, &mut block);
            read.map_err(|source| BackupError::Source {
                volume: file.to_owned(),
                at: extent.start,
                source,
            })?;
            let same = (id == zero && block == zeros) || hash(&block) == id;
            if !same {
                return Err(BackupError::Differs {
                    file: file.to_owned(),
                    at: extent.start,
                });
            }
            all.update(&block);
            control.advance(extent.length);
        }
        release(lock)?;
        Ok(all.finalize().into())
    }
}
