//! What a fake pool remembers.

use std::collections::{BTreeMap, BTreeSet};

use dc_agent_core::storage::{
    Gone, ImageSeen, Note, Removal, SnapshotSeen, VolumeBytes, VolumeRecord, VolumeSeen, file_size,
};
use dc_types::plan::{Disposition, VolumeSource};
use dc_types::report::Erasure;
use dc_types::{Bytes, ImageUid, InstanceId, PoolName, SnapshotId};

use super::disk::Disk;
use crate::drivers::DriverError;

#[derive(Default)]
pub struct Pool {
    pub name: Option<PoolName>,
    pub volumes: BTreeMap<InstanceId, Volume>,
    pub images: BTreeMap<ImageUid, ImageSeen>,
    pub retained: BTreeSet<InstanceId>,
    pub erased: Vec<InstanceId>,
    pub fault: Option<String>,
    /// The size of the disk that will be found in an image, when a test has said so.
    pub image_sizes: BTreeMap<ImageUid, Bytes>,
    /// The SHA-256 that will be found in an image file.
    pub image_sums: BTreeMap<String, String>,
}

#[derive(Default)]
pub struct Volume {
    pub disk: Option<Disk>,
    pub record: Option<VolumeRecord>,
    pub snapshots: BTreeMap<SnapshotId, Disk>,
}

impl Pool {
    fn not_there(&self, what: String) -> DriverError {
        DriverError::NotThere {
            pool: self.name.clone().expect("a fake pool has its name"),
            what,
        }
    }

    pub fn disk(&mut self, volume: InstanceId) -> Result<&mut Disk, DriverError> {
        let missing = self.not_there(format!("volume {volume}"));
        let found = self.volumes.get_mut(&volume);
        found.and_then(|v| v.disk.as_mut()).ok_or(missing)
    }

    pub fn snapshot(&self, of: InstanceId, snapshot: SnapshotId) -> Result<&Disk, DriverError> {
        let found = self
            .volumes
            .get(&of)
            .and_then(|v| v.snapshots.get(&snapshot));
        found.ok_or_else(|| self.not_there(format!("snapshot {snapshot}")))
    }

    /// A snapshot has no time but the order in which a test takes it.
    pub fn seen(&self, volume: &Volume, place: String) -> VolumeSeen {
        let bytes = volume.disk.as_ref().map(|disk| VolumeBytes::Present {
            size: Bytes(disk.size),
            // As if a tenth of every volume were written, at least.
            allocated: Bytes(disk.allocated().max(disk.size / 10)),
        });
        let snapshots = volume.snapshots.iter().map(|(id, disk)| {
            let seen = SnapshotSeen {
                size: Bytes(disk.size),
                taken_at: 0,
                fault: None,
            };
            (*id, seen)
        });
        VolumeSeen {
            place,
            bytes: bytes.unwrap_or(VolumeBytes::Absent),
            record: volume.record.clone(),
            snapshots: snapshots.collect(),
            fault: None,
        }
    }

    pub fn create(
        &mut self,
        volume: InstanceId,
        size: Bytes,
        source: &VolumeSource,
    ) -> Result<(), DriverError> {
        if self.volumes.get(&volume).is_some_and(|v| v.disk.is_some()) {
            return Ok(());
        }
        let size = file_size(size);
        let found = match source {
            VolumeSource::Blank => Some(Disk::default()),
            VolumeSource::Image(image) => self.images.get(image).map(|i| Disk::of(i.virtual_size)),
            VolumeSource::Volume(of) => self.volumes.get(of).and_then(|v| v.disk.clone()),
            VolumeSource::Snapshot { volume, snapshot } => {
                self.snapshot(*volume, *snapshot).ok().cloned()
            }
        };
        let source_name = format!("{source:?}");
        let Some(mut disk) = found else {
            let pool = self.name.clone().expect("a fake pool has its name");
            return Err(DriverError::SourceMissing { pool, source_name });
        };
        if disk.size > size.0 {
            return Err(DriverError::SizeBelowSource {
                source_name,
                needs: Bytes(disk.size),
                asked: size,
            });
        }
        disk.size = size.0;
        self.volumes.entry(volume).or_default().disk = Some(disk);
        Ok(())
    }

    pub fn note(&mut self, volume: InstanceId, note: &Note) -> Result<(), DriverError> {
        let before = self.volumes.get(&volume).and_then(|v| v.record.clone());
        match (VolumeRecord::with(before, note), note) {
            (Some(record), _) => {
                self.volumes.entry(volume).or_default().record = Some(record);
                Ok(())
            }
            (None, Note::Gone(_) | Note::Fenced(_)) => Ok(()),
            (None, _) => Err(DriverError::NoRecord {
                pool: self.name.clone().expect("a fake pool has its name"),
                volume,
            }),
        }
    }

    /// Takes the bytes away; what an erasure would have found of them.
    pub fn remove(
        &mut self,
        order: &Removal,
        method: Disposition,
    ) -> Result<Option<Erasure>, DriverError> {
        let disk = self
            .volumes
            .get_mut(&order.volume)
            .and_then(|v| v.disk.take());
        let there = disk.is_some();
        let erases = method != Disposition::Retain;
        let erasure = disk.filter(|_| erases).map(|disk| Erasure {
            method,
            extents: disk.held().len() as u64,
            bytes: Bytes(disk.allocated()),
            verified: Bytes(disk.allocated()),
            began_at: 0,
            ended_at: 0,
        });
        match (method, &erasure) {
            (Disposition::Retain, _) if there => {
                self.retained.insert(order.volume);
            }
            // That it is gone is written down all the same.
            (Disposition::Retain, _) => {}
            (_, Some(_)) => self.erased.push(order.volume),
            (_, None) => {}
        }
        let gone = Gone {
            epoch: order.epoch,
            disposition: method,
            note: format!("gone by {method:?}"),
            erasure: erasure.clone(),
        };
        self.note(order.volume, &Note::Gone(gone))?;
        Ok(erasure)
    }
}
