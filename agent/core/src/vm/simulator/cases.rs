//! One sentence, one case.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::Vni;
use dc_types::plan::{ItemBody, OnStop, Power as WantedPower};
use dc_types::report::{Guest, ItemState, Stop};

use super::Simulator;
use crate::names::{bridge_name, netns_name, tap_name};
use crate::vm::fixture::{self, World, epoch};
use crate::vm::seen::{ForeignDomain, Off, Paused, Power, Seen, TapPlace};
use crate::vm::step::Act;
use crate::vm::{next_look, status};

fn started() -> Simulator {
    let mut simulator = Simulator::new(World::of(fixture::vm()));
    simulator.settle();
    assert_eq!(
        simulator.observed(),
        (ItemState::Ready, Guest::Running, None)
    );
    simulator
}

#[test]
fn a_start_prepares_everything_then_plugs_then_lets_the_guest_run() {
    let mut simulator = Simulator::new(World::of(fixture::vm()));
    assert_eq!(
        simulator.names(),
        [
            "note",
            "write_seed",
            "define_secret",
            "define_secret",
            "make_tap",
            "make_tap",
            "define",
            "start",
            "plug_tap",
            "plug_tap",
            "resume",
            "note"
        ]
    );
}

#[test]
fn a_machine_waits_for_its_network_and_for_the_guard_of_each_card() {
    let whole = World::of(fixture::vm());
    for missing in whole.ready.clone() {
        let mut world = World::of(fixture::vm());
        world.ready.remove(&missing);
        let mut simulator = Simulator::new(world);
        assert_eq!(simulator.plan(), [], "{missing}");
        assert_eq!(next_look(&simulator.world.wanted(), &simulator.seen), None);
        assert_eq!(simulator.reason(), "WaitsForNetwork");
        assert_eq!(simulator.observed().1, Guest::Absent);
    }
}

#[test]
fn an_agent_that_died_after_the_start_plugs_and_resumes() {
    let mut simulator = Simulator::new(World::of(fixture::vm()));
    let steps = simulator.plan();
    let start = steps
        .iter()
        .position(|step| step.act == Act::Start)
        .unwrap();
    for step in &steps[..=start] {
        simulator.apply(step);
    }
    assert_eq!(simulator.observed().1, Guest::Starting);
    assert_eq!(
        simulator.names(),
        ["plug_tap", "plug_tap", "resume", "note"]
    );
    simulator.settle();
    assert_eq!(simulator.observed().1, Guest::Running);
}

#[test]
fn a_stop_is_clean_when_the_guest_hears_it() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.power = WantedPower::Off);
    assert_eq!(simulator.names(), ["note", "press"]);
    simulator.settle();
    assert_eq!(
        simulator.observed(),
        (ItemState::Ready, Guest::Stopped, Some(Stop::Clean))
    );
    assert!(simulator.seen.secrets.is_empty());
}

#[test]
fn a_guest_that_does_not_hear_is_pressed_again_and_then_forced() {
    let mut simulator = started();
    simulator.hears = false;
    simulator.world.change(|vm| vm.power = WantedPower::Off);
    let mut presses = 0;
    let asked = simulator.seen.now;
    while simulator.power() == Some(Power::Running) {
        for step in simulator.plan() {
            presses += usize::from(step.act == Act::Press);
            simulator.apply(&step);
        }
        assert!(simulator.seen.now - asked <= 60, "force is late");
        simulator.seen.now += 1;
    }
    assert_eq!(simulator.seen.now - asked, 61, "force came early");
    assert_eq!(presses, 12);
    simulator.settle();
    assert_eq!(simulator.observed().2, Some(Stop::Forced));
}

#[test]
fn another_restart_text_stops_and_starts_once() {
    let mut simulator = started();
    simulator
        .world
        .change(|vm| vm.restart = "<'now'>\"\u{1}".into());
    assert_eq!(simulator.names(), ["note", "press"]);
    simulator.settle();
    assert_eq!(
        simulator.observed(),
        (ItemState::Ready, Guest::Running, Some(Stop::Clean))
    );
    assert_eq!(simulator.plan(), []);
}

#[test]
fn a_change_of_class_waits_for_the_next_start_and_is_told() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.vcpus = 2);
    simulator.settle();
    assert_eq!(simulator.reason(), "RestartNeeded");
    assert_eq!(simulator.observed().1, Guest::Running);
    simulator.world.change(|vm| vm.restart = "1".into());
    simulator.settle();
    assert_eq!(simulator.reason(), "Ready");
}

#[test]
fn a_newer_epoch_of_the_claim_is_adopted_without_touching_the_guest() {
    let mut simulator = started();
    let ItemBody::Vm(vm) = simulator.world.vm_item().body.clone() else {
        panic!("not a machine");
    };
    simulator.world.put(*vm, epoch(11));
    assert_eq!(simulator.names(), ["adopt"]);
    simulator.settle();
    assert_eq!(simulator.reason(), "Ready");
}

#[test]
fn a_newer_grant_means_that_the_guest_hangs_so_it_is_forced_and_started() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.disks[0].grant = epoch(20));
    assert_eq!(simulator.names(), ["note", "destroy"]);
    simulator.settle();
    assert_eq!(
        simulator.observed(),
        (ItemState::Ready, Guest::Running, Some(Stop::Forced))
    );
}

#[test]
fn an_older_epoch_than_what_runs_is_refused() {
    let mut simulator = started();
    let ItemBody::Vm(vm) = simulator.world.vm_item().body.clone() else {
        panic!("not a machine");
    };
    simulator.world.put(*vm, epoch(9));
    assert_eq!(simulator.plan(), []);
    assert_eq!(simulator.reason(), "NewerEpoch");
    assert_eq!(simulator.observed().1, Guest::Running);
}

#[test]
fn the_policy_decides_what_follows_when_the_guest_stops_by_itself() {
    let table = [
        (OnStop::Restart, Off::ByGuest, Guest::Running, "Ready"),
        (OnStop::Restart, Off::Crashed, Guest::Running, "Ready"),
        (
            OnStop::RestartOnFailure,
            Off::ByGuest,
            Guest::Stopped,
            "StoppedByGuest",
        ),
        (
            OnStop::RestartOnFailure,
            Off::Crashed,
            Guest::Running,
            "Ready",
        ),
        (OnStop::Stay, Off::ByGuest, Guest::Stopped, "StoppedByGuest"),
        (OnStop::Stay, Off::Crashed, Guest::Crashed, "Crashed"),
    ];
    for (policy, off, guest, reason) in table {
        let mut simulator = started();
        simulator.world.change(|vm| vm.on_stop = policy);
        simulator.settle();
        simulator.set_power(Power::Off(off));
        simulator.settle();
        assert_eq!(simulator.observed().1, guest, "{policy:?} {off:?}");
        assert_eq!(simulator.reason(), reason, "{policy:?} {off:?}");
        // Another restart text brings it back whatever the policy.
        simulator.world.change(|vm| vm.restart = "again".into());
        simulator.settle();
        assert_eq!(simulator.observed().1, Guest::Running, "{policy:?} {off:?}");
    }
}

#[test]
fn a_machine_held_by_its_policy_starts_after_it_was_switched_off_and_on() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.on_stop = OnStop::Stay);
    simulator.set_power(Power::Off(Off::ByGuest));
    simulator.settle();
    simulator.world.change(|vm| vm.power = WantedPower::Off);
    simulator.settle();
    simulator.world.change(|vm| vm.power = WantedPower::On);
    simulator.settle();
    assert_eq!(simulator.observed().1, Guest::Running);
}

#[test]
fn a_crash_loop_is_slowed_and_told() {
    let mut simulator = started();
    for _ in 0..3 {
        simulator.set_power(Power::Off(Off::Crashed));
        simulator.settle();
    }
    simulator.set_power(Power::Off(Off::Crashed));
    for step in simulator.plan() {
        simulator.apply(&step);
    }
    assert_eq!(simulator.plan(), [], "it waits");
    assert_eq!(simulator.reason(), "CrashLoop");
    assert_eq!(simulator.observed().1, Guest::Crashed);
}

#[test]
fn a_panic_is_kept_for_those_who_look_into_it_and_cleared_when_it_is_stopped() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.on_stop = OnStop::Stay);
    simulator.settle();
    simulator.set_power(Power::Panicked);
    simulator.settle();
    assert_eq!(simulator.reason(), "Panicked");
    assert_eq!(simulator.observed().2, Some(Stop::Crashed));
    simulator.world.change(|vm| vm.power = WantedPower::Off);
    assert_eq!(simulator.names(), ["note", "destroy"]);
    simulator.settle();
    assert_eq!(
        simulator.observed(),
        (ItemState::Ready, Guest::Stopped, Some(Stop::Crashed))
    );
}

#[test]
fn a_guest_paused_by_its_disk_is_told_and_resumed_from_time_to_time() {
    let mut simulator = started();
    simulator.set_power(Power::Paused(Paused::DiskError));
    assert_eq!(simulator.names(), ["note", "resume"]);
    for step in simulator.plan() {
        simulator.apply(&step);
    }
    // The pool is still full.
    simulator.set_power(Power::Paused(Paused::DiskError));
    assert_eq!(simulator.plan(), []);
    assert_eq!(simulator.reason(), "DiskError");
    assert_eq!(simulator.observed().1, Guest::Paused);
    simulator.settle();
    assert_eq!(simulator.observed().1, Guest::Running);
}

#[test]
fn a_guest_lost_with_its_host_is_started_whatever_its_policy() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.on_stop = OnStop::Stay);
    simulator.settle();
    simulator.world.host.boot_id = "boot-2".into();
    simulator.set_power(Power::Off(Off::Unknown));
    simulator.seen.taps.clear();
    simulator.seen.secrets.clear();
    simulator.settle();
    assert_eq!(
        simulator.observed(),
        (ItemState::Ready, Guest::Running, Some(Stop::HostLost))
    );
}

#[test]
fn a_foreign_domain_in_the_way_is_told_and_not_touched() {
    let mut simulator = Simulator::new(World::of(fixture::vm()));
    simulator.seen.foreign.push(ForeignDomain {
        uuid: fixture::vm().vm.0,
        name: "someone's".into(),
        why: "no metadata of ours".into(),
    });
    assert_eq!(simulator.plan(), []);
    assert_eq!(simulator.reason(), "ForeignDomain");
    simulator.world.release(epoch(10));
    assert_eq!(simulator.plan(), []);
}

#[test]
fn a_running_domain_that_no_plan_speaks_of_is_left_alone() {
    let mut simulator = started();
    simulator.world.items.remove(&fixture::vm_key());
    assert_eq!(simulator.plan(), []);
}

#[test]
fn a_release_stops_the_machine_and_leaves_nothing() {
    let mut simulator = started();
    simulator.world.release(epoch(10));
    let released = |simulator: &Simulator| {
        let none = BTreeMap::new();
        status(
            &simulator.world.wanted(),
            &simulator.seen,
            &none,
            &BTreeSet::new(),
        )
        .released
    };
    assert_eq!(released(&simulator), []);
    simulator.settle();
    assert_eq!(released(&simulator).len(), 1);
    let Seen {
        now: _,
        probed: _,
        freezes: _,
        formats: _,
        rates: _,
        domains,
        foreign: _,
        secrets,
        records,
        files,
        taps,
    } = &simulator.seen;
    assert!(domains.is_empty() && secrets.is_empty() && records.is_empty());
    assert!(files.is_empty() && taps.is_empty());
    assert_eq!(
        simulator.plan(),
        [],
        "the item it speaks of is not started again"
    );
}

#[test]
fn a_machine_claimed_anew_outlives_the_release_of_its_old_claim() {
    let mut simulator = started();
    simulator.world.release(epoch(10));
    let ItemBody::Vm(vm) = simulator.world.vm_item().body.clone() else {
        panic!("not a machine");
    };
    simulator.world.put(*vm, epoch(12));
    simulator.settle();
    let (state, guest, _) = simulator.observed();
    assert_eq!((state, guest), (ItemState::Ready, Guest::Running));
    assert_eq!(
        simulator
            .seen
            .domains
            .values()
            .next()
            .unwrap()
            .metadata
            .epoch,
        epoch(12)
    );
}

#[test]
fn a_renamed_machine_is_defined_anew_under_its_new_name() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.name = "portal".into());
    simulator.settle();
    assert_eq!(
        simulator.reason(),
        "Ready",
        "a name alone is no reason to restart"
    );
    simulator.world.change(|vm| vm.restart = "1".into());
    simulator.settle();
    assert_eq!(simulator.reason(), "Ready");
}

#[test]
fn a_tap_that_was_unplugged_is_put_back_and_one_that_is_gone_is_told() {
    let mut simulator = started();
    let tap = tap_name(fixture::vm().vm, 0);
    simulator.seen.taps.insert(
        tap.clone(),
        TapPlace::Netns {
            netns: netns_name(Vni(4999)),
            bridge: None,
        },
    );
    assert_eq!(simulator.names(), ["plug_tap"]);
    simulator.settle();
    assert_eq!(
        simulator.seen.taps[&tap],
        TapPlace::Netns {
            netns: netns_name(Vni(4999)),
            bridge: Some(bridge_name(Vni(5001))),
        }
    );
    simulator.seen.taps.remove(&tap);
    assert_eq!(simulator.reason(), "TapLost");
}

#[test]
fn an_order_taken_back_starts_the_guest_once_it_is_off() {
    let mut simulator = started();
    simulator.hears = false;
    simulator.world.change(|vm| {
        vm.power = WantedPower::Off;
        vm.on_stop = OnStop::Stay;
    });
    for step in simulator.plan() {
        simulator.apply(&step);
    }
    simulator.world.change(|vm| vm.power = WantedPower::On);
    assert_eq!(simulator.reason(), "Stopping");
    simulator.set_power(Power::Off(Off::ByGuest));
    simulator.settle();
    assert_eq!(
        simulator.observed(),
        (ItemState::Ready, Guest::Running, Some(Stop::Clean))
    );
}
