//! Volumes, and runs that back them up.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dc_agent_core::storage::Extent;
use dc_backup::archive::{Archived, Job, Limits, Outcome, Since, Volume, archive};
use dc_backup::blocks::BLOCK;
use dc_backup::manifest::Origin;
use dc_backup::source::Source;
use dc_backup::store::{Kind, LocalStore, Store};
use dc_backup::{BackupError, Control, Id, Password, Repository, SnapshotId};
use jiff::Timestamp;
use rand::Rng;
use serde_json::json;
use sha2::{Digest, Sha256};

pub const MIB: u64 = 1 << 20;
/// It opens [`CHEAP_KEY`].
pub const PASSWORD: &str = "mật khẩu $(reboot) '";

/// The key of a repository to be, whose password takes a thousandth of the usual time to try: stock
/// restic is started hundreds of times here, and tries it each time.
const CHEAP_KEY: &[u8] = include_bytes!("../../agent/backup/fixtures/cheap-key.json");

pub fn password() -> Password {
    Password::new(PASSWORD)
}

pub fn local(folder: &Path) -> Arc<dyn Store> {
    Arc::new(LocalStore::new(folder))
}

pub fn ensure(store: &Arc<dyn Store>) -> Repository {
    store.create().unwrap();
    if store.list(Kind::Key).unwrap().is_empty() {
        let key = Id::new(Sha256::digest(CHEAP_KEY).into());
        store.write(Kind::Key, key, CHEAP_KEY).unwrap();
    }
    Repository::ensure(Arc::clone(store), &password()).unwrap()
}

pub fn noise(bytes: u64) -> Vec<u8> {
    let mut noise = vec![0; usize::try_from(bytes).unwrap()];
    rand::rng().fill_bytes(&mut noise);
    noise
}

/// A volume in memory that counts what is read of it.
pub struct Disk {
    pub bytes: Vec<u8>,
    read: AtomicU64,
}

impl Disk {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            read: AtomicU64::new(0),
        }
    }

    /// Noise in every fourth block, and else a text that compresses well.
    pub fn mixed(blocks: u64) -> Self {
        let mut bytes = Vec::new();
        for block in 0..blocks {
            match block % 4 {
                0 => bytes.extend(noise(BLOCK)),
                _ => {
                    let line =
                        format!("{block:>15}\n").repeat(usize::try_from(BLOCK / 16).unwrap());
                    bytes.extend(line.into_bytes());
                }
            }
        }
        Self::new(bytes)
    }

    /// Writes noise, and says where.
    pub fn write(&mut self, start: u64, length: u64) -> Extent {
        let at = usize::try_from(start).unwrap();
        let end = at + usize::try_from(length).unwrap();
        self.bytes[at..end].copy_from_slice(&noise(length));
        Extent::new(start, length)
    }

    /// How much was read since this was asked last.
    pub fn take_read(&self) -> u64 {
        self.read.swap(0, Ordering::SeqCst)
    }
}

impl Source for Disk {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        self.bytes.read_at(offset, bytes)
    }
}

/// The backup number `run` of a machine whose volumes are `disks`; what `changed` is since the one
/// before.
pub fn job<'a>(
    run: usize,
    disks: &[(&str, &'a Disk)],
    before: Option<(SnapshotId, Vec<Vec<Extent>>)>,
) -> Job<'a> {
    let (parent, mut changed) = match before {
        Some((parent, changed)) => (Some(parent), changed.into_iter().map(Some).collect()),
        None => (None, vec![None; disks.len()]),
    };
    let snapshot = |run: usize| format!("snapshot-{run}");
    let volumes = disks.iter().zip(changed.drain(..));
    Job {
        machine: "db-1".to_owned(),
        run: format!("run-{run}"),
        tags: vec!["so-y-te".to_owned()],
        time: Timestamp::from_second(1_800_000_000 + i64::try_from(run).unwrap() * 86400).unwrap(),
        description: json!({ "name": "db-1", "memoryMib": 4096 }),
        volumes: volumes
            .map(|((name, disk), changed)| Volume {
                file: format!("{name}.raw"),
                origin: Origin {
                    volume: format!("volume-{name}"),
                    snapshot: snapshot(run),
                },
                source: *disk,
                since: changed.map(|extents| Since {
                    snapshot: snapshot(run - 1),
                    extents,
                }),
                allocated: None,
            })
            .collect(),
        parent,
    }
}

pub fn limits() -> Limits {
    Limits {
        readers: 2,
        ..Limits::default()
    }
}

pub fn run(repository: &Repository, job: &Job<'_>) -> Result<Archived, BackupError> {
    match archive(repository, job, limits(), &Control::default())? {
        Outcome::Done(archived) => Ok(archived),
        Outcome::DoneBefore(backup) => panic!("done before, as {backup}"),
    }
}

pub fn hex(backup: SnapshotId) -> String {
    backup.to_hex().as_str().to_owned()
}

/// Compares files with what they should be; a difference is told by its place alone.
pub fn assert_same(folder: &Path, name: &str, bytes: &[u8]) {
    let restored = std::fs::read(folder.join(name)).unwrap();
    assert_eq!(restored.len(), bytes.len(), "{name}");
    let differs = restored.iter().zip(bytes).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{name}");
}
