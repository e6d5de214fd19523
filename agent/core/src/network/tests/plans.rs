//! After a plan is carried out the next one is empty, whatever came before.

use dc_types::plan::{ItemKey, ItemKind, NetworkRole};
use dc_types::report::ItemState;
use dc_types::{DepartmentName, Mac};
use proptest::prelude::*;

use super::fixture::{Desk, carry_out, endpoint, network, release, vtep};
use crate::network::state::{FdbTo, TapUse};
use crate::network::{Act, Change, LinkKind, Place};

fn dep() -> Place {
    Place::Netns("dep-5000".into())
}

#[test]
fn a_host_without_networks_is_left_alone() {
    let mut desk = Desk::empty();
    desk.seen.machine.add_netns("dep-7");
    desk.seen.machine.add_netns("somebody");
    assert_eq!(desk.plan(), Vec::new());
}

#[test]
fn a_compute_host_and_a_gateway_are_set_up_in_one_go() {
    for mut desk in [Desk::compute(), Desk::gateway()] {
        assert!(!desk.settle().is_empty());
        for observation in desk.status().observations {
            assert_eq!(observation.state, ItemState::Ready, "{}", observation.key);
        }
    }
}

#[test]
fn machines_elsewhere_are_reached_by_their_hosts_tunnel() {
    let mut desk = Desk::compute();
    desk.settle();
    let state = desk.seen.machine.get(&dep()).unwrap();
    let far = Mac([0x52, 0x54, 0, 0, 1, 11]);
    let to: Vec<FdbTo> = state
        .fdb
        .iter()
        .filter(|e| e.mac == far)
        .map(|e| e.to)
        .collect();
    assert_eq!(to, [FdbTo::Remote(vtep(4)), FdbTo::Port]);
    // A local machine is the bridge's own matter.
    let near = Mac([0x52, 0x54, 0, 0, 1, 10]);
    assert!(state.fdb.iter().all(|e| e.mac != near));
    assert!(state.neighbours.iter().any(|n| n.mac == near));
}

#[test]
fn a_machine_that_moves_is_followed_without_touching_what_it_says() {
    let mut desk = Desk::compute();
    desk.settle();
    let moved = desk.endpoint_mut(21);
    moved.vtep = vtep(5);
    moved.host = dc_types::HostName::new("h5").unwrap();
    let steps = desk.settle();
    assert!(
        !steps.iter().any(|s| matches!(s.act, Act::Cut { .. })),
        "{steps:#?}"
    );
}

#[test]
fn a_revoked_flow_and_a_removed_endpoint_are_cut_by_mark_and_address() {
    let mut desk = Desk::compute();
    desk.settle();
    desk.network_mut("so-a").flows.retain(|flow| flow.id != 2);
    let gone = desk.endpoint_key(20);
    desk.items.remove(&gone);
    desk.releases.insert(gone, release(gone, 2));
    let steps = desk.plan();
    let load = steps
        .iter()
        .position(|s| matches!(s.act, Act::LoadTables { .. }))
        .unwrap();
    let cut = steps.iter().position(|s| match &s.act {
        Act::Cut { cuts, .. } => {
            let addresses: Vec<String> = cuts.addresses.iter().map(|a| a.to_string()).collect();
            assert_eq!(addresses, ["10.1.2.20", "fd00:1:2::14"]);
            assert_eq!(cuts.flows.iter().copied().collect::<Vec<_>>(), [2]);
            true
        }
        _ => false,
    });
    assert!(load < cut.unwrap(), "what was cut could come back at once");
    // The agent dies after loading: the cut is still to be done, and so is the release.
    for step in &steps[..=load] {
        carry_out(&mut desk.seen, &step.act);
    }
    assert_eq!(desk.status().released, []);
    let again = desk.plan();
    assert!(
        again
            .iter()
            .any(|s| matches!(&s.act, Act::Cut { cuts, .. } if cuts.flows.contains(&2)))
    );
    desk.settle();
    assert_eq!(desk.status().released.len(), 1);
}

#[test]
fn an_item_newer_than_its_release_stays() {
    let mut desk = Desk::compute();
    let key = desk.endpoint_key(10);
    desk.releases.insert(key, release(key, 1));
    desk.settle();
    assert_eq!(desk.state_of(key), ItemState::Ready);
    assert_eq!(desk.status().released.len(), 1);
}

#[test]
fn a_released_network_goes_when_no_machine_holds_a_tap_of_it() {
    let mut desk = Desk::compute();
    desk.settle();
    let mut tap = crate::network::change::tap(1450);
    tap.kind = LinkKind::Tap(TapUse::Open);
    desk.seen.machine.add(&dep(), "t0", tap).unwrap();
    let key = ItemKey::network(&DepartmentName::new("so-a").unwrap());
    desk.releases = desk
        .items
        .keys()
        .map(|key| (*key, release(*key, 9)))
        .collect();
    desk.items.clear();
    assert_eq!(desk.plan(), Vec::new());
    assert!(desk.status().released.iter().all(|r| r.key != key));
    let name = "t0".to_owned();
    desk.seen
        .machine
        .apply(&dep(), &Change::DeleteLink { name })
        .unwrap();
    desk.settle();
    assert_eq!(desk.status().released.len(), desk.releases.len());
    assert!(desk.seen.machine.netns_names().is_empty());
    assert!(desk.seen.dhcp.is_empty());
}

#[test]
fn what_is_absent_from_the_plan_is_not_removed() {
    let mut desk = Desk::compute();
    desk.settle();
    desk.items.clear();
    assert_eq!(desk.plan(), Vec::new());
}

#[test]
fn two_departments_may_have_the_same_addresses_but_not_publish_them_both() {
    let mut desk = Desk::gateway();
    desk.put(network("so-b", 6000, NetworkRole::Gateway));
    desk.put(endpoint("so-b", 6000, 1, 10, 4));
    desk.settle();
    let refused: Vec<_> = desk
        .status()
        .observations
        .into_iter()
        .filter_map(|o| match o.state {
            ItemState::Ready => None,
            ItemState::Pending(why) | ItemState::Failed(why) => Some((o.key, why.reason)),
        })
        .collect();
    let loser = endpoint("so-b", 6000, 1, 10, 4).key;
    assert_eq!(refused, [(loser, "AddressPublishedTwice".to_owned())]);
}

/// One thing that happens to a host's plan, or to the host behind the agent's back.
#[derive(Clone, Debug)]
enum Event {
    Add(u8, u8, u8),
    Remove(u8),
    Move(u8, u8),
    Publish(u8),
    DropFlow(u32),
    SetFlow(u32, u16),
    LoseTables,
    LoseLink(u8),
    LoseSetting,
    StopDhcp,
    CutOff(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..3u8, 10..16u8, 1..6u8).prop_map(|(t, l, h)| Event::Add(t, l, h)),
        3 => (10..16u8).prop_map(Event::Remove),
        2 => (10..16u8, 1..6u8).prop_map(|(l, h)| Event::Move(l, h)),
        1 => (10..16u8).prop_map(Event::Publish),
        1 => (1..4u32).prop_map(Event::DropFlow),
        1 => (1..6u32, 1..999u16).prop_map(|(id, port)| Event::SetFlow(id, port)),
        1 => Just(Event::LoseTables),
        1 => (0..6u8).prop_map(Event::LoseLink),
        1 => Just(Event::LoseSetting),
        1 => Just(Event::StopDhcp),
        2 => (0..8u8).prop_map(Event::CutOff),
    ]
}

fn happen(desk: &mut Desk, event: &Event) {
    let of = |desk: &Desk, last: u8| {
        let name = format!("vm{last}");
        desk.items
            .values()
            .find(|i| i.object.name == name)
            .map(|i| i.key)
    };
    match event {
        Event::Add(tier, last, host) => {
            if of(desk, *last).is_none() {
                desk.put(endpoint("so-a", 5000, *tier, *last, *host));
            }
        }
        Event::Remove(last) => {
            if let Some(key) = of(desk, *last) {
                desk.items.remove(&key);
            }
        }
        Event::Move(last, host) => {
            if of(desk, *last).is_some() {
                let body = desk.endpoint_mut(*last);
                body.vtep = vtep(*host);
                body.host = dc_types::HostName::new(format!("h{host}")).unwrap();
            }
        }
        Event::Publish(last) => {
            if of(desk, *last).is_some() {
                desk.endpoint_mut(*last).published.pop();
            }
        }
        Event::DropFlow(id) => desk.network_mut("so-a").flows.retain(|f| f.id != *id),
        Event::SetFlow(id, port) => {
            for flow in &mut desk.network_mut("so-a").flows {
                if flow.id == *id {
                    flow.services = vec![super::fixture::tcp(*port, *port)];
                }
            }
        }
        Event::LoseTables => {
            desk.seen.tables.remove(&dep());
        }
        Event::LoseLink(number) => {
            let Some(state) = desk.seen.machine.get(&dep()) else {
                return;
            };
            if let Some(name) = state.links.keys().nth(usize::from(*number)).cloned() {
                desk.seen
                    .machine
                    .apply(&dep(), &Change::DeleteLink { name })
                    .unwrap();
            }
        }
        Event::LoseSetting => {
            let change = Change::SetSysctl {
                name: "net.bridge.bridge-nf-call-iptables".into(),
                value: "0".into(),
            };
            // There may be no namespace yet.
            let _ = desk.seen.machine.apply(&dep(), &change);
        }
        Event::StopDhcp => desk.seen.dhcp.clear(),
        Event::CutOff(steps) => {
            for step in desk.plan().iter().take((*steps).into()) {
                carry_out(&mut desk.seen, &step.act);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_a_plan_is_carried_out_the_next_is_empty(
        events in prop::collection::vec((event(), any::<bool>()), 1..24),
        gateway in any::<bool>(),
    ) {
        let mut desk = if gateway { Desk::gateway() } else { Desk::compute() };
        for (event, settle) in events {
            happen(&mut desk, &event);
            if settle {
                desk.settle();
            }
        }
        desk.settle();
        for observation in desk.status().observations {
            prop_assert_eq!(observation.state, ItemState::Ready);
        }
        let kinds: Vec<ItemKind> = desk.items.keys().map(|key| key.kind).collect();
        prop_assert!(kinds.contains(&ItemKind::Network));
    }
}
