//! The server of a lab's backups: restic's own, on a storage machine and its disk, over TLS.
//!
//! Append-only, so that whoever has a department's login can add backups and remove none; each
//! department is a user of its own, with a folder of its own. Logins are made for each lab and kept
//! in a file that its owner alone may read, and the operator has them as a Secret. Whoever removes
//! old backups does so in the machine, on the folder itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::address::Network;
use crate::cache::{Cache, digest, write_whole};
use crate::control_plane::{look_alive, server_pair};
use crate::kubectl::Kubectl;
use crate::lab::Lab;
use crate::machine::Machine;
use crate::operator::NAMESPACE;
use crate::process::{self, Restart};
use crate::progress::run;
use crate::simulated::FIELD_MANAGER;
use crate::toolbox::{Tool, ensure_tool};
use crate::wait;

/// The Secret in the operator's namespace that has each department's login under its name.
pub const LOGIN_SECRET: &str = "dc-backup-logins";

/// The daemon's name within its machine.
const DAEMON: &str = "rest-server";
/// As restic's documentation has it.
const PORT: u16 = 8000;

const READY_DEADLINE: Duration = Duration::from_secs(60);

/// The least there is: logins are random and as long as a hash.
const BCRYPT_COST: u32 = 4;

/// A server that answers.
#[derive(Debug, Clone)]
pub struct Server {
    /// A department's repository is below it, under the department's name.
    pub url: String,
    /// Who signs it, in PEM.
    pub ca: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Login {
    password: String,
    hash: String,
}

/// By department.
type Logins = BTreeMap<String, Login>;

/// Names and logins, as JSON.
pub fn logins_file(lab: &Lab) -> PathBuf {
    lab.folder().join("backups/logins.json")
}

/// Where repositories lie, inside the machine and outside.
pub fn folder(machine: &Machine) -> Result<PathBuf> {
    machine.folder("backups")
}

pub fn process_name(machine: &Machine) -> String {
    machine.daemon(DAEMON, "").name
}

/// Starts the server on a machine that is up, or keeps the one that runs; a department that is new
/// is let in.
pub async fn ensure(machine: &Machine, departments: &[String]) -> Result<Server> {
    let lab = machine.lab();
    let program = ensure_tool(&Cache::from_env()?, Tool::RestServer)?;
    let address = machine.address(Network::Storage).to_string();
    let names = [address.clone()];
    let (pair, ca) = server_pair(lab, &format!("backups-{address}"), "rest-server", &names)?;
    let logins = ensure_logins(lab, departments)?;
    let users: String = logins
        .iter()
        .map(|(department, login)| format!("{department}:{}\n", login.hash))
        .collect();
    let users_file = lab.subfolder("backups")?.join("htpasswd");
    write_whole(&users_file, users.as_bytes())?;
    let listen = format!("{address}:{PORT}");
    let text = |path: PathBuf| path.display().to_string();
    let spec = machine
        .daemon(DAEMON, program)
        .args(["--append-only", "--private-repos", "--tls"])
        .args(["--listen".to_owned(), listen.clone()])
        .args(["--path".to_owned(), text(folder(machine)?)])
        .args(["--htpasswd-file".to_owned(), text(users_file)])
        .args(["--tls-cert".to_owned(), text(pair.cert)])
        .args(["--tls-key".to_owned(), text(pair.key)])
        .depends_on([digest([users])])
        .restart(Restart::Always);
    process::ensure(lab, &spec)?;
    let server = Server {
        url: format!("https://{listen}"),
        ca,
    };
    wait_ready(machine, &server).await?;
    Ok(server)
}

/// Gives the operator the logins.
pub fn ensure_secret(lab: &Lab, kubectl: &Kubectl) -> Result<()> {
    let secret = render_secret(&read_logins(lab)?);
    kubectl.apply_text(&secret.to_string(), FIELD_MANAGER)
}

fn render_secret(logins: &Logins) -> Value {
    let data: BTreeMap<&String, &String> = logins
        .iter()
        .map(|(department, login)| (department, &login.password))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": LOGIN_SECRET, "namespace": NAMESPACE },
        "stringData": data,
    })
}

fn read_logins(lab: &Lab) -> Result<Logins> {
    let path = logins_file(lab);
    match std::fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Logins::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The logins of the file, with those that it lacks. Nobody's is taken away: backups of a department
/// that is gone are still read.
fn ensure_logins(lab: &Lab, departments: &[String]) -> Result<Logins> {
    let mut logins = read_logins(lab)?;
    for department in departments {
        if !logins.contains_key(department) {
            let password = Uuid::new_v4().simple().to_string();
            let hash = bcrypt::hash(&password, BCRYPT_COST)?;
            logins.insert(department.clone(), Login { password, hash });
        }
    }
    write_whole(&logins_file(lab), &serde_json::to_vec_pretty(&logins)?)?;
    Ok(logins)
}

async fn wait_ready(machine: &Machine, server: &Server) -> Result<()> {
    let name = process_name(machine);
    wait::until(
        "the server of backups to answer",
        READY_DEADLINE,
        async || {
            look_alive(machine.lab(), &name, async || {
                // It lets nobody in without a login, and that it says so is all there is to know.
                run(&mut curl(machine, server)).map(drop)
            })
            .await
        },
    )
    .await
}

/// Asks the server from within the machine, on the network that the other hosts are on too.
pub fn curl(machine: &Machine, server: &Server) -> Command {
    let mut command = machine.command("curl");
    command
        .args(["--silent", "--show-error", "--noproxy", "*"])
        .args(["--max-time", "10", "--cacert"])
        .arg(&server.ca)
        .arg(&server.url);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_given_each_departments_login_and_no_hash() {
        let login = Login {
            password: "0123".into(),
            hash: "$2b$".into(),
        };
        let secret = render_secret(&Logins::from([("so-y-te".into(), login)]));
        assert_eq!(secret["stringData"], json!({ "so-y-te": "0123" }));
        assert_eq!(secret["metadata"]["namespace"], NAMESPACE);
    }
}
