//! Everything that a pool holds: what is known beside the volumes, put together with the images
//! that are there.

use std::collections::{BTreeMap, BTreeSet};

use dc_agent_core::storage::{
    Contents, ImageSeen, SnapshotSeen, VolumeBytes, VolumeRecord, VolumeSeen,
};
use dc_types::report::{Orphan, OrphanKind};
use dc_types::{Bytes, ImageUid, InstanceId, SnapshotId};
use futures::{StreamExt, TryStreamExt};

use super::names::{self, Meaning, Moment};
use super::pool::Pool;
use super::records;
use crate::drivers::DriverError;
use crate::rbd::{ImageName, Usage};

/// Namespaces looked at at once: each is a program that opens all its images.
const AT_ONCE: usize = 4;

/// An image that is there, with its snapshots.
#[derive(Clone, Debug)]
struct Found {
    name: ImageName,
    size: Bytes,
    /// With its snapshots'.
    used: Bytes,
    snapshots: BTreeMap<String, Bytes>,
}

pub async fn list(pool: &Pool) -> Result<Contents, DriverError> {
    let known = records::list_volumes(pool).await?;
    let wanted = records::list_images(pool).await?;
    let all = find_all(pool).await?;
    let (base, volumes): (Vec<Found>, Vec<Found>) = all
        .into_iter()
        .partition(|found| found.name.namespace == names::IMAGES);
    let mut contents = Contents::default();
    for key in known.foreign {
        let name = format!("record {key}");
        contents
            .strays
            .push(stray(OrphanKind::Other, name, Bytes(0)));
    }
    let mut others = sort_images(pool, &mut contents, wanted, base);
    let mut bytes: BTreeMap<InstanceId, Found> = BTreeMap::new();
    let mut erasing: BTreeSet<InstanceId> = BTreeSet::new();
    for found in volumes {
        if found.name.namespace != names::HOME {
            others.push((OrphanKind::Other, found));
            continue;
        }
        match names::meaning(&found.name.name) {
            Meaning::Volume(volume) if known.volumes.contains_key(&volume) => {
                bytes.insert(volume, found);
            }
            Meaning::Erasing(volume) if known.volumes.contains_key(&volume) => {
                erasing.insert(volume);
            }
            Meaning::Making => {}
            Meaning::Volume(_) | Meaning::Erasing(_) | Meaning::Retained => {
                others.push((OrphanKind::Volume, found));
            }
            Meaning::Foreign => others.push((OrphanKind::Other, found)),
        }
    }
    for (kind, found) in others {
        contents
            .strays
            .extend(image_stray(pool, kind, &found).await?);
    }
    for (volume, record) in known.volumes {
        let found = bytes.remove(&volume);
        let is_erasing = erasing.contains(&volume);
        let seen = seen(pool, &mut contents, volume, record, found, is_erasing).await?;
        contents.volumes.insert(volume, seen);
    }
    Ok(contents)
}

async fn find_all(pool: &Pool) -> Result<Vec<Found>, DriverError> {
    let told = |error| pool.told(error);
    let mut namespaces = pool.rbd.list_namespaces().await.map_err(told)?;
    // What somebody has put beside them is shown too.
    namespaces.push(String::new());
    let listed = futures::stream::iter(namespaces).map(async |namespace| {
        let usage = pool.rbd.list_usage(&namespace).await.map_err(told)?;
        Ok::<_, DriverError>(together(&namespace, usage))
    });
    let listed: Vec<Vec<Found>> = listed.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(listed.into_iter().flatten().collect())
}

/// One entry for each image. Its own size comes last, after its snapshots.
fn together(namespace: &str, usage: Vec<Usage>) -> Vec<Found> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for one in usage {
        let entry = found.entry(one.name.clone()).or_insert_with(|| Found {
            name: ImageName::new(namespace, one.name),
            size: Bytes(0),
            used: Bytes(0),
            snapshots: BTreeMap::new(),
        });
        entry.used = Bytes(entry.used.0.saturating_add(one.used.0));
        match one.snapshot {
            Some(snapshot) => {
                entry.snapshots.insert(snapshot, one.size);
            }
            None => entry.size = one.size,
        }
    }
    found.into_values().collect()
}

/// Gives those that are nobody's.
fn sort_images(
    pool: &Pool,
    contents: &mut Contents,
    mut wanted: BTreeMap<ImageUid, ImageSeen>,
    base: Vec<Found>,
) -> Vec<(OrphanKind, Found)> {
    let mut others = Vec::new();
    for found in base {
        let name = &found.name.name;
        let image = name.parse::<ImageUid>().ok();
        let record = image.and_then(|image| Some((image, wanted.remove(&image)?)));
        let size = found.snapshots.get(names::BASE).copied();
        match record {
            Some((image, seen)) if size == Some(seen.virtual_size) => {
                contents.images.insert(image, seen);
            }
            Some((image, _)) => {
                tracing::warn!(pool = %pool.name, %image, "its bytes are not those of its record");
                others.push((OrphanKind::Image, found));
            }
            None if name.starts_with("making-") => {}
            None => others.push((OrphanKind::Image, found)),
        }
    }
    others
}

async fn seen(
    pool: &Pool,
    contents: &mut Contents,
    volume: InstanceId,
    record: Result<VolumeRecord, String>,
    found: Option<Found>,
    is_erasing: bool,
) -> Result<VolumeSeen, DriverError> {
    let fault = record.as_ref().err().cloned();
    let place = format!("{}/{}", pool.ceph_name, names::volume(volume));
    let mut snapshots = BTreeMap::new();
    let bytes = match &found {
        Some(found) => {
            snapshots = list_snapshots(pool, contents, found).await?;
            VolumeBytes::Present {
                size: found.size,
                allocated: found.used,
            }
        }
        None if is_erasing => VolumeBytes::Erasing,
        None => VolumeBytes::Absent,
    };
    Ok(VolumeSeen {
        place,
        bytes,
        record: record.ok(),
        snapshots,
        fault,
    })
}

/// Asked only of images that have snapshots.
async fn list_snapshots(
    pool: &Pool,
    contents: &mut Contents,
    found: &Found,
) -> Result<BTreeMap<SnapshotId, SnapshotSeen>, DriverError> {
    let mut seen = BTreeMap::new();
    if found.snapshots.is_empty() {
        return Ok(seen);
    }
    let listed = match pool.rbd.list_snapshots(&found.name).await {
        // It has gone meanwhile.
        Err(error) if error.is_missing() => return Ok(seen),
        other => other.map_err(|error| pool.told(error))?,
    };
    for one in listed {
        match names::moment(&one.name) {
            Moment::Snapshot(snapshot) => {
                let taken = SnapshotSeen {
                    size: one.size,
                    taken_at: one.taken_at,
                    fault: None,
                };
                seen.insert(snapshot, taken);
            }
            Moment::Clone => {}
            Moment::Foreign => {
                let name = format!("{}@{}", found.name, one.name);
                let stray = Orphan {
                    since: Some(one.taken_at),
                    ..stray(OrphanKind::Snapshot, name, Bytes(0))
                };
                contents.strays.push(stray);
            }
        }
    }
    Ok(seen)
}

/// `None` when it has gone meanwhile.
async fn image_stray(
    pool: &Pool,
    kind: OrphanKind,
    found: &Found,
) -> Result<Option<Orphan>, DriverError> {
    let info = pool.read_image(&found.name).await?;
    Ok(info.map(|info| Orphan {
        since: info.changed_at,
        ..stray(kind, found.name.to_string(), found.used)
    }))
}

fn stray(kind: OrphanKind, name: String, size: Bytes) -> Orphan {
    Orphan {
        kind,
        name,
        size,
        since: None,
    }
}
