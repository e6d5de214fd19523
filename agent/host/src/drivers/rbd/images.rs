//! Images that volumes are cloned from: fetched and converted on this host, then put into the pool
//! once.
//!
//! ```text
//! fetched, converted ── making-ID ── its snapshot taken ── the older one put aside ── renamed ID
//!                                                                    ── its record written
//! ```
//! While its record is away it counts as not there. One that is removed while it has clones stays
//! in the pool's trash, and goes from there when it has none.

use std::path::{Path, PathBuf};

use dc_agent_core::storage::ImageSeen;
use dc_types::plan::ImageItem;
use dc_types::{Bytes, Epoch, ImageUid};
use uuid::Uuid;

use super::pool::Pool;
use super::{names, records};
use crate::drivers::DriverError;
use crate::images::{FetchError, Fetcher, ImagesError};
use crate::rbd::{ImageName, RbdError};

/// A file of this host that is gone when this is dropped.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(folder: &Path, what: &str) -> Self {
        let path = folder.join(format!("{what}-{}", Uuid::new_v4()));
        Self { path }
    }

    fn create(&self, pool: &Pool) -> Result<std::fs::File, DriverError> {
        use std::os::unix::fs::OpenOptionsExt;
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path);
        made.map_err(|error| DriverError::io(&pool.name, "making", &self.path, error))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Empties the folder that images are converted in: what is in it, a former process left.
pub fn sweep_scratch(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        std::fs::remove_file(entry?.path())?;
    }
    Ok(())
}

pub async fn fetch(
    pool: &Pool,
    scratch: &Path,
    fetcher: &Fetcher,
    item: &ImageItem,
    epoch: Epoch,
) -> Result<(), DriverError> {
    pool.see_room(&format!("fetching image {}", item.image))
        .await?;
    let fetching = fetcher.begin(item.image);
    let source = Scratch::new(scratch, "source");
    let file = source.create(pool)?;
    let fetched = fetching.fetch(item, &source.path, file).await;
    let virtual_size = fetched.map_err(|error| refused(pool, &source, "fetching to", error))?;
    let raw = Scratch::new(scratch, "image");
    drop(raw.create(pool)?);
    let converted = fetching.convert(&source.path, item.format, &raw.path).await;
    drop(source);
    converted.map_err(|error| refused(pool, &raw, "converting to", error))?;
    place(pool, &raw.path, item.image, virtual_size).await?;
    let seen = ImageSeen {
        sha256: item.sha256.clone(),
        format: item.format,
        virtual_size,
        epoch,
    };
    records::write_image(pool, item.image, &seen).await
}

fn refused(pool: &Pool, to: &Scratch, what: &'static str, error: FetchError) -> DriverError {
    match error {
        FetchError::Source(error) => error.into(),
        FetchError::Write(error) => DriverError::io(&pool.name, what, &to.path, error),
    }
}

async fn place(pool: &Pool, raw: &Path, image: ImageUid, size: Bytes) -> Result<(), DriverError> {
    let told = |error| pool.told(error);
    let making = names::making_image(image);
    put_aside(pool, &making).await?;
    let imported = pool.rbd.import_image(raw, &making).await;
    if let Err(error) = imported {
        return Err(pool.told_after_writing("putting an image in", error).await);
    }
    let made = pool.expect_image(&making).await?;
    if made.size != size {
        return Err(ImagesError::QemuImg {
            what: "convert",
            why: format!("it made {} of {size}", made.size),
        }
        .into());
    }
    let taken = pool.rbd.create_snapshot(&making, names::BASE).await;
    taken.map_err(told)?;
    remove(pool, image).await?;
    let name = names::image(image).name;
    let renamed = pool.rbd.rename_image(&making, &name).await;
    renamed.map_err(told)
}

pub async fn remove(pool: &Pool, image: ImageUid) -> Result<(), DriverError> {
    records::remove_image(pool, image).await?;
    put_aside(pool, &names::image(image)).await
}

/// Removes an image, or leaves it to its clones.
async fn put_aside(pool: &Pool, image: &ImageName) -> Result<(), DriverError> {
    let told = |error| pool.told(error);
    if pool.read_image(image).await?.is_none() {
        return Ok(());
    }
    let removed = async {
        pool.rbd.remove_snapshot(image, names::BASE).await?;
        pool.rbd.remove_image(image).await
    };
    match removed.await {
        Err(error) if error.has_clones() || error.is_busy() => {
            pool.rbd.trash_image(image).await.map_err(told)
        }
        other => other.map_err(told),
    }
}

/// Removes from the trash what has no clones any more.
pub async fn empty_trash(pool: &Pool) -> Result<(), DriverError> {
    for trashed in pool
        .rbd
        .list_trash(names::IMAGES)
        .await
        .map_err(|error| pool.told(error))?
    {
        match pool.rbd.remove_trashed(names::IMAGES, &trashed.id).await {
            Ok(()) => {}
            Err(error) if still_needed(&error) => {}
            Err(error) => return Err(pool.told(error)),
        }
    }
    Ok(())
}

fn still_needed(error: &RbdError) -> bool {
    error.has_clones() || error.is_busy()
}
