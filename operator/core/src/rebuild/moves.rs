//! Volumes that were on their way to another pool: their machine's host is told of both places.
//!
//! Whether it had been told to go over when the ledger was lost, and had, only it knows. So the move is
//! taken up as one that may have: nothing is decided before the host has said in which place the bytes
//! are. A second place that no machine's disk names is told of elsewhere, and left to a person.

use dc_types::claim::{MoveClaim, MovePhase, keys};
use dc_types::plan::{VmItem, VolumeItem};

use super::{ById, Grants, Outcome, Places, kept};

pub(super) fn rebuild(
    outcome: &mut Outcome,
    volumes: &ById<'_, VolumeItem>,
    vms: &ById<'_, VmItem>,
    grants: &Grants<'_>,
    places: &Places,
) {
    let disks = vms.values().flatten().flat_map(|vm| &vm.body.disks);
    let mirrored = disks.filter_map(|disk| Some((disk.volume, disk.mirror.as_deref()?.place)));
    for (volume, place) in mirrored.filter(|(_, place)| places.is_mirror(*place)) {
        let found = volumes.get(&place).and_then(|several| several.first());
        let Some(found) = found.filter(|_| grants.has(place)) else {
            outcome.disagree(format!(
                "volume {volume} was being moved to place {place}, which no storage host holds and \
                 grants any more: if its machine's host has gone over, it refuses what it is asked; \
                 find that place before you do anything about it",
            ));
            continue;
        };
        if !outcome.keys.contains_key(&keys::volume(volume)) {
            outcome.disagree(format!(
                "volume {volume} was being moved from a place that no storage host holds any more to \
                 {place} on {}, where its bytes may be alone: keep that place, and its machine as it \
                 is, before you know which the guest wrote to last",
                found.host,
            ));
            continue;
        }
        let claim = MoveClaim {
            volume,
            owner: found.item.object.clone(),
            place,
            pool: found.body.pool.clone(),
            host: found.host.clone(),
            size: found.body.size,
            phase: MovePhase::Switching,
        };
        outcome.put(keys::second(volume), &kept(claim, found.item.epoch));
    }
}
