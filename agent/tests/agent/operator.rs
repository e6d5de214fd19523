//! An operator that the test plays: its own authority, the real service over TLS.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use dc_proto::session::{AgentSays, OperatorSays, Welcome, send};
use dc_proto::wire::agent_server::{Agent, AgentServer};
use dc_proto::wire::{
    AgentMessage, JoinRequest, JoinResponse, OperatorMessage, RenewRequest, RenewResponse,
};
use dc_proto::{LEADER_METADATA, OPERATOR_TLS_NAME, OnWire};
use dc_types::report::Hello;
use dc_types::{HostName, Sequence, Term};
use futures::{Stream, StreamExt};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, IsCa, Issuer, KeyPair, SanType,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use crate::host::DEADLINE;

pub const TOKEN: &str = "a-token-of-one-time";

/// What the test hears from the agent.
#[derive(Debug)]
pub enum Heard {
    Says(AgentSays),
    End,
}

/// One session, as the operator sees it. Dropping it breaks the line.
pub struct Talk {
    pub hello: Hello,
    /// The client's certificate, DER.
    pub certificate: Vec<u8>,
    term: Term,
    incoming: Streaming<AgentMessage>,
    out: mpsc::Sender<Result<OperatorMessage, Status>>,
}

impl Talk {
    pub async fn welcome(&mut self, term: Term) {
        let host = self.hello.host.to_string();
        self.welcome_as(&host, term).await;
    }

    pub async fn welcome_as(&mut self, host: &str, term: Term) {
        self.term = term;
        let welcome = Welcome {
            host: HostName::new(host).unwrap(),
            operator: "played".into(),
            operators: Vec::new(),
        };
        self.say(0, OperatorSays::Welcome(welcome)).await;
    }

    /// The agent may have hung up already; the test finds out by listening.
    pub async fn say(&mut self, sequence: u64, says: OperatorSays) {
        let message = send(self.term, Sequence(sequence), &says);
        let _ = self.out.send(Ok(message)).await;
    }

    /// Listens until something is heard.
    pub async fn until(&mut self, what: &str, is_it: impl Fn(&Heard) -> bool) {
        let mut all = Vec::new();
        let listening = async {
            loop {
                let heard = match self.incoming.message().await {
                    Ok(Some(message)) => Heard::Says(AgentSays::from_wire(message).unwrap()),
                    Ok(None) | Err(_) => Heard::End,
                };
                let found = is_it(&heard);
                let end = matches!(heard, Heard::End);
                all.push(heard);
                if found || end {
                    return found;
                }
            }
        };
        let found = tokio::time::timeout(DEADLINE, listening).await;
        assert!(matches!(found, Ok(true)), "{what}: {all:#?}");
    }
}

pub struct Played {
    address: SocketAddr,
    shared: Arc<Shared>,
    sessions: mpsc::Receiver<Talk>,
    server: JoinHandle<()>,
}

impl Drop for Played {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Shared {
    ca_pem: String,
    ca_key_pem: String,
    life: Duration,
    leader: Option<String>,
    sessions: mpsc::Sender<Talk>,
    connections: AtomicUsize,
    asked_to_join: AtomicUsize,
    joined: AtomicUsize,
    renewed: AtomicUsize,
}

impl Played {
    pub async fn start() -> Self {
        Self::start_with_life(Duration::from_secs(86_400)).await
    }

    /// Certificates of hosts live this long.
    pub async fn start_with_life(life: Duration) -> Self {
        let (ca_pem, ca_key_pem) = authority();
        Self::serve(ca_pem, ca_key_pem, life, None).await
    }

    /// An operator of the same authority that does not lead.
    pub async fn follower_of(leader: &Self) -> Self {
        Self::serve(
            leader.shared.ca_pem.clone(),
            leader.shared.ca_key_pem.clone(),
            leader.shared.life,
            Some(leader.address()),
        )
        .await
    }

    async fn serve(
        ca_pem: String,
        ca_key_pem: String,
        life: Duration,
        leader: Option<String>,
    ) -> Self {
        let (sessions, next) = mpsc::channel(8);
        let shared = Arc::new(Shared {
            life,
            leader,
            sessions,
            connections: AtomicUsize::default(),
            asked_to_join: AtomicUsize::default(),
            joined: AtomicUsize::default(),
            renewed: AtomicUsize::default(),
            ca_pem,
            ca_key_pem,
        });
        let (certificate, key) = shared.sign_operator();
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(&shared.ca_pem))
            .client_auth_optional(true);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counting = shared.clone();
        let incoming = TcpListenerStream::new(listener).inspect(move |_| {
            counting.connections.fetch_add(1, Ordering::SeqCst);
        });
        let service = AgentServer::new(Service(shared.clone()));
        let server = Server::builder().tls_config(tls).unwrap();
        let serving = async move {
            let mut server = server;
            server
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        };
        Self {
            address,
            shared,
            sessions: next,
            server: tokio::spawn(serving),
        }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn join_file(&self, host: &str) -> String {
        serde_json::json!({
            "host": host,
            "token": TOKEN,
            "ca": self.shared.ca_pem,
            "operator": self.address(),
        })
        .to_string()
    }

    /// The next session that an agent begins.
    pub async fn next_session(&mut self) -> Talk {
        let next = tokio::time::timeout(DEADLINE, self.sessions.recv()).await;
        next.expect("no agent has come").unwrap()
    }

    pub fn joined(&self) -> usize {
        self.shared.joined.load(Ordering::SeqCst)
    }

    pub fn asked_to_join(&self) -> usize {
        self.shared.asked_to_join.load(Ordering::SeqCst)
    }

    pub fn renewed(&self) -> usize {
        self.shared.renewed.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn authority() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = named("authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

impl Shared {
    fn issuer(&self) -> Issuer<'static, KeyPair> {
        let key = KeyPair::from_pem(&self.ca_key_pem).unwrap();
        Issuer::from_ca_cert_pem(&self.ca_pem, key).unwrap()
    }

    fn sign_operator(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(OPERATOR_TLS_NAME.try_into().unwrap())];
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn sign_host(&self, host: &str, csr_pem: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = named(host);
        params.not_before = SystemTime::now().into();
        params.not_after = (SystemTime::now() + self.life).into();
        request.params = params;
        request.signed_by(&self.issuer()).unwrap().pem()
    }
}

struct Service(Arc<Shared>);

type Answers = Pin<Box<dyn Stream<Item = Result<OperatorMessage, Status>> + Send>>;

impl Service {
    fn leads(&self) -> Result<(), Status> {
        let Some(leader) = &self.0.leader else {
            return Ok(());
        };
        let mut status = Status::failed_precondition("this operator does not lead");
        let leader = leader.parse().unwrap();
        status.metadata_mut().insert(LEADER_METADATA, leader);
        Err(status)
    }
}

#[tonic::async_trait]
impl Agent for Service {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        self.0.asked_to_join.fetch_add(1, Ordering::SeqCst);
        self.leads()?;
        let request = request.into_inner();
        if request.token.map(|t| t.text).as_deref() != Some(TOKEN) {
            return Err(Status::permission_denied("the token is wrong"));
        }
        if self.0.joined.fetch_add(1, Ordering::SeqCst) > 0 {
            return Err(Status::permission_denied("the token was used"));
        }
        Ok(Response::new(JoinResponse {
            certificate_pem: self.0.sign_host(&request.host, &request.csr_pem),
            ca_pem: self.0.ca_pem.clone(),
        }))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        request
            .peer_certs()
            .ok_or_else(|| Status::unauthenticated("no certificate"))?;
        self.0.renewed.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(RenewResponse {
            certificate_pem: self.0.sign_host("h1", &request.into_inner().csr_pem),
            ca_pem: self.0.ca_pem.clone(),
        }))
    }

    type SessionStream = Answers;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Answers>, Status> {
        self.leads()?;
        let certificates = request.peer_certs();
        let certificates = certificates.ok_or_else(|| Status::unauthenticated("no certificate"))?;
        let certificate = certificates[0].to_vec();
        let mut incoming = request.into_inner();
        let (out, outgoing) = mpsc::channel(16);
        let sessions = self.0.sessions.clone();
        tokio::spawn(async move {
            let Ok(Some(first)) = incoming.message().await else {
                return;
            };
            let Ok(AgentSays::Hello(hello)) = AgentSays::from_wire(first) else {
                panic!("the first message is no Hello");
            };
            let talk = Talk {
                hello: *hello,
                certificate,
                term: Term::default(),
                incoming,
                out,
            };
            let _ = sessions.send(talk).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}
