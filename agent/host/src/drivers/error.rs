//! Why a driver did not do what it was asked, for all drivers alike.

use std::io;
use std::path::PathBuf;

use dc_types::{Bytes, Epoch, InstanceId, PoolName};
use thiserror::Error;

use crate::images::ImagesError;
use crate::knobs::Injected;
use crate::targets::TargetsError;

#[derive(Debug, Error)]
pub enum DriverError {
    #[error("pool {pool} cannot be used: {fault}")]
    PoolUnusable { pool: PoolName, fault: String },
    #[error("pool {pool} is full, at {what}")]
    PoolFull { pool: PoolName, what: String },
    #[error("{what} is not in pool {pool}")]
    NotThere { pool: PoolName, what: String },
    /// What a volume is to be made from.
    #[error("{source_name} is not in pool {pool}")]
    SourceMissing { pool: PoolName, source_name: String },
    #[error("{source_name} has {needs}, more than the {asked} asked for")]
    SizeBelowSource {
        source_name: String,
        needs: Bytes,
        asked: Bytes,
    },
    #[error("a volume of {asked} cannot be made: {why}")]
    SizeImpossible { asked: Bytes, why: String },
    #[error("{what} is in use by {by}")]
    InUse { what: String, by: String },
    #[error("there is no record of volume {volume} in pool {pool}")]
    NoRecord { pool: PoolName, volume: InstanceId },
    /// It is there and is not what it should be.
    #[error("{what}: {fault}")]
    Corrupt { what: String, fault: String },
    #[error("{what} is not erased: it holds something at byte {at}")]
    NotErased { what: String, at: u64 },
    /// The record beside the volume holds another epoch open, or none.
    #[error("epoch {asked} is not the one that is open, {highest}")]
    StaleEpoch { asked: Epoch, highest: Epoch },
    /// Writes are still in flight, or somebody has it open who cannot be cut off.
    #[error("{what} is not taken away after {waited_ms} ms: {why}")]
    FenceSlow {
        what: String,
        waited_ms: u128,
        why: String,
    },
    /// It is in the pool's facts too.
    #[error("pool {pool} cannot do this ({what}): {why}")]
    Unsupported {
        pool: PoolName,
        what: &'static str,
        why: String,
    },
    /// A program that a driver runs; never with a secret in `said`.
    #[error("{program} failed at {what}: {said}")]
    Tool {
        program: &'static str,
        what: String,
        said: String,
    },
    #[error("{what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Targets(#[from] TargetsError),
    #[error(transparent)]
    Image(#[from] ImagesError),
    #[error(transparent)]
    Injected(#[from] Injected),
}

impl DriverError {
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

    /// What a driver cannot do.
    pub(crate) fn unsupported(pool: &PoolName, what: &'static str, why: impl Into<String>) -> Self {
        Self::Unsupported {
            pool: pool.clone(),
            what,
            why: why.into(),
        }
    }
}
