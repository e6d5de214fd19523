//! One session with one host, from Hello to its end.
//!
//! Everything the session knows belongs to one task. It never waits for the host to read: messages
//! are made only when there is room for one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dc_operator_core::txn::Txn;
use dc_operator_core::volume::erasure;
use dc_proto::OnWire;
use dc_proto::session::{AgentSays, OperatorSays, Welcome, send};
use dc_proto::wire::{AgentMessage, OperatorMessage};
use dc_types::claim::keys;
use dc_types::plan::Release;
use dc_types::report::{Hello, Observation, Released, Report};
use dc_types::{Epoch, HostName, Sequence, Term};
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use tonic::{Status, Streaming};

use super::Sessions;
use super::outbox::Outbox;
use super::refusal::Refusal;
use crate::ledger::{Commit, Distrust};

/// A host that has connected says Hello at once; one that does not is none of ours.
const HELLO: Duration = Duration::from_secs(30);

/// Before a confirmation that the ledger did not take is tried again.
const RETRY: Duration = Duration::from_secs(2);

pub(super) struct Session {
    sessions: Sessions,
    host: HostName,
    fingerprint: String,
    term: Term,
    out: mpsc::Sender<Result<OperatorMessage, Status>>,
}

/// What changes while a session lives.
struct Talk {
    outbox: Outbox,
    /// Whether the board was complete and the outbox knows it.
    begun: bool,
    /// Confirmed by the host, and not recorded yet.
    unrecorded: Vec<Released>,
}

type Incoming = Streaming<AgentMessage>;

impl Session {
    pub(super) fn new(
        sessions: Sessions,
        host: HostName,
        fingerprint: String,
        term: Term,
        out: mpsc::Sender<Result<OperatorMessage, Status>>,
    ) -> Self {
        Self {
            sessions,
            host,
            fingerprint,
            term,
            out,
        }
    }

    pub(super) async fn run(self, mut incoming: Incoming) {
        let ended = self.meet(&mut incoming).await;
        if let Err(refusal) = ended {
            let status = self.sessions.refuse(refusal);
            // If the host does not read, it learns from the end of the stream.
            let _ = self.out.try_send(Err(status));
        }
    }

    async fn meet(&self, incoming: &mut Incoming) -> Result<(), Refusal> {
        let hello = self.hear_hello(incoming).await?;
        self.compare(&hello).await?;
        let slot = self.sessions.slot(&self.host);
        let number = slot.next();
        let mut latest = slot.number.subscribe();
        let superseded = async {
            // An error cannot be: the slot holds the sender.
            let _ = latest.wait_for(|latest| *latest != number).await;
        };
        // The session before ends by the same number; then the place is free.
        let _place = slot.busy.lock().await;
        let _ = self
            .sessions
            .joins
            .used(&self.host, &self.fingerprint)
            .await;

        let seen = self.sessions.observed.begin(&hello, Timestamp::now());
        tracing::info!(host = %self.host, version = hello.version, held = hello.held.len(), "connected");
        let ended = tokio::select! {
            ended = self.talk(incoming, hello) => ended,
            () = superseded => Err(Refusal::Superseded(self.host.clone())),
            () = self.term_over() => Err(Refusal::TermOver(self.term)),
        };
        self.sessions
            .observed
            .end(&self.host, seen, Timestamp::now());
        tracing::info!(host = %self.host, "disconnected");
        ended
    }

    async fn hear_hello(&self, incoming: &mut Incoming) -> Result<Hello, Refusal> {
        let first = tokio::time::timeout(HELLO, incoming.message()).await;
        let Ok(Ok(Some(message))) = first else {
            return Err(Refusal::NoHello);
        };
        match AgentSays::from_wire(message) {
            Ok(AgentSays::Hello(hello)) if hello.host == self.host => Ok(*hello),
            Ok(AgentSays::Hello(hello)) => Err(Refusal::AnotherHost {
                own: self.host.clone(),
                other: hello.host,
            }),
            Ok(_) => Err(Refusal::NoHello),
            Err(error) => Err(Refusal::Unreadable(error.to_string())),
        }
    }

    /// A host that knows of a later time than the ledger is how a rollback shows when the operator
    /// itself was away. It is taken at its word, after asking the store whether we still lead:
    /// otherwise the later time is simply the next leader's.
    async fn compare(&self, hello: &Hello) -> Result<(), Refusal> {
        let Some((what, held)) = self.ahead(hello) else {
            return Ok(());
        };
        match self.sessions.ledger.confirm_term(self.term).await {
            Err(_) => Err(Refusal::Ledger),
            Ok(false) => Err(Refusal::TermOver(self.term)),
            Ok(true) if self.ahead(hello).is_none() => Ok(()),
            Ok(true) => {
                self.sessions.ledger.distrust(Distrust::HostAhead {
                    host: self.host.clone(),
                    what,
                    held,
                    reached: self.sessions.ledger.now(),
                });
                Err(Refusal::Distrusted)
            }
        }
    }

    fn ahead(&self, hello: &Hello) -> Option<(&'static str, Epoch)> {
        if hello.term > self.term {
            let Term {
                incarnation,
                revision,
            } = hello.term;
            let term = Epoch {
                incarnation,
                revision,
            };
            return Some(("a leader of term", term));
        }
        let newest = hello.held.iter().map(|held| held.epoch).max()?;
        (newest > self.sessions.ledger.now()).then_some(("a claim of epoch", newest))
    }

    async fn term_over(&self) {
        let mut gate = self.sessions.gate.watch();
        let _ = gate.wait_for(|open| *open != Some(self.term)).await;
    }

    async fn talk(&self, incoming: &mut Incoming, hello: Hello) -> Result<(), Refusal> {
        let board = &self.sessions.board;
        let wake: Arc<Notify> = board.wake(&self.host);
        let mut talk = Talk {
            outbox: Outbox::new(&hello.held),
            begun: false,
            unrecorded: Vec::new(),
        };
        self.welcome().await;
        loop {
            tokio::select! {
                message = incoming.message() => match message {
                    Ok(Some(message)) => self.hear(&mut talk, message).await?,
                    // The host went away, or the line broke.
                    Ok(None) | Err(_) => return Ok(()),
                },
                () = board.wait_complete(), if !talk.begun => self.begin(&mut talk),
                () = wake.notified(), if talk.begun => self.look_again(&mut talk),
                room = self.out.reserve(), if talk.outbox.has_news() => match room {
                    Ok(room) => if let Some((sequence, says)) = talk.outbox.take() {
                        room.send(Ok(send(self.term, sequence, &says)));
                    },
                    Err(_) => return Ok(()),
                },
                () = tokio::time::sleep(RETRY), if !talk.unrecorded.is_empty() => {
                    for released in std::mem::take(&mut talk.unrecorded) {
                        self.record(&mut talk, released).await;
                    }
                }
            }
        }
    }

    async fn welcome(&self) {
        let welcome = Welcome {
            host: self.host.clone(),
            operator: self.sessions.advertise.clone(),
            operators: vec![self.sessions.advertise.clone()],
        };
        let message = send(self.term, Sequence(0), &OperatorSays::Welcome(welcome));
        // The channel is empty; if the host is gone, the next step finds out.
        let _ = self.out.send(Ok(message)).await;
    }

    fn begin(&self, talk: &mut Talk) {
        let wanted = self.sessions.board.take_all(&self.host);
        let mut unplanned = talk.outbox.begin(wanted, self.pending());
        // What is claimed comes to the board in its own time.
        self.sessions
            .ledger
            .with_claims(|claims| unplanned.retain(|key| !claims.has_item(&self.host, key)));
        for key in unplanned {
            tracing::warn!(
                host = %self.host, %key,
                "the host holds what no claim covers; it is left alone"
            );
            self.sessions.metrics.found_unplanned(kind_name(key.kind));
        }
        talk.begun = true;
    }

    fn look_again(&self, talk: &mut Talk) {
        let (dirty, mut items) = self.sessions.board.take_dirty(&self.host);
        for key in dirty.keys {
            talk.outbox.set_wanted(key, items.remove(&key));
        }
        if dirty.releases {
            talk.outbox.set_pending(self.pending());
        }
    }

    fn pending(&self) -> std::collections::BTreeMap<dc_types::plan::ItemKey, Release> {
        self.sessions.ledger.with_claims(|claims| {
            claims
                .releases_of(&self.host)
                .map(|pending| (pending.value.release.key, pending.value.release.clone()))
                .collect()
        })
    }

    async fn hear(&self, talk: &mut Talk, message: AgentMessage) -> Result<(), Refusal> {
        match AgentSays::from_wire(message) {
            Ok(AgentSays::Hello(_)) => return Err(Refusal::NoHello),
            Ok(AgentSays::Accepted(sequence)) => {
                for lag in talk.outbox.accepted(sequence, Instant::now()) {
                    self.sessions.metrics.plan_accepted(lag);
                }
            }
            Ok(AgentSays::Report(report)) => self.take_report(talk, report).await,
            // What this host's version does not know it has said as observations; its inventory
            // is asked for elsewhere.
            Ok(AgentSays::NotUnderstood(_) | AgentSays::Inventory(_)) => {}
            Err(error) => {
                tracing::warn!(host = %self.host, %error, "a message does not read; it is skipped");
                self.sessions.metrics.session_refused("unreadable");
            }
        }
        Ok(())
    }

    async fn take_report(&self, talk: &mut Talk, report: Report) {
        let observed = &self.sessions.observed;
        match report {
            Report::Facts(facts) => observed.set_facts(&self.host, *facts),
            Report::Observed(observations) => {
                observed.set_items(&self.host, self.own(talk, observations));
            }
            Report::Released(released) => self.record(talk, released).await,
            Report::ReleaseFailed {
                key,
                epoch,
                trouble,
            } => {
                if talk.outbox.knows(&key) {
                    observed.set_release_failed(&self.host, key, epoch, trouble);
                }
            }
        }
    }

    /// What a host says of items it was never given is not listened to.
    fn own(&self, talk: &Talk, observations: Vec<Observation>) -> Vec<Observation> {
        let (own, foreign): (Vec<_>, Vec<_>) = observations
            .into_iter()
            .partition(|observation| talk.outbox.knows(&observation.key));
        for observation in foreign {
            tracing::warn!(
                host = %self.host, key = %observation.key,
                "a report about an item of another host is refused"
            );
            self.sessions.metrics.session_refused("foreign_item");
        }
        own
    }

    /// The host has nothing left under a key: the pending release is deleted, and only then the
    /// host may forget it.
    async fn record(&self, talk: &mut Talk, released: Released) {
        let pending = self.sessions.ledger.with_claims(|claims| {
            let at = (self.host.clone(), released.key);
            let pending = claims.releases.get(&at)?;
            let key = keys::release(&self.host, &released.key);
            let txn = Txn::new(format!("host {} released {}", self.host, released.key))
                .unchanged(&key, pending.revision)
                .delete(&key);
            // What it says of an erasure is kept as surely as that it was one.
            let txn = erasure::note(txn, claims, &pending.value, &released);
            Some((pending.value.release.epoch, txn))
        });
        match pending {
            Some((epoch, txn)) if epoch <= released.epoch => {
                self.sessions
                    .observed
                    .set_released(&self.host, released.clone());
                match self.sessions.ledger.commit(&txn).await {
                    Ok(Commit::Done { .. }) => talk.outbox.settle(&released),
                    // Controllers may have changed or deleted it with something else: look again.
                    Ok(Commit::Conflict) => talk.unrecorded.push(released),
                    Ok(Commit::NotLeader) => {}
                    Err(error) => {
                        tracing::warn!(host = %self.host, %error, "a release is not recorded yet");
                        talk.unrecorded.push(released);
                    }
                }
            }
            // A newer release is pending: this answers an older one.
            Some(_) => talk.outbox.settle(&released),
            // One of our own making, or recorded before.
            None => {
                self.sessions
                    .observed
                    .set_released(&self.host, released.clone());
                talk.outbox.settle(&released);
            }
        }
    }
}

fn kind_name(kind: dc_types::plan::ItemKind) -> &'static str {
    use dc_types::plan::ItemKind;
    match kind {
        ItemKind::Image => "image",
        ItemKind::Volume => "volume",
        ItemKind::Snapshot => "snapshot",
        ItemKind::Backup => "backup",
        ItemKind::Restore => "restore",
        ItemKind::Manifest => "manifest",
        ItemKind::Grant => "grant",
        ItemKind::Network => "network",
        ItemKind::Endpoint => "endpoint",
        ItemKind::Vm => "vm",
    }
}
