//! The three daemons: their data, their start, and how it is seen that they work.

use std::fmt;
use std::fs;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::configuration::monitor_addresses;
use super::keys::{self, MONITOR_KEYRING};
use super::place::State;
use super::{Ceph, DEADLINE, exists, socket};
use crate::wait::{self, Look};

/// Written last into a daemon's data: without it the making was cut off.
const MADE: &str = "dc-made";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    Monitor,
    Manager,
    Osd,
}

impl Daemon {
    pub fn program(self) -> &'static str {
        match self {
            Self::Monitor => "ceph-mon",
            Self::Manager => "ceph-mgr",
            Self::Osd => "ceph-osd",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Manager => "manager",
            Self::Osd => "osd",
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Monitor => "monitor",
            Self::Manager => "manager",
            Self::Osd => "OSD",
        })
    }
}

/// A daemon that was started, and is not yet known to work.
pub(super) struct Started {
    daemon: Daemon,
    id: String,
}

/// As systemd would start it. Its data is made if it is not there.
pub(super) fn start(ceph: &Ceph, daemon: Daemon) -> Result<Started> {
    let id = prepare(ceph, daemon)?;
    let configuration = ceph.configuration().display().to_string();
    let mut args = vec!["--foreground".to_owned(), "--id".to_owned(), id.clone()];
    args.extend(["--conf".to_owned(), configuration]);
    if daemon == Daemon::Monitor {
        let keyring = ceph.file(MONITOR_KEYRING).display().to_string();
        args.extend(["--keyring".to_owned(), keyring]);
    }
    ceph.place.ensure(ceph, daemon, &args)?;
    Ok(Started { daemon, id })
}

/// Makes the daemon's data and keyring, if they are not there; gives the daemon's id.
fn prepare(ceph: &Ceph, daemon: Daemon) -> Result<String> {
    match daemon {
        Daemon::Monitor => {
            ensure_data(ceph, daemon, || make_monitor(ceph))?;
            Ok("a".to_owned())
        }
        Daemon::Manager => {
            let caps = ["mon", "allow profile mgr", "osd", "allow *"];
            keys::ensure_user(ceph, "mgr.a", &caps)?;
            fs::create_dir_all(ceph.file(daemon.folder()))?;
            Ok("a".to_owned())
        }
        Daemon::Osd => {
            let identity = keys::ensure_osd(ceph)?;
            let number = identity.number.to_string();
            ensure_data(ceph, daemon, || {
                let mut command = ceph.command(daemon.program());
                command.args(["--id", &number, "--mkfs", "--osd-uuid"]);
                keys::run_quietly(command.arg(identity.uuid.to_string()))
            })?;
            Ok(number)
        }
    }
}

fn make_monitor(ceph: &Ceph) -> Result<()> {
    let map = ceph.file("monitor.map");
    let cluster = keys::ensure_identity(ceph)?.to_string();
    let mut command = ceph.command("monmaptool");
    command.args(["--create", "--clobber", "--fsid", &cluster]);
    command.args(["--addv", "a", &monitor_addresses(ceph)]);
    keys::run_quietly(command.arg(&map))?;
    let mut command = ceph.command("ceph-mon");
    command.args(["--id", "a", "--mkfs", "--monmap"]).arg(&map);
    let keyring = ceph.file(MONITOR_KEYRING);
    keys::run_quietly(command.arg("--keyring").arg(keyring))
}

/// Data without the mark that it is whole is made again from nothing.
fn ensure_data(ceph: &Ceph, daemon: Daemon, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let folder = ceph.file(daemon.folder());
    let mark = folder.join(MADE);
    if exists(&mark)? {
        return Ok(());
    }
    if exists(&folder)? {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    make().with_context(|| format!("cannot make the data of the {daemon}"))?;
    fs::write(&mark, "")?;
    Ok(())
}

pub(super) async fn wait_until_it_works(ceph: &Ceph, started: &Started) -> Result<()> {
    let Started { daemon, id } = started;
    wait::until(&format!("the {daemon} of Ceph"), DEADLINE, async || {
        let looked = look(ceph, *daemon, id);
        match (looked, ceph.place.state(*daemon)) {
            (Ok(None), Ok(State::Runs)) => Look::Holds(()),
            (_, Ok(State::Ended)) => {
                Look::Never(anyhow!("it has ended: {}", ceph.place.tail(ceph, *daemon)))
            }
            (Ok(Some(seen)), Ok(State::Runs)) => Look::NotYet(seen),
            (Err(error), _) | (Ok(_), Err(error)) => Look::NotYet(format!("{error:#}")),
        }
    })
    .await
}

/// What is missing for the daemon to do its work; `None` when nothing is.
fn look(ceph: &Ceph, daemon: Daemon, id: &str) -> Result<Option<String>> {
    let (seen, works) = match daemon {
        Daemon::Monitor => {
            let status = socket::ask(&ceph.socket(&format!("mon.{id}")), "mon_status")?;
            let works = status["state"] == "leader";
            (status["state"].to_string(), works)
        }
        // Only the monitor knows whether it has taken over.
        Daemon::Manager => {
            let status = ceph.ask(&["status"])?;
            let works = status["mgrmap"]["available"] == true;
            (summary(&status), works)
        }
        Daemon::Osd => {
            let status = socket::ask(&ceph.socket(&format!("osd.{id}")), "status")?;
            let works = status["state"] == "active";
            (status["state"].to_string(), works)
        }
    };
    Ok((!works).then_some(seen))
}

fn summary(status: &Value) -> String {
    let Value::Object(parts) = status else {
        return status.to_string();
    };
    let shown = ["health", "mgrmap", "osdmap"].map(|part| format!("{part}: {:?}", parts.get(part)));
    shown.join(", ")
}
