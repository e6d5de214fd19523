//! The ledger: who may use what, kept in an etcd of its own.
//!
//! All keys below `/dc/<cluster>/` are mirrored in memory; decisions read the mirror and are
//! written by [`Ledger::commit`], which succeeds only while this operator leads and nothing it was
//! decided from has changed. What a commit wrote is in the mirror before it answers.
//!
//! An outcome that is not known (a timeout, a broken connection) is settled by reading back, never
//! by asking again: see `commit`.
//!
//! The store must never know less than was once seen. If it does (wiped, restored, another store),
//! the ledger is [`Health::Distrusted`]: nothing is committed, and nothing may be sent to hosts,
//! until a person has run `dc-operator ledger rebuild`.
//!
//! Election is next door in [`crate::leader`]; what the keys mean is in `dc_types::claim`.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use dc_operator_core::claims::{ClaimError, Claims};
use dc_operator_core::txn::Txn;
use dc_types::claim::keys;
use dc_types::{Epoch, HostName, Term};
use thiserror::Error;
use tokio::sync::{broadcast, watch};
use tracing::Instrument;

use crate::metrics::Metrics;
use mirror::Mirror;
pub use mirror::{LeaderValue, SeenLeader};

mod commit;
mod follow;
mod members;
mod mirror;
mod store;

pub use store::{Store, StoreConfig, StoreError, StoreTls};

/// How many changes a subscriber may be behind before it is told to look at everything: about
/// what a thousand machines change when they are claimed at once.
const CHANGES: usize = 8192;

/// One request to the store. etcd itself gives up on a proposal after 7 s (5 s and two election
/// timeouts); longer than this nobody waits for one answer.
const REQUEST: Duration = Duration::from_secs(5);

/// What must be true of the store, learnt before this process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// 0: no ledger was ever made for this cluster.
    pub incarnation: u64,
    pub cluster_id: u64,
    pub revision: u64,
}

/// How the ledger is to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Starting,
    Good,
    /// Decisions wait; nothing is lost.
    Unreachable {
        why: String,
    },
    Distrusted(Distrust),
    /// It lives under a newer incarnation now: this process must start anew.
    Rebuilt,
}

/// Why the store is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Distrust {
    #[error("the ledger was rolled back: revision {seen} was seen, it now stands at {found}")]
    RolledBack { seen: u64, found: u64 },
    #[error("the ledger is empty: incarnation {known} was there before")]
    Wiped { known: u64 },
    #[error("the ledger has incarnation {found}, but {known} was there before")]
    OldIncarnation { known: u64, found: u64 },
    #[error("the ledger is another etcd cluster: {found:x}, but {known:x} was there before")]
    OtherCluster { known: u64, found: u64 },
    #[error("host {host} knows of {what} {held}, which this ledger has not reached ({reached})")]
    HostAhead {
        host: HostName,
        what: &'static str,
        held: Epoch,
        reached: Epoch,
    },
    #[error("{0}")]
    Unreadable(String),
}

#[derive(Debug, Error)]
pub enum LedgerError {
    #[error("the ledger is not trusted ({0}): run `dc-operator ledger rebuild`")]
    Distrusted(Distrust),
    #[error("the ledger refused a transaction: {why}")]
    Refused {
        why: String,
        #[source]
        source: Box<StoreError>,
    },
    #[error("the ledger holds what does not read")]
    Claim(#[from] ClaimError),
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    Done {
        revision: u64,
    },
    /// Something it was decided from has changed: look again.
    Conflict,
    NotLeader,
}

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key, without prefix.
    Key(Arc<str>),
}

/// Being leader, as commits need it.
#[derive(Clone, Debug)]
struct Lead {
    term: Term,
    /// Mod revision of the leader's key. A commit sent under an older one cannot succeed any more:
    /// raising it is how an unknown outcome is made known.
    fence: u64,
}

#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    mirror: RwLock<Mirror>,
    lead: watch::Sender<Option<Lead>>,
    health: watch::Sender<Health>,
    progress: watch::Sender<u64>,
    leader: watch::Sender<Option<SeenLeader>>,
    changes: broadcast::Sender<Change>,
    known: RwLock<Known>,
    metrics: Metrics,
}

impl Ledger {
    /// Begins to follow the store, for as long as a clone of the answer or the task lives.
    ///
    /// A store without an incarnation is given the first one if `known` has none either.
    pub fn start(store: Store, known: Known, metrics: &Metrics) -> Self {
        let inner = Arc::new(Inner {
            store,
            mirror: RwLock::new(Mirror::new(known.incarnation)),
            lead: watch::Sender::new(None),
            health: watch::Sender::new(Health::Starting),
            progress: watch::Sender::new(0),
            leader: watch::Sender::new(None),
            changes: broadcast::Sender::new(CHANGES),
            known: RwLock::new(known),
            metrics: metrics.clone(),
        });
        tokio::spawn(follow::follow(Arc::downgrade(&inner)));
        Self { inner }
    }

    /// Looks at the claims as they stand. Do not hold on to them: a commit waits meanwhile.
    pub fn with_claims<R>(&self, look: impl FnOnce(&Claims) -> R) -> R {
        self.inner.with_mirror(|mirror| look(&mirror.claims))
    }

    /// Carries out a transaction while this operator leads.
    ///
    /// It answers only when the outcome is certain. If the caller goes away, it is still settled.
    pub async fn commit(&self, txn: &Txn) -> Result<Commit, LedgerError> {
        let (inner, txn) = (self.inner.clone(), txn.clone());
        let outcome = match tokio::spawn(commit::commit(inner, txn).in_current_span()).await {
            Ok(outcome) => outcome,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.inner.metrics.committed(match &outcome {
            Ok(Commit::Done { .. }) => "done",
            Ok(Commit::Conflict) => "conflict",
            Ok(Commit::NotLeader) => "not_leader",
            Err(_) => "error",
        });
        outcome
    }

    /// Every key that changes from now on, by whomever. A subscriber that lags behind must look at
    /// everything again.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    #[must_use]
    pub fn health(&self) -> Health {
        self.inner.health.borrow().clone()
    }

    #[must_use]
    pub fn watch_health(&self) -> watch::Receiver<Health> {
        self.inner.health.subscribe()
    }

    /// Whether claims may be acted upon.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        matches!(
            *self.inner.health.borrow(),
            Health::Good | Health::Unreachable { .. }
        )
    }

    #[must_use]
    pub fn is_distrusted(&self) -> bool {
        self.inner.distrusted().is_some()
    }

    /// Asks the store itself whether `term` still leads.
    pub async fn confirm_term(&self, term: Term) -> Result<bool, StoreError> {
        let (leader, _) = self.inner.store.read_key(keys::LEADER).await?;
        Ok(leader.is_some_and(|leader| leader.created == term.revision))
    }

    /// Returns once the ledger was read whole and is good.
    pub async fn wait_good(&self) {
        let mut health = self.inner.health.subscribe();
        // The sender lives in `self`.
        let _ = health.wait_for(|health| *health == Health::Good).await;
    }

    /// The epoch of now: no claim is newer.
    #[must_use]
    pub fn now(&self) -> Epoch {
        self.inner
            .with_mirror(|mirror| mirror.claims.epoch_of(mirror.high()))
    }

    /// What must be true of the store from now on, for the record outside of it.
    #[must_use]
    pub fn known(&self) -> Known {
        let known = *self
            .inner
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Known {
            revision: self.inner.with_mirror(Mirror::high).max(known.revision),
            ..known
        }
    }

    /// Who leads, as far as the mirror knows.
    #[must_use]
    pub fn seen_leader(&self) -> Option<SeenLeader> {
        self.inner.leader.borrow().clone()
    }

    /// Stops believing the store, for good.
    pub fn distrust(&self, why: Distrust) {
        self.inner.distrust(why);
    }

    #[must_use]
    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn watch_leader(&self) -> watch::Receiver<Option<SeenLeader>> {
        self.inner.leader.subscribe()
    }

    /// Returns once everything up to `revision` is in the mirror.
    pub(crate) async fn wait_progress(&self, revision: u64) {
        let mut progress = self.inner.progress.subscribe();
        let _ = progress.wait_for(|at| *at >= revision).await;
    }

    /// From now on commits go out under `term`, as long as the leader's key is that of the term.
    pub(crate) fn begin_term(&self, term: Term, fence: u64) {
        self.inner.lead.send_replace(Some(Lead { term, fence }));
    }

    pub(crate) fn end_term(&self) {
        self.inner.lead.send_replace(None);
    }

    /// Returns when a commit found that the leader's key is another's, or the term was ended.
    pub(crate) async fn term_ended(&self) {
        let mut lead = self.inner.lead.subscribe();
        let _ = lead.wait_for(Option::is_none).await;
    }
}

impl Inner {
    fn with_mirror<R>(&self, look: impl FnOnce(&Mirror) -> R) -> R {
        // A panic of a reader cannot leave the mirror half changed; of a writer it ends the task
        // that alone writes, and with it the process.
        look(&self.mirror.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_mirror<R>(&self, change: impl FnOnce(&mut Mirror) -> R) -> R {
        let mut mirror = self.mirror.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut mirror);
        let (progress, leader) = (mirror.progress(), mirror.leader.clone());
        drop(mirror);
        self.progress
            .send_if_modified(|at| std::mem::replace(at, progress) != progress);
        self.leader.send_if_modified(|seen| match *seen == leader {
            true => false,
            false => {
                *seen = leader;
                true
            }
        });
        result
    }

    fn tell(&self, keys: impl IntoIterator<Item = String>) {
        for key in keys {
            // Nobody listening is fine.
            let _ = self.changes.send(Change::Key(key.into()));
        }
    }

    fn distrust(&self, why: Distrust) {
        self.health.send_if_modified(|health| match health {
            Health::Distrusted(_) | Health::Rebuilt => false,
            Health::Starting | Health::Good | Health::Unreachable { .. } => {
                tracing::error!(
                    reason = %why,
                    "the ledger is not trusted; nothing is placed, started or sent until \
                     `dc-operator ledger rebuild` was run"
                );
                *health = Health::Distrusted(why);
                true
            }
        });
    }

    fn distrusted(&self) -> Option<Distrust> {
        match &*self.health.borrow() {
            Health::Distrusted(why) => Some(why.clone()),
            Health::Rebuilt => Some(Distrust::Unreadable("it was rebuilt".into())),
            Health::Starting | Health::Good | Health::Unreachable { .. } => None,
        }
    }
}
