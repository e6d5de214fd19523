//! The DHCP servers of the departments on this host: one dnsmasq in each namespace that needs it.
//!
//! A server outlives the agent: it is in a session of its own, and is found again by its
//! command line, which names its configuration, and by its namespace. It is never told to read
//! its configuration again; a changed one means a new server, so that what runs is what the file
//! says. Addresses are static, so nothing is lost by that.

mod fake;
mod real;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use thiserror::Error;

use crate::enter::EnterError;
use crate::knobs::Injected;

pub use real::RealDhcp;

#[derive(Debug, Error)]
pub enum DhcpError {
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error("cannot use {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the DHCP server of namespace {0} (process {1}) does not end")]
    Stuck(String, i32),
    #[error("there is no namespace {0}")]
    NoNamespace(String),
    #[error(transparent)]
    Injected(#[from] Injected),
}

#[async_trait]
pub trait Dhcp: Send + Sync {
    /// The configuration of each server that runs, by namespace.
    async fn running(&self) -> Result<BTreeMap<String, String>, DhcpError>;
    /// Starts a server in a namespace, in place of the one that runs there.
    async fn start(&self, netns: &str, config: &str) -> Result<(), DhcpError>;
    /// Stops a namespace's server and removes its files; nothing to do when there is none.
    async fn stop(&self, netns: &str) -> Result<(), DhcpError>;
}
