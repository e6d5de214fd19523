//! All tools of one host, as the reconcilers are given them.
//!
//! A vertical adds its tool in three places of this file, one line each: the trait object in
//! [`Tools`], the fake in [`Fakes`], and both in the constructors. A reconciler sees [`Tools`]
//! alone and cannot tell a real host from a fake one.
//!
//! Fakes remember as a machine does: they outlive the agent that used them. [`Fakes::tools`] gives
//! the same machine to the next agent, as after a crash; [`Fakes::reboot`] makes it forget what a
//! reboot forgets.

use std::path::PathBuf;
use std::sync::Arc;

use dc_agent_core::wanted::HostView;
use thiserror::Error;

use crate::knobs::Knobs;

/// What the real tools need to know beyond the host's view of itself.
#[derive(Clone, Debug)]
pub struct ToolsConfig {
    pub host: Arc<HostView>,
    /// Such as `qemu:///system`; absent on hosts that carry no machines.
    pub libvirt_uri: Option<String>,
    /// tgtd's control socket; absent on hosts that hold no volumes.
    pub tgt: Option<TgtControl>,
}

/// Where tgtd is spoken to: `TGT_IPC_SOCKET` and the number given with `-C`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TgtControl {
    pub socket: Option<PathBuf>,
    pub number: u16,
}

/// A tool that cannot be used on this host.
#[derive(Debug, Error)]
pub enum ToolsError {
    #[error("{tool} cannot be used on this host: {message}")]
    Unusable { tool: &'static str, message: String },
}

/// The tools of one host, real or fake.
#[derive(Clone)]
pub struct Tools {
    // storage

    // network

    // vm
}

impl Tools {
    /// The real ones. Opens what is kept open; changes nothing.
    #[allow(clippy::unused_async)]
    pub async fn real(config: &ToolsConfig) -> Result<Self, ToolsError> {
        let _ = config;
        Ok(Self {
            // storage

            // network

            // vm
        })
    }
}

/// One fake machine: what its tools remember, and the knobs on them.
#[derive(Clone)]
pub struct Fakes {
    pub knobs: Knobs,
    // storage

    // network

    // vm
}

impl Fakes {
    /// A machine on which nothing of ours is yet. Each fake keeps a clone of `knobs`.
    #[must_use]
    pub fn new(host: &HostView) -> Self {
        let _ = host;
        let knobs = Knobs::new();
        Self {
            // storage

            // network

            // vm
            knobs,
        }
    }

    /// The tools of this machine.
    #[must_use]
    pub fn tools(&self) -> Tools {
        Tools {
            // storage

            // network

            // vm
        }
    }

    /// What a reboot does: domains, namespaces, interfaces, rules and targets are gone; files stay.
    pub fn reboot(&self) {
        // storage

        // network

        // vm
    }
}
