//! A disk that remembers machines' files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dc_agent_core::vm::Record;
use dc_agent_core::vm::seed::Seed;
use dc_types::InstanceId;

use super::{SeedError, Seeds};
use crate::knobs::Knobs;

/// Clones share what is remembered.
#[derive(Clone)]
pub struct FakeSeeds {
    knobs: Knobs,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seeds: BTreeMap<InstanceId, Seed>,
    records: BTreeMap<InstanceId, Record>,
    consoles: BTreeMap<InstanceId, String>,
}

impl FakeSeeds {
    #[must_use]
    pub fn new(knobs: Knobs) -> Self {
        Self {
            knobs,
            state: Arc::default(),
        }
    }

    #[must_use]
    pub fn seed(&self, vm: InstanceId) -> Option<Seed> {
        self.state().seeds.get(&vm).cloned()
    }

    /// What the machine's console shows from now on.
    pub fn show(&self, vm: InstanceId, text: &str) {
        self.state().consoles.insert(vm, text.to_owned());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn act(
        &self,
        call: &'static str,
        act: impl FnOnce(&mut State) + Send,
    ) -> Result<(), SeedError> {
        let call = format!("seed.{call}");
        self.knobs.gate(&call).await?;
        act(&mut self.state());
        Ok(self.knobs.answer(&call)?)
    }
}

#[async_trait]
impl Seeds for FakeSeeds {
    async fn machines(&self) -> Result<BTreeSet<InstanceId>, SeedError> {
        self.knobs.gate("seed.machines").await?;
        Ok(self.state().seeds.keys().copied().collect())
    }

    async fn write_seed(&self, vm: InstanceId, seed: &Seed) -> Result<(), SeedError> {
        self.act("write_seed", |state| {
            state.seeds.insert(vm, seed.clone());
        })
        .await
    }

    async fn remove_files(&self, vm: InstanceId) -> Result<(), SeedError> {
        self.act("remove_files", |state| {
            state.seeds.remove(&vm);
            state.consoles.remove(&vm);
        })
        .await
    }

    async fn console_shows(&self, vm: InstanceId, text: &str) -> Result<bool, SeedError> {
        self.knobs.gate("seed.console_shows").await?;
        let state = self.state();
        let console = state.consoles.get(&vm);
        Ok(console.is_some_and(|shown| shown.contains(text)))
    }

    async fn records(&self) -> Result<BTreeMap<InstanceId, Record>, SeedError> {
        self.knobs.gate("seed.records").await?;
        Ok(self.state().records.clone())
    }

    async fn write_record(&self, vm: InstanceId, record: &Record) -> Result<(), SeedError> {
        self.act("write_record", |state| {
            state.records.insert(vm, record.clone());
        })
        .await
    }

    async fn remove_record(&self, vm: InstanceId) -> Result<(), SeedError> {
        self.act("remove_record", |state| {
            state.records.remove(&vm);
        })
        .await
    }
}
