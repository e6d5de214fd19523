//! The images in this machine's pools.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dc_agent_core::storage::{ImageProgress, ImageSeen};
use dc_types::plan::ImageItem;
use dc_types::{Bytes, Epoch, ImageUid, PoolName};
use serde::{Deserialize, Serialize};
use tokio::io::BufWriter;

use super::fetch::{FetchError, fetch, name_of};
use super::{Images, ImagesError, header, qemu_img};
use crate::volumes::folder::{FORMAT, PoolFolder, Temporary, sync_parent};
use crate::volumes::{RealVolumes, VolumesError, blocking};

/// The images of one process; clones share what they are at.
#[derive(Clone)]
pub struct RealImages {
    pools: RealVolumes,
    /// Where files are fetched from.
    images: PathBuf,
    progress: Arc<Mutex<BTreeMap<ImageUid, ImageProgress>>>,
}

/// The form of an image's record on disk.
#[derive(Serialize, Deserialize)]
struct RecordFile {
    #[serde(rename = "recordFormat")]
    record_format: u32,
    #[serde(flatten)]
    image: ImageSeen,
}

/// Removes an image's progress when the fetching ends, however it does.
struct Fetching<'a> {
    images: &'a RealImages,
    image: ImageUid,
}

impl Fetching<'_> {
    fn tell(&self, progress: ImageProgress) {
        self.images.progress().insert(self.image, progress);
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.images.progress().remove(&self.image);
    }
}

impl RealImages {
    /// `images` is the folder below which files are found.
    #[must_use]
    pub fn new(pools: RealVolumes, images: PathBuf) -> Self {
        Self {
            pools,
            images,
            progress: Arc::default(),
        }
    }

    fn progress(&self) -> MutexGuard<'_, BTreeMap<ImageUid, ImageProgress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the source to a file in the pool, and checks it. Gives the file and the disk's size.
    async fn fetch_checked(
        &self,
        folder: &PoolFolder,
        item: &ImageItem,
        fetching: &Fetching<'_>,
    ) -> Result<(Temporary, Bytes), ImagesError> {
        let source = folder.temporary("source");
        let told = |error| folder.io("fetching to", &source.path, error);
        let file = source.create().map_err(told)?;
        // A write of tokio's goes by way of another thread; fewer are faster.
        let mut to = BufWriter::with_capacity(1 << 20, tokio::fs::File::from_std(file));
        let first = fetch(item, &self.images, &mut to, &|at| fetching.tell(at)).await;
        let first = first.map_err(|error| match error {
            FetchError::Source(error) => error,
            FetchError::Write(error) => told(error).into(),
        })?;
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
        let size = qemu_img::read_info(&source.path, item.format).await?;
        within(size)?;
        Ok((source, size))
    }
}

/// Puts a converted image in its place: while its record is away it counts as not there.
fn place(
    folder: &PoolFolder,
    raw: Temporary,
    image: ImageUid,
    seen: ImageSeen,
) -> Result<(), VolumesError> {
    let (path, record) = (folder.image(image), folder.image_record(image));
    let told = |error| folder.io("putting in place", &path, error);
    let length = fs::metadata(&raw.path).map_err(told)?.len();
    if length != seen.virtual_size.0 {
        return Err(VolumesError::Record {
            path: raw.path.clone(),
            fault: format!(
                "it has {length} bytes after conversion, not {}",
                seen.virtual_size.0
            ),
        });
    }
    fs::File::open(&raw.path)
        .and_then(|file| file.sync_all())
        .map_err(told)?;
    remove_file(&record).map_err(told)?;
    raw.replace(&path).map_err(told)?;
    let file = RecordFile {
        record_format: FORMAT,
        image: seen,
    };
    let text = serde_json::to_vec(&file).expect("a record is always representable as JSON");
    folder.write(&record, &text)
}

fn remove_file(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| sync_parent(path)),
    }
}

fn list(folder: &PoolFolder) -> Result<BTreeMap<ImageUid, ImageSeen>, VolumesError> {
    let path = folder.root.join("images");
    let told = |error| folder.io("listing", &path, error);
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(&path).map_err(told)? {
        let name = entry.map_err(told)?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
        let Some(id) = id.and_then(|id| id.parse::<ImageUid>().ok()) else {
            continue;
        };
        // One whose record cannot be read is not there: it is fetched again.
        if let Some(image) = read_record(folder, id)
            && fs::metadata(folder.image(id)).is_ok_and(|m| m.len() == image.virtual_size.0)
        {
            seen.insert(id, image);
        }
    }
    Ok(seen)
}

fn read_record(folder: &PoolFolder, image: ImageUid) -> Option<ImageSeen> {
    let path = folder.image_record(image);
    let read = fs::read(&path).map_err(|error| error.to_string());
    let read = read.and_then(|text| {
        serde_json::from_slice::<RecordFile>(&text).map_err(|error| error.to_string())
    });
    match read {
        Ok(file) if file.record_format <= FORMAT => Some(file.image),
        Ok(file) => {
            let format = file.record_format;
            tracing::warn!(path = %path.display(), format, "an image of a newer agent");
            None
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), error, "an image's record cannot be read");
            None
        }
    }
}

#[async_trait]
impl Images for RealImages {
    async fn list_images(
        &self,
        pool: &PoolName,
    ) -> Result<BTreeMap<ImageUid, ImageSeen>, ImagesError> {
        let folder = self.pools.folder(pool)?;
        Ok(blocking(move || list(&folder)).await?)
    }

    async fn fetch_image(&self, item: &ImageItem, epoch: Epoch) -> Result<(), ImagesError> {
        let folder = self.pools.folder(&item.pool)?;
        let fetching = Fetching {
            images: self,
            image: item.image,
        };
        let (source, virtual_size) = self.fetch_checked(&folder, item, &fetching).await?;
        fetching.tell(ImageProgress::Converting);
        let raw = folder.temporary("image");
        let told = |error| folder.io("making", &raw.path, error);
        drop(raw.create().map_err(told)?);
        let converted = qemu_img::convert(&source.path, item.format, &raw.path).await;
        drop(source);
        converted.map_err(|error| match error {
            // It says so in words alone.
            ImagesError::QemuImg { why, .. } if why.contains("No space left on device") => {
                let error = io::Error::from(io::ErrorKind::StorageFull);
                folder.io("converting to", &raw.path, error).into()
            }
            other => other,
        })?;
        let seen = ImageSeen {
            sha256: item.sha256.clone(),
            format: item.format,
            virtual_size,
            epoch,
        };
        let image = item.image;
        Ok(blocking(move || place(&folder, raw, image, seen)).await?)
    }

    async fn remove_image(&self, pool: &PoolName, image: ImageUid) -> Result<(), ImagesError> {
        let folder = self.pools.folder(pool)?;
        let removed = blocking(move || {
            for path in [folder.image_record(image), folder.image(image)] {
                remove_file(&path).map_err(|error| folder.io("removing", &path, error))?;
            }
            Ok(())
        });
        let removed: Result<(), VolumesError> = removed.await;
        Ok(removed?)
    }

    fn read_progress(&self) -> BTreeMap<ImageUid, ImageProgress> {
        self.progress().clone()
    }
}
