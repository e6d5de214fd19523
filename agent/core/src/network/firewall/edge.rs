//! The edge of a gateway host: table `inet edge` in the edge namespace.
//!
//! From outside, only what some endpoint publishes passes; to the outside, only replies. Both are
//! judged anew for each packet by the published address and port, so that revoking needs no cut
//! of live connections here. Packets never cross from one department to another.

use std::net::IpAddr;

use dc_types::{PortRange, Protocol};

use super::{Chain, Element, Family, Form, Policy, Set, Table};

pub const TABLE: &str = "edge";

/// One service of one address that may be reached from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opening {
    pub address: IpAddr,
    pub protocol: Protocol,
    pub ports: PortRange,
}

/// The table that lets `openings` through between `outside`, an interface, and the departments.
#[must_use]
pub fn table(outside: &str, openings: &[Opening]) -> Table {
    let mut sets = vec![
        Set::new(
            "open4",
            "ipv4_addr . inet_proto . inet_service",
            Form::Interval,
        ),
        Set::new(
            "open6",
            "ipv6_addr . inet_proto . inet_service",
            Form::Interval,
        ),
        Set::new("pinged4", "ipv4_addr", Form::Single),
        Set::new("pinged6", "ipv6_addr", Form::Single),
    ];
    for Opening {
        address,
        protocol,
        ports,
    } in openings
    {
        let family = usize::from(address.is_ipv6());
        let (set, text) = match protocol {
            Protocol::Icmp => (2 + family, address.to_string()),
            _ => (family, format!("{address} . {protocol} . {ports}")),
        };
        sets[set].elements.push(Element::new(text));
    }
    Table {
        family: Family::Inet,
        name: TABLE,
        owner: "edge".to_owned(),
        sets,
        chains: vec![forward(outside), inward(), outward(), input(outside)],
    }
}

fn forward(outside: &str) -> Chain {
    Chain::base(
        "forward",
        "filter hook forward priority filter",
        Policy::Drop,
    )
    .rule("ct state invalid counter drop")
    .rule("meta l4proto { icmp, ipv6-icmp } ct state related accept")
    .rule(format!(
        "iifname \"{outside}\" oifname \"dl*\" ct direction original goto inward"
    ))
    .rule(format!(
        "iifname \"dl*\" oifname \"{outside}\" ct direction reply goto outward"
    ))
    .rule("counter drop")
}

fn inward() -> Chain {
    Chain::new("inward")
        .rule("ip daddr . meta l4proto . th dport @open4 counter accept")
        .rule("ip6 daddr . meta l4proto . th dport @open6 counter accept")
        .rule("icmp type echo-request ip daddr @pinged4 counter accept")
        .rule("icmpv6 type echo-request ip6 daddr @pinged6 counter accept")
        .rule("counter drop")
}

fn outward() -> Chain {
    Chain::new("outward")
        .rule("ip saddr . meta l4proto . th sport @open4 counter accept")
        .rule("ip6 saddr . meta l4proto . th sport @open6 counter accept")
        .rule("icmp type echo-reply ip saddr @pinged4 counter accept")
        .rule("icmpv6 type echo-reply ip6 saddr @pinged6 counter accept")
        .rule("counter drop")
}

/// The edge itself answers neighbours and pings, and hears of trouble on the way.
fn input(outside: &str) -> Chain {
    Chain::base("input", "filter hook input priority filter", Policy::Drop)
        .rule("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept")
        .rule("ct state established,related accept")
        .rule(format!(
            "iifname \"{outside}\" icmp type echo-request limit rate 50/second accept"
        ))
        .rule(format!(
            "iifname \"{outside}\" icmpv6 type echo-request limit rate 50/second accept"
        ))
        .rule("counter drop")
}
