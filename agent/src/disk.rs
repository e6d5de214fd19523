//! Writing a file so that a crash leaves either the old one or the new one, whole.
//!
//! Write beside it, fsync, rename over it, fsync the folder. What is written is readable by root
//! alone: it holds keys and secrets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

#[derive(Debug, Error)]
pub enum DiskError {
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot make the folder {path}: {source}")]
    Folder { path: PathBuf, source: io::Error },
}

/// Whether a write has to outlive a power cut. Simulated hosts do without: thousands of them
/// would only measure the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    Synced,
    Unsynced,
}

/// Makes a folder that root alone may enter.
pub fn ensure_private_folder(path: &Path) -> Result<(), DiskError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| DiskError::Folder {
            path: path.to_owned(),
            source,
        })
}

/// Puts `bytes` in the place of the file at `path`.
pub fn write_whole(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), DiskError> {
    try_write(path, bytes, durability).map_err(|source| DiskError::Write {
        path: path.to_owned(),
        source,
    })
}

fn try_write(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    // One writer for each file, so the name beside it may be fixed; a leftover is written over.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&beside, path)?;
    if durability == Durability::Synced
        && let Some(folder) = path.parent()
    {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The file's bytes; `None` when it does not exist.
pub fn read_whole(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DiskError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_is_roots_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a/b");
        ensure_private_folder(&state).unwrap();
        ensure_private_folder(&state).unwrap();
        let path = state.join("ledger.json");
        assert_eq!(read_whole(&path).unwrap(), None);
        // What a crash in the middle of an earlier write leaves behind.
        fs::write(state.join("ledger.json.new"), b"half of someth").unwrap();
        for durability in [Durability::Synced, Durability::Unsynced] {
            write_whole(&path, b"whole", durability).unwrap();
            assert_eq!(read_whole(&path).unwrap().unwrap(), b"whole");
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&state), 0o700);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    }
}
