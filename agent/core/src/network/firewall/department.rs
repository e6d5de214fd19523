//! The policy of a department: table `inet fw` in its namespace, the same on each of its hosts.
//!
//! Every forwarded packet crosses it, routed or bridged. In order: neighbour discovery passes;
//! an address of the department's subnets that is no member's is dropped; an established
//! connection passes while the flow it carries as mark is still in `flows`; a new one is judged by
//! the pair of subnets it crosses, or, from outside, by what its destination publishes; all else
//! is dropped. There is no way to open a connection to the outside.
//!
//! So a revoked flow or endpoint is closed the moment the table is loaded. What conntrack still
//! holds of it stands in the `cut_*` sets of the same table until it has been deleted there: an
//! agent that dies in between finds it again. See [`Cuts`].

mod marks;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dc_types::plan::{Flow, FlowEnd, NetworkRole};
use dc_types::{PortRange, Protocol, Service, SubnetUid};

use super::{Chain, Element, Family, Form, Policy, Set, Table};
use crate::names;
use crate::network::validate::{Endpoint, Network, WayOut};

pub use marks::{Cuts, cuts, member_mark, members, owner};

use marks::flow_digest;

pub const TABLE: &str = "fw";
/// Sets whose elements come and go while the table stays.
pub const CUT_SETS: [&str; 3] = ["cut_flows", "cut4", "cut6"];
/// The nflog group of drops.
const LOG_GROUP: u16 = 5;

/// The table of a department on this host.
#[must_use]
pub fn table(network: &Network, cuts: &Cuts) -> Table {
    let mut sets = vec![flows_set(network)];
    sets.extend(member_sets(network));
    sets.extend(subnet_sets(network));
    sets.extend(pair_maps(network));
    sets.extend(published_maps(network));
    sets.extend(cut_sets(cuts));
    let mut chains = vec![forward(network), input()];
    chains.extend(pair_chains(network));
    chains.push(deny());
    Table {
        family: Family::Inet,
        name: TABLE,
        owner: format!("network {}", network.key().id),
        sets,
        chains,
    }
}

fn flows_set(network: &Network) -> Set {
    let flows = network.body.flows.iter();
    Set::new("flows", "mark", Form::Single)
        .with(flows.map(|flow| Element::commented(flow.id.to_string(), flow_digest(flow))))
}

/// Machines, the gateways (whose ICMP errors pass), and the broadcast address of each subnet.
fn member_sets(network: &Network) -> [Set; 2] {
    let mut v4: BTreeMap<Ipv4Addr, String> = BTreeMap::new();
    let mut v6: BTreeMap<Ipv6Addr, String> = BTreeMap::new();
    for segment in &network.body.segments {
        v4.extend(segment.gateway_v4.map(|a| (a, "gateway".to_owned())));
        v6.extend(segment.gateway_v6.map(|a| (a, "gateway".to_owned())));
        v4.extend(
            segment
                .v4
                .map(|net| (net.broadcast(), "broadcast".to_owned())),
        );
    }
    for endpoint in &network.endpoints {
        v4.extend(endpoint.body.v4.map(|a| (a, endpoint.mark.clone())));
        v6.extend(endpoint.body.v6.map(|a| (a, endpoint.mark.clone())));
    }
    let v4 = v4
        .into_iter()
        .map(|(a, c)| Element::commented(a.to_string(), c));
    let v6 = v6
        .into_iter()
        .map(|(a, c)| Element::commented(a.to_string(), c));
    [
        Set::new("members4", "ipv4_addr", Form::Single).with(v4),
        Set::new("members6", "ipv6_addr", Form::Single).with(v6),
    ]
}

fn subnet_sets(network: &Network) -> [Set; 2] {
    let v4 = network.body.segments.iter().filter_map(|s| s.v4);
    let v6 = network.body.segments.iter().filter_map(|s| s.v6);
    [
        Set::new("subnets4", "ipv4_addr", Form::Interval)
            .with(v4.map(|net| Element::new(net.trunc().to_string()))),
        Set::new("subnets6", "ipv6_addr", Form::Interval)
            .with(v6.map(|net| Element::new(net.trunc().to_string()))),
    ]
}

/// The pairs of subnets between which something may flow.
fn pairs(network: &Network) -> BTreeMap<(SubnetUid, SubnetUid), Vec<Flow>> {
    let mut pairs: BTreeMap<_, Vec<Flow>> = BTreeMap::new();
    for flow in &network.body.flows {
        if let FlowEnd::Subnet(from) = flow.from {
            pairs.entry((from, flow.to)).or_default().push(flow.clone());
        }
    }
    pairs
}

fn pair_maps(network: &Network) -> [Set; 2] {
    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    for (number, (from, to)) in pairs(network).into_keys().enumerate() {
        let (Some(from), Some(to)) = (network.segment(from), network.segment(to)) else {
            continue;
        };
        if let (Some(a), Some(b)) = (from.v4, to.v4) {
            let (a, b) = (a.trunc(), b.trunc());
            v4.push(Element::new(format!("{a} . {b} : goto pair_{number}")));
        }
        if let (Some(a), Some(b)) = (from.v6, to.v6) {
            let (a, b) = (a.trunc(), b.trunc());
            v6.push(Element::new(format!("{a} . {b} : goto pair_{number}")));
        }
    }
    [
        Set::new("pairs4", "ipv4_addr . ipv4_addr : verdict", Form::Interval).with(v4),
        Set::new("pairs6", "ipv6_addr . ipv6_addr : verdict", Form::Interval).with(v6),
    ]
}

fn pair_chains(network: &Network) -> Vec<Chain> {
    let chain = |(number, flows): (usize, Vec<Flow>)| {
        Chain::new(format!("pair_{number}"))
            .rules(flows.iter().flat_map(flow_rules))
            .rule("goto deny")
    };
    pairs(network)
        .into_values()
        .enumerate()
        .map(chain)
        .collect()
}

/// Sets the mark and lets through, by protocol.
fn flow_rules(flow: &Flow) -> Vec<String> {
    let accept = format!("ct mark set {} counter accept", flow.id);
    let mut rules = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let of_it = flow.services.iter().filter(|s| s.protocol == protocol);
        let ports = merged(of_it.map(|s| s.ports));
        if !ports.is_empty() {
            let ports: Vec<String> = ports.iter().map(PortRange::to_string).collect();
            rules.push(format!(
                "{protocol} dport {{ {} }} {accept}",
                ports.join(", ")
            ));
        }
    }
    if flow.services.iter().any(|s| s.protocol == Protocol::Icmp) {
        rules.push(format!("icmp type echo-request {accept}"));
        rules.push(format!("icmpv6 type echo-request {accept}"));
    }
    rules
}

/// Ranges in order, without overlaps: nft refuses such.
fn merged(ranges: impl Iterator<Item = PortRange>) -> Vec<PortRange> {
    let mut sorted: Vec<PortRange> = ranges.collect();
    sorted.sort_unstable();
    let mut out: Vec<PortRange> = Vec::new();
    for range in sorted {
        match out.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(range.last);
            }
            _ => out.push(range),
        }
    }
    out
}

/// What the outside may reach: ranges without overlaps, by flow; the first flow by id wins.
#[must_use]
pub fn published(network: &Network, endpoint: &Endpoint) -> Vec<(u32, Protocol, PortRange)> {
    let mut reachable: Vec<(u32, Service)> = network
        .reachable(endpoint)
        .into_iter()
        .map(|(flow, service)| (flow.id, service))
        .collect();
    reachable.sort_by_key(|(id, service)| (*id, service.protocol, service.ports));
    let mut out: Vec<(u32, Protocol, PortRange)> = Vec::new();
    for (id, service) in reachable {
        let mut rest = vec![service.ports];
        for (_, protocol, taken) in &out {
            if *protocol == service.protocol {
                rest = rest.into_iter().flat_map(|r| without(r, *taken)).collect();
            }
        }
        out.extend(rest.into_iter().map(|range| (id, service.protocol, range)));
    }
    out
}

fn without(range: PortRange, taken: PortRange) -> Vec<PortRange> {
    if taken.last < range.first || taken.first > range.last {
        return vec![range];
    }
    let mut out = Vec::new();
    if taken.first > range.first {
        let last = taken.first - 1;
        out.push(PortRange { last, ..range });
    }
    if taken.last < range.last {
        let first = taken.last + 1;
        out.push(PortRange { first, ..range });
    }
    out
}

fn published_maps(network: &Network) -> [Set; 4] {
    let mut maps = [
        Set::new(
            "published4",
            "ipv4_addr . inet_proto . inet_service : mark",
            Form::Interval,
        ),
        Set::new(
            "published6",
            "ipv6_addr . inet_proto . inet_service : mark",
            Form::Interval,
        ),
        Set::new("pinged4", "ipv4_addr : mark", Form::Single),
        Set::new("pinged6", "ipv6_addr : mark", Form::Single),
    ];
    for endpoint in &network.endpoints {
        let published = published(network, endpoint);
        for address in endpoint.addresses() {
            let family = usize::from(address.is_ipv6());
            for (id, protocol, range) in &published {
                let (map, text) = match protocol {
                    Protocol::Icmp => (2 + family, format!("{address} : {id}")),
                    _ => (family, format!("{address} . {protocol} . {range} : {id}")),
                };
                maps[map].elements.push(Element::new(text));
            }
        }
    }
    maps
}

fn cut_sets(cuts: &Cuts) -> [Set; 3] {
    let texts = |wanted: fn(&IpAddr) -> bool| {
        let addresses = cuts.addresses.iter().filter(move |a| wanted(a));
        addresses.map(|a| Element::new(a.to_string()))
    };
    let flows = cuts.flows.iter().map(|id| Element::new(id.to_string()));
    [
        Set::new(CUT_SETS[0], "mark", Form::Single).with(flows),
        Set::new(CUT_SETS[1], "ipv4_addr", Form::Single).with(texts(IpAddr::is_ipv4)),
        Set::new(CUT_SETS[2], "ipv6_addr", Form::Single).with(texts(IpAddr::is_ipv6)),
    ]
}

fn forward(network: &Network) -> Chain {
    let hook = "filter hook forward priority filter";
    let mut chain = Chain::base("forward", hook, Policy::Drop)
        // Bridged neighbour discovery comes this way too; who may say what is the guard's matter.
        .rule("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept")
        .rule("ct state invalid counter drop")
        .rule("ip saddr @subnets4 ip saddr != @members4 counter drop")
        .rule("ip daddr @subnets4 ip daddr != @members4 counter drop")
        .rule("ip6 saddr @subnets6 ip6 saddr != @members6 counter drop")
        .rule("ip6 daddr @subnets6 ip6 daddr != @members6 counter drop");
    let transit = names::vxlan_name(network.body.transit);
    if let WayOut::Edge(_) = network.way_out {
        let uplink = names::uplink_name(network.body.transit);
        chain = chain
            .rule(format!(
                "iifname \"{uplink}\" ip saddr @subnets4 counter drop"
            ))
            .rule(format!(
                "iifname \"{uplink}\" ip6 saddr @subnets6 counter drop"
            ));
    }
    chain = chain
        .rule("ct state established,related ct mark @flows accept")
        .rule("ct state established,related counter drop");
    if network.body.role == NetworkRole::Gateway {
        chain = chain.rule(format!("iifname \"{transit}\" counter drop"));
    }
    chain
        .rule("ip saddr . ip daddr vmap @pairs4")
        .rule("ip6 saddr . ip6 daddr vmap @pairs6")
        .rule("ip saddr @subnets4 goto deny")
        .rule("ip6 saddr @subnets6 goto deny")
        .rule("ct mark set ip daddr . meta l4proto . th dport map @published4 counter accept")
        .rule("ct mark set ip6 daddr . meta l4proto . th dport map @published6 counter accept")
        .rule("icmp type echo-request ct mark set ip daddr map @pinged4 counter accept")
        .rule("icmpv6 type echo-request ct mark set ip6 daddr map @pinged6 counter accept")
        .rule("goto deny")
}

/// What the router itself answers: neighbours, DHCP, and a few pings.
fn input() -> Chain {
    Chain::base("input", "filter hook input priority filter", Policy::Drop)
        .rule(
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } \
             ip6 hoplimit 255 accept",
        )
        .rule("iifname \"br*\" udp sport 68 udp dport 67 accept")
        .rule("iifname \"br*\" udp sport 546 udp dport 547 accept")
        .rule("iifname \"br*\" icmp type echo-request limit rate 50/second accept")
        .rule("iifname \"br*\" icmpv6 type echo-request limit rate 50/second accept")
        .rule("counter drop")
}

fn deny() -> Chain {
    Chain::new("deny")
        .rule(format!(
            "limit rate 10/second burst 20 packets log prefix \"deny \" group {LOG_GROUP}"
        ))
        .rule("counter drop")
}
