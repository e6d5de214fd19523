//! The side of the protocol that agents dial: joining, renewing, sessions.
//!
//! Who speaks is said by the certificate alone; a message that names another host ends the session.
//! Only the leader speaks to agents, within the term whose [`Gate`] is open: when the term ends,
//! every session ends with it, and a follower says where the leader is. Each host has one session,
//! its latest.
//!
//! What is sent is decided in [`outbox`]; one session's life is [`run`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dc_operator_core::claims::HostIdentity;
use dc_proto::MESSAGE_BYTES_MAX;
use dc_proto::wire::agent_server::{Agent, AgentServer};
use dc_proto::wire::{
    AgentMessage, JoinRequest, JoinResponse, OperatorMessage, RenewRequest, RenewResponse,
};
use dc_types::{HostName, Term};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::board::Board;
use crate::join::authority::{Issued, end_of_certificate, fingerprint, host_of_certificate};
use crate::join::{JoinError, Joins};
use crate::leader::Leader;
use crate::ledger::{Change, Ledger};
use crate::metrics::Metrics;
use crate::observed::Observed;
use crate::operator::Parts;
use inventory::{Asked, Inventories};
use refusal::Refusal;

pub mod inventory;
pub mod outbox;
mod refusal;
mod run;
pub mod server;

/// Messages on the way to one host: one being written and one ready. More would only grow old;
/// what changes meanwhile is gathered in the outbox.
const OUTGOING: usize = 2;

/// The term within which sessions are served; closed while there is none.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<Option<Term>>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Gate {
    /// From now on sessions are served, under this term.
    pub fn open(&self, term: Term) {
        self.0.send_replace(Some(term));
    }

    /// Ends all sessions.
    pub fn close(&self) {
        self.0.send_replace(None);
    }

    fn watch(&self) -> watch::Receiver<Option<Term>> {
        self.0.subscribe()
    }
}

/// Everything sessions need. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    ledger: Ledger,
    leader: Leader,
    gate: Gate,
    board: Board,
    observed: Observed,
    metrics: Metrics,
    joins: Joins,
    inventories: Inventories,
    /// This operator's own address for agents, and name in their logs.
    advertise: String,
    /// The number of each host's latest session.
    latest: Arc<Mutex<HashMap<HostName, Slot>>>,
}

/// One host's place: its latest session, and the lock that the session holds while it lives.
#[derive(Clone)]
struct Slot {
    number: Arc<watch::Sender<u64>>,
    busy: Arc<tokio::sync::Mutex<()>>,
}

impl Slot {
    /// The number of a new session, which ends the one before.
    fn next(&self) -> u64 {
        let mut number = 0;
        self.number.send_modify(|latest| {
            *latest += 1;
            number = *latest;
        });
        number
    }
}

impl Sessions {
    /// Also begins to carry recorded releases from the ledger to the sessions.
    #[must_use]
    pub fn new(parts: &Parts, gate: &Gate, joins: &Joins, inventories: &Inventories) -> Self {
        tokio::spawn(carry_releases(
            parts.ledger.subscribe(),
            parts.board.clone(),
        ));
        Self {
            ledger: parts.ledger.clone(),
            leader: parts.leader.clone(),
            gate: gate.clone(),
            board: parts.board.clone(),
            observed: parts.observed.clone(),
            metrics: parts.metrics.clone(),
            joins: joins.clone(),
            inventories: inventories.clone(),
            advertise: joins.advertise().to_owned(),
            latest: Arc::default(),
        }
    }

    /// The service, for a server of its own (see [`server`]).
    #[must_use]
    pub fn into_service(self) -> AgentServer<Self> {
        AgentServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn slot(&self, host: &HostName) -> Slot {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = latest.entry(host.clone()).or_insert_with(|| Slot {
            number: Arc::new(watch::Sender::new(0)),
            busy: Arc::default(),
        });
        slot.clone()
    }

    /// The open term, or where else to ask.
    fn term(&self) -> Result<Term, Refusal> {
        if self.ledger.is_distrusted() {
            return Err(Refusal::Distrusted);
        }
        match *self.gate.0.borrow() {
            Some(term) => Ok(term),
            None => {
                let leader = self.leader.address();
                let leader = leader.filter(|leader| *leader != self.advertise);
                Err(Refusal::NotLeading { leader })
            }
        }
    }

    /// The host that the peer's certificate names, if it is that host's latest certificate.
    fn authenticate<T>(&self, request: &Request<T>) -> Result<(HostName, String), Refusal> {
        let certificates = request.peer_certs().ok_or(Refusal::NoCertificate)?;
        let certificate = certificates.first().ok_or(Refusal::NoCertificate)?;
        let host = host_of_certificate(certificate).map_err(JoinError::Authority)?;
        let fingerprint = fingerprint(certificate);
        self.joins.check(&host, &fingerprint)?;
        Ok((host, fingerprint))
    }

    /// The host that is asked what it holds, by any certificate that the authority signed.
    fn asked<T>(&self, request: &Request<T>, incarnation: u64) -> Result<Asked, Refusal> {
        let certificates = request.peer_certs().ok_or(Refusal::NoCertificate)?;
        let certificate = certificates.first().ok_or(Refusal::NoCertificate)?;
        let host = host_of_certificate(certificate).map_err(JoinError::Authority)?;
        let identity = HostIdentity {
            fingerprint: fingerprint(certificate),
            previous: None,
            not_after: end_of_certificate(certificate).map_err(JoinError::Authority)?,
            rejoin: None,
        };
        Ok(Asked {
            host,
            identity,
            incarnation,
            operator: self.advertise.clone(),
        })
    }

    async fn try_join(&self, request: JoinRequest) -> Result<Issued, Refusal> {
        self.term()?;
        let JoinRequest {
            host,
            token,
            csr_pem,
        } = request;
        let host = HostName::new(host).map_err(|error| Refusal::Unreadable(error.to_string()))?;
        let token = token.map(|secret| secret.text).unwrap_or_default();
        Ok(self.joins.join(&host, &token, &csr_pem).await?)
    }

    async fn try_renew(&self, request: Request<RenewRequest>) -> Result<Issued, Refusal> {
        self.term()?;
        let (host, fingerprint) = self.authenticate(&request)?;
        let RenewRequest { csr_pem } = request.into_inner();
        Ok(self.joins.renew(&host, &fingerprint, &csr_pem).await?)
    }

    fn refuse(&self, refusal: Refusal) -> Status {
        self.metrics.session_refused(refusal.reason());
        match &refusal {
            // Agents look for the leader all the time.
            Refusal::NotLeading { .. } => tracing::debug!(%refusal, "refused"),
            refusal => tracing::warn!(%refusal, "refused"),
        }
        refusal.into()
    }

    fn answer(&self, issued: Result<Issued, Refusal>) -> Result<Issued, Status> {
        match issued {
            Ok(issued) => {
                self.metrics.joined("done");
                Ok(issued)
            }
            Err(refusal) => {
                self.metrics.joined(refusal.reason());
                Err(self.refuse(refusal))
            }
        }
    }
}

#[tonic::async_trait]
impl Agent for Sessions {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let issued = self.answer(self.try_join(request.into_inner()).await)?;
        Ok(Response::new(JoinResponse {
            certificate_pem: issued.pem,
            ca_pem: self.joins.authority().certificate_pem().to_owned(),
        }))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        let issued = self.answer(self.try_renew(request).await)?;
        Ok(Response::new(RenewResponse {
            certificate_pem: issued.pem,
            ca_pem: self.joins.authority().certificate_pem().to_owned(),
        }))
    }

    type SessionStream = ReceiverStream<Result<OperatorMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (out, outgoing) = mpsc::channel(OUTGOING);
        let answer = Response::new(ReceiverStream::new(outgoing));
        if let Some(incarnation) = self.inventories.asking() {
            let asked = self.asked(&request, incarnation);
            let asked = asked.map_err(|refusal| self.refuse(refusal))?;
            let inventories = self.inventories.clone();
            tokio::spawn(inventories.ask(asked, request.into_inner(), out));
            return Ok(answer);
        }
        let term = self.term().map_err(|refusal| self.refuse(refusal))?;
        let (host, fingerprint) = self
            .authenticate(&request)
            .map_err(|refusal| self.refuse(refusal))?;
        let session = run::Session::new(self.clone(), host, fingerprint, term, out);
        tokio::spawn(session.run(request.into_inner()));
        Ok(answer)
    }
}

/// Wakes the session of a host whose recorded releases have changed. One task for all sessions, so
/// that a change of the ledger does not wake thousands.
async fn carry_releases(mut changes: tokio::sync::broadcast::Receiver<Change>, board: Board) {
    loop {
        match changes.recv().await {
            Ok(Change::Key(key)) => {
                let host = key.strip_prefix(dc_types::claim::keys::RELEASE);
                let host = host.and_then(|rest| rest.split('/').next());
                if let Some(host) = host.and_then(|host| HostName::new(host).ok()) {
                    board.touch_releases(&host);
                }
            }
            Err(RecvError::Lagged(_)) => board.touch_all_releases(),
            Err(RecvError::Closed) => return,
        }
    }
}
