//! The overlay network's door: table `inet overlay` in the host's own namespace.
//!
//! Tunnel packets are heard only from the hosts that carry one of this host's departments. Nothing
//! else of the host's own traffic is judged here.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Chain, Element, Family, Form, Policy, Set, Table};
use crate::network::VXLAN_PORT;
use crate::network::validate::{Home, Network};

pub const TABLE: &str = "overlay";

/// The table for everything this host carries.
#[must_use]
pub fn table(networks: &[Network]) -> Table {
    let mut vteps: BTreeSet<IpAddr> = BTreeSet::new();
    for network in networks {
        vteps.extend(network.body.peers.iter().map(|peer| peer.vtep));
        vteps.extend(network.endpoints.iter().filter_map(|e| match e.home {
            Home::Here => None,
            Home::Elsewhere(vtep) => Some(vtep),
        }));
    }
    let of = |wanted: fn(&IpAddr) -> bool| {
        let vteps = vteps.iter().filter(move |vtep| wanted(vtep));
        vteps.map(|vtep| Element::new(vtep.to_string()))
    };
    Table {
        family: Family::Inet,
        name: TABLE,
        owner: "overlay".to_owned(),
        sets: vec![
            Set::new("vteps4", "ipv4_addr", Form::Single).with(of(IpAddr::is_ipv4)),
            Set::new("vteps6", "ipv6_addr", Form::Single).with(of(IpAddr::is_ipv6)),
        ],
        chains: vec![
            Chain::base("hear", "filter hook input priority -10", Policy::Accept)
                .rule(format!(
                    "udp dport {VXLAN_PORT} ip saddr != @vteps4 counter drop"
                ))
                .rule(format!(
                    "udp dport {VXLAN_PORT} ip6 saddr != @vteps6 counter drop"
                )),
        ],
    }
}
