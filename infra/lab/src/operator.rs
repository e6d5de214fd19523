//! The operator as a process beside the control plane, under the chart's own service account.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::address::{Network, Port};
use crate::control_plane::{ControlPlane, http, look_alive};
use crate::helm;
use crate::lab::Lab;
use crate::process::{self, Ensured, Restart, Spec};
use crate::progress;
use crate::wait;

/// Where the chart puts the operator, and as whom.
pub const NAMESPACE: &str = "dc-system";
pub const SERVICE_ACCOUNT: &str = "dc-operator";

/// The id of the lab's master key.
const MASTER_KEY: &str = "lab";
/// The id of the lab's recovery key.
pub const RECOVERY_KEY: &str = "lab";

/// The caches of 110 departments' objects fill in seconds; a busy machine is slower.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// Two may run side by side; one leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replica {
    First,
    Standby,
}

/// Where agents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agents {
    /// In this network namespace: simulated hosts, tests.
    Local,
    /// On the lab's machines, reached over the management network.
    OnMachines,
}

impl Replica {
    pub fn process_name(self) -> &'static str {
        match self {
            Self::First => "operator",
            Self::Standby => "operator-standby",
        }
    }

    fn ports(self) -> (Port, Port) {
        match self {
            Self::First => (Port::OperatorAgents, Port::OperatorHttp),
            Self::Standby => (Port::StandbyAgents, Port::StandbyHttp),
        }
    }

    /// Where `/metrics`, `/healthz` and `/readyz` are.
    pub fn http_url(self, lab: &Lab) -> String {
        format!("http://{}", lab.addresses().loopback(self.ports().1))
    }

    /// Where agents dial in.
    pub fn agents_address(self, lab: &Lab, agents: Agents) -> SocketAddrV4 {
        let host = match agents {
            Agents::Local => Ipv4Addr::LOCALHOST,
            Agents::OnMachines => lab.addresses().root(Network::Management),
        };
        SocketAddrV4::new(host, lab.addresses().port(self.ports().0))
    }
}

/// Starts the operator, or keeps the one that runs, and waits until its caches are filled.
/// The chart has to be installed.
pub async fn ensure(
    plane: &ControlPlane,
    program: &Path,
    replica: Replica,
    agents: Agents,
) -> Result<Ensured> {
    let lab = plane.lab();
    let kubectl = plane.kubectl()?;
    let account = helm::service_account_kubeconfig(lab, &kubectl, NAMESPACE, SERVICE_ACCOUNT)?;
    let (agents_port, http_port) = replica.ports();
    let listen = format!("0.0.0.0:{}", lab.addresses().port(agents_port));
    let mut spec = Spec::new(replica.process_name(), program)
        .arg("run")
        .args(["--kubeconfig".to_owned(), account.display().to_string()])
        .args(["--ledger".to_owned(), plane.ledger().url()])
        .args(["--cluster-name", lab.name().as_str()])
        .args(["--listen".to_owned(), listen])
        .args([
            "--advertise".to_owned(),
            replica.agents_address(lab, agents).to_string(),
        ])
        .args([
            "--http".to_owned(),
            lab.addresses().loopback(http_port).to_string(),
        ]);
    let keys = key_folder(lab, program, "recovery-keys", RECOVERY_KEY)?;
    spec = spec.args(["--recovery-keys".to_owned(), keys.display().to_string()]);
    let masters = key_folder(lab, program, "master-keys", MASTER_KEY)?;
    spec = spec.args(["--master-keys".to_owned(), masters.display().to_string()]);
    spec = spec.restart(Restart::Always);
    if let Ok(filter) = std::env::var("RUST_LOG") {
        spec = spec.env("RUST_LOG", filter);
    }
    let ensured = process::ensure(lab, &spec)?;
    wait_ready(lab, replica).await?;
    Ok(ensured)
}

/// A folder with one key, for as long as the lab lives: repositories and the keys of volumes name it by
/// its id.
fn key_folder(lab: &Lab, program: &Path, name: &str, id: &str) -> Result<PathBuf> {
    let folder = lab.folder().join(name);
    let path = folder.join(id);
    if path.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    let mut new = Command::new(program);
    let printed = progress::run(new.args(["recovery-key", "new"]))?;
    // Written whole or not at all: a key that is there is never made anew.
    let unfinished = folder.join(".unfinished");
    fs::write(&unfinished, printed)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o400))?;
    fs::rename(&unfinished, &path)?;
    Ok(folder)
}

pub async fn wait_ready(lab: &Lab, replica: Replica) -> Result<()> {
    let client = http::plain()?;
    let readyz = format!("{}/readyz", replica.http_url(lab));
    wait::until("the operator to be ready", READY_DEADLINE, async || {
        look_alive(lab, replica.process_name(), async || {
            http::probe(&client, &readyz).await
        })
        .await
    })
    .await
}

pub fn stop(lab: &Lab, replica: Replica) -> Result<()> {
    process::stop(lab, replica.process_name())
}

pub fn kill(lab: &Lab, replica: Replica) -> Result<()> {
    process::kill(lab, replica.process_name())
}
