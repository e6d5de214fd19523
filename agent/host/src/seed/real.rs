//! Machines' files in the host's folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use dc_agent_core::vm::Record;
use dc_agent_core::vm::record;
use dc_agent_core::vm::seed::Seed;
use dc_agent_core::vm::validate::Files;
use dc_agent_core::wanted::HostView;
use dc_types::InstanceId;
use tracing::warn;

use super::{SeedError, Seeds, seed_image};

/// QEMU's user passes through the folder; it cannot list it.
const FOLDER_MODE: u32 = 0o711;
/// libvirt hands the file to QEMU's user; nobody else reads it.
const FILE_MODE: u32 = 0o600;

pub struct SeedFolder {
    host: Arc<HostView>,
}

impl SeedFolder {
    #[must_use]
    pub fn new(host: Arc<HostView>) -> Self {
        Self { host }
    }

    fn files(&self, vm: InstanceId) -> Files {
        Files::of(&self.host, vm)
    }

    fn records_folder(&self) -> PathBuf {
        self.host.folders.state.join("vm")
    }
}

#[async_trait]
impl Seeds for SeedFolder {
    async fn machines(&self) -> Result<BTreeSet<InstanceId>, SeedError> {
        let folders = self.host.folders.clone();
        blocking(move || {
            let mut machines = BTreeSet::new();
            for name in list(&folders.seeds)? {
                machines.extend(name.parse::<InstanceId>());
            }
            for name in list(&folders.consoles)? {
                machines.extend(log_owner(&name));
            }
            Ok(machines)
        })
        .await
    }

    async fn write_seed(&self, vm: InstanceId, seed: &Seed) -> Result<(), SeedError> {
        let (files, seed) = (self.files(vm), seed.clone());
        let consoles = self.host.folders.consoles.clone();
        blocking(move || {
            let image = seed_image(&seed).map_err(|source| SeedError::Image { vm, source })?;
            make_folder(&files.folder)?;
            make_folder(&consoles)?;
            write(&files.seed, &image)
        })
        .await
    }

    async fn remove_files(&self, vm: InstanceId) -> Result<(), SeedError> {
        let (files, consoles) = (self.files(vm), self.host.folders.consoles.clone());
        blocking(move || {
            for name in list(&consoles)? {
                if log_owner(&name) == Some(vm) {
                    remove(&consoles.join(name), |path| fs::remove_file(path))?;
                }
            }
            remove(&files.folder, |path| fs::remove_dir_all(path))
        })
        .await
    }

    async fn console_shows(&self, vm: InstanceId, text: &str) -> Result<bool, SeedError> {
        let (path, text) = (self.files(vm).console, text.to_owned());
        blocking(move || {
            let shown = match read_end(&path) {
                Ok(shown) => shown,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                Err(source) => return Err(io("read", &path)(source)),
            };
            let mut parts = shown.windows(text.len().max(1));
            Ok(parts.any(|part| part == text.as_bytes()))
        })
        .await
    }

    async fn records(&self) -> Result<BTreeMap<InstanceId, Record>, SeedError> {
        let folder = self.records_folder();
        blocking(move || {
            let mut records = BTreeMap::new();
            for name in list(&folder)? {
                let vm = name.strip_suffix(".json").and_then(|id| id.parse().ok());
                if let Some(vm) = vm {
                    records.extend(read_record(&folder.join(name))?.map(|record| (vm, record)));
                }
            }
            Ok(records)
        })
        .await
    }

    async fn write_record(&self, vm: InstanceId, record: &Record) -> Result<(), SeedError> {
        let path = self.files(vm).record;
        let json = serde_json::to_vec(record).expect("a record is representable as JSON");
        let folder = self.records_folder();
        blocking(move || {
            make_folder(&folder)?;
            write(&path, &json)
        })
        .await
    }

    async fn remove_record(&self, vm: InstanceId) -> Result<(), SeedError> {
        let path = self.files(vm).record;
        blocking(move || remove(&path, |path| fs::remove_file(path))).await
    }
}

/// How much of a console is searched: more than a guest writes between two looks.
const CONSOLE: u64 = 4 << 20;

fn read_end(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(CONSOLE)))?;
    let mut shown = Vec::new();
    file.take(CONSOLE).read_to_end(&mut shown)?;
    Ok(shown)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SeedError> + Send + 'static,
) -> Result<T, SeedError> {
    tokio::task::spawn_blocking(work)
        .await
        .expect("work on files does not panic")
}

/// `<id>.log`, and what a log daemon makes of it when it is full: `<id>.log.0`.
fn log_owner(name: &str) -> Option<InstanceId> {
    let (id, rest) = name.split_once('.')?;
    (rest == "log" || rest.starts_with("log.")).then(|| id.parse().ok())?
}

fn read_record(path: &Path) -> Result<Option<Record>, SeedError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io("read", path)(source)),
    };
    match serde_json::from_slice::<Record>(&bytes) {
        Ok(record) if record.version == record::VERSION => Ok(Some(record)),
        Ok(record) => {
            warn!(path = %path.display(), version = record.version, "record of another version");
            Ok(None)
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "record cannot be read");
            Ok(None)
        }
    }
}

/// The names in a folder; none in one that is not there.
fn list(folder: &Path) -> Result<Vec<String>, SeedError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io("list", folder)(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(io("list", folder))?.file_name();
        // Ours are all plain; another name is not ours.
        names.extend(name.into_string());
    }
    Ok(names)
}

fn make_folder(path: &Path) -> Result<(), SeedError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)
        .map_err(io("make", path))
}

/// Aside, synced, renamed, folder synced: whole or not there, also after a power cut.
fn write(path: &Path, bytes: &[u8]) -> Result<(), SeedError> {
    let aside = path.with_extension("new");
    let result = write_synced(&aside, bytes).and_then(|()| fs::rename(&aside, path));
    result.map_err(io("write", path))?;
    let folder = path.parent().expect("our files lie in folders");
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io("sync", folder))
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove(path: &Path, remove: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), SeedError> {
    match remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SeedError {
    let path = path.to_owned();
    move |source| SeedError::Io { what, path, source }
}
