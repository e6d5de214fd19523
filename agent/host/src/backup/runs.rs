//! The runs of this process.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use dc_agent_core::WantedOwned;
use dc_agent_core::backup::{BackupTrouble, Cause, Order, Phase, RunSeen, RunState, Seen};
use dc_backup::Control;
use dc_types::plan::{ItemBody, ItemHash, ItemKey, ItemKind, RestoreItem};
use dc_types::report::{ManifestRead, Progress, Trouble};
use dc_types::{Bytes, Epoch, RunId};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::gate::Gate;
use super::notes::Notes;
use super::places::Places;
use super::work::{Done, Ended, Work};
use crate::drivers::Drivers;

/// How many runs of a host move data at a time: each reads with four threads and sends with two.
const AT_ONCE: usize = 2;

/// Clones share them; when the last one goes, all that runs is stopped.
#[derive(Clone)]
pub struct Runs(Arc<Owner>);

struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop_all();
    }
}

/// What the threads of runs hold.
pub(super) struct Shared {
    pub places: Arc<dyn Places>,
    pub drivers: Drivers,
    pub notes: Notes,
    pub gate: Gate,
    table: Mutex<BTreeMap<ItemKey, Run>>,
    changed: watch::Sender<u64>,
}

/// A run that is not done, or what it has read.
struct Run {
    epoch: Epoch,
    active: Option<Arc<Active>>,
    failure: Option<Failure>,
    /// What was read, where that is all there is to do.
    read: Option<Box<ManifestRead>>,
}

#[derive(Clone)]
struct Failure {
    asked: ItemHash,
    trouble: Trouble,
    times: u32,
    at: Instant,
}

/// A thread at work.
pub(super) struct Active {
    pub control: Control,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy)]
pub(super) enum Stage {
    Opening,
    Waiting,
    Moving,
}

impl Active {
    pub fn enter(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn phase(&self) -> Phase {
        match *self.stage.lock().unwrap_or_else(PoisonError::into_inner) {
            Stage::Opening => Phase::Opening,
            Stage::Waiting => Phase::Waiting,
            Stage::Moving => Phase::Moving(self.control.progress().map(|(done, of)| Progress {
                done: Bytes(done),
                of: Bytes(of),
            })),
        }
    }
}

impl Run {
    fn seen(&self) -> Option<RunSeen> {
        if let Some(read) = &self.read {
            return Some(RunSeen {
                epoch: self.epoch,
                state: RunState::Read(read.clone()),
            });
        }
        let state = match (&self.active, &self.failure) {
            (Some(active), failure) => RunState::Running {
                phase: active.phase(),
                before: failure.as_ref().map(|failure| failure.trouble.clone()),
            },
            (None, Some(failure)) => RunState::Failed {
                asked: failure.asked,
                trouble: failure.trouble.clone(),
                times: failure.times,
                ago: failure.at.elapsed(),
            },
            (None, None) => return None,
        };
        Some(RunSeen {
            epoch: self.epoch,
            state,
        })
    }
}

impl Runs {
    #[must_use]
    pub fn new(places: Arc<dyn Places>, drivers: Drivers, notes: Notes) -> Self {
        Self(Arc::new(Owner(Arc::new(Shared {
            places,
            drivers,
            notes,
            gate: Gate::new(AT_ONCE),
            table: Mutex::default(),
            changed: watch::Sender::new(0),
        }))))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }

    /// How all runs stand that are asked for or released. The threads first, then what is written
    /// down: a run that ends meanwhile has written it.
    pub async fn read(&self, wanted: &WantedOwned) -> Seen {
        let shared = self.shared();
        let mut seen = Seen {
            runs: shared.threads(),
        };
        let wanted = wanted.as_wanted();
        let asked = wanted.of_kind(ItemKind::Backup).map(|item| item.key);
        let released = wanted.releases_of_kind(ItemKind::Backup);
        for key in asked.chain(released.map(|release| release.key)) {
            if !seen.runs.contains_key(&key)
                && let Some(run) = shared.noted(key)
            {
                seen.runs.insert(key, run);
            }
        }
        for item in wanted.of_kind(ItemKind::Restore) {
            if !seen.runs.contains_key(&item.key)
                && let ItemBody::Restore(restore) = &item.body
                && let Some(state) = shared.filled(restore).await
            {
                let epoch = item.epoch;
                seen.runs.insert(item.key, RunSeen { epoch, state });
            }
        }
        seen
    }

    /// Begins a run, unless it goes on already. Must be called on a runtime, which the run uses.
    pub fn begin(&self, key: ItemKey, epoch: Epoch, asked: ItemHash, order: &Order) {
        let shared = self.shared();
        let mut table = shared.table();
        let before = table.get(&key);
        if before.is_some_and(|run| run.active.is_some()) {
            return;
        }
        let active = Arc::new(Active {
            control: Control::default(),
            stage: Mutex::new(Stage::Opening),
        });
        let run = Run {
            epoch,
            failure: before.and_then(|run| run.failure.clone()),
            active: Some(active.clone()),
            read: None,
        };
        table.insert(key, run);
        drop(table);
        let work = Work {
            shared: shared.clone(),
            epoch,
            runtime: Handle::current(),
            active,
        };
        let span = tracing::Span::current();
        let order = order.clone();
        let thread = thread::Builder::new().name("backup-run".to_owned());
        let spawned = thread.spawn({
            let shared = shared.clone();
            move || {
                let _entered = span.entered();
                let done = catch_unwind(AssertUnwindSafe(|| work.carry_out(&order)));
                let done = done.unwrap_or_else(|_| Err(broken("it panicked: see the log")));
                shared.ended(key, asked, done);
            }
        });
        if let Err(error) = spawned {
            let why = format!("no thread could be started for it: {error}");
            shared.ended(key, asked, Err(broken(why)));
        }
    }

    /// Stops a run of this epoch or an older one, waits until nothing of it runs, and forgets it.
    ///
    /// # Errors
    /// When what is written down of it cannot be removed.
    pub async fn end(&self, key: ItemKey, epoch: Epoch) -> Result<(), BackupTrouble> {
        let shared = self.shared();
        let mut changes = shared.changed.subscribe();
        loop {
            changes.mark_unchanged();
            {
                let mut table = shared.table();
                match table.get(&key) {
                    Some(run) if run.epoch > epoch => return Ok(()),
                    Some(Run {
                        active: Some(active),
                        ..
                    }) => active.control.stop(),
                    Some(_) | None => {
                        table.remove(&key);
                        break;
                    }
                }
            }
            shared.gate.wake();
            // The sender is ours.
            let _ = changes.changed().await;
        }
        shared.changed.send_modify(|count| *count += 1);
        match key.kind {
            ItemKind::Backup => shared.forget(RunId(key.id), epoch),
            _ => Ok(()),
        }
    }

    /// Changes whenever a run has ended.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared().changed.subscribe()
    }

    /// Stops all that runs, and waits until it has ended.
    pub async fn stop(&self) {
        let mut changes = self.changes();
        self.shared().stop_all();
        let is_still = || {
            let table = self.shared().table();
            table.values().all(|run| run.active.is_none())
        };
        while !is_still() {
            let _ = changes.changed().await;
        }
    }
}

fn broken(said: impl Into<String>) -> Ended {
    Ended::Trouble(BackupTrouble::Failed {
        cause: Cause::Broken,
        said: said.into(),
    })
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, BTreeMap<ItemKey, Run>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> BTreeMap<ItemKey, RunSeen> {
        let table = self.table();
        let seen = table.iter();
        seen.filter_map(|(key, run)| Some((*key, run.seen()?)))
            .collect()
    }

    fn stop_all(&self) {
        for run in self.table().values() {
            if let Some(active) = &run.active {
                active.control.stop();
            }
        }
        self.gate.wake();
    }

    fn ended(&self, key: ItemKey, asked: ItemHash, done: Result<Done, Ended>) {
        {
            let mut table = self.table();
            let failure = match done {
                Ok(Done::Read(read)) => {
                    if let Some(run) = table.get_mut(&key) {
                        (run.active, run.failure, run.read) = (None, None, Some(read));
                    }
                    drop(table);
                    self.changed.send_modify(|count| *count += 1);
                    return;
                }
                Ok(Done::Noted) | Err(Ended::Stopped) => None,
                Err(Ended::Trouble(trouble)) => {
                    let before = table.get(&key).and_then(|run| run.failure.as_ref());
                    let before = before.filter(|failure| failure.asked == asked);
                    let trouble = Trouble::from(trouble);
                    tracing::info!(%key, reason = %trouble.reason, "{}", trouble.message);
                    Some(Failure {
                        asked,
                        trouble,
                        times: before.map_or(0, |failure| failure.times).saturating_add(1),
                        at: Instant::now(),
                    })
                }
            };
            match (table.get_mut(&key), failure) {
                (Some(run), Some(failure)) => {
                    run.active = None;
                    run.failure = Some(failure);
                }
                (_, None) => {
                    table.remove(&key);
                }
                (None, Some(_)) => {}
            }
        }
        self.changed.send_modify(|count| *count += 1);
    }

    fn noted(&self, key: ItemKey) -> Option<RunSeen> {
        match self.notes.read(RunId(key.id)) {
            Ok(None) => None,
            Ok(Some(note)) => Some(RunSeen {
                epoch: note.epoch,
                state: RunState::BackedUp(note.done),
            }),
            Err(error) => Some(RunSeen {
                epoch: Epoch::default(),
                state: RunState::Unknown(error.to_string()),
            }),
        }
    }

    fn forget(&self, run: RunId, epoch: Epoch) -> Result<(), BackupTrouble> {
        let forget = || match self.notes.read(run) {
            Ok(Some(note)) if note.epoch > epoch => Ok(()),
            // Also one that cannot be read: nothing else speaks of it any more.
            Ok(_) | Err(_) => self.notes.remove(run),
        };
        forget().map_err(|error: std::io::Error| BackupTrouble::Failed {
            cause: Cause::StateUnwritable,
            said: format!("what is written down of it could not be removed: {error}"),
        })
    }

    /// Whether it is written beside the volume that this run has filled it.
    async fn filled(&self, restore: &RestoreItem) -> Option<RunState> {
        let driver = match self.drivers.of(&restore.pool) {
            Ok(driver) => driver,
            Err(error) => return Some(RunState::Unknown(error.to_string())),
        };
        match driver.read_record(restore.volume).await {
            Ok(record) => {
                let filled = record.and_then(|record| record.filled);
                let own = filled.filter(|filled| filled.run == restore.run);
                own.map(|filled| RunState::Restored(filled.done))
            }
            Err(error) => Some(RunState::Unknown(error.to_string())),
        }
    }
}
