//! The identity provider of a lab: Dex, over TLS, with users of three departments, the operator of
//! the centre, an approver and an auditor.
//!
//! Passwords are made for each lab and kept in a file that its owner alone may read. Dex knows no
//! groups of users that it keeps itself, so the groups go into the API's list of people. Its keys
//! are in its memory: each start of it has new ones.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::address::Port;
use crate::cache::{Cache, digest, write_whole};
use crate::chart::NAMESPACE;
use crate::control_plane::{ControlPlane, http, look_alive, pki};
use crate::inventory;
use crate::lab::Lab;
use crate::pki::Pki;
use crate::process::{self, Spec};
use crate::simulated::FIELD_MANAGER;
use crate::toolbox::{Tool, ensure_tool};
use crate::wait;

pub const PROCESS: &str = "dex";
/// What the API takes tokens for.
pub const CLIENT: &str = "dc-api";
/// Another application of the same provider, whose tokens are not for us.
pub const OTHER_CLIENT: &str = "another-application";
/// Departments of the register whose users there are.
pub const DEPARTMENTS: [&str; 3] = ["so-khcn", "so-y-te", "so-gddt"];
/// Where a login by browser ends on the machine of the one who signs in: for programs.
const REDIRECT: &str = "http://127.0.0.1:8000/callback";
/// Where it ends for the pages of the API.
const CALLBACK: &str = "/auth/callback";
/// Where it ends for a terminal: at the provider itself.
const DEVICE: &str = "/device/callback";

const READY_DEADLINE: Duration = Duration::from_secs(60);
/// The least that Dex takes.
const BCRYPT_COST: u32 = 10;

/// Somebody who may sign in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    pub email: String,
    pub password: String,
    pub groups: Vec<String>,
    hash: String,
    id: Uuid,
}

/// A provider that answers.
#[derive(Debug, Clone)]
pub struct Dex {
    pub issuer: String,
    pub ca: PathBuf,
    pub logins: Vec<Login>,
}

impl Dex {
    /// The one whose address begins so, such as `administrator@so-khcn`.
    pub fn login(&self, beginning: &str) -> Result<&Login> {
        let mut logins = self.logins.iter();
        let found = logins.find(|login| login.email.starts_with(beginning));
        found.with_context(|| format!("the lab has no user {beginning}…"))
    }
}

pub fn issuer(lab: &Lab) -> String {
    format!("https://{}/dex", lab.addresses().loopback(Port::Dex))
}

/// Names and passwords, as JSON.
pub fn logins_file(lab: &Lab) -> PathBuf {
    lab.folder().join("dex/logins.json")
}

/// Starts Dex, or keeps the one that runs, and tells the API's list of people of its users' groups.
pub async fn ensure(plane: &ControlPlane) -> Result<Dex> {
    let lab = plane.lab();
    let program = ensure_tool(&Cache::from_env()?, Tool::Dex)?;
    let pki = pki(lab)?;
    let logins = ensure_logins(lab)?;
    let config = config(lab, &pki, &logins).to_string();
    let file = lab.subfolder("dex")?.join("config.json");
    write_whole(&file, config.as_bytes())?;
    let spec = Spec::new(PROCESS, program)
        .args(["serve".to_owned(), file.display().to_string()])
        .depends_on([digest([config])]);
    process::ensure(lab, &spec)?;
    let dex = Dex {
        issuer: issuer(lab),
        ca: pki.ca.clone(),
        logins,
    };
    wait_ready(lab, &pki, &dex).await?;
    plane
        .kubectl()?
        .apply_text(&people(&dex.logins, &[]).to_string(), FIELD_MANAGER)?;
    plane
        .kubectl()?
        .apply_text(&province().to_string(), FIELD_MANAGER)?;
    Ok(dex)
}

pub fn stop(lab: &Lab) -> Result<()> {
    process::stop(lab, PROCESS)
}

/// The list of people: the groups of the lab's users, and who was removed.
pub fn people(logins: &[Login], removed: &[&str]) -> serde_json::Value {
    let mut groups = std::collections::BTreeMap::<&str, Vec<&str>>::new();
    for login in logins {
        for group in &login.groups {
            groups.entry(group).or_default().push(&login.email);
        }
    }
    // JSON is YAML.
    let list = json!({ "groups": groups, "removed": removed }).to_string();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "dc-api-people", "namespace": NAMESPACE },
        "data": { "people.yaml": list },
    })
}

/// The chart's roles of the province, given to the groups of its users.
fn province() -> serde_json::Value {
    let bindings = [("dc-centre", "operators"), ("dc-auditor", "auditors")];
    inventory::list(
        bindings
            .map(|(role, group)| {
                let rbac = "rbac.authorization.k8s.io";
                json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "ClusterRoleBinding",
                    "metadata": { "name": role },
                    "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": role },
                    "subjects": [
                        { "apiGroup": rbac, "kind": "Group", "name": format!("province:{group}") },
                    ],
                })
            })
            .into(),
    )
}

/// Whoever is to sign in: the address, and the groups.
fn wanted() -> Vec<(String, Vec<String>)> {
    let mut wanted = Vec::new();
    for department in DEPARTMENTS {
        for (role, groups) in [
            ("administrator", &["administrators"][..]),
            ("operator", &["operators"]),
            ("leader", &["leaders"]),
            // Who both writes requests and answers those of others.
            ("deputy", &["administrators", "leaders"]),
        ] {
            let groups = groups.iter().map(|group| format!("{department}:{group}"));
            wanted.push((format!("{role}@{department}.lab.test"), groups.collect()));
        }
    }
    for (role, group) in [
        ("operator", "operators"),
        ("approver", "approvers"),
        ("auditor", "auditors"),
    ] {
        let groups = vec![format!("province:{group}")];
        wanted.push((format!("{role}@province.lab.test"), groups));
    }
    wanted
}

/// The logins of the file, with those that it lacks.
fn ensure_logins(lab: &Lab) -> Result<Vec<Login>> {
    let path = logins_file(lab);
    let mut known: Vec<Login> = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged", path.display()))?,
        Err(_) => Vec::new(),
    };
    let mut logins = Vec::new();
    for (email, groups) in wanted() {
        let there = known.iter().position(|login| login.email == email);
        logins.push(match there {
            Some(at) => Login {
                groups,
                ..known.swap_remove(at)
            },
            None => {
                let password = Uuid::new_v4().simple().to_string();
                Login {
                    hash: bcrypt::hash(&password, BCRYPT_COST)?,
                    email,
                    password,
                    groups,
                    id: Uuid::new_v4(),
                }
            }
        });
    }
    write_whole(&path, &serde_json::to_vec_pretty(&logins)?)?;
    Ok(logins)
}

fn config(lab: &Lab, pki: &Pki, logins: &[Login]) -> serde_json::Value {
    let passwords = logins.iter().map(|login| {
        json!({
            "email": login.email,
            "hash": login.hash,
            "username": login.email,
            "userID": login.id,
        })
    });
    let redirects = [
        REDIRECT.to_owned(),
        format!("{}{CALLBACK}", crate::api::url(lab)),
        DEVICE.to_owned(),
        format!("/dex{DEVICE}"),
    ];
    let client =
        |id: &str| json!({ "id": id, "name": id, "public": true, "redirectURIs": redirects });
    json!({
        "issuer": issuer(lab),
        "storage": { "type": "memory" },
        "web": {
            "https": lab.addresses().loopback(Port::Dex).to_string(),
            "tlsCert": pki.dex.cert,
            "tlsKey": pki.dex.key,
        },
        "oauth2": {
            "skipApprovalScreen": true,
            // For programs and tests: people sign in by browser, with PKCE.
            "passwordConnector": "local",
        },
        "staticClients": [client(CLIENT), client(OTHER_CLIENT)],
        "enablePasswordDB": true,
        "staticPasswords": passwords.collect::<Vec<_>>(),
    })
}

async fn wait_ready(lab: &Lab, pki: &Pki, dex: &Dex) -> Result<()> {
    let client = http::trusting(&pki.ca)?;
    let discovery = format!("{}/.well-known/openid-configuration", dex.issuer);
    wait::until(
        "the identity provider to answer",
        READY_DEADLINE,
        async || {
            look_alive(lab, PROCESS, async || {
                http::probe(&client, &discovery).await
            })
            .await
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_department_has_its_users_and_the_province_its_own() {
        let wanted = wanted();
        let emails: std::collections::BTreeSet<_> = wanted.iter().map(|(email, _)| email).collect();
        assert_eq!(emails.len(), wanted.len());
        for department in DEPARTMENTS {
            let group = format!("{department}:administrators");
            assert!(wanted.iter().any(|(_, groups)| groups.contains(&group)));
        }
    }
}
