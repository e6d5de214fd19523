//! What to run, and how: a value that [`super::ensure`] carries out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a daemon may take to end after SIGTERM before it is killed, unless it says otherwise.
const USUAL_GRACE: Duration = Duration::from_secs(10);

/// What happens when the daemon ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Restart {
    Never,
    /// It is started again, as by systemd's `Restart=always`.
    Always,
}

/// The loop of [`Restart::Always`]. SIGTERM is passed on, and the loop ends when the program has.
const KEEP_ALIVE: &str = r#"
trap 'stopping=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM
while [ -z "$stopping" ]; do
    "$@" &
    child=$!
    [ -z "$stopping" ] || kill -TERM "$child"
    # A signal cuts the waiting short: wait until there is nobody left to wait for.
    while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        status=$?
    done
    [ -n "$stopping" ] || { echo "ended with status $status, starting it again" >&2; sleep 1; }
done
"#;

/// What to run. `name` is unique in its lab and names the record and the log.
#[derive(Debug, Clone)]
pub struct Spec {
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub dir: Option<PathBuf>,
    /// Run in the mount, network and UTS namespaces of this process.
    pub enter: Option<u32>,
    pub stop_grace: Duration,
    pub restart: Restart,
    /// Lines on which the process depends beside its arguments (digests of configuration files,
    /// say): a change in them restarts it.
    pub depends_on: Vec<String>,
}

impl Spec {
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            enter: None,
            stop_grace: USUAL_GRACE,
            restart: Restart::Never,
            depends_on: Vec::new(),
        }
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    pub fn depends_on(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.depends_on.extend(lines);
        self
    }

    pub fn enter(mut self, pid: u32) -> Self {
        self.enter = Some(pid);
        self
    }

    /// The command as it will be executed. nsenter replaces itself by the program, so the pid of
    /// the one is the pid of the other.
    pub(super) fn command(&self) -> Command {
        let (program, before): (&Path, &[&str]) = match self.restart {
            Restart::Never => (&self.program, &[]),
            Restart::Always => (Path::new("/bin/sh"), &["-c", KEEP_ALIVE, "keep-alive"]),
        };
        let mut command = match self.enter {
            None => {
                let mut command = Command::new(program);
                if let Some(dir) = &self.dir {
                    command.current_dir(dir);
                }
                command
            }
            Some(pid) => {
                let mut command = enter_command(pid, self.dir.as_deref().unwrap_or(Path::new("/")));
                command.arg(program);
                command
            }
        };
        command.args(before);
        if self.restart == Restart::Always {
            command.arg(&self.program);
        }
        command.args(&self.args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Changes whenever the running process is no longer what the spec asks for.
    pub(super) fn fingerprint(&self) -> String {
        let Self {
            name,
            program,
            args,
            env,
            dir,
            enter,
            stop_grace: _,
            restart,
            depends_on,
        } = self;
        let built = fs::metadata(program).and_then(|file| file.modified()).ok();
        crate::cache::digest([format!(
            "{name:?} {program:?} {built:?} {args:?} {env:?} {dir:?} {enter:?} {restart:?} {depends_on:?}"
        )])
    }
}

/// `nsenter` into the mount, network and UTS namespaces of `pid`; the program is still to be
/// added. `--wdns` because entering a mount namespace leaves the working folder at its root.
pub fn enter_command(pid: u32, dir: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid.to_string(), "--mount", "--net", "--uts"]);
    command.arg(format!("--wdns={}", dir.display())).arg("--");
    command
}
