//! Storage drivers: what a pool can be asked, whatever is behind it.
//!
//! A [`Driver`] serves one pool; [`Drivers`] has those of a host. The reconciler, backups, restores
//! and moves speak this trait alone. A new driver is a file beside these and its row in the
//! conformance suite, which tries every sentence below on the real thing.
//!
//! What every driver keeps to:
//! - **Every call may be repeated, and cut off anywhere and repeated.** What is there as asked is
//!   left as it is; what a call that died has left in the way is no obstacle to the next.
//! - **`Ok` is durable.** What a call has said to be done survives a loss of power.
//! - **What is there under its name is whole.** A volume, snapshot or image that is half made is
//!   not listed as there.
//! - **An old epoch never comes back**: a grant is made only for the epoch that the volume's record
//!   holds open, whatever the plan says.
//! - **A fence is a barrier**: when [`Driver::revoke`] has succeeded, nothing written through that
//!   grant can land any more.
//! - **Nothing is emulated in silence.** What a driver cannot do is in [`PoolFacts::lacks`] with the
//!   reason, and asking for it is [`DriverError::Unsupported`] with the same one.
//! - **Erased means read back.**
//! - A pool that is not there, or is another one, is not written to.
//!
//! Drivers decide nothing: what is made, granted or erased, and in which order, is in
//! `dc_agent_core::storage`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use dc_agent_core::storage::{
    Contents, EraseMethod, Expose, Extent, FenceProof, GrantSeen, ImageProgress, MAX_VOLUME, Note,
    Removal, VolumeRecord,
};
use dc_types::plan::{ImageItem, VolumeSource};
use dc_types::report::{Erasure, PoolFacts};
use dc_types::{Bytes, Epoch, ImageUid, InstanceId, PoolName, SnapshotId};
use tokio::sync::Notify;

mod compare;
pub mod cutoff;
mod error;
mod fake;
pub(crate) mod folder;
mod grants;
mod local;
mod pools;
mod rbd;
mod san;
mod turns;

pub use error::DriverError;
pub use fake::FakeDriver;
pub use folder::FolderDriver;
pub use folder::Remembered;
pub use local::fake::FakeLocalGrants;
pub(crate) use pools::{fake_folders, fake_pools, real_pools};
pub use rbd::{CephTools, RbdDriver};

/// One pool.
#[async_trait]
pub trait Driver: Send + Sync {
    /// What the pool has, what it lacks, or its fault. The first call of a process readies it: an
    /// empty place becomes the pool, and what a crash left behind is swept. Without orphans, which
    /// are known only together with what is wanted.
    async fn ensure_pool(&self) -> PoolFacts;

    /// Everything a usable pool holds but its grants.
    async fn list(&self) -> Result<Contents, DriverError>;

    // Volumes.

    /// Makes the bytes of a volume, thin, of `size` rounded up to whole sectors. One that has bytes
    /// already is left as it is, whatever its source.
    async fn create_volume(
        &self,
        volume: InstanceId,
        size: Bytes,
        source: &VolumeSource,
    ) -> Result<(), DriverError>;

    /// Makes a volume longer; one that is long enough is left as it is. Unless the driver lacks
    /// `GrowOnline` it may be held: its holder sees the size at once when it looks, or through a grant
    /// made anew when the volume's record has the old one among `outgrown`.
    async fn grow_volume(&self, volume: InstanceId, size: Bytes) -> Result<(), DriverError>;

    /// Writes something down beside a volume.
    async fn note_volume(&self, volume: InstanceId, note: &Note) -> Result<(), DriverError>;

    /// What is written down beside a volume.
    async fn read_record(&self, volume: InstanceId) -> Result<Option<VolumeRecord>, DriverError>;

    /// Moves the bytes out of use and notes where they lie. Nobody may hold the volume.
    async fn retain_volume(&self, order: &Removal) -> Result<(), DriverError>;

    /// Erases the bytes, reads them back, and notes it in the pool's log and beside the volume.
    /// `None` when there were no bytes. Nobody may hold the volume, and it may have no snapshots.
    async fn erase_volume(
        &self,
        order: &Removal,
        method: EraseMethod,
    ) -> Result<Option<Erasure>, DriverError>;

    // Snapshots: a volume as it stood at one moment.

    /// Takes a snapshot, at one instant, also while the volume is written to. One that is there is
    /// left as it is.
    async fn create_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError>;

    /// Volumes that were cloned from it keep their bytes.
    async fn delete_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError>;

    /// Brings a volume's bytes back to those of a snapshot; it keeps its size, and what lies beyond
    /// the snapshot's reads as zero. Nobody may hold it.
    async fn restore_volume(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<(), DriverError>;

    /// What differs between two snapshots of a volume, or all that may hold data when there is no
    /// older one: never less, perhaps more. Merged, in order, within the newer one's size. What is
    /// not listed beyond the older one's end reads as zero.
    async fn changed_extents(
        &self,
        volume: InstanceId,
        from: Option<SnapshotId>,
        to: SnapshotId,
    ) -> Result<Vec<Extent>, DriverError>;

    /// Opens a snapshot to read. It may go away meanwhile; reads then fail or give what it held.
    async fn open_snapshot(
        &self,
        volume: InstanceId,
        snapshot: SnapshotId,
    ) -> Result<Arc<dyn ReadExtents>, DriverError>;

    /// Opens a volume to write, as a restore does. Refused while a grant of it is out; while it is
    /// open, it is granted to nobody.
    async fn open_volume(&self, volume: InstanceId) -> Result<Arc<dyn WriteExtents>, DriverError>;

    // Grants: one for each volume and epoch.

    /// All grants of this pool's volumes, also while the pool itself cannot be used.
    async fn list_grants(&self) -> Result<Vec<GrantSeen>, DriverError>;

    /// Lets one holder open a volume. Nobody gets in before everything is in place.
    async fn grant(&self, order: &Expose) -> Result<(), DriverError>;

    /// Takes a grant away. Needs no usable pool where the driver can do without.
    async fn revoke(&self, grant: &GrantSeen) -> Result<FenceProof, DriverError>;

    /// Tells whenever what [`Driver::list_grants`] gives may have changed by itself, such as a
    /// daemon that forgot; goes on until it is dropped.
    async fn follow(&self, changed: &Notify);

    // Images.

    /// Fetches, checks and converts an image, and puts it in the place of the one that is there.
    async fn fetch_image(&self, item: &ImageItem, epoch: Epoch) -> Result<(), DriverError>;

    /// Removes an image. Volumes that were cloned from it keep their bytes.
    async fn remove_image(&self, image: ImageUid) -> Result<(), DriverError>;

    /// How far those are that are being fetched.
    fn read_progress(&self) -> BTreeMap<ImageUid, ImageProgress>;
}

/// Bytes that can be read, by several at a time.
#[async_trait]
pub trait ReadExtents: Send + Sync {
    fn size(&self) -> Bytes;

    /// The bytes of an extent, which lies within the size. Holes read as zero. It is all held in
    /// memory: see `dc_agent_core::storage::pieces`.
    async fn read(&self, extent: Extent) -> Result<Vec<u8>, DriverError>;
}

/// Bytes that can be written, by several at a time where they do not overlap.
#[async_trait]
pub trait WriteExtents: ReadExtents {
    /// Writes within the size.
    async fn write(&self, start: u64, bytes: Vec<u8>) -> Result<(), DriverError>;

    /// Gives blocks back; the extent then reads as zero.
    async fn discard(&self, extent: Extent) -> Result<(), DriverError>;

    /// Makes everything durable that was written before.
    async fn flush(&self) -> Result<(), DriverError>;
}

/// The drivers of a host, by pool; clones share them.
#[derive(Clone, Default)]
pub struct Drivers(Arc<BTreeMap<PoolName, Arc<dyn Driver>>>);

impl Drivers {
    /// The driver of a pool; a pool that this host does not have is unusable.
    pub fn of(&self, pool: &PoolName) -> Result<&Arc<dyn Driver>, DriverError> {
        self.0.get(pool).ok_or_else(|| DriverError::PoolUnusable {
            pool: pool.clone(),
            fault: "this host has no such pool".to_owned(),
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = (&PoolName, &Arc<dyn Driver>)> {
        self.0.iter()
    }
}

impl FromIterator<(PoolName, Arc<dyn Driver>)> for Drivers {
    fn from_iter<T: IntoIterator<Item = (PoolName, Arc<dyn Driver>)>>(drivers: T) -> Self {
        Self(Arc::new(drivers.into_iter().collect()))
    }
}

/// What nothing can hold is refused before anything is made.
fn check_size(size: Bytes) -> Result<(), DriverError> {
    let why = match size {
        Bytes(0) => "it would hold nothing".to_owned(),
        size if size > MAX_VOLUME => format!("no volume has more than {MAX_VOLUME}"),
        _ => return Ok(()),
    };
    Err(DriverError::SizeImpossible { asked: size, why })
}
