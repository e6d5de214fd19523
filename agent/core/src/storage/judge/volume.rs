//! Volumes: made, grown, and at the end retained or erased.
//!
//! ```text
//!        note owner      create        note made        grow, restore (while nobody holds it)
//! nothing ───────▶ begun ──────▶ bytes ─────────▶ made ───┐ ▲
//!                                                 │       └─┘ adopted: note a newer owner
//!                                                 │ release: when it has no snapshots any more,
//!                                                 ▼ fence what is left, then retain or erase
//! made without bytes: lost, nothing is made      gone ── a newer claim ─▶ begun
//! ```

use dc_types::plan::{
    Disposition, Item, ItemKey, ItemKind, Release, RestoreOrder, VolumeItem, VolumeSource,
};
use dc_types::report::{Detail, Verb};
use dc_types::{Bytes, InstanceId, PoolName, SnapshotId};

use super::{
    Gone, Judged, Removal, faulty, find, grant_removal_steps, listed, live, sensible, usable,
};
use crate::storage::known::Known;
use crate::storage::record::{Making, Note, VolumeRecord};
use crate::storage::seen::{PoolSeen, VolumeBytes, VolumeSeen};
use crate::storage::step::{EraseMethod, Removal as Order, Step};
use crate::storage::trouble::StorageTrouble;
use crate::storage::validate::{file_size, validate_volume};
use crate::wanted::Wanted;

/// What is allocated is told in steps of this many bytes: it changes with every write of a guest,
/// and each change would be a report.
const ALLOCATED_STEP: u64 = 64 << 20;

pub(super) fn volume(
    wanted: &Wanted<'_>,
    seen: &Known<'_>,
    item: &Item,
    body: &VolumeItem,
) -> Result<Judged, Judged> {
    sensible(validate_volume(body))?;
    let pool = usable(seen, &body.pool)?;
    let Some(there) = pool.contents.volumes.get(&body.volume) else {
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
                        path: there.place.clone(),
                    },
                    Detail::None,
                ))
            }
            record => create(pool, item, body, record.as_ref()),
        },
        VolumeBytes::Present { size, allocated } => {
            let detail = Detail::Volume {
                size,
                allocated: Bytes(allocated.0.div_ceil(ALLOCATED_STEP) * ALLOCATED_STEP),
                restored: there.record.as_ref().and_then(|r| r.restored.clone()),
            };
            let change = Change {
                wanted,
                seen,
                pool,
                item,
                body,
                there,
            };
            change.keep(size, detail)
        }
    }
}

pub(super) fn sound(there: &VolumeSeen) -> Result<(), StorageTrouble> {
    match &there.fault {
        None => Ok(()),
        Some(fault) => Err(StorageTrouble::VolumeUnusable {
            path: there.place.clone(),
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
            let there = pool
                .contents
                .images
                .get(image)
                .map(|there| there.virtual_size);
            Some((format!("image {image}"), there))
        }
        VolumeSource::Volume(source) => {
            let there = pool.contents.volumes.get(source).and_then(present_size);
            Some((format!("volume {source}"), there))
        }
        VolumeSource::Snapshot { volume, snapshot } => {
            let of = pool.contents.volumes.get(volume);
            let there = of.and_then(|of| Some(of.snapshots.get(snapshot)?.size));
            Some((format!("snapshot {snapshot} of volume {volume}"), there))
        }
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

/// A volume that is there, and what is asked of it.
struct Change<'a> {
    wanted: &'a Wanted<'a>,
    seen: &'a Known<'a>,
    pool: &'a PoolSeen,
    item: &'a Item,
    body: &'a VolumeItem,
    there: &'a VolumeSeen,
}

impl Change<'_> {
    /// Its owner is written down, it is restored, it grows.
    fn keep(&self, size: Bytes, detail: Detail) -> Result<Judged, Judged> {
        let (item, body) = (self.item, self.body);
        let mut steps = Vec::new();
        let record = self.there.record.as_ref();
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
        let restore = pending_restore(body, self.there);
        if restore.is_some() || asked > size {
            match self.change(restore, (asked > size).then_some(asked), size) {
                Ok(change) => steps.extend(change),
                Err(trouble) if steps.is_empty() => return Err(Judged::waits(trouble, detail)),
                Err(_) => {}
            }
        }
        Ok(if !steps.is_empty() {
            Judged::Steps(steps, detail)
        } else if self.is_outgrown() {
            Judged::waits(StorageTrouble::GrantOutgrown, detail)
        } else {
            Judged::Ready(detail)
        })
    }

    /// Whether a machine has the volume open in a way that does not show its size yet.
    fn is_outgrown(&self) -> bool {
        let record = self.there.record.as_ref();
        let mut grants = self.seen.grants_of(self.body.volume);
        grants.any(|grant| record.is_some_and(|record| record.outgrown.contains(&grant.handle)))
    }

    /// A volume grows under whoever holds it, where its pool can do that. All else is done while nobody
    /// holds the volume and nobody can come to hold it: its grants are taken away, and made again
    /// when it is as asked.
    fn change(
        &self,
        restore: Option<&RestoreOrder>,
        grow: Option<Bytes>,
        is: Bytes,
    ) -> Result<Vec<Step>, StorageTrouble> {
        listed(self.pool)?;
        let (key, body) = (self.item.key, self.body);
        let growth = |size| Step::GrowVolume {
            key,
            pool: body.pool.clone(),
            volume: body.volume,
            size,
        };
        if let (None, Some(size)) = (restore, grow)
            && grows_online(self.pool)
        {
            return Ok(vec![growth(size)]);
        }
        if let Some(RestoreOrder { snapshot, order: _ }) = restore
            && !self.keeps(*snapshot)
        {
            return Err(StorageTrouble::SourceMissing {
                source: format!("snapshot {snapshot} of the volume"),
                pool: body.pool.clone(),
            });
        }
        let grants = || self.seen.grants_of(body.volume);
        if grants().any(|grant| !grant.holders.is_empty()) {
            return Err(match (restore, grow) {
                (Some(_), _) => StorageTrouble::RestoreWaits,
                (None, asked) => StorageTrouble::VolumeInUse {
                    is,
                    asked: asked.unwrap_or(is),
                },
            });
        }
        let close = grants().map(|grant| Step::Fence {
            key,
            grant: grant.clone(),
        });
        let mut steps: Vec<Step> = close.collect();
        if let Some(RestoreOrder { snapshot, order }) = restore {
            steps.push(Step::RestoreVolume {
                key,
                pool: body.pool.clone(),
                volume: body.volume,
                snapshot: *snapshot,
            });
            steps.push(note(self.item, body, Note::Restored(order.clone())));
        }
        steps.extend(grow.map(growth));
        Ok(steps)
    }
}

impl Change<'_> {
    /// Whether a snapshot is there and stays: one that is released goes before it is read.
    fn keeps(&self, snapshot: SnapshotId) -> bool {
        let record = self.there.record.as_ref();
        let known = record.and_then(|record| record.snapshots.get(&snapshot));
        let key = ItemKey::new(ItemKind::Snapshot, snapshot.0);
        let released = self.wanted.released_up_to(&key);
        let goes = released.is_some_and(|epoch| known.is_none_or(|known| known.epoch <= epoch));
        self.there.snapshots.contains_key(&snapshot) && !goes
    }
}

/// Whether a volume of the pool may grow while somebody holds it.
pub(super) fn grows_online(pool: &PoolSeen) -> bool {
    let mut lacks = pool.facts.lacks.iter();
    !lacks.any(|lack| lack.verb == Verb::GrowOnline)
}

/// The restore that is asked for and was not done yet.
pub(super) fn pending_restore<'a>(
    body: &'a VolumeItem,
    there: &VolumeSeen,
) -> Option<&'a RestoreOrder> {
    let done = there
        .record
        .as_ref()
        .and_then(|record| record.restored.as_ref());
    body.restore
        .as_ref()
        .filter(|restore| done != Some(&restore.order))
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
    if let Some(trouble) = seen.pools().find_map(|pool| listed(pool).err()) {
        return Removal::Waits(trouble);
    }
    if let Some(grant) = live(wanted, &ItemKey::new(ItemKind::Grant, volume.0)) {
        return Removal::Waits(StorageTrouble::StillGranted { epoch: grant.epoch });
    }
    match find(seen, volume) {
        Some((pool, there)) => remove(seen, release, pool, there),
        None => match faulty(seen.pools()) {
            Some(trouble) => Removal::Waits(trouble),
            None => Removal::done("no volume of this id is left"),
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
            return Removal::done(format!(
                "a newer claim holds the volume now: {}",
                record.epoch
            ));
        }
        if let (Some(gone), VolumeBytes::Absent) = (&record.gone, there.bytes) {
            return Removal::Done(Gone {
                note: gone.note.clone(),
                erasure: gone.erasure.clone(),
            });
        }
    }
    if !there.snapshots.is_empty() {
        let count = there.snapshots.len();
        return Removal::Waits(StorageTrouble::HasSnapshots { count });
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
