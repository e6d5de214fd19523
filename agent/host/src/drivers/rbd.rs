//! A pool of a Ceph cluster: the driver `rbd`.
//!
//! What always holds, beside what every driver keeps to:
//! - A volume is an image under its id; [`names`] has all names.
//! - A grant is a cephx user that reaches one image and what that was cloned from, and nothing
//!   else: [`rights`]. Its fence is in [`fence`].
//! - What must outlive the image (records, the log of what was erased) lies beside the images, in a
//!   namespace of its own: [`records`].
//! - A pool that has lost its id, or has another one, is not written to.
//!
//! The cluster keeps images on any number of hosts; this agent alone works with the pool. What is
//! done by Ceph's programs is in [`crate::rbd`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use dc_agent_core::storage::{
    Contents, EraseMethod, Expose, Extent, FenceProof, GrantSeen, ImageProgress, MAX_VOLUME, Note,
    Removal, VolumeRecord, Watermark, clip, file_size, merge,
};
use dc_types::plan::{ImageItem, RbdCluster, VolumeSource};
use dc_types::report::{Erasure, PoolFacts, PoolPlace};
use dc_types::{Bytes, Epoch, ImageUid, InstanceId, PoolName, SnapshotId};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use self::open::{OpenImage, OpenVolume};
use self::pool::Pool;
use super::folder::Remembered;
use super::turns::Turns;
use super::{Driver, DriverError, ReadExtents, WriteExtents};
use crate::images::Fetcher;
use crate::rbd::{
    BlockServer, Cluster, ImageName, Opening, QemuStorageDaemon, Rbd, RbdError, RbdPlace, RealCeph,
    Shrink, Snapshot,
};

mod contents;
mod fence;
mod images;
mod making;
mod names;
mod open;
mod pool;
mod ready;
mod records;
mod removal;
mod rights;
#[cfg(test)]
mod tests;

/// The programs that a driver works with.
pub struct CephTools {
    pub rbd: Arc<dyn Rbd>,
    pub cluster: Arc<dyn Cluster>,
    pub blocks: Arc<dyn BlockServer>,
}

/// The pool of one cluster.
pub struct RbdDriver {
    pool: Arc<Pool>,
    remembered: Remembered,
    fetcher: Arc<Fetcher>,
    /// Where images are converted before they are put into the pool.
    scratch: PathBuf,
    /// Whether this process has readied the pool.
    ready: Mutex<Readied>,
    turns: Turns,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Readied {
    NotYet,
    Done,
}

impl RbdDriver {
    /// `ceph_name` is what the cluster calls the pool; `scratch` is a folder of the driver's own.
    #[must_use]
    pub fn new(
        name: PoolName,
        ceph_name: String,
        tools: CephTools,
        remembered: Remembered,
        fetcher: Arc<Fetcher>,
        scratch: PathBuf,
    ) -> Self {
        let CephTools {
            rbd,
            cluster,
            blocks,
        } = tools;
        Self {
            pool: Arc::new(Pool {
                name,
                ceph_name,
                rbd,
                cluster,
                blocks,
                noting: Mutex::default(),
            }),
            remembered,
            fetcher,
            scratch,
            ready: Mutex::new(Readied::NotYet),
            turns: Turns::default(),
        }
    }

    /// Over Ceph's own programs. `state` is a folder of the agent's own; it is made when it is needed.
    #[must_use]
    pub fn of_cluster(
        name: PoolName,
        place: &RbdPlace,
        state: &Path,
        remembered: Remembered,
        fetcher: Arc<Fetcher>,
    ) -> Self {
        let ceph = Arc::new(RealCeph::new(place));
        let tools = CephTools {
            rbd: ceph.clone(),
            cluster: ceph,
            blocks: Arc::new(QemuStorageDaemon::new(place.clone())),
        };
        let scratch = state.join("rbd").join(name.as_str());
        Self::new(
            name,
            place.pool.clone(),
            tools,
            remembered,
            fetcher,
            scratch,
        )
    }

    fn told(&self, error: RbdError) -> DriverError {
        self.pool.told(error)
    }

    /// Takes the turn of a volume that nobody holds and nobody writes to.
    async fn take_free(&self, volume: InstanceId) -> Result<OwnedMutexGuard<()>, DriverError> {
        let turn = self.turns.take(volume).await;
        self.see_unwritten(volume)?;
        match fence::epochs_of(&self.pool, volume).await?.first() {
            None => Ok(turn),
            Some(epoch) => Err(granted(volume, *epoch)),
        }
    }

    fn see_unwritten(&self, volume: InstanceId) -> Result<(), DriverError> {
        match self.turns.is_written(volume) {
            false => Ok(()),
            true => Err(DriverError::InUse {
                what: format!("volume {volume}"),
                by: "a restore or a move of this host, which writes to it".to_owned(),
            }),
        }
    }

    async fn image_of(&self, volume: InstanceId) -> Result<ImageName, DriverError> {
        match records::read(&self.pool, volume).await? {
            Some(_) => Ok(names::volume(volume)),
            None => Err(DriverError::NotThere {
                pool: self.pool.name.clone(),
                what: format!("volume {volume}"),
            }),
        }
    }

    /// A snapshot of a volume, which has one; with the volume's image.
    async fn snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(ImageName, Snapshot), DriverError> {
        let (image, listed) = self.snapshots(volume).await?;
        let found = self.find(volume, snapshot, &listed)?.clone();
        Ok((image, found))
    }

    async fn snapshots(
        &self,
        volume: InstanceId,
    ) -> Result<(ImageName, Vec<Snapshot>), DriverError> {
        let image = self.image_of(volume).await?;
        let listed = self.pool.rbd.list_snapshots(&image).await;
        Ok((image, listed.map_err(|error| self.told(error))?))
    }

    fn find<'a>(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
        listed: &'a [Snapshot],
    ) -> Result<&'a Snapshot, DriverError> {
        let name = snapshot.to_string();
        let found = listed.iter().find(|one| one.name == name);
        found.ok_or_else(|| DriverError::NotThere {
            pool: self.pool.name.clone(),
            what: format!("snapshot {snapshot} of volume {volume}"),
        })
    }

    /// The storage itself refuses an epoch that is not the one written down beside the volume: the
    /// plan may have been made from an older look.
    async fn see_open(&self, order: &Expose) -> Result<(), DriverError> {
        let mark = records::expect(&self.pool, order.volume).await?.grants;
        match mark == Some(Watermark::open(order.epoch)) {
            true => Ok(()),
            false => Err(DriverError::StaleEpoch {
                asked: order.epoch,
                highest: mark.map(|mark| mark.epoch).unwrap_or_default(),
            }),
        }
    }
}

fn granted(volume: InstanceId, epoch: Epoch) -> DriverError {
    DriverError::InUse {
        what: format!("volume {volume}"),
        by: format!("the grant of epoch {epoch}"),
    }
}

/// What no image can hold is refused before anything is made.
fn see_size(size: Bytes) -> Result<(), DriverError> {
    let why = match size {
        Bytes(0) => "it would hold nothing".to_owned(),
        size if size > MAX_VOLUME => format!("no volume has more than {MAX_VOLUME}"),
        _ => return Ok(()),
    };
    Err(DriverError::SizeImpossible { asked: size, why })
}

#[async_trait]
impl Driver for RbdDriver {
    async fn ensure_pool(&self) -> PoolFacts {
        let mut facts = PoolFacts {
            pool: self.pool.name.clone(),
            capacity: Bytes(0),
            used: Bytes(0),
            reflink: true,
            fault: None,
            place: PoolPlace::Rbd(RbdCluster {
                monitors: Vec::new(),
                pool: self.pool.ceph_name.clone(),
            }),
            lacks: Vec::new(),
            orphans: Vec::new(),
        };
        match self.facts().await {
            Ok((capacity, used, monitors)) => {
                facts.capacity = capacity;
                facts.used = used;
                facts.place = PoolPlace::Rbd(RbdCluster {
                    monitors,
                    pool: self.pool.ceph_name.clone(),
                });
            }
            Err(DriverError::PoolUnusable { fault, .. }) => facts.fault = Some(fault),
            Err(error) => facts.fault = Some(error.to_string()),
        }
        facts
    }

    async fn list(&self) -> Result<Contents, DriverError> {
        let pool = self.see_pool().await?;
        images::empty_trash(pool).await?;
        contents::list(pool).await
    }

    async fn create_volume(
        &self,
        volume: InstanceId,
        size: Bytes,
        source: &VolumeSource,
    ) -> Result<(), DriverError> {
        see_size(size)?;
        let pool = self.see_pool().await?;
        // Without a turn: the turns of two volumes made from each other would wait for each other.
        let made = making::create(pool, volume, size, source).await;
        pool.explain(&format!("making volume {volume}"), made).await
    }

    async fn grow_volume(&self, volume: InstanceId, size: Bytes) -> Result<(), DriverError> {
        see_size(size)?;
        let pool = self.see_pool().await?;
        // Whoever has the lock of the image is asked by the cluster to do it.
        let _turn = self.turns.take(volume).await;
        self.see_unwritten(volume)?;
        let image = self.image_of(volume).await?;
        let (is, asked) = (pool.expect_image(&image).await?.size, file_size(size));
        if is >= asked {
            return Ok(());
        }
        pool.see_room(&format!("growing volume {volume}")).await?;
        let grown = pool.rbd.resize_image(&image, asked, Shrink::Refused).await;
        let grown = grown.map_err(|error| self.told(error));
        pool.explain(&format!("growing volume {volume}"), grown)
            .await
    }

    async fn note_volume(&self, volume: InstanceId, note: &Note) -> Result<(), DriverError> {
        records::note(self.see_pool().await?, volume, note).await
    }

    async fn read_record(&self, volume: InstanceId) -> Result<Option<VolumeRecord>, DriverError> {
        records::read(self.see_pool().await?, volume).await
    }

    async fn retain_volume(&self, order: &Removal) -> Result<(), DriverError> {
        let pool = self.see_pool().await?;
        let _turn = self.take_free(order.volume).await?;
        let gone = removal::retain(pool, order).await?;
        records::note(pool, order.volume, &Note::Gone(gone)).await
    }

    async fn erase_volume(
        &self,
        order: &Removal,
        method: EraseMethod,
    ) -> Result<Option<Erasure>, DriverError> {
        let pool = self.see_pool().await?;
        let _turn = self.take_free(order.volume).await?;
        for image in [names::volume(order.volume), names::erasing(order.volume)] {
            see_no_snapshots(pool, &image).await?;
        }
        let gone = removal::erase(pool, order, method).await?;
        let erasure = gone.erasure.clone();
        records::note(pool, order.volume, &Note::Gone(gone)).await?;
        removal::finish(pool, order).await?;
        Ok(erasure)
    }

    async fn create_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError> {
        let pool = self.see_pool().await?;
        let _turn = self.turns.take(volume).await;
        let image = self.image_of(volume).await?;
        pool.expect_image(&image).await?;
        pool.see_room(&format!("taking snapshot {snapshot}"))
            .await?;
        let name = snapshot.to_string();
        let taken = pool.rbd.create_snapshot(&image, &name).await;
        let taken = taken.map_err(|error| self.told(error));
        pool.explain(&format!("taking snapshot {snapshot}"), taken)
            .await
    }

    async fn delete_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError> {
        let pool = self.see_pool().await?;
        let _turn = self.turns.take(volume).await;
        // One that is not there is as good as deleted, and so is one of a volume that is not.
        let (image, name) = (names::volume(volume), snapshot.to_string());
        let removed = pool.rbd.remove_snapshot(&image, &name).await;
        removed.map_err(|error| self.told(error))
    }

    async fn restore_volume(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError> {
        let pool = self.see_pool().await?;
        let _turn = self.take_free(volume).await?;
        let (image, found) = self.snapshot(volume, snapshot).await?;
        let size = pool.expect_image(&image).await?.size;
        let told = |error| self.told(error);
        let back = pool.rbd.rollback_image(&image, &found.name).await;
        back.map_err(told)?;
        // A rollback gives it the snapshot's size as well.
        if found.size < size {
            let grown = pool.rbd.resize_image(&image, size, Shrink::Refused);
            grown.await.map_err(told)?;
        }
        Ok(())
    }

    async fn changed_extents(
        &self,
        volume: InstanceId,
        from: Option<SnapshotId>,
        to: SnapshotId,
    ) -> Result<Vec<Extent>, DriverError> {
        let pool = self.see_pool().await?;
        let (image, listed) = self.snapshots(volume).await?;
        let to = self.find(volume, to, &listed)?;
        let from = from.map(|from| self.find(volume, from, &listed));
        // What differs is the same both ways, and is told from the older to the newer.
        let (older, newer) = match from.transpose()? {
            Some(from) if from.order > to.order => (Some(to), from),
            from => (from, to),
        };
        let older = older.map(|older| older.name.as_str());
        let found = pool.rbd.read_differences(&image, older, Some(&newer.name));
        let found = found.await.map_err(|error| self.told(error))?.into_iter();
        let extents = merge(found.map(|one| Extent::new(one.offset, one.length)));
        Ok(clip(extents, to.size.0))
    }

    async fn open_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<Arc<dyn ReadExtents>, DriverError> {
        let pool = self.see_pool().await?;
        let (image, found) = self.snapshot(volume, snapshot).await?;
        let open = OpenImage::open(pool, &image, Opening::Snapshot(&found.name)).await?;
        Ok(Arc::new(open))
    }

    async fn open_volume(&self, volume: InstanceId) -> Result<Arc<dyn WriteExtents>, DriverError> {
        let pool = self.see_pool().await?;
        let _turn = self.take_free(volume).await?;
        let writing = self.turns.write(volume);
        let image = self.image_of(volume).await?;
        pool.expect_image(&image).await?;
        let open = OpenImage::open(pool, &image, Opening::Volume).await?;
        Ok(Arc::new(OpenVolume::new(open, writing)))
    }

    async fn list_grants(&self) -> Result<Vec<GrantSeen>, DriverError> {
        fence::list(&self.pool).await
    }

    async fn grant(&self, order: &Expose) -> Result<(), DriverError> {
        let pool = self.see_pool().await?;
        let _turn = self.turns.take(order.volume).await;
        self.see_unwritten(order.volume)?;
        self.see_open(order).await?;
        // An older grant is fenced before a newer one is made.
        let mut epochs = fence::epochs_of(pool, order.volume).await?.into_iter();
        if let Some(older) = epochs.find(|epoch| *epoch != order.epoch) {
            return Err(granted(order.volume, older));
        }
        fence::open(pool, order).await
    }

    async fn revoke(&self, grant: &GrantSeen) -> Result<FenceProof, DriverError> {
        let _turn = self.turns.take(grant.volume).await;
        fence::fence(&self.pool, grant).await
    }

    /// Users stay until they are removed.
    async fn follow(&self, _changed: &Notify) {
        std::future::pending().await
    }

    async fn fetch_image(&self, item: &ImageItem, epoch: Epoch) -> Result<(), DriverError> {
        let pool = self.see_pool().await?;
        images::fetch(pool, &self.scratch, &self.fetcher, item, epoch).await
    }

    async fn remove_image(&self, image: ImageUid) -> Result<(), DriverError> {
        images::remove(self.see_pool().await?, image).await
    }

    fn read_progress(&self) -> BTreeMap<ImageUid, ImageProgress> {
        self.fetcher.read_progress()
    }
}

/// Snapshots that somebody asked for.
async fn see_no_snapshots(pool: &Pool, image: &ImageName) -> Result<(), DriverError> {
    let listed = match pool.rbd.list_snapshots(image).await {
        Err(error) if error.is_missing() => return Ok(()),
        other => other.map_err(|error| pool.told(error))?,
    };
    let asked = listed
        .iter()
        .find(|one| matches!(names::moment(&one.name), names::Moment::Snapshot(_)));
    match asked {
        None => Ok(()),
        Some(snapshot) => Err(DriverError::InUse {
            what: format!("image {image}"),
            by: format!("its snapshot {}", snapshot.name),
        }),
    }
}
