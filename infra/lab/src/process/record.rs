//! What is remembered of a daemon on disk: which process it is, and what it was started as.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Restart, proc_table};
use crate::lab::Lab;

/// A process, told apart from a later one with the same pid by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: u32,
    /// Clock ticks after boot, field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
}

impl Identity {
    /// The identity of the process that has this pid now, if there is one.
    pub fn of(pid: u32) -> Option<Self> {
        proc_table::read_stat(pid).map(|stat| Self {
            pid,
            start_ticks: stat.start_ticks,
        })
    }

    /// The identity of this very process.
    pub fn own() -> Result<Self> {
        Self::of(std::process::id()).context("cannot read /proc/self/stat")
    }

    /// A zombie counts as ended: it holds nothing but its pid.
    pub fn is_alive(&self) -> bool {
        proc_table::read_stat(self.pid)
            .is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_zombie)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub identity: Identity,
    pub fingerprint: String,
    pub stop_grace: Duration,
    pub restart: Restart,
}

impl Record {
    pub fn read(lab: &Lab, name: &str) -> Result<Option<Self>> {
        let path = path(lab, name);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} is damaged", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub fn write(&self, lab: &Lab, name: &str) -> Result<()> {
        crate::cache::write_whole(&path(lab, name), &serde_json::to_vec(self)?)
    }

    pub fn remove(lab: &Lab, name: &str) -> Result<()> {
        match fs::remove_file(path(lab, name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub fn names(lab: &Lab) -> Result<Vec<String>> {
        let Ok(entries) = fs::read_dir(lab.run_dir()) else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry?.file_name();
            if let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".json")) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

fn path(lab: &Lab, name: &str) -> PathBuf {
    lab.run_dir().join(format!("{name}.json"))
}
