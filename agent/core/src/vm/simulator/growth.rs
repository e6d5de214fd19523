//! Disks that grow under a running guest.

use dc_types::Bytes;
use dc_types::report::ItemState;

use super::Simulator;
use crate::vm::fixture::{self, World};
use crate::vm::seen::{CopyStage, LiveMirror, Paused, Power};
use crate::vm::xml::disk::serial;

const BEFORE: Bytes = Bytes(1 << 30);
const AFTER: Bytes = Bytes(2 << 30);

/// A guest that sees its disks as large as the plan says.
fn started() -> Simulator {
    let mut simulator = Simulator::new(World::of(fixture::vm()));
    simulator.settle();
    for domain in simulator.seen.domains.values_mut() {
        for disk in domain.disks.values_mut() {
            disk.size = Some(BEFORE);
        }
    }
    assert_eq!(simulator.names(), [""; 0]);
    simulator
}

fn grow(simulator: &mut Simulator) {
    simulator.world.change(|vm| vm.disks[1].size = AFTER);
}

fn size(simulator: &Simulator) -> Option<Bytes> {
    let domain = simulator.seen.domains.values().next().unwrap();
    domain.disks[&serial(&fixture::vm().disks[1])].size
}

#[test]
fn a_running_guest_is_told_of_a_disk_that_has_grown_and_is_not_started_anew() {
    let mut simulator = started();
    grow(&mut simulator);
    assert_eq!(simulator.reason(), "DiskGrows");
    let names = simulator.names();
    assert!(names.contains(&"resize"), "{names:?}");
    simulator.settle();
    assert_eq!(size(&simulator), Some(AFTER));
    assert_eq!(simulator.observed().0, ItemState::Ready);
    assert_eq!(simulator.names(), [""; 0], "it is told once");
}

#[test]
fn an_agent_that_dies_before_the_guest_is_told_is_followed_by_one_that_tells_it() {
    let mut simulator = started();
    grow(&mut simulator);
    let steps = simulator.plan();
    for cut in 0..=steps.len() {
        let mut cut_off = started();
        grow(&mut cut_off);
        for step in &steps[..cut] {
            cut_off.apply(step);
        }
        cut_off.settle();
        assert_eq!(size(&cut_off), Some(AFTER), "cut at {cut}");
        assert_eq!(cut_off.reason(), "Ready", "cut at {cut}");
    }
}

#[test]
fn a_disk_never_shrinks_and_one_of_unknown_size_is_left_alone() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.disks[1].size = Bytes(512));
    simulator.settle();
    assert_eq!(size(&simulator), Some(BEFORE));
    grow(&mut simulator);
    for domain in simulator.seen.domains.values_mut() {
        for disk in domain.disks.values_mut() {
            disk.size = None;
        }
    }
    simulator.settle();
    assert_eq!(
        (size(&simulator), simulator.reason()),
        (None, "Ready".into())
    );
}

#[test]
fn a_guest_that_stands_still_is_told_when_it_goes_on() {
    let mut simulator = started();
    simulator.set_power(Power::Paused(Paused::DiskError));
    grow(&mut simulator);
    let names = simulator.names();
    assert!(!names.contains(&"resize"), "{names:?}");
    simulator.set_power(Power::Running);
    simulator.settle();
    assert_eq!(size(&simulator), Some(AFTER));
}

#[test]
fn a_disk_that_is_being_copied_is_told_when_the_copy_has_ended() {
    let mut simulator = started();
    grow(&mut simulator);
    let mirror = LiveMirror {
        source: "elsewhere".into(),
        hosts: Vec::new(),
        stage: CopyStage::Ending,
        percent: 100,
    };
    let key = serial(&fixture::vm().disks[1]);
    let mirrored = |simulator: &mut Simulator, mirror| {
        let domain = simulator.seen.domains.values_mut().next().unwrap();
        domain.disks.get_mut(&key).unwrap().mirror = mirror;
    };
    mirrored(&mut simulator, Some(mirror));
    let names = simulator.names();
    assert!(!names.contains(&"resize"), "{names:?}");
    mirrored(&mut simulator, None);
    simulator.settle();
    assert_eq!(size(&simulator), Some(AFTER));
}
