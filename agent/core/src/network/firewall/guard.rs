//! The port guard: table `bridge guard` in a department's namespace.
//!
//! Every frame that enters a bridge crosses it before anything else. A port it does not know is
//! closed. A local card may send only with its own MAC, IPv4 and IPv6 addresses (of link-local
//! ones the one made from its MAC), also inside ARP and neighbour advertisements; it is no DHCP
//! server and no router; other ethertypes, VLAN tags among them, are dropped. From a tunnel come
//! only frames of endpoints on other hosts, with their own addresses, and packets which another
//! host's gateway has routed. DHCP and router discovery stay on their host.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use dc_types::plan::Segment;
use dc_types::{InstanceId, Mac};

use super::{Chain, Element, Family, Form, Policy, Set, Table};
use crate::names;
use crate::network::validate::{Endpoint, Home, Network};

pub const TABLE: &str = "guard";

/// The guard of a department on this host.
#[must_use]
pub fn table(network: &Network) -> Table {
    let local = || network.endpoints.iter().filter(|e| e.home == Home::Here);
    let mut ports = Set::new("ports", "ifname : verdict", Form::Single);
    let mut sets = Vec::new();
    let mut chains = vec![
        Chain::base(
            "enter",
            "filter hook prerouting priority -300",
            Policy::Drop,
        )
        .rule("iifname vmap @ports")
        .rule("counter drop"),
        leave(),
        from_router(),
    ];
    for segment in &network.body.segments {
        let port = names::vxlan_name(segment.vni);
        let element = format!("\"{port}\" : goto from_{port}");
        ports.elements.push(Element::new(element));
        sets.extend(remote_sets(network, segment));
        chains.push(from_tunnel(segment));
    }
    for endpoint in local() {
        let tap = tap_of(endpoint);
        ports
            .elements
            .push(Element::new(format!("\"{tap}\" : goto {}", chain_of(&tap))));
        chains.push(from_card(endpoint, &tap));
    }
    sets.insert(0, ports);
    Table {
        family: Family::Bridge,
        name: TABLE,
        owner: format!("network {}", network.key().id),
        sets,
        chains,
    }
}

/// A guard that lets nothing through, for a namespace whose settings are not as they must be.
#[must_use]
pub fn closed(network: &Network) -> Table {
    Table {
        family: Family::Bridge,
        name: TABLE,
        owner: format!("network {}", network.key().id),
        sets: Vec::new(),
        chains: vec![Chain::base(
            "enter",
            "filter hook prerouting priority -300",
            Policy::Drop,
        )],
    }
}

/// The tap of an endpoint.
#[must_use]
pub fn tap_of(endpoint: &Endpoint) -> String {
    let key = endpoint.key();
    names::tap_name(InstanceId(key.id), key.card)
}

/// The chain that guards a tap.
#[must_use]
pub fn chain_of(tap: &str) -> String {
    format!("from_{tap}")
}

/// The link-local address that a card makes from its MAC (RFC 4291, appendix A).
#[must_use]
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        word(a ^ 2, b),
        word(c, 0xff),
        word(0xfe, d),
        word(e, f),
    )
}

fn hex(address: Ipv6Addr) -> String {
    address
        .octets()
        .iter()
        .fold("0x".to_owned(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

fn from_card(endpoint: &Endpoint, tap: &str) -> Chain {
    let mac = endpoint.body.mac;
    let mut chain = Chain::new(chain_of(tap))
        .rule(format!("ether saddr != {mac} counter drop"))
        .rule(format!(
            "ether type arp arp saddr ether != {mac} counter drop"
        ));
    if let Some(v4) = endpoint.body.v4 {
        chain = chain
            // 0.0.0.0 asks whether an address is taken (RFC 5227).
            .rule(format!(
                "ether type arp arp saddr ip {{ 0.0.0.0, {v4} }} accept"
            ))
            .rule("ether type ip udp sport 67 counter drop")
            .rule(
                "ether type ip ip saddr 0.0.0.0 ip daddr 255.255.255.255 \
                 udp sport 68 udp dport 67 accept",
            )
            .rule(format!("ether type ip ip saddr {v4} accept"));
    }
    if let Some(v6) = endpoint.body.v6 {
        let own = link_local(mac);
        chain = chain
            .rule("ether type ip6 icmpv6 type { nd-router-advert, nd-redirect } counter drop")
            .rule("ether type ip6 udp sport 547 counter drop")
            // A router advertisement must come from a link-local address: none in pieces.
            .rule("ether type ip6 ip6 saddr fe80::/10 exthdr frag exists counter drop")
            // nft has no name for the target address of an advertisement: 64 bits into it.
            .rule(format!(
                "ether type ip6 icmpv6 type nd-neighbor-advert \
                 @th,64,128 != {{ {}, {} }} counter drop",
                hex(v6),
                hex(own)
            ))
            .rule(format!("ether type ip6 ip6 saddr {{ {v6}, {own} }} accept"))
            .rule(
                "ether type ip6 ip6 saddr :: icmpv6 type \
                 { nd-neighbor-solicit, nd-router-solicit, mld2-listener-report } accept",
            );
    }
    chain.rule("counter drop")
}

/// The addresses of endpoints on other hosts, bound to their MACs.
fn remote_sets(network: &Network, segment: &Segment) -> [Set; 3] {
    let number = segment.vni;
    let mut v4 = Set::new(
        format!("remote4_{number}"),
        "ether_addr . ipv4_addr",
        Form::Single,
    );
    let mut v6 = Set::new(
        format!("remote6_{number}"),
        "ether_addr . ipv6_addr",
        Form::Single,
    );
    let mut advertised = Set::new(
        format!("advertised_{number}"),
        "ether saddr . @th,64,128",
        Form::Single,
    );
    for endpoint in &network.endpoints {
        if endpoint.segment.subnet != segment.subnet || endpoint.home == Home::Here {
            continue;
        }
        let mac = endpoint.body.mac;
        if let Some(address) = endpoint.body.v4 {
            v4.elements.push(Element::new(format!("{mac} . {address}")));
        }
        if let Some(address) = endpoint.body.v6 {
            let own = link_local(mac);
            for address in [address, own] {
                v6.elements.push(Element::new(format!("{mac} . {address}")));
                let target = format!("{mac} . {}", hex(address));
                advertised.elements.push(Element::new(target));
            }
        }
    }
    [v4, v6, advertised]
}

fn from_tunnel(segment: &Segment) -> Chain {
    let number = segment.vni;
    Chain::new(format!("from_{}", names::vxlan_name(number)))
        .rule("ether type ip udp sport 67 counter drop")
        .rule("ether type ip udp dport 67 counter drop")
        .rule("ether type ip6 udp sport 547 counter drop")
        .rule("ether type ip6 udp dport 547 counter drop")
        .rule(
            "ether type ip6 icmpv6 type { nd-router-solicit, nd-router-advert, nd-redirect } \
             counter drop",
        )
        .rule(format!(
            "ether saddr {} goto from_router",
            segment.gateway_mac
        ))
        .rule(format!(
            "ether type arp ether saddr . arp saddr ip @remote4_{number} \
             arp saddr ether . arp saddr ip @remote4_{number} accept"
        ))
        .rule(format!(
            "ether type ip ether saddr . ip saddr @remote4_{number} accept"
        ))
        .rule(format!(
            "ether type ip6 icmpv6 type nd-neighbor-advert \
             ether saddr . @th,64,128 != @advertised_{number} counter drop"
        ))
        .rule(format!(
            "ether type ip6 ether saddr . ip6 saddr @remote6_{number} accept"
        ))
        .rule("counter drop")
}

/// What another host's gateway sends by a tunnel: routed packets. It never asks for neighbours,
/// which it has from the plan, and must not be answered for.
fn from_router() -> Chain {
    Chain::new("from_router")
        .rule("ether type ip accept")
        .rule("ether type ip6 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } counter drop")
        .rule("ether type ip6 accept")
        .rule("counter drop")
}

/// DHCP and router discovery stay on their host: each host has its own server.
fn leave() -> Chain {
    let hook = "filter hook postrouting priority 0";
    Chain::base("leave", hook, Policy::Accept)
        .rule("oifname \"vx*\" ether type ip udp dport { 67, 68 } counter drop")
        .rule("oifname \"vx*\" ether type ip6 udp dport { 546, 547 } counter drop")
        .rule(
            "oifname \"vx*\" ether type ip6 icmpv6 type \
             { nd-router-solicit, nd-router-advert, nd-redirect } counter drop",
        )
}
