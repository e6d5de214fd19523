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
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dc_agent_core::storage::ImageProgress;
use dc_types::plan::{ImageFormat, ImageItem};
use dc_types::{Bytes, ImageUid};
use thiserror::Error;
use tokio::io::BufWriter;

mod fetch;
mod header;
mod qemu_img;
#[cfg(test)]
mod tests;

pub use fetch::FetchError;
pub(crate) use fetch::name_of;

/// Fetches images for the drivers of a host, and knows how far each is.
#[derive(Debug)]
pub struct Fetcher {
    /// Where files are fetched from.
    images: PathBuf,
    progress: Mutex<BTreeMap<ImageUid, ImageProgress>>,
}

/// One image on its way; its progress goes when this is dropped, however it ends.
pub struct Fetching<'a> {
    fetcher: &'a Fetcher,
    image: ImageUid,
}

impl Fetcher {
    /// `images` is the folder below which files are found.
    #[must_use]
    pub fn new(images: PathBuf) -> Self {
        Self {
            images,
            progress: Mutex::default(),
        }
    }

    pub fn begin(&self, image: ImageUid) -> Fetching<'_> {
        Fetching {
            fetcher: self,
            image,
        }
    }

    #[must_use]
    pub fn read_progress(&self) -> BTreeMap<ImageUid, ImageProgress> {
        self.progress().clone()
    }

    fn progress(&self) -> MutexGuard<'_, BTreeMap<ImageUid, ImageProgress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetching<'_> {
    fn tell(&self, progress: ImageProgress) {
        self.fetcher.progress().insert(self.image, progress);
    }

    /// Reads the source to `file`, which is empty and lies at `path`, and checks it. Gives the size
    /// of the disk inside.
    pub async fn fetch(
        &self,
        item: &ImageItem,
        path: &Path,
        file: std::fs::File,
    ) -> Result<Bytes, FetchError> {
        // A write of tokio's goes by way of another thread; fewer are faster.
        let mut to = BufWriter::with_capacity(1 << 20, tokio::fs::File::from_std(file));
        let images = &self.fetcher.images;
        let first = fetch::fetch(item, images, &mut to, &|at| self.tell(at)).await?;
        drop(to);
        let limit = item.max_virtual;
        let within = |is: Bytes| match is <= limit {
            true => Ok(()),
            false => Err(ImagesError::DiskTooLarge {
                source_name: name_of(&item.source),
                is,
                limit,
            }),
        };
        if let Some(size) = header::check(&first, item.format)? {
            within(size)?;
        }
        let size = qemu_img::read_info(path, item.format).await?;
        within(size)?;
        Ok(size)
    }

    /// Writes the disk in `file` to `to` as a sparse raw file.
    pub async fn convert(
        &self,
        file: &Path,
        format: ImageFormat,
        to: &Path,
    ) -> Result<(), FetchError> {
        self.tell(ImageProgress::Converting);
        let converted = qemu_img::convert(file, format, to).await;
        converted.map_err(|error| match error {
            // It says so in words alone.
            ImagesError::QemuImg { why, .. } if why.contains("No space left on device") => {
                FetchError::Write(io::ErrorKind::StorageFull.into())
            }
            other => other.into(),
        })
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.fetcher.progress().remove(&self.image);
    }
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
}
