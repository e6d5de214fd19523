//! Images: fetched from a file or an address, checked, converted to raw once, kept in a pool.
//!
//! What always holds:
//! - An image in a pool is whole and has the checksum that was asked for. It is read once, with
//!   limits on its size while it is read; nothing is opened by its own word.
//! - A file inside that asks for another file of this host (a backing file, an external data
//!   file) is refused by our own reading of its header, before qemu-img sees it; what qemu-img
//!   says is then checked too. qemu-img is always told the format, and runs with limits of
//!   memory, time and environment.
//!
//! It knows nothing of who may use an image, and nothing of volumes.

use std::collections::BTreeMap;
use std::io;

use async_trait::async_trait;
use dc_agent_core::storage::{ImageProgress, ImageSeen};
use dc_types::plan::ImageItem;
use dc_types::{Bytes, Epoch, ImageUid, PoolName};
use thiserror::Error;

use crate::knobs::Injected;
use crate::volumes::VolumesError;

mod fake;
mod fetch;
mod header;
mod qemu_img;
mod real;
#[cfg(test)]
mod tests;

pub use fake::FakeImages;
pub use real::RealImages;

/// The images of pools. Every call may be repeated.
#[async_trait]
pub trait Images: Send + Sync {
    async fn list_images(
        &self,
        pool: &PoolName,
    ) -> Result<BTreeMap<ImageUid, ImageSeen>, ImagesError>;

    /// Fetches, checks and converts an image, and puts it in the place of the one that is there.
    async fn fetch_image(&self, item: &ImageItem, epoch: Epoch) -> Result<(), ImagesError>;

    /// Removes an image. Volumes that were cloned from it keep their bytes.
    async fn remove_image(&self, pool: &PoolName, image: ImageUid) -> Result<(), ImagesError>;

    /// How far those are that are being fetched.
    fn read_progress(&self) -> BTreeMap<ImageUid, ImageProgress>;
}

/// Why there is no image.
#[derive(Debug, Error)]
pub enum ImagesError {
    #[error("{source_name} cannot be read: {why}")]
    Unreadable { source_name: String, why: String },
    #[error("{source_name} has more than the {limit} that are allowed")]
    TooLarge { source_name: String, limit: Bytes },
    #[error("the disk in {source_name} has {is}, and {limit} are allowed")]
    DiskTooLarge {
        source_name: String,
        is: Bytes,
        limit: Bytes,
    },
    #[error("{source_name} has the SHA-256 {is}, and {asked} is asked")]
    ChecksumMismatch {
        source_name: String,
        is: String,
        asked: String,
    },
    #[error("the image needs another file: {0}")]
    NeedsAnotherFile(String),
    #[error("the image is encrypted")]
    Encrypted,
    #[error("{0}")]
    FormatMismatch(String),
    #[error("qemu-img {what}: {why}")]
    QemuImg { what: &'static str, why: String },
    #[error("qemu-img cannot be started")]
    NoQemuImg(#[source] io::Error),
    #[error(transparent)]
    Pool(#[from] VolumesError),
    #[error(transparent)]
    Injected(#[from] Injected),
}
