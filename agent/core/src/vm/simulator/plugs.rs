//! Disks that come to a running guest and go, and whatever dies meanwhile.

use dc_types::plan::{DiskItem, Power as WantedPower};
use dc_types::report::{Guest, ItemState};

use super::Simulator;
use crate::vm::fixture::{self, disk, epoch, hold};
use crate::vm::hold::HoldRecord;
use crate::vm::next_look;
use crate::vm::seen::{CopyStage, Paused, Power};
use crate::vm::step::{NewDisk, Step};
use crate::vm::xml::SecretLabel;
use crate::vm::xml::disk::{
    FIRST_DEVICE, read_copy, read_disk_alone, render_copy, serial, serial_of, source_name,
};
use crate::vm::xml::secret::secret_uuid;

mod operator;
mod restart;

impl Simulator {
    pub(super) fn plug(&mut self, step: &Step, new: &NewDisk) {
        for secret in &new.secrets {
            let label = SecretLabel::parse(&secret.xml).expect("a secret of ours");
            self.seen.secrets.insert(label.uuid, label);
        }
        let record = self.seen.records.get(&step.vm).expect("a record");
        assert!(record.hold.is_none_or(|hold: HoldRecord| hold.is_over()));
        assert!(record.stopping.is_none(), "it is to stop");
        let (serial, disk) = read_disk_alone(&new.xml).expect("a disk");
        let domain = self.domain(step);
        assert_eq!(domain.power, Power::Running, "nobody finds it");
        let mut grants = domain.metadata.grants.iter();
        let noted = grants.any(|(volume, grant)| {
            let of = DiskItem {
                volume: *volume,
                grant: *grant,
                ..fixture::disk(7)
            };
            serial_of(*volume) == serial && source_name(&of) == disk.source
        });
        assert!(noted, "its grant is not written down");
        let mut taken = domain.disks.values();
        assert!(taken.all(|of| of.device != disk.device), "{}", disk.device);
        domain.free_slots = Some(domain.free_slots.unwrap().checked_sub(1).expect("a port"));
        let old = domain.disks.insert(serial, disk);
        assert_eq!(old, None, "it is there already");
    }

    pub(super) fn ask_to_let_go(&mut self, step: &Step, device: &str) {
        assert_ne!(device, FIRST_DEVICE, "the guest was started from it");
        let copied = self.disk(step, device).mirror.is_some();
        assert!(!copied, "QEMU refuses while it copies");
        let domain = self.domain(step);
        assert_eq!(domain.power, Power::Running, "nobody answers");
        let mut disks = domain.disks.iter();
        let (serial, _) = disks.find(|(_, disk)| disk.device == device).unwrap();
        let mut volumes = domain.metadata.grants.keys();
        assert!(
            volumes.any(|volume| serial_of(*volume) == *serial),
            "its grant was given up"
        );
        self.asked.insert(device.to_owned());
    }

    /// What the guest does of what it was asked.
    pub(super) fn let_go(&mut self) {
        if !self.lets_go || self.power() != Some(Power::Running) {
            return;
        }
        for domain in self.seen.domains.values_mut() {
            let before = domain.disks.len();
            domain
                .disks
                .retain(|_, disk| !self.asked.contains(&disk.device));
            let gone = before - domain.disks.len();
            domain.free_slots = domain.free_slots.map(|free| free + gone);
        }
        self.asked.clear();
    }

    fn add(&mut self, volume: u64) {
        self.world.change(|vm| vm.disks.push(disk(volume)));
    }

    fn take_off(&mut self, volume: u64) {
        let off = disk(volume).volume;
        self.world
            .change(|vm| vm.disks.retain(|disk| disk.volume != off));
    }

    fn has(&self, volume: u64) -> bool {
        let mut domains = self.seen.domains.values();
        domains.any(|domain| domain.disks.contains_key(&serial(&disk(volume))))
    }

    fn noted(&self, volume: u64) -> Option<dc_types::Epoch> {
        let domain = self.seen.domains.values().next()?;
        let volume = disk(volume).volume;
        domain.metadata.grants.get(&volume).copied()
    }

    /// Turns, and time passes, for so many seconds; how often the guest was asked.
    fn wait(&mut self, seconds: i64) -> usize {
        let until = self.seen.now + seconds;
        let mut asked = 0;
        while self.seen.now < until {
            for step in self.plan() {
                asked += usize::from(step.name() == "unplug");
                self.apply(&step);
            }
            let wait = next_look(&self.world.wanted(), &self.seen);
            self.seen.now += i64::from(wait.expect("it looks again"));
        }
        asked
    }

    fn assert_undisturbed(&self) {
        assert_eq!(
            self.observed(),
            (ItemState::Ready, Guest::Running, None),
            "{:?}",
            self.reason()
        );
    }
}

#[test]
fn a_disk_that_is_added_comes_to_the_running_guest() {
    let mut simulator = Simulator::running();
    simulator.add(9);
    assert_eq!(simulator.reason(), "DiskPlugs");
    assert_eq!(simulator.names(), ["adopt", "plug"]);
    simulator.settle();
    assert!(simulator.has(9));
    assert_eq!(simulator.noted(9), Some(epoch(9)));
    simulator.assert_undisturbed();
}

#[test]
fn a_disk_that_is_taken_off_is_granted_until_the_guest_has_let_go_of_it() {
    let mut simulator = Simulator::running();
    simulator.lets_go = false;
    simulator.take_off(8);
    assert_eq!(simulator.names(), ["adopt", "note", "unplug"]);
    simulator.turn();
    assert_eq!(simulator.names(), [""; 0]);
    assert_eq!(simulator.reason(), "DiskPlugs");
    assert_eq!(simulator.noted(8), Some(epoch(8)));
    assert_eq!(
        next_look(&simulator.world.wanted(), &simulator.seen),
        Some(2)
    );

    simulator.lets_go = true;
    assert_eq!(simulator.names(), ["note", "remove_secret", "adopt"]);
    assert!(!simulator.has(8));
    // It is told as gone when nothing speaks of it any more.
    assert_eq!(simulator.reason(), "DiskPlugs");
    simulator.turn();
    assert_eq!(simulator.noted(8), None);
    let login = secret_uuid(disk(8).volume, epoch(8));
    assert!(!simulator.seen.secrets.contains_key(&login));
    simulator.assert_undisturbed();
    assert!(
        simulator
            .seen
            .records
            .values()
            .all(|r| r.unplugs.is_empty())
    );
}

#[test]
fn an_agent_that_dies_anywhere_is_followed_by_one_that_ends_the_same() {
    for cut in 0..12 {
        for loses_record in [false, true] {
            let mut simulator = Simulator::running();
            simulator.take_off(8);
            simulator.add(9);
            let mut left = cut;
            while left > 0 {
                let steps = simulator.plan();
                if steps.is_empty() {
                    break;
                }
                for step in steps.iter().take(left) {
                    simulator.apply(step);
                }
                left -= steps.len().min(left);
            }
            if loses_record {
                simulator.seen.records.clear();
            }
            simulator.settle();
            assert!(simulator.has(9) && !simulator.has(8), "cut {cut}");
            assert_eq!(simulator.noted(8), None);
            simulator.assert_undisturbed();
        }
    }
}

#[test]
fn a_guest_that_keeps_a_disk_is_asked_again_and_told_of_until_it_lets_go() {
    let mut simulator = Simulator::running();
    simulator.lets_go = false;
    simulator.take_off(8);
    assert_eq!(simulator.wait(30), 3);
    assert_eq!(simulator.reason(), "DiskHeld");
    let ItemState::Failed(told) = simulator.observed().0 else {
        panic!("it is not told as a failure");
    };
    assert!(told.message.contains("device vdb"), "{}", told.message);
    let by_id = format!("virtio-{}", serial(&disk(8)));
    assert!(told.message.contains(&by_id), "{}", told.message);
    assert_eq!(simulator.wait(600), 60);
    assert_eq!(simulator.noted(8), Some(epoch(8)));
    simulator.lets_go = true;
    simulator.settle();
    simulator.assert_undisturbed();
}

#[test]
fn a_disk_that_is_wanted_again_while_it_goes_is_there_in_the_end() {
    for lets_go in [true, false] {
        let mut simulator = Simulator::running();
        simulator.lets_go = false;
        simulator.take_off(8);
        simulator.turn();
        simulator.add(8);
        simulator.turn();
        // It has it still, and that is what is asked for.
        simulator.assert_undisturbed();
        simulator.lets_go = lets_go;
        simulator.settle();
        assert!(simulator.has(8));
        assert_eq!(simulator.noted(8), Some(epoch(8)));
        simulator.assert_undisturbed();
    }
}

#[test]
fn a_disk_that_was_given_back_comes_again_under_its_newer_grant() {
    let mut simulator = Simulator::running();
    simulator.take_off(8);
    simulator.settle();
    let again = DiskItem {
        grant: epoch(30),
        ..disk(8)
    };
    simulator.world.change(|vm| vm.disks.push(again));
    simulator.settle();
    assert!(simulator.has(8));
    assert_eq!(simulator.noted(8), Some(epoch(30)));
    simulator.assert_undisturbed();
}

#[test]
fn a_grant_that_was_noted_for_a_disk_that_never_came_kills_no_guest() {
    let mut simulator = Simulator::running();
    simulator.add(9);
    let adopt = simulator.plan().remove(0);
    assert_eq!(adopt.name(), "adopt");
    simulator.apply(&adopt);
    simulator.take_off(9);
    let anew = DiskItem {
        grant: epoch(31),
        ..disk(9)
    };
    simulator.world.change(|vm| vm.disks.push(anew));
    assert_eq!(simulator.names(), ["adopt", "plug"]);
    simulator.settle();
    assert_eq!(simulator.noted(9), Some(epoch(31)));
    simulator.assert_undisturbed();
}

#[test]
fn a_newer_grant_of_a_disk_that_the_guest_has_ends_it_as_ever() {
    let mut simulator = Simulator::running();
    simulator.world.change(|vm| vm.disks[1].grant = epoch(30));
    assert_eq!(simulator.names(), ["note", "destroy"]);
}

#[test]
fn nothing_comes_or_goes_while_the_guest_is_held_stands_still_or_stops() {
    let change = |simulator: &mut Simulator| {
        simulator.add(9);
        simulator.take_off(8);
    };
    let never = |simulator: &mut Simulator| {
        let names = simulator.names();
        assert!(
            !names.iter().any(|name| ["plug", "unplug"].contains(name)),
            "{names:?}"
        );
    };
    let mut held = Simulator::running();
    held.world.change(|vm| vm.hold = Some(hold(90)));
    for _ in 0..3 {
        held.turn();
    }
    assert_eq!(held.reason(), "HeldForSnapshot");
    change(&mut held);
    never(&mut held);
    held.world.change(|vm| vm.hold = None);
    held.settle();
    assert!(held.has(9) && !held.has(8));
    held.assert_undisturbed();

    for power in [
        Power::Paused(Paused::DiskError),
        Power::Paused(Paused::Passing),
        Power::ShuttingDown,
        Power::Panicked,
    ] {
        let mut still = Simulator::running();
        still.set_power(power);
        change(&mut still);
        never(&mut still);
    }
    let mut stopping = Simulator::running();
    stopping.hears = false;
    change(&mut stopping);
    stopping.world.change(|vm| vm.power = WantedPower::Off);
    never(&mut stopping);
    stopping.turn();
    stopping.world.change(|vm| vm.power = WantedPower::On);
    never(&mut stopping);
    let mut released = Simulator::running();
    change(&mut released);
    released.world.release(epoch(10));
    never(&mut released);
}

#[test]
fn a_machine_that_starts_has_just_the_disks_of_its_item() {
    let mut simulator = Simulator::running();
    simulator.world.change(|vm| vm.power = WantedPower::Off);
    simulator.settle();
    simulator.add(9);
    simulator.take_off(8);
    assert_eq!(simulator.reason(), "Ready", "what is off has nothing open");
    simulator.world.change(|vm| vm.power = WantedPower::On);
    simulator.settle();
    assert!(simulator.has(7) && simulator.has(9) && !simulator.has(8));
    simulator.assert_stopped_clean();
}

impl Simulator {
    fn assert_stopped_clean(&self) {
        let (state, guest, _) = self.observed();
        assert_eq!((state, guest), (ItemState::Ready, Guest::Running));
    }

    fn change_domain(&mut self, change: impl FnOnce(&mut crate::vm::seen::Domain)) {
        change(self.seen.domains.values_mut().next().unwrap());
    }
}

#[test]
fn a_device_takes_the_first_name_that_is_free() {
    let mut simulator = Simulator::running();
    // A machine that was started when the seed stood after the last disk.
    simulator.change_domain(|domain| {
        domain.disks.get_mut("cidata").unwrap().device = "vdc".into();
    });
    simulator.add(9);
    simulator.settle();
    simulator.take_off(8);
    simulator.add(10);
    simulator.settle();
    simulator.add(11);
    simulator.settle();
    let domain = simulator.seen.domains.values().next().unwrap();
    let device = |volume| domain.disks[&serial(&disk(volume))].device.as_str();
    assert_eq!((device(9), device(10), device(11)), ("vdd", "vde", "vdb"));
}

#[test]
fn a_disk_that_is_being_copied_goes_when_the_copy_has_ended() {
    let mut simulator = Simulator::running();
    let to = render_copy(&disk(80), "vdb").render();
    let mirror = |simulator: &mut Simulator, stage| {
        simulator.change_domain(|domain| {
            let disk = domain.disks.get_mut(&serial(&disk(8))).unwrap();
            disk.mirror = read_copy(&to);
            disk.mirror.as_mut().unwrap().stage = stage;
        });
    };
    mirror(&mut simulator, CopyStage::Ready);
    simulator.take_off(8);
    assert_eq!(simulator.names(), ["adopt", "end_copy"]);
    simulator.turn();
    mirror(&mut simulator, CopyStage::Ending);
    assert_eq!(simulator.names(), [""; 0]);
    assert!(next_look(&simulator.world.wanted(), &simulator.seen).is_some());
    simulator.change_domain(|domain| {
        domain.disks.get_mut(&serial(&disk(8))).unwrap().mirror = None;
    });
    simulator.settle();
    assert!(!simulator.has(8));
    simulator.assert_undisturbed();
}

#[test]
fn a_disk_that_a_person_attached_is_left_alone() {
    let mut simulator = Simulator::running();
    simulator.change_domain(|domain| {
        let mut theirs = domain.disks[&serial(&disk(8))].clone();
        theirs.device = "vdm".into();
        domain.disks.insert("rescue".into(), theirs);
    });
    assert_eq!(simulator.names(), [""; 0]);
    simulator.assert_undisturbed();
}

#[test]
fn while_it_is_not_known_what_qemu_has_nothing_is_done_and_nothing_is_given_back() {
    let mut simulator = Simulator::running();
    simulator.take_off(8);
    simulator.turn();
    simulator.change_domain(|domain| domain.disks.clear());
    let steps = simulator.plan();
    assert!(steps.is_empty(), "{steps:?}");
    assert_eq!(simulator.reason(), "DiskPlugs");
    assert_eq!(simulator.noted(8), Some(epoch(8)));
}
