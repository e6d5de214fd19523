//! The files of volumes: made, found, grown, and what is written down beside them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use dc_agent_core::storage::{Note, VolumeBytes, VolumeRecord, VolumeSeen, file_size};
use dc_types::plan::VolumeSource;
use dc_types::{Bytes, InstanceId};
use serde::{Deserialize, Serialize};

use super::bytes;
use super::layout::{FORMAT, PoolFolder, open_ours};
use super::snapshots;
use crate::drivers::DriverError;
use crate::drivers::cutoff::effect;

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
pub fn try_reflink(folder: &PoolFolder) -> Result<Reflink, DriverError> {
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

/// Every volume of which there is a file, a record or a snapshot.
pub fn list(folder: &PoolFolder) -> Result<BTreeMap<InstanceId, VolumeSeen>, DriverError> {
    let mut seen: BTreeMap<InstanceId, VolumeSeen> = BTreeMap::new();
    let ids = |name: &str, suffix: &str| {
        names_in::<InstanceId>(folder, &folder.root.join(name), suffix).map(|names| names.ours)
    };
    for id in ids("records", ".json")? {
        let mut there = absent(folder, id);
        match read_record(folder, id) {
            Ok(record) => there.record = record,
            Err(error) => there.fault = Some(error.to_string()),
        }
        seen.insert(id, there);
    }
    for id in ids("volumes", ".raw")? {
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
    for id in ids("erasing", ".raw")? {
        let there = seen.entry(id).or_insert_with(|| absent(folder, id));
        if there.bytes == VolumeBytes::Absent {
            there.bytes = VolumeBytes::Erasing;
        }
    }
    for id in ids("snapshots", "")? {
        let there = seen.entry(id).or_insert_with(|| absent(folder, id));
        there.snapshots = snapshots::list(folder, id)?;
    }
    Ok(seen)
}

fn absent(folder: &PoolFolder, volume: InstanceId) -> VolumeSeen {
    VolumeSeen {
        place: folder.shown(&folder.volume(volume)).display().to_string(),
        bytes: VolumeBytes::Absent,
        record: None,
        snapshots: BTreeMap::new(),
        fault: None,
    }
}

/// What a folder holds: names that we write, and others.
pub struct Names<Id> {
    pub ours: Vec<Id>,
    pub others: Vec<OsString>,
}

pub fn all_names(folder: &PoolFolder, path: &Path) -> Result<Vec<OsString>, DriverError> {
    let told = |error| folder.io("listing", path, error);
    let entries = fs::read_dir(path).map_err(told)?;
    entries
        .map(|entry| Ok(entry.map_err(told)?.file_name()))
        .collect()
}

/// The names in a folder that are an id and a suffix, and the rest.
pub fn names_in<Id: FromStr + Display>(
    folder: &PoolFolder,
    path: &Path,
    suffix: &str,
) -> Result<Names<Id>, DriverError> {
    let mut names = Names {
        ours: Vec::new(),
        others: Vec::new(),
    };
    for name in all_names(folder, path)? {
        let id = name.to_str().and_then(|name| name.strip_suffix(suffix));
        let id = id.and_then(|id| id.parse::<Id>().ok());
        // A UUID has more than one spelling; only the one we write is ours.
        match id.filter(|id| name == *format!("{id}{suffix}")) {
            Some(id) => names.ours.push(id),
            None => names.others.push(name),
        }
    }
    Ok(names)
}

/// `None` when nothing is there.
fn metadata(folder: &PoolFolder, path: &Path) -> Result<Option<fs::Metadata>, DriverError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(folder.io("looking at", path, error)),
    }
}

pub fn is_there(folder: &PoolFolder, path: &Path) -> Result<bool, DriverError> {
    Ok(metadata(folder, path)?.is_some())
}

/// Opens the bytes of a volume in use.
pub fn open(folder: &PoolFolder, volume: InstanceId, write: bool) -> Result<File, DriverError> {
    let path = folder.volume(volume);
    match open_ours(&path, write) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(folder.not_there(format!("volume {volume}")))
        }
        other => other.map_err(|error| folder.io("opening", &path, error)),
    }
}

pub fn create(
    folder: &PoolFolder,
    reflink: Reflink,
    volume: InstanceId,
    size: Bytes,
    source: &VolumeSource,
) -> Result<(), DriverError> {
    let path = folder.volume(volume);
    if is_there(folder, &path)? {
        return Ok(());
    }
    let temporary = folder.temporary("volume");
    let made = temporary.path.clone();
    let told = |error| folder.io("making", &made, error);
    let file = temporary.create().map_err(told)?;
    let size = file_size(size);
    hint(folder, &file);
    if let Some(source) = open_source(folder, source)? {
        fill(folder, reflink, source, &file, size)?;
    }
    file.set_len(size.0).map_err(told)?;
    sync_made(&file).map_err(told)?;
    match temporary.place(&path) {
        // Somebody else made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|error| folder.io("putting in place", &path, error)),
    }
}

/// Asks for large extents, where that is known.
pub fn hint(folder: &PoolFolder, file: &File) {
    if let Err(error) = bytes::hint_extents(file) {
        tracing::debug!(pool = %folder.pool, %error, "no large extents here");
    }
}

/// Makes durable what a file that was just made holds.
pub fn sync_made(file: &File) -> io::Result<()> {
    effect();
    file.sync_all()
}

/// What a volume is to be made from, opened; nothing when it is blank.
struct Source {
    name: String,
    path: PathBuf,
    file: File,
}

fn open_source(folder: &PoolFolder, source: &VolumeSource) -> Result<Option<Source>, DriverError> {
    let (name, path, file) = match source {
        VolumeSource::Blank => return Ok(None),
        VolumeSource::Image(image) => {
            let path = folder.image(*image);
            let file = open_ours(&path, false);
            let file = file.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => folder.not_there(String::new()),
                _ => folder.io("opening", &path, error),
            });
            (format!("image {image}"), path, file)
        }
        VolumeSource::Volume(source) => {
            let file = open(folder, *source, false);
            (format!("volume {source}"), folder.volume(*source), file)
        }
        VolumeSource::Snapshot { volume, snapshot } => (
            snapshots::name(*snapshot),
            folder.snapshot(*volume, *snapshot),
            snapshots::open(folder, *volume, *snapshot),
        ),
    };
    match file {
        Ok(file) => Ok(Some(Source { name, path, file })),
        Err(DriverError::NotThere { pool, .. }) => Err(DriverError::SourceMissing {
            pool,
            source_name: name,
        }),
        Err(error) => Err(error),
    }
}

/// Makes `file` hold what the source holds.
fn fill(
    folder: &PoolFolder,
    reflink: Reflink,
    source: Source,
    file: &File,
    size: Bytes,
) -> Result<(), DriverError> {
    let Source {
        name,
        path,
        file: source,
    } = source;
    let told = |error| folder.io("copying", &path, error);
    let before = source.metadata().map_err(told)?;
    if before.len() > size.0 {
        return Err(DriverError::SizeBelowSource {
            source_name: name,
            needs: Bytes(before.len()),
            asked: size,
        });
    }
    effect();
    match reflink {
        Reflink::Shares => bytes::clone(&source, file),
        Reflink::Copies => bytes::copy(&source, file),
    }
    .map_err(told)?;
    // A source that is erased is renamed before its first block goes: if it still has its name,
    // what was taken is whole.
    match metadata(folder, &path)? {
        Some(after) if (after.dev(), after.ino()) == (before.dev(), before.ino()) => Ok(()),
        _ => Err(DriverError::SourceMissing {
            pool: folder.pool.clone(),
            source_name: name,
        }),
    }
}

pub fn is_shorter(
    folder: &PoolFolder,
    volume: InstanceId,
    size: Bytes,
) -> Result<bool, DriverError> {
    let file = open(folder, volume, false)?;
    let told = |error| folder.io("growing", folder.volume(volume), error);
    Ok(file.metadata().map_err(told)?.len() < file_size(size).0)
}

/// Of a file that [`is_shorter`].
pub fn grow(folder: &PoolFolder, volume: InstanceId, size: Bytes) -> Result<(), DriverError> {
    let file = open(folder, volume, true)?;
    let told = |error| folder.io("growing", folder.volume(volume), error);
    effect();
    file.set_len(file_size(size).0).map_err(told)?;
    file.sync_all().map_err(told)
}

pub fn read_record(
    folder: &PoolFolder,
    volume: InstanceId,
) -> Result<Option<VolumeRecord>, DriverError> {
    let path = folder.record(volume);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(folder.io("reading", path, error)),
    };
    let fault = |fault| {
        let what = folder.shown(&path).display().to_string();
        Err(DriverError::Corrupt { what, fault })
    };
    match serde_json::from_slice::<RecordFile>(&text) {
        Ok(file) if file.format > FORMAT => fault("it was written by a newer agent".to_owned()),
        Ok(file) => Ok(Some(file.record)),
        Err(error) => fault(format!("it cannot be understood: {error}")),
    }
}

/// The caller holds the lock on records.
pub fn note(folder: &PoolFolder, volume: InstanceId, note: &Note) -> Result<(), DriverError> {
    let before = read_record(folder, volume)?;
    let after = VolumeRecord::with(before.clone(), note);
    let Some(record) = after else {
        // Of a volume that was never made there is nothing to say when it goes.
        return match note {
            Note::Gone(_) | Note::Fenced(_) => Ok(()),
            _ => Err(DriverError::NoRecord {
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
