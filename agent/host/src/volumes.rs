//! The pools of a storage host: folders of sparse raw files on a file system with reflinks.
//!
//! What always holds:
//! - A file under its final name is whole: it is made under a name of our own in `tmp`, made
//!   durable, then renamed. What a crash leaves in `tmp` is swept at the next start.
//! - Every name is made from an id, so that no text a person wrote ends in a path.
//! - A folder that is not our pool, or has lost what showed that it was, is not written to: the
//!   place where a disk was to be mounted looks just like an empty pool.
//! - Erased means read back: every block that held something reads as zero, and none is left.
//!
//! It does not decide what is made or erased, and knows nothing of targets.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use dc_agent_core::storage::{EraseMethod, Note, Removal, VolumeRecord, VolumeSeen};
use dc_types::plan::VolumeSource;
use dc_types::report::PoolFacts;
use dc_types::{Bytes, InstanceId, PoolName};
use thiserror::Error;

use crate::knobs::Injected;

pub(crate) mod bytes;
mod fake;
mod files;
pub(crate) mod folder;
mod real;
mod removal;
#[cfg(test)]
mod tests;

pub use fake::FakeVolumes;
pub use real::RealVolumes;
pub(crate) use real::blocking;

/// The files of volumes. Every call may be repeated.
#[async_trait]
pub trait Volumes: Send + Sync {
    /// What a pool has, or its fault. The first call of a process readies the folder: an empty one
    /// becomes the pool, and what a crash left behind is swept.
    async fn ensure_pool(&self, pool: &PoolName) -> PoolFacts;

    /// Everything a usable pool holds of volumes.
    async fn list_volumes(
        &self,
        pool: &PoolName,
    ) -> Result<BTreeMap<InstanceId, VolumeSeen>, VolumesError>;

    /// Makes the bytes of a volume, thin. One that has bytes already is left as it is.
    async fn create_volume(
        &self,
        pool: &PoolName,
        volume: InstanceId,
        size: Bytes,
        source: &VolumeSource,
    ) -> Result<(), VolumesError>;

    /// Makes a volume longer; one that is long enough is left as it is.
    async fn grow_volume(
        &self,
        pool: &PoolName,
        volume: InstanceId,
        size: Bytes,
    ) -> Result<(), VolumesError>;

    /// Writes something down beside a volume.
    async fn note_volume(
        &self,
        pool: &PoolName,
        volume: InstanceId,
        note: &Note,
    ) -> Result<(), VolumesError>;

    /// What is written down beside a volume.
    async fn read_record(
        &self,
        pool: &PoolName,
        volume: InstanceId,
    ) -> Result<Option<VolumeRecord>, VolumesError>;

    /// Moves the bytes out of use and notes where they lie.
    async fn retain_volume(&self, order: &Removal) -> Result<(), VolumesError>;

    /// Erases the bytes, reads them back, and notes it in the pool's log and beside the volume.
    async fn erase_volume(&self, order: &Removal, method: EraseMethod) -> Result<(), VolumesError>;
}

/// Why a pool's files could not be read or changed.
#[derive(Debug, Error)]
pub enum VolumesError {
    #[error("pool {pool} cannot be used: {fault}")]
    PoolUnusable { pool: PoolName, fault: String },
    #[error("pool {pool} is full, at {what}")]
    PoolFull { pool: PoolName, what: String },
    #[error("{source_name} is not in pool {pool}")]
    SourceMissing { pool: PoolName, source_name: String },
    #[error("{source_name} has {needs}, more than the {asked} asked for")]
    SizeBelowSource {
        source_name: String,
        needs: Bytes,
        asked: Bytes,
    },
    #[error("there is no record of volume {volume} in pool {pool}")]
    NoRecord { pool: PoolName, volume: InstanceId },
    #[error("{path}: {fault}")]
    Record { path: PathBuf, fault: String },
    #[error("{path} is not erased: it holds something at byte {at}")]
    NotErased { path: PathBuf, at: u64 },
    #[error("{what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Injected(#[from] Injected),
}

impl VolumesError {
    /// An I/O error under its path; a full file system is told as such.
    pub(crate) fn io(
        pool: &PoolName,
        what: &'static str,
        path: impl Into<PathBuf>,
        source: io::Error,
    ) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::PoolFull {
                pool: pool.clone(),
                what: format!("{what} {}", path.display()),
            },
            _ => Self::Io { what, path, source },
        }
    }
}
