//! The steps of the backup vertical.

use dc_types::Epoch;
use dc_types::plan::{BackupItem, Item, ItemBody, ItemHash, ItemKey, ManifestItem, RestoreItem};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin a run, and do not wait for it.
    Begin {
        key: ItemKey,
        epoch: Epoch,
        /// Of the item.
        asked: ItemHash,
        order: Order,
    },
    /// Stop a run that runs, wait until it has, and forget it.
    End { key: ItemKey, epoch: Epoch },
}

/// What a run is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Backup(Box<BackupItem>),
    Restore(Box<RestoreItem>),
    Manifest(Box<ManifestItem>),
}

impl Order {
    /// `None` when the item is of another vertical.
    #[must_use]
    pub fn of(item: &Item) -> Option<Self> {
        match &item.body {
            ItemBody::Backup(backup) => Some(Self::Backup(backup.clone())),
            ItemBody::Restore(restore) => Some(Self::Restore(restore.clone())),
            ItemBody::Manifest(manifest) => Some(Self::Manifest(manifest.clone())),
            _ => None,
        }
    }
}

impl Step {
    /// The item or release this belongs to.
    #[must_use]
    pub fn key(&self) -> ItemKey {
        match self {
            Self::Begin { key, .. } | Self::End { key, .. } => *key,
        }
    }

    /// The step's name for logs, from a closed set.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "begin_run",
            Self::End { .. } => "end_run",
        }
    }
}
