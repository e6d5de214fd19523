//! Grants of a fake directory pool: what is open, and who is said to have it open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dc_agent_core::storage::{Admits, Expose, FenceProof, GrantForm, GrantSeen};
use dc_types::plan::{GrantAccess, GrantItem};
use dc_types::report::{Lack, PoolPlace};
use dc_types::{Epoch, HostName, InstanceId, PoolName};
use tokio::sync::Notify;

use super::{another_host, lacks, slow};
use crate::drivers::DriverError;
use crate::drivers::grants::{Grants, Sizing};

/// The names that a fake folder has; clones share them.
#[derive(Clone)]
pub struct FakeLocalGrants {
    pool: PoolName,
    root: PathBuf,
    host: HostName,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    open: BTreeMap<InstanceId, Epoch>,
    holders: BTreeMap<InstanceId, Vec<String>>,
    waited: u32,
}

impl FakeLocalGrants {
    #[must_use]
    pub fn new(pool: PoolName, root: PathBuf, host: HostName) -> Self {
        Self {
            pool,
            root,
            host,
            state: Arc::default(),
        }
    }

    /// These processes have the volume's file open; a fence waits for them.
    pub fn set_holders(&self, volume: InstanceId, holders: Vec<String>) {
        self.lock().holders.insert(volume, holders);
    }

    /// How often a fence found somebody there.
    #[must_use]
    pub fn waited(&self) -> u32 {
        self.lock().waited
    }

    /// The epochs under which volumes are open.
    #[must_use]
    pub fn opened(&self) -> BTreeMap<InstanceId, Epoch> {
        self.lock().open.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holders(&self, volume: InstanceId) -> Vec<String> {
        self.lock()
            .holders
            .get(&volume)
            .cloned()
            .unwrap_or_default()
    }
}

#[async_trait]
impl Grants for FakeLocalGrants {
    async fn list(&self) -> Result<Vec<GrantSeen>, DriverError> {
        let open = self.opened().into_iter();
        let seen = open.map(|(volume, epoch)| GrantSeen {
            pool: self.pool.clone(),
            volume,
            epoch,
            handle: self
                .root
                .join(GrantItem::file_name(volume, epoch))
                .display()
                .to_string(),
            form: GrantForm::Whole(Admits::File {
                host: self.host.to_string(),
            }),
            holders: self.holders(volume),
        });
        Ok(seen.collect())
    }

    async fn open(
        &self,
        order: &Expose,
        _file: &Path,
        _there: Option<&GrantSeen>,
    ) -> Result<(), DriverError> {
        match &order.access {
            GrantAccess::File { local } if *local == self.host => {
                self.lock().open.insert(order.volume, order.epoch);
                Ok(())
            }
            _ => Err(another_host(&self.pool, &self.host)),
        }
    }

    async fn close(&self, grant: &GrantSeen) -> Result<FenceProof, DriverError> {
        let holders = self.holders(grant.volume);
        if !holders.is_empty() {
            self.lock().waited += 1;
            return Err(slow(grant, 0, &holders));
        }
        self.lock().open.remove(&grant.volume);
        Ok(FenceProof {
            epoch: grant.epoch,
            deleted: vec![format!("the name {}", grant.handle)],
            ended_at: jiff::Timestamp::now().as_second(),
            took_ms: 0,
        })
    }

    async fn follow(&self, _changed: &Notify) {
        std::future::pending().await
    }

    fn place(&self) -> PoolPlace {
        PoolPlace::Directory {
            folder: self.root.display().to_string(),
        }
    }

    fn sizing(&self) -> Sizing {
        Sizing::Live
    }

    fn lacks(&self) -> Vec<Lack> {
        lacks()
    }
}
