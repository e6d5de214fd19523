//! Snapshots, as storage hosts hold them.
//!
//! What one can be relied on for was seen once, by a host that has forgotten it since; people read
//! it in the status of the VolumeSnapshot, and from there it comes back. A snapshot that no status
//! calls taken was of a group that was not finished: it is not one, and is taken anew.

use std::collections::{BTreeMap, BTreeSet};

use dc_crds::VolumeSnapshot;
use dc_crds::snapshot::ConsistencyReached;
use dc_types::claim::{SnapshotClaim, SnapshotPurpose, SnapshotState, keys};
use dc_types::plan::{ItemBody, SnapshotItem, VolumeItem};
use dc_types::report::Consistency;
use dc_types::{Bytes, ObjectUid, SnapshotId};
use k8s_openapi::jiff::Timestamp;

use super::{ById, Found, Inventory, Objects, Outcome, Places, kept, stored};
use crate::object;

pub(super) fn rebuild(
    outcome: &mut Outcome,
    inventories: &[Inventory],
    volumes: &ById<'_, VolumeItem>,
    places: &Places,
    objects: &Objects,
) {
    let told = told(&objects.snapshots);
    let of_backups = objects.backups.iter();
    let of_backups: BTreeSet<ObjectUid> = of_backups
        .filter_map(|backup| object::uid(&backup.metadata))
        .collect();
    let mut found: BTreeMap<SnapshotId, Found<'_, SnapshotItem>> = BTreeMap::new();
    for inventory in inventories {
        for item in &inventory.items {
            let ItemBody::Snapshot(body) = &item.body else {
                continue;
            };
            let host = &inventory.host;
            let one = Found { host, item, body };
            if let Some(other) = found.insert(body.snapshot, one) {
                outcome.disagree(format!(
                    "snapshot {} ({}) is held by {} and {}: {} is taken; look at the other by hand",
                    item.object, body.snapshot, other.host, host, host,
                ));
            }
        }
    }
    for (id, one) in found {
        let volume = volumes
            .get(&one.body.volume)
            .and_then(|found| found.first());
        let state = told.get(&id.to_string()).copied();
        let place = one.body.volume;
        let purpose = match of_backups.contains(&one.item.object.uid) {
            true => SnapshotPurpose::Backup,
            false => SnapshotPurpose::Department,
        };
        let of = places.volume_at(place);
        let claim = SnapshotClaim {
            snapshot: id,
            owner: one.item.object.clone(),
            volume: of,
            pool: one.body.pool.clone(),
            host: one.host.clone(),
            // It may have been smaller; more is promised than is needed, never less.
            size: volume.map_or(Bytes(0), |volume| volume.body.size),
            held: None,
            attempt: 0,
            state: state.unwrap_or(SnapshotState::Broken),
            stored: stored(of, place),
            purpose,
        };
        // A base that is forgotten costs a full read, and a run is begun anew: nobody need look.
        if state.is_none() && purpose == SnapshotPurpose::Department {
            outcome.disagree(format!(
                "snapshot {} ({id}) on {} was not finished: it is deleted there and taken anew",
                one.item.object, one.host,
            ));
        }
        outcome.put(keys::snapshot(id), &kept(claim, one.item.epoch));
    }
}

/// What statuses say of each snapshot, by its id.
fn told(objects: &[VolumeSnapshot]) -> BTreeMap<String, SnapshotState> {
    let mut told = BTreeMap::new();
    for status in objects.iter().filter_map(|object| object.status.as_ref()) {
        let Some(reached) = status.consistency else {
            continue;
        };
        let level = match reached {
            ConsistencyReached::Crash => Consistency::Crash,
            ConsistencyReached::FileSystem => Consistency::FileSystem,
            ConsistencyReached::Application => Consistency::Application,
        };
        for volume in &status.volumes {
            let at = volume.taken_at.as_ref();
            let at = at.and_then(|at| at.parse::<Timestamp>().ok());
            if let Some(at) = at {
                let taken_at = at.as_second();
                let state = SnapshotState::Taken { level, taken_at };
                told.insert(volume.snapshot_id.clone(), state);
            }
        }
    }
    told
}
