//! The files of volumes: made, found, grown, and what is written down beside them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dc_agent_core::storage::{Note, VolumeBytes, VolumeRecord, VolumeSeen, file_size};
use dc_types::plan::VolumeSource;
use dc_types::{Bytes, InstanceId};
use serde::{Deserialize, Serialize};

use super::VolumesError;
use super::bytes;
use super::folder::{FORMAT, PoolFolder, open_ours};

/// Whether clones share blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reflink {
    Shares,
    Copies,
}

/// The form of a record on disk.
#[derive(Serialize, Deserialize)]
struct RecordFile {
    format: u32,
    #[serde(flatten)]
    record: VolumeRecord,
}

/// Tries whether the file system shares blocks between files.
pub fn try_reflink(folder: &PoolFolder) -> Result<Reflink, VolumesError> {
    let (from, to) = (folder.temporary("try"), folder.temporary("try"));
    let tried = (|| {
        let source = from.create()?;
        io::Write::write_all(&mut &source, &[1; 4096])?;
        Ok(bytes::clone(&source, &to.create()?))
    })();
    match tried {
        Ok(Ok(())) => Ok(Reflink::Shares),
        Ok(Err(_)) => Ok(Reflink::Copies),
        Err(error) => Err(folder.io("writing", &from.path, error)),
    }
}

/// Every volume of which there is a file or a record.
pub fn list(folder: &PoolFolder) -> Result<BTreeMap<InstanceId, VolumeSeen>, VolumesError> {
    let mut seen: BTreeMap<InstanceId, VolumeSeen> = BTreeMap::new();
    for id in ids_in(folder, "records", ".json")? {
        let mut there = absent(folder, id);
        match read_record(folder, id) {
            Ok(record) => there.record = record,
            Err(error) => there.fault = Some(error.to_string()),
        }
        seen.insert(id, there);
    }
    for id in ids_in(folder, "volumes", ".raw")? {
        let path = folder.volume(id);
        let Some(metadata) = metadata(folder, &path)? else {
            continue;
        };
        let there = seen.entry(id).or_insert_with(|| absent(folder, id));
        if !metadata.is_file() {
            there.fault = Some("it is not a plain file".to_owned());
        }
        there.bytes = VolumeBytes::Present {
            size: Bytes(metadata.len()),
            // Whatever the file system's block size, the kernel counts these by 512 bytes.
            allocated: Bytes(metadata.blocks() * 512),
        };
    }
    for id in ids_in(folder, "erasing", ".raw")? {
        let there = seen.entry(id).or_insert_with(|| absent(folder, id));
        if there.bytes == VolumeBytes::Absent {
            there.bytes = VolumeBytes::Erasing;
        }
    }
    Ok(seen)
}

fn absent(folder: &PoolFolder, volume: InstanceId) -> VolumeSeen {
    VolumeSeen {
        path: folder.volume(volume),
        bytes: VolumeBytes::Absent,
        record: None,
        fault: None,
    }
}

/// The ids of which a folder holds a file; names that are not ours are passed over.
fn ids_in(folder: &PoolFolder, name: &str, suffix: &str) -> Result<Vec<InstanceId>, VolumesError> {
    let path = folder.root.join(name);
    let told = |error| folder.io("listing", &path, error);
    let mut ids = Vec::new();
    for entry in fs::read_dir(&path).map_err(told)? {
        let name = entry.map_err(told)?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(suffix));
        let id = id.and_then(|id| id.parse::<InstanceId>().ok());
        // A UUID has more than one spelling; only the one we write is ours.
        if let Some(id) = id.filter(|id| name == *format!("{id}{suffix}")) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// `None` when nothing is there.
fn metadata(folder: &PoolFolder, path: &Path) -> Result<Option<fs::Metadata>, VolumesError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(folder.io("looking at", path, error)),
    }
}

pub fn is_there(folder: &PoolFolder, path: &Path) -> Result<bool, VolumesError> {
    Ok(metadata(folder, path)?.is_some())
}

pub fn create(
    folder: &PoolFolder,
    reflink: Reflink,
    volume: InstanceId,
    size: Bytes,
    source: &VolumeSource,
) -> Result<(), VolumesError> {
    let path = folder.volume(volume);
    if is_there(folder, &path)? {
        return Ok(());
    }
    let temporary = folder.temporary("volume");
    let made = temporary.path.clone();
    let told = |error| folder.io("making", &made, error);
    let file = temporary.create().map_err(told)?;
    let size = file_size(size);
    if let Err(error) = bytes::hint_extents(&file) {
        tracing::debug!(pool = %folder.pool, %error, "no large extents here");
    }
    match source {
        VolumeSource::Blank => {}
        VolumeSource::Image(image) => {
            let from = (folder.image(*image), format!("image {image}"));
            fill(folder, reflink, from, &file, size)?;
        }
        VolumeSource::Volume(source) => {
            let from = (folder.volume(*source), format!("volume {source}"));
            fill(folder, reflink, from, &file, size)?;
        }
        VolumeSource::Snapshot { snapshot, .. } => {
            return Err(VolumesError::SourceMissing {
                pool: folder.pool.clone(),
                source_name: format!("snapshot {snapshot}"),
            });
        }
    }
    file.set_len(size.0).map_err(told)?;
    file.sync_all().map_err(told)?;
    match temporary.place(&path) {
        // Somebody else made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|error| folder.io("putting in place", &path, error)),
    }
}

/// Makes `file` hold what the source holds.
fn fill(
    folder: &PoolFolder,
    reflink: Reflink,
    (path, name): (PathBuf, String),
    file: &File,
    size: Bytes,
) -> Result<(), VolumesError> {
    let missing = || VolumesError::SourceMissing {
        pool: folder.pool.clone(),
        source_name: name.clone(),
    };
    let told = |error| folder.io("copying", &path, error);
    let source = match open_ours(&path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        other => other.map_err(told)?,
    };
    let before = source.metadata().map_err(told)?;
    if before.len() > size.0 {
        return Err(VolumesError::SizeBelowSource {
            source_name: name,
            needs: Bytes(before.len()),
            asked: size,
        });
    }
    match reflink {
        Reflink::Shares => bytes::clone(&source, file),
        Reflink::Copies => bytes::copy(&source, file),
    }
    .map_err(told)?;
    // A source that is erased is renamed before its first block goes: if it still has its name,
    // what was taken is whole.
    match metadata(folder, &path)? {
        Some(after) if (after.dev(), after.ino()) == (before.dev(), before.ino()) => Ok(()),
        _ => Err(missing()),
    }
}

pub fn grow(folder: &PoolFolder, volume: InstanceId, size: Bytes) -> Result<(), VolumesError> {
    let path = folder.volume(volume);
    let told = |error| folder.io("growing", &path, error);
    let file = open_ours(&path, true).map_err(told)?;
    let size = file_size(size);
    if file.metadata().map_err(told)?.len() < size.0 {
        file.set_len(size.0).map_err(told)?;
        file.sync_all().map_err(told)?;
    }
    Ok(())
}

pub fn read_record(
    folder: &PoolFolder,
    volume: InstanceId,
) -> Result<Option<VolumeRecord>, VolumesError> {
    let path = folder.record(volume);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(folder.io("reading", path, error)),
    };
    let fault = |fault| Err(VolumesError::Record { path, fault });
    match serde_json::from_slice::<RecordFile>(&text) {
        Ok(file) if file.format > FORMAT => fault("it was written by a newer agent".to_owned()),
        Ok(file) => Ok(Some(file.record)),
        Err(error) => fault(format!("it cannot be understood: {error}")),
    }
}

/// The caller holds the lock on records.
pub fn note(folder: &PoolFolder, volume: InstanceId, note: &Note) -> Result<(), VolumesError> {
    let before = read_record(folder, volume)?;
    let after = VolumeRecord::with(before.clone(), note);
    let Some(record) = after else {
        // Of a volume that was never made there is nothing to say when it goes.
        return match note {
            Note::Gone(_) => Ok(()),
            _ => Err(VolumesError::NoRecord {
                pool: folder.pool.clone(),
                volume,
            }),
        };
    };
    if before.as_ref() == Some(&record) {
        return Ok(());
    }
    let file = RecordFile {
        format: FORMAT,
        record,
    };
    let text = serde_json::to_vec(&file).expect("a record is always representable as JSON");
    folder.write(&folder.record(volume), &text)
}
