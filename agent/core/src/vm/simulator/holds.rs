//! Guests that are held for snapshots: one sentence, one case.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::Bytes;
use dc_types::plan::{Power as WantedPower, Qos};
use dc_types::report::{Consistency, Detail, HoldSeen, HoldState};

use super::{Agent, Simulator};
use crate::vm::fixture::{self, World, epoch, hold};
use crate::vm::seen::{Off, Paused, Power};
use crate::vm::status;
use crate::vm::step::Act;

fn started() -> Simulator {
    let mut simulator = Simulator::new(World::of(fixture::vm()));
    simulator.settle();
    simulator
}

impl Simulator {
    /// One look and what it asks for; time stands still.
    pub(super) fn turn(&mut self) -> Vec<&'static str> {
        let steps = self.plan();
        for step in &steps {
            self.apply(step);
        }
        steps.iter().map(crate::vm::Step::name).collect()
    }

    fn held(&mut self) -> Option<HoldSeen> {
        self.look();
        let (troubles, busy) = (BTreeMap::new(), BTreeSet::new());
        let status = status(&self.world.wanted(), &self.seen, &troubles, &busy);
        match &status.observations[0].detail {
            Detail::Vm { held, .. } => held.as_deref().copied(),
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self) -> Option<(Consistency, HoldState)> {
        self.held().map(|held| (held.level, held.state))
    }
}

#[test]
fn a_guest_is_frozen_then_paused_and_only_then_called_held() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.hold = Some(hold(100)));
    assert_eq!(simulator.turn(), ["note", "freeze"]);
    assert_eq!(simulator.held(), None);
    assert_eq!(simulator.turn(), ["note", "pause"]);
    assert!(simulator.frozen);
    assert_eq!(simulator.held(), None, "not written down yet");
    assert_eq!(simulator.turn(), ["note"]);
    let held = simulator.held().unwrap();
    assert_eq!(held.id, epoch(100));
    assert_eq!(
        (held.level, held.state),
        (Consistency::FileSystem, HoldState::Holding)
    );
    assert_eq!(simulator.turn(), [""; 0], "nothing more while it is held");

    simulator.world.change(|vm| vm.hold = None);
    assert_eq!(simulator.turn(), ["note", "resume"]);
    assert_eq!(simulator.state().unwrap().1, HoldState::Kept);
    assert_eq!(simulator.turn(), ["thaw"]);
    assert_eq!(simulator.turn(), ["note"]);
    assert!(!simulator.frozen);
    assert_eq!(simulator.power(), Some(Power::Running));
    // It is told until the next one.
    simulator.settle();
    assert_eq!(
        simulator.state(),
        Some((Consistency::FileSystem, HoldState::Kept))
    );
    assert_eq!(simulator.reason(), "Ready");
}

#[test]
fn a_guest_without_an_agent_is_paused_and_called_crash_consistent() {
    let mut simulator = started();
    simulator.agent = Agent::Silent;
    simulator.world.change(|vm| vm.hold = Some(hold(100)));
    for _ in 0..4 {
        simulator.turn();
    }
    assert_eq!(simulator.power(), Some(Power::Paused(Paused::Ordered)));
    assert_eq!(
        simulator.state(),
        Some((Consistency::Crash, HoldState::Holding))
    );
    simulator.world.change(|vm| vm.hold = None);
    simulator.settle();
    assert_eq!(
        simulator.state(),
        Some((Consistency::Crash, HoldState::Kept))
    );
    assert_eq!(simulator.power(), Some(Power::Running));
}

#[test]
fn past_its_deadline_a_guest_is_let_go_whatever_the_operator_does() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.hold = Some(hold(100)));
    for _ in 0..3 {
        simulator.turn();
    }
    simulator.seen.now += 29;
    assert_eq!(simulator.turn(), [""; 0]);
    simulator.seen.now += 1;
    assert_eq!(simulator.turn(), ["note", "resume"]);
    assert_eq!(simulator.state().unwrap().1, HoldState::Broken);
    simulator.settle();
    assert!(!simulator.frozen);
    assert_eq!(simulator.power(), Some(Power::Running));
    // The same order does not hold it again.
    assert_eq!(simulator.plan(), []);
    assert_eq!(simulator.state().unwrap().1, HoldState::Broken);
    // One that is taken back after that was not kept.
    simulator.world.change(|vm| vm.hold = None);
    simulator.settle();
    assert_eq!(simulator.state().unwrap().1, HoldState::Broken);
}

#[test]
fn an_agent_that_died_at_any_point_lets_the_guest_go() {
    for died_after in 0..8 {
        for record in ["kept", "lost"] {
            let mut simulator = started();
            simulator.world.change(|vm| vm.hold = Some(hold(100)));
            let mut left = died_after;
            while left > 0 {
                let steps = simulator.plan();
                if steps.is_empty() {
                    break;
                }
                for step in steps.iter().take(left) {
                    simulator.apply(step);
                }
                left = left.saturating_sub(steps.len());
            }
            if record == "lost" {
                simulator.seen.records.clear();
            }
            // It is back long after, and nobody asks for the hold any more.
            simulator.seen.now += 1000;
            simulator.world.change(|vm| vm.hold = None);
            simulator.settle();
            let at = format!("after {died_after} steps, record {record}");
            assert!(!simulator.frozen, "{at}");
            assert_eq!(simulator.power(), Some(Power::Running), "{at}");
            let state = simulator.state().map(|(_, state)| state);
            assert_ne!(state, Some(HoldState::Kept), "{at}");
        }
    }
}

#[test]
fn a_guest_that_somebody_let_run_was_not_held() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.hold = Some(hold(100)));
    for _ in 0..3 {
        simulator.turn();
    }
    simulator.set_power(Power::Running);
    simulator.turn();
    assert_eq!(simulator.state().unwrap().1, HoldState::Broken);
    simulator.settle();
    assert!(!simulator.frozen);
}

#[test]
fn a_stop_that_is_asked_for_ends_a_hold_and_is_clean() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.hold = Some(hold(100)));
    for _ in 0..3 {
        simulator.turn();
    }
    simulator.world.change(|vm| vm.power = WantedPower::Off);
    assert_eq!(simulator.turn(), ["note", "resume"]);
    assert_eq!(simulator.turn(), ["thaw", "note", "press"]);
    simulator.settle();
    assert_eq!(simulator.power(), Some(Power::Off(Off::ByGuest)));
    assert_eq!(simulator.state().unwrap().1, HoldState::Broken);
}

#[test]
fn a_stopped_guest_is_not_started_while_its_volumes_are_taken() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.power = WantedPower::Off);
    simulator.settle();
    simulator.world.change(|vm| vm.hold = Some(hold(100)));
    assert_eq!(simulator.turn(), ["note"]);
    // It was stopped cleanly: everything is written out.
    assert_eq!(
        simulator.state(),
        Some((Consistency::FileSystem, HoldState::Holding))
    );
    simulator.world.change(|vm| vm.power = WantedPower::On);
    assert_eq!(simulator.turn(), [""; 0]);
    assert_eq!(simulator.reason(), "HeldForSnapshot");
    simulator.world.change(|vm| vm.hold = None);
    simulator.settle();
    assert_eq!(simulator.power(), Some(Power::Running));
    assert_eq!(
        simulator.state(),
        Some((Consistency::FileSystem, HoldState::Kept))
    );
}

#[test]
fn a_guest_that_crashed_or_never_ran_is_never_called_more_than_that() {
    let mut simulator = Simulator::new(World::of(fixture::vm()));
    simulator.world.change(|vm| {
        vm.power = WantedPower::Off;
        vm.hold = Some(hold(100));
    });
    simulator.turn();
    assert_eq!(
        simulator.state(),
        Some((Consistency::Crash, HoldState::Holding))
    );
    let mut simulator = started();
    simulator
        .world
        .change(|vm| vm.on_stop = dc_types::plan::OnStop::Stay);
    simulator.set_power(Power::Off(Off::Crashed));
    simulator.world.change(|vm| vm.hold = Some(hold(100)));
    simulator.turn();
    assert_eq!(
        simulator.state(),
        Some((Consistency::Crash, HoldState::Holding))
    );
}

#[test]
fn a_guest_that_is_let_go_by_its_release_goes_down_cleanly() {
    let mut simulator = started();
    simulator.world.change(|vm| vm.hold = Some(hold(100)));
    for _ in 0..3 {
        simulator.turn();
    }
    simulator.world.release(epoch(10));
    assert_eq!(simulator.turn(), ["note", "resume"]);
    assert!(simulator.plan().iter().any(|step| step.act == Act::Press));
}

#[test]
fn another_limit_is_set_while_the_guest_runs_and_once() {
    let mut simulator = started();
    let qos = Qos {
        iops: 300,
        iops_burst: 0,
        bandwidth: Bytes(10 << 20),
        bandwidth_burst: Bytes(0),
        burst_s: 0,
    };
    simulator.world.change(|vm| vm.disks[1].qos = qos);
    let steps: Vec<Act> = simulator.plan().into_iter().map(|step| step.act).collect();
    let limit = Act::Limit {
        device: "vdb".into(),
        qos,
    };
    assert!(steps.contains(&limit), "{steps:?}");
    simulator.settle();
    assert_eq!(simulator.reason(), "Ready", "no restart is needed for it");
    simulator
        .world
        .change(|vm| vm.disks[1].qos = Qos::default());
    assert!(simulator.names().contains(&"limit"));
    simulator.settle();
    assert_eq!(simulator.plan(), []);
}
