//! Installing the chart, and taking a service account of it.
//!
//! Nothing runs pods here, so the processes take the chart's own service accounts by TokenRequest:
//! the RBAC that is shipped is the RBAC that is exercised.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::write_whole;
use crate::kubeconfig;
use crate::kubectl::Kubectl;
use crate::lab::Lab;
use crate::progress;

/// A lab lives shorter than this; a later `up` renews the token anyway.
const TOKEN_LIFETIME: &str = "8760h";

#[derive(Debug, Clone)]
pub struct Release<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub chart: &'a Path,
    /// `--set` values.
    pub values: &'a [(&'a str, &'a str)],
}

/// Installs the chart, or brings an installed one to the chart's present state.
pub fn ensure(helm: &Path, admin: &Kubectl, lab: &Lab, release: &Release) -> Result<()> {
    forget_interrupted(admin, release)?;
    let home = lab.subfolder("helm")?;
    let mut command = Command::new(helm);
    command
        .args(["upgrade", "--install", release.name])
        .arg(release.chart)
        .args([
            "--namespace",
            release.namespace,
            "--create-namespace",
            "--timeout",
            "5m",
        ])
        .arg("--kubeconfig")
        .arg(admin.kubeconfig());
    for (name, value) in release.values {
        command.arg("--set").arg(format!("{name}={value}"));
    }
    // Helm's own folders, so that nothing of the person's is read or written.
    for (name, folder) in [
        ("HELM_CACHE_HOME", "cache"),
        ("HELM_CONFIG_HOME", "config"),
        ("HELM_DATA_HOME", "data"),
    ] {
        command.env(name, home.join(folder));
    }
    progress::run(&mut command).map(drop)
}

/// Helm refuses to work on a release whose last work was interrupted. Only one program works on a
/// lab at a time, so what is pending here was interrupted; the revision before it still stands.
fn forget_interrupted(admin: &Kubectl, release: &Release) -> Result<()> {
    let pending = "status in (pending-install,pending-upgrade,pending-rollback)";
    let selector = format!("--selector=owner=helm,name={},{pending}", release.name);
    let args = [
        "delete",
        "secrets",
        "--namespace",
        release.namespace,
        &selector,
    ];
    admin.run(&args).map(drop)
}

/// A kubeconfig whose user is the service account; its token is renewed by calling this again.
pub fn service_account_kubeconfig(
    lab: &Lab,
    kubectl: &Kubectl,
    namespace: &str,
    account: &str,
) -> Result<PathBuf> {
    let folder = lab.subfolder("accounts")?;
    let duration = format!("--duration={TOKEN_LIFETIME}");
    let token = kubectl
        .run(&[
            "create",
            "token",
            account,
            "--namespace",
            namespace,
            &duration,
        ])
        .with_context(|| format!("cannot take the service account {namespace}/{account}"))?;
    let token_file = folder.join(format!("{namespace}.{account}.token"));
    write_whole(&token_file, token.trim().as_bytes())?;
    let admin = kubectl.json(&["config", "view", "--raw", "--minify", "--flatten"])?;
    let path = folder.join(format!("{namespace}.{account}.kubeconfig"));
    let user = format!("{namespace}:{account}");
    kubeconfig::write_for_token_file(&path, &admin, &user, namespace, &token_file)?;
    Ok(path)
}
