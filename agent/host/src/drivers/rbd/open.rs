//! Images and snapshots opened to be read and written in pieces by several at a time.

use std::sync::Arc;

use async_trait::async_trait;
use dc_agent_core::storage::Extent;
use dc_types::Bytes;

use super::pool::Pool;
use crate::drivers::cutoff::effect;
use crate::drivers::turns::Writing;
use crate::drivers::{DriverError, ReadExtents, WriteExtents};
use crate::rbd::{Blocks, ImageName, Opening};

pub struct OpenImage {
    pool: Arc<Pool>,
    shown: String,
    blocks: Arc<dyn Blocks>,
}

/// One that may be written too. While it is there, its volume is granted to nobody.
pub struct OpenVolume {
    image: OpenImage,
    _writing: Writing,
}

impl OpenImage {
    pub async fn open(
        pool: &Arc<Pool>,
        image: &ImageName,
        opening: Opening<'_>,
    ) -> Result<Self, DriverError> {
        // In a full pool it would wait until it gave up.
        pool.see_room(&format!("opening image {image}")).await?;
        let opened = pool.blocks.open(image, opening).await;
        Ok(Self {
            blocks: opened.map_err(|error| pool.told(error))?,
            pool: pool.clone(),
            shown: image.to_string(),
        })
    }

    /// The length of an extent that lies within.
    fn see_within(&self, extent: Extent) -> Result<u32, DriverError> {
        let size = self.blocks.size().0;
        let length = u32::try_from(extent.length).ok();
        let length = length.filter(|_| extent.end() <= size);
        length.ok_or_else(|| DriverError::Io {
            what: "reaching into",
            path: self.shown.clone().into(),
            source: std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                format!("{extent:?} lies beyond its {size} bytes, or is too long for one request"),
            ),
        })
    }
}

impl OpenVolume {
    pub fn new(image: OpenImage, writing: Writing) -> Self {
        Self {
            image,
            _writing: writing,
        }
    }
}

#[async_trait]
impl ReadExtents for OpenImage {
    fn size(&self) -> Bytes {
        self.blocks.size()
    }

    async fn read(&self, extent: Extent) -> Result<Vec<u8>, DriverError> {
        let length = self.see_within(extent)?;
        if length == 0 {
            return Ok(Vec::new());
        }
        let read = self.blocks.read(extent.start, length).await;
        read.map_err(|error| self.pool.told(error))
    }
}

#[async_trait]
impl ReadExtents for OpenVolume {
    fn size(&self) -> Bytes {
        self.image.size()
    }

    async fn read(&self, extent: Extent) -> Result<Vec<u8>, DriverError> {
        self.image.read(extent).await
    }
}

#[async_trait]
impl WriteExtents for OpenVolume {
    async fn write(&self, start: u64, bytes: Vec<u8>) -> Result<(), DriverError> {
        let image = &self.image;
        image.see_within(Extent::new(start, bytes.len() as u64))?;
        effect();
        match image.blocks.write(start, &bytes).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let what = format!("writing to {}", image.shown);
                Err(image.pool.told_after_writing(&what, error).await)
            }
        }
    }

    async fn discard(&self, extent: Extent) -> Result<(), DriverError> {
        let image = &self.image;
        image.see_within(Extent::new(extent.end(), 0))?;
        effect();
        // A request has 32 bits of length.
        for piece in dc_agent_core::storage::pieces(&[extent], 1 << 30) {
            let length = image.see_within(piece)?;
            let discarded = image.blocks.discard(piece.start, length).await;
            discarded.map_err(|error| image.pool.told(error))?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), DriverError> {
        effect();
        let flushed = self.image.blocks.flush().await;
        flushed.map_err(|error| self.image.pool.told(error))
    }
}
