//! The one place that holds what this host has accepted, and how it stands.
//!
//! ```text
//!  session ── follow, accept, confirm ──▶ keeper ── plan (watch) ───▶ reconcilers
//!  session ◀── standing, facts (watch) ──  │  ◀── stand ────────────────┘
//!                                        ledger on disk
//! ```
//!
//! What always holds: a change is on disk before anyone sees it, and an error on the way leaves
//! everything as it was. Session and reconcilers never wait for each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use dc_agent_core::ledger::{self, Change, LedgerFileError, LowerTerm};
use dc_agent_core::vm::meter::DiskCounts;
use dc_agent_core::{HostView, Ledger, Standing, Status, WantedOwned};
use dc_proto::session::ReleaseRef;
use dc_types::plan::{ItemKey, ItemKind};
use dc_types::report::{ItemState, Observation, Trouble};
use dc_types::{InstanceId, Term};
use thiserror::Error;
use tokio::sync::{Mutex, watch};

use crate::disk::{self, DiskError, Durability};
use crate::metrics::{Metrics, Share};

#[derive(Debug, Error)]
pub enum KeeperError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{path}: {source}")]
    Ledger {
        path: PathBuf,
        source: LedgerFileError,
    },
    #[error(transparent)]
    LowerTerm(#[from] LowerTerm),
}

/// Where the ledger lies.
#[derive(Clone, Debug)]
pub enum Place {
    Disk {
        folder: PathBuf,
        durability: Durability,
    },
    /// Nowhere: a simulated host that is not asked to remember.
    Memory,
}

const LEDGER: &str = "ledger.json";

pub struct Keeper {
    host: Arc<HostView>,
    place: Place,
    state: Mutex<State>,
    plan: watch::Sender<WantedOwned>,
    standing: watch::Sender<Arc<Standing>>,
    metrics: Metrics,
    share: Share,
}

struct State {
    ledger: Ledger,
    /// When items arrived that are not as asked yet.
    arrived: BTreeMap<ItemKey, Instant>,
}

/// What a reconciler says of its kinds after a look.
pub struct Look {
    pub kinds: &'static [ItemKind],
    pub status: Status,
    /// The last failures, of items and of releases.
    pub troubles: BTreeMap<ItemKey, Trouble>,
}

impl Keeper {
    /// Reads what the host accepted before.
    pub fn open(host: Arc<HostView>, place: Place, metrics: Metrics) -> Result<Self, KeeperError> {
        let ledger = read(&host, &place)?;
        let share = metrics.share();
        share.set_plan(&ledger.items, ledger.releases.len());
        let plan = watch::Sender::new(WantedOwned {
            items: ledger.items.clone(),
            releases: ledger.releases.clone(),
            host: host.clone(),
            ready: Arc::default(),
        });
        Ok(Self {
            host,
            place,
            state: Mutex::new(State {
                ledger,
                arrived: BTreeMap::new(),
            }),
            plan,
            standing: watch::Sender::default(),
            metrics,
            share,
        })
    }

    #[must_use]
    pub fn plan(&self) -> watch::Receiver<WantedOwned> {
        self.plan.subscribe()
    }

    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Arc<Standing>> {
        self.standing.subscribe()
    }

    /// What is held now; a clone shares it.
    pub async fn ledger(&self) -> Ledger {
        self.state.lock().await.ledger.clone()
    }

    /// Follows a leader, unless a later one was followed already.
    pub async fn follow(&self, term: Term) -> Result<(), KeeperError> {
        let mut state = self.state.lock().await;
        let mut ledger = state.ledger.clone();
        if ledger.follow(term)? {
            self.write(&ledger).await?;
            state.ledger = ledger;
        }
        Ok(())
    }

    /// Takes the operator's changes; they are on disk when this returns. Answers with the items
    /// that were refused.
    pub async fn accept(&self, changes: Vec<Change>) -> Result<Vec<Observation>, KeeperError> {
        let mut state = self.state.lock().await;
        let mut ledger = state.ledger.clone();
        let keys: Vec<ItemKey> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Upsert(item, _) => Some(item.key),
                Change::Release(_) => None,
            })
            .collect();
        let refused = ledger.accept(&self.host.name, changes);
        self.write(&ledger).await?;
        let now = Instant::now();
        for key in keys {
            if ledger.items.get(&key) != state.ledger.items.get(&key) {
                state.arrived.insert(key, now);
            }
        }
        self.metrics.refused(refused.len());
        state.ledger = ledger;
        self.publish(&state.ledger);
        Ok(refused)
    }

    /// Forgets releases that the operator has recorded as done. One that is not done here is kept,
    /// whatever the operator says.
    pub async fn confirm(&self, releases: &[ReleaseRef]) -> Result<(), KeeperError> {
        let mut state = self.state.lock().await;
        let mut ledger = state.ledger.clone();
        let standing = self.standing.borrow().clone();
        let forgotten: Vec<ItemKey> = releases
            .iter()
            .filter(|r| {
                let done = standing.released.get(&r.key);
                done.is_some_and(|done| done.epoch <= r.epoch)
            })
            .filter(|r| ledger.confirmed(&r.key, r.epoch))
            .map(|r| r.key)
            .collect();
        if forgotten.is_empty() {
            return Ok(());
        }
        self.write(&ledger).await?;
        state.ledger = ledger;
        self.publish(&state.ledger);
        self.standing.send_modify(|standing| {
            let standing = Arc::make_mut(standing);
            for key in &forgotten {
                standing.released.remove(key);
            }
        });
        Ok(())
    }

    /// Counts what machines here have done with their volumes, for metrics.
    pub fn count_disks(&self, disks: BTreeMap<InstanceId, DiskCounts>) {
        self.share.count_disks(disks);
    }

    /// Takes what a reconciler saw. What the ledger no longer speaks of is left out.
    pub async fn stand(&self, look: Look) {
        let Look {
            kinds,
            status,
            troubles,
        } = look;
        let mut state = self.state.lock().await;
        let mut standing = Standing::clone(&self.standing.borrow());
        let mine = |key: &ItemKey| kinds.contains(&key.kind);
        standing.observations.retain(|key, _| !mine(key));
        standing.released.retain(|key, _| !mine(key));
        standing.release_failed.retain(|key, _| !mine(key));
        let State { ledger, arrived } = &mut *state;
        for observation in status.observations {
            let key = observation.key;
            if !ledger.items.contains_key(&key) {
                continue;
            }
            if observation.state == ItemState::Ready
                && let Some(since) = arrived.get(&key)
                && ledger.items[&key].hash() == observation.hash
            {
                self.metrics.plan_lag(since.elapsed());
                arrived.remove(&key);
            }
            standing.observations.insert(key, observation);
        }
        for released in status.released {
            let asked = ledger.releases.get(&released.key);
            if asked.is_some_and(|r| r.epoch <= released.epoch) {
                standing.released.insert(released.key, released);
            }
        }
        for (key, trouble) in troubles {
            if let Some(release) = ledger.releases.get(&key)
                && !standing.released.contains_key(&key)
            {
                standing
                    .release_failed
                    .insert(key, (release.epoch, trouble));
            }
        }
        arrived.retain(|key, _| ledger.items.contains_key(key));
        self.share.set_guests(&standing.observations);
        self.publish_ready(&standing);
        self.standing.send_if_modified(|old| {
            let changed = **old != standing;
            if changed {
                *old = Arc::new(standing);
            }
            changed
        });
    }

    fn publish(&self, ledger: &Ledger) {
        self.share.set_plan(&ledger.items, ledger.releases.len());
        self.plan.send_modify(|plan| {
            plan.items = ledger.items.clone();
            plan.releases = ledger.releases.clone();
        });
    }

    fn publish_ready(&self, standing: &Standing) {
        let ready = standing.ready();
        self.plan.send_if_modified(|plan| {
            let changed = *plan.ready != ready;
            if changed {
                plan.ready = Arc::new(ready);
            }
            changed
        });
    }

    async fn write(&self, ledger: &Ledger) -> Result<(), KeeperError> {
        let Place::Disk { folder, durability } = &self.place else {
            return Ok(());
        };
        let (path, durability) = (folder.join(LEDGER), *durability);
        let (host, ledger) = (self.host.name.clone(), ledger.clone());
        tokio::task::spawn_blocking(move || {
            disk::write_whole(&path, &ledger::render(&host, &ledger), durability)
        })
        .await
        .expect("writing the ledger does not panic")?;
        Ok(())
    }
}

fn read(host: &HostView, place: &Place) -> Result<Ledger, KeeperError> {
    let Place::Disk { folder, .. } = place else {
        return Ok(Ledger::default());
    };
    disk::ensure_private_folder(folder)?;
    let path = folder.join(LEDGER);
    match disk::read_whole(&path)? {
        None => Ok(Ledger::default()),
        Some(text) => {
            ledger::parse(&host.name, &text).map_err(|source| KeeperError::Ledger { path, source })
        }
    }
}
