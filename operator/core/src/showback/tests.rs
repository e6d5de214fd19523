use dc_crds::usage::SystemHeld;
use dc_crds::usage::days::{Month, zone};
use jiff::Timestamp;

use super::*;
use crate::quota::PoolClasses;
use crate::sim::{CLASS, Sim, delete};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn some(vcpus: i64) -> Vec<SystemHeld> {
    vec![SystemHeld {
        system: "a01".into(),
        vcpus,
        ..SystemHeld::default()
    }]
}

fn planned(now: &str, held: &[SystemHeld], last: Option<&Month>) -> Planned {
    plan(&Seen {
        now: at(now),
        zone: &zone(TIME_ZONE).unwrap(),
        held,
        last,
    })
}

fn first(now: &str, held: &[SystemHeld]) -> Month {
    let planned = planned(now, held, None);
    assert_eq!(planned.write.len(), 1);
    planned.write[0].clone()
}

fn held_in(sim: &Sim) -> Vec<SystemHeld> {
    let pools = PoolClasses::read(sim.pools.values());
    held(
        &Owned {
            vms: &sim.vms.values().collect::<Vec<_>>(),
            volumes: &sim.volumes.values().collect::<Vec<_>>(),
            classes: &pools,
        },
        &sim.ledger.claims,
    )
}

#[test]
fn what_is_held_is_what_the_claims_of_each_system_hold() {
    let mut sim = Sim::new();
    assert_eq!(held_in(&sim), []);
    sim.add_vm("a");
    assert_eq!(held_in(&sim), [], "an object alone holds nothing");
    sim.look();
    let held = held_in(&sim);
    let [one] = &held[..] else { panic!("{held:?}") };
    assert_eq!(one.virtual_machines, 1);
    assert!(one.vcpus > 0 && one.memory_mib > 0 && one.addresses > 0);
    assert_eq!(one.storage.len(), 1);
    assert_eq!(one.storage[0].class, CLASS);
    assert!(one.storage[0].size_mib > 0);
}

#[test]
fn what_is_given_back_is_held_no_more() {
    let mut sim = Sim::new();
    sim.add_vm("a");
    sim.look();
    delete(&mut sim.vms.get_mut("a").unwrap().metadata);
    sim.look();
    assert_eq!(held_in(&sim), []);
}

#[test]
fn nothing_is_written_of_a_department_that_never_held_anything() {
    assert_eq!(
        planned("2026-11-27T03:00:00Z", &[], None),
        Planned::default()
    );
}

#[test]
fn an_idle_department_is_written_at_midnight_alone() {
    let last = first("2026-11-27T03:00:00Z", &some(2));
    let idle = planned("2026-11-27T09:00:00Z", &some(2), Some(&last));
    assert_eq!(idle.write, []);
    assert_eq!(idle.again_at, Some(at("2026-11-27T17:00:00Z")));
    let next = planned("2026-11-27T17:00:00Z", &some(2), Some(&last));
    assert_eq!(next.write.len(), 1);
    assert_eq!(
        next.write[0].status.days[0].systems[0].vcpu_seconds,
        2 * 14 * 3600
    );
    assert_eq!(next.again_at, Some(at("2026-11-28T17:00:00Z")));
}

#[test]
fn many_changes_are_one_write_a_minute() {
    let last = first("2026-11-27T03:00:00Z", &some(2));
    let soon = planned("2026-11-27T03:00:20Z", &some(4), Some(&last));
    assert_eq!(soon.write, []);
    assert_eq!(soon.again_at, Some(at("2026-11-27T03:01:00Z")));
    let then = planned("2026-11-27T03:01:00Z", &some(4), Some(&last));
    assert_eq!(then.write[0].status.held, some(4));
    assert_eq!(then.write[0].status.days[0].systems[0].vcpu_seconds, 120);
}

#[test]
fn after_it_is_written_nothing_is_to_be_written() {
    let mut last = first("2026-11-27T03:00:00Z", &some(2));
    for (now, held) in [
        ("2026-11-27T05:00:00Z", some(4)),
        ("2026-12-03T05:00:00Z", some(4)),
        ("2027-02-01T00:00:00Z", Vec::new()),
    ] {
        let next = planned(now, &held, Some(&last));
        last = next.write.last().unwrap().clone();
        assert_eq!(planned(now, &held, Some(&last)).write, [], "{now}");
    }
}

#[test]
fn whoever_dies_between_two_months_leaves_what_the_next_goes_on_from() {
    let last = first("2026-11-27T03:00:00Z", &some(2));
    let whole = planned("2027-01-05T00:00:00Z", &some(2), Some(&last));
    assert_eq!(whole.write.len(), 3);
    for died_after in 0..whole.write.len() - 1 {
        let rest = planned(
            "2027-01-05T00:00:00Z",
            &some(2),
            Some(&whole.write[died_after]),
        );
        assert_eq!(rest.write, whole.write[died_after + 1..]);
    }
}

#[test]
fn a_clock_that_was_set_back_writes_nothing_and_waits() {
    let last = first("2026-11-27T03:00:00Z", &some(2));
    let early = planned("2026-11-26T03:00:00Z", &some(4), Some(&last));
    assert_eq!(early.write, []);
    assert_eq!(early.again_at, Some(at("2026-11-27T03:01:00Z")));
}

#[test]
fn months_in_which_nothing_was_held_have_no_record() {
    let last = first("2026-11-27T03:00:00Z", &some(2));
    let gone = planned("2026-11-27T05:00:00Z", &[], Some(&last));
    let last = gone.write[0].clone();
    let again = planned("2027-03-05T05:00:00Z", &some(1), Some(&last));
    let months: Vec<_> = again.write.iter().map(|m| m.month.as_str()).collect();
    assert_eq!(months, ["2026-11", "2027-03"]);
    assert!(again.write[0].status.closed);
    assert!(again.write[1].status.days.is_empty());
}
