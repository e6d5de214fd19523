//! The pools of this machine.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dc_agent_core::storage::{EraseMethod, Note, Removal, VolumeRecord, VolumeSeen};
use dc_types::plan::VolumeSource;
use dc_types::report::{PoolFacts, PoolPlace};
use dc_types::{Bytes, InstanceId, PoolName};
use nix::sys::statvfs::statvfs;
use uuid::Uuid;

use super::files::{self, Reflink};
use super::folder::PoolFolder;
use super::removal;
use super::{Volumes, VolumesError};

/// Space is told in steps of this many bytes: it changes all the time, and each change is told.
const SPACE_STEP: u64 = 64 << 20;

/// The pools of one process. Clones share what is known of them.
#[derive(Clone)]
pub struct RealVolumes(Arc<Shared>);

struct Shared {
    folders: BTreeMap<PoolName, PoolFolder>,
    /// Which pool was seen in which folder, so that a missing disk is noticed.
    remembered: PathBuf,
    /// What was found out of each pool that this process has readied.
    ready: Mutex<HashMap<PoolName, Reflink>>,
    /// Held while a record is read, changed and written.
    records: Mutex<()>,
}

impl RealVolumes {
    /// `state` is a folder of the agent's own, outside the pools; it is made when it is needed.
    #[must_use]
    pub fn new(pools: &BTreeMap<PoolName, PathBuf>, state: &Path) -> Self {
        let process = Uuid::new_v4();
        let folders = pools
            .iter()
            .map(|(pool, root)| {
                let folder = PoolFolder::new(pool.clone(), root.clone(), process);
                (pool.clone(), folder)
            })
            .collect();
        Self(Arc::new(Shared {
            folders,
            remembered: state.join("pools.json"),
            ready: Mutex::default(),
            records: Mutex::default(),
        }))
    }

    /// The folder of a pool, for the tools that keep other things in it.
    pub(crate) fn folder(&self, pool: &PoolName) -> Result<PoolFolder, VolumesError> {
        let found = self.0.folders.get(pool).cloned();
        found.ok_or_else(|| VolumesError::PoolUnusable {
            pool: pool.clone(),
            fault: "this host has no such pool".to_owned(),
        })
    }

    /// Does work that blocks with a pool's folder, on a thread for that.
    async fn with<T: Send + 'static>(
        &self,
        pool: &PoolName,
        work: impl FnOnce(&Shared, &PoolFolder) -> Result<T, VolumesError> + Send + 'static,
    ) -> Result<T, VolumesError> {
        let folder = self.folder(pool)?;
        let shared = self.0.clone();
        blocking(move || work(&shared, &folder)).await
    }
}

/// Runs what blocks on a thread for that; a panic there is a panic here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Shared {
    fn records(&self) -> MutexGuard<'_, ()> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> MutexGuard<'_, HashMap<PoolName, Reflink>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How clones are made in a pool that was readied.
    fn reflink(&self, pool: &PoolName) -> Result<Reflink, VolumesError> {
        let known = self.ready().get(pool).copied();
        known.ok_or_else(|| VolumesError::PoolUnusable {
            pool: pool.clone(),
            fault: "it was not looked at yet".to_owned(),
        })
    }

    fn facts(&self, folder: &PoolFolder) -> Result<PoolFacts, String> {
        self.ensure(folder)?;
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", folder.root.display());
        let reflink = self.reflink(&folder.pool).map_err(|e| told(&e))?;
        let space = statvfs(&folder.root).map_err(|e| told(&e))?;
        let block = space.fragment_size();
        let capacity = space.blocks() * block;
        let used = space.blocks().saturating_sub(space.blocks_free()) * block;
        Ok(PoolFacts {
            pool: folder.pool.clone(),
            capacity: Bytes(capacity),
            used: Bytes(capacity.min(used.div_ceil(SPACE_STEP) * SPACE_STEP)),
            reflink: reflink == Reflink::Shares,
            fault: None,
            place: PoolPlace::Iscsi,
            lacks: Vec::new(),
            orphans: Vec::new(),
        })
    }

    /// Sees each time that the folder is the pool; sweeps and tries reflinks the first time.
    fn ensure(&self, folder: &PoolFolder) -> Result<(), String> {
        let mut ready = self.ready();
        let mut remembered = self.read_remembered()?;
        let id = match folder.ready(remembered.get(&folder.pool).copied()) {
            Ok(id) => id,
            Err(fault) => {
                ready.remove(&folder.pool);
                return Err(fault);
            }
        };
        if remembered.insert(folder.pool.clone(), id) != Some(id) {
            self.write_remembered(&remembered)?;
        }
        if !ready.contains_key(&folder.pool) {
            folder.sweep().map_err(|error| error.to_string())?;
            let reflink = files::try_reflink(folder).map_err(|error| error.to_string())?;
            tracing::info!(pool = %folder.pool, ?reflink, "pool is ready");
            ready.insert(folder.pool.clone(), reflink);
        }
        Ok(())
    }

    fn read_remembered(&self) -> Result<BTreeMap<PoolName, Uuid>, String> {
        let path = &self.remembered;
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    fn write_remembered(&self, pools: &BTreeMap<PoolName, Uuid>) -> Result<(), String> {
        let text = serde_json::to_vec(pools).map_err(|error| error.to_string())?;
        super::folder::write_durably(&self.remembered, &text)
            .map_err(|error| format!("{}: {error}", self.remembered.display()))
    }
}

#[async_trait]
impl Volumes for RealVolumes {
    async fn ensure_pool(&self, pool: &PoolName) -> PoolFacts {
        let facts = self.with(pool, |shared, folder| {
            shared
                .facts(folder)
                .map_err(|fault| VolumesError::PoolUnusable {
                    pool: folder.pool.clone(),
                    fault,
                })
        });
        facts.await.unwrap_or_else(|error| PoolFacts {
            pool: pool.clone(),
            capacity: Bytes(0),
            used: Bytes(0),
            reflink: false,
            fault: Some(match error {
                VolumesError::PoolUnusable { fault, .. } => fault,
                other => other.to_string(),
            }),
            place: PoolPlace::Iscsi,
            lacks: Vec::new(),
            orphans: Vec::new(),
        })
    }

    async fn list_volumes(
        &self,
        pool: &PoolName,
    ) -> Result<BTreeMap<InstanceId, VolumeSeen>, VolumesError> {
        self.with(pool, |_, folder| files::list(folder)).await
    }

    async fn create_volume(
        &self,
        pool: &PoolName,
        volume: InstanceId,
        size: Bytes,
        source: &VolumeSource,
    ) -> Result<(), VolumesError> {
        let source = source.clone();
        self.with(pool, move |shared, folder| {
            let reflink = shared.reflink(&folder.pool)?;
            files::create(folder, reflink, volume, size, &source)
        })
        .await
    }

    async fn grow_volume(
        &self,
        pool: &PoolName,
        volume: InstanceId,
        size: Bytes,
    ) -> Result<(), VolumesError> {
        self.with(pool, move |_, folder| files::grow(folder, volume, size))
            .await
    }

    async fn note_volume(
        &self,
        pool: &PoolName,
        volume: InstanceId,
        note: &Note,
    ) -> Result<(), VolumesError> {
        let note = note.clone();
        self.with(pool, move |shared, folder| {
            let _held = shared.records();
            files::note(folder, volume, &note)
        })
        .await
    }

    async fn read_record(
        &self,
        pool: &PoolName,
        volume: InstanceId,
    ) -> Result<Option<VolumeRecord>, VolumesError> {
        self.with(pool, move |_, folder| files::read_record(folder, volume))
            .await
    }

    async fn retain_volume(&self, order: &Removal) -> Result<(), VolumesError> {
        let removal = order.clone();
        let gone = self.with(&order.pool, move |_, folder| {
            removal::retain(folder, &removal)
        });
        let gone = gone.await?;
        self.note_volume(&order.pool, order.volume, &Note::Gone(gone))
            .await
    }

    async fn erase_volume(&self, order: &Removal, method: EraseMethod) -> Result<(), VolumesError> {
        let removal = order.clone();
        self.with(&order.pool, move |shared, folder| {
            let gone = removal::erase(folder, &removal, method)?;
            {
                let _held = shared.records();
                files::note(folder, removal.volume, &Note::Gone(gone))?;
            }
            removal::finish_erase(folder, removal.volume)
        })
        .await
    }
}
