//! Running a tool inside a host's namespaces, with a time limit.
//!
//! In production the host is this one and nothing is entered but the network namespaces that the
//! agent made. Tests have several hosts on one machine: each is a process that holds a mount and
//! a network namespace of its own, and every tool joins those first. Namespaces are joined by the
//! child between fork and exec, so that no thread of this process ever changes its own, the one
//! of [`Enter::inside`] apart, which ends afterwards.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use dc_agent_core::network::Place;
use nix::sched::{CloneFlags, setns};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Everything a tool does here takes milliseconds; a loaded host may need some seconds.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Error)]
pub enum EnterError {
    #[error("there is no network namespace {0}")]
    NoNamespace(String),
    #[error("cannot open {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot run {tool}")]
    Run {
        tool: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{tool} did not end within {} s and was stopped", LIMIT.as_secs())]
    Hung { tool: &'static str },
    #[error("{tool} {arguments} failed: {stderr}")]
    Failed {
        tool: &'static str,
        arguments: String,
        stderr: String,
    },
}

/// How the namespaces of a host are entered.
#[derive(Clone, Debug, Default)]
pub struct Enter {
    /// The process that holds the host's namespaces, when it is not this one.
    holder: Option<u32>,
}

impl Enter {
    /// The host this process runs on.
    #[must_use]
    pub fn own() -> Self {
        Self::default()
    }

    /// A host whose mount and network namespaces `pid` holds.
    #[must_use]
    pub fn of_process(pid: u32) -> Self {
        Self { holder: Some(pid) }
    }

    /// Where `ip netns` keeps a namespace, as seen from here.
    #[must_use]
    pub fn netns_path(&self, name: &str) -> PathBuf {
        self.netns_folder().join(name)
    }

    #[must_use]
    pub fn netns_folder(&self) -> PathBuf {
        match self.holder {
            None => PathBuf::from("/run/netns"),
            Some(pid) => PathBuf::from(format!("/proc/{pid}/root/run/netns")),
        }
    }

    /// The namespaces to join for a place, in order.
    fn namespaces(&self, place: &Place) -> Result<Vec<(OwnedFd, CloneFlags)>, EnterError> {
        let mut out = Vec::new();
        if let Some(pid) = self.holder {
            let mount = PathBuf::from(format!("/proc/{pid}/ns/mnt"));
            out.push((open(mount)?, CloneFlags::CLONE_NEWNS));
        }
        match (place, self.holder) {
            (Place::Netns(name), _) => {
                let fd = open(self.netns_path(name)).map_err(|error| match error {
                    EnterError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                        EnterError::NoNamespace(name.clone())
                    }
                    other => other,
                })?;
                out.push((fd, CloneFlags::CLONE_NEWNET));
            }
            (Place::Host, Some(pid)) => {
                let net = PathBuf::from(format!("/proc/{pid}/ns/net"));
                out.push((open(net)?, CloneFlags::CLONE_NEWNET));
            }
            (Place::Host, None) => {}
        }
        Ok(out)
    }

    /// A command that will run there. The caller adds arguments and spawns it.
    pub fn command(&self, place: &Place, tool: &'static str) -> Result<Command, EnterError> {
        let namespaces = self.namespaces(place)?;
        let mut command = Command::new(tool);
        command.current_dir("/").env("LC_ALL", "C");
        let join = move || {
            for (fd, flags) in &namespaces {
                setns(fd.as_fd(), *flags).map_err(io::Error::from)?;
            }
            Ok(())
        };
        // SAFETY: setns is a bare system call; nothing is allocated or locked after the fork.
        unsafe {
            command.pre_exec(join);
        }
        Ok(command)
    }

    /// Runs a tool to its end, with `input` on its standard input, and returns what it printed.
    pub async fn run(
        &self,
        place: &Place,
        tool: &'static str,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<Vec<u8>, EnterError> {
        let mut command = self.command(place, tool)?;
        command.args(arguments);
        command.stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let failed = |source| EnterError::Run { tool, source };
        let work = async {
            let mut child = command.spawn().map_err(failed)?;
            let pipe = child.stdin.take();
            let feed = async move {
                if let (Some(mut pipe), Some(input)) = (pipe, input) {
                    // A tool that stops reading says why by its end.
                    let _ = pipe.write_all(input.as_bytes()).await;
                }
            };
            let (output, ()) = tokio::join!(child.wait_with_output(), feed);
            output.map_err(failed)
        };
        let output = tokio::time::timeout(LIMIT, work)
            .await
            .map_err(|_| EnterError::Hung { tool })??;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(EnterError::Failed {
            tool,
            arguments: arguments.join(" "),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Runs `work` in a thread of its own inside a place's network namespace. The files of
    /// `/proc/sys/net` are those of the namespace of the thread that opens them.
    pub async fn inside<T: Send + 'static>(
        &self,
        place: &Place,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EnterError> {
        let namespaces = self.namespaces(place)?;
        let tool = "setns";
        let (answer, result) = tokio::sync::oneshot::channel();
        let body = move || {
            let joined = namespaces
                .iter()
                .filter(|(_, flags)| *flags == CloneFlags::CLONE_NEWNET)
                .try_for_each(|(fd, flags)| setns(fd.as_fd(), *flags));
            let _ = answer.send(joined.map(|()| work()).map_err(io::Error::from));
        };
        std::thread::Builder::new()
            .name("netns".into())
            .spawn(body)
            .map_err(|source| EnterError::Run { tool, source })?;
        result
            .await
            .map_err(|_| EnterError::Run {
                tool,
                source: io::Error::other("the thread ended without an answer"),
            })?
            .map_err(|source| EnterError::Run { tool, source })
    }
}

fn open(path: PathBuf) -> Result<OwnedFd, EnterError> {
    match File::open(&path) {
        Ok(file) => Ok(file.into()),
        Err(source) => Err(EnterError::Open { path, source }),
    }
}
