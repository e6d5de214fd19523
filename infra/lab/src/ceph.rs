//! A real Ceph on the storage machine: one monitor, one manager, one OSD on a sparse file.
//!
//! ```text
//! keys, monitor map ─▶ monitor ─▶ manager ─▶ OSD ─▶ pool ─▶ the agent's user
//! ```
//!
//! What always holds:
//! - Everything lies in the machine's own folder, nothing in `/etc/ceph`: several clusters stand
//!   side by side on one computer, each on the storage network of its lab.
//! - What was made is kept over restarts and power cuts: each part is made beside its place, or
//!   carries a mark that is written last, and a part without it is made again from nothing.
//! - cephx is on. No key is ever an argument of a process.
//! - Stopping goes the other way: the OSD first, while there is a monitor that it can tell.
//!
//! One copy of everything and no spare: this is a cluster to test against, not to keep data in.
//! Volumes, users of grants and their images are the agent's: nothing here makes
//! or knows one.

mod configuration;
mod daemons;
mod keys;
mod place;
mod socket;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::address::Network;
use crate::cache::write_whole;
use crate::machine::Machine;
use crate::process;
use crate::progress;
use crate::wait::{self, Look};

pub use daemons::Daemon;
use place::{Place, State};

/// Where the monitor listens on the storage address: the ports registered for Ceph, of the second
/// and the first version of its protocol.
pub const MONITOR_PORTS: [u16; 2] = [3300, 6789];

/// The pool that is made; also what RBD tools take when nothing is named.
pub const POOL: &str = "rbd";

/// The user that the agent works as.
pub const AGENT_USER: &str = "dc-agent";

/// Some seconds on an idle machine.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CephSpec {
    /// Size of the OSD's file. It is sparse: only what is written takes place.
    pub size_gib: u64,
}

impl Default for CephSpec {
    /// As much as the lab's own SAN.
    fn default() -> Self {
        Self { size_gib: 4096 }
    }
}

/// A cluster that is up.
#[derive(Debug, Clone)]
pub struct Ceph {
    folder: PathBuf,
    /// Where its daemons listen.
    address: Ipv4Addr,
    place: Place,
}

impl Ceph {
    /// Makes the cluster be up, with its pool and the agent's user; what runs is kept.
    pub async fn ensure(machine: &Machine, spec: &CephSpec) -> Result<Self> {
        let name = machine.name();
        let step = progress::step(format!("starting Ceph on {name}"));
        let ceph = Self::of(machine)?.ensure_up(spec).await;
        let ceph = ceph.with_context(|| format!("cannot bring up Ceph on {name}"))?;
        step.done("it has a pool");
        Ok(ceph)
    }

    /// The same in this process's own namespaces, for a test that has some to itself: the daemons
    /// are its children, and end with them.
    pub async fn ensure_here(folder: &Path, address: Ipv4Addr, spec: &CephSpec) -> Result<Self> {
        let ceph = Self::at(folder, address);
        ceph.ensure_up(spec).await.context("cannot bring up Ceph")
    }

    /// The cluster that another process has made in a folder, and whose daemons it keeps.
    pub fn at(folder: &Path, address: Ipv4Addr) -> Self {
        Self {
            folder: folder.to_owned(),
            address,
            place: Place::here(),
        }
    }

    fn of(machine: &Machine) -> Result<Self> {
        Ok(Self {
            folder: machine.folder("ceph")?,
            address: machine.address(Network::Storage),
            place: Place::Machine(machine.clone()),
        })
    }

    async fn ensure_up(self, spec: &CephSpec) -> Result<Self> {
        let ceph = self;
        let cluster = keys::ensure_identity(&ceph)?;
        let text = configuration::render(&ceph, cluster, spec);
        write_whole(&ceph.configuration(), text.as_bytes())?;
        fs::create_dir_all(ceph.place.outside(&ceph.run_dir()))?;
        keys::ensure_first(&ceph)?;
        ceph.ensure_daemon(Daemon::Monitor).await?;
        // The manager takes some seconds to take over, and only the capacity comes from it.
        let manager = daemons::start(&ceph, Daemon::Manager)?;
        ceph.ensure_daemon(Daemon::Osd).await?;
        ceph.ensure_pool()?;
        keys::ensure_agent(&ceph)?;
        daemons::wait_until_it_works(&ceph, &manager).await?;
        ceph.wait_for_capacity().await?;
        Ok(ceph)
    }

    /// The cluster as it is, if the machine has one; nothing is changed.
    pub fn find(machine: &Machine) -> Result<Option<Self>> {
        let ceph = Self::of(machine)?;
        Ok(ceph.configuration().exists().then_some(ceph))
    }

    /// The folder of control sockets. Their paths must be short: a machine has a /run of its own.
    fn run_dir(&self) -> PathBuf {
        match &self.place {
            Place::Machine(_) => PathBuf::from("/run/ceph"),
            Place::Here(_) => self.file("run"),
        }
    }

    /// The control socket of a daemon such as `osd.0`, as it is seen from outside the machine.
    fn socket(&self, daemon: &str) -> PathBuf {
        let socket = self.run_dir().join(format!("{daemon}.asok"));
        self.place.outside(&socket)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The configuration file, the same inside the machine and outside.
    pub fn configuration(&self) -> PathBuf {
        self.file("ceph.conf")
    }

    /// The keyring of the user that the agent works as.
    pub fn agent_keyring(&self) -> PathBuf {
        self.file(&format!("client.{AGENT_USER}.keyring"))
    }

    /// Where monitors are, as clients are told: `address:port` of the first protocol version,
    /// which every client speaks.
    pub fn monitors(&self) -> Vec<String> {
        let [_, first] = MONITOR_PORTS;
        vec![format!("{}:{first}", self.address)]
    }

    /// One of Ceph's programs inside the machine, as the cluster's administrator.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.place.command("env");
        command
            .arg(format!("CEPH_CONF={}", self.configuration().display()))
            .arg(program);
        command
    }

    /// The answer of the `ceph` program.
    pub fn ask(&self, args: &[&str]) -> Result<Value> {
        let mut command = self.command("ceph");
        command.args(["--connect-timeout", "10", "--format", "json"]);
        let said = progress::run(command.args(args))?;
        match said.trim() {
            "" => Ok(Value::Null),
            text => serde_json::from_str(text).context("ceph answers oddly"),
        }
    }

    /// The daemon, as systemd would start it. Its data is made if it is not there.
    pub async fn ensure_daemon(&self, daemon: Daemon) -> Result<()> {
        let work = async {
            let started = daemons::start(self, daemon)?;
            daemons::wait_until_it_works(self, &started).await
        };
        work.await
            .with_context(|| format!("cannot start the {daemon}"))
    }

    /// Starts again what has ended.
    pub async fn ensure_daemons(&self) -> Result<()> {
        for daemon in [Daemon::Monitor, Daemon::Manager, Daemon::Osd] {
            if self.place.state(daemon)? == State::Ended {
                self.ensure_daemon(daemon).await?;
            }
        }
        Ok(())
    }

    /// Ends a daemon without warning, as a test of what comes after.
    pub fn kill_daemon(&self, daemon: Daemon) -> Result<()> {
        self.place.kill(daemon)
    }

    fn ensure_pool(&self) -> Result<()> {
        // A pool that is there stays as it is.
        self.ask(&["osd", "pool", "create", POOL, "8", "8"])?;
        // It waits until the pool takes writes; done before, it changes nothing.
        progress::run(self.command("rbd").args(["pool", "init", POOL])).map(drop)
    }

    async fn wait_for_capacity(&self) -> Result<()> {
        // Capacity comes from the manager, some moments after the pool.
        wait::until("the capacity of the pool", DEADLINE, async || {
            match self.ask(&["df"]) {
                Ok(df) if has_room(&df) => Look::Holds(()),
                Ok(df) => Look::NotYet(df.to_string()),
                Err(error) => Look::NotYet(format!("{error:#}")),
            }
        })
        .await
    }
}

fn has_room(df: &Value) -> bool {
    let pools = df["pools"].as_array().into_iter().flatten();
    pools
        .filter(|pool| pool["name"] == POOL)
        .any(|pool| pool["stats"]["max_avail"].as_u64().is_some_and(|n| n > 0))
}

/// Stops a machine's cluster in order, if it has one.
pub(crate) fn stop(machine: &Machine) -> Result<()> {
    for daemon in [Daemon::Osd, Daemon::Manager, Daemon::Monitor] {
        process::stop(machine.lab(), &place::process_name(machine, daemon))?;
    }
    Ok(())
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists()
        .with_context(|| format!("cannot look for {}", path.display()))
}
