//! A pool that is a folder of sparse raw files, opened by whichever [`Grants`] it is given: the
//! drivers `iscsi` and `directory`.
//!
//! What always holds:
//! - A file under its final name is whole: it is made under a name of our own in `tmp`, made
//!   durable, then renamed. What a crash leaves in `tmp` is swept at the next start.
//! - Every name is made from an id, so that no text a person wrote ends in a path.
//! - A folder that is not our pool, or has lost what showed that it was, is not written to: the
//!   place where a disk was to be mounted looks just like an empty pool.
//! - A verb works from its begin to its end in the one folder that it has seen to be the pool, held
//!   open, whatever the folder's name leads to meanwhile. It is told as done only when the name leads
//!   there still, or again.
//! - What needs that nobody holds a volume looks first, and keeps everybody out until it is done.
//!
//! Reading, making and removing are in the modules beside this one, which block; here they get a
//! thread, a turn, and a look at who holds what.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dc_agent_core::storage::{
    Contents, EraseMethod, Expose, Extent, FenceProof, GrantSeen, ImageProgress, Note, Removal,
    VolumeRecord, Watermark,
};
use dc_types::plan::{ImageItem, VolumeSource};
use dc_types::report::{Erasure, Lack, PoolFacts, Verb};
use dc_types::{Bytes, Epoch, ImageUid, InstanceId, PoolName, SnapshotId};
use nix::sys::statvfs::statvfs;
use tokio::sync::{Notify, OwnedMutexGuard};
use uuid::Uuid;

use self::files::Reflink;
use self::layout::PoolFolder;
use self::open::{OpenFile, OpenVolume};
use super::grants::{Grants, find_own, list_outgrown};
use super::turns::Turns;
use super::{Driver, DriverError, ReadExtents, WriteExtents, check_size};
use crate::images::Fetcher;

pub(crate) mod bytes;
mod files;
mod held;
mod images;
pub(crate) mod layout;
mod maps;
mod open;
mod remembered;
mod removal;
mod snapshots;
mod strays;
#[cfg(test)]
mod tests;

pub use remembered::Remembered;

/// Space is told in steps of this many bytes: it changes all the time, and each change is told.
const SPACE_STEP: u64 = 64 << 20;

/// The pool of one folder.
pub struct FolderDriver {
    inner: Arc<Inner>,
    grants: Arc<dyn Grants>,
    fetcher: Arc<Fetcher>,
    turns: Turns,
}

/// The pool's folder by its name, or held for one verb; and what is known of the pool.
struct Inner {
    folder: PoolFolder,
    known: Arc<Known>,
}

struct Known {
    remembered: Remembered,
    /// What was found out of the pool when this process readied it.
    ready: Mutex<Option<Reflink>>,
    /// Held while a record is read, changed and written.
    records: Mutex<()>,
}

impl FolderDriver {
    /// `root` is the pool's folder; its disk may be mounted there later.
    #[must_use]
    pub fn new(
        pool: PoolName,
        root: PathBuf,
        remembered: Remembered,
        grants: Arc<dyn Grants>,
        fetcher: Arc<Fetcher>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                folder: PoolFolder::new(pool, root, Uuid::new_v4()),
                known: Arc::new(Known {
                    remembered,
                    ready: Mutex::default(),
                    records: Mutex::default(),
                }),
            }),
            grants,
            fetcher,
            turns: Turns::default(),
        }
    }

    fn pool(&self) -> &PoolName {
        &self.inner.folder.pool
    }

    /// Does work that blocks with the pool's folder, on a thread for that, once it is held and seen
    /// to be the pool.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, DriverError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let inner = self.inner.clone();
        blocking(move || {
            let held = inner.hold().map_err(|fault| inner.unusable(fault))?;
            let done = work(&held);
            // What was done in one that has gone away is not told as done.
            held.see_held().map_err(|fault| held.unusable(fault))?;
            done
        })
        .await
    }

    /// Takes the turn of a volume that nobody holds and nobody writes to.
    async fn take_free(&self, volume: InstanceId) -> Result<OwnedMutexGuard<()>, DriverError> {
        let turn = self.turns.take(volume).await;
        self.see_unwritten(volume)?;
        let granted = self.grants.list().await?;
        match granted.iter().find(|grant| grant.volume == volume) {
            None => Ok(turn),
            Some(grant) => Err(DriverError::InUse {
                what: format!("volume {volume}"),
                by: format!("the grant of epoch {}", grant.epoch),
            }),
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

    /// A copy is not of one moment unless nobody writes meanwhile.
    async fn hold_source(
        &self,
        source: &VolumeSource,
    ) -> Result<Option<OwnedMutexGuard<()>>, DriverError> {
        match (source, self.with(|inner| inner.reflink()).await?) {
            (VolumeSource::Volume(source), Reflink::Copies) => {
                self.take_free(*source).await.map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Runs what blocks on a thread for that; a panic there is a panic here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Inner {
    fn unusable(&self, fault: String) -> DriverError {
        DriverError::PoolUnusable {
            pool: self.folder.pool.clone(),
            fault,
        }
    }

    /// For what is done by sharing blocks alone.
    fn see_shares(&self, what: &'static str) -> Result<(), DriverError> {
        match self.reflink()? {
            Reflink::Shares => Ok(()),
            Reflink::Copies => Err(DriverError::unsupported(
                &self.folder.pool,
                what,
                NO_REFLINK,
            )),
        }
    }

    fn facts(&self) -> Result<(Bytes, Bytes, Reflink), String> {
        let held = self.hold()?;
        let reflink = held.reflink().map_err(|error| error.to_string())?;
        let name = self.folder.root.display();
        let space = statvfs(&held.folder.root).map_err(|error| format!("{name}: {error}"))?;
        let block = space.fragment_size();
        let capacity = space.blocks() * block;
        let used = space.blocks().saturating_sub(space.blocks_free()) * block;
        let used = capacity.min(used.div_ceil(SPACE_STEP) * SPACE_STEP);
        Ok((Bytes(capacity), Bytes(used), reflink))
    }

    fn note(&self, volume: InstanceId, note: &Note) -> Result<(), DriverError> {
        let _held = self
            .known
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        files::note(&self.folder, volume, note)
    }

    /// The storage itself refuses an epoch that is not the one written down beside the volume: the
    /// plan may have been made from an older look.
    fn see_open(&self, order: &Expose) -> Result<(), DriverError> {
        let record = files::read_record(&self.folder, order.volume)?;
        let mark = record.and_then(|record| record.grants);
        if mark == Some(Watermark::open(order.epoch)) {
            return Ok(());
        }
        Err(DriverError::StaleEpoch {
            asked: order.epoch,
            highest: mark.map(|mark| mark.epoch).unwrap_or_default(),
        })
    }
}

const NO_REFLINK: &str = "the file system of its folder does not let files share blocks: use XFS \
                          made with reflink=1, or btrfs";

/// What cannot be done without shared blocks.
fn lacks(reflink: Reflink) -> impl Iterator<Item = Lack> {
    let verbs = match reflink {
        Reflink::Shares => &[][..],
        Reflink::Copies => &[Verb::Snapshot, Verb::Clone, Verb::ChangedExtents],
    };
    verbs.iter().map(|verb| Lack {
        verb: *verb,
        why: NO_REFLINK.to_owned(),
    })
}

#[async_trait]
impl Driver for FolderDriver {
    async fn ensure_pool(&self) -> PoolFacts {
        let inner = self.inner.clone();
        let found = blocking(move || inner.facts()).await;
        let mut facts = PoolFacts {
            pool: self.pool().clone(),
            capacity: Bytes(0),
            used: Bytes(0),
            reflink: false,
            fault: None,
            place: self.grants.place(),
            lacks: self.grants.lacks(),
            orphans: Vec::new(),
        };
        match found {
            Ok((capacity, used, reflink)) => {
                facts.capacity = capacity;
                facts.used = used;
                facts.reflink = reflink == Reflink::Shares;
                facts.lacks.extend(lacks(reflink));
            }
            Err(fault) => facts.fault = Some(fault),
        }
        facts
    }

    async fn list(&self) -> Result<Contents, DriverError> {
        self.with(|inner| {
            let mut contents = Contents {
                volumes: files::list(&inner.folder)?,
                images: images::list(&inner.folder)?,
                strays: Vec::new(),
            };
            contents.strays = strays::list(&inner.folder, &contents)?;
            Ok(contents)
        })
        .await
    }

    async fn create_volume(
        &self,
        volume: InstanceId,
        size: Bytes,
        source: &VolumeSource,
    ) -> Result<(), DriverError> {
        check_size(size)?;
        // Without a turn of the volume's own: what is made appears under its name at once, and the
        // turns of two volumes made from each other would wait for each other.
        let _source = self.hold_source(source).await?;
        let source = source.clone();
        self.with(move |inner| {
            files::create(&inner.folder, inner.reflink()?, volume, size, &source)
        })
        .await
    }

    async fn grow_volume(&self, volume: InstanceId, size: Bytes) -> Result<(), DriverError> {
        check_size(size)?;
        // No grant is made or taken away meanwhile.
        let _turn = self.turns.take(volume).await;
        self.see_unwritten(volume)?;
        let outgrown = list_outgrown(&*self.grants, volume).await?;
        self.with(move |inner| {
            if files::is_shorter(&inner.folder, volume, size)? {
                // Whoever dies in between has a grant made anew that need not have been.
                if !outgrown.is_empty() {
                    inner.note(volume, &Note::Outgrown(outgrown))?;
                }
                files::grow(&inner.folder, volume, size)?;
            }
            Ok(())
        })
        .await
    }

    async fn note_volume(&self, volume: InstanceId, note: &Note) -> Result<(), DriverError> {
        let note = note.clone();
        self.with(move |inner| inner.note(volume, &note)).await
    }

    async fn read_record(&self, volume: InstanceId) -> Result<Option<VolumeRecord>, DriverError> {
        self.with(move |inner| files::read_record(&inner.folder, volume))
            .await
    }

    async fn retain_volume(&self, order: &Removal) -> Result<(), DriverError> {
        let _turn = self.take_free(order.volume).await?;
        let order = order.clone();
        self.with(move |inner| {
            let gone = removal::retain(&inner.folder, &order)?;
            inner.note(order.volume, &Note::Gone(gone))
        })
        .await
    }

    async fn erase_volume(
        &self,
        order: &Removal,
        method: EraseMethod,
    ) -> Result<Option<Erasure>, DriverError> {
        let _turn = self.take_free(order.volume).await?;
        let order = order.clone();
        self.with(move |inner| {
            let folder = &inner.folder;
            if let Some(snapshot) = snapshots::list(folder, order.volume)?.keys().next() {
                return Err(DriverError::InUse {
                    what: format!("volume {}", order.volume),
                    by: format!("its {}", snapshots::name(*snapshot)),
                });
            }
            let gone = removal::erase(folder, &order, method)?;
            let erasure = gone.erasure.clone();
            inner.note(order.volume, &Note::Gone(gone))?;
            removal::finish_erase(folder, order.volume)?;
            Ok(erasure)
        })
        .await
    }

    async fn create_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError> {
        let _turn = self.turns.take(volume).await;
        self.with(move |inner| {
            inner.see_shares("snapshots")?;
            snapshots::create(&inner.folder, volume, snapshot)
        })
        .await
    }

    async fn delete_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError> {
        let _turn = self.turns.take(volume).await;
        self.with(move |inner| snapshots::delete(&inner.folder, volume, snapshot))
            .await
    }

    async fn restore_volume(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError> {
        let _turn = self.take_free(volume).await?;
        self.with(move |inner| {
            inner.see_shares("restores")?;
            snapshots::restore(&inner.folder, volume, snapshot)
        })
        .await
    }

    async fn changed_extents(
        &self,
        volume: InstanceId,
        from: Option<SnapshotId>,
        to: SnapshotId,
    ) -> Result<Vec<Extent>, DriverError> {
        self.with(move |inner| {
            inner.see_shares("changed extents")?;
            snapshots::changed_extents(&inner.folder, volume, from, to)
        })
        .await
    }

    async fn open_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<Arc<dyn ReadExtents>, DriverError> {
        self.with(move |inner| {
            let folder = &inner.folder;
            let file = snapshots::open(folder, volume, snapshot)?;
            let path = folder.shown(&folder.snapshot(volume, snapshot));
            let open = OpenFile::new(folder.pool.clone(), path, file)?;
            Ok(Arc::new(open) as Arc<dyn ReadExtents>)
        })
        .await
    }

    async fn open_volume(&self, volume: InstanceId) -> Result<Arc<dyn WriteExtents>, DriverError> {
        let _turn = self.take_free(volume).await?;
        let writing = self.turns.write(volume);
        self.with(move |inner| {
            let folder = &inner.folder;
            let file = files::open(folder, volume, true)?;
            let path = folder.shown(&folder.volume(volume));
            let file = OpenFile::new(folder.pool.clone(), path, file)?;
            Ok(Arc::new(OpenVolume::new(file, writing)) as Arc<dyn WriteExtents>)
        })
        .await
    }

    async fn list_grants(&self) -> Result<Vec<GrantSeen>, DriverError> {
        match self.grants.list().await {
            // It lets nobody in while it is away; that a volume is free is asked of the grants alone.
            Err(DriverError::PoolUnusable { .. }) => Ok(Vec::new()),
            listed => listed,
        }
    }

    async fn grant(&self, order: &Expose) -> Result<(), DriverError> {
        let _turn = self.turns.take(order.volume).await;
        self.see_unwritten(order.volume)?;
        let asked = order.clone();
        self.with(move |inner| inner.see_open(&asked)).await?;
        // An older grant is fenced before a newer one is made.
        let listed = self.grants.list().await?;
        let there = find_own(order, &listed)?;
        let file = self.inner.folder.volume(order.volume);
        self.grants.open(order, &file, there).await
    }

    async fn revoke(&self, grant: &GrantSeen) -> Result<FenceProof, DriverError> {
        let _turn = self.turns.take(grant.volume).await;
        self.grants.close(grant).await
    }

    async fn follow(&self, changed: &Notify) {
        self.grants.follow(changed).await;
    }

    async fn fetch_image(&self, item: &ImageItem, epoch: Epoch) -> Result<(), DriverError> {
        let inner = self.inner.clone();
        let held = blocking(move || inner.hold()).await;
        let held = held.map_err(|fault| self.inner.unusable(fault))?;
        // By its name: the programs that make the image are given it.
        let fetched = images::fetch(&self.inner.folder, &self.fetcher, item, epoch).await;
        let seen = blocking(move || held.see_held()).await;
        seen.map_err(|fault| self.inner.unusable(fault))?;
        fetched
    }

    async fn remove_image(&self, image: ImageUid) -> Result<(), DriverError> {
        self.with(move |inner| images::remove(&inner.folder, image))
            .await
    }

    fn read_progress(&self) -> BTreeMap<ImageUid, ImageProgress> {
        self.fetcher.read_progress()
    }
}
