//! A process that keeps a mount and a network namespace of its own, as a host would be.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use dc_host::enter::Enter;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A memory file system in place of /run keeps the names of namespaces apart.
const SCRIPT: &str = "mount -t tmpfs none /run && mkdir /run/netns && ip link set lo up && \
                      echo ready && exec sleep infinity";

pub struct Holder {
    child: Child,
}

impl Holder {
    pub fn start() -> Result<Self> {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--net", "sh", "-c", SCRIPT])
            .stdout(Stdio::piped());
        // SAFETY: prctl is a bare system call.
        unsafe {
            command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?));
        }
        let mut child = command.spawn().context("cannot start unshare")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no output")?;
        let holder = Self { child };
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line == "ready\n", "the holder said {line:?}: is this root?");
        Ok(holder)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn enter(&self) -> Enter {
        Enter::of_process(self.pid())
    }

    /// Processes in this mount namespace: the holder itself, and servers started in it.
    fn inhabitants(&self) -> Vec<i32> {
        let mount = |pid: i32| {
            let metadata = fs::metadata(format!("/proc/{pid}/ns/mnt")).ok()?;
            Some((metadata.dev(), metadata.ino()))
        };
        let own = mount(self.pid().cast_signed());
        let entries = fs::read_dir("/proc").into_iter().flatten();
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| own.is_some() && mount(*pid) == own)
            .collect()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        for pid in self.inhabitants() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
