//! Bad items are refused under their own key, with a reason that says what to do.

use dc_types::plan::{ItemKey, NetworkRole, Peer, PeerRole};
use dc_types::report::ItemState;
use dc_types::{HostName, Mac};

use super::fixture::{Desk, endpoint, network, subnet, tcp, vtep};
use crate::network::firewall::department;
use crate::network::validate::{WayOut, validate};

fn reason(desk: &Desk, key: ItemKey) -> (String, String) {
    match desk.state_of(key) {
        ItemState::Ready => panic!("{key} was let through"),
        ItemState::Pending(why) | ItemState::Failed(why) => (why.reason, why.message),
    }
}

#[test]
fn an_endpoint_outside_its_subnet_or_doubled_is_left_out() {
    type Spoil = fn(&mut dc_types::plan::EndpointItem);
    let cases: [(Spoil, &str, &str); 8] = [
        (
            |e| e.v4 = "10.1.9.9".parse().ok(),
            "EndpointInvalid",
            "10.1.9.9",
        ),
        (
            |e| e.v4 = "10.1.2.1".parse().ok(),
            "EndpointInvalid",
            "10.1.2.1",
        ),
        (
            |e| e.v4 = "10.1.2.255".parse().ok(),
            "EndpointInvalid",
            "10.1.2.255",
        ),
        (
            |e| e.v6 = "fd00:9::1".parse().ok(),
            "EndpointInvalid",
            "fd00:9::1",
        ),
        (
            |e| e.subnet = subnet(77),
            "EndpointInvalid",
            "not in department",
        ),
        (|e| e.v4 = "10.1.2.20".parse().ok(), "AddressTaken", "vm20"),
        (
            |e| e.mac = Mac([0x52, 0x54, 0, 0, 2, 20]),
            "AddressTaken",
            "vm20",
        ),
        (|e| e.name = "a b,c".into(), "EndpointInvalid", "DNS label"),
    ];
    for (spoil, expected, part) in cases {
        let mut desk = Desk::compute();
        let key = desk.endpoint_key(21);
        spoil(desk.endpoint_mut(21));
        desk.settle();
        let (reason, message) = reason(&desk, key);
        assert_eq!(reason, expected, "{message}");
        assert!(message.contains(part), "{message}");
        assert_eq!(desk.state_of(desk.endpoint_key(20)), ItemState::Ready);
        let place = crate::network::Place::Netns("dep-5000".into());
        let policy = desk.seen.table(&place, department::TABLE).unwrap();
        assert!(!department::members(policy).contains_key(&key));
    }
}

#[test]
fn a_network_that_makes_no_sense_is_not_touched() {
    type Spoil = fn(&mut dc_types::plan::NetworkItem);
    let cases: [(Spoil, &str); 6] = [
        (
            |n| n.segments[1].v4 = "10.1.1.128/25".parse().ok(),
            "not a host address",
        ),
        (
            |n| {
                n.segments[1].v4 = "10.1.0.0/16".parse().ok();
                n.segments[1].gateway_v4 = "10.1.200.1".parse().ok();
            },
            "overlap",
        ),
        (|n| n.segments[1].vni = n.transit, "twice"),
        (|n| n.flows[1].id = 1, "used twice"),
        (|n| n.flows[1].to = subnet(9), "not in the department"),
        (|n| n.flows[1].services = vec![tcp(9, 8)], "above its last"),
    ];
    for (spoil, part) in cases {
        let mut desk = Desk::compute();
        desk.settle();
        spoil(desk.network_mut("so-a"));
        let key = *desk.items.keys().next().unwrap();
        assert_eq!(desk.plan(), Vec::new(), "what worked is kept");
        let (reason, message) = reason(&desk, key);
        assert_eq!(reason, "NetworkInvalid");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn an_endpoint_waits_for_its_network() {
    let mut desk = Desk::compute();
    let lost = endpoint("so-z", 7000, 1, 30, 1);
    let key = lost.key;
    desk.put(lost);
    desk.settle();
    assert!(
        matches!(desk.state_of(key), ItemState::Pending(why) if why.reason == "NetworkMissing")
    );
}

#[test]
fn a_vxlan_id_of_another_department_is_refused() {
    let mut desk = Desk::compute();
    desk.put(network("so-b", 5001, NetworkRole::Compute));
    let failed = desk.items.keys().filter(|key| match desk.state_of(**key) {
        ItemState::Failed(why) => why.reason == "VniTaken",
        _ => false,
    });
    assert_eq!(failed.count(), 1);
}

#[test]
fn of_two_gateways_the_first_by_name_carries_the_department() {
    let mut desk = Desk::gateway();
    let gateway = |host: &str, number| Peer {
        host: HostName::new(host).unwrap(),
        vtep: vtep(number),
        role: PeerRole::Gateway,
    };
    desk.network_mut("so-a").peers = vec![gateway("h9", 9)];
    let edge = desk.host.edge.clone().unwrap();
    desk.with(|wanted| assert_eq!(validate(wanted).networks[0].way_out, WayOut::Edge(&edge)));
    desk.network_mut("so-a").peers.push(gateway("a1", 7));
    desk.with(|wanted| {
        assert_eq!(
            validate(wanted).networks[0].way_out,
            WayOut::Gateway(vtep(7))
        );
    });
    desk.settle();
}
