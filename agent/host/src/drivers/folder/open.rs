//! Files of a pool, opened to be read and written in pieces by several at a time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use dc_agent_core::storage::Extent;
use dc_types::{Bytes, PoolName};

use super::{blocking, bytes};
use crate::drivers::cutoff::effect;
use crate::drivers::turns::Writing;
use crate::drivers::{DriverError, ReadExtents, WriteExtents};

/// An open file; clones share it.
#[derive(Clone)]
pub struct OpenFile(Arc<Inner>);

struct Inner {
    pool: PoolName,
    path: PathBuf,
    file: File,
    size: u64,
}

/// One that may be written too. While it is there, its volume is granted to nobody.
pub struct OpenVolume {
    file: OpenFile,
    _writing: Writing,
}

impl OpenFile {
    pub fn new(pool: PoolName, path: PathBuf, file: File) -> Result<Self, DriverError> {
        let size = match file.metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) => return Err(DriverError::io(&pool, "looking at", path, error)),
        };
        Ok(Self(Arc::new(Inner {
            pool,
            path,
            file,
            size,
        })))
    }

    /// Works with the file on a thread for that, after checking that the extent lies within.
    async fn with<T: Send + 'static>(
        &self,
        what: &'static str,
        extent: Extent,
        work: impl FnOnce(&File) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, DriverError> {
        let inner = self.0.clone();
        blocking(move || {
            let within = match extent.end() <= inner.size {
                true => Ok(()),
                false => Err(std::io::Error::new(
                    std::io::ErrorKind::InvalidInput,
                    format!("{extent:?} lies beyond its {} bytes", inner.size),
                )),
            };
            within
                .and_then(|()| work(&inner.file))
                .map_err(|error| DriverError::io(&inner.pool, what, &inner.path, error))
        })
        .await
    }
}

impl OpenVolume {
    pub fn new(file: OpenFile, writing: Writing) -> Self {
        Self {
            file,
            _writing: writing,
        }
    }
}

#[async_trait]
impl ReadExtents for OpenFile {
    fn size(&self) -> Bytes {
        Bytes(self.0.size)
    }

    async fn read(&self, extent: Extent) -> Result<Vec<u8>, DriverError> {
        self.with("reading", extent, move |file| {
            let length = usize::try_from(extent.length).map_err(std::io::Error::other)?;
            let mut buffer = vec![0; length];
            file.read_exact_at(&mut buffer, extent.start)?;
            Ok(buffer)
        })
        .await
    }
}

#[async_trait]
impl ReadExtents for OpenVolume {
    fn size(&self) -> Bytes {
        self.file.size()
    }

    async fn read(&self, extent: Extent) -> Result<Vec<u8>, DriverError> {
        self.file.read(extent).await
    }
}

#[async_trait]
impl WriteExtents for OpenVolume {
    async fn write(&self, start: u64, bytes: Vec<u8>) -> Result<(), DriverError> {
        let extent = Extent::new(start, bytes.len() as u64);
        let written = self.file.with("writing", extent, move |file| {
            effect();
            file.write_all_at(&bytes, start)
        });
        written.await
    }

    async fn discard(&self, extent: Extent) -> Result<(), DriverError> {
        let discarded = self.file.with("discarding in", extent, move |file| {
            effect();
            bytes::punch(file, extent)
        });
        discarded.await
    }

    async fn flush(&self) -> Result<(), DriverError> {
        let flushed = self.file.with("flushing", Extent::new(0, 0), |file| {
            effect();
            file.sync_all()
        });
        flushed.await
    }
}
