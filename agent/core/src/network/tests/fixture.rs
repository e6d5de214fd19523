//! A department on a host, and the carrying out of steps on what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dc_types::plan::{
    Disposition, EndpointItem, Flow, FlowEnd, Item, ItemBody, ItemKey, Items, NetworkItem,
    NetworkRole, Peer, PeerRole, Release, Segment, ZoneType,
};
use dc_types::report::ItemState;
use dc_types::{
    DepartmentName, Epoch, HostName, InstanceId, Mac, ObjectRef, ObjectUid, PortRange, Protocol,
    Service, SubnetUid, Vni,
};
use uuid::Uuid;

use crate::network::firewall::department::CUT_SETS;
use crate::network::state::{Admin, Link, LinkKind};
use crate::network::{Act, Place, Seen, Step, plan, status};
use crate::wanted::tests::host_view;
use crate::wanted::{EdgeView, HostView, Releases, Status, Wanted};

pub fn tcp(first: u16, last: u16) -> Service {
    Service {
        name: "s".into(),
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

pub fn subnet(number: u32) -> SubnetUid {
    SubnetUid(Uuid::from_u128(number.into()))
}

pub fn vtep(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 250, 0, host))
}

pub fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        namespace: "so-a".into(),
        name: name.into(),
        uid: ObjectUid(Uuid::from_u128(1)),
    }
}

pub fn segment(tier: u8, vni: u32) -> Segment {
    Segment {
        subnet: subnet(vni),
        name: format!("tier{tier}"),
        zone: ZoneType::Internal,
        vni: Vni(vni),
        v4: Some(format!("10.1.{tier}.0/24").parse().unwrap()),
        v6: Some(format!("fd00:1:{tier}::/64").parse().unwrap()),
        gateway_v4: Some(Ipv4Addr::new(10, 1, tier, 1)),
        gateway_v6: Some(Ipv6Addr::new(0xfd00, 1, tier.into(), 0, 0, 0, 0, 1)),
        gateway_mac: Mac::of_gateway(Vni(vni)),
        dns: vec!["10.1.0.53".parse().unwrap(), "fd00::53".parse().unwrap()],
    }
}

/// A department of two tiers at `base` + 1 and + 2: web, which the outside reaches, and data.
pub fn network(name: &str, base: u32, role: NetworkRole) -> Item {
    let department = DepartmentName::new(name).unwrap();
    let (web, data) = (subnet(base + 1), subnet(base + 2));
    let flow = |id, from, to, services| Flow {
        id,
        from,
        to,
        services,
    };
    let peer = |host: u8, role| Peer {
        host: HostName::new(format!("h{host}")).unwrap(),
        vtep: vtep(host),
        role,
    };
    Item {
        key: ItemKey::network(&department),
        epoch: epoch(1),
        object: object(name),
        body: ItemBody::Network(NetworkItem {
            department,
            transit: Vni(base),
            segments: vec![segment(1, base + 1), segment(2, base + 2)],
            flows: vec![
                flow(1, FlowEnd::Outside, web, vec![tcp(80, 80), icmp()]),
                flow(
                    2,
                    FlowEnd::Subnet(web),
                    data,
                    vec![tcp(5432, 5432), tcp(90, 99)],
                ),
                flow(3, FlowEnd::Subnet(web), web, vec![icmp()]),
            ],
            peers: vec![peer(4, PeerRole::Compute), peer(9, PeerRole::Gateway)],
            role,
        }),
    }
}

/// Machine `last` of a tier; `host` 1 is the host under test.
pub fn endpoint(name: &str, base: u32, tier: u8, last: u8, host: u8) -> Item {
    let vm = InstanceId(Uuid::from_u128(u128::from(base) << 16 | u128::from(last)));
    Item {
        key: ItemKey::endpoint(vm, 0),
        epoch: epoch(2),
        object: object(&format!("vm{last}")),
        body: ItemBody::Endpoint(EndpointItem {
            department: DepartmentName::new(name).unwrap(),
            subnet: subnet(base + u32::from(tier)),
            vm,
            card: 0,
            name: format!("vm{last}"),
            mac: Mac([0x52, 0x54, 0, 0, tier, last]),
            v4: Some(Ipv4Addr::new(10, 1, tier, last)),
            v6: Some(Ipv6Addr::new(
                0xfd00,
                1,
                tier.into(),
                0,
                0,
                0,
                0,
                last.into(),
            )),
            host: HostName::new(format!("h{host}")).unwrap(),
            vtep: vtep(host),
            published: vec![tcp(80, 443), icmp()],
        }),
    }
}

pub fn release(key: ItemKey, revision: u64) -> Release {
    Release {
        key,
        epoch: epoch(revision),
        object: object("gone"),
        disposition: Disposition::Remove,
    }
}

/// A host, its plan, and what is there.
pub struct Desk {
    pub host: HostView,
    pub items: Items,
    pub releases: Releases,
    pub seen: Seen,
}

impl Desk {
    /// h1, which carries machines, with one department: a machine of each tier here, and one of
    /// each on h4.
    pub fn compute() -> Self {
        let mut desk = Self::empty();
        desk.put(network("so-a", 5000, NetworkRole::Compute));
        for (tier, last, host) in [(1, 10, 1), (1, 11, 4), (2, 20, 1), (2, 21, 4)] {
            desk.put(endpoint("so-a", 5000, tier, last, host));
        }
        desk
    }

    /// The same as seen by a gateway host, h1, with its way out.
    pub fn gateway() -> Self {
        let mut desk = Self::empty();
        desk.host.edge = Some(EdgeView {
            interface: "ext".into(),
            ipv4: Some("203.0.113.2/24".parse().unwrap()),
            ipv6: Some("2001:db8::2/64".parse().unwrap()),
            gateway_v4: Some("203.0.113.1".parse().unwrap()),
            gateway_v6: Some("2001:db8::1".parse().unwrap()),
        });
        let card = Link {
            kind: LinkKind::Other(String::new()),
            mac: Some(Mac([2, 0, 0, 0, 0, 7])),
            mtu: 1500,
            up: Admin::Up,
            master: None,
            port: None,
            addresses: BTreeSet::new(),
        };
        desk.seen.machine.add(&Place::Host, "ext", card).unwrap();
        desk.put(network("so-a", 5000, NetworkRole::Gateway));
        for (tier, last) in [(1, 10), (2, 20)] {
            desk.put(endpoint("so-a", 5000, tier, last, 4));
        }
        desk
    }

    pub fn empty() -> Self {
        let mut host = host_view();
        host.addresses.overlay = vtep(1);
        Self {
            host,
            items: Items::new(),
            releases: Releases::new(),
            seen: Seen::default(),
        }
    }

    pub fn put(&mut self, item: Item) {
        self.items.insert(item.key, item);
    }

    pub fn network_mut(&mut self, name: &str) -> &mut NetworkItem {
        let key = ItemKey::network(&DepartmentName::new(name).unwrap());
        match &mut self.items.get_mut(&key).unwrap().body {
            ItemBody::Network(body) => body,
            _ => unreachable!("a network's key"),
        }
    }

    pub fn endpoint_mut(&mut self, last: u8) -> &mut EndpointItem {
        let name = format!("vm{last}");
        let found = self
            .items
            .values_mut()
            .find_map(|item| match &mut item.body {
                ItemBody::Endpoint(body) if body.name == name => Some(body),
                _ => None,
            });
        found.unwrap()
    }

    pub fn endpoint_key(&self, last: u8) -> ItemKey {
        let name = format!("vm{last}");
        let of_it = |item: &&Item| item.object.name == name;
        self.items.values().find(of_it).unwrap().key
    }

    pub fn with<T>(&self, look: impl FnOnce(&Wanted) -> T) -> T {
        look(&Wanted {
            items: &self.items,
            releases: &self.releases,
            host: &self.host,
            ready: &BTreeSet::new(),
        })
    }

    pub fn plan(&self) -> Vec<Step> {
        self.with(|wanted| plan(wanted, &self.seen))
    }

    pub fn status(&self) -> Status {
        self.with(|wanted| status(wanted, &self.seen, &BTreeMap::new(), &BTreeSet::new()))
    }

    pub fn state_of(&self, key: ItemKey) -> ItemState {
        let observations = self.status().observations;
        observations
            .into_iter()
            .find(|o| o.key == key)
            .unwrap()
            .state
    }

    /// Carries the plan out and shows that nothing is left to do.
    pub fn settle(&mut self) -> Vec<Step> {
        let steps = self.plan();
        for step in &steps {
            carry_out(&mut self.seen, &step.act);
        }
        assert_eq!(self.plan(), Vec::new(), "after {steps:#?}");
        steps
    }
}

/// What a step does to the machine, or a panic that says why it cannot be done.
pub fn carry_out(seen: &mut Seen, act: &Act) {
    match act {
        Act::AddNetns(name) => seen.machine.add_netns(name),
        Act::RemoveNetns(name) => {
            seen.machine.remove_netns(name);
            seen.tables.remove(&Place::Netns(name.clone()));
        }
        Act::Change { place, changes } => {
            for change in changes {
                let done = seen.machine.apply(place, change);
                done.unwrap_or_else(|why| panic!("{change:?} in {place}: {why}"));
            }
        }
        Act::LoadTables { place, ruleset } => {
            assert!(seen.machine.get(place).is_some(), "there is no {place}");
            let tables = seen.tables.entry(place.clone()).or_default();
            for table in &ruleset.tables {
                tables.retain(|t| t.name != table.name);
                tables.push(table.as_seen());
            }
        }
        Act::Cut { .. } => {}
        Act::ForgetCuts { place, cuts } => {
            let all = cuts.flows.iter().map(u32::to_string);
            let all: BTreeSet<String> = all
                .chain(cuts.addresses.iter().map(IpAddr::to_string))
                .collect();
            for table in seen.tables.entry(place.clone()).or_default() {
                for set in CUT_SETS {
                    if let Some(set) = table.sets.get_mut(set) {
                        set.elements.retain(|(text, _)| !all.contains(text));
                        set.count = set.elements.len();
                    }
                }
            }
        }
        Act::StartDhcp { netns, config } => {
            seen.dhcp.insert(netns.clone(), config.clone());
        }
        Act::StopDhcp { netns } => {
            seen.dhcp.remove(netns);
        }
    }
}
