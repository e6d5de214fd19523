//! The network items of a host, taken apart and checked.
//!
//! What cannot be carried out safely is refused with a reason under its own key, and is left out:
//! an endpoint that is refused is not let through, a network that is refused is not touched.
//! Departments are independent: two of them may use the same addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dc_types::ids::is_dns_label;
use dc_types::plan::{
    EndpointItem, Flow, FlowEnd, Item, ItemBody, ItemKey, ItemKind, NetworkItem, NetworkRole,
    PeerRole, Segment,
};
use dc_types::report::Trouble;
use dc_types::{DepartmentName, HostName, Mac, Service, SubnetUid, Vni};
use ipnet::IpNet;

use super::firewall::department::member_mark;
use crate::names;
use crate::wanted::{EdgeView, Wanted};

/// What is to be carried out, and what is not and why.
#[derive(Debug, Default)]
pub struct Valid<'a> {
    pub networks: Vec<Network<'a>>,
    pub refused: BTreeMap<ItemKey, Trouble>,
}

/// One department on this host.
#[derive(Debug)]
pub struct Network<'a> {
    pub item: &'a Item,
    pub body: &'a NetworkItem,
    pub netns: String,
    pub endpoints: Vec<Endpoint<'a>>,
    pub way_out: WayOut<'a>,
    /// What is taken already, and by whom.
    taken: BTreeMap<Taken, &'a str>,
}

/// What two endpoints of a department may not share.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Taken {
    Address(IpAddr),
    Mac(SubnetUid, Mac),
}

#[derive(Debug)]
pub struct Endpoint<'a> {
    pub item: &'a Item,
    pub body: &'a EndpointItem,
    pub segment: &'a Segment,
    pub home: Home,
    /// What the firewall knows it by, with a digest of what decides what may reach it.
    pub mark: String,
}

/// Where a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    Here,
    Elsewhere(IpAddr),
}

/// How replies to the outside leave this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut<'a> {
    Closed,
    /// By the transit network, to the gateway host with this overlay address.
    Gateway(IpAddr),
    /// Here, by the edge.
    Edge(&'a EdgeView),
}

impl Endpoint<'_> {
    #[must_use]
    pub fn key(&self) -> ItemKey {
        self.item.key
    }

    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let v4 = self.body.v4.map(IpAddr::V4);
        v4.into_iter().chain(self.body.v6.map(IpAddr::V6))
    }
}

impl<'a> Network<'a> {
    #[must_use]
    pub fn key(&self) -> ItemKey {
        self.item.key
    }

    #[must_use]
    pub fn segment(&self, subnet: SubnetUid) -> Option<&'a Segment> {
        self.body.segments.iter().find(|s| s.subnet == subnet)
    }

    /// What of an endpoint the outside may reach, and by which flow.
    #[must_use]
    pub fn reachable(&self, endpoint: &Endpoint) -> Vec<(&'a Flow, Service)> {
        let mut out = Vec::new();
        for flow in &self.body.flows {
            if flow.from != FlowEnd::Outside || flow.to != endpoint.segment.subnet {
                continue;
            }
            for allowed in &flow.services {
                for published in &endpoint.body.published {
                    out.extend(overlap(allowed, published).map(|service| (flow, service)));
                }
            }
        }
        out
    }
}

/// What two services have in common.
fn overlap(allowed: &Service, published: &Service) -> Option<Service> {
    let first = allowed.ports.first.max(published.ports.first);
    let last = allowed.ports.last.min(published.ports.last);
    (allowed.protocol == published.protocol && first <= last).then(|| Service {
        name: published.name.clone(),
        protocol: published.protocol,
        ports: dc_types::PortRange { first, last },
    })
}

/// Whether an item stands in the plan and no release has reached it.
#[must_use]
pub fn is_live(wanted: &Wanted, item: &Item) -> bool {
    wanted
        .released_up_to(&item.key)
        .is_none_or(|epoch| item.epoch > epoch)
}

/// Takes the network and endpoint items of a plan apart.
#[must_use]
pub fn validate<'a>(wanted: &Wanted<'a>) -> Valid<'a> {
    let mut valid = Valid::default();
    let mut transits: BTreeMap<Vni, &DepartmentName> = BTreeMap::new();
    let mut by_department: BTreeMap<&DepartmentName, usize> = BTreeMap::new();
    for item in wanted.of_kind(ItemKind::Network) {
        let ItemBody::Network(body) = &item.body else {
            continue;
        };
        if !is_live(wanted, item) {
            continue;
        }
        let doubled = vnis(body).find_map(|vni| transits.get(&vni).map(|other| (vni, *other)));
        let checked = match doubled {
            Some((vni, other)) => Err(trouble(
                "VniTaken",
                format!(
                    "VXLAN id {vni} of department {} is {other}'s on this host",
                    body.department
                ),
            )),
            None => check_network(body),
        };
        if let Err(why) = checked {
            valid.refused.insert(item.key, why);
            continue;
        }
        transits.extend(vnis(body).map(|vni| (vni, &body.department)));
        by_department.insert(&body.department, valid.networks.len());
        valid.networks.push(Network {
            item,
            body,
            netns: names::netns_name(body.transit),
            endpoints: Vec::new(),
            taken: BTreeMap::new(),
            way_out: way_out(wanted, body),
        });
    }
    for item in wanted.of_kind(ItemKind::Endpoint) {
        let ItemBody::Endpoint(body) = &item.body else {
            continue;
        };
        if !is_live(wanted, item) {
            continue;
        }
        let network = by_department
            .get(&body.department)
            .map(|&i| &mut valid.networks[i]);
        let added = match network {
            None => Err(trouble(
                "NetworkMissing",
                format!(
                    "the network of department {} is not on this host",
                    body.department
                ),
            )),
            Some(network) => add_endpoint(network, item, body, &wanted.host.name),
        };
        if let Err(why) = added {
            valid.refused.insert(item.key, why);
        }
    }
    valid
}

fn vnis(body: &NetworkItem) -> impl Iterator<Item = Vni> {
    body.segments.iter().map(|s| s.vni).chain([body.transit])
}

/// Of several gateways the first by name carries the department, so that both directions of a
/// connection cross the same one; the others stay closed.
fn way_out<'a>(wanted: &Wanted<'a>, body: &'a NetworkItem) -> WayOut<'a> {
    let first = body
        .peers
        .iter()
        .filter(|peer| peer.role == PeerRole::Gateway)
        .min_by_key(|peer| &peer.host);
    match (body.role, first, &wanted.host.edge) {
        (NetworkRole::Gateway, Some(peer), _) if peer.host < wanted.host.name => {
            WayOut::Gateway(peer.vtep)
        }
        (NetworkRole::Gateway, _, Some(edge)) => WayOut::Edge(edge),
        (NetworkRole::Compute, Some(peer), _) => WayOut::Gateway(peer.vtep),
        (NetworkRole::Gateway | NetworkRole::Compute, _, _) => WayOut::Closed,
    }
}

fn trouble(reason: &str, message: String) -> Trouble {
    Trouble {
        reason: reason.to_owned(),
        message,
    }
}

fn check_network(body: &NetworkItem) -> Result<(), Trouble> {
    let bad = |message: String| Err(trouble("NetworkInvalid", message));
    let mut vnis_seen = BTreeSet::new();
    let mut subnets = BTreeSet::new();
    for vni in vnis(body) {
        if vni.0 == 0 || vni > Vni::LAST {
            return bad(format!("VXLAN id {vni} is not between 1 and {}", Vni::LAST));
        }
        if !vnis_seen.insert(vni) {
            return bad(format!(
                "VXLAN id {vni} is used twice in department {}",
                body.department
            ));
        }
    }
    let mut prefixes: Vec<(IpNet, &str)> = Vec::new();
    for segment in &body.segments {
        if !subnets.insert(segment.subnet) {
            return bad(format!("subnet {} is listed twice", segment.name));
        }
        check_segment(segment)?;
        for prefix in prefixes_of(segment) {
            for (other, name) in &prefixes {
                if prefix.contains(other) || other.contains(&prefix) {
                    return bad(format!(
                        "subnets {} ({prefix}) and {name} ({other}) of one department overlap",
                        segment.name
                    ));
                }
            }
            prefixes.push((prefix, &segment.name));
        }
    }
    check_flows(body, &subnets)
}

/// The prefixes of a segment, without host bits.
pub fn prefixes_of(segment: &Segment) -> impl Iterator<Item = IpNet> + use<> {
    let v4 = segment.v4.map(|net| IpNet::V4(net.trunc()));
    v4.into_iter()
        .chain(segment.v6.map(|net| IpNet::V6(net.trunc())))
}

fn check_segment(segment: &Segment) -> Result<(), Trouble> {
    let bad = |what: String| {
        Err(trouble(
            "NetworkInvalid",
            format!("subnet {}: {what}", segment.name),
        ))
    };
    match (segment.v4, segment.gateway_v4) {
        (Some(net), Some(gateway)) if !usable_v4(net.trunc(), gateway) => {
            return bad(format!("gateway {gateway} is not a host address of {net}"));
        }
        (Some(_), None) | (None, Some(_)) => {
            return bad("an IPv4 prefix and its gateway come together".into());
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    match (segment.v6, segment.gateway_v6) {
        (Some(net), Some(gateway)) if !usable_v6(net.trunc(), gateway) => {
            return bad(format!("gateway {gateway} is not a host address of {net}"));
        }
        (Some(_), None) | (None, Some(_)) => {
            return bad("an IPv6 prefix and its gateway come together".into());
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    Ok(())
}

fn usable_v4(net: ipnet::Ipv4Net, address: Ipv4Addr) -> bool {
    net.contains(&address) && address != net.network() && address != net.broadcast()
}

fn usable_v6(net: ipnet::Ipv6Net, address: Ipv6Addr) -> bool {
    net.contains(&address) && address != net.network()
}

fn check_flows(body: &NetworkItem, subnets: &BTreeSet<SubnetUid>) -> Result<(), Trouble> {
    let mut ids = BTreeSet::new();
    for flow in &body.flows {
        let known = |end: &SubnetUid| subnets.contains(end);
        let from_known = match &flow.from {
            FlowEnd::Outside => true,
            FlowEnd::Subnet(subnet) => known(subnet),
        };
        let problem = if flow.id == 0 || !ids.insert(flow.id) {
            Some("its id is 0 or used twice")
        } else if !from_known || !known(&flow.to) {
            Some("it names a subnet that is not in the department")
        } else if flow.services.iter().any(|s| s.ports.first > s.ports.last) {
            Some("a service's first port is above its last")
        } else {
            None
        };
        if let Some(problem) = problem {
            let message = format!(
                "flow {} of department {}: {problem}",
                flow.id, body.department
            );
            return Err(trouble("NetworkInvalid", message));
        }
    }
    Ok(())
}

fn add_endpoint<'a>(
    network: &mut Network<'a>,
    item: &'a Item,
    body: &'a EndpointItem,
    host: &HostName,
) -> Result<(), Trouble> {
    let bad = |message: String| Err(trouble("EndpointInvalid", message));
    let Some(segment) = network.segment(body.subnet) else {
        return bad(format!(
            "subnet {} is not in department {}",
            body.subnet, body.department
        ));
    };
    if !is_dns_label(&body.name) {
        return bad(format!(
            "the machine's name {:?} is not a DNS label",
            body.name
        ));
    }
    check_addresses(segment, body)?;
    let addresses = body
        .v4
        .map(IpAddr::V4)
        .into_iter()
        .chain(body.v6.map(IpAddr::V6));
    let mut takes: Vec<Taken> = addresses.map(Taken::Address).collect();
    takes.push(Taken::Mac(body.subnet, body.mac));
    for take in &takes {
        if let Some(name) = network.taken.get(take) {
            let message = match take {
                Taken::Address(address) => format!("address {address} is {name}'s already"),
                Taken::Mac(_, mac) => format!("MAC {mac} is {name}'s already"),
            };
            return Err(trouble("AddressTaken", message));
        }
    }
    network
        .taken
        .extend(takes.into_iter().map(|take| (take, body.name.as_str())));
    let home = if body.host == *host {
        Home::Here
    } else {
        Home::Elsewhere(body.vtep)
    };
    network.endpoints.push(Endpoint {
        item,
        body,
        segment,
        home,
        mark: member_mark(item.key, body),
    });
    Ok(())
}

fn check_addresses(segment: &Segment, body: &EndpointItem) -> Result<(), Trouble> {
    let bad = |message: String| Err(trouble("EndpointInvalid", message));
    if body.v4.is_none() && body.v6.is_none() {
        return bad("it has no address".into());
    }
    if let Some(v4) = body.v4
        && !(segment.v4.is_some_and(|net| usable_v4(net.trunc(), v4))
            && segment.gateway_v4 != Some(v4))
    {
        return bad(format!(
            "{v4} is not a machine's address in subnet {}",
            segment.name
        ));
    }
    if let Some(v6) = body.v6
        && !(segment.v6.is_some_and(|net| usable_v6(net.trunc(), v6))
            && segment.gateway_v6 != Some(v6))
    {
        return bad(format!(
            "{v6} is not a machine's address in subnet {}",
            segment.name
        ));
    }
    if body.mac == segment.gateway_mac || body.mac == Mac([0; 6]) {
        return bad(format!(
            "MAC {} is not a machine's in subnet {}",
            body.mac, segment.name
        ));
    }
    if body.published.iter().any(|s| s.ports.first > s.ports.last) {
        return bad("a published service's first port is above its last".into());
    }
    Ok(())
}
