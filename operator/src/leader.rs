//! Which of several operators acts: the one whose key stands in the ledger, under a lease.
//!
//! ```text
//!            lease granted, key free                lease late, key lost, ledger distrusted
//! Following ─────────────────────────▶ Leading(term) ─────────────────────────▶ Following …
//! ```
//! The term is the ledger's incarnation and the revision at which the key was made; a later leader
//! has a higher one, and hosts refuse lower ones. Leading begins only when the mirror holds all
//! that earlier leaders wrote. It ends, by our own clock, before the store lets another begin; and
//! should that clock be wrong, the store still refuses our commits and hosts our term.

use std::sync::Arc;
use std::time::Duration;

use dc_types::Term;
use dc_types::claim::keys;
use etcd_client::{Compare, CompareOp};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::ledger::{Health, LeaderValue, Ledger, StoreError};

/// How long a leader may be silent before another takes over. Longer than a usual pause of the
/// store (an fsync, an election of etcd itself: 1 to 3 s), short enough that people hardly notice.
pub const TTL: Duration = Duration::from_secs(10);

/// Between two attempts when the store does not answer.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    Following,
    Leading(Term),
}

impl Leadership {
    #[must_use]
    pub fn term(self) -> Option<Term> {
        match self {
            Leadership::Following => None,
            Leadership::Leading(term) => Some(term),
        }
    }
}

/// Cheap to clone; all clones speak of the same candidate.
#[derive(Clone)]
pub struct Leader {
    state: watch::Receiver<Leadership>,
    lane: Arc<Mutex<()>>,
    ledger: Ledger,
    stop: Arc<watch::Sender<bool>>,
}

impl Leader {
    /// Stands for election from now on. `advertise` is where agents reach this operator.
    pub fn start(ledger: &Ledger, advertise: &str, ttl: Duration) -> Self {
        let (sender, state) = watch::channel(Leadership::Following);
        let stop = Arc::new(watch::Sender::new(false));
        let candidate = Candidate {
            ledger: ledger.clone(),
            advertise: advertise.to_owned(),
            ttl,
            state: sender,
            stop: stop.subscribe(),
        };
        tokio::spawn(candidate.run());
        Self {
            state,
            lane: Arc::default(),
            ledger: ledger.clone(),
            stop,
        }
    }

    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.state.borrow().term()
    }

    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Leadership> {
        self.state.clone()
    }

    /// Returns when this operator leads.
    pub async fn wait_leading(&self) -> Term {
        let mut state = self.state.clone();
        loop {
            if let Some(term) = state.borrow_and_update().term() {
                return term;
            }
            if state.changed().await.is_err() {
                // The candidate has resigned for good; nobody waits for long in a process that ends.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns when `term` is over.
    pub async fn wait_lost(&self, term: Term) {
        let mut state = self.state.clone();
        // An error means that the candidate is gone, and its term with it.
        let _ = state.wait_for(|now| now.term() != Some(term)).await;
    }

    /// Where agents find the leader, as far as the ledger says.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        self.ledger.seen_leader().map(|seen| seen.value.advertise)
    }

    /// The lane in which placements are decided and committed, one at a time: capacity is judged
    /// against the mirror, so nobody else may claim between looking and writing.
    pub async fn lane(&self) -> OwnedMutexGuard<()> {
        self.lane.clone().lock_owned().await
    }

    /// Gives the lead away and does not stand again. Answers when another may begin.
    pub async fn resign(&self) {
        self.stop.send_replace(true);
        let mut state = self.state.clone();
        while state.changed().await.is_ok() {}
    }
}

struct Candidate {
    ledger: Ledger,
    advertise: String,
    ttl: Duration,
    state: watch::Sender<Leadership>,
    stop: watch::Receiver<bool>,
}

impl Candidate {
    async fn run(mut self) {
        while !*self.stop.borrow() {
            if let Err(error) = self.stand().await {
                tracing::warn!(%error, "the election is out of reach");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// One candidacy, from lease to loss.
    async fn stand(&mut self) -> Result<(), StoreError> {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = self.ledger.wait_good() => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        }
        let ttl_s = u32::try_from(self.ttl.as_secs()).unwrap_or(u32::MAX).max(1);
        let granted = Instant::now();
        let lease = self.ledger.store().lease(ttl_s).await?;
        let kept = keep_lease(&self.ledger, lease, self.ttl, granted);
        let ended = tokio::select! {
            () = kept => "the lease was not renewed in time",
            () = wait_distrust(&self.ledger) => "the ledger is not trusted",
            why = self.campaign_and_lead(lease) => why,
            _ = stop.wait_for(|stop| *stop) => "resigned",
        };
        self.ledger.end_term();
        if let Some(term) = self.state.send_replace(Leadership::Following).term() {
            tracing::warn!(%term, reason = ended, "no longer leading");
        }
        // Lets the next one begin at once. If this fails, the lease ends by itself.
        if let Err(error) = self.ledger.store().revoke(lease).await {
            tracing::debug!(%error, "the lease could not be given back");
        }
        Ok(())
    }

    /// Answers why the lead ended.
    async fn campaign_and_lead(&self, lease: i64) -> &'static str {
        let id = Uuid::new_v4();
        let created = self.campaign(lease, id).await;
        self.ledger.wait_progress(created).await;
        let incarnation = self.ledger.known().incarnation;
        let term = Term {
            incarnation,
            revision: created,
        };
        self.ledger.begin_term(term, created);
        self.state.send_replace(Leadership::Leading(term));
        tracing::info!(%term, advertise = self.advertise, "leading");
        self.ledger.term_ended().await;
        "the leader's key is gone"
    }

    /// Answers the revision of our election.
    async fn campaign(&self, lease: i64, id: Uuid) -> u64 {
        let mut seen = self.ledger.watch_leader();
        loop {
            match self.try_campaign(lease, id).await {
                Ok(Some(created)) => return created,
                // The mirror may not know the holder yet; a look now and then costs little.
                Ok(None) => {
                    let free = seen.wait_for(Option::is_none);
                    let _ = tokio::time::timeout(self.ttl, free).await;
                    tokio::time::sleep(RETRY / 5).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "no answer to the candidacy");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn try_campaign(&self, lease: i64, id: Uuid) -> Result<Option<u64>, StoreError> {
        let store = self.ledger.store();
        let value = LeaderValue {
            id,
            advertise: self.advertise.clone(),
        };
        let value = serde_json::to_string(&value).expect("two texts are representable as JSON");
        let free = Compare::version(store.key(keys::LEADER), CompareOp::Equal, 0);
        let take = store.put_with_lease(keys::LEADER, &value, lease);
        let read = || store.get(keys::LEADER);
        let answer = store
            .txn(vec![free], vec![take, read()], vec![read()])
            .await?;
        let holder = answer.reads.into_iter().flatten().next();
        // Also after an answer that was lost: the id is of this candidacy alone.
        let ours = holder.filter(|holder| holder.value.as_deref() == Some(value.as_str()));
        Ok(ours.map(|holder| holder.created))
    }
}

async fn wait_distrust(ledger: &Ledger) {
    let mut health = ledger.watch_health();
    let bad = |health: &Health| matches!(health, Health::Distrusted(_) | Health::Rebuilt);
    let _ = health.wait_for(bad).await;
}

/// Returns when the lease may be over: the store counts from when it heard of us, we from before
/// we spoke, so we are first.
async fn keep_lease(ledger: &Ledger, lease: i64, ttl: Duration, granted: Instant) {
    let mut until = granted + ttl;
    loop {
        match timeout_at(until, ledger.store().keep_alive(lease)).await {
            Ok(Ok((mut keeper, mut answers))) => loop {
                let sent = Instant::now();
                let renew = async {
                    keeper.keep_alive().await?;
                    answers.message().await
                };
                match timeout_at(until, renew).await {
                    Ok(Ok(Some(answer))) if answer.ttl() > 0 => until = sent + ttl,
                    Ok(Ok(Some(_))) | Err(_) => return,
                    Ok(Ok(None) | Err(_)) => break,
                }
                tokio::time::sleep(ttl / 3).await;
            },
            Ok(Err(error)) => tracing::debug!(%error, "the lease's stream does not open"),
            Err(_) => return,
        }
        if timeout_at(until, tokio::time::sleep(RETRY)).await.is_err() {
            return;
        }
    }
}
