//! All that can stand in an item's way, with its reason and its sentence, in one table.
//!
//! The agent turns the errors of its tools into these too, so that a reason is spelt in one place.

use std::fmt::Display;

use dc_types::report::Trouble;
use dc_types::{Bytes, Epoch, PoolName, SnapshotId};

pub(super) const VOLUME_IN_USE: &str = "VolumeInUse";
pub(super) const RESTORE_WAITS: &str = "RestoreWaits";

/// Something that keeps an image, a volume or a grant from being as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageTrouble {
    // What is asked makes no sense.
    InvalidItem(String),
    PoolUnknown {
        pool: PoolName,
    },
    SizeShrinks {
        is: Bytes,
        asked: Bytes,
    },
    SizeBelowSource {
        source: String,
        needs: Bytes,
        asked: Bytes,
    },
    ChapUserShared {
        user: String,
    },
    // It cannot be as asked, for now or for good.
    PoolUnusable {
        pool: PoolName,
        fault: String,
    },
    PoolFull {
        pool: PoolName,
        what: String,
    },
    SourceMissing {
        source: String,
        pool: PoolName,
    },
    VolumeMissing {
        pool: PoolName,
    },
    VolumeLost {
        path: String,
    },
    VolumeUnusable {
        path: String,
        fault: String,
    },
    VolumeGone {
        note: String,
    },
    VolumeInUse {
        is: Bytes,
        asked: Bytes,
    },
    VolumeGrowing,
    GrantOutgrown,
    StillGranted {
        epoch: Epoch,
    },
    StaleEpoch {
        asked: Epoch,
        highest: Epoch,
    },
    RestoreWaits,
    VolumeRestoring,
    HasSnapshots {
        count: usize,
    },
    SnapshotLost {
        snapshot: SnapshotId,
        place: String,
    },
    SnapshotCorrupt {
        snapshot: SnapshotId,
        fault: String,
    },
    Unsupported {
        pool: PoolName,
        what: &'static str,
        why: String,
    },
    GrantsUnknown(String),
    TargetDaemonSilent(String),
    FenceSlow {
        target: String,
        waited_ms: u128,
        why: String,
    },
    // Images.
    ImageChecksumMismatch {
        source: String,
        is: String,
        asked: String,
    },
    ImageTooLarge {
        source: String,
        what: String,
    },
    ImageHasBackingFile {
        what: String,
    },
    ImageEncrypted,
    ImageFormatMismatch(String),
    ImageUnreadable {
        source: String,
        why: String,
    },
    ConversionFailed(String),
    // On the way.
    Working(String),
    Releasing,
    // A tool failed in a way that has no reason of its own.
    Failed {
        what: &'static str,
        why: String,
    },
}

impl StorageTrouble {
    /// The reason for programs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidItem(_) => "InvalidItem",
            Self::PoolUnknown { .. } => "PoolUnknown",
            Self::SizeShrinks { .. } => "SizeShrinks",
            Self::SizeBelowSource { .. } => "SizeBelowSource",
            Self::ChapUserShared { .. } => "ChapUserShared",
            Self::PoolUnusable { .. } => "PoolUnusable",
            Self::PoolFull { .. } => "PoolFull",
            Self::SourceMissing { .. } => "SourceMissing",
            Self::VolumeMissing { .. } => "VolumeMissing",
            Self::VolumeLost { .. } => "VolumeLost",
            Self::VolumeUnusable { .. } => "VolumeUnusable",
            Self::VolumeGone { .. } => "VolumeGone",
            Self::VolumeInUse { .. } => VOLUME_IN_USE,
            Self::VolumeGrowing => "VolumeGrowing",
            Self::GrantOutgrown => "GrantOutgrown",
            Self::StillGranted { .. } => "StillGranted",
            Self::StaleEpoch { .. } => "StaleEpoch",
            Self::RestoreWaits => RESTORE_WAITS,
            Self::VolumeRestoring => "VolumeRestoring",
            Self::HasSnapshots { .. } => "HasSnapshots",
            Self::SnapshotLost { .. } => "SnapshotLost",
            Self::SnapshotCorrupt { .. } => "SnapshotCorrupt",
            Self::Unsupported { .. } => "Unsupported",
            Self::GrantsUnknown(_) => "GrantsUnknown",
            Self::TargetDaemonSilent(_) => "TargetDaemonSilent",
            Self::FenceSlow { .. } => "FenceSlow",
            Self::ImageChecksumMismatch { .. } => "ImageChecksumMismatch",
            Self::ImageTooLarge { .. } => "ImageTooLarge",
            Self::ImageHasBackingFile { .. } => "ImageHasBackingFile",
            Self::ImageEncrypted => "ImageEncrypted",
            Self::ImageFormatMismatch(_) => "ImageFormatMismatch",
            Self::ImageUnreadable { .. } => "ImageUnreadable",
            Self::ConversionFailed(_) => "ConversionFailed",
            Self::Working(_) => "Working",
            Self::Releasing => "Releasing",
            Self::Failed { .. } => "StorageFailed",
        }
    }

    /// What is wrong, where, and what to do.
    fn message(&self) -> String {
        match self {
            Self::InvalidItem(why) => why.clone(),
            Self::PoolUnknown { pool } => format!(
                "this host has no pool {pool}: add it to the agent's configuration, or name the \
                 host that has it in the StoragePool"
            ),
            Self::SizeShrinks { is, asked } => format!(
                "the volume has {is} and {asked} are asked: a volume never shrinks; ask for {is} \
                 or more, or copy what is needed to a smaller volume"
            ),
            Self::SizeBelowSource {
                source,
                needs,
                asked,
            } => format!(
                "{source} holds a disk of {needs} and the volume is to have {asked}: ask for \
                 {needs} or more"
            ),
            Self::ChapUserShared { user } => format!(
                "the CHAP user {user} is asked for by more than one grant, and the target daemon \
                 keeps one secret for each user: each grant needs a user of its own"
            ),
            Self::PoolUnusable { pool, fault } => format!("pool {pool} cannot be used: {fault}"),
            Self::PoolFull { pool, what } => format!(
                "pool {pool} is full, at {what}: erase retained volumes, remove images, or make \
                 its file system larger; it is tried again"
            ),
            Self::SourceMissing { source, pool } => format!(
                "{source} is not in pool {pool}: it goes on when it is there; an image must name \
                 the pool in its spec.pools"
            ),
            Self::VolumeMissing { pool } => {
                format!("waits for the volume to be made in pool {pool}")
            }
            Self::VolumeLost { path } => format!(
                "the volume's file {path} is not there although it was made: nothing is made in \
                 its place; look for it, put it back, or delete the volume and restore a backup"
            ),
            Self::VolumeUnusable { path, fault } => format!(
                "nothing is done with the volume {path}: {fault}; put that right on the host"
            ),
            Self::VolumeGone { note } => format!(
                "the volume was released under this claim or a newer one ({note}): a new volume \
                 needs an id of its own"
            ),
            Self::VolumeInUse { is, asked } => format!(
                "the volume grows from {is} to {asked} as soon as nothing has it open: stop the \
                 machine"
            ),
            Self::VolumeGrowing => "waits for the volume to get its size".to_owned(),
            Self::GrantOutgrown => "the volume has grown and is opened anew to its machine, which \
                                    waits for that moment"
                .to_owned(),
            Self::StillGranted { epoch } => format!(
                "waits for the grant of epoch {epoch} to be released: the volume may be in use"
            ),
            Self::StaleEpoch { asked, highest } => format!(
                "epoch {asked} is older than what was seen here ({highest}), or was fenced: a \
                 newer claim is needed"
            ),
            Self::RestoreWaits => {
                "the volume is brought back to its snapshot as soon as nothing has \
                                   it open: stop the machine"
                    .to_owned()
            }
            Self::VolumeRestoring => {
                "waits for the volume to be restored from its snapshot or backup".to_owned()
            }
            Self::HasSnapshots { count } => format!(
                "the volume has {count} snapshots: it goes when they are deleted; delete their \
                 VolumeSnapshot objects, or keep the volume"
            ),
            Self::SnapshotLost { snapshot, place } => format!(
                "snapshot {snapshot} of {place} is not there although it was taken: none is taken \
                 in its place, because it would be of another moment; delete it and take a new one"
            ),
            Self::SnapshotCorrupt { snapshot, fault } => format!(
                "snapshot {snapshot} is not as it was taken ({fault}): nothing is read from it; \
                 delete it, and restore from another one or from a backup"
            ),
            Self::Unsupported { pool, what, why } => {
                format!("pool {pool} cannot do this ({what}): {why}")
            }
            Self::GrantsUnknown(why) => format!(
                "who may open what in the pool is not known ({why}): nothing is granted, changed or \
                 erased until it is; see that what serves the pool runs, on a SAN node tgtd"
            ),
            Self::TargetDaemonSilent(why) => format!(
                "the target daemon does not say what it holds ({why}): see that tgtd runs on \
                 this host"
            ),
            Self::FenceSlow {
                target,
                waited_ms,
                why,
            } => format!(
                "{target} could not be taken away within {waited_ms} ms: {why}; it is closed for \
                 newcomers and tried again"
            ),
            Self::ImageChecksumMismatch { source, is, asked } => format!(
                "{source} has the SHA-256 {is}, and {asked} is asked: the file is damaged or \
                 another one; correct the checksum or the source"
            ),
            Self::ImageTooLarge { source, what } => {
                format!("{source} is too large: {what}; raise the image's limit if that is right")
            }
            Self::ImageHasBackingFile { what } => format!(
                "the image needs another file ({what}), which would be opened on this host: make \
                 it whole with qemu-img convert"
            ),
            Self::ImageEncrypted => {
                "the image is encrypted: decrypt it with qemu-img convert".to_owned()
            }
            Self::ImageFormatMismatch(why) => why.clone(),
            Self::ImageUnreadable { source, why } => format!("{source} cannot be read: {why}"),
            Self::ConversionFailed(why) => format!("the image cannot be converted: {why}"),
            Self::Working(what) => what.clone(),
            Self::Releasing => "what was there under an older claim is being removed".to_owned(),
            Self::Failed { what, why } => format!("{what} failed: {why}"),
        }
    }

    /// For a tool that failed in a way that nothing else here says.
    pub fn failed(what: &'static str, why: impl Display) -> Self {
        Self::Failed {
            what,
            why: why.to_string(),
        }
    }
}

impl From<StorageTrouble> for Trouble {
    fn from(trouble: StorageTrouble) -> Self {
        Trouble {
            reason: trouble.reason().to_owned(),
            message: trouble.message(),
        }
    }
}
