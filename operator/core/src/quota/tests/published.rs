//! What the outside may reach of a department is limited as all else that it holds.

use dc_types::InstanceId;

use super::*;
use crate::object;

fn publish(sim: &mut Sim, vm: &str, names: &[&str]) {
    let names = names.iter().map(ToString::to_string).collect();
    sim.vm(vm).spec.interfaces[0].publish = names;
    sim.look();
}

/// What the claim of a machine's only card has.
fn open(sim: &Sim, vm: &str) -> Vec<String> {
    let uid = object::uid(&sim.vms[vm].metadata).unwrap();
    let claim = &sim.ledger.claims.vms[&InstanceId(uid.0)].value;
    claim.cards[0].publish.clone()
}

#[test]
fn a_machine_that_runs_publishes_what_there_is_room_for_and_says_what_it_waits_for() {
    let mut sim = Sim::new();
    sim.limits = limits(serde_json::json!({"publicAddresses": 1, "publishedServices": 2}));
    sim.add_vm("a");
    sim.add_vm("b");
    sim.look();
    publish(&mut sim, "a", &["https", "http", "https"]);
    assert_eq!(sim.plan_of("vm a").found, []);
    assert_eq!(open(&sim, "a"), ["http", "https"]);
    assert_eq!(sim.used().get(&Thing::PublishedServices), 2);

    publish(&mut sim, "b", &["http"]);
    let things: Vec<_> = over(&sim, "vm b").into_iter().map(|o| o.thing).collect();
    assert_eq!(things, [Thing::PublicAddresses, Thing::PublishedServices]);
    assert_eq!(open(&sim, "b"), Vec::<String>::new());
    let words = sim.plan_of("vm b").found[0].words();
    for says in [
        "public addresses, one for each card that publishes something: 1 asked for, 1 used",
        "raise spec.quota.publishedServices of Department so-nnmt to 3",
    ] {
        assert!(words.en.contains(says), "{}", words.en);
    }

    // What is taken back is given to who waits.
    publish(&mut sim, "a", &[]);
    assert_eq!(open(&sim, "a"), Vec::<String>::new());
    assert_eq!(open(&sim, "b"), ["http"]);
    assert_eq!(sim.plan_of("vm b").found, []);
}

#[test]
fn a_machine_that_may_not_publish_is_not_begun() {
    let mut sim = Sim::new();
    sim.limits = limits(serde_json::json!({"publicAddresses": 0}));
    sim.add_vm("a");
    publish(&mut sim, "a", &["http"]);
    assert_eq!(over(&sim, "vm a")[0].thing, Thing::PublicAddresses);
    assert!(!sim.volumes.contains_key("a-root"));
    publish(&mut sim, "a", &[]);
    assert_eq!(sim.plan_of("vm a").found, []);
}

#[test]
fn a_lower_limit_closes_nothing_and_opens_nothing() {
    let mut sim = Sim::new();
    sim.add_vm("a");
    publish(&mut sim, "a", &["http"]);
    sim.limits = limits(serde_json::json!({"publishedServices": 0}));
    publish(&mut sim, "a", &["http", "https"]);
    assert_eq!(open(&sim, "a"), ["http"]);
    assert_eq!(over(&sim, "vm a")[0].asked, 1);
    // Another in its place is not more.
    publish(&mut sim, "a", &["https"]);
    assert_eq!(open(&sim, "a"), ["https"]);
    delete(&mut sim.vm("a").metadata);
    sim.look();
    assert_eq!(sim.used().get(&Thing::PublishedServices), 0);
}
