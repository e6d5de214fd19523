//! A disk goes to another place while its guest runs, and whatever dies meanwhile.

use dc_types::plan::{DiskItem, Mirror, MirrorOrder, Portal, Power as WantedPower};
use dc_types::report::{Detail, Guest, ItemState, MoveState};
use dc_types::{InstanceId, MiB};
use uuid::Uuid;

use super::*;
use crate::vm::fixture::{disk, epoch, hold, vm};
use crate::vm::xml::disk::{serial, source_name};

fn mirror(order: MirrorOrder) -> Box<Mirror> {
    let mut source = disk(7).source;
    if let dc_types::plan::DiskSource::Iscsi { portal, .. } = &mut source {
        *portal = Portal {
            address: "10.250.0.3".parse().unwrap(),
            port: 3260,
        };
    }
    Box::new(Mirror {
        place: InstanceId(Uuid::from_u64_pair(70, 0)),
        grant: epoch(70),
        source,
        order,
    })
}

/// The disk that is moved, before and after.
fn places() -> (String, String) {
    let before = disk(7);
    let after = DiskItem {
        mirror: Some(mirror(MirrorOrder::Copy)),
        ..before.clone()
    };
    (
        source_name(&before),
        source_name(&after.switched().unwrap()),
    )
}

impl Simulator {
    pub(super) fn running() -> Self {
        let mut simulator = Self::new(World::of(vm()));
        simulator.settle();
        simulator
    }

    fn order(&mut self, order: Option<MirrorOrder>) {
        self.world
            .change(|vm| vm.disks[0].mirror = order.map(mirror));
    }

    /// The operator has heard of it.
    fn acknowledge(&mut self) {
        self.world.change(|vm| {
            vm.disks[0] = vm.disks[0].switched().unwrap();
        });
    }

    fn moved_disk(&mut self) -> &mut LiveDisk {
        let domain = self.seen.domains.values_mut().next().unwrap();
        domain.disks.get_mut(&serial(&disk(7))).unwrap()
    }

    fn finish_copy(&mut self) {
        if let Some(copy) = &mut self.moved_disk().mirror {
            copy.stage = CopyStage::Ready;
        }
    }

    fn moved(&self) -> Option<MoveState> {
        let status = status(
            &self.world.wanted(),
            &self.seen,
            &BTreeMap::new(),
            &BTreeSet::new(),
        );
        let observation = status.observations.into_iter().next().unwrap();
        let Detail::Vm { moves, .. } = observation.detail else {
            panic!("not a machine's detail");
        };
        Some(moves.first()?.state)
    }

    /// A turn of the loop, cut off after so many steps; how many there were.
    fn turn_until(&mut self, cut: usize) -> usize {
        let steps = self.plan();
        for step in steps.iter().take(cut) {
            self.apply(step);
        }
        steps.len().min(cut)
    }

    /// The host goes down: QEMU and its jobs are gone.
    fn lose_qemu(&mut self) {
        for domain in self.seen.domains.values_mut() {
            if domain.power.is_active() {
                domain.power = Power::Off(Off::Unknown);
                domain.disks.clear();
            }
        }
        self.seen.secrets.clear();
    }

    /// Turns until nothing is to be done at once; time does not pass.
    fn rest(&mut self) {
        for _ in 0..50 {
            if self.turn_until(usize::MAX) == 0 {
                return;
            }
        }
        panic!("no rest: {:?}", self.plan());
    }

    /// Turns, and time passes, until the guest runs.
    fn run(&mut self) {
        for _ in 0..200 {
            self.turn_until(usize::MAX);
            if self.power() == Some(Power::Running) {
                return;
            }
            let wait = next_look(&self.world.wanted(), &self.seen);
            self.seen.now += i64::from(wait.unwrap_or_default());
        }
        panic!("it does not run: {:?}", self.plan());
    }

    /// Ordered, copied and kept up.
    fn copied() -> Self {
        let mut simulator = Self::running();
        simulator.order(Some(MirrorOrder::Copy));
        simulator.rest();
        simulator.finish_copy();
        simulator.settle();
        assert_eq!(simulator.moved(), Some(MoveState::Ready));
        simulator
    }
}

#[test]
fn a_disk_goes_to_another_place_while_its_guest_runs() {
    let (before, after) = places();
    let mut simulator = Simulator::running();
    simulator.order(Some(MirrorOrder::Copy));
    assert_eq!(simulator.moved(), Some(MoveState::Waiting));
    simulator.rest();
    assert_eq!(simulator.moved(), Some(MoveState::Copying { percent: 0 }));
    // The machine is as asked meanwhile.
    assert_eq!(simulator.observed().0, ItemState::Ready);
    simulator.finish_copy();
    simulator.settle();
    assert_eq!(simulator.moved(), Some(MoveState::Ready));
    assert_eq!(simulator.moved_disk().source, before);

    simulator.order(Some(MirrorOrder::Switch));
    assert_eq!(simulator.names(), ["note", "pause"]);
    simulator.turn_until(usize::MAX);
    assert_eq!(simulator.reason(), "Switching");
    assert_eq!(simulator.names(), ["pivot"]);
    simulator.turn_until(usize::MAX);
    // It is written down before the guest writes anything there.
    assert_eq!(simulator.names(), ["note", "resume"]);
    simulator.settle();
    assert_eq!(simulator.moved(), Some(MoveState::Switched));
    assert_eq!(simulator.moved_disk().source, after);
    let (state, guest, last_stop) = simulator.observed();
    assert_eq!(
        (state, guest, last_stop),
        (ItemState::Ready, Guest::Running, None)
    );

    simulator.acknowledge();
    simulator.settle();
    assert_eq!(simulator.moved(), None);
    assert_eq!(
        simulator.observed(),
        (ItemState::Ready, Guest::Running, None)
    );
    assert!(simulator.seen.records.values().all(|r| r.moves.is_empty()));
}

#[test]
fn an_order_that_is_taken_back_ends_the_copy_and_nothing_else() {
    let (before, _) = places();
    for finished in [false, true] {
        let mut simulator = Simulator::running();
        simulator.order(Some(MirrorOrder::Copy));
        simulator.rest();
        if finished {
            simulator.finish_copy();
        }
        simulator.order(None);
        assert_eq!(simulator.names().last(), Some(&"end_copy"));
        simulator.settle();
        assert_eq!(simulator.moved_disk().mirror, None);
        assert_eq!(simulator.moved_disk().source, before);
        assert_eq!(
            simulator.observed(),
            (ItemState::Ready, Guest::Running, None)
        );
    }
}

/// Every cut of every turn, each followed by nothing, a lost QEMU, or a lost record of the agent.
#[test]
fn whatever_dies_at_whatever_step_the_guest_never_starts_without_what_it_wrote() {
    let (before, after) = places();
    for cut in 0..12 {
        for loses_qemu in [false, true] {
            let mut simulator = Simulator::copied();
            simulator.order(Some(MirrorOrder::Switch));
            let mut left = cut;
            while left > 0 {
                let done = simulator.turn_until(left);
                // Where the guest has written since the last step.
                if done == 0 {
                    break;
                }
                left -= done;
            }
            let running = simulator.power() == Some(Power::Running);
            let there = simulator.moved_disk().source == after;
            if loses_qemu {
                simulator.lose_qemu();
            }
            simulator.run();
            // While it was halted both places were alike: the old one is as good.
            let started = simulator.moved_disk().source.clone();
            if loses_qemu && running {
                assert_eq!(started == after, there, "cut {cut}");
            }
            for _ in 0..200 {
                simulator.finish_copy();
                simulator.turn_until(usize::MAX);
                let wait = next_look(&simulator.world.wanted(), &simulator.seen);
                simulator.seen.now += i64::from(wait.unwrap_or_default());
            }
            assert_eq!(simulator.moved(), Some(MoveState::Switched), "cut {cut}");
            assert_eq!(simulator.moved_disk().source, after, "cut {cut}");
            assert_ne!(simulator.moved_disk().source, before);
            simulator.acknowledge();
            simulator.settle();
            assert_eq!(simulator.observed().1, Guest::Running, "cut {cut}");
        }
    }
}

#[test]
fn a_machine_that_is_off_waits_and_starts_where_its_bytes_are() {
    let (before, after) = places();
    let mut simulator = Simulator::copied();
    simulator.world.change(|vm| vm.power = WantedPower::Off);
    simulator.settle();
    assert_eq!(simulator.moved(), Some(MoveState::Waiting));
    simulator.world.change(|vm| vm.power = WantedPower::On);
    simulator.rest();
    assert_eq!(simulator.moved_disk().source, before);

    // Switched, and off before the operator heard of it.
    let mut simulator = Simulator::copied();
    simulator.order(Some(MirrorOrder::Switch));
    simulator.settle();
    simulator.world.change(|vm| vm.power = WantedPower::Off);
    simulator.settle();
    assert_eq!(simulator.moved(), Some(MoveState::Switched));
    simulator.world.change(|vm| vm.power = WantedPower::On);
    simulator.settle();
    assert_eq!(simulator.moved_disk().source, after);
}

#[test]
fn a_copy_that_breaks_off_is_begun_again_later_and_later() {
    let mut simulator = Simulator::running();
    simulator.order(Some(MirrorOrder::Copy));
    simulator.rest();
    let mut pauses = Vec::new();
    for _ in 0..3 {
        simulator.moved_disk().mirror = None;
        let broke_at = simulator.seen.now;
        assert_eq!(simulator.moved(), Some(MoveState::Waiting));
        while simulator.moved_disk().mirror.is_none() {
            let wait = next_look(&simulator.world.wanted(), &simulator.seen);
            simulator.seen.now += i64::from(wait.expect("it looks again"));
            simulator.turn_until(usize::MAX);
        }
        pauses.push(simulator.seen.now - broke_at);
    }
    assert_eq!(pauses, [30, 60, 90]);
    assert_eq!(
        simulator.observed(),
        (ItemState::Ready, Guest::Running, None)
    );
}

#[test]
fn a_guest_is_not_halted_for_a_switch_while_it_is_held_or_stopped() {
    let mut simulator = Simulator::copied();
    simulator.world.change(|vm| vm.hold = Some(hold(90)));
    simulator.order(Some(MirrorOrder::Switch));
    simulator.rest();
    assert!(simulator.moved_disk().mirror.is_some());
    simulator.world.change(|vm| vm.hold = None);
    simulator.settle();
    assert_eq!(simulator.moved(), Some(MoveState::Switched));

    // One that is to stop while it stands still hears its button, on the new place.
    let mut simulator = Simulator::copied();
    simulator.order(Some(MirrorOrder::Switch));
    simulator.turn_until(usize::MAX);
    simulator.world.change(|vm| vm.power = WantedPower::Off);
    simulator.settle();
    let (_, guest, last_stop) = simulator.observed();
    assert_eq!((guest, last_stop), (Guest::Stopped, Some(Stop::Clean)));
    assert_eq!(simulator.moved(), Some(MoveState::Switched));
}

#[test]
fn a_copy_that_breaks_off_while_the_guest_stands_still_lets_it_run_on() {
    let (before, _) = places();
    let mut simulator = Simulator::copied();
    simulator.order(Some(MirrorOrder::Switch));
    simulator.turn_until(usize::MAX);
    simulator.moved_disk().mirror = None;
    assert_eq!(simulator.names(), ["note", "resume"]);
    simulator.rest();
    assert_eq!(simulator.power(), Some(Power::Running));
    assert_eq!(simulator.moved_disk().source, before);
}

#[test]
fn a_guest_stands_still_until_it_is_known_whether_it_went_over() {
    let (_, after) = places();
    let mut simulator = Simulator::copied();
    simulator.order(Some(MirrorOrder::Switch));
    simulator.turn_until(usize::MAX);
    // The call was given up, and QEMU is still at it.
    let copy = simulator.moved_disk().mirror.as_mut().unwrap();
    copy.stage = CopyStage::GoingOver;
    assert_eq!(simulator.names(), [""; 0]);
    assert_eq!(
        next_look(&simulator.world.wanted(), &simulator.seen),
        Some(1)
    );
    let copy = simulator.moved_disk().mirror.take().unwrap();
    simulator.moved_disk().source = copy.source;
    assert_eq!(simulator.names(), ["note", "resume"]);
    simulator.settle();
    assert_eq!(simulator.moved(), Some(MoveState::Switched));
    assert_eq!(simulator.moved_disk().source, after);
}

#[test]
fn a_copy_that_cannot_end_yet_is_told_until_it_has() {
    let mut simulator = Simulator::copied();
    simulator.order(None);
    let copy = simulator.moved_disk().mirror.as_mut().unwrap();
    copy.stage = CopyStage::Ending;
    simulator.rest();
    assert_eq!(simulator.moved(), Some(MoveState::Ending));
    assert_eq!(simulator.observed().0, ItemState::Ready);
    assert!(next_look(&simulator.world.wanted(), &simulator.seen).is_some());
    simulator.moved_disk().mirror = None;
    simulator.settle();
    assert_eq!(simulator.moved(), None);
    assert!(simulator.seen.records.values().all(|r| r.moves.is_empty()));
}

#[test]
fn a_plan_of_the_past_is_refused_once_the_bytes_are_elsewhere() {
    let mut simulator = Simulator::copied();
    simulator.order(Some(MirrorOrder::Switch));
    simulator.settle();
    simulator.order(None);
    assert_eq!(simulator.names(), [""; 0]);
    assert_eq!(simulator.reason(), "MovedElsewhere");
    // Nor is it started at the old place.
    simulator.lose_qemu();
    assert_eq!(simulator.names(), [""; 0]);
}

#[test]
fn a_newer_grant_of_the_new_place_fences_and_what_needs_a_restart_still_does() {
    let mut simulator = Simulator::copied();
    simulator.world.change(|vm| vm.memory = MiB(256));
    simulator.order(Some(MirrorOrder::Switch));
    simulator.settle();
    assert_eq!(simulator.moved(), Some(MoveState::Switched));
    assert_eq!(simulator.reason(), "RestartNeeded");
    simulator.acknowledge();
    simulator.settle();
    assert_eq!(simulator.observed().1, Guest::Running);
    assert_eq!(simulator.observed().2, None, "it was stopped");
    simulator.world.change(|vm| vm.disks[0].grant = epoch(99));
    assert_eq!(simulator.names(), ["note", "destroy"]);
}

#[test]
fn a_lost_record_does_not_lose_where_the_bytes_are() {
    let (_, after) = places();
    let mut simulator = Simulator::copied();
    simulator.order(Some(MirrorOrder::Switch));
    simulator.settle();
    simulator.seen.records.clear();
    simulator.settle();
    simulator.seen.records.clear();
    simulator.lose_qemu();
    simulator.run();
    assert_eq!(simulator.moved_disk().source, after);
    assert_eq!(simulator.moved(), Some(MoveState::Switched));
}
