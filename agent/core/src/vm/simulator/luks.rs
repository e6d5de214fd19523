//! Encrypted disks: formatted before the machine has them, and never after; not opened without a key.

use dc_types::plan::{DiskItem, Formatted, Luks, Secret};
use dc_types::report::{Detail, Guest};
use dc_types::{Epoch, InstanceId};

use super::Simulator;
use crate::vm::fixture::{self, World, epoch};
use crate::vm::seen::{Off, Power};
use crate::vm::status;
use crate::vm::step::Act;
use crate::vm::xml::secret::{key_uuid, secret_uuid};

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn luks(formatted: Formatted) -> Option<Luks> {
    Some(Luks {
        key: Some(Secret(KEY.into())),
        formatted,
    })
}

fn encrypted(disk: u64, formatted: Formatted) -> DiskItem {
    DiskItem {
        luks: luks(formatted),
        ..fixture::disk(disk)
    }
}

/// A machine whose second disk is encrypted.
fn new(formatted: Formatted) -> Simulator {
    let mut vm = fixture::vm();
    vm.disks[1] = encrypted(8, formatted);
    Simulator::new(World::of(vm))
}

impl Simulator {
    fn formatted(&self) -> Vec<InstanceId> {
        let said = status(
            &self.world.wanted(),
            &self.seen,
            &Default::default(),
            &Default::default(),
        );
        match &said.observations[0].detail {
            Detail::Vm { formatted, .. } => formatted.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The agent ends, and another one begins.
    fn restart_agent(&mut self) {
        self.seen.formats.clear();
    }

    /// As the ledger of the host has it: without keys.
    fn forget_keys(&mut self) {
        self.world.change(|vm| {
            for luks in vm.disks.iter_mut().filter_map(|disk| disk.luks.as_mut()) {
                luks.key = None;
            }
        });
    }
}

#[test]
fn a_volume_is_formatted_once_and_its_machine_starts_when_the_plan_knows_it() {
    let mut simulator = new(Formatted::Never);
    assert_eq!(simulator.names(), ["format"]);
    assert_eq!(simulator.reason(), "Formatting");
    assert!(simulator.formatted().is_empty());
    simulator.settle();
    assert_eq!(
        simulator.formatted(),
        [encrypted(8, Formatted::Never).volume]
    );
    assert_eq!(simulator.reason(), "Formatting");
    assert_eq!(
        simulator.observed().1,
        Guest::Absent,
        "it waits for the plan"
    );
    // Another agent looks again, and finds it done.
    simulator.restart_agent();
    assert_eq!(simulator.names(), ["format"]);
    simulator.settle();

    simulator
        .world
        .change(|vm| vm.disks[1].luks = luks(Formatted::Done));
    simulator.settle();
    assert_eq!(simulator.reason(), "Ready");
    assert!(simulator.formatted().is_empty());
    let grant = fixture::disk(8).grant;
    let place = fixture::disk(8).volume;
    assert!(simulator.seen.secrets.contains_key(&key_uuid(place, grant)));
    assert!(
        simulator
            .seen
            .secrets
            .contains_key(&secret_uuid(place, grant))
    );
}

#[test]
fn what_the_plan_calls_formatted_is_never_formatted() {
    let mut simulator = new(Formatted::Done);
    for _ in 0..20 {
        let steps = simulator.plan();
        assert!(!steps.iter().any(|step| matches!(step.act, Act::Format(_))));
        for step in &steps {
            simulator.apply(step);
        }
    }
    assert_eq!(simulator.reason(), "Ready");
}

#[test]
fn without_its_key_a_machine_goes_on_and_does_not_start() {
    let mut simulator = new(Formatted::Done);
    simulator.settle();
    simulator.restart_agent();
    simulator.forget_keys();
    assert!(simulator.names().iter().all(|name| *name == "adopt"));
    simulator.settle();
    assert_eq!(simulator.reason(), "Ready");
    // A reboot of the host.
    simulator.seen.domains.clear();
    simulator.seen.secrets.clear();
    simulator.seen.taps.clear();
    simulator.world.host.boot_id = "boot-2".into();
    simulator.settle();
    assert_eq!(simulator.reason(), "KeyAwaited");
    assert_eq!(simulator.observed().1, Guest::Stopped);
    simulator
        .world
        .change(|vm| vm.disks[1].luks = luks(Formatted::Done));
    simulator.settle();
    assert_eq!(simulator.reason(), "Ready");
    // Neither is one formatted that has none.
    let mut simulator = new(Formatted::Never);
    simulator.forget_keys();
    assert_eq!(simulator.plan(), []);
    assert_eq!(simulator.reason(), "KeyAwaited");
}

#[test]
fn a_machine_that_waits_for_its_key_leaves_no_secret_with_libvirt() {
    let mut simulator = new(Formatted::Done);
    simulator.settle();
    assert!(!simulator.seen.secrets.is_empty());
    simulator.forget_keys();
    for domain in simulator.seen.domains.values_mut() {
        domain.power = Power::Off(Off::Crashed);
    }
    simulator.settle();
    assert_eq!(simulator.reason(), "KeyAwaited");
    assert!(simulator.seen.secrets.is_empty());
}

#[test]
fn a_disk_is_formatted_before_it_comes_to_a_running_guest_and_its_key_goes_with_it() {
    let mut simulator = Simulator::new(World::of(fixture::vm()));
    simulator.settle();
    simulator
        .world
        .change(|vm| vm.disks.push(encrypted(9, Formatted::Never)));
    assert_eq!(simulator.names(), ["adopt", "format"]);
    assert_eq!(simulator.reason(), "Formatting");
    simulator.settle();
    assert_eq!(simulator.reason(), "Formatting");
    assert_eq!(simulator.observed().1, Guest::Running);
    assert_eq!(simulator.formatted(), [fixture::disk(9).volume]);
    simulator
        .world
        .change(|vm| vm.disks[2].luks = luks(Formatted::Done));
    simulator.settle();
    assert_eq!(simulator.reason(), "Ready");
    let key = key_uuid(fixture::disk(9).volume, fixture::disk(9).grant);
    assert!(simulator.seen.secrets.contains_key(&key));
    simulator.world.change(|vm| vm.disks.truncate(2));
    simulator.settle();
    assert_eq!(simulator.reason(), "Ready");
    assert!(
        !simulator.seen.secrets.contains_key(&key),
        "the key is left"
    );
}

#[test]
fn a_newer_grant_ends_the_formatting_under_the_old_one_and_a_release_ends_all() {
    let mut simulator = new(Formatted::Never);
    simulator.settle();
    let at = |epoch: Epoch| (fixture::disk(8).volume, epoch);
    assert!(simulator.seen.formats.contains_key(&at(epoch(8))));
    simulator.world.change(|vm| vm.disks[1].grant = epoch(20));
    assert_eq!(simulator.names(), ["stop_format", "format"]);
    simulator.settle();
    let known: Vec<_> = simulator.seen.formats.keys().copied().collect();
    assert_eq!(known, [at(epoch(20))]);
    simulator.world.items.remove(&fixture::vm_key());
    simulator.world.release(epoch(10));
    assert_eq!(simulator.names(), ["stop_format"]);
    simulator.settle();
    assert!(simulator.seen.formats.is_empty());
}

#[test]
fn what_cannot_be_encrypted_is_refused_and_nothing_shows_the_key() {
    let mut simulator = new(Formatted::Never);
    let shown = format!("{:?} {:?}", simulator.plan(), simulator.world.items);
    assert!(!shown.contains(KEY), "{shown}");
    simulator.world.change(|vm| {
        let luks = vm.disks[1].luks.as_mut();
        luks.unwrap().key = Some(Secret("short".into()));
    });
    assert_eq!(simulator.plan(), []);
    assert_eq!(simulator.reason(), "InvalidMachine");
}
