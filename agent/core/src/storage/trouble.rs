//! All that can stand in an item's way, with its reason and its sentence, in one table.
//!
//! The agent turns the errors of its tools into these too, so that a reason is spelt in one place.

use std::fmt::Display;

use dc_types::report::Trouble;
use dc_types::{Bytes, Epoch, PoolName};

pub(super) const VOLUME_IN_USE: &str = "VolumeInUse";

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
    StillGranted {
        epoch: Epoch,
    },
    StaleEpoch {
        asked: Epoch,
        highest: Epoch,
    },
    TargetDaemonSilent(String),
    FenceSlow {
        target: String,
        waited_ms: u128,
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
            Self::StillGranted { .. } => "StillGranted",
            Self::StaleEpoch { .. } => "StaleEpoch",
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
            Self::StillGranted { epoch } => format!(
                "waits for the grant of epoch {epoch} to be released: the volume may be in use"
            ),
            Self::StaleEpoch { asked, highest } => format!(
                "epoch {asked} is older than what was seen here ({highest}), or was fenced: a \
                 newer claim is needed"
            ),
            Self::TargetDaemonSilent(why) => format!(
                "the target daemon does not say what it holds ({why}): see that tgtd runs on \
                 this host"
            ),
            Self::FenceSlow { target, waited_ms } => format!(
                "target {target} could not be deleted within {waited_ms} ms: writes are still in \
                 flight, see whether the pool's disk hangs; it is closed for new logins and tried \
                 again"
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
