//! kube-controller-manager with what a cluster without pods needs: namespaces end, owned objects
//! are collected, service accounts exist, aggregated roles are put together, policies are checked.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::http;
use crate::address::Port;
use crate::lab::Lab;
use crate::pki::Pki;
use crate::process::{self, Ensured, Spec};
use crate::toolbox::{Tool, Toolbox};
use crate::wait;

pub const PROCESS: &str = "kube-controller-manager";

const READY_DEADLINE: Duration = Duration::from_secs(60);

const CONTROLLERS: &[&str] = &[
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "clusterrole-aggregation-controller",
    "root-ca-certificate-publisher-controller",
    "resourcequota-controller",
    "validatingadmissionpolicy-status-controller",
];

pub async fn ensure(lab: &Lab, tools: &Toolbox, pki: &Pki, kubeconfig: &Path) -> Result<Ensured> {
    let port = lab.addresses().port(Port::ControllerManager);
    let spec = Spec::new(PROCESS, tools.path(Tool::KubeControllerManager)?)
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args([
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
        ])
        .arg(format!("--tls-cert-file={}", pki.server.cert.display()))
        .arg(format!(
            "--tls-private-key-file={}",
            pki.server.key.display()
        ))
        .arg(format!("--root-ca-file={}", pki.ca.display()))
        .arg(format!(
            "--service-account-private-key-file={}",
            pki.service_accounts.key.display()
        ))
        .arg(format!("--controllers={}", CONTROLLERS.join(",")))
        // There is one; an election would only add a write every two seconds.
        .args([
            "--leader-elect=false",
            "--use-service-account-credentials=true",
        ])
        // 110 namespaces come and go at once here; the default of 20 a second takes minutes.
        .args(["--kube-api-qps=200", "--kube-api-burst=400"]);
    let ensured = process::ensure(lab, &spec)?;
    wait_ready(lab, pki, port).await?;
    Ok(ensured)
}

async fn wait_ready(lab: &Lab, pki: &Pki, port: u16) -> Result<()> {
    let client = http::admin(pki)?;
    let healthz = format!("https://127.0.0.1:{port}/healthz");
    wait::until(
        "the controller manager to be healthy",
        READY_DEADLINE,
        async || {
            super::look_alive(lab, PROCESS, async || http::probe(&client, &healthz).await).await
        },
    )
    .await
}
