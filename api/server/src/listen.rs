//! Connections: TLS where a certificate is given, bounded in number, and in the time that a client
//! may take for the TLS greeting and for a request's head. (For the body: [`crate::door::body`].)

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::door::Peer;

/// More than followers of changes may be, and so many that their memory is still small.
const CONNECTIONS: usize = 8192;
/// Of a request's head, with its token.
const HEAD_BYTES: usize = 64 * 1024;
const HEADERS: usize = 64;
/// After the process was told to end.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
#[error("the certificate or the key for TLS cannot be used")]
pub struct TlsError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// From PEM texts.
pub fn tls(certificates: &[u8], key: &[u8]) -> Result<TlsAcceptor, TlsError> {
    let pem = |error: rustls::pki_types::pem::Error| TlsError(Box::new(error));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let key = PrivateKeyDer::from_pem_slice(key).map_err(pem)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            let builder = builder.with_no_client_auth();
            builder.with_single_cert(chain.unwrap_or_default(), key)
        });
    let config = config.map_err(|error| TlsError(Box::new(error)))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until `stop` resolves; then what is under way may end.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    head_deadline: Duration,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return Ok(());
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Of that one client, or no file descriptor is left: others end in a moment.
                tracing::warn!(%error, "a connection was not taken");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            let _place = place;
            connection(stream, Peer(peer), tls, router, head_deadline).await;
        });
    }
    drop(listener);
    // Followers of changes never end by themselves.
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(GRACE, room.acquire_many(all)).await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    tls: Option<TlsAcceptor>,
    router: Router,
    head_deadline: Duration,
) {
    match tls {
        None => requests(stream, peer, router, head_deadline).await,
        Some(tls) => match tokio::time::timeout(head_deadline, tls.accept(stream)).await {
            Ok(Ok(stream)) => requests(stream, peer, router, head_deadline).await,
            Ok(Err(error)) => tracing::debug!(peer = %peer.0, %error, "no TLS"),
            Err(_) => tracing::debug!(peer = %peer.0, "the TLS greeting took too long"),
        },
    }
}

async fn requests<S>(stream: S, peer: Peer, router: Router, head_deadline: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_deadline)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(peer = %peer.0, %error, "a connection ended early");
    }
}
