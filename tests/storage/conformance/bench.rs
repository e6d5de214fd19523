//! A pool under test: volumes with an owner, bytes by the volume, and who holds what.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dc_agent_core::storage::{
    Expose, Extent, GrantSeen, Making, Note, Removal, SnapshotRecord, VolumeBytes, VolumeSeen,
    Watermark,
};
use dc_host::drivers::{Driver, DriverError, ReadExtents};
use dc_types::plan::{GrantItem, VolumeSource};
use dc_types::report::{PoolFacts, Verb};
use dc_types::{
    Bytes, Epoch, HostName, ImageUid, InstanceId, ObjectRef, ObjectUid, PoolName, SnapshotId,
};
use uuid::Uuid;

use super::bytes::Random;
use super::rig::{POOL, Rig};

pub const MIB: u64 = 1 << 20;

/// Every volume is of this size unless a case says otherwise.
pub const SIZE: u64 = 16 * MIB;

pub struct Bench<R: Rig> {
    pub rig: R,
    pub driver: Arc<dyn Driver>,
    pub random: Random,
    next: AtomicU64,
}

pub fn pool() -> PoolName {
    PoolName::new(POOL).unwrap()
}

pub fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

pub fn owner() -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: "data".into(),
        uid: ObjectUid(Uuid::from_u128(7)),
    }
}

impl<R: Rig> Bench<R> {
    pub async fn new(rig: R, name: &str) -> Self {
        let driver = R::attach(Some(&rig)).await;
        let facts = driver.ensure_pool().await;
        assert_eq!(facts.fault, None);
        Self {
            rig,
            driver,
            random: Random::new(name),
            next: AtomicU64::new(1),
        }
    }

    /// Another process takes the agent's place.
    pub async fn restart(&mut self) {
        self.driver = R::attach(Some(&self.rig)).await;
        assert_eq!(self.driver.ensure_pool().await.fault, None);
    }

    fn id(&self) -> Uuid {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        // Among them one that is all ones, as an id may be.
        match n {
            1 => Uuid::max(),
            n => Uuid::from_u128(u128::from(n)),
        }
    }

    pub fn new_volume(&self) -> InstanceId {
        InstanceId(self.id())
    }

    pub fn new_snapshot(&self) -> SnapshotId {
        SnapshotId(self.id())
    }

    pub fn new_image(&self) -> ImageUid {
        ImageUid(self.id())
    }

    pub async fn facts(&self) -> PoolFacts {
        self.driver.ensure_pool().await
    }

    pub async fn lacks(&self, verb: Verb) -> bool {
        self.facts()
            .await
            .lacks
            .iter()
            .any(|lack| lack.verb == verb)
    }

    /// Whose it is, written down as the agent does it before the bytes are made.
    pub async fn own(&self, volume: InstanceId) {
        let note = Note::Owner {
            owner: owner(),
            epoch: epoch(5),
        };
        self.driver.note_volume(volume, &note).await.unwrap();
    }

    /// A volume with an owner, and its bytes made.
    pub async fn make(&self, size: u64, source: &VolumeSource) -> InstanceId {
        let volume = self.new_volume();
        self.own(volume).await;
        self.driver
            .create_volume(volume, Bytes(size), source)
            .await
            .unwrap();
        self.driver.note_volume(volume, &Note::Made).await.unwrap();
        volume
    }

    pub async fn blank(&self) -> InstanceId {
        self.make(SIZE, &VolumeSource::Blank).await
    }

    pub async fn write(&self, volume: InstanceId, start: u64, bytes: &[u8]) {
        let open = self.driver.open_volume(volume).await.unwrap();
        open.write(start, bytes.to_vec()).await.unwrap();
        open.flush().await.unwrap();
    }

    pub async fn read(&self, volume: InstanceId) -> Vec<u8> {
        read_all(&*self.driver.open_volume(volume).await.unwrap()).await
    }

    /// Takes a snapshot as the agent does, with its record.
    pub async fn snapshot(&self, volume: InstanceId) -> SnapshotId {
        let snapshot = self.new_snapshot();
        let note = |making| Note::Snapshot {
            snapshot,
            record: SnapshotRecord {
                epoch: epoch(5),
                making,
            },
        };
        self.driver
            .note_volume(volume, &note(Making::Begun))
            .await
            .unwrap();
        self.driver.create_snapshot(volume, snapshot).await.unwrap();
        self.driver
            .note_volume(volume, &note(Making::Made))
            .await
            .unwrap();
        snapshot
    }

    pub async fn read_snapshot(&self, volume: InstanceId, snapshot: SnapshotId) -> Vec<u8> {
        read_all(&*self.driver.open_snapshot(volume, snapshot).await.unwrap()).await
    }

    pub async fn drop_snapshot(&self, volume: InstanceId, snapshot: SnapshotId) {
        self.driver.delete_snapshot(volume, snapshot).await.unwrap();
        let note = Note::NoSnapshot(snapshot);
        self.driver.note_volume(volume, &note).await.unwrap();
    }

    pub fn order(&self, volume: InstanceId, revision: u64) -> Expose {
        order::<R>(volume, revision)
    }

    /// Grants as the agent does: the watermark first.
    pub async fn grant(&self, volume: InstanceId, revision: u64) -> Result<(), DriverError> {
        let note = Note::Watermark(Watermark::open(epoch(revision)));
        self.driver.note_volume(volume, &note).await?;
        self.driver.grant(&self.order(volume, revision)).await
    }

    pub async fn grants(&self, volume: InstanceId) -> Vec<GrantSeen> {
        let mut all = self.driver.list_grants().await.unwrap();
        all.retain(|grant| grant.volume == volume);
        all
    }

    /// Takes away every grant of a volume, its newest epoch written down as fenced first.
    pub async fn fence(&self, volume: InstanceId) {
        for grant in self.grants(volume).await {
            let note = Note::Watermark(Watermark::fenced(grant.epoch));
            self.driver.note_volume(volume, &note).await.unwrap();
            self.driver.revoke(&grant).await.unwrap();
        }
    }

    pub async fn seen(&self, volume: InstanceId) -> Option<VolumeSeen> {
        self.driver.list().await.unwrap().volumes.remove(&volume)
    }

    pub async fn size(&self, volume: InstanceId) -> Option<u64> {
        match self.seen(volume).await?.bytes {
            VolumeBytes::Present { size, .. } => Some(size.0),
            VolumeBytes::Absent | VolumeBytes::Erasing => None,
        }
    }

    pub fn removal(&self, volume: InstanceId) -> Removal {
        Removal {
            pool: pool(),
            volume,
            epoch: epoch(6),
            owner: owner(),
        }
    }

    /// What must hold at the end of every case: the pool is usable, and each volume's record is
    /// that of what is there.
    pub async fn see_in_order(&self) {
        let facts = self.driver.ensure_pool().await;
        assert_eq!(facts.fault, None);
        assert!(facts.used <= facts.capacity, "{facts:?}");
        let contents = self.driver.list().await.unwrap();
        for (id, there) in &contents.volumes {
            let known = there
                .record
                .iter()
                .flat_map(|record| record.snapshots.keys());
            assert!(known.eq(there.snapshots.keys()), "{id}: {there:#?}");
        }
    }
}

pub fn order<R: Rig>(volume: InstanceId, revision: u64) -> Expose {
    Expose {
        pool: pool(),
        volume,
        epoch: epoch(revision),
        initiator: initiator(volume),
        access: R::access(volume, epoch(revision)),
    }
}

/// The name of whoever holds a volume.
pub fn initiator(volume: InstanceId) -> String {
    GrantItem::initiator_name(&HostName::new("h1").unwrap(), volume)
}

pub async fn read_all(open: &dyn ReadExtents) -> Vec<u8> {
    let whole = Extent::new(0, open.size().0);
    open.read(whole).await.unwrap()
}
