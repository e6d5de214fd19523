//! One etcd: the API server's store, or the ledger. Each has its own data, ports and lifetime.
//!
//! The ledger is what tests wipe and restore, so those verbs are here too. Both listen on loopback
//! without TLS; whoever is root on the lab's machine can read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::address::Port;
use crate::lab::Lab;
use crate::process::{self, Ensured, Spec};
use crate::progress;
use crate::toolbox::{Tool, Toolbox};
use crate::wait;

const READY_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What the API server stores its objects in.
    Store,
    /// Who may hold what: claims and epochs, written by the operator alone.
    Ledger,
}

/// Whether what was acknowledged is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    Synced,
    /// For tests: quicker, and safe against anything but a crash of the whole machine.
    InMemory,
}

#[derive(Debug, Clone)]
pub struct Etcd {
    lab: Lab,
    role: Role,
    durability: Durability,
    tools: Toolbox,
}

impl Etcd {
    pub fn new(lab: &Lab, tools: &Toolbox, role: Role, durability: Durability) -> Self {
        Self {
            lab: lab.clone(),
            role,
            durability,
            tools: tools.clone(),
        }
    }

    pub fn process_name(&self) -> &'static str {
        match self.role {
            Role::Store => "etcd",
            Role::Ledger => "ledger",
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.lab.addresses().loopback(self.ports().0))
    }

    fn ports(&self) -> (Port, Port) {
        match self.role {
            Role::Store => (Port::Etcd, Port::EtcdPeer),
            Role::Ledger => (Port::Ledger, Port::LedgerPeer),
        }
    }

    fn peer_url(&self) -> String {
        format!("http://{}", self.lab.addresses().loopback(self.ports().1))
    }

    fn data(&self) -> PathBuf {
        self.lab.folder().join(self.process_name())
    }

    pub async fn ensure(&self) -> Result<Ensured> {
        let name = self.process_name();
        let (url, peer) = (self.url(), self.peer_url());
        let mut spec = Spec::new(name, self.tools.path(Tool::Etcd)?)
            .args(["--name", name, "--log-level", "warn"])
            .arg(format!("--data-dir={}", self.data().display()))
            .arg(format!("--listen-client-urls={url}"))
            .arg(format!("--advertise-client-urls={url}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster={name}={peer}"))
            .args([
                "--auto-compaction-mode=periodic",
                "--auto-compaction-retention=1h",
            ]);
        if self.durability == Durability::InMemory {
            spec = spec.arg("--unsafe-no-fsync");
        }
        let ensured = process::ensure(&self.lab, &spec)?;
        self.wait_healthy().await?;
        Ok(ensured)
    }

    async fn wait_healthy(&self) -> Result<()> {
        let client = super::http::plain()?;
        let health = format!("{}/health", self.url());
        wait::until(
            &format!("{} to be healthy", self.process_name()),
            READY_DEADLINE,
            async || {
                super::look_alive(&self.lab, self.process_name(), async || {
                    let answer = client.get(&health).send().await?.text().await?;
                    match answer.contains(r#""health":"true""#) {
                        true => Ok(()),
                        false => Err(anyhow!("{health} says {answer}")),
                    }
                })
                .await
            },
        )
        .await
    }

    pub fn stop(&self) -> Result<()> {
        process::stop(&self.lab, self.process_name())
    }

    pub fn kill(&self) -> Result<()> {
        process::kill(&self.lab, self.process_name())
    }

    /// Stops it and throws its data away, as a lost disk would.
    pub fn wipe(&self) -> Result<()> {
        self.stop()?;
        match fs::remove_dir_all(self.data()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Saves all keys as they are now.
    pub fn save_snapshot(&self, to: &Path) -> Result<()> {
        let mut etcdctl = Command::new(self.tools.path(Tool::Etcdctl)?);
        etcdctl
            .args(["--endpoints", &self.url(), "snapshot", "save"])
            .arg(to);
        progress::run(&mut etcdctl).map(drop)
    }

    /// Stops it and puts the keys back as they were; [`Etcd::ensure`] starts it again.
    pub fn restore_snapshot(&self, from: &Path) -> Result<()> {
        self.wipe()?;
        let name = self.process_name();
        let peer = self.peer_url();
        let mut etcdutl = Command::new(self.tools.path(Tool::Etcdutl)?);
        etcdutl
            .args(["snapshot", "restore"])
            .arg(from)
            .arg("--data-dir")
            .arg(self.data());
        etcdutl.args(["--name", name, "--initial-advertise-peer-urls", &peer]);
        etcdutl.arg(format!("--initial-cluster={name}={peer}"));
        progress::run(&mut etcdutl)
            .context("cannot restore the snapshot")
            .map(drop)
    }
}
