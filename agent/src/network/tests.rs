//! The vertical over fake tools: every call failed, repeated, cut off, answered into the void.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use dc_agent_core::network::state::{Admin, Link, LinkKind};
use dc_agent_core::network::{Place, plan, status};
use dc_agent_core::wanted::{
    EdgeView, Folders, HostAddresses, HostView, Releases, Status, WantedOwned,
};
use dc_host::links::Connection;
use dc_host::{Fakes, Rule, Tools};
use dc_types::plan::{
    Disposition, EndpointItem, Flow, FlowEnd, Item, ItemBody, ItemKey, Items, NetworkItem,
    NetworkRole, Peer, PeerRole, Release, Segment, ZoneType,
};
use dc_types::report::{Accelerator, ItemState, Role, Trouble};
use dc_types::{
    DepartmentName, Epoch, HostName, InstanceId, Mac, ObjectRef, ObjectUid, PortRange, Protocol,
    Service, SubnetUid, Vni,
};
use uuid::Uuid;

use super::{apply, read};

/// A gateway host that carries one machine too, so that every kind of step is taken.
struct Desk {
    fakes: Fakes,
    items: Items,
    releases: Releases,
    host: Arc<HostView>,
}

fn vtep(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 250, 0, host))
}

fn host_view() -> HostView {
    HostView {
        name: HostName::new("h1").unwrap(),
        roles: vec![Role::Compute, Role::Gateway],
        accelerator: Accelerator::Tcg,
        addresses: HostAddresses {
            management: vtep(1),
            storage: vtep(1),
            overlay: vtep(1),
        },
        portal: None,
        pools: BTreeMap::new(),
        edge: Some(EdgeView {
            interface: "ext".into(),
            ipv4: Some("203.0.113.2/24".parse().unwrap()),
            ipv6: None,
            gateway_v4: Some("203.0.113.1".parse().unwrap()),
            gateway_v6: None,
        }),
        folders: Folders {
            state: "/state".into(),
            images: "/images".into(),
            seeds: "/seeds".into(),
            consoles: "/consoles".into(),
        },
        boot_id: "boot".into(),
    }
}

fn item(key: ItemKey, body: ItemBody) -> Item {
    Item {
        key,
        epoch: Epoch {
            incarnation: 1,
            revision: 3,
        },
        object: ObjectRef {
            namespace: "so-a".into(),
            name: "a".into(),
            uid: ObjectUid(Uuid::from_u128(1)),
        },
        body,
    }
}

fn http() -> Service {
    Service {
        name: "http".into(),
        protocol: Protocol::Tcp,
        ports: PortRange {
            first: 80,
            last: 80,
        },
    }
}

fn network() -> Item {
    let department = DepartmentName::new("so-a").unwrap();
    let subnet = SubnetUid(Uuid::from_u128(5));
    let segment = Segment {
        subnet,
        name: "dmz".into(),
        zone: ZoneType::Dmz,
        vni: Vni(5001),
        v4: Some("10.1.1.0/24".parse().unwrap()),
        v6: None,
        gateway_v4: Some("10.1.1.1".parse().unwrap()),
        gateway_v6: None,
        gateway_mac: Mac::of_gateway(Vni(5001)),
        dns: Vec::new(),
    };
    let flow = |id, from| Flow {
        id,
        from,
        to: subnet,
        services: vec![http()],
    };
    let body = NetworkItem {
        department: department.clone(),
        transit: Vni(5000),
        segments: vec![segment],
        flows: vec![flow(1, FlowEnd::Outside), flow(2, FlowEnd::Subnet(subnet))],
        peers: vec![Peer {
            host: HostName::new("h2").unwrap(),
            vtep: vtep(2),
            role: PeerRole::Compute,
        }],
        role: NetworkRole::Gateway,
    };
    item(ItemKey::network(&department), ItemBody::Network(body))
}

fn endpoint(last: u8, host: u8) -> Item {
    let vm = InstanceId(Uuid::from_u128(last.into()));
    let body = EndpointItem {
        department: DepartmentName::new("so-a").unwrap(),
        subnet: SubnetUid(Uuid::from_u128(5)),
        vm,
        card: 0,
        name: format!("vm{last}"),
        mac: Mac([0x52, 0x54, 0, 0, 0, last]),
        v4: Some(Ipv4Addr::new(10, 1, 1, last)),
        v6: None,
        host: HostName::new(format!("h{host}")).unwrap(),
        vtep: vtep(host),
        published: vec![http()],
    };
    item(ItemKey::endpoint(vm, 0), ItemBody::Endpoint(body))
}

impl Desk {
    fn new() -> Self {
        let host = Arc::new(host_view());
        let fakes = Fakes::new(&host);
        let desk = Self {
            fakes,
            items: [network(), endpoint(10, 1), endpoint(11, 2)]
                .into_iter()
                .map(|item| (item.key, item))
                .collect(),
            releases: Releases::new(),
            host,
        };
        desk.plug_outside();
        desk
    }

    fn plug_outside(&self) {
        let card = Link {
            kind: LinkKind::Other(String::new()),
            mac: None,
            mtu: 1500,
            up: Admin::Down,
            master: None,
            port: None,
            addresses: BTreeSet::new(),
        };
        self.fakes
            .network
            .add_link(&Place::Host, "ext", card)
            .unwrap();
    }

    fn wanted(&self) -> WantedOwned {
        WantedOwned {
            items: Arc::new(self.items.clone()),
            releases: Arc::new(self.releases.clone()),
            host: self.host.clone(),
            ready: Arc::default(),
        }
    }

    fn release_all(&mut self) {
        for (key, item) in std::mem::take(&mut self.items) {
            let release = Release {
                key,
                epoch: item.epoch,
                object: item.object,
                disposition: Disposition::Remove,
            };
            self.releases.insert(key, release);
        }
    }

    /// One turn of the loop: a failed step ends the turn of its key.
    async fn turn(&self, tools: &Tools) -> Option<BTreeMap<ItemKey, Trouble>> {
        let wanted = self.wanted();
        let seen = read(tools, &wanted).await.ok()?;
        let steps = plan(&wanted.as_wanted(), &seen);
        if steps.is_empty() {
            return None;
        }
        let mut troubles = BTreeMap::new();
        for step in &steps {
            if !troubles.contains_key(&step.key())
                && let Err(trouble) = apply(tools, step).await
            {
                troubles.insert(step.key(), trouble);
            }
        }
        Some(troubles)
    }

    /// Turns until there is nothing left to do.
    async fn settle(&self) {
        let tools = self.fakes.tools();
        for _ in 0..8 {
            if self.turn(&tools).await.is_none() {
                return;
            }
        }
        panic!("it does not settle: {:?}", self.turn(&tools).await);
    }

    async fn status(&self, troubles: &BTreeMap<ItemKey, Trouble>) -> Status {
        let wanted = self.wanted();
        let seen = read(&self.fakes.tools(), &wanted).await.unwrap();
        status(&wanted.as_wanted(), &seen, troubles, &BTreeSet::new())
    }

    async fn assert_ready(&self) {
        for observation in self.status(&BTreeMap::new()).await.observations {
            assert_eq!(observation.state, ItemState::Ready, "{}", observation.key);
        }
    }

    async fn assert_gone(&self) {
        let released = self.status(&BTreeMap::new()).await.released;
        assert_eq!(released.len(), self.releases.len());
        let names = self.fakes.network.machine().netns_names();
        assert_eq!(names, BTreeSet::from(["edge".to_owned()]));
    }
}

/// Calls that change something, as far as setting up and taking down makes them.
const CALLS: [&str; 8] = [
    "links.add_netns",
    "links.change",
    "links.remove_netns",
    "firewall.load",
    "firewall.forget_cuts",
    "conntrack.cut",
    "dhcp.start",
    "dhcp.stop",
];

/// Up, changed so that something is cut, and down again.
async fn live(desk: &mut Desk) {
    desk.settle().await;
    desk.items.remove(&endpoint(11, 2).key);
    desk.settle().await;
    desk.release_all();
    desk.settle().await;
}

#[tokio::test]
async fn a_network_comes_changes_and_goes() {
    let mut desk = Desk::new();
    desk.settle().await;
    desk.assert_ready().await;
    live(&mut desk).await;
    desk.assert_gone().await;
    for call in CALLS {
        assert!(desk.fakes.knobs.count(call) > 0, "{call} was never made");
    }
}

#[tokio::test]
async fn a_call_that_fails_once_is_made_again() {
    for call in CALLS {
        for skip in 0..3 {
            for rule in [Rule::fail_once(), Rule::lose_answer_once()] {
                let mut desk = Desk::new();
                desk.fakes.knobs.set(call, Rule { skip, ..rule });
                desk.settle().await;
                desk.assert_ready().await;
                live(&mut desk).await;
                desk.assert_gone().await;
            }
        }
    }
}

#[tokio::test]
async fn an_agent_that_dies_at_any_call_is_followed_by_one_that_ends_the_work() {
    let calls: u64 = {
        let mut desk = Desk::new();
        live(&mut desk).await;
        desk.fakes.knobs.counts().values().sum()
    };
    for calls in 0..calls {
        let mut desk = Desk::new();
        desk.fakes.knobs.set("*", Rule::cut_off_after(calls));
        let tools = desk.fakes.tools();
        for stage in 0..3 {
            match stage {
                1 => drop(desk.items.remove(&endpoint(11, 2).key)),
                2 => desk.release_all(),
                _ => {}
            }
            while desk.turn(&tools).await.is_some() && !desk.fakes.knobs.is_cut_off() {}
            if desk.fakes.knobs.is_cut_off() {
                desk.fakes.knobs.revive();
                desk.settle().await;
            }
        }
        desk.assert_gone().await;
    }
}

#[tokio::test]
async fn what_fails_always_is_told_with_its_reason() {
    let desk = Desk::new();
    desk.fakes.knobs.set("firewall.load", Rule::fail_always());
    let troubles = desk.turn(&desk.fakes.tools()).await.unwrap();
    let states: Vec<ItemState> = desk
        .status(&troubles)
        .await
        .observations
        .into_iter()
        .map(|o| o.state)
        .collect();
    assert_eq!(states.len(), 3);
    for state in states {
        assert!(matches!(state, ItemState::Failed(why) if why.reason == "FirewallFailed"));
    }
    // Nothing was opened: there is not one bridge.
    let machine = desk.fakes.network.machine();
    for place in ["dep-5000", "edge"] {
        let state = machine.get(&Place::Netns(place.into()));
        let bridges = state.into_iter().flat_map(|s| s.links.values());
        assert_eq!(bridges.filter(|l| l.kind == LinkKind::Bridge).count(), 0);
    }
}

#[tokio::test]
async fn live_connections_of_what_is_revoked_are_cut_and_no_others() {
    let mut desk = Desk::new();
    desk.settle().await;
    let place = Place::Netns("dep-5000".into());
    let connection = |from: &str, to: &str, mark| Connection {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        mark,
    };
    let outside = connection("203.0.113.9", "10.1.1.10", 1);
    let revoked = connection("10.1.1.10", "10.1.1.12", 2);
    let removed = connection("203.0.113.9", "10.1.1.11", 1);
    for connection in [&outside, &revoked, &removed] {
        desk.fakes.network.connect(&place, connection.clone());
    }
    desk.items.remove(&endpoint(11, 2).key);
    if let ItemBody::Network(body) = &mut desk.items.get_mut(&network().key).unwrap().body {
        body.flows.retain(|flow| flow.id != 2);
    }
    desk.settle().await;
    assert_eq!(desk.fakes.network.connections(&place), [outside]);
}

#[tokio::test]
async fn after_a_reboot_everything_is_made_again() {
    let desk = Desk::new();
    desk.settle().await;
    desk.fakes.reboot();
    desk.plug_outside();
    desk.settle().await;
    desk.assert_ready().await;
}
