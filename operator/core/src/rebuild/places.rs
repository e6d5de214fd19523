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
    /// Those that some machine's disk is copied to.
    mirrors: BTreeSet<InstanceId>,
}

impl Places {
    pub fn new(volumes: &ById<'_, VolumeItem>, vms: &ById<'_, VmItem>) -> Self {
        let newest = volumes.iter();
        let newest = newest.filter_map(|(place, several)| Some((*place, several.first()?)));
        let mut of: BTreeMap<InstanceId, InstanceId> = newest
            .map(|(place, found)| (place, InstanceId(found.item.object.uid.0)))
            .collect();
        let (mut opened, mut mirrors) = (BTreeSet::new(), BTreeSet::new());
        let machines = vms.values().flatten();
        for disk in machines.flat_map(|found| &found.body.disks) {
            of.insert(disk.place(), disk.volume);
            opened.insert(disk.place());
            if let Some(mirror) = &disk.mirror {
                of.insert(mirror.place, disk.volume);
                mirrors.insert(mirror.place);
            }
        }
        Self {
            volumes: of,
            mirrors: mirrors.difference(&opened).copied().collect(),
            opened,
        }
    }

    /// Whether the bytes in a place are only on their way there, as far as the plans of hosts say.
    pub fn is_mirror(&self, place: InstanceId) -> bool {
        self.mirrors.contains(&place)
    }

    /// The volume that a place is of; one that nobody names is of the volume of that id.
    pub fn volume_at(&self, place: InstanceId) -> InstanceId {
        self.volumes.get(&place).copied().unwrap_or(place)
    }

    /// The places of each volume, the right one first: the one that a machine's disk opens, else the
    /// newest. Those that a disk is only copied to are not among them.
    pub fn by_volume<'a, 'b>(
        &self,
        volumes: &'b ById<'a, VolumeItem>,
    ) -> BTreeMap<InstanceId, Vec<Held<'a, 'b>>> {
        let mut by: BTreeMap<InstanceId, Vec<Held<'_, '_>>> = BTreeMap::new();
        for (place, several) in volumes.iter().filter(|(place, _)| !self.is_mirror(**place)) {
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
