//! The network of a department as hosts are to carry it: a projection of the department's claims,
//! its subnets and the zones' matrix.
//!
//! A department lives on the hosts that carry its machines, and on gateway hosts if it has a dmz
//! and a machine. Each of these hosts gets one Network item and one Endpoint item for every card of
//! the department, here or elsewhere, so that nothing is learnt or flooded.
//!
//! What always holds:
//! - What is not named in a zone's `ingress` is in no flow, and so is dropped.
//! - Departments do not meet here at all.
//! - The id of a flow depends on its two ends alone, so that it stays when others come and go.
//! - An item that comes back to a host has a higher epoch than when it left: the epoch of a
//!   network is that of the oldest claim that needs it on the host, and none of its endpoints is
//!   older than that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dc_crds::Zone;
use dc_crds::zone::{IngressRule, ProtocolName, ServiceSpec, ZoneKind};
use dc_types::claim::{DepartmentClaim, SubnetClaim, VmClaim};
use dc_types::plan::{
    EndpointItem, Flow, FlowEnd, Item, ItemBody, ItemKey, NetworkItem, NetworkRole, Peer, PeerRole,
    Segment, ZoneType,
};
use dc_types::{DepartmentName, Epoch, HostName, Mac, ObjectRef, PortRange, Protocol, Service};
use uuid::Uuid;

use crate::claims::Claimed;
use crate::vm::address::{gateway_v4, gateway_v6};

pub mod plan;

pub use plan::{Step, plan};

/// What was read for one department.
pub struct Seen<'a> {
    pub department: &'a DepartmentName,
    /// The Department object.
    pub owner: &'a ObjectRef,
    pub claim: &'a Claimed<DepartmentClaim>,
    pub subnets: Vec<SubnetSeen<'a>>,
    pub vms: Vec<VmSeen<'a>>,
    /// All hosts whose overlay address is known.
    pub hosts: &'a BTreeMap<HostName, HostSeen>,
}

pub struct SubnetSeen<'a> {
    pub name: &'a str,
    pub claim: &'a Claimed<SubnetClaim>,
    pub zone: ZoneType,
    pub ingress: &'a [IngressRule],
    pub dns: &'a [IpAddr],
}

pub struct VmSeen<'a> {
    pub claim: &'a Claimed<VmClaim>,
    /// By card; nothing of a machine whose object is not there.
    pub published: Vec<Vec<Service>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSeen {
    /// Its address on the overlay network.
    pub vtep: IpAddr,
    pub edge: Edge,
}

/// Whether a host joins departments to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Gateway,
    Inside,
}

/// Everything that hosts carry of one department.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// The Network item of each host.
    pub networks: BTreeMap<HostName, Item>,
    /// The Endpoint items, the same on every host but for their epoch.
    pub endpoints: BTreeMap<ItemKey, Item>,
}

/// The services a zone lets in from outside, to machines that publish them.
pub fn from_outside(zone: &Zone) -> impl Iterator<Item = Service> {
    let rules = zone.spec.ingress.iter();
    let outside = rules.filter(|rule| rule.from == ZoneKind::Outside);
    outside.flat_map(|rule| rule.services.iter().map(service))
}

/// The services of these names that the zone lets in from outside, or the name it does not know.
pub fn published(zone: &Zone, names: &[String]) -> Result<Vec<Service>, String> {
    let mut services = Vec::new();
    for name in names {
        let before = services.len();
        services.extend(from_outside(zone).filter(|service| service.name == *name));
        if services.len() == before {
            return Err(name.clone());
        }
    }
    services.sort();
    services.dedup();
    Ok(services)
}

/// A service of the API in the vocabulary's words.
#[must_use]
pub fn service(spec: &ServiceSpec) -> Service {
    let ServiceSpec {
        name,
        protocol,
        port,
        end_port,
    } = spec;
    let first = port.unwrap_or(0);
    Service {
        name: name.clone(),
        protocol: match protocol {
            ProtocolName::Tcp => Protocol::Tcp,
            ProtocolName::Udp => Protocol::Udp,
            ProtocolName::Icmp => Protocol::Icmp,
        },
        ports: PortRange {
            first,
            last: end_port.unwrap_or(first),
        },
    }
}

/// Computes what hosts are to carry of a department.
#[must_use]
pub fn project(seen: &Seen<'_>) -> Projection {
    let carriers = carriers(seen);
    let segments: Vec<Segment> = sorted_segments(seen);
    let flows = flows(&seen.subnets);
    let mut projection = Projection::default();
    for (host, carrier) in &carriers {
        let peers = carriers.iter().filter(|(other, _)| *other != host);
        let peers = peers.map(|(other, carrier)| Peer {
            host: other.clone(),
            vtep: carrier.vtep,
            role: match carrier.edge {
                Edge::Gateway => PeerRole::Gateway,
                Edge::Inside => PeerRole::Compute,
            },
        });
        let item = Item {
            key: ItemKey::network(seen.department),
            epoch: carrier.since,
            object: seen.owner.clone(),
            body: ItemBody::Network(NetworkItem {
                department: seen.department.clone(),
                transit: seen.claim.value.transit,
                segments: segments.clone(),
                flows: flows.clone(),
                peers: peers.collect(),
                role: match carrier.edge {
                    Edge::Gateway => NetworkRole::Gateway,
                    Edge::Inside => NetworkRole::Compute,
                },
            }),
        };
        projection.networks.insert(host.clone(), item);
    }
    for vm in &seen.vms {
        projection.endpoints.extend(endpoints(seen, vm));
    }
    projection
}

struct Carrier {
    vtep: IpAddr,
    edge: Edge,
    /// Epoch of the oldest claim that brought the department here.
    since: Epoch,
}

fn carriers(seen: &Seen<'_>) -> BTreeMap<HostName, Carrier> {
    let mut carriers: BTreeMap<HostName, Carrier> = BTreeMap::new();
    let floor = seen.claim.epoch;
    for VmSeen { claim, .. } in &seen.vms {
        let Some(host) = seen.hosts.get(&claim.value.host) else {
            continue;
        };
        let carrier = carriers
            .entry(claim.value.host.clone())
            .or_insert_with(|| Carrier {
                vtep: host.vtep,
                edge: Edge::Inside,
                since: claim.epoch,
            });
        carrier.since = carrier.since.min(claim.epoch).max(floor);
    }
    let dmz = seen.subnets.iter().filter(|s| s.zone == ZoneType::Dmz);
    let oldest_dmz = dmz.map(|subnet| subnet.claim.epoch).min();
    let oldest_vm = seen.vms.iter().map(|vm| vm.claim.epoch).min();
    if let (Some(dmz), Some(vm)) = (oldest_dmz, oldest_vm) {
        for (name, host) in seen.hosts {
            if host.edge == Edge::Inside {
                continue;
            }
            let since = dmz.max(vm).max(floor);
            let carrier = carriers.entry(name.clone()).or_insert(Carrier {
                vtep: host.vtep,
                edge: Edge::Gateway,
                since,
            });
            carrier.edge = Edge::Gateway;
            carrier.since = carrier.since.min(since);
        }
    }
    carriers
}

fn sorted_segments(seen: &Seen<'_>) -> Vec<Segment> {
    let mut segments: Vec<Segment> = seen.subnets.iter().map(segment).collect();
    segments.sort_by_key(|segment| segment.vni);
    segments
}

fn segment(subnet: &SubnetSeen<'_>) -> Segment {
    let SubnetClaim {
        subnet: uid,
        owner: _,
        vni,
        v4,
        v6,
    } = &subnet.claim.value;
    Segment {
        subnet: *uid,
        name: subnet.name.to_owned(),
        zone: subnet.zone,
        vni: *vni,
        v4: *v4,
        v6: *v6,
        gateway_v4: v4.map(gateway_v4),
        gateway_v6: v6.map(gateway_v6),
        gateway_mac: Mac::of_gateway(*vni),
        dns: subnet.dns.to_vec(),
    }
}

/// The matrix between the subnets of one department, each pair once.
fn flows(subnets: &[SubnetSeen<'_>]) -> Vec<Flow> {
    let mut flows = Vec::new();
    for to in subnets {
        let target = to.claim.value.subnet;
        let mut add = |from: FlowEnd, kind: ZoneType| {
            let rules = to.ingress.iter();
            let rules = rules.filter(|rule| crate::place::zone_type(rule.from) == kind);
            let mut services: Vec<Service> = rules
                .flat_map(|rule| rule.services.iter().map(service))
                .collect();
            services.sort();
            services.dedup();
            if !services.is_empty() {
                flows.push(Flow {
                    id: 0,
                    from,
                    to: target,
                    services,
                });
            }
        };
        for from in subnets {
            add(FlowEnd::Subnet(from.claim.value.subnet), from.zone);
        }
        // Only a dmz is entered from outside, whatever a zone's object may say.
        if to.zone == ZoneType::Dmz {
            add(FlowEnd::Outside, ZoneType::Outside);
        }
    }
    flows.sort_by_key(|flow| (flow.to, flow.from));
    number(&mut flows);
    flows
}

/// Gives each flow an id made from its ends; two that meet step aside in the order of their ends.
fn number(flows: &mut [Flow]) {
    let mut used = BTreeSet::from([0]);
    for flow in flows {
        let from = match flow.from {
            FlowEnd::Outside => Uuid::nil(),
            FlowEnd::Subnet(subnet) => subnet.0,
        };
        let digest = Uuid::new_v5(&flow.to.0, from.as_bytes());
        let [a, b, c, d, ..] = *digest.as_bytes();
        let mut id = u32::from_be_bytes([a, b, c, d]);
        while !used.insert(id) {
            id = id.wrapping_add(1);
        }
        flow.id = id;
    }
}

fn endpoints(seen: &Seen<'_>, vm: &VmSeen<'_>) -> Vec<(ItemKey, Item)> {
    let VmClaim {
        vm: id,
        owner,
        host,
        vcpus: _,
        memory: _,
        machine_type: _,
        volumes: _,
        cards,
    } = &vm.claim.value;
    let Some(at) = seen.hosts.get(host) else {
        return Vec::new();
    };
    let cards = cards.iter().zip(0u32..);
    cards
        .map(|(card, number)| {
            let key = ItemKey::endpoint(*id, number);
            let published = vm.published.get(number as usize);
            let item = Item {
                key,
                epoch: vm.claim.epoch,
                object: owner.clone(),
                body: ItemBody::Endpoint(EndpointItem {
                    department: seen.department.clone(),
                    subnet: card.subnet,
                    vm: *id,
                    card: number,
                    name: owner.name.clone(),
                    mac: card.mac,
                    v4: card.v4,
                    v6: card.v6,
                    host: host.clone(),
                    vtep: at.vtep,
                    published: published.cloned().unwrap_or_default(),
                }),
            };
            (key, item)
        })
        .collect()
}

#[cfg(test)]
mod tests;
