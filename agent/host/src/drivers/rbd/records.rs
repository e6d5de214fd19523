//! What is kept beside the images: records of volumes and images, the pool's own id, the log of
//! what was erased. They lie under keys of a few objects that only the agent's user may touch, and
//! outlive what they speak of; each is written whole, in one operation.

use std::collections::BTreeMap;

use dc_agent_core::storage::{ImageSeen, Note, Removal, VolumeRecord};
use dc_types::{ImageUid, InstanceId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::pool::Pool;
use crate::drivers::DriverError;

const VOLUMES: &str = "dc.volumes";
const IMAGES: &str = "dc.images";
const POOL: &str = "dc.pool";
const ERASED: &str = "dc.erased";

/// The key of the pool's id.
const ID: &str = "id";

/// The form of what is written. One that is newer is left alone.
const FORMAT: u32 = 1;

/// A volume's record as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct VolumeFile {
    #[serde(rename = "recordFormat")]
    format: u32,
    #[serde(flatten)]
    record: VolumeRecord,
}

#[derive(Serialize, Deserialize)]
struct ImageFile {
    #[serde(rename = "recordFormat")]
    format: u32,
    #[serde(flatten)]
    image: ImageSeen,
}

/// What is known beside the volumes; a record that cannot be read is told in its place.
#[derive(Debug, Default)]
pub struct Known {
    pub volumes: BTreeMap<InstanceId, Result<VolumeRecord, String>>,
    /// Keys that name no volume.
    pub foreign: Vec<String>,
}

pub async fn list_volumes(pool: &Pool) -> Result<Known, DriverError> {
    let listed = pool.cluster.list_records(VOLUMES).await;
    let mut known = Known::default();
    for (key, text) in listed.map_err(|error| pool.told(error))? {
        match key.parse::<InstanceId>() {
            Ok(volume) => {
                known.volumes.insert(volume, parse(&text));
            }
            Err(_) => known.foreign.push(key),
        }
    }
    Ok(known)
}

fn parse(text: &[u8]) -> Result<VolumeRecord, String> {
    let file: VolumeFile = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if file.format > FORMAT {
        return Err(format!("a newer agent wrote it, in form {}", file.format));
    }
    Ok(file.record)
}

pub async fn read(pool: &Pool, volume: InstanceId) -> Result<Option<VolumeRecord>, DriverError> {
    let found = pool.cluster.read_record(VOLUMES, &volume.to_string()).await;
    let found = found.map_err(|error| pool.told(error))?;
    let record = found.map(|text| parse(&text)).transpose();
    record.map_err(|fault| DriverError::Corrupt {
        what: format!("the record of volume {volume}"),
        fault,
    })
}

/// The record of a volume that has one.
pub async fn expect(pool: &Pool, volume: InstanceId) -> Result<VolumeRecord, DriverError> {
    let record = read(pool, volume).await?;
    record.ok_or_else(|| DriverError::NoRecord {
        pool: pool.name.clone(),
        volume,
    })
}

/// Writes something down beside a volume.
pub async fn note(pool: &Pool, volume: InstanceId, note: &Note) -> Result<(), DriverError> {
    let _held = pool.noting.lock().await;
    let before = read(pool, volume).await?;
    let record = VolumeRecord::with(before, note).ok_or_else(|| DriverError::NoRecord {
        pool: pool.name.clone(),
        volume,
    })?;
    let file = VolumeFile {
        format: FORMAT,
        record,
    };
    write(pool, VOLUMES, &volume.to_string(), &file).await
}

async fn write(
    pool: &Pool,
    object: &str,
    key: &str,
    value: &impl Serialize,
) -> Result<(), DriverError> {
    let text = serde_json::to_vec(value).expect("a record is always representable as JSON");
    match pool.cluster.write_record(object, key, &text).await {
        Ok(()) => Ok(()),
        Err(error) => Err(pool.told_after_writing("writing a record", error).await),
    }
}

/// Images by their records. One whose record cannot be read is not there: it is fetched again.
pub async fn list_images(pool: &Pool) -> Result<BTreeMap<ImageUid, ImageSeen>, DriverError> {
    let listed = pool.cluster.list_records(IMAGES).await;
    let listed = listed.map_err(|error| pool.told(error))?.into_iter();
    let read = listed.filter_map(|(key, text)| {
        let file: ImageFile = serde_json::from_slice(&text).ok()?;
        let known = file.format <= FORMAT;
        known.then_some((key.parse().ok()?, file.image))
    });
    Ok(read.collect())
}

pub async fn write_image(
    pool: &Pool,
    image: ImageUid,
    seen: &ImageSeen,
) -> Result<(), DriverError> {
    let file = ImageFile {
        format: FORMAT,
        image: seen.clone(),
    };
    write(pool, IMAGES, &image.to_string(), &file).await
}

pub async fn remove_image(pool: &Pool, image: ImageUid) -> Result<(), DriverError> {
    let key = image.to_string();
    let removed = pool.cluster.remove_record(IMAGES, &key).await;
    removed.map_err(|error| pool.told(error))
}

/// What the pool is known by.
pub async fn read_id(pool: &Pool) -> Result<Option<Uuid>, DriverError> {
    let found = pool.cluster.read_record(POOL, ID).await;
    let Some(text) = found.map_err(|error| pool.told(error))? else {
        return Ok(None);
    };
    match Uuid::try_parse_ascii(&text) {
        Ok(id) => Ok(Some(id)),
        Err(error) => Err(DriverError::Corrupt {
            what: format!("the id of pool {}", pool.name),
            fault: error.to_string(),
        }),
    }
}

pub async fn write_id(pool: &Pool, id: Uuid) -> Result<(), DriverError> {
    let text = id.to_string();
    let written = pool.cluster.write_record(POOL, ID, text.as_bytes()).await;
    written.map_err(|error| pool.told(error))
}

/// A line of the log of what was erased; told twice, it is one line.
pub async fn log_erased(
    pool: &Pool,
    order: &Removal,
    line: &serde_json::Value,
) -> Result<(), DriverError> {
    let key = format!("{}.{}", order.volume, order.epoch);
    write(pool, ERASED, &key, line).await
}
