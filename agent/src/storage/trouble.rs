//! What the errors of the storage tools are called in a status.

use std::error::Error;

use dc_agent_core::storage::StorageTrouble;
use dc_host::images::ImagesError;
use dc_host::targets::TargetsError;
use dc_host::volumes::VolumesError;

/// An error with all its causes.
pub fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

pub fn of_volumes(error: VolumesError) -> StorageTrouble {
    let why = in_full(&error);
    match error {
        VolumesError::PoolUnusable { pool, fault } => StorageTrouble::PoolUnusable { pool, fault },
        VolumesError::PoolFull { pool, what } => StorageTrouble::PoolFull { pool, what },
        VolumesError::SourceMissing { pool, source_name } => StorageTrouble::SourceMissing {
            source: source_name,
            pool,
        },
        VolumesError::SizeBelowSource {
            source_name,
            needs,
            asked,
        } => StorageTrouble::SizeBelowSource {
            source: source_name,
            needs,
            asked,
        },
        VolumesError::Record { path, fault } => StorageTrouble::VolumeUnusable {
            path: path.display().to_string(),
            fault,
        },
        VolumesError::NotErased { .. } => StorageTrouble::failed("erasing", why),
        VolumesError::NoRecord { .. } => StorageTrouble::failed("noting", why),
        VolumesError::Io { .. } | VolumesError::Injected(_) => {
            StorageTrouble::failed("working on the pool", why)
        }
    }
}

pub fn of_images(error: ImagesError) -> StorageTrouble {
    let why = in_full(&error);
    match error {
        ImagesError::Unreadable { source_name, why } => StorageTrouble::ImageUnreadable {
            source: source_name,
            why,
        },
        ImagesError::TooLarge { source_name, limit } => StorageTrouble::ImageTooLarge {
            source: source_name,
            what: format!("it has more than the {limit} of maxDownload"),
        },
        ImagesError::DiskTooLarge {
            source_name,
            is,
            limit,
        } => StorageTrouble::ImageTooLarge {
            source: source_name,
            what: format!("the disk inside has {is}, more than the {limit} of maxVirtualSize"),
        },
        ImagesError::ChecksumMismatch {
            source_name,
            is,
            asked,
        } => StorageTrouble::ImageChecksumMismatch {
            source: source_name,
            is,
            asked,
        },
        ImagesError::NeedsAnotherFile(what) => StorageTrouble::ImageHasBackingFile { what },
        ImagesError::Encrypted => StorageTrouble::ImageEncrypted,
        ImagesError::FormatMismatch(why) => StorageTrouble::ImageFormatMismatch(why),
        ImagesError::QemuImg { what: "info", why } => {
            StorageTrouble::ImageFormatMismatch(format!("qemu-img cannot read the image: {why}"))
        }
        ImagesError::QemuImg { why, .. } => StorageTrouble::ConversionFailed(why),
        ImagesError::NoQemuImg(_) => StorageTrouble::failed("converting", why),
        ImagesError::Pool(error) => of_volumes(error),
        ImagesError::Injected(_) => StorageTrouble::failed("fetching", why),
    }
}

pub fn of_targets(error: TargetsError) -> StorageTrouble {
    let why = in_full(&error);
    match error {
        TargetsError::Unreachable { .. } | TargetsError::NoAnswer { .. } => {
            StorageTrouble::TargetDaemonSilent(why)
        }
        TargetsError::FenceSlow { name, waited_ms } => StorageTrouble::FenceSlow {
            target: name,
            waited_ms,
        },
        TargetsError::Refused { .. }
        | TargetsError::Nonsense { .. }
        | TargetsError::Counter { .. }
        | TargetsError::AnotherTarget { .. }
        | TargetsError::Injected(_) => StorageTrouble::failed("the target daemon's work", why),
    }
}
