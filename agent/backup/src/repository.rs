//! A repository that is open: what `rustic_core` does with it, under our locks.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustic_core::repofile::{BlobType, KeyFile, MasterKey, Node, SnapshotFile, SnapshotId};
use rustic_core::{
    BlobId, ConfigOptions, Credentials, DataId, Id, IndexedFullStatus, KeyOptions, LimitOption,
    LocalDestination, LsOptions, OpenStatus, PruneOptions, RepositoryBackends, RepositoryOptions,
    RestoreOptions,
};

use crate::backend::Backend;
use crate::cipher::{Cipher, hash};
use crate::error::BackupError;
use crate::lock::{Lock, Mode};
use crate::manifest::{FORMAT, MANIFEST, Manifest, NoManifest};
use crate::pack::PACK;
use crate::store::{Kind, Store};

/// What opens a repository. Never shown.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    #[must_use]
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Whether a reader takes a lock, so that nobody prunes meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Locked,
    /// For a place that cannot be written, as restic's `--no-lock`.
    ReadOnly,
}

/// A repository whose password was right. It holds neither a lock nor the index.
#[derive(Clone)]
pub struct Repository {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cipher: Cipher,
    pub(crate) key: MasterKey,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({})", self.store.location())
    }
}

type Indexed = rustic_core::Repository<IndexedFullStatus>;

/// Without a cache on this host: it would hold indexes of departments in the clear.
fn options() -> RepositoryOptions {
    RepositoryOptions::default().no_cache(true)
}

fn closed(store: &Arc<dyn Store>) -> Result<rustic_core::Repository<()>, BackupError> {
    let backend = Arc::new(Backend::new(Arc::clone(store)));
    let backends = RepositoryBackends::new(backend, None);
    rustic_core::Repository::new(&options(), &backends)
        .map_err(|error| BackupError::library("the repository cannot be used", &error))
}

pub(crate) fn ours<'a, E: AsRef<rustic_core::RusticError>>(
    what: &'static str,
) -> impl Fn(E) -> BackupError + 'a {
    move |error| BackupError::library(what, error.as_ref())
}

impl Repository {
    /// Makes a repository; one that is there is opened. Cut off, it is made when it is repeated. Two
    /// at once are the caller's to prevent.
    ///
    /// # Errors
    /// When the place cannot be written, or has a repository with another password.
    pub fn ensure(store: Arc<dyn Store>, password: &Password) -> Result<Self, BackupError> {
        store.create()?;
        if !store.list(Kind::Config)?.is_empty() {
            return Self::open(store, password);
        }
        // A key without a config is of a run that was cut off. A second key of the same password
        // would open as well as the first, and decrypt nothing.
        let left = left_key(&*store, password)?;
        let credentials = match &left {
            Some(key) => Credentials::Masterkey(key.clone()),
            None => Credentials::password(&password.0),
        };
        // So that what is copied and repacked comes in the same size.
        let pack = PACK as u64;
        let mut config = ConfigOptions::default();
        config.set_datapack_size = Some(bytesize::ByteSize::b(pack));
        config.set_datapack_growfactor = Some(0);
        let open = closed(&store)?
            .init(&credentials, &KeyOptions::default(), &config)
            .map_err(ours("the repository could not be made"))?;
        Ok(Self::of(store, open.key()))
    }

    /// # Errors
    /// [`BackupError::NoRepository`], [`BackupError::WrongPassword`], or what the place says.
    pub fn open(store: Arc<dyn Store>, password: &Password) -> Result<Self, BackupError> {
        let at = store.location();
        if store.list(Kind::Config)?.is_empty() {
            return Err(BackupError::NoRepository { at });
        }
        let open = closed(&store)?.open(&Credentials::password(&password.0));
        let open = open.map_err(|error| match error.is_incorrect_password() {
            true => BackupError::WrongPassword { at },
            false => BackupError::library("the repository could not be opened", &error),
        })?;
        Ok(Self::of(store, open.key()))
    }

    fn of(store: Arc<dyn Store>, key: MasterKey) -> Self {
        let cipher = Cipher::new(&key);
        Self { store, cipher, key }
    }

    pub(crate) fn library(&self) -> Result<rustic_core::Repository<OpenStatus>, BackupError> {
        let credentials = Credentials::Masterkey(self.key.clone());
        closed(&self.store)?
            .open(&credentials)
            .map_err(ours("the repository could not be opened"))
    }

    /// What the written index says, but for packs that are not there.
    pub(crate) fn index(&self) -> Result<Index, BackupError> {
        let packs = self.store.list(Kind::Pack)?;
        let library = self.library()?.to_indexed();
        Ok(Index {
            library: library.map_err(ours("the index could not be read"))?,
            packs: packs.into_iter().map(|(id, _)| id).collect(),
        })
    }

    /// To read backups: with whatever can be found of their data, in an index or not.
    fn indexed(&self) -> Result<Indexed, BackupError> {
        self.library()?
            .to_indexed_checked()
            .map_err(ours("the index could not be read"))
    }

    pub(crate) fn index_to_read(&self) -> Result<Reader, BackupError> {
        self.indexed().map(Reader)
    }

    /// Takes a lock.
    ///
    /// # Errors
    /// [`BackupError::Locked`] when another's is in the way.
    pub fn lock(&self, mode: Mode) -> Result<Lock, BackupError> {
        Lock::take(Arc::clone(&self.store), &self.cipher, mode)
    }

    pub(crate) fn lock_to_read(&self, access: Access) -> Result<Option<Lock>, BackupError> {
        match access {
            Access::Locked => self.lock(Mode::Shared).map(Some),
            Access::ReadOnly => Ok(None),
        }
    }

    /// All backups, the oldest first. Needs no lock: a snapshot that is there is whole.
    ///
    /// # Errors
    /// When not all of them can be read.
    pub fn backups(&self) -> Result<Vec<SnapshotFile>, BackupError> {
        let mut all = self
            .library()?
            .get_all_snapshots()
            .map_err(ours("the backups could not be listed"))?;
        all.sort_by(|a, b| a.time.cmp(&b.time).then(a.id.cmp(&b.id)));
        Ok(all)
    }

    /// Whether a backup is there. Needs no lock.
    ///
    /// # Errors
    /// When the backups cannot be listed.
    pub fn holds(&self, backup: SnapshotId) -> Result<bool, BackupError> {
        let listed = self.store.list(Kind::Snapshot)?;
        Ok(listed.iter().any(|(id, _)| *id == *backup))
    }

    /// What stands beside the volumes of a backup.
    ///
    /// # Errors
    /// [`BackupError::NotInBackup`] for one that another tool has made.
    pub fn manifest(&self, access: Access, backup: SnapshotId) -> Result<Manifest, BackupError> {
        let lock = self.lock_to_read(access)?;
        let indexed = self.indexed()?;
        let manifest = read_manifest(&indexed, &files(&indexed, backup)?, backup)?;
        release(lock)?;
        Ok(manifest)
    }

    /// Restores all files of a backup, whoever made it, into a folder. What is there already is
    /// compared, and written where it differs: a restore that was cut off goes on.
    ///
    /// # Errors
    /// When a blob is missing or damaged, or the folder cannot be written.
    pub fn restore(
        &self,
        access: Access,
        backup: SnapshotId,
        folder: &Path,
    ) -> Result<(), BackupError> {
        const WHAT: &str = "the backup could not be restored";
        let lock = self.lock_to_read(access)?;
        let indexed = self.indexed()?;
        let snapshot: SnapshotFile = indexed.get_file(&backup).map_err(ours(WHAT))?;
        let root = indexed.node_from_path(snapshot.tree, Path::new(""));
        let root = root.map_err(ours(WHAT))?;
        let nodes = indexed
            .ls(&root, &LsOptions::default())
            .map_err(ours(WHAT))?;
        let to = folder.display().to_string();
        let destination = LocalDestination::new(&to, true, false).map_err(ours(WHAT))?;
        let mut how = RestoreOptions::default();
        how.verify_existing = true;
        how.no_ownership = true;
        let plan = indexed.prepare_restore(&how, nodes.clone(), &destination, false);
        let plan = plan.map_err(ours(WHAT))?;
        // The library takes a blob that it cannot decrypt for impossible, and panics in its threads.
        let restore = || indexed.restore(plan, &how, nodes, &destination);
        match catch_unwind(AssertUnwindSafe(restore)) {
            Ok(restored) => restored.map_err(ours(WHAT))?,
            Err(_) => {
                return Err(BackupError::Corrupt {
                    what: format!("backup {backup}"),
                    fault: "a blob of it cannot be read; a check with data says which".to_owned(),
                });
            }
        }
        release(lock)
    }

    /// Takes backups away; their data stays until [`Repository::prune`]. Whether that is allowed is
    /// the caller's to know.
    ///
    /// # Errors
    /// When another client is at work, or the place lets nothing be removed.
    pub fn forget(&self, backups: &[SnapshotId]) -> Result<(), BackupError> {
        let lock = self.lock(Mode::Exclusive)?;
        for backup in backups {
            self.store.remove(Kind::Snapshot, **backup)?;
        }
        lock.release()
    }

    /// Removes what no backup needs.
    ///
    /// # Errors
    /// When another client is at work, or the place lets nothing be removed.
    pub fn prune(&self) -> Result<(), BackupError> {
        const WHAT: &str = "the repository could not be pruned";
        let lock = self.lock(Mode::Exclusive)?;
        let library = self.library()?;
        // restic does not know packs that are marked to be deleted later. Nobody else is at work.
        let mut how = PruneOptions::default();
        how.instant_delete = true;
        how.max_unused = LimitOption::Percentage(0);
        how.max_repack = LimitOption::Unlimited;
        let plan = library.prune_plan(&how).map_err(ours(WHAT))?;
        lock.check()?;
        library.prune(&how, plan).map_err(ours(WHAT))?;
        lock.release()
    }

    /// Copies backups into another repository, which may have another password. Those that are
    /// there already are left out, and so are blobs that its index names: one whose pack was lost
    /// there is not brought back.
    ///
    /// # Errors
    /// When a blob is missing here, or the other cannot be written.
    pub fn copy_to(&self, other: &Self, backups: &[SnapshotId]) -> Result<(), BackupError> {
        const WHAT: &str = "the backups could not be copied";
        let locks = (self.lock(Mode::Shared)?, other.lock(Mode::Shared)?);
        let from = self.indexed()?;
        let to = other.library()?.to_indexed_ids().map_err(ours(WHAT))?;
        let chosen = from.get_snapshots(&names(backups)).map_err(ours(WHAT))?;
        let marked = to
            .relevant_copy_snapshots(|_| true, &chosen)
            .map_err(ours(WHAT))?;
        let missing: Vec<_> = marked
            .into_iter()
            .filter(|copy| copy.relevant)
            .map(|copy| copy.sn)
            .collect();
        from.copy(&to, &missing).map_err(ours(WHAT))?;
        locks.0.release()?;
        locks.1.release()
    }

    /// Lets one more password open the repository.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_password(&self, password: &Password) -> Result<(), BackupError> {
        self.library()?
            .add_key(&password.0, &KeyOptions::default())
            .map(drop)
            .map_err(ours("the password could not be added"))
    }
}

pub(crate) fn release(lock: Option<Lock>) -> Result<(), BackupError> {
    lock.map_or(Ok(()), Lock::release)
}

fn names(backups: &[SnapshotId]) -> Vec<String> {
    let hex = |id: &SnapshotId| id.to_hex().as_str().to_owned();
    backups.iter().map(hex).collect()
}

fn left_key(store: &dyn Store, password: &Password) -> Result<Option<MasterKey>, BackupError> {
    for (id, _) in store.list(Kind::Key)? {
        let bytes = store.read(Kind::Key, id, None)?;
        let Ok(file) = serde_json::from_slice::<KeyFile>(&bytes) else {
            continue;
        };
        let Ok(key) = file.key_from_password(&password.0) else {
            continue;
        };
        let (encrypt, k, r) = key.to_keys();
        let mut master = MasterKey::new();
        (master.encrypt, master.mac.k, master.mac.r) = (encrypt, k, r);
        return Ok(Some(master));
    }
    Ok(None)
}

/// The files of a backup by their names, those of folders within it left out.
fn files(indexed: &Indexed, backup: SnapshotId) -> Result<HashMap<String, Node>, BackupError> {
    const WHAT: &str = "the backup could not be read";
    let snapshot: SnapshotFile = indexed.get_file(&backup).map_err(ours(WHAT))?;
    let tree = indexed.get_tree(&snapshot.tree).map_err(ours(WHAT))?;
    let files = tree.nodes.into_iter().filter(Node::is_file);
    Ok(files
        .map(|node| (node.name().to_string_lossy().into_owned(), node))
        .collect())
}

fn read_manifest(
    indexed: &Indexed,
    files: &HashMap<String, Node>,
    backup: SnapshotId,
) -> Result<Manifest, BackupError> {
    let node = files
        .get(MANIFEST)
        .ok_or_else(|| BackupError::NotInBackup {
            snapshot: backup.to_string(),
            what: MANIFEST.to_owned(),
        })?;
    let mut json = Vec::new();
    for blob in node.content.iter().flatten() {
        let part = indexed
            .get_blob_cached(&BlobId::from(*blob), BlobType::Data)
            .map_err(ours("the manifest could not be read"))?;
        json.extend_from_slice(&part);
    }
    let what = format!("{MANIFEST} of backup {backup}");
    Manifest::parse(&json).map_err(|fault| match fault {
        NoManifest::Format { found } => BackupError::OtherFormat {
            what,
            found,
            understood: FORMAT,
        },
        NoManifest::Broken(error) => BackupError::Corrupt {
            what,
            fault: error.to_string(),
        },
    })
}

/// Reads the blobs of backups.
pub(crate) struct Reader(Indexed);

impl Reader {
    /// The blobs of a file, in order, with the length of each.
    pub fn blobs(&self, backup: SnapshotId, file: &str) -> Result<Vec<(Id, u64)>, BackupError> {
        let missing = || BackupError::NotInBackup {
            snapshot: backup.to_string(),
            what: file.to_owned(),
        };
        // The place has answered: what it gave does not decrypt, or no index knows of it.
        let damaged = |error: BackupError| match error {
            BackupError::Library { said, .. } => BackupError::Corrupt {
                what: format!("backup {backup}"),
                fault: said,
            },
            error => error,
        };
        let mut files = files(&self.0, backup).map_err(damaged)?;
        let node = files.remove(file).ok_or_else(missing)?;
        let ids = node.content.into_iter().flatten();
        ids.map(|id| {
            let entry = self.0.get_index_entry(&id);
            let entry = entry.map_err(ours("the backup could not be read"));
            let entry = entry.map_err(damaged)?;
            Ok((id.into_inner(), u64::from(entry.data_length())))
        })
        .collect()
    }

    /// A blob of data, compared with its name.
    pub fn blob(&self, id: Id) -> Result<Bytes, BackupError> {
        let read = self.0.get_blob_cached(&BlobId::from(id), BlobType::Data);
        let fault = match read.map_err(ours("the backup could not be read")) {
            Ok(bytes) if hash(&bytes) == id => return Ok(bytes),
            Ok(_) => "its content has another name".to_owned(),
            // Not a word of the place: what came of it cannot be decrypted or expanded.
            Err(BackupError::Library { said, .. }) => said,
            Err(error) => return Err(error),
        };
        let pack = self.0.get_index_entry(&DataId::from(id)).ok();
        let pack = pack.map(|entry| entry.pack.into_inner().to_hex());
        let pack = pack.as_ref().map_or("(in no index)", |hex| hex.as_str());
        Err(BackupError::Corrupt {
            what: format!("pack {pack}"),
            fault: format!("blob {}: {fault}", id.to_hex().as_str()),
        })
    }
}

/// What a backup may rely on: blobs that an index names, in packs that are there. Neither of
/// `rustic_core`'s own indexes is that: one believes in packs that are lost, the other in those that
/// no index names, and a backup of such blobs would be damaged from the start.
pub(crate) struct Index {
    library: Indexed,
    packs: HashSet<Id>,
}

impl Index {
    /// How many bytes a blob of data has; `None` when it is not there to be relied on.
    pub fn length(&self, id: Id) -> Option<u64> {
        let entry = self.library.get_index_entry(&DataId::from(id)).ok()?;
        let is_there = self.packs.contains(&entry.pack.into_inner());
        is_there.then(|| u64::from(entry.data_length()))
    }

    /// A backup's manifest, and its files by their names.
    pub fn open_backup(
        &self,
        backup: SnapshotId,
    ) -> Result<(Manifest, HashMap<String, Node>), BackupError> {
        let files = files(&self.library, backup)?;
        let manifest = read_manifest(&self.library, &files, backup)?;
        Ok((manifest, files))
    }
}
