//! A server of restic's REST protocol, version 2, over TLS.
//!
//! An append-only server refuses to remove anything but locks, and to write a name again. So an
//! answer that was lost needs care: the write that is sent again is refused, and is done if the file
//! is there at its full size. The server itself compares what it gets with the name's hash.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use backon::{BlockingRetryable, ExponentialBuilder};
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::{StatusCode, Url, header};
use rustic_core::Id;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use super::{Kind, Store, StoreError};

/// A pack of 16 MiB over a line that is nearly dead.
const TIMEOUT: Duration = Duration::from_mins(5);

/// A server that is away says nothing at all.
const CONNECT: Duration = Duration::from_secs(10);

/// A quarter of a second, doubled each time: some 8 seconds in all, for a server that restarts.
const TRIES: usize = 5;
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Where the server is, and how one gets in.
#[derive(Clone)]
pub struct RestAddress {
    /// `https://host:port/repository/`.
    pub url: String,
    pub user: String,
    pub password: String,
    /// Whose certificates are trusted, in PEM; empty: those that this host trusts.
    pub ca_pem: String,
}

impl fmt::Debug for RestAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, user, .. } = self;
        let shown = f.debug_struct("RestAddress").field("url", url).finish();
        shown.and_then(|()| write!(f, " as {user}"))
    }
}

pub struct RestStore {
    url: Url,
    address: RestAddress,
    client: Client,
}

impl fmt::Debug for RestStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RestStore({:?})", self.address)
    }
}

/// What the server says of one file.
#[derive(Deserialize)]
struct Listed {
    name: String,
    size: u64,
}

impl RestStore {
    /// # Errors
    /// When the address is none of HTTPS, or the certificates are none.
    pub fn new(address: RestAddress) -> Result<Self, StoreError> {
        let fault = |said: String| StoreError::Failed {
            at: address.url.clone(),
            what: "used as an address",
            said,
        };
        let slashed = format!("{}/", address.url.trim_end_matches('/'));
        let url = Url::parse(&slashed).map_err(|error| fault(error.to_string()))?;
        if url.scheme() != "https" {
            return Err(fault("only https is spoken".to_owned()));
        }
        let tls = tls(&address.ca_pem).map_err(fault)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT)
            // Beside the proxies of the environment: the backup network has none.
            .no_proxy()
            .build()
            .map_err(|error| fault(error.to_string()))?;
        Ok(Self {
            url,
            address,
            client,
        })
    }

    fn file(&self, kind: Kind, id: Id) -> String {
        match kind {
            Kind::Config => "config".to_owned(),
            _ => format!("{}/{}", kind.folder(), id.to_hex().as_str()),
        }
    }

    /// Asks, again while the server is out of reach or in trouble, and sorts the answer.
    fn ask(
        &self,
        what: &'static str,
        path: &str,
        request: impl Fn(Url) -> RequestBuilder,
    ) -> Result<Response, StoreError> {
        let at = format!("{}{path}", self.url);
        let url = self.url.join(path).map_err(|error| StoreError::Failed {
            at: at.clone(),
            what,
            said: error.to_string(),
        })?;
        let once = || {
            let request =
                request(url.clone()).basic_auth(&self.address.user, Some(&self.address.password));
            let answer = request.send().map_err(|error| StoreError::Unreachable {
                at: at.clone(),
                said: chain(&error),
            })?;
            sort(answer, &at, what)
        };
        let waits = ExponentialBuilder::default()
            .with_min_delay(FIRST_WAIT)
            .with_max_times(TRIES);
        once.retry(waits)
            .when(|error| matches!(error, StoreError::Unreachable { .. }))
            .call()
    }

    fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        match self.ask("looked at", path, |url| self.client.head(url)) {
            Ok(answer) => {
                let length = answer.headers().get(header::CONTENT_LENGTH);
                Ok(length.and_then(|length| length.to_str().ok()?.parse().ok()))
            }
            Err(StoreError::NotThere { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn tls(ca_pem: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if ca_pem.is_empty() {
        // What of the host's store cannot be read is not trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err(
            "no certificate is given, or trusted by this host, that the server's is signed by"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The whole chain: of a failed connection, reqwest's own sentence says least.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

fn sort(answer: Response, at: &str, what: &'static str) -> Result<Response, StoreError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let (at, said) = (at.to_owned(), status.to_string());
    Err(match status {
        StatusCode::NOT_FOUND => StoreError::NotThere { at },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => {
            StoreError::Refused { at, what, said }
        }
        StatusCode::INSUFFICIENT_STORAGE | StatusCode::PAYLOAD_TOO_LARGE => {
            StoreError::Full { at, said }
        }
        // It may pass, so it is asked again.
        _ if status.is_server_error() => StoreError::Unreachable { at, said },
        _ => StoreError::Failed { at, what, said },
    })
}

impl Store for RestStore {
    fn location(&self) -> String {
        self.url.to_string()
    }

    fn create(&self) -> Result<(), StoreError> {
        let path = "?create=true";
        self.ask("made", path, |url| self.client.post(url))
            .map(drop)
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, StoreError> {
        if kind == Kind::Config {
            let there = self.size("config")?;
            return Ok(there
                .map(|size| (Id::default(), size))
                .into_iter()
                .collect());
        }
        let path = format!("{}/", kind.folder());
        let answer = self.ask("listed", &path, |url| {
            let version = "application/vnd.x.restic.rest.v2";
            self.client.get(url).header(header::ACCEPT, version)
        });
        let answer = match answer {
            Err(StoreError::NotThere { .. }) => return Ok(Vec::new()),
            other => other?,
        };
        // An empty folder is null to some servers.
        let listed: Option<Vec<Listed>> = answer.json().map_err(|error| StoreError::Failed {
            at: format!("{}{path}", self.url),
            what: "listed",
            said: chain(&error),
        })?;
        let files = listed.unwrap_or_default().into_iter();
        Ok(files
            .filter_map(|file| Some((file.name.parse().ok()?, file.size)))
            .collect())
    }

    fn read(&self, kind: Kind, id: Id, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        let path = self.file(kind, id);
        let answer = self.ask("read", &path, |url| {
            let request = self.client.get(url);
            match &range {
                Some(range) => {
                    let last = range.end.saturating_sub(1);
                    request.header(header::RANGE, format!("bytes={}-{last}", range.start))
                }
                None => request,
            }
        })?;
        let fault = |said| StoreError::Failed {
            at: format!("{}{path}", self.url),
            what: "read",
            said,
        };
        let bytes = answer.bytes().map_err(|error| fault(chain(&error)))?;
        match range {
            Some(range) if bytes.len() as u64 != range.end.saturating_sub(range.start) => {
                Err(fault(format!("{} bytes came of {range:?}", bytes.len())))
            }
            _ => Ok(bytes.into()),
        }
    }

    fn write(&self, kind: Kind, id: Id, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.file(kind, id);
        let body = bytes::Bytes::copy_from_slice(bytes);
        let written = self.ask("written", &path, |url| {
            self.client.post(url).body(body.clone())
        });
        match written {
            Ok(_) => Ok(()),
            Err(error) if kind == Kind::Config => Err(error),
            Err(error @ StoreError::Refused { .. }) => match self.size(&path) {
                Ok(Some(size)) if size == bytes.len() as u64 => Ok(()),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn remove(&self, kind: Kind, id: Id) -> Result<(), StoreError> {
        match self.ask("removed", &self.file(kind, id), |url| {
            self.client.delete(url)
        }) {
            Err(StoreError::NotThere { .. }) => Ok(()),
            other => other.map(drop),
        }
    }
}
