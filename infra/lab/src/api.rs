//! The departments' API as a process beside the control plane, under the chart's own service
//! account, trusting the lab's identity provider.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::address::Port;
use crate::chart::NAMESPACE;
use crate::control_plane::{ControlPlane, http, look_alive, pki};
use crate::dex::{CLIENT, Dex};
use crate::helm;
use crate::lab::Lab;
use crate::process::{self, Ensured, Restart, Spec};
use crate::wait;

pub const PROCESS: &str = "api";
pub const SERVICE_ACCOUNT: &str = "dc-api";

/// Caches fill in seconds; a busy machine is slower.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// Where departments are served.
pub fn url(lab: &Lab) -> String {
    format!("https://{}", lab.addresses().loopback(Port::Api))
}

/// Where `/metrics`, `/healthz` and `/readyz` are.
pub fn http_url(lab: &Lab) -> String {
    format!("http://{}", lab.addresses().loopback(Port::ApiHttp))
}

pub fn audit_log(lab: &Lab) -> PathBuf {
    lab.folder().join("api/audit.jsonl")
}

/// Starts the API, or keeps the one that runs, and waits until it is ready. `more` are further
/// arguments. The chart has to be installed.
pub async fn ensure(
    plane: &ControlPlane,
    program: &Path,
    dex: &Dex,
    more: &[&str],
) -> Result<Ensured> {
    let lab = plane.lab();
    let kubectl = plane.kubectl()?;
    let account = helm::service_account_kubeconfig(lab, &kubectl, NAMESPACE, SERVICE_ACCOUNT)?;
    let pki = pki(lab)?;
    lab.subfolder("api")?;
    let text = |path: &Path| path.display().to_string();
    let address = |port: Port| lab.addresses().loopback(port).to_string();
    let mut spec = Spec::new(PROCESS, program)
        .arg("serve")
        .args(["--kubeconfig".to_owned(), text(&account)])
        .args(["--listen".to_owned(), address(Port::Api)])
        .args(["--public-url".to_owned(), url(lab)])
        .args(["--tls-cert".to_owned(), text(&pki.api.cert)])
        .args(["--tls-key".to_owned(), text(&pki.api.key)])
        .args(["--http".to_owned(), address(Port::ApiHttp)])
        .args(["--audit-log".to_owned(), text(&audit_log(lab))])
        .args(["--oidc-issuer".to_owned(), dex.issuer.clone()])
        .args(["--oidc-audience", CLIENT])
        .args(["--oidc-ca".to_owned(), text(&dex.ca)])
        .args(more.iter().copied())
        .restart(Restart::Always);
    if let Ok(filter) = std::env::var("RUST_LOG") {
        spec = spec.env("RUST_LOG", filter);
    }
    let ensured = process::ensure(lab, &spec)?;
    wait_ready(lab).await?;
    Ok(ensured)
}

pub async fn wait_ready(lab: &Lab) -> Result<()> {
    let client = http::plain()?;
    let readyz = format!("{}/readyz", http_url(lab));
    wait::until(
        "the departments' API to be ready",
        READY_DEADLINE,
        async || look_alive(lab, PROCESS, async || http::probe(&client, &readyz).await).await,
    )
    .await
}

pub fn kill(lab: &Lab) -> Result<()> {
    process::kill(lab, PROCESS)
}
