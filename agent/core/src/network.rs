//! The network of a host: departments' routers, segments, endpoints, firewall, DHCP, edge.
//!
//! Each department has one namespace on each host that carries it. In it stand a bridge for every
//! subnet (the anycast gateway: same address and MAC on every host), the subnet's VXLAN port, the
//! taps of local machines, and the transit VXLAN that leads to the gateway hosts. The source host
//! routes, frames travel by the destination subnet's VXLAN, and `bridge-nf-call-*tables=1` makes
//! bridged frames cross the same `inet` forward hook as routed ones. So one stateful,
//! address-keyed table decides everything that flows, and conntrack on each machine's host sees
//! both directions.
//!
//! What always holds: rules are loaded before anything they rule has a port, a bridge port that no
//! rule knows is dropped, and whatever is taken away is closed before it is removed. Nothing is
//! learned from the wire: forwarding entries, neighbours and flood lists come from the plan.
//!
//! The words: [`validate`] takes the items of a host apart and refuses what cannot be carried out;
//! [`desired`] is what the host should look like, as a value; [`plan`] is the ordered difference
//! to what was [`seen`]; [`status`] says how each item stands. What is done to the machine is a
//! [`Change`], a [`firewall::Ruleset`] or a [`dhcp`] text; `dc-host` carries them out. Taps are
//! made and plugged by the machine vertical; only their port guard is made here.

pub mod change;
pub mod desired;
pub mod dhcp;
pub mod firewall;
pub mod plan;
pub mod seen;
pub mod state;
pub mod status;
pub mod validate;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use change::{Change, Machine};
pub use plan::{Act, Step, plan};
pub use seen::Seen;
pub use state::{Link, LinkKind, NetState, Place};
pub use status::status;

/// What an Ethernet network of hosts carries at least.
const UNDERLAY_MTU: u32 = 1500;

/// The UDP port of VXLAN (RFC 7348).
pub const VXLAN_PORT: u16 = 4789;

/// The MTU of guests, taps and segments: what is left of the overlay network's 1500 bytes after
/// the outer Ethernet (14), IP (20 or 40), UDP (8) and VXLAN (8) headers.
#[must_use]
pub fn guest_mtu(overlay: IpAddr) -> u32 {
    match overlay {
        IpAddr::V4(_) => UNDERLAY_MTU - 50,
        IpAddr::V6(_) => UNDERLAY_MTU - 70,
    }
}
