//! Fetching the one-time join files that the operator makes for its hosts.
//!
//! In production a person carries the file to the host; here the lab is that person. A host that
//! has joined needs none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cache::write_whole;
use crate::kubectl::Kubectl;
use crate::operator::NAMESPACE;
use crate::wait::{self, Look};

const DEADLINE: Duration = Duration::from_secs(120);

pub fn file(folder: &Path, host: &str) -> PathBuf {
    folder.join(format!("{host}.json"))
}

/// Waits until each of the hosts has its file `folder/<host>.json`, or has joined before.
pub async fn fetch(kubectl: &Kubectl, hosts: &[String], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut missing: BTreeSet<&str> = hosts.iter().map(String::as_str).collect();
    wait::until(
        "the operator to make join files",
        DEADLINE,
        async || match fetch_present(kubectl, &mut missing, folder) {
            Ok(()) if missing.is_empty() => Look::Holds(()),
            Ok(()) => Look::NotYet(format!("there is none for {missing:?}")),
            Err(error) => Look::NotYet(format!("{error:#}")),
        },
    )
    .await
}

fn fetch_present(kubectl: &Kubectl, missing: &mut BTreeSet<&str>, folder: &Path) -> Result<()> {
    let secrets = kubectl.json(&["get", "secrets", "--namespace", NAMESPACE])?;
    for secret in secrets["items"].as_array().into_iter().flatten() {
        let name = secret
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(host) = name.strip_prefix("join-") else {
            continue;
        };
        if let Some(host) = missing.take(host) {
            write_whole(&file(folder, host), &join_json(kubectl, name)?)?;
        }
    }
    for host in kubectl.list("hosts.dc.sonla.gov.vn")? {
        let name = host
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if crate::status::condition(&host, "Joined") == Some("True") {
            missing.remove(name);
        }
    }
    Ok(())
}

/// kubectl decodes what the API carries in base64.
fn join_json(kubectl: &Kubectl, secret: &str) -> Result<Vec<u8>> {
    let template = r#"go-template={{index .data "join.json" | base64decode}}"#;
    let args = [
        "get",
        "secret",
        secret,
        "--namespace",
        NAMESPACE,
        "--output",
        template,
    ];
    let text = kubectl.run(&args)?;
    let _: Value =
        serde_json::from_str(&text).with_context(|| format!("{secret} holds no join.json"))?;
    Ok(text.into_bytes())
}
