//! The steps of the storage vertical. Nothing is left to choose while carrying them out.

use dc_types::plan::{GrantAccess, ImageItem, ItemKey, VolumeSource};
use dc_types::{Bytes, Epoch, ImageUid, InstanceId, ObjectRef, PoolName, SnapshotId};

use super::record::Note;
use super::seen::GrantSeen;

/// One thing to do; each may be repeated, and each leaves a state from which the next plan goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Fetch, check and convert an image, in place of what is there under its uid.
    FetchImage {
        key: ItemKey,
        item: ImageItem,
        epoch: Epoch,
    },
    RemoveImage {
        key: ItemKey,
        pool: PoolName,
        image: ImageUid,
    },
    /// Make the file of a volume that has none.
    CreateVolume {
        key: ItemKey,
        pool: PoolName,
        volume: InstanceId,
        size: Bytes,
        source: VolumeSource,
    },
    /// Make the file of a volume longer. In a pool that lacks that verb on line, no grant of it is there.
    GrowVolume {
        key: ItemKey,
        pool: PoolName,
        volume: InstanceId,
        size: Bytes,
    },
    /// Write something down beside a volume.
    Note {
        key: ItemKey,
        pool: PoolName,
        volume: InstanceId,
        note: Note,
    },
    /// Move the bytes out of use, to where people find them.
    RetainVolume { key: ItemKey, order: Removal },
    /// Overwrite the bytes or give them back, and read that they are gone.
    EraseVolume {
        key: ItemKey,
        order: Removal,
        method: EraseMethod,
    },
    /// Take a grant away: close it, cut whoever holds it, and be done only when nothing written
    /// through it can land any more.
    Fence { key: ItemKey, grant: GrantSeen },
    /// Make a grant.
    Expose { key: ItemKey, expose: Expose },
    /// Keep the volume as it stands now.
    CreateSnapshot {
        key: ItemKey,
        pool: PoolName,
        volume: InstanceId,
        snapshot: SnapshotId,
    },
    DeleteSnapshot {
        key: ItemKey,
        pool: PoolName,
        volume: InstanceId,
        snapshot: SnapshotId,
    },
    /// Bring the volume back to one of its snapshots. No grant of it is there.
    RestoreVolume {
        key: ItemKey,
        pool: PoolName,
        volume: InstanceId,
        snapshot: SnapshotId,
    },
}

/// Whose bytes go, and by which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    pub pool: PoolName,
    pub volume: InstanceId,
    /// The epoch of the release.
    pub epoch: Epoch,
    pub owner: ObjectRef,
}

/// A grant to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expose {
    pub pool: PoolName,
    pub volume: InstanceId,
    pub epoch: Epoch,
    /// The holder's name.
    pub initiator: String,
    pub access: GrantAccess,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EraseMethod {
    /// Give every block back.
    Discard,
    /// Write zeros first.
    Zero,
    /// Write random bytes first, then zeros.
    Random,
}

impl Step {
    /// The item or release this belongs to.
    #[must_use]
    pub fn key(&self) -> ItemKey {
        match self {
            Self::FetchImage { key, .. }
            | Self::RemoveImage { key, .. }
            | Self::CreateVolume { key, .. }
            | Self::GrowVolume { key, .. }
            | Self::Note { key, .. }
            | Self::RetainVolume { key, .. }
            | Self::EraseVolume { key, .. }
            | Self::Fence { key, .. }
            | Self::Expose { key, .. }
            | Self::CreateSnapshot { key, .. }
            | Self::DeleteSnapshot { key, .. }
            | Self::RestoreVolume { key, .. } => *key,
        }
    }

    /// The step's name for logs, from a closed set.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::FetchImage { .. } => "fetch_image",
            Self::RemoveImage { .. } => "remove_image",
            Self::CreateVolume { .. } => "create_volume",
            Self::CreateSnapshot { .. } => "create_snapshot",
            Self::DeleteSnapshot { .. } => "delete_snapshot",
            Self::RestoreVolume { .. } => "restore_volume",
            Self::GrowVolume { .. } => "grow_volume",
            Self::Note { .. } => "note",
            Self::RetainVolume { .. } => "retain_volume",
            Self::EraseVolume { .. } => "erase_volume",
            Self::Fence { .. } => "fence",
            Self::Expose { .. } => "expose",
        }
    }
}
