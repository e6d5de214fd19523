//! Snapshots: files that share all their blocks with the volume as it stood at one moment.
//!
//! ```text
//! tmp: clone ── synced ── what it is, written beside its place ── renamed to its place ──▶ there
//! ```
//! The clone is one call of the kernel, which holds writes back while it lasts: whatever a guest
//! had acknowledged before is in it, and nothing that came after. What is written beside it (length,
//! inode, time of the last change) is how a change behind our back is seen.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use dc_agent_core::storage::{Extent, SnapshotSeen, changed, clip, merge};
use dc_types::{Bytes, InstanceId, SnapshotId};
use serde::{Deserialize, Serialize};

use super::bytes;
use super::files::{hint, is_there, names_in, open as open_volume, sync_made};
use super::layout::{FORMAT, PoolFolder, make_folder, open_ours, remove_file};
use super::maps::{map, mapped};
use crate::drivers::DriverError;
use crate::drivers::cutoff::effect;

/// What is written beside a snapshot.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RecordFile {
    format: u32,
    size: u64,
    taken_at: i64,
    inode: u64,
    /// Of the last change of its bytes: seconds since 1970, and nanoseconds.
    changed: (i64, i64),
}

impl RecordFile {
    fn of(metadata: &fs::Metadata, taken_at: i64) -> Self {
        Self {
            format: FORMAT,
            size: metadata.len(),
            taken_at,
            inode: metadata.ino(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

pub fn name(snapshot: SnapshotId) -> String {
    format!("snapshot {snapshot}")
}

/// The file system shares blocks: the caller has seen to it.
pub fn create(
    folder: &PoolFolder,
    volume: InstanceId,
    snapshot: SnapshotId,
) -> Result<(), DriverError> {
    let path = folder.snapshot(volume, snapshot);
    if is_there(folder, &path)? {
        return Ok(());
    }
    let source = open_volume(folder, volume, false)?;
    let temporary = folder.temporary("snapshot");
    let told = |error| folder.io("taking", &path, error);
    let file = temporary.create().map_err(told)?;
    effect();
    bytes::clone(&source, &file).map_err(told)?;
    let taken_at = jiff::Timestamp::now().as_second();
    file.set_permissions(Permissions::from_mode(0o400))
        .map_err(told)?;
    sync_made(&file).map_err(told)?;
    let metadata = file.metadata().map_err(told)?;
    let text = serde_json::to_vec(&RecordFile::of(&metadata, taken_at))
        .expect("a record is always representable as JSON");
    make_folder(&folder.snapshots(volume)).map_err(told)?;
    folder.write(&folder.snapshot_record(volume, snapshot), &text)?;
    match temporary.place(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(told),
    }
}

pub fn delete(
    folder: &PoolFolder,
    volume: InstanceId,
    snapshot: SnapshotId,
) -> Result<(), DriverError> {
    for path in [
        folder.snapshot(volume, snapshot),
        folder.snapshot_record(volume, snapshot),
    ] {
        // Looked at first: of a volume without snapshots there is no folder to make durable.
        if is_there(folder, &path)? {
            remove_file(&path).map_err(|error| folder.io("removing", &path, error))?;
        }
    }
    let all = folder.snapshots(volume);
    effect();
    match fs::remove_dir(&all) {
        Ok(()) => Ok(()),
        // There are others, or there is none any more.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(folder.io("removing", &all, error)),
    }
}

/// Every snapshot of a volume.
pub fn list(
    folder: &PoolFolder,
    volume: InstanceId,
) -> Result<BTreeMap<SnapshotId, SnapshotSeen>, DriverError> {
    let mut seen = BTreeMap::new();
    let path = folder.snapshots(volume);
    if !is_there(folder, &path)? {
        return Ok(seen);
    }
    for id in names_in::<SnapshotId>(folder, &path, ".raw")?.ours {
        let path = folder.snapshot(volume, id);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            // It goes away while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(folder.io("looking at", &path, error)),
        };
        let (taken_at, fault) = match check(folder, volume, id, &metadata) {
            Ok(taken_at) => (taken_at, None),
            Err(fault) => (metadata.mtime(), Some(fault)),
        };
        let there = SnapshotSeen {
            size: Bytes(metadata.len()),
            taken_at,
            fault,
        };
        seen.insert(id, there);
    }
    Ok(seen)
}

/// When it was taken, if it is as it was then.
fn check(
    folder: &PoolFolder,
    volume: InstanceId,
    snapshot: SnapshotId,
    metadata: &fs::Metadata,
) -> Result<i64, String> {
    if !metadata.is_file() {
        return Err("it is not a plain file".to_owned());
    }
    let path = folder.snapshot_record(volume, snapshot);
    let shown = folder.shown(&path);
    let shown = shown.display();
    let text = fs::read(&path).map_err(|error| format!("{shown}: {error}"))?;
    let record: RecordFile = serde_json::from_slice(&text)
        .map_err(|error| format!("{shown} cannot be understood: {error}"))?;
    if record.format > FORMAT {
        return Err(format!("{shown} was written by a newer agent"));
    }
    let mut now = RecordFile::of(metadata, record.taken_at);
    now.format = record.format;
    if now != record {
        return Err(format!(
            "it was changed after it was taken: it has {} bytes, {} then",
            metadata.len(),
            record.size
        ));
    }
    Ok(record.taken_at)
}

/// Opens a snapshot that is as it was when it was taken.
pub fn open(
    folder: &PoolFolder,
    volume: InstanceId,
    snapshot: SnapshotId,
) -> Result<File, DriverError> {
    let path = folder.snapshot(volume, snapshot);
    let file = match open_ours(&path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(folder.not_there(name(snapshot)));
        }
        other => other.map_err(|error| folder.io("opening", &path, error))?,
    };
    let metadata = file
        .metadata()
        .map_err(|error| folder.io("looking at", &path, error))?;
    match check(folder, volume, snapshot, &metadata) {
        Ok(_) => Ok(file),
        Err(fault) => Err(DriverError::Corrupt {
            what: folder.shown(&path).display().to_string(),
            fault,
        }),
    }
}

/// Puts a clone of the snapshot in the place of the volume's bytes. The caller has seen that nobody
/// holds them.
pub fn restore(
    folder: &PoolFolder,
    volume: InstanceId,
    snapshot: SnapshotId,
) -> Result<(), DriverError> {
    let path = folder.volume(volume);
    let told = |error| folder.io("restoring", &path, error);
    let source = open(folder, volume, snapshot)?;
    let before = open_volume(folder, volume, false)?;
    let size = before.metadata().map_err(told)?.len();
    let temporary = folder.temporary("restored");
    let file = temporary.create().map_err(told)?;
    hint(folder, &file);
    effect();
    bytes::clone(&source, &file).map_err(told)?;
    let taken = source.metadata().map_err(told)?.len();
    file.set_len(size.max(taken)).map_err(told)?;
    sync_made(&file).map_err(told)?;
    temporary.replace(&path).map_err(told)
}

/// What differs from one snapshot to another, or all of the second that may hold data.
pub fn changed_extents(
    folder: &PoolFolder,
    volume: InstanceId,
    from: Option<SnapshotId>,
    to: SnapshotId,
) -> Result<Vec<Extent>, DriverError> {
    let newer = open(folder, volume, to)?;
    let told = |error| folder.io("mapping", folder.snapshot(volume, to), error);
    let size = newer.metadata().map_err(told)?.len();
    let newer_map = map(&newer).map_err(told)?;
    let Some(from) = from else {
        return Ok(clip(merge(mapped(&newer_map)), size));
    };
    // Held open while both are compared: a block that is given back could hold something else
    // in the same place.
    let older = open(folder, volume, from)?;
    let older_map =
        map(&older).map_err(|e| folder.io("mapping", folder.snapshot(volume, from), e))?;
    Ok(changed(&older_map, &newer_map, size))
}
