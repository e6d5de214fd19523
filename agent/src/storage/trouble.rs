//! What the errors of the storage tools are called in a status.

use std::error::Error;

use dc_agent_core::storage::StorageTrouble;
use dc_host::drivers::DriverError;
use dc_host::images::ImagesError;
use dc_host::targets::TargetsError;

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

pub fn of_driver(error: DriverError) -> StorageTrouble {
    let why = in_full(&error);
    match error {
        DriverError::PoolUnusable { pool, fault } => StorageTrouble::PoolUnusable { pool, fault },
        DriverError::PoolFull { pool, what } => StorageTrouble::PoolFull { pool, what },
        DriverError::SourceMissing { pool, source_name } => StorageTrouble::SourceMissing {
            source: source_name,
            pool,
        },
        DriverError::NotThere { pool, what } => {
            StorageTrouble::SourceMissing { source: what, pool }
        }
        DriverError::SizeBelowSource {
            source_name,
            needs,
            asked,
        } => StorageTrouble::SizeBelowSource {
            source: source_name,
            needs,
            asked,
        },
        DriverError::SizeImpossible { .. } => StorageTrouble::InvalidItem(why),
        DriverError::Corrupt { what, fault } => {
            StorageTrouble::VolumeUnusable { path: what, fault }
        }
        DriverError::StaleEpoch { asked, highest } => StorageTrouble::StaleEpoch { asked, highest },
        DriverError::FenceSlow {
            what,
            waited_ms,
            why,
        } => StorageTrouble::FenceSlow {
            target: what,
            waited_ms,
            why,
        },
        DriverError::Unsupported { pool, what, why } => {
            StorageTrouble::Unsupported { pool, what, why }
        }
        DriverError::Targets(error) => of_targets(error),
        DriverError::Image(error) => of_images(error),
        DriverError::InUse { .. } => StorageTrouble::failed("changing a volume", why),
        DriverError::NotErased { .. } => StorageTrouble::failed("erasing", why),
        DriverError::NoRecord { .. } => StorageTrouble::failed("noting", why),
        DriverError::Tool { .. } | DriverError::Io { .. } | DriverError::Injected(_) => {
            StorageTrouble::failed("working on the pool", why)
        }
    }
}

fn of_images(error: ImagesError) -> StorageTrouble {
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
    }
}

fn of_targets(error: TargetsError) -> StorageTrouble {
    let why = in_full(&error);
    match error {
        TargetsError::Unreachable { .. } | TargetsError::NoAnswer { .. } => {
            StorageTrouble::TargetDaemonSilent(why)
        }
        TargetsError::FenceSlow { name, waited_ms } => StorageTrouble::FenceSlow {
            target: format!("target {name}"),
            waited_ms,
            why: "writes are still in flight, see whether the pool's disk hangs".to_owned(),
        },
        TargetsError::Refused { .. }
        | TargetsError::Nonsense { .. }
        | TargetsError::Counter { .. }
        | TargetsError::AnotherTarget { .. }
        | TargetsError::Injected(_) => StorageTrouble::failed("the target daemon's work", why),
    }
}
