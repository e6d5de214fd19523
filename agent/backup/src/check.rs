//! Whether a repository is sound. That every backup's trees and blobs are in the index, and the
//! packs there, is `rustic_core`'s to find out. The data is read here: its own reading takes for
//! granted that threads which it does not wait for have ended, and panics on a busy host.

use rustic_core::repofile::{IndexFile, IndexPack};
use rustic_core::{CheckOptions, CheckResults};

use crate::cipher::hash;
use crate::error::BackupError;
use crate::repository::{Access, Repository, ours, release};
use crate::store::{Kind, StoreError};

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Data is lost, or cannot be told from lost.
    Damage(String),
    /// What a run that was cut off leaves, and a prune clears away.
    Remark(String),
}

impl Repository {
    /// Checks that everything that a backup needs is there. With `read_data`, reads and decrypts
    /// every pack that an index names, one at a time, and compares each blob with its name.
    ///
    /// # Errors
    /// When the check itself could not be done.
    pub fn check(&self, access: Access, read_data: bool) -> Result<Vec<Finding>, BackupError> {
        const WHAT: &str = "the repository could not be checked";
        let lock = self.lock_to_read(access)?;
        let library = self.library()?;
        let CheckResults(results) = library.check(CheckOptions::default()).map_err(ours(WHAT))?;
        // The level is no part of the library's public names, so it is told by how it is written.
        let findings = results.into_iter().map(|(level, error)| {
            let said = error.to_string();
            match format!("{level:?}").as_str() {
                "Warn" => Finding::Remark(said),
                _ => Finding::Damage(said),
            }
        });
        let mut findings: Vec<_> = findings.collect();
        if read_data {
            for index in library.stream_files::<IndexFile>().map_err(ours(WHAT))? {
                let (_, index) = index.map_err(ours(WHAT))?;
                for pack in &index.packs {
                    findings.extend(self.check_pack(pack)?);
                }
            }
        }
        release(lock)?;
        Ok(findings)
    }

    fn check_pack(&self, pack: &IndexPack) -> Result<Option<Finding>, BackupError> {
        let id = pack.id.into_inner();
        let name = id.to_hex();
        let damage =
            |fault: &str| Some(Finding::Damage(format!("pack {}: {fault}", name.as_str())));
        let bytes = match self.store.read(Kind::Pack, id, None) {
            Err(StoreError::NotThere { .. }) => return Ok(damage("it is not there")),
            other => other?,
        };
        if hash(&bytes) != id {
            return Ok(damage("its content is not what it was written with"));
        }
        for blob in &pack.blobs {
            let (at, length) = (blob.location.offset, blob.location.length);
            let end = u64::from(at) + u64::from(length);
            let within = usize::try_from(at)
                .ok()
                .zip(usize::try_from(end).ok())
                .and_then(|(start, end)| bytes.get(start..end));
            let length = blob
                .location
                .uncompressed_length
                .map(std::num::NonZero::get);
            let opened = within.and_then(|bytes| self.cipher.unseal(bytes, length));
            if opened.is_none_or(|plain| hash(&plain) != blob.id.into_inner()) {
                return Ok(damage(&format!("blob {} is damaged", blob.id)));
            }
        }
        Ok(None)
    }
}
