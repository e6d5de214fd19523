//! kube-apiserver as in production: RBAC, client certificates, no anonymous requests.
//!
//! It listens on loopback only: the operator runs beside it, and agents have no business with it.

use std::time::Duration;

use anyhow::Result;

use super::etcd::Etcd;
use super::http;
use crate::address::Port;
use crate::lab::Lab;
use crate::pki::Pki;
use crate::process::{self, Ensured, Spec};
use crate::toolbox::{Tool, Toolbox};
use crate::wait;

pub const PROCESS: &str = "kube-apiserver";

/// Readiness includes the first start's bootstrap of roles; seconds on an idle machine.
const READY_DEADLINE: Duration = Duration::from_secs(180);

/// Services have no meaning here (no pods), but the flag is required.
const SERVICE_RANGE: &str = "10.96.0.0/16";

pub fn url(lab: &Lab) -> String {
    format!("https://{}", lab.addresses().loopback(Port::ApiServer))
}

pub async fn ensure(lab: &Lab, tools: &Toolbox, pki: &Pki, store: &Etcd) -> Result<Ensured> {
    let ensured = process::ensure(lab, &spec(lab, tools, pki, store)?)?;
    wait_ready(lab, pki).await?;
    Ok(ensured)
}

fn spec(lab: &Lab, tools: &Toolbox, pki: &Pki, store: &Etcd) -> Result<Spec> {
    let port = lab.addresses().port(Port::ApiServer);
    let mut spec = Spec::new(PROCESS, tools.path(Tool::KubeApiserver)?)
        .arg(format!("--etcd-servers={}", store.url()))
        .arg(format!("--secure-port={port}"))
        // Loopback is no address to advertise, and nothing reads it without pods.
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg("--endpoint-reconciler-type=none")
        .arg(format!("--tls-cert-file={}", pki.server.cert.display()))
        .arg(format!(
            "--tls-private-key-file={}",
            pki.server.key.display()
        ))
        .arg(format!("--client-ca-file={}", pki.ca.display()))
        .arg(format!(
            "--service-account-key-file={}",
            pki.service_accounts.cert.display()
        ))
        .arg(format!(
            "--service-account-signing-key-file={}",
            pki.service_accounts.key.display()
        ))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .args(["--authorization-mode=RBAC", "--anonymous-auth=false"])
        .arg(format!("--service-cluster-ip-range={SERVICE_RANGE}"));
    // Ends within seconds; a grace shorter than that would cut requests off.
    spec.stop_grace = Duration::from_secs(30);
    Ok(spec)
}

async fn wait_ready(lab: &Lab, pki: &Pki) -> Result<()> {
    let client = http::admin(pki)?;
    let readyz = format!("{}/readyz", url(lab));
    wait::until("the API server to be ready", READY_DEADLINE, async || {
        super::look_alive(lab, PROCESS, async || http::probe(&client, &readyz).await).await
    })
    .await
}
