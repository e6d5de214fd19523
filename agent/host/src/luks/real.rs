//! Formatting by QEMU's own programs, each volume in a task of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use dc_agent_core::vm::luks::{FormatOrder, FormatStage, Formats, Formatting};
use dc_types::{Epoch, InstanceId};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

use super::work::Work;
use super::{Formatter, LuksError};

/// Volumes that are written at a time: each takes a core to encrypt, and 100 MiB.
const AT_A_TIME: usize = 2;

pub struct QemuFormatter {
    runs: Mutex<BTreeMap<(InstanceId, Epoch), Run>>,
    gate: Arc<Semaphore>,
}

struct Run {
    vm: InstanceId,
    percent: Arc<AtomicU32>,
    state: State,
}

enum State {
    Running(JoinHandle<Result<(), LuksError>>),
    Done,
    /// Kept until somebody asks.
    Failed(LuksError),
}

impl Default for QemuFormatter {
    fn default() -> Self {
        Self {
            runs: Mutex::default(),
            gate: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}

impl Run {
    fn begin(order: &FormatOrder, gate: &Arc<Semaphore>) -> Result<Self, LuksError> {
        let percent = Arc::<AtomicU32>::default();
        let work = Work::new(order.clone(), Arc::clone(&percent))?;
        let gate = Arc::clone(gate);
        let task = tokio::spawn(async move {
            let _turn = gate.acquire().await.map_err(|_| LuksError::Stopped)?;
            work.carry_out().await
        });
        Ok(Self {
            vm: order.vm,
            percent,
            state: State::Running(task),
        })
    }

    /// Takes in how it has ended, if it has.
    async fn settle(&mut self) {
        let State::Running(task) = &mut self.state else {
            return;
        };
        if task.is_finished() {
            self.state = match task.await {
                Ok(Ok(())) => State::Done,
                Ok(Err(error)) => State::Failed(error),
                Err(_) => State::Failed(LuksError::Stopped),
            };
        }
    }
}

#[async_trait]
impl Formatter for QemuFormatter {
    async fn formats(&self) -> Result<Formats, LuksError> {
        let mut runs = self.runs.lock().await;
        let mut formats = Formats::new();
        for (at, run) in runs.iter_mut() {
            run.settle().await;
            let stage = match run.state {
                State::Running(_) => FormatStage::Running {
                    percent: run.percent.load(Ordering::Relaxed),
                },
                State::Done => FormatStage::Done,
                State::Failed(_) => continue,
            };
            formats.insert(*at, Formatting { vm: run.vm, stage });
        }
        Ok(formats)
    }

    async fn format(&self, order: &FormatOrder) -> Result<(), LuksError> {
        let mut runs = self.runs.lock().await;
        let at = (order.place, order.grant);
        if let Some(run) = runs.get_mut(&at) {
            run.settle().await;
            if !matches!(run.state, State::Failed(_)) {
                return Ok(());
            }
        }
        match runs.remove(&at).map(|run| run.state) {
            Some(State::Failed(error)) => Err(error),
            Some(State::Running(_) | State::Done) | None => {
                runs.insert(at, Run::begin(order, &self.gate)?);
                Ok(())
            }
        }
    }

    async fn stop(&self, place: InstanceId, grant: Epoch) -> Result<(), LuksError> {
        let run = self.runs.lock().await.remove(&(place, grant));
        if let Some(State::Running(task)) = run.map(|run| run.state) {
            task.abort();
            // Its program is killed when the task is dropped, which this waits for.
            let _ended = task.await;
        }
        Ok(())
    }
}
