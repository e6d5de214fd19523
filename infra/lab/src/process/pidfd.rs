//! A handle on one process: a signal through it can never reach another that got the same pid.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::Identity;

pub(super) struct Process {
    pid: u32,
    fd: OwnedFd,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Ended,
    StillRuns,
}

/// Opens the process if it still is the one of `identity`. The handle is taken first and the start
/// time compared after: a pid cannot change hands while the handle is held.
pub(super) fn open_if_same(identity: Identity) -> Result<Option<Process>> {
    // SAFETY: pidfd_open takes two integers and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, identity.pid as libc::pid_t, 0) };
    if fd < 0 {
        return match Errno::last() {
            Errno::ESRCH => Ok(None),
            errno => Err(errno).with_context(|| format!("cannot open process {}", identity.pid)),
        };
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let process = Process {
        pid: identity.pid,
        fd,
    };
    if identity.is_alive() {
        return Ok(Some(process));
    }
    process.reap();
    Ok(None)
}

impl Process {
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo asks for what kill(2) would send.
        let sent = unsafe {
            let fd = self.fd.as_raw_fd();
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                fd,
                signal as libc::c_int,
                no_info,
                0,
            )
        };
        match Errno::result(sent) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("cannot signal {}", self.pid)),
        }
    }

    pub fn wait(&self, limit: Duration) -> Result<Waited> {
        let start = Instant::now();
        loop {
            let left = limit.saturating_sub(start.elapsed()).as_millis();
            let mut poll = libc::pollfd {
                fd: self.fd.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one valid pollfd, and its count.
            let ready =
                unsafe { libc::poll(&mut poll, 1, i32::try_from(left).unwrap_or(i32::MAX)) };
            match Errno::result(ready) {
                Ok(0) => return Ok(Waited::StillRuns),
                Ok(_) => {
                    self.reap();
                    return Ok(Waited::Ended);
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("cannot wait for a process"),
            }
        }
    }

    /// A daemon started by this very process stays a zombie until it is waited for; for all others
    /// there is nothing to do.
    fn reap(&self) {
        let _ = waitpid(Pid::from_raw(self.pid as i32), Some(WaitPidFlag::WNOHANG));
    }
}
