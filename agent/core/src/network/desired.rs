//! What a host's network should look like, as a value.
//!
//! One [`Department`] for each network that is carried, and the [`Edge`] on a gateway host. Here
//! it is decided which links, addresses, routes, neighbours and forwarding entries there are; who
//! may use them is decided in [`super::firewall`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dc_types::plan::{ItemKey, Segment};
use dc_types::report::Trouble;
use dc_types::{Mac, Vni};
use ipnet::{IpNet, Ipv6Net};

use super::change::VethPeer;
use super::firewall::edge::Opening;
use super::firewall::{Table, department, edge, guard};
use super::state::{
    Admin, FLOOD, FdbEntry, FdbTo, Link, LinkKind, Neighbour, NetState, Port, Route,
};
use super::validate::{Endpoint, Home, Network, WayOut};
use super::{VXLAN_PORT, dhcp, guest_mtu};
use crate::names;
use crate::wanted::{EdgeView, HostView};

/// Settings of a department's namespace. The first two are what the whole design rests on.
pub const DEPARTMENT_SYSCTLS: [(&str, &str); 15] = [
    ("net.bridge.bridge-nf-call-iptables", "1"),
    ("net.bridge.bridge-nf-call-ip6tables", "1"),
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    // The way back differs from the way there.
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv6.conf.all.disable_ipv6", "0"),
    ("net.ipv6.conf.default.disable_ipv6", "0"),
    // The anycast addresses are everybody's: nobody may find them taken.
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.accept_redirects", "0"),
];

/// Settings of the edge namespace: no bridge there.
pub const EDGE_SYSCTLS: [(&str, &str); 12] = [
    ("net.bridge.bridge-nf-call-iptables", "0"),
    ("net.bridge.bridge-nf-call-ip6tables", "0"),
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv6.conf.all.disable_ipv6", "0"),
    ("net.ipv6.conf.default.disable_ipv6", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
];

/// Settings of the host's own namespace: the overlay's frames are nobody's to judge there.
pub const HOST_SYSCTLS: [(&str, &str); 2] = [
    ("net.bridge.bridge-nf-call-iptables", "0"),
    ("net.bridge.bridge-nf-call-ip6tables", "0"),
];

/// The ends of the pair between a department and the edge.
const EDGE_END: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const DEPARTMENT_END: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// A department's namespace.
#[derive(Debug)]
pub struct Department {
    pub key: ItemKey,
    pub netns: String,
    pub state: NetState,
    /// In the edge namespace, what belongs to this department.
    pub beyond: Option<Beyond>,
    pub policy: Table,
    pub cuts_to: department::Cuts,
    pub guard: Table,
    pub closed_guard: Table,
    pub dhcp: Option<String>,
}

/// A department's share of the edge: the pair's other end, and the routes to what is published.
#[derive(Debug)]
pub struct Beyond {
    pub uplink: String,
    pub peer: VethPeer,
    pub state: NetState,
}

/// What the departments share on a gateway host.
#[derive(Debug)]
pub struct Edge<'a> {
    /// Of the first department: steps on the edge are told under it.
    pub key: ItemKey,
    pub view: &'a EdgeView,
    pub table: Table,
}

/// Who opens what at the edge. Two departments that publish one address cannot both be reached.
#[derive(Debug, Default)]
pub struct Openings {
    pub openings: Vec<Opening>,
    pub routed: BTreeMap<IpAddr, ItemKey>,
    pub refused: BTreeMap<ItemKey, Trouble>,
}

/// What the outside may reach by way of this host; the first department by name wins an address.
#[must_use]
pub fn openings(networks: &[Network]) -> Openings {
    let mut out = Openings::default();
    let mut sorted: Vec<&Network> = networks
        .iter()
        .filter(|network| matches!(network.way_out, WayOut::Edge(_)))
        .collect();
    sorted.sort_by_key(|network| &network.body.department);
    for network in sorted {
        for endpoint in &network.endpoints {
            open(&mut out, network, endpoint);
        }
    }
    out.openings.sort_unstable();
    out
}

fn open(out: &mut Openings, network: &Network, endpoint: &Endpoint) {
    let published = department::published(network, endpoint);
    if published.is_empty() {
        return;
    }
    for address in endpoint.addresses() {
        if out.routed.contains_key(&address) {
            let trouble = Trouble {
                reason: "AddressPublishedTwice".into(),
                message: format!(
                    "{address} is published by another department too: give one of them another \
                     address"
                ),
            };
            out.refused.insert(endpoint.key(), trouble);
            continue;
        }
        out.routed.insert(address, endpoint.key());
        let opening = |(_, protocol, ports)| Opening {
            address,
            protocol,
            ports,
        };
        out.openings.extend(published.iter().copied().map(opening));
    }
}

/// The edge of a host, when it has one and some department uses it.
#[must_use]
pub fn edge<'a>(networks: &[Network<'a>], openings: &Openings) -> Option<Edge<'a>> {
    networks.iter().find_map(|network| match network.way_out {
        WayOut::Edge(view) => Some(Edge {
            key: network.key(),
            view,
            table: edge::table(&view.interface, &openings.openings),
        }),
        WayOut::Closed | WayOut::Gateway(_) => None,
    })
}

/// A department's namespace on this host. `cuts` are written into its policy.
#[must_use]
pub fn department(
    network: &Network,
    host: &HostView,
    openings: &Openings,
    cuts: department::Cuts,
) -> Department {
    let overlay = host.addresses.overlay;
    let mut state = NetState {
        sysctls: texts(&DEPARTMENT_SYSCTLS),
        ..NetState::default()
    };
    for segment in &network.body.segments {
        add_segment(&mut state, segment, overlay);
    }
    for endpoint in &network.endpoints {
        add_endpoint(&mut state, endpoint);
    }
    add_transit(&mut state, network, overlay);
    let beyond = match network.way_out {
        WayOut::Edge(_) => Some(add_uplink(&mut state, network, overlay, openings)),
        WayOut::Closed | WayOut::Gateway(_) => None,
    };
    Department {
        key: network.key(),
        netns: network.netns.clone(),
        state,
        beyond,
        policy: department::table(network, &cuts),
        cuts_to: cuts,
        guard: guard::table(network),
        closed_guard: guard::closed(network),
        dhcp: dhcp::render(network, overlay),
    }
}

/// Names and values as they are compared.
#[must_use]
pub fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn add_segment(state: &mut NetState, segment: &Segment, overlay: IpAddr) {
    let bridge = names::bridge_name(segment.vni);
    let v4 = segment.v4.zip(segment.gateway_v4);
    let v6 = segment.v6.zip(segment.gateway_v6);
    let v4 = v4.and_then(|(net, a)| IpNet::new(a.into(), net.prefix_len()).ok());
    let v6 = v6.and_then(|(net, a)| IpNet::new(a.into(), net.prefix_len()).ok());
    let gateway = Link {
        kind: LinkKind::Bridge,
        mac: Some(segment.gateway_mac),
        mtu: guest_mtu(overlay),
        up: Admin::Up,
        master: None,
        port: None,
        addresses: v4.into_iter().chain(v6).collect(),
    };
    let tunnel = Link {
        master: Some(bridge.clone()),
        port: Some(Port::TUNNEL),
        ..vxlan(segment.vni, overlay)
    };
    state.links.insert(bridge, gateway);
    state.links.insert(names::vxlan_name(segment.vni), tunnel);
}

fn vxlan(vni: Vni, local: IpAddr) -> Link {
    Link {
        kind: LinkKind::Vxlan {
            vni,
            local,
            port: VXLAN_PORT,
        },
        mac: None,
        mtu: guest_mtu(local),
        up: Admin::Up,
        master: None,
        port: None,
        addresses: BTreeSet::new(),
    }
}

/// The router must never ask for a machine: the answer to the anycast MAC would be taken by the
/// router of the machine's own host.
fn add_endpoint(state: &mut NetState, endpoint: &Endpoint) {
    let (segment, mac) = (endpoint.segment, endpoint.body.mac);
    for ip in endpoint.addresses() {
        let dev = names::bridge_name(segment.vni);
        state.neighbours.insert(Neighbour { dev, ip, mac });
    }
    let Home::Elsewhere(vtep) = endpoint.home else {
        return;
    };
    let entry = |mac, to| FdbEntry {
        dev: names::vxlan_name(segment.vni),
        mac,
        to,
    };
    state.fdb.insert(entry(mac, FdbTo::Remote(vtep)));
    state.fdb.insert(entry(mac, FdbTo::Port));
    state.fdb.insert(entry(FLOOD, FdbTo::Remote(vtep)));
}

/// Addresses of the transit network are made from those of the overlay network.
fn add_transit(state: &mut NetState, network: &Network, overlay: IpAddr) {
    let dev = names::vxlan_name(network.body.transit);
    let own = Link {
        mac: Some(transit_mac(overlay)),
        addresses: BTreeSet::from([link_net(transit_address(overlay))]),
        ..vxlan(network.body.transit, overlay)
    };
    state.links.insert(dev.clone(), own);
    if let WayOut::Gateway(vtep) = network.way_out {
        let gateway = transit_address(vtep);
        add_way(state, &dev, gateway, transit_mac(vtep));
        state.fdb.insert(FdbEntry {
            dev,
            mac: transit_mac(vtep),
            to: FdbTo::Remote(vtep),
        });
    }
}

/// Both default routes by one neighbour.
fn add_way(state: &mut NetState, dev: &str, via: Ipv6Addr, mac: Mac) {
    let via = IpAddr::V6(via);
    for to in [any_v4(), any_v6()] {
        let dev = dev.to_owned();
        state.routes.insert(Route { to, via, dev });
    }
    let dev = dev.to_owned();
    state.neighbours.insert(Neighbour { dev, ip: via, mac });
}

fn add_uplink(
    state: &mut NetState,
    network: &Network,
    overlay: IpAddr,
    openings: &Openings,
) -> Beyond {
    let transit = network.body.transit;
    let uplink = names::uplink_name(transit);
    let downlink = names::downlink_name(transit);
    let (here, there) = (pair_mac(1, transit), pair_mac(2, transit));
    let end = |mac, address| Link {
        kind: LinkKind::Veth,
        mac: Some(mac),
        mtu: guest_mtu(overlay),
        up: Admin::Up,
        master: None,
        port: None,
        addresses: BTreeSet::from([link_net(address)]),
    };
    state
        .links
        .insert(uplink.clone(), end(here, DEPARTMENT_END));
    add_way(state, &uplink, EDGE_END, there);
    let mut beyond = NetState::default();
    beyond.links.insert(downlink.clone(), end(there, EDGE_END));
    beyond.neighbours.insert(Neighbour {
        dev: downlink.clone(),
        ip: DEPARTMENT_END.into(),
        mac: here,
    });
    let own: BTreeSet<ItemKey> = network.endpoints.iter().map(Endpoint::key).collect();
    let routed = openings.routed.iter().filter(|(_, key)| own.contains(key));
    beyond.routes.extend(routed.map(|(address, _)| Route {
        to: IpNet::from(*address),
        via: DEPARTMENT_END.into(),
        dev: downlink.clone(),
    }));
    Beyond {
        uplink,
        peer: VethPeer {
            netns: names::EDGE_NETNS.to_owned(),
            name: downlink,
            mac: there,
        },
        state: beyond,
    }
}

/// Default routes of the edge itself.
#[must_use]
pub fn edge_routes(view: &EdgeView) -> BTreeSet<Route> {
    let v4 = view.gateway_v4.map(|via| (any_v4(), via.into()));
    let v6 = view.gateway_v6.map(|via| (any_v6(), via.into()));
    let route = |(to, via)| Route {
        to,
        via,
        dev: view.interface.clone(),
    };
    v4.into_iter().chain(v6).map(route).collect()
}

fn any_v4() -> IpNet {
    IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0).expect("0 is a length of an IPv4 prefix")
}

fn any_v6() -> IpNet {
    IpNet::new(Ipv6Addr::UNSPECIFIED.into(), 0).expect("0 is a length of an IPv6 prefix")
}

fn link_net(address: Ipv6Addr) -> IpNet {
    IpNet::V6(Ipv6Net::new(address, 64).expect("64 is a length of an IPv6 prefix"))
}

/// Four bytes that tell a host by its overlay address: all of an IPv4 address, and of an IPv6
/// address its four words of 32 bits folded into one, in which hosts of one prefix differ.
fn host_bytes(vtep: IpAddr) -> [u8; 4] {
    match vtep {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            let word = |shift: u32| u32::try_from((bits >> shift) & 0xffff_ffff).unwrap_or(0);
            (word(96) ^ word(64) ^ word(32) ^ word(0)).to_be_bytes()
        }
    }
}

/// A host's MAC on transit networks.
#[must_use]
pub fn transit_mac(vtep: IpAddr) -> Mac {
    let [a, b, c, d] = host_bytes(vtep);
    Mac([0x02, 0xdd, a, b, c, d])
}

/// A host's address on transit networks.
#[must_use]
pub fn transit_address(vtep: IpAddr) -> Ipv6Addr {
    let word = u32::from_be_bytes(host_bytes(vtep));
    let base = u128::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xdc, 0, 0));
    Ipv6Addr::from(base | u128::from(word))
}

fn pair_mac(end: u8, transit: Vni) -> Mac {
    let [_, a, b, c] = transit.0.to_be_bytes();
    Mac([0x02, 0xde, end, a, b, c])
}
