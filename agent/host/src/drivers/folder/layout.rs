//! One pool's folder: where everything lies, and how a file gets there whole.
//!
//! ```text
//! pool.json            shows that this is the pool, and which
//! volumes/ID.raw       the bytes of a volume in use
//! records/ID.json      what is kept beside it; stays when the bytes are gone
//! snapshots/ID/SNAPSHOT.raw,json   the volume at one moment, and how to see that it is untouched
//! grants/ID.EPOCH.*    another name of a volume's bytes, for the machine of this host that may open
//!                      them; in a directory pool
//! images/UID.raw,json  an image and what it was made from
//! retained/ID-EPOCH.*  the bytes of a released volume, and whose they were
//! erasing/ID.raw       taken out of use, being erased
//! erased.jsonl         one line for each volume that was erased
//! tmp/PROCESS.*        being made
//! ```

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dc_types::{Epoch, ImageUid, InstanceId, PoolName, SnapshotId};
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::drivers::DriverError;
use crate::drivers::cutoff::effect;

/// The newest form of the files in a pool's folder that this agent knows.
pub const FORMAT: u32 = 1;

pub const FOLDERS: [&str; 8] = [
    "volumes",
    "records",
    "snapshots",
    "grants",
    "images",
    "retained",
    "erasing",
    "tmp",
];

/// The file of a volume's bytes in a pool's folder.
pub fn volume_file(root: &Path, volume: InstanceId) -> PathBuf {
    root.join("volumes").join(format!("{volume}.raw"))
}

/// What `pool.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    pub format: u32,
    pub pool: PoolName,
    pub id: Uuid,
}

/// The folder of one pool.
///
/// By its name it may be another folder from one moment to the next, when a disk is mounted or goes
/// away there. What was [held](Self::hold) stays the one folder, wherever its name leads meanwhile.
#[derive(Clone, Debug)]
pub struct PoolFolder {
    pub pool: PoolName,
    /// Where the work is done: its name, or the way to the folder that is held.
    pub root: PathBuf,
    /// What people call it.
    named: PathBuf,
    held: Option<Arc<File>>,
    /// Begins the names of this process's files in `tmp`.
    process: Uuid,
}

impl PoolFolder {
    pub fn new(pool: PoolName, root: PathBuf, process: Uuid) -> Self {
        Self {
            pool,
            named: root.clone(),
            root,
            held: None,
            process,
        }
    }

    /// The folder that the name leads to now. All that is done with what this gives, and with its
    /// clones, is done there; it must outlive the paths it gave. They are of this process alone.
    pub fn hold(&self) -> io::Result<Self> {
        let held = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_DIRECTORY.bits())
            .open(&self.named)?;
        Ok(Self {
            root: PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())),
            held: Some(Arc::new(held)),
            ..self.clone()
        })
    }

    /// Whether the name still leads to the folder that is held.
    pub fn see_same(&self) -> Result<(), String> {
        let named = self.named.display();
        let now = fs::metadata(&self.named).map_err(|error| format!("{named}: {error}"))?;
        let held = self.held.as_ref().map(|held| held.metadata()).transpose();
        let held = held.map_err(|error| format!("{named}: {error}"))?;
        match held {
            Some(held) if (held.dev(), held.ino()) != (now.dev(), now.ino()) => Err(format!(
                "{named} became another folder while it was worked in: see that the pool's disk is \
                 mounted there"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// A path of ours as people know it.
    pub fn shown(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(rest) => self.named.join(rest),
            Err(_) => path.to_owned(),
        }
    }

    pub fn volume(&self, volume: InstanceId) -> PathBuf {
        volume_file(&self.root, volume)
    }

    /// The folder of a volume's snapshots.
    pub fn snapshots(&self, volume: InstanceId) -> PathBuf {
        self.root.join("snapshots").join(volume.to_string())
    }

    pub fn snapshot(&self, volume: InstanceId, snapshot: SnapshotId) -> PathBuf {
        self.snapshots(volume).join(format!("{snapshot}.raw"))
    }

    pub fn snapshot_record(&self, volume: InstanceId, snapshot: SnapshotId) -> PathBuf {
        self.snapshots(volume).join(format!("{snapshot}.json"))
    }

    pub fn record(&self, volume: InstanceId) -> PathBuf {
        self.root.join("records").join(format!("{volume}.json"))
    }

    pub fn image(&self, image: ImageUid) -> PathBuf {
        self.root.join("images").join(format!("{image}.raw"))
    }

    pub fn image_record(&self, image: ImageUid) -> PathBuf {
        self.root.join("images").join(format!("{image}.json"))
    }

    pub fn retained(&self, volume: InstanceId, epoch: Epoch) -> PathBuf {
        let name = format!("{volume}-{epoch}.raw");
        self.root.join("retained").join(name)
    }

    pub fn erasing(&self, volume: InstanceId) -> PathBuf {
        self.root.join("erasing").join(format!("{volume}.raw"))
    }

    pub fn erased_log(&self) -> PathBuf {
        self.root.join("erased.jsonl")
    }

    /// A new name in `tmp`; what is made there goes when it is dropped, unless it is moved away.
    pub fn temporary(&self, kind: &str) -> Temporary {
        let name = format!("{}.{kind}.{}", self.process, Uuid::new_v4());
        Temporary {
            path: self.root.join("tmp").join(name),
        }
    }

    /// Whether the folder is the pool. An empty one that was never a pool becomes it; `remembered`
    /// is the id this host knows the pool by.
    pub fn ready(&self, remembered: Option<Uuid>) -> Result<Uuid, String> {
        let root = self.named.display();
        let metadata = fs::metadata(&self.root).map_err(|error| format!("{root}: {error}"))?;
        if !metadata.is_dir() {
            return Err(format!("{root} is not a folder"));
        }
        let marker = match (self.read_marker()?, remembered) {
            (Some(marker), _) => marker,
            (None, Some(_)) => {
                return Err(format!(
                    "{root} has lost its pool.json: see that the pool's disk is mounted there"
                ));
            }
            (None, None) => self.become_pool()?,
        };
        if marker.format > FORMAT {
            return Err(format!("{root} was written by a newer agent"));
        }
        if marker.pool != self.pool || remembered.is_some_and(|id| id != marker.id) {
            return Err(format!(
                "{root} is another pool ({}, {}): see that the right disk is mounted there",
                marker.pool, marker.id
            ));
        }
        for name in FOLDERS {
            make_folder(&self.root.join(name))
                .map_err(|error| format!("{root}/{name}: {error}"))?;
        }
        Ok(marker.id)
    }

    /// What shows that this is the pool.
    pub fn marker(&self) -> PathBuf {
        self.root.join("pool.json")
    }

    fn read_marker(&self) -> Result<Option<Marker>, String> {
        let path = self.marker();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| format!("{}: {error}", self.shown(&path).display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", self.shown(&path).display())),
        }
    }

    fn become_pool(&self) -> Result<Marker, String> {
        let root = self.named.display();
        let told = |error: io::Error| format!("{root}: {error}");
        for entry in fs::read_dir(&self.root).map_err(told)? {
            let name = entry.map_err(told)?.file_name();
            let ours = FOLDERS.iter().any(|folder| name == OsStr::new(folder));
            if !ours && name != "lost+found" {
                return Err(format!(
                    "{root} holds {name:?} and no pool.json: a pool begins as an empty folder"
                ));
            }
        }
        let marker = Marker {
            format: FORMAT,
            pool: self.pool.clone(),
            id: Uuid::new_v4(),
        };
        let text = serde_json::to_vec(&marker).map_err(|error| error.to_string())?;
        make_folder(&self.root.join("tmp")).map_err(told)?;
        self.write(&self.marker(), &text)
            .map_err(|error| error.to_string())?;
        Ok(marker)
    }

    /// Removes what other processes of ours left in `tmp`, and nothing else.
    pub fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join("tmp"))? {
            let entry = entry?;
            let name = entry.file_name();
            let process = name
                .to_str()
                .and_then(|name| name.split('.').next())
                .and_then(|id| Uuid::parse_str(id).ok());
            if process.is_some_and(|id| id != self.process) && entry.file_type()?.is_file() {
                tracing::info!(pool = %self.pool, file = ?name, "removing what a crash left");
                effect();
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Writes a small file so that a crash leaves the old one or the new one.
    pub fn write(&self, path: &Path, text: &[u8]) -> Result<(), DriverError> {
        let temporary = self.temporary("small");
        let mut file = temporary.create().map_err(|e| self.io("making", path, e))?;
        effect();
        file.write_all(text)
            .and_then(|()| file.sync_all())
            .map_err(|e| self.io("writing", path, e))?;
        temporary
            .replace(path)
            .map_err(|e| self.io("putting in place", path, e))
    }

    /// Something of ours that was asked for and is not in the pool.
    pub fn not_there(&self, what: String) -> DriverError {
        DriverError::NotThere {
            pool: self.pool.clone(),
            what,
        }
    }

    pub fn io(&self, what: &'static str, path: impl AsRef<Path>, source: io::Error) -> DriverError {
        DriverError::io(&self.pool, what, self.shown(path.as_ref()), source)
    }
}

/// A file in `tmp`, removed when it is dropped.
#[derive(Debug)]
pub struct Temporary {
    pub path: PathBuf,
}

impl Temporary {
    /// Opens it, new and readable by root alone.
    pub fn create(&self) -> io::Result<File> {
        effect();
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)
    }

    /// Moves it to where nothing is yet.
    pub fn place(self, to: &Path) -> io::Result<()> {
        rename_new(&self.path, to)?;
        sync_parent(to)
    }

    /// Moves it to where something may be.
    pub fn replace(self, to: &Path) -> io::Result<()> {
        effect();
        fs::rename(&self.path, to)?;
        sync_parent(to)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // It is swept at the next start.
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "not removed"),
        }
    }
}

/// Writes a small file of the agent's own, outside the pools, so that a crash leaves the old one
/// or the new one. Makes its folder.
pub fn write_durably(path: &Path, text: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)?;
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_parent(path)
}

/// Opens a file of ours; a link in its place is an error.
pub fn open_ours(path: &Path, write: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
}

/// Renames, unless something is there already.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    effect();
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)?;
    Ok(())
}

/// Removes a file that may be gone already.
pub fn remove_file(path: &Path) -> io::Result<()> {
    effect();
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| sync_parent(path)),
    }
}

/// Makes a rename durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    File::open(parent)?.sync_all()
}

pub fn make_folder(path: &Path) -> io::Result<()> {
    // Looked at first: even a needless mkdir waits as long as the file system is frozen.
    if path.is_dir() {
        return Ok(());
    }
    effect();
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
