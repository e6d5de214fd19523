//! The few HTTP requests the lab itself makes.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Client;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::pki::Pki;

/// All of it is loopback; a longer silence is a hang.
const TIMEOUT: Duration = Duration::from_secs(10);

fn builder(tls: ClientConfig) -> Result<Client> {
    let builder = Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .tls_backend_preconfigured(tls);
    Ok(builder.build()?)
}

fn config(
    roots: RootCertStore,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots))
}

/// For plain HTTP.
pub fn plain() -> Result<Client> {
    builder(config(RootCertStore::empty())?.with_no_client_auth())
}

/// Trusts the lab's CA, and is nobody.
pub fn trusting(ca: &std::path::Path) -> Result<Client> {
    let pem = fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem)?)?;
    builder(config(roots)?.with_no_client_auth())
}

/// Trusts the lab's CA and is the lab's administrator.
pub fn admin(pki: &Pki) -> Result<Client> {
    let read = |path: &std::path::Path| {
        fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&read(&pki.ca)?)?)?;
    let cert = CertificateDer::from_pem_slice(&read(&pki.admin.cert)?)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&pki.admin.key)?)?;
    builder(config(roots)?.with_client_auth_cert(vec![cert], key)?)
}

/// One look at a health endpoint: anything but success is an error that says what it said.
pub async fn probe(client: &Client, url: &str) -> Result<()> {
    let answer = client.get(url).send().await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    bail!("{url} says {status}: {}", answer.text().await?)
}
