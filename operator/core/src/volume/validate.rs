//! What one Volume asks, checked against what it names.

use dc_crds::volume::{EraseMethod, Reclaim, SnapshotSource, SourceSpec, VolumeSpec};
use dc_crds::{StoragePool, Volume};
use dc_types::plan::{Disposition, VolumeSource};
use dc_types::report::{Detail, ItemState, Observation, Verb};
use dc_types::{Bytes, HostName, ImageUid, InstanceId, PoolName};

use super::destruction;
use super::encryption::{self, whole_size};
use super::qos::validate_qos;
use super::restore::find_snapshot;
use super::{ImageSeen, Named, PoolSeen, Seen, SourceSeen, id};
use crate::object;
use crate::place::Presence;
use crate::pool::{lacks, served_otherwise};
use crate::words::Fact;

/// A volume that may be claimed, or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidVolume {
    pub id: InstanceId,
    pub pool: PoolName,
    /// The storage host.
    pub host: HostName,
    pub size: Bytes,
    pub source: VolumeSource,
    pub disposition: Disposition,
}

/// All that is wrong, or waits; a volume that is claimed already is held to less.
pub fn validate(seen: &Seen<'_>) -> Result<ValidVolume, Vec<Fact>> {
    let VolumeSpec {
        system,
        pool,
        size: _,
        source,
        access: _,
        reclaim,
        erase_method,
        qos,
        restore: _,
        encrypted: _,
    } = &seen.volume.spec;
    let mut wrong = Vec::new();
    if seen.system == Named::Absent {
        wrong.push(Fact::SystemMissing {
            system: system.clone(),
        });
    }
    let size = whole_size(&seen.volume.spec).map_err(|error| {
        wrong.push(Fact::SizeInvalid {
            error: format!("size: {error}"),
        });
    });
    wrong.extend(validate_qos(qos.as_ref()).err());
    wrong.extend(destruction::may_be_asked(&seen.volume.spec).err());
    let place = pool_and_host(seen, pool).map_err(|fact| wrong.push(fact));
    if wrong.is_empty()
        && let (Ok(size), Ok((pool, host))) = (size, place)
    {
        let source = match validate_source(seen, source, &pool, size) {
            Ok(source) => source,
            Err(fact) => return Err(vec![fact]),
        };
        return Ok(ValidVolume {
            id: id(seen.me),
            pool,
            host,
            size,
            source,
            disposition: disposition(*reclaim, *erase_method),
        });
    }
    Err(wrong)
}

/// What happens to the bytes when the volume goes.
#[must_use]
pub fn disposition(reclaim: Reclaim, method: EraseMethod) -> Disposition {
    match (reclaim, method) {
        (Reclaim::Retain, _) => Disposition::Retain,
        // What is left once the key is gone; see `destruction`.
        (Reclaim::Erase, EraseMethod::Discard | EraseMethod::KeyDestruction) => {
            Disposition::EraseDiscard
        }
        (Reclaim::Erase, EraseMethod::Zero) => Disposition::EraseZero,
        (Reclaim::Erase, EraseMethod::Random) => Disposition::EraseRandom,
    }
}

/// The storage host that a pool's driver names.
#[must_use]
pub fn pool_host(pool: &StoragePool) -> Option<HostName> {
    HostName::new(pool.spec.driver.host()?.to_owned()).ok()
}

fn pool_and_host(seen: &Seen<'_>, name: &str) -> Result<(PoolName, HostName), Fact> {
    // Once claimed it is where the claim says, whatever became of the pool's object.
    if let Some(claim) = seen.claims.volumes.get(&id(seen.me)) {
        return Ok((claim.value.pool.clone(), claim.value.host.clone()));
    }
    takes(seen, seen.pool.as_ref(), name)
}

/// A pool that can have a volume of this department, and its storage host; or why not.
pub(super) fn takes(
    seen: &Seen<'_>,
    pool: Option<&PoolSeen<'_>>,
    name: &str,
) -> Result<(PoolName, HostName), Fact> {
    let missing = || Fact::PoolMissing {
        pool: name.to_owned(),
    };
    let named = PoolName::new(name).map_err(|_| missing())?;
    let pool = pool.ok_or_else(missing)?;
    let host = pool_host(pool.pool).ok_or_else(missing)?;
    let facts = match (pool.facts, pool.presence) {
        (Some(facts), _) => facts,
        (None, Presence::Connected) => {
            return Err(Fact::PoolNotServed {
                pool: name.to_owned(),
                host: host.to_string(),
            });
        }
        (None, Presence::Silent | Presence::Never) => {
            return Err(Fact::PoolUnknown {
                pool: name.to_owned(),
                host: host.to_string(),
            });
        }
    };
    if let Some(fault) = &facts.fault {
        return Err(Fact::PoolFaulty {
            pool: name.to_owned(),
            fault: fault.clone(),
        });
    }
    if let Some(fact) = served_otherwise(pool.pool, facts) {
        return Err(fact);
    }
    may_lie_in(seen, pool)?;
    Ok((named, host))
}

/// A pool takes volumes of its own class, and only what it can do to them is promised of them.
fn may_lie_in(seen: &Seen<'_>, pool: &PoolSeen<'_>) -> Result<(), Fact> {
    let (name, class) = (&seen.volume.spec.pool, pool.pool.spec.owner_class);
    if class != seen.class {
        return Err(Fact::ClassDiffers {
            pool: name.clone(),
            pool_class: class.name(),
            department: seen.me.namespace.clone(),
            class: seen.class.name(),
        });
    }
    let spec = &seen.volume.spec;
    let discards = disposition(spec.reclaim, spec.erase_method) == Disposition::EraseDiscard;
    match lacks(pool.facts, Verb::Discard) {
        Some(why) if discards => Err(Fact::PoolLacks {
            pool: name.clone(),
            verb: Verb::Discard,
            why: why.to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Whether the bytes are there, so that what they were made from no longer matters.
pub(crate) fn is_made(said: Option<&Observation>) -> bool {
    said.is_some_and(|said| {
        said.state == ItemState::Ready
            || matches!(said.detail, Detail::Volume { size, .. } if size.0 > 0)
    })
}

fn validate_source(
    seen: &Seen<'_>,
    source: &SourceSpec,
    pool: &PoolName,
    size: Bytes,
) -> Result<VolumeSource, Fact> {
    let SourceSpec {
        image,
        volume,
        snapshot,
        // It begins blank, and is written by its Restore.
        restore: _,
    } = source;
    let claim = seen.claims.volumes.get(&id(seen.me));
    if claim.is_some_and(|claim| claim.value.stored.is_some()) {
        // A second place is made blank, and the guest's bytes were copied there.
        return Ok(VolumeSource::Blank);
    }
    let made = is_made(seen.said);
    if let Some(snapshot) = snapshot {
        return from_snapshot(seen, snapshot, pool, size, made);
    }
    match (image, volume) {
        (None, None) => Ok(VolumeSource::Blank),
        (Some(name), _) => match seen.image {
            Some(image) => from_image(&image, name, pool, size, made),
            None if made => Ok(VolumeSource::Blank),
            None => Err(Fact::ImageMissing {
                image: name.clone(),
            }),
        },
        (None, Some(name)) => match seen.source {
            Some(source) => from_volume(seen, &source, name, pool, size, made),
            None if made => Ok(VolumeSource::Blank),
            None => Err(Fact::SourceVolumeMissing {
                volume: name.clone(),
            }),
        },
    }
}

fn from_image(
    seen: &ImageSeen<'_>,
    name: &str,
    pool: &PoolName,
    size: Bytes,
    made: bool,
) -> Result<VolumeSource, Fact> {
    let image = name.to_owned();
    let uid = match object::uid(&seen.image.metadata) {
        Some(uid) => ImageUid(uid.0),
        None => return Err(Fact::ImageMissing { image }),
    };
    if made {
        return Ok(VolumeSource::Image(uid));
    }
    let pool_name = pool.to_string();
    if !seen.image.spec.pools.contains(&pool_name) {
        return Err(Fact::ImageNotInPool {
            image,
            pool: pool_name,
        });
    }
    let (image_there, pool_there) = (image.clone(), pool_name.clone());
    let not_ready = move || Fact::ImageNotReady {
        image: image_there,
        pool: pool_there,
    };
    let said = seen.said.ok_or_else(not_ready.clone())?;
    match &said.state {
        ItemState::Ready => {}
        ItemState::Pending(_) => return Err(not_ready()),
        ItemState::Failed(trouble) => {
            return Err(Fact::ImageFailed {
                image,
                pool: pool_name,
                message: trouble.message.clone(),
            });
        }
    }
    match said.detail {
        Detail::Image { virtual_size } if virtual_size > size => Err(Fact::ImageLarger {
            image,
            image_size: virtual_size.to_string(),
            size: size.to_string(),
        }),
        _ => Ok(VolumeSource::Image(uid)),
    }
}

fn from_snapshot(
    seen: &Seen<'_>,
    named: &SnapshotSource,
    pool: &PoolName,
    size: Bytes,
    made: bool,
) -> Result<VolumeSource, Fact> {
    let SnapshotSource { name, volume } = named;
    let found = find_snapshot(seen, seen.from_snapshot, name, |of| match volume {
        Some(volume) => of.volume == *volume,
        None => true,
    });
    let claim = match found {
        Ok(claim) => claim,
        // Once it is there it no longer needs what it was made from.
        Err(_) if made => return Ok(VolumeSource::Blank),
        Err(fact) => return Err(fact),
    };
    if !made {
        let name = format!("snapshot {name}");
        encryption::may_be_source(seen.claims, claim.volume, &name).map_err(Fact::Encryption)?;
    }
    if !made && claim.pool != *pool {
        return Err(Fact::SnapshotElsewhere {
            snapshot: name.clone(),
            pool: claim.pool.to_string(),
        });
    }
    if !made && claim.size > size {
        return Err(Fact::SnapshotLarger {
            snapshot: name.clone(),
            source: claim.size.to_string(),
            size: size.to_string(),
        });
    }
    Ok(VolumeSource::Snapshot {
        volume: claim.place(),
        snapshot: claim.snapshot,
    })
}

fn from_volume(
    seen: &Seen<'_>,
    source: &SourceSeen<'_>,
    name: &str,
    pool: &PoolName,
    size: Bytes,
    made: bool,
) -> Result<VolumeSource, Fact> {
    let volume = name.to_owned();
    let missing = || Fact::SourceVolumeMissing {
        volume: name.to_owned(),
    };
    let Volume { metadata, .. } = source.volume;
    let uid = object::uid(metadata).ok_or_else(missing)?;
    let source_id = InstanceId(uid.0);
    if made {
        return Ok(VolumeSource::Volume(seen.claims.place_of(source_id)));
    }
    let Some(claim) = seen.claims.volumes.get(&source_id) else {
        return Err(Fact::SourceVolumeNotReady { volume });
    };
    encryption::may_be_source(seen.claims, source_id, name).map_err(Fact::Encryption)?;
    if claim.value.pool != *pool {
        return Err(Fact::SourceVolumeElsewhere {
            volume,
            pool: claim.value.pool.to_string(),
        });
    }
    if claim.value.size > size {
        return Err(Fact::SourceVolumeLarger {
            volume,
            source: claim.value.size.to_string(),
            size: size.to_string(),
        });
    }
    match is_made(source.said) && claim.value.contents.is_whole() {
        true => Ok(VolumeSource::Volume(claim.value.place())),
        false => Err(Fact::SourceVolumeNotReady { volume }),
    }
}
