//! How the bytes of a volume go: kept where people find them, or erased and read back.
//!
//! ```text
//! retain: volumes/ID.raw ──▶ retained/ID-EPOCH.raw (its owner is written beside it first)
//! erase:  volumes/ID.raw ──▶ erasing/ID.raw ── erased, read back, logged ── noted ──▶ removed
//! ```
//! Each goes on from wherever it was cut off. A volume that is cut off between the log and the
//! note has two lines in the log.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dc_agent_core::storage::{EraseMethod, Gone, Removal};
use dc_types::plan::Disposition;
use dc_types::report::Erasure;
use dc_types::{Bytes, Epoch, InstanceId, ObjectRef};
use serde::Serialize;

use super::bytes::{self, EraseError, Overwrite};
use super::files::is_there;
use super::layout::{PoolFolder, open_ours, remove_file, rename_new, sync_parent};
use crate::drivers::DriverError;
use crate::drivers::cutoff::effect;

/// One line of `erased.jsonl`, and the file beside a retained volume.
#[derive(Debug, Serialize)]
struct Line<'a> {
    volume: InstanceId,
    owner: &'a ObjectRef,
    /// Of the release: the order by which it went.
    epoch: Epoch,
    /// When, RFC 3339 in UTC.
    time: String,
    size: u64,
    #[serde(flatten)]
    erased: Option<ErasedLine>,
}

#[derive(Debug, Serialize)]
struct ErasedLine {
    method: &'static str,
    extents: u64,
    bytes: u64,
    /// All that held something was read back as zero, and no block is left.
    verified: bool,
    began: i64,
}

impl<'a> Line<'a> {
    fn new(removal: &'a Removal, size: u64, erased: Option<ErasedLine>) -> Self {
        Self {
            volume: removal.volume,
            owner: &removal.owner,
            epoch: removal.epoch,
            time: jiff::Timestamp::now().to_string(),
            size,
            erased,
        }
    }

    fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a line is always representable as JSON")
    }
}

pub fn retain(folder: &PoolFolder, removal: &Removal) -> Result<Gone, DriverError> {
    let to = folder.retained(removal.volume, removal.epoch);
    let in_use = folder.volume(removal.volume);
    let erasing = folder.erasing(removal.volume);
    let mut note = format!("retained as {}", folder.shown(&to).display());
    if is_there(folder, &in_use)? {
        put_away(folder, removal, &in_use, &to)?;
    } else if is_there(folder, &erasing)? {
        put_away(folder, removal, &erasing, &to)?;
        note.push_str("; its erasure had begun, so that parts of it may be zero");
    } else if !is_there(folder, &to)? {
        note = "it had no bytes".to_owned();
    }
    Ok(Gone {
        epoch: removal.epoch,
        disposition: Disposition::Retain,
        note,
        erasure: None,
    })
}

fn put_away(
    folder: &PoolFolder,
    removal: &Removal,
    from: &Path,
    to: &Path,
) -> Result<(), DriverError> {
    let told = |error| folder.io("retaining", from, error);
    let size = fs::metadata(from).map_err(told)?.len();
    let beside = to.with_extension("raw.json");
    folder.write(&beside, &Line::new(removal, size, None).json())?;
    rename_new(from, to).map_err(told)?;
    sync_parent(to)
        .and_then(|()| sync_parent(from))
        .map_err(told)
}

/// Erases the bytes and logs it. What is left is the empty file that [`finish_erase`] removes.
pub fn erase(
    folder: &PoolFolder,
    removal: &Removal,
    method: EraseMethod,
) -> Result<Gone, DriverError> {
    let in_use = folder.volume(removal.volume);
    let path = folder.erasing(removal.volume);
    let told = |error| folder.io("erasing", &path, error);
    if is_there(folder, &in_use)? {
        rename_new(&in_use, &path).map_err(told)?;
        sync_parent(&path)
            .and_then(|()| sync_parent(&in_use))
            .map_err(told)?;
    }
    let (overwrite, disposition, name) = match method {
        EraseMethod::Discard => (Overwrite::Not, Disposition::EraseDiscard, "discard"),
        EraseMethod::Zero => (Overwrite::Zeros, Disposition::EraseZero, "zero"),
        EraseMethod::Random => (Overwrite::Random, Disposition::EraseRandom, "random"),
    };
    let gone = |note, erasure| Gone {
        epoch: removal.epoch,
        disposition,
        note,
        erasure,
    };
    let file = match open_ours(&path, true) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(gone("it had no bytes".to_owned(), None));
        }
        Err(error) => return Err(told(error)),
    };
    let began_at = jiff::Timestamp::now().as_second();
    let size = file.metadata().map_err(told)?.len();
    let erased = bytes::erase(&file, overwrite).map_err(|error| match error {
        EraseError::Io(error) => told(error),
        EraseError::Left { at } => DriverError::NotErased {
            what: folder.shown(&path).display().to_string(),
            at,
        },
    })?;
    let line = ErasedLine {
        method: name,
        extents: erased.extents,
        bytes: erased.bytes,
        verified: true,
        began: began_at,
    };
    log(folder, &Line::new(removal, size, Some(line)))?;
    let note = format!(
        "erased by {name}: {} bytes in {} extents, read back as zero",
        erased.bytes, erased.extents
    );
    let erasure = Erasure {
        method: disposition,
        extents: erased.extents,
        bytes: Bytes(erased.bytes),
        verified: Bytes(erased.verified),
        began_at,
        ended_at: jiff::Timestamp::now().as_second(),
    };
    Ok(gone(note, Some(erasure)))
}

fn log(folder: &PoolFolder, line: &Line<'_>) -> Result<(), DriverError> {
    let path = folder.erased_log();
    let mut text = line.json();
    text.push(b'\n');
    effect();
    let written = (|| {
        // Whatever may be in the pool's place by now, nothing is made there.
        fs::metadata(folder.marker())?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(&text)?;
        file.sync_all()?;
        sync_parent(&path)
    })();
    written.map_err(|error| folder.io("logging in", &path, error))
}

/// Removes what [`erase`] has left.
pub fn finish_erase(folder: &PoolFolder, volume: InstanceId) -> Result<(), DriverError> {
    let path = folder.erasing(volume);
    remove_file(&path).map_err(|error| folder.io("removing", &path, error))
}
