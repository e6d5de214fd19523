//! Pools that remember. The fake of images shares what they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dc_agent_core::storage::{
    EraseMethod, Gone, ImageSeen, Note, PoolSeen, Removal, VolumeBytes, VolumeRecord, VolumeSeen,
    file_size,
};
use dc_types::plan::{Disposition, VolumeSource};
use dc_types::report::{PoolFacts, PoolPlace};
use dc_types::{Bytes, ImageUid, InstanceId, PoolName};

use super::{Volumes, VolumesError};
use crate::knobs::Knobs;

/// What a fake pool has room for.
const CAPACITY: Bytes = Bytes(100 << 40);

/// Pools of a fake machine; clones share them.
#[derive(Clone)]
pub struct FakeVolumes {
    knobs: Knobs,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    pools: BTreeMap<PoolName, Pool>,
}

#[derive(Default)]
struct Pool {
    volumes: BTreeMap<InstanceId, Volume>,
    images: BTreeMap<ImageUid, ImageSeen>,
    retained: BTreeSet<InstanceId>,
    erased: Vec<InstanceId>,
    fault: Option<String>,
}

#[derive(Default)]
struct Volume {
    size: Option<Bytes>,
    record: Option<VolumeRecord>,
}

impl FakeVolumes {
    #[must_use]
    pub fn new(knobs: Knobs, pools: impl IntoIterator<Item = PoolName>) -> Self {
        let pools = pools.into_iter().map(|pool| (pool, Pool::default()));
        let state = State {
            pools: pools.collect(),
        };
        Self {
            knobs,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Breaks a pool, or mends it.
    pub fn set_fault(&self, pool: &PoolName, fault: Option<String>) {
        if let Some(pool) = self.state().pools.get_mut(pool) {
            pool.fault = fault;
        }
    }

    /// Volumes whose bytes were erased, in that order.
    #[must_use]
    pub fn erased(&self, pool: &PoolName) -> Vec<InstanceId> {
        let state = self.state();
        let pool = state.pools.get(pool);
        pool.map(|pool| pool.erased.clone()).unwrap_or_default()
    }

    /// Volumes whose bytes are kept out of use.
    #[must_use]
    pub fn retained(&self, pool: &PoolName) -> BTreeSet<InstanceId> {
        let state = self.state();
        let pool = state.pools.get(pool);
        pool.map(|pool| pool.retained.clone()).unwrap_or_default()
    }

    /// The file is gone, as when somebody has deleted it by hand.
    pub fn lose_file(&self, pool: &PoolName, volume: InstanceId) {
        if let Some(pool) = self.state().pools.get_mut(pool)
            && let Some(volume) = pool.volumes.get_mut(&volume)
        {
            volume.size = None;
        }
    }

    /// Works with the images of a pool; for the fake of images.
    pub(crate) fn with_images<T>(
        &self,
        pool: &PoolName,
        work: impl FnOnce(&mut BTreeMap<ImageUid, ImageSeen>) -> T,
    ) -> Result<T, VolumesError> {
        self.with(pool, |pool| Ok(work(&mut pool.images)))
    }

    fn with<T>(
        &self,
        name: &PoolName,
        work: impl FnOnce(&mut Pool) -> Result<T, VolumesError>,
    ) -> Result<T, VolumesError> {
        let unusable = |fault: &str| VolumesError::PoolUnusable {
            pool: name.clone(),
            fault: fault.to_owned(),
        };
        let mut state = self.state();
        let pool = state.pools.get_mut(name);
        let pool = pool.ok_or_else(|| unusable("this host has no such pool"))?;
        match &pool.fault {
            Some(fault) => Err(unusable(fault)),
            None => work(pool),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(name: &PoolName, pool: &Pool) -> PoolSeen {
        let used = pool.volumes.values().filter_map(|volume| volume.size);
        let facts = PoolFacts {
            pool: name.clone(),
            capacity: CAPACITY,
            // As if a tenth of every volume were written.
            used: Bytes(used.map(|size| size.0 / 10).sum()),
            reflink: true,
            fault: pool.fault.clone(),
            place: PoolPlace::Iscsi,
            lacks: Vec::new(),
            orphans: Vec::new(),
        };
        let volumes = pool.volumes.iter().map(|(id, volume)| {
            let bytes = volume.size.map(|size| VolumeBytes::Present {
                size,
                allocated: Bytes(size.0 / 10),
            });
            let seen = VolumeSeen {
                path: fake_path(name, *id),
                bytes: bytes.unwrap_or(VolumeBytes::Absent),
                record: volume.record.clone(),
                fault: None,
            };
            (*id, seen)
        });
        PoolSeen {
            volumes: volumes.collect(),
            images: pool.images.clone(),
            facts,
        }
    }
}

fn fake_path(pool: &PoolName, volume: InstanceId) -> PathBuf {
    PathBuf::from(format!("/pools/{pool}/volumes/{volume}.raw"))
}

impl Pool {
    fn remove(&mut self, order: &Removal, disposition: Disposition) -> Result<(), VolumesError> {
        let Some(volume) = self.volumes.get_mut(&order.volume) else {
            return Ok(());
        };
        let had = volume.size.take().is_some();
        let gone = Gone {
            epoch: order.epoch,
            disposition,
            note: format!("gone by {disposition:?}"),
        };
        volume.record = VolumeRecord::with(volume.record.take(), &Note::Gone(gone));
        match disposition {
            Disposition::Retain if had => {
                self.retained.insert(order.volume);
            }
            _ if had => self.erased.push(order.volume),
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl Volumes for FakeVolumes {
    async fn ensure_pool(&self, pool: &PoolName) -> PoolFacts {
        let fault = match self.knobs.gate("volumes.ensure_pool").await {
            Ok(()) => None,
            Err(error) => Some(error.to_string()),
        };
        let state = self.state();
        let seen = state.pools.get(pool).map(|seen| Self::seen(pool, seen));
        let mut facts = seen.map_or_else(
            || PoolFacts {
                pool: pool.clone(),
                capacity: Bytes(0),
                used: Bytes(0),
                reflink: false,
                fault: Some("this host has no such pool".to_owned()),
                place: PoolPlace::Iscsi,
                lacks: Vec::new(),
                orphans: Vec::new(),
            },
            |seen| seen.facts,
        );
        facts.fault = fault.or(facts.fault);
        facts
    }

    async fn list_volumes(
        &self,
        name: &PoolName,
    ) -> Result<BTreeMap<InstanceId, VolumeSeen>, VolumesError> {
        self.knobs.gate("volumes.list_volumes").await?;
        self.with(name, |pool| Ok(Self::seen(name, pool).volumes))
    }

    async fn create_volume(
        &self,
        name: &PoolName,
        volume: InstanceId,
        size: Bytes,
        source: &VolumeSource,
    ) -> Result<(), VolumesError> {
        self.knobs.gate("volumes.create_volume").await?;
        self.with(name, |pool| {
            let size = file_size(size);
            let needs = match source {
                VolumeSource::Blank => Some(Bytes(0)),
                VolumeSource::Image(image) => pool.images.get(image).map(|i| i.virtual_size),
                VolumeSource::Volume(of) => pool.volumes.get(of).and_then(|of| of.size),
                VolumeSource::Snapshot { .. } => None,
            };
            let source_name = format!("{source:?}");
            match needs {
                None => Err(VolumesError::SourceMissing {
                    pool: name.clone(),
                    source_name,
                }),
                Some(needs) if needs > size => Err(VolumesError::SizeBelowSource {
                    source_name,
                    needs,
                    asked: size,
                }),
                Some(_) => {
                    let volume = pool.volumes.entry(volume).or_default();
                    volume.size.get_or_insert(size);
                    Ok(())
                }
            }
        })?;
        Ok(self.knobs.answer("volumes.create_volume")?)
    }

    async fn grow_volume(
        &self,
        name: &PoolName,
        volume: InstanceId,
        size: Bytes,
    ) -> Result<(), VolumesError> {
        self.knobs.gate("volumes.grow_volume").await?;
        self.with(name, |pool| {
            let found = pool.volumes.get_mut(&volume);
            match found.and_then(|found| found.size.as_mut()) {
                Some(is) => *is = file_size(size).max(*is),
                None => {
                    return Err(VolumesError::SourceMissing {
                        pool: name.clone(),
                        source_name: format!("volume {volume}"),
                    });
                }
            }
            Ok(())
        })?;
        Ok(self.knobs.answer("volumes.grow_volume")?)
    }

    async fn note_volume(
        &self,
        name: &PoolName,
        volume: InstanceId,
        note: &Note,
    ) -> Result<(), VolumesError> {
        self.knobs.gate("volumes.note_volume").await?;
        self.with(name, |pool| {
            let found = pool.volumes.entry(volume).or_default();
            let record = VolumeRecord::with(found.record.clone(), note);
            found.record = Some(record.ok_or_else(|| VolumesError::NoRecord {
                pool: name.clone(),
                volume,
            })?);
            Ok(())
        })?;
        Ok(self.knobs.answer("volumes.note_volume")?)
    }

    async fn read_record(
        &self,
        name: &PoolName,
        volume: InstanceId,
    ) -> Result<Option<VolumeRecord>, VolumesError> {
        self.knobs.gate("volumes.read_record").await?;
        self.with(name, |pool| {
            let found = pool.volumes.get(&volume);
            Ok(found.and_then(|volume| volume.record.clone()))
        })
    }

    async fn retain_volume(&self, order: &Removal) -> Result<(), VolumesError> {
        self.knobs.gate("volumes.retain_volume").await?;
        self.with(&order.pool, |pool| pool.remove(order, Disposition::Retain))?;
        Ok(self.knobs.answer("volumes.retain_volume")?)
    }

    async fn erase_volume(&self, order: &Removal, method: EraseMethod) -> Result<(), VolumesError> {
        self.knobs.gate("volumes.erase_volume").await?;
        let disposition = match method {
            EraseMethod::Discard => Disposition::EraseDiscard,
            EraseMethod::Zero => Disposition::EraseZero,
            EraseMethod::Random => Disposition::EraseRandom,
        };
        self.with(&order.pool, |pool| pool.remove(order, disposition))?;
        Ok(self.knobs.answer("volumes.erase_volume")?)
    }
}
