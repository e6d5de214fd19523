//! Images that remember, in the pools of [`FakeVolumes`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dc_agent_core::storage::{ImageProgress, ImageSeen};
use dc_types::plan::{ImageItem, ImageSource};
use dc_types::{Bytes, Epoch, ImageUid, PoolName};

use super::fetch::name_of;
use super::{Images, ImagesError};
use crate::knobs::Knobs;
use crate::volumes::FakeVolumes;

/// The disk in every fake image, unless a test says otherwise.
const VIRTUAL_SIZE: Bytes = Bytes(256 << 20);

/// The images of a fake machine; clones share them.
#[derive(Clone)]
pub struct FakeImages {
    knobs: Knobs,
    pools: FakeVolumes,
    sizes: Arc<Mutex<BTreeMap<ImageUid, Bytes>>>,
    sums: Arc<Mutex<BTreeMap<String, String>>>,
}

impl FakeImages {
    #[must_use]
    pub fn new(knobs: Knobs, pools: FakeVolumes) -> Self {
        Self {
            knobs,
            pools,
            sizes: Arc::default(),
            sums: Arc::default(),
        }
    }

    /// The SHA-256 that will be found in an image file; any other source has the one asked for.
    pub fn set_sum(&self, file: &str, sha256: &str) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.insert(file.to_owned(), sha256.to_owned());
    }

    fn check_sum(&self, item: &ImageItem) -> Result<(), ImagesError> {
        let ImageSource::File(file) = &item.source else {
            return Ok(());
        };
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        match sums.get(file) {
            Some(is) if *is != item.sha256 => Err(ImagesError::ChecksumMismatch {
                source_name: name_of(&item.source),
                is: is.clone(),
                asked: item.sha256.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// The size of the disk that will be found in an image.
    pub fn set_virtual_size(&self, image: ImageUid, size: Bytes) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.insert(image, size);
    }

    fn virtual_size(&self, image: ImageUid) -> Bytes {
        let sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.get(&image).copied().unwrap_or(VIRTUAL_SIZE)
    }
}

#[async_trait]
impl Images for FakeImages {
    async fn list_images(
        &self,
        pool: &PoolName,
    ) -> Result<BTreeMap<ImageUid, ImageSeen>, ImagesError> {
        self.knobs.gate("images.list_images").await?;
        Ok(self.pools.with_images(pool, |images| images.clone())?)
    }

    async fn fetch_image(&self, item: &ImageItem, epoch: Epoch) -> Result<(), ImagesError> {
        self.knobs.gate("images.fetch_image").await?;
        self.check_sum(item)?;
        let virtual_size = self.virtual_size(item.image);
        if virtual_size > item.max_virtual {
            return Err(ImagesError::DiskTooLarge {
                source_name: format!("{:?}", item.source),
                is: virtual_size,
                limit: item.max_virtual,
            });
        }
        let seen = ImageSeen {
            sha256: item.sha256.clone(),
            format: item.format,
            virtual_size,
            epoch,
        };
        self.pools.with_images(&item.pool, |images| {
            images.insert(item.image, seen);
        })?;
        Ok(self.knobs.answer("images.fetch_image")?)
    }

    async fn remove_image(&self, pool: &PoolName, image: ImageUid) -> Result<(), ImagesError> {
        self.knobs.gate("images.remove_image").await?;
        self.pools.with_images(pool, |images| {
            images.remove(&image);
        })?;
        Ok(self.knobs.answer("images.remove_image")?)
    }

    fn read_progress(&self) -> BTreeMap<ImageUid, ImageProgress> {
        BTreeMap::new()
    }
}
