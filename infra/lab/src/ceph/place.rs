//! Where the daemons run: as those of a machine of the lab, or as children of this process.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Ceph, Daemon};
use crate::cache::digest;
use crate::machine::Machine;
use crate::process;

/// An OSD writes out what it holds before it ends, and tells the monitor.
const STOP_GRACE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(super) enum Place {
    Machine(Machine),
    /// The children of this process, killed with its last hold on them.
    Here(Arc<Children>),
}

#[derive(Debug, Default)]
pub(super) struct Children(Mutex<BTreeMap<Daemon, Child>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Runs,
    Ended,
}

/// The daemon's name in the lab's records.
pub(super) fn process_name(machine: &Machine, daemon: Daemon) -> String {
    machine.daemon(daemon.program(), "").name
}

fn program(daemon: Daemon) -> PathBuf {
    Path::new("/usr/bin").join(daemon.program())
}

impl Place {
    pub fn here() -> Self {
        Self::Here(Arc::default())
    }

    pub fn command(&self, program: &str) -> Command {
        match self {
            Self::Machine(machine) => machine.command(program),
            Self::Here(_) => Command::new(program),
        }
    }

    /// A path inside, as it is seen from this process.
    pub fn outside(&self, inside: &Path) -> PathBuf {
        match self {
            Self::Machine(machine) => machine.path(&inside.display().to_string()),
            Self::Here(_) => inside.to_owned(),
        }
    }

    /// The daemon as systemd would start it; one that runs is kept.
    pub fn ensure(&self, ceph: &Ceph, daemon: Daemon, args: &[String]) -> Result<()> {
        match self {
            Self::Machine(machine) => {
                let configuration = fs::read_to_string(ceph.configuration())?;
                let mut spec = machine
                    .daemon(daemon.program(), program(daemon))
                    .args(args)
                    .depends_on([digest([configuration])]);
                spec.stop_grace = STOP_GRACE;
                process::ensure(machine.lab(), &spec).map(drop)
            }
            Self::Here(children) => children.ensure(ceph, daemon, args),
        }
    }

    pub fn state(&self, daemon: Daemon) -> Result<State> {
        let runs = match self {
            Self::Machine(machine) => {
                process::running(machine.lab(), &process_name(machine, daemon))?.is_some()
            }
            Self::Here(children) => children.runs(daemon)?,
        };
        Ok(match runs {
            true => State::Runs,
            false => State::Ended,
        })
    }

    /// The end of what the daemon said.
    pub fn tail(&self, ceph: &Ceph, daemon: Daemon) -> String {
        match self {
            Self::Machine(machine) => process::tail(machine.lab(), &process_name(machine, daemon)),
            Self::Here(_) => {
                let said = fs::read_to_string(log(ceph, daemon)).unwrap_or_default();
                let lines: Vec<&str> = said.lines().rev().take(20).collect();
                lines.into_iter().rev().collect::<Vec<_>>().join("\n")
            }
        }
    }

    pub fn kill(&self, daemon: Daemon) -> Result<()> {
        match self {
            Self::Machine(machine) => process::kill(machine.lab(), &process_name(machine, daemon)),
            Self::Here(children) => children.kill(daemon),
        }
    }
}

fn log(ceph: &Ceph, daemon: Daemon) -> PathBuf {
    ceph.file(&format!("{}.log", daemon.program()))
}

impl Children {
    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<Daemon, Child>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runs(&self, daemon: Daemon) -> Result<bool> {
        match self.all().get_mut(&daemon) {
            None => Ok(false),
            Some(child) => Ok(child.try_wait()?.is_none()),
        }
    }

    fn ensure(&self, ceph: &Ceph, daemon: Daemon, args: &[String]) -> Result<()> {
        if self.runs(daemon)? {
            return Ok(());
        }
        let path = log(ceph, daemon);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot write {}", path.display()))?;
        let child = Command::new(program(daemon))
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", daemon.program()))?;
        self.all().insert(daemon, child);
        Ok(())
    }

    fn kill(&self, daemon: Daemon) -> Result<()> {
        if let Some(mut child) = self.all().remove(&daemon) {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in self.all().values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
