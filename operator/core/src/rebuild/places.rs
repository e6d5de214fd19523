//! Which volume the bytes of each place are of, and in which place those of a volume are.
//!
//! A storage host knows places alone. That a volume was moved is known by the machine that has it,
//! whose disk names both, and by the object that the place was made for.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::InstanceId;
use dc_types::plan::{VmItem, VolumeItem};

use super::{ById, Found};

/// A place, and what was found under it on each host: the newest first.
type Held<'a, 'b> = (InstanceId, &'b [Found<'a, VolumeItem>]);

pub(super) struct Places {
    volumes: BTreeMap<InstanceId, InstanceId>,
    /// Those that some machine's disk opens.
    opened: BTreeSet<InstanceId>,
}

impl Places {
    pub fn new(volumes: &ById<'_, VolumeItem>, vms: &ById<'_, VmItem>) -> Self {
        let newest = volumes.iter();
        let newest = newest.filter_map(|(place, several)| Some((*place, several.first()?)));
        let mut of: BTreeMap<InstanceId, InstanceId> = newest
            .map(|(place, found)| (place, InstanceId(found.item.object.uid.0)))
            .collect();
        let mut opened = BTreeSet::new();
        let machines = vms.values().flatten();
        for disk in machines.flat_map(|found| &found.body.disks) {
            of.insert(disk.place(), disk.volume);
            opened.insert(disk.place());
            if let Some(mirror) = &disk.mirror {
                of.insert(mirror.place, disk.volume);
            }
        }
        Self {
            volumes: of,
            opened,
        }
    }

    /// The volume that a place is of; one that nobody names is of the volume of that id.
    pub fn volume_at(&self, place: InstanceId) -> InstanceId {
        self.volumes.get(&place).copied().unwrap_or(place)
    }

    /// The places of each volume, the right one first: the one that a machine's disk opens, else the
    /// newest.
    pub fn by_volume<'a, 'b>(
        &self,
        volumes: &'b ById<'a, VolumeItem>,
    ) -> BTreeMap<InstanceId, Vec<Held<'a, 'b>>> {
        let mut by: BTreeMap<InstanceId, Vec<Held<'_, '_>>> = BTreeMap::new();
        for (place, several) in volumes {
            let of = by.entry(self.volume_at(*place)).or_default();
            of.push((*place, several));
        }
        for places in by.values_mut() {
            places.sort_by_key(|(place, several)| {
                let epoch = several.first().map(|found| found.item.epoch);
                std::cmp::Reverse((self.opened.contains(place), epoch))
            });
        }
        by
    }
}

/// A place, where it is not the volume's own id.
pub(super) fn stored(volume: InstanceId, place: InstanceId) -> Option<InstanceId> {
    (place != volume).then_some(place)
}
