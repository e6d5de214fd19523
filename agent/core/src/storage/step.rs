//! The steps of the storage vertical. Nothing is left to choose while carrying them out.

use std::path::PathBuf;

use dc_types::plan::{Chap, ImageItem, ItemKey, VolumeSource};
use dc_types::{Bytes, Epoch, ImageUid, InstanceId, ObjectRef, PoolName};

use super::seen::{Gone, Tid, Watermark};

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
    /// Make the file of a volume longer. No target of it is there.
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
    /// Delete a target: close it, cut its connections, and be done only when it is gone.
    Fence {
        key: ItemKey,
        tid: Tid,
        name: String,
    },
    /// Make a target, its access list last.
    Expose { key: ItemKey, expose: Expose },
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

/// A target to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expose {
    pub pool: PoolName,
    pub volume: InstanceId,
    pub epoch: Epoch,
    pub path: PathBuf,
    pub initiator: String,
    pub chap: Chap,
}

/// A line of a volume's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Whose it is now. Takes away what was said of bytes that are gone.
    Owner { owner: ObjectRef, epoch: Epoch },
    /// The bytes are there.
    Made,
    /// Raises the watermark; one that is higher already stays.
    Watermark(Watermark),
    /// The bytes are gone. Part of retaining and erasing, not a step of its own.
    Gone(Gone),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EraseMethod {
    Discard,
    Zero,
    /// Random bytes, then zeros.
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
            | Self::Expose { key, .. } => *key,
        }
    }

    /// The step's name for logs, from a closed set.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::FetchImage { .. } => "fetch_image",
            Self::RemoveImage { .. } => "remove_image",
            Self::CreateVolume { .. } => "create_volume",
            Self::GrowVolume { .. } => "grow_volume",
            Self::Note { .. } => "note",
            Self::RetainVolume { .. } => "retain_volume",
            Self::EraseVolume { .. } => "erase_volume",
            Self::Fence { .. } => "fence",
            Self::Expose { .. } => "expose",
        }
    }
}
