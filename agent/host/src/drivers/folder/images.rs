//! Images in a pool's folder: a raw file, and beside it what it was made from.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use dc_agent_core::storage::ImageSeen;
use dc_types::plan::ImageItem;
use dc_types::{Epoch, ImageUid};
use serde::{Deserialize, Serialize};

use super::blocking;
use super::layout::{FORMAT, PoolFolder, Temporary, remove_file};
use crate::drivers::DriverError;
use crate::drivers::cutoff::effect;
use crate::images::{FetchError, Fetcher, ImagesError};

/// The form of an image's record on disk.
#[derive(Serialize, Deserialize)]
struct RecordFile {
    #[serde(rename = "recordFormat")]
    record_format: u32,
    #[serde(flatten)]
    image: ImageSeen,
}

pub async fn fetch(
    folder: &PoolFolder,
    fetcher: &Fetcher,
    item: &ImageItem,
    epoch: Epoch,
) -> Result<(), DriverError> {
    let fetching = fetcher.begin(item.image);
    let source = folder.temporary("source");
    let file = source
        .create()
        .map_err(|error| folder.io("making", &source.path, error))?;
    effect();
    let fetched = fetching.fetch(item, &source.path, file).await;
    let virtual_size = fetched.map_err(|error| refused(folder, &source, "fetching to", error))?;
    let raw = folder.temporary("image");
    drop(
        raw.create()
            .map_err(|error| folder.io("making", &raw.path, error))?,
    );
    effect();
    let converted = fetching.convert(&source.path, item.format, &raw.path).await;
    drop(source);
    converted.map_err(|error| refused(folder, &raw, "converting to", error))?;
    let seen = ImageSeen {
        sha256: item.sha256.clone(),
        format: item.format,
        virtual_size,
        epoch,
    };
    let (folder, image) = (folder.clone(), item.image);
    blocking(move || place(&folder, raw, image, seen)).await
}

fn refused(
    folder: &PoolFolder,
    to: &Temporary,
    what: &'static str,
    error: FetchError,
) -> DriverError {
    match error {
        FetchError::Source(error) => error.into(),
        FetchError::Write(error) => folder.io(what, &to.path, error),
    }
}

/// Puts a converted image in its place: while its record is away it counts as not there.
fn place(
    folder: &PoolFolder,
    raw: Temporary,
    image: ImageUid,
    seen: ImageSeen,
) -> Result<(), DriverError> {
    let (path, record) = (folder.image(image), folder.image_record(image));
    let told = |error| folder.io("putting in place", &path, error);
    let length = fs::metadata(&raw.path).map_err(told)?.len();
    if length != seen.virtual_size.0 {
        return Err(ImagesError::QemuImg {
            what: "convert",
            why: format!("it made {length} bytes of {}", seen.virtual_size.0),
        }
        .into());
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

pub fn list(folder: &PoolFolder) -> Result<BTreeMap<ImageUid, ImageSeen>, DriverError> {
    let path = folder.root.join("images");
    let mut seen = BTreeMap::new();
    for id in super::files::names_in::<ImageUid>(folder, &path, ".json")?.ours {
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
    let read = match fs::read(&path) {
        // It goes away while we look.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        read => read.map_err(|error| error.to_string()),
    };
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

pub fn remove(folder: &PoolFolder, image: ImageUid) -> Result<(), DriverError> {
    for path in [folder.image_record(image), folder.image(image)] {
        remove_file(&path).map_err(|error| folder.io("removing", &path, error))?;
    }
    Ok(())
}
