//! One session, from Hello to its end.
//!
//! Everything the session knows belongs to one task. Messages to the operator are made only when
//! there is room for one, so what changes meanwhile is told once, as it stands then. Deltas that
//! came together are written to disk together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dc_agent_core::Standing;
use dc_agent_core::ledger::Change;
use dc_agent_core::standing::Told;
use dc_proto::session::{AgentSays, FromOperator, Inventory, ReceivedSays, ReleaseRef, receive};
use dc_proto::wire::{AgentMessage, OperatorMessage};
use dc_proto::{OnWire, Received, RefusedDelta};
use dc_types::report::{Hello, HostFacts, Report};
use dc_types::{Sequence, Term};
use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tracing::{info, warn};

use super::addresses::Addresses;
use super::dial::{self, Line};
use super::{Ended, SessionError, Surroundings};
use crate::identity::Identity;

/// Messages on the way: one being written and one ready. More would only grow old.
const OUTGOING: usize = 2;

/// An operator that leads greets at once.
const WELCOME: Duration = Duration::from_secs(30);

/// Messages that are taken to disk together at most; the rest wait for the next write.
const BATCH: usize = 64;

/// Before a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

pub struct Talk<'a> {
    pub around: &'a Surroundings,
    pub address: &'a str,
    pub identity: &'a Identity,
}

/// What changes while a session lives.
struct Progress {
    term: Term,
    last: Sequence,
    told: Told,
    /// Ready to be sent, in this order.
    outbox: VecDeque<AgentSays>,
    /// Something may be different from what was told.
    dirty: bool,
}

/// What came in together.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    confirmed: Vec<ReleaseRef>,
    not_understood: Vec<dc_proto::wire::Observation>,
    deltas: bool,
    inventory: bool,
}

impl Talk<'_> {
    /// Speaks until something ends it. `welcomed` says whether a leader took us.
    pub async fn run(
        &self,
        mut line: Line,
        addresses: &mut Addresses,
        welcomed: &mut bool,
    ) -> Result<Ended, SessionError> {
        let renewals = line.clone();
        let (out, outgoing) = mpsc::channel::<AgentMessage>(OUTGOING);
        let hello = self.hello().await;
        let facts = hello.facts.clone();
        let first = AgentSays::Hello(Box::new(hello)).to_wire();
        // The channel is empty.
        let _ = out.send(first).await;
        let answer = line.session(ReceiverStream::new(outgoing)).await;
        let mut incoming = answer
            .map_err(|status| dial::refusal(self.address, &status))?
            .into_inner();
        let term = self.welcome(&mut incoming, addresses).await?;
        *welcomed = true;
        self.around.connected.send_replace(true);
        self.around.metrics.session_began();
        let mut progress = Progress {
            term,
            last: Sequence(0),
            told: Told::begin(facts),
            outbox: VecDeque::new(),
            dirty: true,
        };
        let ended = self
            .talk(&mut incoming, &out, renewals, &mut progress)
            .await;
        let outcome = match &ended {
            Ok(Ended::Renewed) => "renewed",
            Ok(Ended::Stopped) => "stopped",
            Err(error) => error.outcome(),
        };
        self.around.metrics.session_ended(outcome);
        ended
    }

    async fn hello(&self) -> Hello {
        let ledger = self.around.keeper.ledger().await;
        Hello {
            host: self.around.host.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            term: ledger.term,
            held: ledger.held(),
            facts: self.around.facts.borrow().as_ref().clone(),
        }
    }

    /// The first message: who leads, and that it speaks to us.
    async fn welcome(
        &self,
        incoming: &mut Streaming<OperatorMessage>,
        addresses: &mut Addresses,
    ) -> Result<Term, SessionError> {
        let first = tokio::time::timeout(WELCOME, incoming.message()).await;
        let first = first.map_err(|_| SessionError::Broken {
            address: self.address.to_owned(),
            message: format!("no welcome within {} s", WELCOME.as_secs()),
        })?;
        let FromOperator {
            term,
            sequence,
            says,
        } = self.understand(first)?;
        let ReceivedSays::Welcome(welcome) = says else {
            return Err(self.protocol("its first message is no Welcome"));
        };
        if sequence != Sequence(0) {
            return Err(self.protocol("its Welcome has a sequence other than 0"));
        }
        let host = &self.around.host.name;
        if welcome.host != *host {
            return Err(SessionError::AnotherHost {
                found: welcome.host,
                host: host.clone(),
            });
        }
        self.around.keeper.follow(term).await?;
        addresses.learn(welcome.operators);
        // Whoever leads is the first to ask when the line breaks.
        addresses.prefer(self.address);
        info!(%host, operator = %welcome.operator, %term, "connected");
        Ok(term)
    }

    async fn talk(
        &self,
        incoming: &mut Streaming<OperatorMessage>,
        out: &mpsc::Sender<AgentMessage>,
        renewals: Line,
        progress: &mut Progress,
    ) -> Result<Ended, SessionError> {
        let mut standing = self.around.keeper.standing();
        let mut facts = self.around.facts.clone();
        let renew_in = self.identity.valid.until_renewal(SystemTime::now());
        let mut renew_at = tokio::time::Instant::now() + renew_in;
        loop {
            if progress.dirty && progress.outbox.is_empty() {
                self.look(progress, &mut standing, &mut facts).await;
            }
            tokio::select! {
                message = incoming.message() => {
                    let batch = self.gather(incoming, message, progress)?;
                    self.take(batch, progress).await?;
                }
                room = out.reserve(), if !progress.outbox.is_empty() => match room {
                    Ok(room) => if let Some(says) = progress.outbox.pop_front() {
                        room.send(says.to_wire());
                    },
                    Err(_) => return Err(self.broken("the operator has closed it")),
                },
                Ok(()) = standing.changed() => progress.dirty = true,
                Ok(()) = facts.changed() => progress.dirty = true,
                () = tokio::time::sleep_until(renew_at) => {
                    match self.renew(renewals.clone()).await {
                        Ok(()) => return Ok(Ended::Renewed),
                        Err(error) => {
                            warn!(host = %self.around.host.name, "not renewed yet: {error}");
                            renew_at = tokio::time::Instant::now() + RENEW_AGAIN;
                        }
                    }
                }
                () = self.around.stop.cancelled() => return Ok(Ended::Stopped),
            }
        }
    }

    /// Finds what the operator has not been told.
    async fn look(
        &self,
        progress: &mut Progress,
        standing: &mut watch::Receiver<Arc<Standing>>,
        facts: &mut watch::Receiver<Arc<HostFacts>>,
    ) {
        progress.dirty = false;
        let now = standing.borrow_and_update().clone();
        let facts = facts.borrow_and_update().clone();
        let sent = self.around.keeper.ledger().await.sent;
        let reports = progress.told.tell(&now, &facts, &sent);
        progress
            .outbox
            .extend(reports.into_iter().map(AgentSays::Report));
    }

    /// Takes a message and all that have arrived behind it.
    fn gather(
        &self,
        incoming: &mut Streaming<OperatorMessage>,
        first: Result<Option<OperatorMessage>, tonic::Status>,
        progress: &mut Progress,
    ) -> Result<Batch, SessionError> {
        let mut batch = Batch::default();
        let mut message = first;
        for _ in 0..BATCH {
            let heard = self.understand(message)?;
            self.sort(heard, progress, &mut batch)?;
            match incoming.message().now_or_never() {
                Some(next) => message = next,
                None => return Ok(batch),
            }
        }
        let heard = self.understand(message)?;
        self.sort(heard, progress, &mut batch)?;
        Ok(batch)
    }

    fn sort(
        &self,
        heard: FromOperator,
        progress: &mut Progress,
        batch: &mut Batch,
    ) -> Result<(), SessionError> {
        let FromOperator {
            term,
            sequence,
            says,
        } = heard;
        if term != progress.term {
            return Err(SessionError::AnotherTerm {
                term: progress.term,
                found: term,
            });
        }
        if sequence.0 != progress.last.0 + 1 {
            return Err(SessionError::Gap {
                last: progress.last,
                found: sequence,
            });
        }
        progress.last = sequence;
        match says {
            ReceivedSays::Welcome(_) => return Err(self.protocol("it says Welcome twice")),
            ReceivedSays::Confirmed(releases) => batch.confirmed.extend(releases),
            ReceivedSays::AskInventory => batch.inventory = true,
            ReceivedSays::Deltas(deltas) => {
                batch.deltas = true;
                for delta in deltas {
                    self.sort_delta(delta, batch);
                }
            }
        }
        Ok(())
    }

    fn sort_delta(&self, delta: Result<Received, RefusedDelta>, batch: &mut Batch) {
        match delta {
            Ok(Received::Upsert(item, sent)) => batch.changes.push(Change::Upsert(item, sent)),
            Ok(Received::Release(release)) => batch.changes.push(Change::Release(release)),
            Err(RefusedDelta { error, observation }) => {
                warn!(host = %self.around.host.name, "a delta is not understood: {error}");
                batch.not_understood.extend(observation.map(|o| *o));
            }
        }
    }

    async fn take(&self, batch: Batch, progress: &mut Progress) -> Result<(), SessionError> {
        let Batch {
            changes,
            confirmed,
            not_understood,
            deltas,
            inventory,
        } = batch;
        if deltas {
            let refused = self.around.keeper.accept(changes).await?;
            progress
                .outbox
                .push_back(AgentSays::Accepted(progress.last));
            if !refused.is_empty() {
                for observation in &refused {
                    warn!(
                        host = %self.around.host.name, key = %observation.key,
                        "an item is refused: {:?}", observation.state
                    );
                }
                let report = Report::Observed(refused);
                progress.outbox.push_back(AgentSays::Report(report));
            }
        }
        if !not_understood.is_empty() {
            self.around.metrics.refused(not_understood.len());
            progress
                .outbox
                .push_back(AgentSays::NotUnderstood(not_understood));
        }
        if !confirmed.is_empty() {
            self.around.keeper.confirm(&confirmed).await?;
        }
        if inventory {
            let ledger = self.around.keeper.ledger().await;
            // The keys of volumes are the operator's own, and go one way.
            let items = ledger.items.values();
            let items = items.map(|item| item.without_keys().unwrap_or_else(|| item.clone()));
            let messages = Inventory::messages(items.collect());
            info!(host = %self.around.host.name, "telling the operator all that this host holds");
            let says = messages.into_iter().map(AgentSays::Inventory);
            progress.outbox.extend(says);
        }
        Ok(())
    }

    async fn renew(&self, line: Line) -> Result<(), SessionError> {
        let host = &self.around.host.name;
        let identity = dial::renew(host, self.address, line, self.identity).await?;
        self.around.identity.keep(&identity)?;
        info!(%host, "the certificate was renewed");
        Ok(())
    }

    fn understand(
        &self,
        message: Result<Option<OperatorMessage>, tonic::Status>,
    ) -> Result<FromOperator, SessionError> {
        match message {
            Ok(Some(message)) => receive(message).map_err(|e| self.protocol(&e.to_string())),
            Ok(None) => Err(self.broken("the operator has ended it")),
            Err(status) => Err(dial::refusal(self.address, &status)),
        }
    }

    fn broken(&self, message: &str) -> SessionError {
        SessionError::Broken {
            address: self.address.to_owned(),
            message: message.to_owned(),
        }
    }

    fn protocol(&self, what: &str) -> SessionError {
        SessionError::Protocol {
            address: self.address.to_owned(),
            what: what.to_owned(),
        }
    }
}
