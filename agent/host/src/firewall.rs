//! Loading nftables rulesets into a namespace and reading back what is there.

mod fake;
mod parse;
mod real;

use std::net::IpAddr;

use async_trait::async_trait;
use dc_agent_core::network::Place;
use dc_agent_core::network::firewall::department::Cuts;
use dc_agent_core::network::firewall::{Ruleset, TableSeen, department, edge, guard, overlay};
use thiserror::Error;

use crate::enter::EnterError;
use crate::knobs::Injected;

pub use real::RealFirewall;

/// Family and name of the tables that are ours. Others are neither read nor touched.
pub const OURS: [(&str, &str); 4] = [
    ("inet", department::TABLE),
    ("bridge", guard::TABLE),
    ("inet", edge::TABLE),
    ("inet", overlay::TABLE),
];

#[derive(Debug, Error)]
pub enum FirewallError {
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error("nft printed what cannot be read: {0}")]
    Unreadable(String),
    #[error("there is no {0}")]
    NoPlace(Place),
    #[error(transparent)]
    Injected(#[from] Injected),
}

#[async_trait]
pub trait Firewall: Send + Sync {
    /// Puts each table of the ruleset in place of the one of its name, all in one transaction.
    async fn load(&self, place: &Place, ruleset: &Ruleset) -> Result<(), FirewallError>;
    /// Takes these out of the department's sets of things to be cut.
    async fn forget_cuts(&self, place: &Place, cuts: &Cuts) -> Result<(), FirewallError>;
    /// Our tables in a namespace.
    async fn tables(&self, place: &Place) -> Result<Vec<TableSeen>, FirewallError>;
}

/// The set of the department's table that an address to be cut stands in.
fn cut_set(address: IpAddr) -> &'static str {
    department::CUT_SETS[if address.is_ipv4() { 1 } else { 2 }]
}
