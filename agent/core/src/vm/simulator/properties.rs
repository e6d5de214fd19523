//! What must hold after any history: machines changed, found in any state, agents killed at any
//! step, hosts rebooted.

use dc_types::plan::{ItemBody, OnStop, Power as WantedPower};
use dc_types::report::{Guest, ItemState};
use proptest::prelude::*;

use super::{Agent, Simulator};
use crate::vm::fixture::{self, World, epoch};
use crate::vm::seen::{Off, Paused, Power, TapPlace};
use crate::vm::step::Act;

fn any_power() -> impl Strategy<Value = Power> {
    prop_oneof![
        Just(Power::Running),
        Just(Power::Paused(Paused::Ordered)),
        Just(Power::Paused(Paused::DiskError)),
        Just(Power::Panicked),
        Just(Power::Off(Off::ByGuest)),
        Just(Power::Off(Off::Destroyed)),
        Just(Power::Off(Off::Crashed)),
        Just(Power::Off(Off::Failed)),
        Just(Power::Off(Off::Unknown)),
    ]
}

fn any_policy() -> impl Strategy<Value = OnStop> {
    prop_oneof![
        Just(OnStop::Restart),
        Just(OnStop::RestartOnFailure),
        Just(OnStop::Stay)
    ]
}

#[derive(Clone, Debug)]
enum Event {
    Power(WantedPower),
    Policy(OnStop),
    Restart(u8),
    Grant(u64),
    Vcpus(u32),
    Deadline(u32),
    Found(Power),
    Deaf(bool),
    ForgetRecord,
    /// This many steps are carried out, and the agent is killed.
    CutAfter(usize),
    Reboot,
    Later(i64),
    /// A hold is asked for, or taken back.
    Hold(Option<u64>),
    Agent(Agent),
    /// A disk is added, or taken off.
    Plug(u64),
    Unplug(u64),
    LetsGo(bool),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        prop_oneof![Just(WantedPower::On), Just(WantedPower::Off)].prop_map(Event::Power),
        any_policy().prop_map(Event::Policy),
        (0u8..3).prop_map(Event::Restart),
        (20u64..23).prop_map(Event::Grant),
        (1u32..3).prop_map(Event::Vcpus),
        prop_oneof![Just(0u32), Just(30)].prop_map(Event::Deadline),
        any_power().prop_map(Event::Found),
        any::<bool>().prop_map(Event::Deaf),
        Just(Event::ForgetRecord),
        (0usize..14).prop_map(Event::CutAfter),
        Just(Event::Reboot),
        (0i64..2000).prop_map(Event::Later),
        prop::option::of(100u64..103).prop_map(Event::Hold),
        prop_oneof![Just(Agent::Answers), Just(Agent::Silent)].prop_map(Event::Agent),
        (8u64..11).prop_map(Event::Plug),
        (8u64..11).prop_map(Event::Unplug),
        any::<bool>().prop_map(Event::LetsGo),
    ]
}

/// QEMU holds its taps as long as it lives, so what is active has them all; and a machine that was
/// never plugged is not found running.
fn may_be_found(simulator: &Simulator, power: Power) -> bool {
    let mut cards = fixture::cards().into_iter();
    let taps = &simulator.seen.taps;
    match power {
        Power::Off(_) => true,
        Power::Running => {
            cards.all(|card| matches!(taps.get(&card.tap), Some(TapPlace::Netns { .. })))
        }
        _ => cards.all(|card| taps.contains_key(&card.tap)),
    }
}

fn happen(simulator: &mut Simulator, event: &Event) {
    match event.clone() {
        Event::Power(power) => simulator.world.change(|vm| vm.power = power),
        Event::Policy(policy) => simulator.world.change(|vm| vm.on_stop = policy),
        Event::Restart(text) => simulator.world.change(|vm| vm.restart = text.to_string()),
        Event::Grant(revision) => simulator
            .world
            .change(|vm| vm.disks[0].grant = epoch(revision)),
        Event::Vcpus(vcpus) => simulator.world.change(|vm| vm.vcpus = vcpus),
        Event::Deadline(seconds) => simulator.world.change(|vm| vm.stop_deadline_s = seconds),
        Event::Found(power) => {
            if may_be_found(simulator, power) {
                simulator.set_power(power);
            }
        }
        Event::Deaf(deaf) => simulator.hears = !deaf,
        Event::ForgetRecord => simulator.seen.records.clear(),
        Event::CutAfter(steps) => {
            for step in simulator.plan().iter().take(steps) {
                simulator.apply(step);
            }
        }
        Event::Reboot => {
            simulator.world.host.boot_id.push('+');
            simulator.seen.taps.clear();
            simulator.seen.secrets.clear();
            simulator.set_power(Power::Off(Off::Unknown));
        }
        Event::Later(seconds) => simulator.seen.now += seconds,
        Event::Hold(id) => simulator.world.change(|vm| vm.hold = id.map(fixture::hold)),
        Event::Agent(agent) => simulator.agent = agent,
        Event::Plug(volume) => simulator.world.change(|vm| {
            let disk = fixture::disk(volume);
            if vm.disks.iter().all(|of| of.volume != disk.volume) {
                vm.disks.push(disk);
            }
        }),
        Event::Unplug(volume) => simulator.world.change(|vm| {
            let off = fixture::disk(volume).volume;
            vm.disks.retain(|disk| disk.volume != off);
        }),
        Event::LetsGo(lets_go) => simulator.lets_go = lets_go,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn after_the_plan_is_carried_out_the_next_is_empty_and_the_machine_is_as_wanted(
        events in prop::collection::vec(any_event(), 0..10),
    ) {
        let mut simulator = Simulator::new(World::of(fixture::vm()));
        for event in &events {
            happen(&mut simulator, event);
        }
        // A guest that stays frozen for ever needs an agent that never answers again.
        simulator.agent = Agent::Answers;
        // So does a disk that is never let go of.
        simulator.lets_go = true;
        simulator.settle();
        prop_assert_eq!(simulator.plan(), []);
        prop_assert!(!simulator.frozen, "left frozen");
        let ItemBody::Vm(vm) = simulator.world.vm_item().body.clone() else {
            panic!("not a machine");
        };
        let (state, guest, _) = simulator.observed();
        let power = simulator.power();
        match vm.power {
            WantedPower::Off => {
                prop_assert_eq!(&state, &ItemState::Ready);
                prop_assert!(!power.is_some_and(Power::is_active));
            }
            WantedPower::On if vm.on_stop == OnStop::Restart => {
                prop_assert_eq!(guest, Guest::Running);
                prop_assert_eq!(power, Some(Power::Running));
            }
            WantedPower::On => (),
        }
    }

    #[test]
    fn a_release_ends_with_nothing_left_whatever_came_before(
        events in prop::collection::vec(any_event(), 0..8),
    ) {
        let mut simulator = Simulator::new(World::of(fixture::vm()));
        for event in &events {
            happen(&mut simulator, event);
        }
        simulator.world.release(epoch(10));
        simulator.settle();
        prop_assert!(simulator.seen.domains.is_empty());
        prop_assert!(simulator.seen.taps.is_empty());
        prop_assert!(simulator.seen.files.is_empty());
        prop_assert!(simulator.seen.records.is_empty());
        prop_assert!(simulator.seen.secrets.is_empty());
    }

    #[test]
    fn a_step_done_twice_is_as_good_as_once(
        cut in 0usize..13,
    ) {
        let mut simulator = Simulator::new(World::of(fixture::vm()));
        let steps = simulator.plan();
        for step in steps.iter().take(cut) {
            simulator.apply(step);
            // Repeating a start or a resume is refused by libvirt; the shell takes that for done.
            if !matches!(step.act, Act::Start | Act::Resume) {
                simulator.apply(step);
            }
            if matches!(step.act, Act::Start) {
                break;
            }
        }
        simulator.settle();
        prop_assert_eq!(simulator.observed().1, Guest::Running);
    }
}
