//! Writing kubeconfig files: for the lab's own server, or for a service account of any cluster.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cache::write_whole;
use crate::pki::Pair;

/// Files of certificates rather than their content: they are in the same folder of the same lab.
pub fn write_for_certificate(
    to: &Path,
    server: &str,
    ca: &Path,
    user: &str,
    pair: &Pair,
) -> Result<()> {
    let cluster = json!({ "server": server, "certificate-authority": ca });
    let identity = json!({ "client-certificate": pair.cert, "client-key": pair.key });
    write(to, cluster, user, identity, None)
}

/// The token is in a file of its own, so that it can be renewed while its user runs.
pub fn write_for_token_file(
    to: &Path,
    admin: &Value,
    user: &str,
    namespace: &str,
    token_file: &Path,
) -> Result<()> {
    let cluster = admin
        .pointer("/clusters/0/cluster")
        .cloned()
        .context("the administrator's kubeconfig names no cluster")?;
    write(
        to,
        cluster,
        user,
        json!({ "tokenFile": token_file }),
        Some(namespace),
    )
}

fn write(
    to: &Path,
    cluster: Value,
    user: &str,
    identity: Value,
    namespace: Option<&str>,
) -> Result<()> {
    let mut context = json!({ "cluster": "lab", "user": user });
    if let Some(namespace) = namespace {
        context["namespace"] = json!(namespace);
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "lab", "cluster": cluster }],
        "users": [{ "name": user, "user": identity }],
        "contexts": [{ "name": "lab", "context": context }],
        "current-context": "lab",
    });
    write_whole(to, serde_norway::to_string(&config)?.as_bytes())
}
