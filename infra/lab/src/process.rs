//! Daemons of a lab: each in a session of its own, its output in a log file, its identity on disk.
//!
//! A process is known by pid **and** start time, so a pid that was given to a stranger is never
//! signalled. Its environment carries the lab's id ([`MARKER`]), so that even a process whose
//! record was never written (a crash between fork and write) is found by [`find_marked`].
//! What production's systemd or Kubernetes would start again when it ends by itself is run under a
//! small loop that does the same ([`Restart`]); everything else is started again by the next `up`.

mod pidfd;
mod proc_table;
mod record;
mod spec;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::journal::Made;
use crate::lab::Lab;

pub use proc_table::{find_marked, find_sharing_mount_namespace};
pub use record::Identity;
use record::Record;
pub use spec::{Restart, Spec, enter_command};

/// The environment variable that every daemon of a lab carries; its value is the lab's id.
pub const MARKER: &str = "DC_LAB_ID";

/// A killed process is gone as soon as the kernel has torn it down; this only bounds a hang.
const KILL_DEADLINE: Duration = Duration::from_secs(20);
/// How much of a log is shown when its process has failed.
const TAIL_BYTES: u64 = 3000;

/// What [`ensure`] found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    Kept(Identity),
    Started(Identity),
    Restarted(Identity),
}

impl Ensured {
    pub fn pid(self) -> u32 {
        match self {
            Self::Kept(id) | Self::Started(id) | Self::Restarted(id) => id.pid,
        }
    }
}

/// Makes the daemon run as the spec says: kept if it does, restarted if it runs otherwise.
pub fn ensure(lab: &Lab, spec: &Spec) -> Result<Ensured> {
    let fingerprint = spec.fingerprint();
    let old = Record::read(lab, &spec.name)?;
    match &old {
        Some(record) if record.identity.is_alive() => {
            if record.fingerprint == fingerprint {
                return Ok(Ensured::Kept(record.identity));
            }
            stop(lab, &spec.name)?;
            Ok(Ensured::Restarted(start(lab, spec, fingerprint)?))
        }
        _ => Ok(Ensured::Started(start(lab, spec, fingerprint)?)),
    }
}

fn start(lab: &Lab, spec: &Spec, fingerprint: String) -> Result<Identity> {
    lab.journal().will_make(&Made::Process {
        name: spec.name.clone(),
    })?;
    let log = open_log(&log_path(lab, &spec.name))?;
    let mut command = spec.command();
    command
        .env(MARKER, lab.id().to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // SAFETY: setsid is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()
                .map(drop)
                .map_err(std::io::Error::from)
        });
    }
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {} ({})", spec.name, spec.program.display()))?;
    let identity = Identity::of(child.id())
        .with_context(|| format!("{} ended at once: {}", spec.name, tail(lab, &spec.name)))?;
    Record {
        identity,
        fingerprint,
        stop_grace: spec.stop_grace,
        restart: spec.restart,
    }
    .write(lab, &spec.name)?;
    Ok(identity)
}

/// The identity of the named daemon, if it runs.
pub fn running(lab: &Lab, name: &str) -> Result<Option<Identity>> {
    let record = Record::read(lab, name)?;
    Ok(record
        .map(|record| record.identity)
        .filter(Identity::is_alive))
}

/// The names of all daemons the lab has a record of, running or not.
pub fn recorded(lab: &Lab) -> Result<Vec<String>> {
    Record::names(lab)
}

/// The process that does the daemon's work, if it runs: of a restarted daemon the program itself
/// and not the loop that starts it.
pub fn working(lab: &Lab, name: &str) -> Result<Option<Identity>> {
    let Some(record) = Record::read(lab, name)?.filter(|record| record.identity.is_alive()) else {
        return Ok(None);
    };
    Ok(match record.restart {
        Restart::Never => Some(record.identity),
        Restart::Always => proc_table::children(record.identity).into_iter().next(),
    })
}

/// Ends the named daemon and forgets it: SIGTERM, its grace, SIGKILL. Nothing to do is no error.
pub fn stop(lab: &Lab, name: &str) -> Result<()> {
    let Some(record) = Record::read(lab, name)? else {
        return Ok(());
    };
    end(&record, record.stop_grace).with_context(|| format!("cannot stop {name}"))?;
    Record::remove(lab, name)
}

/// Kills the named daemon without warning, as a test of what comes after; its record stays, and it
/// stays dead until [`ensure`]. To see it come back by itself, kill what [`working`] names.
pub fn kill(lab: &Lab, name: &str) -> Result<()> {
    match Record::read(lab, name)?.filter(|record| record.identity.is_alive()) {
        Some(record) => end(&record, Duration::ZERO),
        None => bail!("{name} is not running"),
    }
}

/// The loop of a restarted daemon goes first, so that it starts nothing again; what it had started
/// is ended by it in order, or here when it could not.
fn end(record: &Record, grace: Duration) -> Result<()> {
    let started = match record.restart {
        Restart::Never => Vec::new(),
        Restart::Always => proc_table::children(record.identity),
    };
    stop_identity(record.identity, grace)?;
    started
        .into_iter()
        .try_for_each(|child| stop_identity(child, Duration::ZERO))
}

/// Ends a process that is still the one that was meant; a grace of zero kills at once.
pub fn stop_identity(identity: Identity, grace: Duration) -> Result<()> {
    let Some(process) = pidfd::open_if_same(identity)? else {
        return Ok(());
    };
    if !grace.is_zero() {
        process.signal(Signal::SIGTERM)?;
        if process.wait(grace)? == pidfd::Waited::Ended {
            return Ok(());
        }
    }
    process.signal(Signal::SIGKILL)?;
    match process.wait(KILL_DEADLINE)? {
        pidfd::Waited::Ended => Ok(()),
        pidfd::Waited::StillRuns => bail!(
            "process {} does not end although it was killed; it hangs in the kernel",
            identity.pid
        ),
    }
}

/// Stops several processes side by side: all get SIGTERM first, so the graces overlap.
pub fn stop_all(identities: &[Identity], grace: Duration) -> Result<()> {
    let start = Instant::now();
    for identity in identities {
        if let Some(process) = pidfd::open_if_same(*identity)? {
            process.signal(Signal::SIGTERM)?;
        }
    }
    for identity in identities {
        stop_identity(*identity, grace.saturating_sub(start.elapsed()))?;
    }
    Ok(())
}

pub fn log_path(lab: &Lab, name: &str) -> PathBuf {
    lab.logs_dir().join(format!("{name}.log"))
}

fn open_log(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("cannot write the log {}", path.display()))
}

/// The end of a daemon's log, for the message about its failure.
pub fn tail(lab: &Lab, name: &str) -> String {
    let path = log_path(lab, name);
    let read = || -> std::io::Result<String> {
        let mut file = File::open(&path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let end = read().unwrap_or_else(|error| error.to_string());
    format!("the end of {}:\n{end}", path.display())
}

#[cfg(test)]
mod tests;
