//! Volumes: made, grown, and at the end retained or erased.
//!
//! ```text
//!        note owner      create        note made        grow (nothing has it open)
//! nothing ───────▶ begun ──────▶ bytes ─────────▶ made ───┐ ▲
//!                                                 │       └─┘ adopted: note a newer owner
//!                                                 │ release: fence what is left of targets,
//!                                                 ▼ then retain or erase
//! made without bytes: lost, nothing is made      gone ── a newer claim ─▶ begun
//! ```

use dc_types::plan::{Disposition, Item, ItemKey, ItemKind, Release, VolumeItem, VolumeSource};
use dc_types::report::Detail;
use dc_types::{Bytes, InstanceId, PoolName};

use super::{Judged, Removal, faulty, grant_removal_steps, listed, live, sensible, usable};
use crate::storage::known::Known;
use crate::storage::seen::{Making, PoolSeen, VolumeBytes, VolumeRecord, VolumeSeen};
use crate::storage::step::{EraseMethod, Note, Removal as Order, Step};
use crate::storage::trouble::StorageTrouble;
use crate::storage::validate::{file_size, validate_volume};
use crate::wanted::Wanted;

/// What is allocated is told in steps of this many bytes: it changes with every write of a guest,
/// and each change would be a report.
const ALLOCATED_STEP: u64 = 64 << 20;

pub(super) fn volume(seen: &Known<'_>, item: &Item, body: &VolumeItem) -> Result<Judged, Judged> {
    sensible(validate_volume(body))?;
    let pool = usable(seen, &body.pool)?;
    let Some(there) = pool.volumes.get(&body.volume) else {
        return create(pool, item, body, None);
    };
    sound(there).map_err(|trouble| Judged::waits(trouble, Detail::None))?;
    not_older(there.record.as_ref(), item)?;
    match there.bytes {
        VolumeBytes::Erasing => Err(Judged::waits(StorageTrouble::Releasing, Detail::None)),
        VolumeBytes::Absent => match &there.record {
            Some(record) if record.gone.is_none() && record.making == Making::Made => {
                Err(Judged::refused(
                    StorageTrouble::VolumeLost {
                        path: there.path.display().to_string(),
                    },
                    Detail::None,
                ))
            }
            record => create(pool, item, body, record.as_ref()),
        },
        VolumeBytes::Present { size, allocated } => {
            let detail = Detail::Volume {
                restored: None,
                size,
                allocated: Bytes(allocated.0.div_ceil(ALLOCATED_STEP) * ALLOCATED_STEP),
            };
            keep(seen, item, body, there, size, detail)
        }
    }
}

pub(super) fn sound(there: &VolumeSeen) -> Result<(), StorageTrouble> {
    match &there.fault {
        None => Ok(()),
        Some(fault) => Err(StorageTrouble::VolumeUnusable {
            path: there.path.display().to_string(),
            fault: fault.clone(),
        }),
    }
}

/// An item of an older claim than the one that is written down is refused.
fn not_older(record: Option<&VolumeRecord>, item: &Item) -> Result<(), Judged> {
    let Some(record) = record else { return Ok(()) };
    let refused = |trouble| Err(Judged::refused(trouble, Detail::None));
    if let Some(gone) = &record.gone
        && gone.epoch >= item.epoch
    {
        let note = gone.note.clone();
        return refused(StorageTrouble::VolumeGone { note });
    }
    if record.epoch > item.epoch {
        return refused(StorageTrouble::StaleEpoch {
            asked: item.epoch,
            highest: record.epoch,
        });
    }
    Ok(())
}

fn create(
    pool: &PoolSeen,
    item: &Item,
    body: &VolumeItem,
    record: Option<&VolumeRecord>,
) -> Result<Judged, Judged> {
    let size = file_size(body.size);
    let needs = match &body.source {
        VolumeSource::Blank => None,
        VolumeSource::Image(image) => {
            let there = pool.images.get(image).map(|there| there.virtual_size);
            Some((format!("image {image}"), there))
        }
        VolumeSource::Volume(source) => {
            let there = pool.volumes.get(source).and_then(present_size);
            Some((format!("volume {source}"), there))
        }
        VolumeSource::Snapshot { snapshot, .. } => Some((format!("snapshot {snapshot}"), None)),
    };
    match needs {
        Some((source, None)) => {
            let pool = body.pool.clone();
            let trouble = StorageTrouble::SourceMissing { source, pool };
            return Err(Judged::waits(trouble, Detail::None));
        }
        Some((source, Some(needs))) if needs > size => {
            let trouble = StorageTrouble::SizeBelowSource {
                source,
                needs,
                asked: body.size,
            };
            return Err(Judged::refused(trouble, Detail::None));
        }
        _ => {}
    }
    let create = Step::CreateVolume {
        key: item.key,
        pool: body.pool.clone(),
        volume: body.volume,
        size,
        source: body.source.clone(),
    };
    let owner = (!owned(record, item)).then(|| note_owner(item, body));
    let steps = owner
        .into_iter()
        .chain([create, note(item, body, Note::Made)]);
    Ok(Judged::Steps(steps.collect(), Detail::None))
}

/// Whether the item's claim is what is written down.
fn owned(record: Option<&VolumeRecord>, item: &Item) -> bool {
    record.is_some_and(|record| {
        record.epoch == item.epoch && record.owner == item.object && record.gone.is_none()
    })
}

/// A volume that is there: its owner is written down, and it grows.
fn keep(
    seen: &Known<'_>,
    item: &Item,
    body: &VolumeItem,
    there: &VolumeSeen,
    size: Bytes,
    detail: Detail,
) -> Result<Judged, Judged> {
    let mut steps = Vec::new();
    let record = there.record.as_ref();
    if !owned(record, item) {
        steps.push(note_owner(item, body));
    }
    if record.is_none_or(|record| record.making == Making::Begun || record.gone.is_some()) {
        steps.push(note(item, body, Note::Made));
    }
    let asked = file_size(body.size);
    if asked < size && steps.is_empty() {
        let trouble = StorageTrouble::SizeShrinks { is: size, asked };
        return Err(Judged::refused(trouble, detail));
    }
    if asked > size {
        match grow(seen, item.key, body, asked) {
            Ok(grow) => steps.extend(grow),
            Err(trouble) if steps.is_empty() => {
                return Err(Judged::waits(trouble(size, asked), detail));
            }
            Err(_) => {}
        }
    }
    Ok(if steps.is_empty() {
        Judged::Ready(detail)
    } else {
        Judged::Steps(steps, detail)
    })
}

type InTheWay = Box<dyn Fn(Bytes, Bytes) -> StorageTrouble>;

/// Growing goes by way of a new target: the daemon takes a file's size once, when it opens it.
fn grow(
    seen: &Known<'_>,
    key: ItemKey,
    body: &VolumeItem,
    size: Bytes,
) -> Result<Vec<Step>, InTheWay> {
    if let Err(trouble) = listed(seen) {
        return Err(Box::new(move |_, _| trouble.clone()));
    }
    let targets = || seen.targets_of(body.volume);
    if targets().any(|target| !target.sessions.is_empty()) {
        return Err(Box::new(|is, asked| StorageTrouble::VolumeInUse {
            is,
            asked,
        }));
    }
    let close = targets().map(|target| Step::Fence {
        key,
        tid: target.tid,
        name: target.name.clone(),
    });
    let grow = Step::GrowVolume {
        key,
        pool: body.pool.clone(),
        volume: body.volume,
        size,
    };
    Ok(close.chain([grow]).collect())
}

fn note_owner(item: &Item, body: &VolumeItem) -> Step {
    let (owner, epoch) = (item.object.clone(), item.epoch);
    note(item, body, Note::Owner { owner, epoch })
}

fn note(item: &Item, body: &VolumeItem, note: Note) -> Step {
    Step::Note {
        key: item.key,
        pool: body.pool.clone(),
        volume: body.volume,
        note,
    }
}

pub(super) fn present_size(there: &VolumeSeen) -> Option<Bytes> {
    match there.bytes {
        VolumeBytes::Present { size, .. } => Some(size),
        VolumeBytes::Absent | VolumeBytes::Erasing => None,
    }
}

pub(in crate::storage) fn volume_release(
    wanted: &Wanted<'_>,
    seen: &Known<'_>,
    release: &Release,
) -> Removal {
    let volume = InstanceId(release.key.id);
    if let Err(trouble) = listed(seen) {
        return Removal::Waits(trouble);
    }
    if let Some(grant) = live(wanted, &ItemKey::new(ItemKind::Grant, volume.0)) {
        return Removal::Waits(StorageTrouble::StillGranted { epoch: grant.epoch });
    }
    let found = seen
        .pools
        .iter()
        .find_map(|(name, pool)| pool.volumes.get(&volume).map(|there| (name, there)));
    match found {
        Some((pool, there)) => remove(seen, release, pool, there),
        None => match faulty(seen.pools.values()) {
            Some(trouble) => Removal::Waits(trouble),
            None => Removal::Done("no volume of this id is left".to_owned()),
        },
    }
}

fn remove(seen: &Known<'_>, release: &Release, pool: &PoolName, there: &VolumeSeen) -> Removal {
    let volume = InstanceId(release.key.id);
    if let Err(trouble) = sound(there) {
        return Removal::Waits(trouble);
    }
    if let Some(record) = &there.record {
        if record.epoch > release.epoch {
            return Removal::Done(format!(
                "a newer claim holds the volume now: {}",
                record.epoch
            ));
        }
        if let (Some(gone), VolumeBytes::Absent) = (&record.gone, there.bytes) {
            return Removal::Done(gone.note.clone());
        }
    }
    let mut steps = grant_removal_steps(seen, release.key, volume, None);
    let key = release.key;
    let order = Order {
        pool: pool.clone(),
        volume,
        epoch: release.epoch,
        owner: release.object.clone(),
    };
    steps.push(match release.disposition {
        // Nobody should say Remove of a volume; whoever does has not asked for its erasure.
        Disposition::Retain | Disposition::Remove => Step::RetainVolume { key, order },
        Disposition::EraseDiscard => Step::EraseVolume {
            key,
            order,
            method: EraseMethod::Discard,
        },
        Disposition::EraseZero => Step::EraseVolume {
            key,
            order,
            method: EraseMethod::Zero,
        },
        Disposition::EraseRandom => Step::EraseVolume {
            key,
            order,
            method: EraseMethod::Random,
        },
    });
    Removal::Steps(steps)
}
