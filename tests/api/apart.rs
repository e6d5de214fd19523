//! The network of the browser, which nobody changes: Chromium drops what it is loading whenever a
//! link or an address comes or goes, and the parts beside this one make bridges all the time. A page
//! that was an answer to a form cannot be asked for again.
//!
//! It has loopback alone. What listens on the lab's is reached by the same port.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;

use anyhow::{Result, anyhow};
use dc_lab::wait::{self, Look};
use nix::sched::{CloneFlags, setns};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::desk::DEADLINE;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The network of a process that has left ours, by its pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart(u32);

/// A program and what comes before its own arguments, so that it runs in a network of its own.
pub fn command(program: &str) -> (&'static str, Vec<String>) {
    let script = r#"ip link set lo up && exec "$@""#;
    let args = ["--net", "--", "sh", "-c", script, "apart", program];
    ("unshare", args.map(str::to_owned).to_vec())
}

impl Apart {
    /// Waits until the process has left our network.
    pub async fn of(pid: u32) -> Result<Self> {
        let ours = fs::read_link("/proc/self/ns/net")?;
        wait::until(
            "a network for the browser",
            DEADLINE,
            async || match fs::read_link(format!("/proc/{pid}/ns/net")) {
                Ok(its) if its != ours => Look::Holds(()),
                Ok(_) => Look::NotYet("it is in ours".to_owned()),
                Err(error) => Look::Never(error.into()),
            },
        )
        .await?;
        Ok(Self(pid))
    }

    /// A thread that has entered a network stays there, and a socket where it was made.
    fn enter<T: Send + 'static>(
        self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let entered = std::thread::spawn(move || {
            let network = File::open(format!("/proc/{}/ns/net", self.0))?;
            setns(network, CloneFlags::CLONE_NEWNET)?;
            work()
        });
        let made = entered.join().map_err(|_| anyhow!("a thread panicked"))?;
        made.map_err(|error| anyhow!("in the network of process {}: {error}", self.0))
    }

    /// The way in: gives the port of ours that leads to this one there.
    pub async fn way_in(self, port: u16) -> Result<u16> {
        let door = TcpListener::bind((HERE, 0)).await?;
        let ours = door.local_addr()?.port();
        tokio::spawn(async move {
            while let Ok((outer, _)) = door.accept().await {
                let made =
                    self.enter(move || nonblocking(std::net::TcpStream::connect((HERE, port))?));
                // Whoever comes before the program listens is hung up on, as without the door.
                if let Ok(inner) = made.and_then(|inner| Ok(TcpStream::from_std(inner)?)) {
                    join(outer, inner);
                }
            }
        });
        Ok(ours)
    }

    /// The way out: this port there leads to the same of ours.
    pub async fn way_out(self, port: u16) -> Result<()> {
        let door = self.enter(move || {
            let door = std::net::TcpListener::bind((HERE, port))?;
            door.set_nonblocking(true)?;
            Ok(door)
        })?;
        let door = TcpListener::from_std(door)?;
        tokio::spawn(async move {
            while let Ok((inner, _)) = door.accept().await {
                if let Ok(outer) = TcpStream::connect((HERE, port)).await {
                    join(inner, outer);
                }
            }
        });
        Ok(())
    }
}

fn nonblocking(stream: std::net::TcpStream) -> io::Result<std::net::TcpStream> {
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Until one side hangs up, which the other then sees.
fn join(mut one: TcpStream, mut other: TcpStream) {
    tokio::spawn(async move { copy_bidirectional(&mut one, &mut other).await });
}
