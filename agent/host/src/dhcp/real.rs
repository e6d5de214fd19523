//! [`Dhcp`] by dnsmasq.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use dc_agent_core::names;
use dc_agent_core::network::Place;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Dhcp, DhcpError};
use crate::enter::Enter;

/// How long a server may take to end by itself, and then by force.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// dnsmasq, one process for each namespace.
#[derive(Clone, Debug)]
pub struct RealDhcp {
    enter: Enter,
    /// Holds a folder for each namespace.
    folder: PathBuf,
}

impl RealDhcp {
    #[must_use]
    pub fn new(enter: Enter, folder: PathBuf) -> Self {
        Self { enter, folder }
    }

    fn config_path(&self, netns: &str) -> PathBuf {
        self.folder.join(netns).join("dnsmasq.conf")
    }

    fn argument(&self, netns: &str) -> String {
        format!("--conf-file={}", self.config_path(netns).display())
    }

    /// Processes that run with our configuration of a namespace, inside that namespace.
    fn processes(&self, netns: &str) -> Vec<i32> {
        let Ok(place) = fs::metadata(self.enter.netns_path(netns)) else {
            return Vec::new();
        };
        let argument = self.argument(netns);
        let in_place = |pid: &i32| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|net| (net.dev(), net.ino()) == (place.dev(), place.ino()))
        };
        process_ids()
            .filter(|pid| command_line(*pid).contains(&argument))
            .filter(in_place)
            .collect()
    }

    async fn end(&self, netns: &str) -> Result<(), DhcpError> {
        for pid in self.processes(netns) {
            if !end_process(pid, Signal::SIGTERM).await && !end_process(pid, Signal::SIGKILL).await
            {
                return Err(DhcpError::Stuck(netns.to_owned(), pid));
            }
        }
        Ok(())
    }

    fn write(&self, netns: &str, config: &str) -> Result<(), DhcpError> {
        let path = self.config_path(netns);
        let failed = |source| DhcpError::File {
            path: path.clone(),
            source,
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(failed)?;
        fs::write(&path, config).map_err(failed)
    }
}

fn process_ids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn command_line(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes
        .split(|b| *b == 0)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect()
}

/// Whether the process has ended in time. A dead one that nobody has waited for yet counts.
async fn end_process(pid: i32, signal: Signal) -> bool {
    let command = command_line(pid);
    let ended = || command_line(pid) != command;
    if command.iter().all(String::is_empty) {
        return true;
    }
    // It may have ended in between; then there is nothing to signal.
    let _ = kill(Pid::from_raw(pid), signal);
    let wait = async {
        while !ended() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.is_ok()
}

#[async_trait]
impl Dhcp for RealDhcp {
    async fn running(&self) -> Result<BTreeMap<String, String>, DhcpError> {
        let mut out = BTreeMap::new();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(out),
            Err(source) => {
                let path = self.folder.clone();
                return Err(DhcpError::File { path, source });
            }
        };
        for entry in entries.flatten() {
            let Ok(netns) = entry.file_name().into_string() else {
                continue;
            };
            if names::netns_transit(&netns).is_none() || self.processes(&netns).is_empty() {
                continue;
            }
            // Without its file a server's configuration is unknown: it is started anew.
            let config = fs::read_to_string(self.config_path(&netns)).unwrap_or_default();
            out.insert(netns, config);
        }
        Ok(out)
    }

    async fn start(&self, netns: &str, config: &str) -> Result<(), DhcpError> {
        self.end(netns).await?;
        self.write(netns, config)?;
        let place = Place::Netns(netns.to_owned());
        let pid_file = "--pid-file";
        // It reads the file before it gives up root, and goes into the background when it serves.
        let arguments = [self.argument(netns), pid_file.to_owned()];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.enter.run(&place, "dnsmasq", &arguments, None).await?;
        Ok(())
    }

    async fn stop(&self, netns: &str) -> Result<(), DhcpError> {
        self.end(netns).await?;
        let path = self.folder.join(netns);
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(DhcpError::File { path, source })
            }
            _ => Ok(()),
        }
    }
}
