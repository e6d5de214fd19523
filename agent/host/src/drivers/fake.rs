//! A pool that remembers, blocks and all. Its grants are those of a [`FakeTargets`], so that what
//! makes a target and what fences one is the real procedure.
//!
//! [`FakeTargets`]: crate::targets::FakeTargets

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dc_agent_core::storage::{
    Contents, EraseMethod, Expose, Extent, FenceProof, GrantSeen, ImageProgress, ImageSeen, Note,
    Removal, VolumeRecord, Watermark, file_size,
};
use dc_types::plan::{Disposition, ImageItem, ImageSource, VolumeSource};
use dc_types::report::{Erasure, PoolFacts};
use dc_types::{Bytes, Epoch, ImageUid, InstanceId, PoolName, SnapshotId};
use tokio::sync::Notify;

use self::disk::Disk;
use self::pool::Pool;
use super::folder::layout::volume_file;
use super::grants::{Grants, find_own, list_outgrown};
use super::turns::{Turns, Writing};
use super::{Driver, DriverError, ReadExtents, WriteExtents, check_size};
use crate::images::{ImagesError, name_of};
use crate::knobs::Knobs;

mod disk;
mod hands;
mod pool;

/// What a fake pool has room for.
const CAPACITY: Bytes = Bytes(100 << 40);

/// The disk in every fake image, unless a test says otherwise.
const VIRTUAL_SIZE: Bytes = Bytes(256 << 20);

/// The pool of a fake machine; clones share it.
#[derive(Clone)]
pub struct FakeDriver(Arc<Inner>);

struct Inner {
    name: PoolName,
    root: PathBuf,
    knobs: Knobs,
    pool: Mutex<Pool>,
    grants: Arc<dyn Grants>,
    turns: Turns,
}

impl FakeDriver {
    /// Each call asks `knobs` under `pool.<verb>`.
    #[must_use]
    pub fn new(name: PoolName, root: PathBuf, knobs: Knobs, grants: Arc<dyn Grants>) -> Self {
        let pool = Pool {
            name: Some(name.clone()),
            ..Pool::default()
        };
        Self(Arc::new(Inner {
            name,
            root,
            knobs,
            pool: Mutex::new(pool),
            grants,
            turns: Turns::default(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut Pool) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        let mut pool = self.state();
        match &pool.fault {
            None => work(&mut pool),
            Some(fault) => Err(DriverError::PoolUnusable {
                pool: self.0.name.clone(),
                fault: fault.clone(),
            }),
        }
    }

    /// A call that changes something: it may fail, and it may lose its answer.
    async fn change<T>(
        &self,
        call: &'static str,
        work: impl FnOnce(&mut Pool) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        self.0.knobs.gate(call).await?;
        let done = self.with(work)?;
        self.0.knobs.answer(call)?;
        Ok(done)
    }

    fn see_unwritten(&self, volume: InstanceId) -> Result<(), DriverError> {
        match self.0.turns.is_written(volume) {
            false => Ok(()),
            true => Err(in_use(volume, "a writer of this process".to_owned())),
        }
    }

    async fn see_free(&self, volume: InstanceId) -> Result<(), DriverError> {
        self.see_unwritten(volume)?;
        let granted = self.0.grants.list().await?;
        match granted.iter().find(|grant| grant.volume == volume) {
            None => Ok(()),
            Some(grant) => Err(in_use(
                volume,
                format!("the grant of epoch {}", grant.epoch),
            )),
        }
    }
}

fn in_use(volume: InstanceId, by: String) -> DriverError {
    let what = format!("volume {volume}");
    DriverError::InUse { what, by }
}

#[async_trait]
impl Driver for FakeDriver {
    async fn ensure_pool(&self) -> PoolFacts {
        let gate = self.0.knobs.gate("pool.ensure_pool").await;
        let state = self.state();
        let disks = state.volumes.values().filter_map(|v| v.disk.as_ref());
        PoolFacts {
            pool: self.0.name.clone(),
            capacity: CAPACITY,
            // As if a tenth of every volume were written.
            used: Bytes(disks.map(|disk| disk.size / 10).sum()),
            reflink: true,
            fault: gate.err().map(|e| e.to_string()).or(state.fault.clone()),
            place: self.0.grants.place(),
            lacks: self.0.grants.lacks(),
            orphans: Vec::new(),
        }
    }

    async fn list(&self) -> Result<Contents, DriverError> {
        self.0.knobs.gate("pool.list").await?;
        self.with(|pool| {
            let volumes = pool.volumes.iter().map(|(id, volume)| {
                let place = volume_file(&self.0.root, *id).display().to_string();
                (*id, pool.seen(volume, place))
            });
            Ok(Contents {
                volumes: volumes.collect(),
                images: pool.images.clone(),
                strays: Vec::new(),
            })
        })
    }

    async fn create_volume(
        &self,
        volume: InstanceId,
        size: Bytes,
        source: &VolumeSource,
    ) -> Result<(), DriverError> {
        check_size(size)?;
        self.change("pool.create_volume", |pool| {
            pool.create(volume, size, source)
        })
        .await
    }

    async fn grow_volume(&self, volume: InstanceId, size: Bytes) -> Result<(), DriverError> {
        check_size(size)?;
        let _turn = self.0.turns.take(volume).await;
        self.see_unwritten(volume)?;
        let outgrown = list_outgrown(&*self.0.grants, volume).await?;
        self.change("pool.grow_volume", |pool| {
            let size = file_size(size).0;
            if pool.disk(volume)?.size >= size {
                return Ok(());
            }
            if !outgrown.is_empty() {
                pool.note(volume, &Note::Outgrown(outgrown))?;
            }
            pool.disk(volume)?.size = size;
            Ok(())
        })
        .await
    }

    async fn note_volume(&self, volume: InstanceId, note: &Note) -> Result<(), DriverError> {
        self.change("pool.note_volume", |pool| pool.note(volume, note))
            .await
    }

    async fn read_record(&self, volume: InstanceId) -> Result<Option<VolumeRecord>, DriverError> {
        self.0.knobs.gate("pool.read_record").await?;
        self.with(|pool| {
            let found = pool.volumes.get(&volume);
            Ok(found.and_then(|volume| volume.record.clone()))
        })
    }

    async fn retain_volume(&self, order: &Removal) -> Result<(), DriverError> {
        let _turn = self.0.turns.take(order.volume).await;
        self.see_free(order.volume).await?;
        self.change("pool.retain_volume", |pool| {
            pool.remove(order, Disposition::Retain).map(drop)
        })
        .await
    }

    async fn erase_volume(
        &self,
        order: &Removal,
        method: EraseMethod,
    ) -> Result<Option<Erasure>, DriverError> {
        let _turn = self.0.turns.take(order.volume).await;
        self.see_free(order.volume).await?;
        let disposition = match method {
            EraseMethod::Discard => Disposition::EraseDiscard,
            EraseMethod::Zero => Disposition::EraseZero,
            EraseMethod::Random => Disposition::EraseRandom,
        };
        self.change("pool.erase_volume", |pool| {
            let snapshots = pool.volumes.get(&order.volume).map(|v| &v.snapshots);
            if let Some(snapshot) = snapshots.and_then(|all| all.keys().next()) {
                return Err(DriverError::InUse {
                    what: format!("volume {}", order.volume),
                    by: format!("its snapshot {snapshot}"),
                });
            }
            pool.remove(order, disposition)
        })
        .await
    }

    async fn create_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError> {
        self.change("pool.create_snapshot", |pool| {
            let disk = pool.disk(volume)?.clone();
            let of = pool.volumes.entry(volume).or_default();
            of.snapshots.entry(snapshot).or_insert(disk);
            Ok(())
        })
        .await
    }

    async fn delete_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError> {
        self.change("pool.delete_snapshot", |pool| {
            if let Some(volume) = pool.volumes.get_mut(&volume) {
                volume.snapshots.remove(&snapshot);
            }
            Ok(())
        })
        .await
    }

    async fn restore_volume(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError> {
        let _turn = self.0.turns.take(volume).await;
        self.see_free(volume).await?;
        self.change("pool.restore_volume", |pool| {
            let mut restored = pool.snapshot(volume, snapshot)?.clone();
            let disk = pool.disk(volume)?;
            restored.size = restored.size.max(disk.size);
            *disk = restored;
            Ok(())
        })
        .await
    }

    async fn changed_extents(
        &self,
        volume: InstanceId,
        from: Option<SnapshotId>,
        to: SnapshotId,
    ) -> Result<Vec<Extent>, DriverError> {
        self.0.knobs.gate("pool.changed_extents").await?;
        self.with(|pool| {
            let newer = pool.snapshot(volume, to)?;
            Ok(match from {
                Some(from) => newer.changed_since(pool.snapshot(volume, from)?),
                None => newer.held(),
            })
        })
    }

    async fn open_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<Arc<dyn ReadExtents>, DriverError> {
        self.0.knobs.gate("pool.open_snapshot").await?;
        self.with(|pool| {
            let disk = pool.snapshot(volume, snapshot)?.clone();
            Ok(Arc::new(OpenSnapshot(disk)) as Arc<dyn ReadExtents>)
        })
    }

    async fn open_volume(&self, volume: InstanceId) -> Result<Arc<dyn WriteExtents>, DriverError> {
        let _turn = self.0.turns.take(volume).await;
        self.0.knobs.gate("pool.open_volume").await?;
        self.see_free(volume).await?;
        let size = self.with(|pool| Ok(pool.disk(volume)?.size))?;
        Ok(Arc::new(OpenVolume {
            driver: self.clone(),
            volume,
            size: Bytes(size),
            _writing: self.0.turns.write(volume),
        }))
    }

    async fn list_grants(&self) -> Result<Vec<GrantSeen>, DriverError> {
        self.0.grants.list().await
    }

    async fn grant(&self, order: &Expose) -> Result<(), DriverError> {
        let _turn = self.0.turns.take(order.volume).await;
        if self.0.turns.is_written(order.volume) {
            self.see_free(order.volume).await?;
        }
        let record = self.read_record(order.volume).await?;
        let mark = record.and_then(|record| record.grants);
        if mark != Some(Watermark::open(order.epoch)) {
            return Err(DriverError::StaleEpoch {
                asked: order.epoch,
                highest: mark.map(|mark| mark.epoch).unwrap_or_default(),
            });
        }
        let listed = self.0.grants.list().await?;
        let there = find_own(order, &listed)?;
        let file = volume_file(&self.0.root, order.volume);
        self.0.grants.open(order, &file, there).await
    }

    async fn revoke(&self, grant: &GrantSeen) -> Result<FenceProof, DriverError> {
        let _turn = self.0.turns.take(grant.volume).await;
        self.0.grants.close(grant).await
    }

    async fn follow(&self, changed: &Notify) {
        self.0.grants.follow(changed).await;
    }

    async fn fetch_image(&self, item: &ImageItem, epoch: Epoch) -> Result<(), DriverError> {
        self.change("pool.fetch_image", |pool| {
            if let ImageSource::File(file) = &item.source
                && let Some(is) = pool.image_sums.get(file).filter(|is| **is != item.sha256)
            {
                return Err(DriverError::Image(ImagesError::ChecksumMismatch {
                    source_name: name_of(&item.source),
                    is: is.clone(),
                    asked: item.sha256.clone(),
                }));
            }
            let virtual_size = pool.image_sizes.get(&item.image).copied();
            let virtual_size = virtual_size.unwrap_or(VIRTUAL_SIZE);
            if virtual_size > item.max_virtual {
                return Err(DriverError::Image(ImagesError::DiskTooLarge {
                    source_name: name_of(&item.source),
                    is: virtual_size,
                    limit: item.max_virtual,
                }));
            }
            let seen = ImageSeen {
                sha256: item.sha256.clone(),
                format: item.format,
                virtual_size,
                epoch,
            };
            pool.images.insert(item.image, seen);
            Ok(())
        })
        .await
    }

    async fn remove_image(&self, image: ImageUid) -> Result<(), DriverError> {
        self.change("pool.remove_image", |pool| {
            pool.images.remove(&image);
            Ok(())
        })
        .await
    }

    fn read_progress(&self) -> BTreeMap<ImageUid, ImageProgress> {
        BTreeMap::new()
    }
}

struct OpenSnapshot(Disk);

struct OpenVolume {
    driver: FakeDriver,
    volume: InstanceId,
    size: Bytes,
    _writing: Writing,
}

impl OpenVolume {
    async fn with<T>(
        &self,
        call: &'static str,
        extent: Extent,
        work: impl FnOnce(&mut Disk) -> T,
    ) -> Result<T, DriverError> {
        see_within(extent, self.size)?;
        self.driver
            .change(call, |pool| Ok(work(pool.disk(self.volume)?)))
            .await
    }
}

fn see_within(extent: Extent, size: Bytes) -> Result<(), DriverError> {
    match extent.end() <= size.0 {
        true => Ok(()),
        false => Err(DriverError::Corrupt {
            what: format!("{extent:?}"),
            fault: format!("it lies beyond {size}"),
        }),
    }
}

#[async_trait]
impl ReadExtents for OpenSnapshot {
    fn size(&self) -> Bytes {
        Bytes(self.0.size)
    }

    async fn read(&self, extent: Extent) -> Result<Vec<u8>, DriverError> {
        see_within(extent, self.size())?;
        Ok(self.0.read(extent))
    }
}

#[async_trait]
impl ReadExtents for OpenVolume {
    fn size(&self) -> Bytes {
        self.size
    }

    async fn read(&self, extent: Extent) -> Result<Vec<u8>, DriverError> {
        self.with("pool.read", extent, |disk| disk.read(extent))
            .await
    }
}

#[async_trait]
impl WriteExtents for OpenVolume {
    async fn write(&self, start: u64, bytes: Vec<u8>) -> Result<(), DriverError> {
        let extent = Extent::new(start, bytes.len() as u64);
        self.with("pool.write", extent, |disk| disk.write(start, &bytes))
            .await
    }

    async fn discard(&self, extent: Extent) -> Result<(), DriverError> {
        self.with("pool.discard", extent, |disk| disk.discard(extent))
            .await
    }

    async fn flush(&self) -> Result<(), DriverError> {
        Ok(self.driver.0.knobs.gate("pool.flush").await?)
    }
}
