//! Networks and endpoints.

use std::net::IpAddr;

use dc_types::plan::{EndpointItem, Flow, FlowEnd, NetworkItem, Peer, Segment};
use dc_types::{PortRange, Service, Vni};

use crate::field::{choice, list, number, optional_text, text, to_list};
use crate::{OnWire, WireError, wire};

fn vni(wire: u32, name: &str) -> Result<Vni, WireError> {
    if wire == 0 || wire > Vni::LAST.0 {
        return Err(WireError::new(
            name,
            format!("{wire} is not a VXLAN network id (1 to {})", Vni::LAST),
        ));
    }
    Ok(Vni(wire))
}

impl OnWire for NetworkItem {
    type Wire = wire::NetworkItem;
    fn to_wire(&self) -> wire::NetworkItem {
        let Self {
            department,
            transit,
            segments,
            flows,
            peers,
            role,
        } = self;
        wire::NetworkItem {
            department: department.to_string(),
            transit_vni: transit.0,
            segments: to_list(segments),
            flows: to_list(flows),
            peers: to_list(peers),
            role: role.to_wire(),
        }
    }
    fn from_wire(wire: wire::NetworkItem) -> Result<Self, WireError> {
        let wire::NetworkItem {
            department,
            transit_vni,
            segments,
            flows,
            peers,
            role,
        } = wire;
        Ok(Self {
            department: text(&department, "department")?,
            transit: vni(transit_vni, "transit_vni")?,
            segments: list(segments, "segments")?,
            flows: list(flows, "flows")?,
            peers: list(peers, "peers")?,
            role: choice(role, "role")?,
        })
    }
}

impl OnWire for Segment {
    type Wire = wire::Segment;
    fn to_wire(&self) -> wire::Segment {
        let Self {
            subnet,
            name,
            zone,
            vni,
            v4,
            v6,
            gateway_v4,
            gateway_v6,
            gateway_mac,
            dns,
        } = self;
        wire::Segment {
            subnet: subnet.to_string(),
            name: name.clone(),
            zone: zone.to_wire(),
            vni: vni.0,
            v4: v4.map(|n| n.to_string()),
            v6: v6.map(|n| n.to_string()),
            gateway_v4: gateway_v4.map(|a| a.to_string()),
            gateway_v6: gateway_v6.map(|a| a.to_string()),
            gateway_mac: gateway_mac.to_string(),
            dns: dns.iter().map(ToString::to_string).collect(),
        }
    }
    fn from_wire(wire: wire::Segment) -> Result<Self, WireError> {
        let wire::Segment {
            subnet,
            name,
            zone,
            vni: segment_vni,
            v4,
            v6,
            gateway_v4,
            gateway_v6,
            gateway_mac,
            dns,
        } = wire;
        let dns: Result<Vec<IpAddr>, WireError> = dns
            .iter()
            .enumerate()
            .map(|(n, server)| text(server, &format!("dns[{n}]")))
            .collect();
        Ok(Self {
            subnet: text(&subnet, "subnet")?,
            name,
            zone: choice(zone, "zone")?,
            vni: vni(segment_vni, "vni")?,
            v4: optional_text(v4.as_deref(), "v4")?,
            v6: optional_text(v6.as_deref(), "v6")?,
            gateway_v4: optional_text(gateway_v4.as_deref(), "gateway_v4")?,
            gateway_v6: optional_text(gateway_v6.as_deref(), "gateway_v6")?,
            gateway_mac: text(&gateway_mac, "gateway_mac")?,
            dns: dns?,
        })
    }
}

impl OnWire for Flow {
    type Wire = wire::Flow;
    fn to_wire(&self) -> wire::Flow {
        use wire::flow::From;
        let Self {
            id,
            from,
            to,
            services,
        } = self;
        wire::Flow {
            id: *id,
            from: Some(match from {
                FlowEnd::Outside => From::Outside(wire::Outside {}),
                FlowEnd::Subnet(subnet) => From::FromSubnet(subnet.to_string()),
            }),
            to_subnet: to.to_string(),
            services: to_list(services),
        }
    }
    fn from_wire(wire: wire::Flow) -> Result<Self, WireError> {
        use wire::flow::From;
        let wire::Flow {
            id,
            from,
            to_subnet,
            services,
        } = wire;
        if id == 0 {
            return Err(WireError::new("id", "is missing"));
        }
        Ok(Self {
            id,
            from: match from.ok_or_else(|| WireError::new("from", "is missing"))? {
                From::Outside(wire::Outside {}) => FlowEnd::Outside,
                From::FromSubnet(subnet) => FlowEnd::Subnet(text(&subnet, "from_subnet")?),
            },
            to: text(&to_subnet, "to_subnet")?,
            services: list(services, "services")?,
        })
    }
}

impl OnWire for Service {
    type Wire = wire::Service;
    fn to_wire(&self) -> wire::Service {
        let Self {
            name,
            protocol,
            ports: PortRange { first, last },
        } = self;
        wire::Service {
            name: name.clone(),
            protocol: protocol.to_wire(),
            first_port: u32::from(*first),
            last_port: u32::from(*last),
        }
    }
    fn from_wire(wire: wire::Service) -> Result<Self, WireError> {
        let wire::Service {
            name,
            protocol,
            first_port,
            last_port,
        } = wire;
        Ok(Self {
            name,
            protocol: choice(protocol, "protocol")?,
            ports: PortRange {
                first: number(first_port, "first_port")?,
                last: number(last_port, "last_port")?,
            },
        })
    }
}

impl OnWire for Peer {
    type Wire = wire::Peer;
    fn to_wire(&self) -> wire::Peer {
        let Self { host, vtep, role } = self;
        wire::Peer {
            host: host.to_string(),
            vtep: vtep.to_string(),
            role: role.to_wire(),
        }
    }
    fn from_wire(wire: wire::Peer) -> Result<Self, WireError> {
        let wire::Peer { host, vtep, role } = wire;
        Ok(Self {
            host: text(&host, "host")?,
            vtep: text(&vtep, "vtep")?,
            role: choice(role, "role")?,
        })
    }
}

impl OnWire for EndpointItem {
    type Wire = wire::EndpointItem;
    fn to_wire(&self) -> wire::EndpointItem {
        let Self {
            department,
            subnet,
            vm,
            card,
            name,
            mac,
            v4,
            v6,
            host,
            vtep,
            published,
        } = self;
        wire::EndpointItem {
            department: department.to_string(),
            subnet: subnet.to_string(),
            vm: vm.to_string(),
            card: *card,
            name: name.clone(),
            mac: mac.to_string(),
            v4: v4.map(|a| a.to_string()),
            v6: v6.map(|a| a.to_string()),
            host: host.to_string(),
            vtep: vtep.to_string(),
            published: to_list(published),
        }
    }
    fn from_wire(wire: wire::EndpointItem) -> Result<Self, WireError> {
        let wire::EndpointItem {
            department,
            subnet,
            vm,
            card,
            name,
            mac,
            v4,
            v6,
            host,
            vtep,
            published,
        } = wire;
        Ok(Self {
            department: text(&department, "department")?,
            subnet: text(&subnet, "subnet")?,
            vm: text(&vm, "vm")?,
            card,
            name,
            mac: text(&mac, "mac")?,
            v4: optional_text(v4.as_deref(), "v4")?,
            v6: optional_text(v6.as_deref(), "v6")?,
            host: text(&host, "host")?,
            vtep: text(&vtep, "vtep")?,
            published: list(published, "published")?,
        })
    }
}
