//! Snapshots: taken once, never changed, deleted when released.
//!
//! ```text
//!          note begun         take             note made
//! nothing ───────────▶ begun ──────▶ there ───────────▶ made ── release: delete, note ─▶ nothing
//! made and not there: lost, none is taken in its place: it would be of another moment
//! ```

use dc_types::plan::{Item, ItemKey, ItemKind, Release, SnapshotItem};
use dc_types::report::Detail;
use dc_types::{InstanceId, PoolName, SnapshotId};

use super::volume::{present_size, sound};
use super::{Judged, Removal, faulty, usable};
use crate::storage::known::Known;
use crate::storage::record::{Making, Note, SnapshotRecord, VolumeRecord};
use crate::storage::seen::VolumeSeen;
use crate::storage::step::Step;
use crate::storage::trouble::StorageTrouble;
use crate::wanted::Wanted;

pub(super) fn snapshot(
    wanted: &Wanted<'_>,
    seen: &Known<'_>,
    item: &Item,
    body: &SnapshotItem,
) -> Result<Judged, Judged> {
    let SnapshotItem {
        snapshot,
        volume,
        pool,
    } = body;
    let found = usable(seen, pool)?;
    let waits = |trouble| Err(Judged::waits(trouble, Detail::None));
    let refused = |trouble| Err(Judged::refused(trouble, Detail::None));
    let missing = StorageTrouble::VolumeMissing { pool: pool.clone() };
    let Some(there) = found.contents.volumes.get(volume) else {
        return waits(missing);
    };
    if let Err(trouble) = sound(there) {
        return waits(trouble);
    }
    let record = there.record.as_ref();
    let known = record.and_then(|record| record.snapshots.get(snapshot));
    match (known, there.snapshots.get(snapshot)) {
        (Some(known), _) if known.epoch > item.epoch => refused(StorageTrouble::StaleEpoch {
            asked: item.epoch,
            highest: known.epoch,
        }),
        (Some(known), None) if known.making == Making::Made => {
            refused(StorageTrouble::SnapshotLost {
                snapshot: *snapshot,
                place: there.place.clone(),
            })
        }
        (Some(known), Some(taken)) if known.making == Making::Made => {
            let detail = Detail::Snapshot {
                size: taken.size,
                taken_at: taken.taken_at,
            };
            match &taken.fault {
                None => Ok(Judged::Ready(detail)),
                Some(fault) => Err(Judged::refused(
                    StorageTrouble::SnapshotCorrupt {
                        snapshot: *snapshot,
                        fault: fault.clone(),
                    },
                    detail,
                )),
            }
        }
        _ if record.is_none() || present_size(there).is_none() => waits(missing),
        // Its bytes go before the snapshot would be taken.
        _ if is_released(wanted, *volume, record) => waits(StorageTrouble::Releasing),
        (known, taken) => {
            let note = |making| Step::Note {
                key: item.key,
                pool: pool.clone(),
                volume: *volume,
                note: Note::Snapshot {
                    snapshot: *snapshot,
                    record: SnapshotRecord {
                        epoch: item.epoch,
                        making,
                    },
                },
            };
            let begun = known.is_none().then(|| note(Making::Begun));
            let take = taken.is_none().then(|| Step::CreateSnapshot {
                key: item.key,
                pool: pool.clone(),
                volume: *volume,
                snapshot: *snapshot,
            });
            let steps = begun.into_iter().chain(take).chain([note(Making::Made)]);
            Ok(Judged::Steps(steps.collect(), Detail::None))
        }
    }
}

fn is_released(wanted: &Wanted<'_>, volume: InstanceId, record: Option<&VolumeRecord>) -> bool {
    let released = wanted.released_up_to(&ItemKey::new(ItemKind::Volume, volume.0));
    released.is_some_and(|epoch| record.is_some_and(|record| record.epoch <= epoch))
}

/// Of which volume it is is not in a release: all of them are looked at.
pub(in crate::storage) fn snapshot_release(seen: &Known<'_>, release: &Release) -> Removal {
    let snapshot = SnapshotId(release.key.id);
    let holds = |there: &VolumeSeen| {
        let record = there.record.as_ref();
        let known = record.and_then(|record| record.snapshots.get(&snapshot));
        there.snapshots.contains_key(&snapshot) || known.is_some()
    };
    let found = seen.pools.iter().find_map(|(name, pool)| {
        let mut volumes = pool.contents.volumes.iter();
        let (volume, there) = volumes.find(|(_, there)| holds(there))?;
        Some((name, *volume, there))
    });
    match found {
        Some((pool, volume, there)) => remove(release, snapshot, pool, volume, there),
        None => match faulty(seen.pools()) {
            Some(trouble) => Removal::Waits(trouble),
            None => Removal::done("no snapshot of this id is left"),
        },
    }
}

fn remove(
    release: &Release,
    snapshot: SnapshotId,
    pool: &PoolName,
    volume: InstanceId,
    there: &VolumeSeen,
) -> Removal {
    if let Err(trouble) = sound(there) {
        return Removal::Waits(trouble);
    }
    let record = there.record.as_ref();
    let known = record.and_then(|record| record.snapshots.get(&snapshot));
    if let Some(known) = known
        && known.epoch > release.epoch
    {
        return Removal::done(format!("a newer claim holds it now: {}", known.epoch));
    }
    let key = release.key;
    let delete = there
        .snapshots
        .contains_key(&snapshot)
        .then(|| Step::DeleteSnapshot {
            key,
            pool: pool.clone(),
            volume,
            snapshot,
        });
    let note = known.map(|_| Step::Note {
        key,
        pool: pool.clone(),
        volume,
        note: Note::NoSnapshot(snapshot),
    });
    Removal::Steps(delete.into_iter().chain(note).collect())
}
