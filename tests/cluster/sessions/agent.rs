//! The bare other side of the protocol: it says what the test wants, right or wrong.

use std::time::Duration;

use dc_operator::join::token::Token;
use dc_proto::OnWire;
use dc_proto::session::{AgentSays, FromOperator, receive};
use dc_proto::wire::agent_client::AgentClient;
use dc_proto::wire::{AgentMessage, JoinRequest, OperatorMessage, RenewRequest, Secret};
use dc_types::report::{Accelerator, Held, Hello, HostFacts, Role};
use dc_types::{HostName, MiB, Term};
use rcgen::{CertificateParams, KeyPair};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Status, Streaming};

const DEADLINE: Duration = Duration::from_secs(300);

/// Long enough for a message that is on its way, on a busy machine.
const QUIET: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub struct Credentials {
    address: String,
    ca: String,
    pair: Option<(String, String)>,
}

pub fn facts(vcpus: u32) -> HostFacts {
    HostFacts {
        boot_id: "b".into(),
        roles: vec![Role::Compute],
        vcpus,
        memory: MiB(1024),
        memory_available: MiB(1024),
        machine_types: vec![],
        firmwares: vec![],
        accelerator: Accelerator::Tcg,
        cpu_models: vec![],
        overlay: "10.0.0.1".parse().unwrap(),
        portal: None,
        pools: vec![],
    }
}

pub fn hello(host: &str, held: Vec<Held>) -> Hello {
    Hello {
        host: HostName::new(host).unwrap(),
        version: "test".into(),
        term: Term::default(),
        held,
        facts: facts(4),
    }
}

/// A key and a request for it, in PEM.
fn key_and_request() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    (key.serialize_pem(), request.pem().unwrap())
}

/// Joins as `host` with the token.
pub async fn join(token: &Token, host: &str) -> Result<Credentials, Status> {
    let (key, csr) = key_and_request();
    let certificate = request(token, host, &csr).await?;
    Ok(Credentials {
        pair: Some((certificate, key)),
        ..Credentials::none(token)
    })
}

/// Asks for a certificate; answers it in PEM.
pub async fn request(token: &Token, host: &str, csr: &str) -> Result<String, Status> {
    let channel = Credentials::none(token).connect().await?;
    let request = JoinRequest {
        host: host.into(),
        token: Some(Secret {
            text: token.file.token.0.clone(),
        }),
        csr_pem: csr.into(),
    };
    let answer = AgentClient::new(channel).join(request).await?;
    Ok(answer.into_inner().certificate_pem)
}

pub async fn renew(credentials: &Credentials, _host: &str) -> Result<Credentials, Status> {
    let (key, csr_pem) = key_and_request();
    let mut client = AgentClient::new(credentials.connect().await?);
    let answer = client.renew(RenewRequest { csr_pem }).await?.into_inner();
    Ok(Credentials {
        pair: Some((answer.certificate_pem, key)),
        ..credentials.clone()
    })
}

impl Credentials {
    /// Who has no certificate.
    pub fn none(token: &Token) -> Self {
        Self {
            address: token.file.operator.clone(),
            ca: token.file.ca.clone(),
            pair: None,
        }
    }

    /// The same host at another operator.
    pub fn at(&self, address: &str) -> Self {
        Self {
            address: address.to_owned(),
            ..self.clone()
        }
    }

    async fn connect(&self) -> Result<Channel, Status> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca));
        if let Some((certificate, key)) = &self.pair {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).unwrap();
        let connected = endpoint.tls_config(tls).unwrap().connect().await;
        connected.map_err(|error| Status::unavailable(format!("{error:?}")))
    }

    /// As [`session`](Self::session), with an operator that may not be there.
    pub async fn try_session(&self, hello: Hello) -> Result<Line, Status> {
        if tokio::net::TcpStream::connect(&self.address).await.is_err() {
            // Its port is closed until it is back.
            tokio::time::sleep(QUIET).await;
            return Err(Status::unavailable("nobody listens"));
        }
        self.session(hello).await
    }

    pub async fn session(&self, hello: Hello) -> Result<Line, Status> {
        let (say, said) = mpsc::channel(16);
        say.send(AgentSays::Hello(Box::new(hello)).to_wire())
            .await
            .unwrap();
        let mut client = AgentClient::new(self.connect().await?);
        let hear = client
            .session(ReceiverStream::new(said))
            .await?
            .into_inner();
        Ok(Line { say, hear })
    }
}

#[derive(Debug)]
pub struct Line {
    say: mpsc::Sender<AgentMessage>,
    hear: Streaming<OperatorMessage>,
}

impl Line {
    pub async fn say(&self, says: AgentSays) {
        self.say.send(says.to_wire()).await.unwrap();
    }

    /// The same to an operator that may have ended by now.
    pub async fn try_say(&self, says: AgentSays) {
        // What follows finds out.
        let _ = self.say.send(says.to_wire()).await;
    }

    /// The next message, or why there is none.
    pub async fn next(&mut self) -> Result<FromOperator, Status> {
        let message = tokio::time::timeout(DEADLINE, self.hear.message()).await;
        match message.expect("the operator is silent")? {
            Some(message) => Ok(receive(message).unwrap()),
            None => Err(Status::cancelled("the session was closed")),
        }
    }

    /// The next message, however long it takes.
    pub async fn listen(&mut self) -> Result<FromOperator, Status> {
        match self.hear.message().await? {
            Some(message) => Ok(receive(message).unwrap()),
            None => Err(Status::cancelled("the session was closed")),
        }
    }

    /// Whether nothing comes.
    pub async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(QUIET, self.hear.message())
            .await
            .is_err()
    }

    /// Ends the session from this side, and waits until the other has seen it.
    pub async fn finish(self) {
        let Self { say, mut hear } = self;
        drop(say);
        while let Ok(Some(_)) = hear.message().await {}
    }
}
