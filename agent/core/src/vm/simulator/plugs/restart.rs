//! What a restart is needed for, and what it is not.

use dc_types::plan::DiskSource;
use dc_types::report::{Guest, ItemState};

use crate::vm::fixture::{disk, epoch};
use crate::vm::simulator::Simulator;

#[test]
fn a_machine_without_a_free_port_needs_a_restart() {
    let mut simulator = Simulator::running();
    simulator.change_domain(|domain| domain.free_slots = Some(1));
    simulator.add(9);
    simulator.add(10);
    simulator.settle();
    assert!(simulator.has(9) && !simulator.has(10));
    assert_eq!(simulator.reason(), "RestartNeeded");
    assert_eq!(simulator.noted(10), None);
    // One that goes makes room for one that comes.
    simulator.take_off(8);
    simulator.settle();
    assert!(simulator.has(10));
    simulator.assert_undisturbed();
}

#[test]
fn the_disk_that_a_machine_was_started_from_stays_until_its_next_start() {
    let mut simulator = Simulator::running();
    simulator.take_off(7);
    simulator.settle();
    assert_eq!(simulator.reason(), "RestartNeeded");
    assert!(simulator.has(7));
    assert_eq!(simulator.noted(7), Some(epoch(7)));
    simulator.world.change(|vm| vm.disks.insert(0, disk(9)));
    simulator.settle();
    assert_eq!(simulator.reason(), "RestartNeeded");
    assert!(!simulator.has(9));
    simulator.world.change(|vm| vm.restart = "1".into());
    simulator.settle();
    assert!(simulator.has(9) && !simulator.has(7));
}

#[test]
fn a_machine_that_waits_for_a_restart_anyway_is_given_disks_all_the_same() {
    let mut simulator = Simulator::running();
    simulator.world.change(|vm| vm.vcpus = 2);
    simulator.add(9);
    simulator.take_off(8);
    assert_eq!(simulator.reason(), "DiskPlugs");
    simulator.settle();
    assert!(simulator.has(9) && !simulator.has(8));
    assert_eq!(
        (simulator.noted(8), simulator.noted(9)),
        (None, Some(epoch(9)))
    );
    assert_eq!(simulator.reason(), "RestartNeeded");
}

#[test]
fn a_machine_that_ran_before_disks_could_come_is_not_told_to_restart() {
    let mut simulator = Simulator::running();
    // Written down when the newest agent counted every disk.
    simulator.change_domain(|domain| {
        domain.metadata.definition = "089feed7ab70c49323302614df8df9d9".into();
    });
    assert_eq!(simulator.reason(), "Ready");
    assert_eq!(simulator.names(), ["adopt"]);
    simulator.settle();
    simulator.add(9);
    simulator.settle();
    assert!(simulator.has(9));
    simulator.assert_undisturbed();
}

#[test]
fn another_address_of_a_disks_storage_waits_for_the_next_start() {
    let mut simulator = Simulator::running();
    simulator.world.change(|vm| {
        let DiskSource::Iscsi { portal, .. } = &mut vm.disks[1].source else {
            panic!("not over iSCSI");
        };
        portal.port = 3261;
    });
    simulator.settle();
    assert_eq!(simulator.reason(), "RestartNeeded");
    simulator.world.change(|vm| vm.restart = "1".into());
    simulator.settle();
    assert_eq!(simulator.reason(), "Ready");
}

#[test]
fn a_restart_takes_a_disk_off_that_its_guest_keeps() {
    let mut simulator = Simulator::running();
    simulator.lets_go = false;
    simulator.take_off(8);
    simulator.wait(40);
    simulator.world.change(|vm| vm.restart = "now".into());
    simulator.settle();
    assert!(!simulator.has(8));
    assert_eq!(simulator.noted(8), None);
    let (state, guest, _) = simulator.observed();
    assert_eq!((state, guest), (ItemState::Ready, Guest::Running));
}
