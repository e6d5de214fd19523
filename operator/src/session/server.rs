//! The TLS server around the sessions.
//!
//! A client certificate is optional for TLS, because a host that joins has none yet; every call but
//! Join asks for it.

use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use super::Sessions;
use crate::join::authority::ServerIdentity;

/// A host that does not answer a ping for this long is silent: with the interval, it shows within
/// 10 s of a host's death.
const PING: Duration = Duration::from_secs(5);

/// A handshake takes a few ms; more is a stuck peer.
const HANDSHAKE: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub enum ServerError {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("the agents' server cannot be set up")]
    Tls(#[source] tonic::transport::Error),
    #[error("the agents' server has ended")]
    Serve(#[source] tonic::transport::Error),
}

/// Where agents connect; bound, and not served yet.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServerError::Listen { address, source })
}

/// Serves until `stop` resolves. Sessions end by the gate, which the caller closes first.
pub async fn serve(
    listener: TcpListener,
    sessions: Sessions,
    identity: &ServerIdentity,
    stop: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    let authority = sessions.joins.authority().certificate_pem().to_owned();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(
            &identity.certificate_pem,
            &identity.key_pem,
        ))
        .client_ca_root(Certificate::from_pem(authority))
        .client_auth_optional(true)
        .timeout(HANDSHAKE);
    Server::builder()
        .tls_config(tls)
        .map_err(ServerError::Tls)?
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PING))
        .tcp_nodelay(true)
        .add_service(sessions.into_service())
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await
        .map_err(ServerError::Serve)
}
