//! A folder, of this host or mounted, laid out as restic's local one.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustic_core::Id;
use tempfile::NamedTempFile;

use super::{Kind, Store, StoreError};

/// What is written goes under such a name first. No reader of the format takes it for a file: it is
/// no hash.
const UNFINISHED: &str = ".unfinished-";

/// Nobody writes a file for so long, and no clock of a mounted place is so far off.
const ABANDONED: Duration = Duration::from_hours(24);

#[derive(Debug, Clone)]
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn folder(&self, kind: Kind, id: Id) -> PathBuf {
        match kind {
            Kind::Config => self.root.clone(),
            // 256 folders by the first byte, so that none grows too large.
            Kind::Pack => self.root.join("data").join(&id.to_hex().as_str()[..2]),
            _ => self.root.join(kind.folder()),
        }
    }

    pub(super) fn path(&self, kind: Kind, id: Id) -> PathBuf {
        match kind {
            Kind::Config => self.root.join("config"),
            _ => self.folder(kind, id).join(id.to_hex().as_str()),
        }
    }
}

impl Store for LocalStore {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn create(&self) -> Result<(), StoreError> {
        let packs = (0..=u8::MAX).map(|first| self.root.join("data").join(hex::encode([first])));
        let others = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Config);
        for folder in others
            .map(|kind| self.root.join(kind.folder()))
            .chain(packs)
        {
            fs::create_dir_all(&folder).map_err(|e| StoreError::io(&folder, "made", &e))?;
        }
        sync(&self.root.join("data"))?;
        sync(&self.root)
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, StoreError> {
        // A repository that is not mounted has nothing, which is another thing than being empty.
        fs::metadata(&self.root).map_err(|e| StoreError::io(&self.root, "listed", &e))?;
        match kind {
            Kind::Config => {
                let path = self.root.join("config");
                match fs::metadata(&path) {
                    Ok(config) => Ok(vec![(Id::default(), config.len())]),
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
                    Err(error) => Err(StoreError::io(&path, "listed", &error)),
                }
            }
            Kind::Pack => {
                let mut packs = Vec::new();
                for folder in entries(&self.root.join("data"))? {
                    if folder.is_dir() {
                        list_folder(&folder, &mut packs)?;
                    }
                }
                Ok(packs)
            }
            _ => {
                let mut files = Vec::new();
                list_folder(&self.root.join(kind.folder()), &mut files)?;
                Ok(files)
            }
        }
    }

    fn read(&self, kind: Kind, id: Id, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        let path = self.path(kind, id);
        let read = || match range {
            None => fs::read(&path),
            Some(range) => {
                let length = usize::try_from(range.end.saturating_sub(range.start));
                let mut bytes = vec![0; length.map_err(std::io::Error::other)?];
                File::open(&path)?.read_exact_at(&mut bytes, range.start)?;
                Ok(bytes)
            }
        };
        read().map_err(|error| StoreError::io(&path, "read", &error))
    }

    fn write(&self, kind: Kind, id: Id, bytes: &[u8]) -> Result<(), StoreError> {
        let (folder, path) = (self.folder(kind, id), self.path(kind, id));
        let there = fs::metadata(&path).is_ok_and(|file| file.len() == bytes.len() as u64);
        if there && kind != Kind::Config {
            return Ok(());
        }
        fs::create_dir_all(&folder).map_err(|e| StoreError::io(&folder, "made", &e))?;
        let write = || {
            let mut file = tempfile::Builder::new()
                .prefix(UNFINISHED)
                .tempfile_in(&folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            persist(file, &path)
        };
        write().map_err(|error| StoreError::io(&path, "written", &error))?;
        sync(&folder)
    }

    fn remove(&self, kind: Kind, id: Id) -> Result<(), StoreError> {
        let path = self.path(kind, id);
        match fs::remove_file(&path) {
            Ok(()) => sync(&self.folder(kind, id)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::io(&path, "removed", &error)),
        }
    }

    fn sweep(&self) -> Result<(), StoreError> {
        let mut folders = vec![self.root.clone()];
        for kind in Kind::ALL {
            match kind {
                Kind::Config => {}
                Kind::Pack => folders.extend(entries(&self.root.join("data"))?),
                _ => folders.push(self.root.join(kind.folder())),
            }
        }
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            for path in entries(folder)? {
                if is_abandoned(&path) {
                    tracing::info!(path = %path.display(), "a writer that died has left it; removed");
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        other => other.map_err(|e| StoreError::io(&path, "removed", &e))?,
                    }
                }
            }
        }
        Ok(())
    }
}

/// A file under the name of an unfinished one, old enough that nobody writes it.
fn is_abandoned(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let age = || {
        let file = fs::symlink_metadata(path)
            .ok()
            .filter(fs::Metadata::is_file)?;
        file.modified().ok()?.elapsed().ok()
    };
    name.starts_with(UNFINISHED) && age().is_some_and(|age| age > ABANDONED)
}

fn persist(file: NamedTempFile, path: &Path) -> std::io::Result<()> {
    file.persist(path).map(drop).map_err(|failed| failed.error)
}

/// Makes the names in a folder durable. A mounted one may not know how: then it is its server's to
/// keep.
fn sync(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    match synced {
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(()),
        other => other.map_err(|error| StoreError::io(folder, "written", &error)),
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<std::io::Result<Vec<_>>>()
        }),
    };
    listed.map_err(|error| StoreError::io(folder, "listed", &error))
}

fn list_folder(folder: &Path, files: &mut Vec<(Id, u64)>) -> Result<(), StoreError> {
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Ok(id) = name.parse::<Id>() else { continue };
        match fs::metadata(&path) {
            Ok(file) => files.push((id, file.len())),
            // Another client took its lock away meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io(&path, "listed", &error)),
        }
    }
    Ok(())
}
