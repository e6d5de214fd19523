//! Running one of Ceph's programs to its end, with limits.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use super::RbdError;
use crate::drivers::cutoff::effect;

/// An operation that no OSD answers gives up after this long. A cluster that is finding itself
/// again after a death answers within half a minute.
pub(super) const OSD_LIMIT_S: u64 = 60;
/// The same towards monitors.
pub(super) const MONITOR_LIMIT_S: u64 = 30;

/// What a program may take in all when each of its operations is bounded: it is only here for one
/// that hangs elsewhere.
pub(super) const USUAL: Duration = Duration::from_secs(180);
/// For what copies or removes a whole image. Each of its operations is bounded as well.
pub(super) const BULK: Duration = Duration::from_secs(24 * 3600);

/// How much of what a program said is told.
const SHOWN: usize = 600;

/// What every call of a program is given.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub conf: PathBuf,
    pub user: String,
}

/// One call. Arguments are shown in errors, so nothing secret is ever among them.
pub(super) struct Call {
    program: &'static str,
    args: Vec<String>,
    limit: Duration,
    does: Does,
}

/// Whether a call leaves something behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Look,
    Change,
}

impl Call {
    pub fn new(program: &'static str, args: &[&str]) -> Self {
        Self {
            program,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            limit: USUAL,
            does: Does::Look,
        }
    }

    /// One that changes something in the cluster.
    pub fn change(program: &'static str, args: &[&str]) -> Self {
        Self {
            does: Does::Change,
            ..Self::new(program, args)
        }
    }

    pub fn arg(mut self, arg: impl ToString) -> Self {
        self.args.push(arg.to_string());
        self
    }

    pub fn bulk(mut self) -> Self {
        self.limit = BULK;
        self
    }

    fn what(&self) -> String {
        self.args.join(" ")
    }

    pub async fn run(self, client: &Client) -> Result<Vec<u8>, RbdError> {
        let program = self.program;
        if self.does == Does::Change {
            effect();
        }
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env("LC_ALL", "C")
            // Times are told in the local zone, and read here as UTC.
            .env("TZ", "UTC")
            .env_remove("CEPH_ARGS")
            .arg("--conf")
            .arg(&client.conf)
            .args(["--id", &client.user])
            .arg(format!("--rados-osd-op-timeout={OSD_LIMIT_S}"))
            .arg(format!("--rados-mon-op-timeout={MONITOR_LIMIT_S}"))
            .arg(format!("--client-mount-timeout={MONITOR_LIMIT_S}"))
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let failed = |source| RbdError::NotStarted { program, source };
        let work = async { command.spawn()?.wait_with_output().await };
        let Ok(output) = tokio::time::timeout(self.limit, work).await else {
            return Err(RbdError::Hung {
                program,
                what: self.what(),
                limit_s: self.limit.as_secs(),
            });
        };
        let output = output.map_err(failed)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = last_words(&output.stderr);
        Err(RbdError::Refused {
            program,
            what: self.what(),
            errno: errno_of(output.status.code()),
            said,
        })
    }

    pub async fn ask<T: DeserializeOwned>(self, client: &Client) -> Result<T, RbdError> {
        let (program, what) = (self.program, self.what());
        let answer = self.arg("--format").arg("json").run(client).await?;
        serde_json::from_slice(&answer).map_err(|error| RbdError::Nonsense {
            program,
            what,
            why: error.to_string(),
        })
    }
}

/// The programs end with the error's number.
fn errno_of(code: Option<i32>) -> Errno {
    // Ended by a signal, it has none.
    code.map_or(Errno::EINTR, Errno::from_raw)
}

/// The end of what was said: the programs tell their progress first and the reason last.
fn last_words(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines = said.lines().flat_map(|line| line.split('\r'));
    let lines: Vec<&str> = lines
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains("% complete"))
        .collect();
    let text = lines.join("; ");
    let from = text.len().saturating_sub(SHOWN);
    let from = (from..=text.len()).find(|&at| text.is_char_boundary(at));
    text[from.unwrap_or_default()..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_with_the_number_of_its_error() {
        assert_eq!(errno_of(Some(39)), Errno::ENOTEMPTY);
        assert_eq!(errno_of(Some(1)), Errno::EPERM);
        assert_eq!(errno_of(None), Errno::EINTR);
    }

    #[test]
    fn what_was_said_last_is_told_without_the_progress() {
        let said = b"Removing image: 10% complete...\rRemoving image: 0% complete...failed.\nrbd: it has snapshots\n";
        assert_eq!(last_words(said), "rbd: it has snapshots");
    }
}
