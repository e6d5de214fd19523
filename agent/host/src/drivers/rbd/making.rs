//! How a volume's image comes to be.
//!
//! ```text
//! making-ID: removed if it is there ── created or cloned ── grown ── its option set ── renamed ID
//! ```
//! What is cut off is begun again from nothing. A clone shares what it was made from: it is a
//! matter of moments whatever its size. One that is made from another department's volume gets its
//! own copy at once, for its user could else read that department's blocks.

use dc_agent_core::storage::file_size;
use dc_types::plan::VolumeSource;
use dc_types::{Bytes, InstanceId};

use super::pool::Pool;
use super::{names, records};
use crate::drivers::DriverError;
use crate::rbd::{ImageName, RbdError, Shrink};

/// A client that finds the lock of a dead one takes it over after half a minute. It would also put
/// the dead one on the blocklist, which users of grants may not; it need not be, since whoever may
/// be alive was fenced with the older grant.
const BREAK_LOCK_ALONE: (&str, &str) = ("rbd_blocklist_on_break_lock", "false");

/// What a clone is made of.
struct Source {
    image: ImageName,
    snapshot: String,
    size: Bytes,
}

pub async fn create(
    pool: &Pool,
    volume: InstanceId,
    size: Bytes,
    source: &VolumeSource,
) -> Result<(), DriverError> {
    let owner = records::expect(pool, volume).await?.owner;
    let image = names::volume(volume);
    if pool.read_image(&image).await?.is_none() {
        make(pool, volume, &owner.namespace, file_size(size), source).await?;
    }
    forget_moment(pool, volume, source).await
}

async fn make(
    pool: &Pool,
    volume: InstanceId,
    department: &str,
    size: Bytes,
    source: &VolumeSource,
) -> Result<(), DriverError> {
    let told = |error| pool.told(error);
    pool.see_room(&format!("making volume {volume}")).await?;
    let making = names::making(volume);
    pool.remove_image(&making).await.map_err(told)?;
    match find_source(pool, volume, source).await? {
        None => pool.rbd.create_image(&making, size).await.map_err(told)?,
        Some(from) => {
            clone(pool, &from, &making, size).await?;
            if !shares(pool, source, department).await? {
                pool.rbd.flatten_image(&making).await.map_err(told)?;
            }
        }
    }
    let (key, value) = BREAK_LOCK_ALONE;
    let set = pool.rbd.set_option(&making, key, value).await;
    set.map_err(told)?;
    let name = names::volume(volume).name;
    match pool.rbd.rename_image(&making, &name).await {
        // Somebody else made it meanwhile.
        Err(error) if error.is_there() => Ok(()),
        other => other.map_err(told),
    }
}

async fn clone(
    pool: &Pool,
    source: &Source,
    making: &ImageName,
    size: Bytes,
) -> Result<(), DriverError> {
    let told = |error| pool.told(error);
    let Source {
        image,
        snapshot,
        size: needs,
    } = source;
    if *needs > size {
        return Err(DriverError::SizeBelowSource {
            source_name: format!("{image}@{snapshot}"),
            needs: *needs,
            asked: size,
        });
    }
    match pool.rbd.clone_image(image, snapshot, making).await {
        // It has gone since it was seen.
        Err(error) if error.is_missing() => {
            return Err(DriverError::SourceMissing {
                pool: pool.name.clone(),
                source_name: format!("{image}@{snapshot}"),
            });
        }
        other => other.map_err(told)?,
    }
    if *needs < size {
        let grown = pool.rbd.resize_image(making, size, Shrink::Refused);
        grown.await.map_err(told)?;
    }
    Ok(())
}

/// Whether what a volume is made from may be read by whoever opens the volume.
async fn shares(pool: &Pool, source: &VolumeSource, department: &str) -> Result<bool, DriverError> {
    match source {
        VolumeSource::Blank | VolumeSource::Image(_) => Ok(true),
        VolumeSource::Volume(volume) | VolumeSource::Snapshot { volume, .. } => {
            let record = records::read(pool, *volume).await?;
            Ok(record.is_some_and(|record| record.owner.namespace == department))
        }
    }
}

/// The snapshot that a volume is to be cloned from; none for an empty one.
async fn find_source(
    pool: &Pool,
    made: InstanceId,
    source: &VolumeSource,
) -> Result<Option<Source>, DriverError> {
    let (shown, found) = match source {
        VolumeSource::Blank => return Ok(None),
        VolumeSource::Image(image) => {
            let known = records::list_images(pool).await?.contains_key(image);
            let found = match known {
                true => find_snapshot(pool, names::image(*image), names::BASE).await?,
                false => None,
            };
            (format!("image {image}"), found)
        }
        VolumeSource::Snapshot { volume, snapshot } => {
            let image = names::volume(*volume);
            let found = find_snapshot(pool, image, &snapshot.to_string()).await?;
            (format!("snapshot {snapshot} of volume {volume}"), found)
        }
        VolumeSource::Volume(volume) => {
            let found = take_moment(pool, names::volume(*volume), made).await?;
            (format!("volume {volume}"), found)
        }
    };
    match found {
        Some(source) => Ok(Some(source)),
        None => Err(DriverError::SourceMissing {
            pool: pool.name.clone(),
            source_name: shown,
        }),
    }
}

async fn find_snapshot(
    pool: &Pool,
    image: ImageName,
    snapshot: &str,
) -> Result<Option<Source>, DriverError> {
    let listed = match pool.rbd.list_snapshots(&image).await {
        Err(error) if error.is_missing() => return Ok(None),
        other => other.map_err(|error| pool.told(error))?,
    };
    let found = listed.into_iter().find(|one| one.name == snapshot);
    Ok(found.map(|found| Source {
        image,
        snapshot: found.name,
        size: found.size,
    }))
}

/// Takes a snapshot of a volume for a clone of it as it stands now: one that an earlier try took
/// is of an earlier moment.
async fn take_moment(
    pool: &Pool,
    image: ImageName,
    made: InstanceId,
) -> Result<Option<Source>, DriverError> {
    if pool.read_image(&image).await?.is_none() {
        return Ok(None);
    }
    let snapshot = names::clone_of(made);
    let renewed = async {
        pool.rbd.remove_snapshot(&image, &snapshot).await?;
        pool.rbd.create_snapshot(&image, &snapshot).await
    };
    match renewed.await {
        // It has gone since it was seen.
        Err(error) if RbdError::is_missing(&error) => return Ok(None),
        other => other.map_err(|error| pool.told(error))?,
    }
    find_snapshot(pool, image, &snapshot).await
}

/// The clone keeps what it shares; the snapshot loses its name.
async fn forget_moment(
    pool: &Pool,
    made: InstanceId,
    source: &VolumeSource,
) -> Result<(), DriverError> {
    let VolumeSource::Volume(source) = source else {
        return Ok(());
    };
    let image = names::volume(*source);
    let removed = pool
        .rbd
        .remove_snapshot(&image, &names::clone_of(made))
        .await;
    removed.map_err(|error| pool.told(error))
}
