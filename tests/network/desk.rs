//! What the operator would ask of the hosts: two departments, their segments, flows, machines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dc_types::plan::{
    Disposition, EndpointItem, Flow, FlowEnd, Item, ItemBody, ItemKey, NetworkItem, NetworkRole,
    Peer, Release, Segment, ZoneType,
};
use dc_types::{
    DepartmentName, Epoch, HostName, InstanceId, Mac, ObjectRef, ObjectUid, PortRange, Protocol,
    Service, SubnetUid, Vni,
};
use ipnet::{Ipv4Net, Ipv6Net};
use uuid::Uuid;

/// The tiers of a department, by the number in their addresses.
pub const DMZ: u8 = 1;
pub const INTERNAL: u8 = 2;
pub const DATABASE: u8 = 3;

/// A department under test. All have the same addresses.
#[derive(Clone)]
pub struct Department {
    pub name: &'static str,
    pub number: u32,
    pub flows: Vec<Flow>,
}

#[derive(Clone)]
pub struct Guest {
    pub department: &'static str,
    pub name: &'static str,
    pub tier: u8,
    /// The last number of its addresses.
    pub last: u8,
    pub host: usize,
    pub published: Vec<Service>,
}

pub fn tcp(first: u16, last: u16) -> Service {
    Service {
        name: format!("tcp-{first}"),
        protocol: Protocol::Tcp,
        ports: PortRange { first, last },
    }
}

pub fn icmp() -> Service {
    Service {
        name: "ping".into(),
        protocol: Protocol::Icmp,
        ports: PortRange { first: 0, last: 0 },
    }
}

pub fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

pub fn object(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef {
        namespace: namespace.into(),
        name: name.into(),
        uid: ObjectUid(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())),
    }
}

pub fn release(item: &Item) -> Release {
    Release {
        key: item.key,
        epoch: item.epoch,
        object: item.object.clone(),
        disposition: Disposition::Remove,
    }
}

impl Department {
    pub fn department(&self) -> DepartmentName {
        DepartmentName::new(self.name).expect("a test department's name is a label")
    }

    pub fn subnet(&self, tier: u8) -> SubnetUid {
        SubnetUid(Uuid::from_u128(u128::from(
            self.number * 16 + u32::from(tier),
        )))
    }

    pub fn vni(&self, tier: u8) -> Vni {
        Vni(self.number + u32::from(tier))
    }

    pub fn transit(&self) -> Vni {
        Vni(self.number)
    }

    pub fn flow(&self, id: u32, from: Option<u8>, to: u8, services: Vec<Service>) -> Flow {
        Flow {
            id,
            from: from.map_or(FlowEnd::Outside, |tier| FlowEnd::Subnet(self.subnet(tier))),
            to: self.subnet(to),
            services,
        }
    }

    fn segment(&self, tier: u8) -> Segment {
        let (name, zone) = match tier {
            DMZ => ("dmz", ZoneType::Dmz),
            INTERNAL => ("internal", ZoneType::Internal),
            _ => ("database", ZoneType::Database),
        };
        let (v4, v6) = (address_v4(tier, 1), address_v6(tier, 1));
        Segment {
            subnet: self.subnet(tier),
            name: name.into(),
            zone,
            vni: self.vni(tier),
            v4: Some(Ipv4Net::new(v4, 24).expect("24 is a length").trunc()),
            v6: Some(Ipv6Net::new(v6, 64).expect("64 is a length").trunc()),
            gateway_v4: Some(v4),
            gateway_v6: Some(v6),
            gateway_mac: Mac::of_gateway(self.vni(tier)),
            dns: vec![IpAddr::V4(Ipv4Addr::new(10, 1, 0, 53))],
        }
    }

    pub fn network(&self, role: NetworkRole, peers: Vec<Peer>) -> Item {
        let department = self.department();
        Item {
            key: ItemKey::network(&department),
            epoch: epoch(1),
            object: object("", self.name),
            body: ItemBody::Network(NetworkItem {
                department,
                transit: self.transit(),
                segments: [DMZ, INTERNAL, DATABASE].map(|t| self.segment(t)).to_vec(),
                flows: self.flows.clone(),
                peers,
                role,
            }),
        }
    }
}

pub fn address_v4(tier: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, tier, last)
}

pub fn address_v6(tier: u8, last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 1, tier.into(), 0, 0, 0, 0, last.into())
}

impl Guest {
    pub fn vm(&self) -> InstanceId {
        let text = format!("{}/{}", self.department, self.name);
        InstanceId(Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()))
    }

    pub fn mac(&self) -> Mac {
        Mac::of_instance(self.vm(), 0, 0)
    }

    pub fn v4(&self) -> Ipv4Addr {
        address_v4(self.tier, self.last)
    }

    pub fn v6(&self) -> Ipv6Addr {
        address_v6(self.tier, self.last)
    }

    pub fn label(&self) -> String {
        format!("{}/{}", self.department, self.name)
    }

    pub fn endpoint(&self, department: &Department, host: HostName, vtep: IpAddr) -> Item {
        let key = ItemKey::endpoint(self.vm(), 0);
        Item {
            key,
            epoch: epoch(2),
            object: object(self.department, self.name),
            body: ItemBody::Endpoint(EndpointItem {
                department: department.department(),
                subnet: department.subnet(self.tier),
                vm: self.vm(),
                card: 0,
                name: self.name.into(),
                mac: self.mac(),
                v4: Some(self.v4()),
                v6: Some(self.v6()),
                host,
                vtep,
                published: self.published.clone(),
            }),
        }
    }
}
