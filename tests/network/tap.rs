//! A tap held open as QEMU holds it: what is written is what the machine sends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
use dc_agent_core::network::Place;
use dc_host::enter::Enter;
use nix::libc;
use tokio::io::unix::AsyncFd;

/// Frames cross two hosts of this machine in well under a millisecond.
const PATIENCE: Duration = Duration::from_secs(20);

#[repr(C)]
pub struct Request {
    name: [u8; 16],
    flags: libc::c_short,
    rest: [u8; 22],
}

nix::ioctl_write_ptr_bad!(
    attach,
    nix::request_code_write!(b'T', 202, std::mem::size_of::<libc::c_int>()),
    Request
);

pub struct Tap {
    file: AsyncFd<File>,
}

impl Tap {
    /// Opens a tap that stands in the host's own namespace.
    pub async fn open(enter: &Enter, name: &str) -> Result<Self> {
        let mut request = Request {
            name: [0; 16],
            flags: (libc::IFF_TAP | libc::IFF_NO_PI).try_into()?,
            rest: [0; 22],
        };
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        let open = move || -> io::Result<File> {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open("/dev/net/tun")?;
            // SAFETY: the request is a whole ifreq and outlives the call.
            unsafe { attach(file.as_raw_fd(), &raw const request) }?;
            Ok(file)
        };
        let file = enter.inside(&Place::Host, open).await?;
        let file = file.context("cannot open the tap")?;
        // SAFETY: a File keeps its descriptor for as long as it lives.
        let file = unsafe { AsyncFd::register(file) }?;
        Ok(Self { file })
    }

    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.file.get_ref().write_all(frame)?;
        Ok(())
    }

    async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 4096];
        loop {
            let mut ready = self.file.readable().await?;
            let read = ready.try_io(|file| file.get_ref().read(&mut buffer));
            if let Ok(size) = read {
                buffer.truncate(size?);
                return Ok(buffer);
            }
        }
    }

    /// Everything that arrives up to and with the first frame that holds `mark`.
    pub async fn until(&self, mark: &str) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        let look = async {
            loop {
                let frame = self.receive().await?;
                let found = holds(&frame, mark);
                frames.push(frame);
                if found {
                    return Ok::<_, io::Error>(());
                }
            }
        };
        let done = tokio::time::timeout(PATIENCE, look).await;
        done.with_context(|| format!("{mark} did not arrive"))??;
        Ok(frames)
    }
}

pub fn holds(frame: &[u8], mark: &str) -> bool {
    frame
        .windows(mark.len())
        .any(|window| window == mark.as_bytes())
}
