//! Namespaces, links, addresses, routes, neighbours, forwarding entries and taps of the host.
//!
//! [`Links`] carries out the [`Change`]s of the network vertical and reads back what is there. It
//! is also where the machine vertical gets its taps: [`Links::make_tap`] in the host's namespace,
//! where QEMU opens it, then [`Links::plug_tap`] into the department's, while the machine is
//! still paused.

mod fake;
mod parse;
mod real;
mod render;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use dc_agent_core::network::state::TapUse;
use dc_agent_core::network::{Change, NetState, Place};
use thiserror::Error;

use crate::enter::EnterError;
use crate::knobs::Injected;

pub use fake::{Connection, FakeNetwork};
pub use real::RealLinks;

#[derive(Debug, Error)]
pub enum LinksError {
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error("{tool} printed what cannot be read: {message}")]
    Unreadable { tool: &'static str, message: String },
    #[error("cannot set {name} to {value} in {place}: {message}")]
    Sysctl {
        name: String,
        value: String,
        place: String,
        message: String,
    },
    /// Of the fake: what a kernel would refuse.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Injected(#[from] Injected),
}

/// A tap of ours, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapSeen {
    pub place: Place,
    /// The bridge it is a port of.
    pub bridge: Option<String>,
    /// Whether QEMU holds it open; known once the interface is up.
    pub in_use: TapUse,
}

#[async_trait]
pub trait Links: Send + Sync {
    /// The namespaces made by `ip netns`, ours and others'.
    async fn netns_names(&self) -> Result<BTreeSet<String>, LinksError>;
    /// Makes a namespace with its loopback up, unless it is there.
    async fn add_netns(&self, name: &str) -> Result<(), LinksError>;
    /// Removes a namespace with everything in it; nothing to do when it is not there.
    async fn remove_netns(&self, name: &str) -> Result<(), LinksError>;
    /// What a namespace holds, and the settings named; `None` when there is no such namespace.
    async fn state(&self, place: &Place, sysctls: &[&str]) -> Result<Option<NetState>, LinksError>;
    /// Does the changes in order; stops at the first that fails.
    async fn change(&self, place: &Place, changes: &[Change]) -> Result<(), LinksError>;

    /// Makes a tap in the host's own namespace, down, for QEMU to open. A leftover of that name,
    /// there or in a department's namespace, is deleted first.
    async fn make_tap(&self, name: &str, mtu: u32) -> Result<(), LinksError>;
    /// Moves a tap into a namespace, makes it a port of a bridge there, and brings it up. May be
    /// repeated.
    async fn plug_tap(&self, name: &str, netns: &str, bridge: &str) -> Result<(), LinksError>;
    /// Deletes a tap wherever it stands; nothing to do when it is not there.
    async fn delete_tap(&self, name: &str) -> Result<(), LinksError>;
    /// Every tap in the host's own namespace and in the departments', by name.
    async fn taps(&self) -> Result<BTreeMap<String, TapSeen>, LinksError>;
}
