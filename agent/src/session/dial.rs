//! Lines to an operator: TLS that knows it by name, with our certificate or, to join, without.

use std::time::Duration;

use dc_proto::join::JoinFile;
use dc_proto::wire::agent_client::AgentClient;
use dc_proto::wire::{JoinRequest, JoinResponse, RenewRequest, RenewResponse};
use dc_proto::{LEADER_METADATA, MESSAGE_BYTES_MAX, OPERATOR_TLS_NAME, OnWire};
use dc_types::HostName;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use super::SessionError;
use crate::identity::{self, Identity};

/// A data centre's operator answers in milliseconds.
const CONNECT: Duration = Duration::from_secs(5);
/// Joining writes to the ledger and to Kubernetes.
const CALL: Duration = Duration::from_secs(30);
/// An operator that is gone is noticed within the two of these together.
const PING: Duration = Duration::from_secs(10);

pub type Line = AgentClient<Channel>;

/// A line on which we are known by our certificate.
pub async fn dial(address: &str, identity: &Identity) -> Result<Line, SessionError> {
    let tls = trusting(&identity.ca_pem).identity(tonic::transport::Identity::from_pem(
        &identity.certificate_pem,
        &identity.key_pem.0,
    ));
    connect(address, tls).await
}

/// Gets the first certificate.
pub async fn join(
    host: &HostName,
    address: &str,
    file: &JoinFile,
) -> Result<Identity, SessionError> {
    let mut line = connect(address, trusting(&file.ca)).await?;
    let fresh = identity::make_key(host)?;
    let request = JoinRequest {
        host: host.to_string(),
        token: Some(file.token.to_wire()),
        csr_pem: fresh.csr_pem,
    };
    let answer = tokio::time::timeout(CALL, line.join(request)).await;
    let JoinResponse {
        certificate_pem,
        ca_pem,
    } = answered(address, answer)?;
    let digest = identity::token_digest(&file.token);
    Ok(Identity::new(
        fresh.key_pem,
        certificate_pem,
        ca_pem,
        digest,
    )?)
}

/// Gets the next certificate.
pub async fn renew(
    host: &HostName,
    address: &str,
    mut line: Line,
    now: &Identity,
) -> Result<Identity, SessionError> {
    let fresh = identity::make_key(host)?;
    let request = RenewRequest {
        csr_pem: fresh.csr_pem,
    };
    let answer = tokio::time::timeout(CALL, line.renew(request)).await;
    let RenewResponse {
        certificate_pem,
        ca_pem,
    } = answered(address, answer)?;
    Ok(now.renewed(fresh.key_pem, certificate_pem, ca_pem)?)
}

fn trusting(ca_pem: &str) -> ClientTlsConfig {
    ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca_pem))
        .domain_name(OPERATOR_TLS_NAME)
}

async fn connect(address: &str, tls: ClientTlsConfig) -> Result<Line, SessionError> {
    let unreachable = |error: tonic::transport::Error| SessionError::Unreachable {
        address: address.to_owned(),
        message: with_sources(&error),
    };
    let channel = Endpoint::from_shared(format!("https://{address}"))
        .map_err(unreachable)?
        .tls_config(tls)
        .map_err(unreachable)?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect()
        .await
        .map_err(unreachable)?;
    Ok(AgentClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

fn answered<T>(
    address: &str,
    answer: Result<Result<tonic::Response<T>, Status>, tokio::time::error::Elapsed>,
) -> Result<T, SessionError> {
    match answer {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(refusal(address, &status)),
        Err(_) => Err(SessionError::Unreachable {
            address: address.to_owned(),
            message: format!("no answer within {} s", CALL.as_secs()),
        }),
    }
}

/// What a status of the operator means to us.
pub fn refusal(address: &str, status: &Status) -> SessionError {
    let address = address.to_owned();
    let message = status.message().to_owned();
    match status.code() {
        Code::FailedPrecondition => SessionError::NotLeading {
            address,
            leader: status
                .metadata()
                .get(LEADER_METADATA)
                .and_then(|leader| leader.to_str().ok())
                .map(str::to_owned),
        },
        Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument => {
            SessionError::Refused { address, message }
        }
        code => SessionError::Broken {
            address,
            message: format!("{code:?}: {message}"),
        },
    }
}

/// tonic says "transport error" and keeps the cause to itself.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
