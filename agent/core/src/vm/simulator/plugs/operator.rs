//! What must hold between an operator that gives grants away again and a host that dies, waits and is
//! ordered about meanwhile.

use std::collections::BTreeMap;

use dc_types::InstanceId;
use dc_types::plan::{DiskItem, ItemBody, Power as WantedPower};
use dc_types::report::ItemState;
use proptest::prelude::*;

use crate::vm::fixture::{disk, epoch, hold};
use crate::vm::seen::{Off, Power};
use crate::vm::simulator::Simulator;
use crate::vm::xml::disk::{serial, serial_of, source_name};

/// The operator's part: a volume that is not asked for is given back when the host is as asked without
/// it, and has a newer grant when it is asked for again.
struct Operator {
    grants: BTreeMap<InstanceId, u64>,
    next: u64,
}

impl Operator {
    fn ask(&mut self, simulator: &mut Simulator, volumes: &[u64]) {
        let disks = volumes.iter().map(|&volume| {
            let next = &mut self.next;
            let fresh = || {
                *next += 1;
                *next
            };
            let item = disk(volume);
            let grant = *self.grants.entry(item.volume).or_insert_with(fresh);
            DiskItem {
                grant: epoch(grant),
                ..item
            }
        });
        let disks: Vec<DiskItem> = disks.collect();
        simulator.world.change(|vm| {
            vm.disks.truncate(1);
            vm.disks.extend(disks);
        });
    }

    /// Nothing that is given back may be open anywhere.
    fn look(&mut self, simulator: &Simulator) {
        if simulator.observed().0 != ItemState::Ready {
            return;
        }
        let item = simulator.world.vm_item().clone();
        let ItemBody::Vm(vm) = item.body else {
            panic!("not a machine");
        };
        let asked: Vec<InstanceId> = vm.disks.iter().map(|disk| disk.volume).collect();
        let mut domains = simulator.seen.domains.values();
        let domain = domains.next().filter(|domain| domain.power.is_active());
        self.grants.retain(|volume, _| {
            let kept = asked.contains(volume);
            if let Some(domain) = domain.filter(|_| !kept) {
                let serial = serial_of(*volume);
                assert!(!domain.disks.contains_key(&serial), "given back while open");
                assert!(!domain.metadata.grants.contains_key(volume), "noted still");
            }
            kept
        });
    }
}

#[derive(Clone, Debug)]
enum Event {
    Ask(Vec<u64>),
    LetsGo(bool),
    /// This many steps are carried out, and the agent is killed.
    Steps(usize),
    Later(i64),
    Power(WantedPower),
    Restart(u8),
    Hold(Option<u64>),
    Vcpus(u32),
    Crash,
    ForgetRecord,
}

fn any_event() -> impl Strategy<Value = Event> {
    let volumes = prop::sample::subsequence(vec![8u64, 9, 10, 11], 0..=4);
    let power = prop_oneof![Just(WantedPower::On), Just(WantedPower::Off)];
    prop_oneof![
        4 => volumes.prop_shuffle().prop_map(Event::Ask),
        2 => any::<bool>().prop_map(Event::LetsGo),
        4 => (0usize..8).prop_map(Event::Steps),
        1 => (0i64..90).prop_map(Event::Later),
        1 => power.prop_map(Event::Power),
        1 => (0u8..3).prop_map(Event::Restart),
        1 => prop::option::of(100u64..103).prop_map(Event::Hold),
        1 => (1u32..3).prop_map(Event::Vcpus),
        1 => Just(Event::Crash),
        1 => Just(Event::ForgetRecord),
    ]
}

fn happen(simulator: &mut Simulator, operator: &mut Operator, event: &Event) {
    match event.clone() {
        Event::Ask(volumes) => operator.ask(simulator, &volumes),
        Event::LetsGo(lets_go) => simulator.lets_go = lets_go,
        Event::Steps(steps) => {
            for step in simulator.plan().iter().take(steps) {
                simulator.apply(step);
                operator.look(simulator);
            }
        }
        Event::Later(seconds) => simulator.seen.now += seconds,
        Event::Power(power) => simulator.world.change(|vm| vm.power = power),
        Event::Restart(text) => simulator.world.change(|vm| vm.restart = text.to_string()),
        Event::Hold(id) => simulator.world.change(|vm| vm.hold = id.map(hold)),
        Event::Vcpus(vcpus) => simulator.world.change(|vm| vm.vcpus = vcpus),
        Event::Crash => simulator.set_power(Power::Off(Off::Crashed)),
        Event::ForgetRecord => simulator.seen.records.clear(),
    }
    operator.look(simulator);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens_the_guest_has_what_is_asked_and_nothing_is_given_back_while_open(
        events in prop::collection::vec(any_event(), 0..24),
    ) {
        let mut simulator = Simulator::running();
        let first = [(disk(7).volume, 7), (disk(8).volume, 8)];
        let mut operator = Operator { grants: first.into(), next: 100 };
        for event in &events {
            happen(&mut simulator, &mut operator, event);
        }
        simulator.lets_go = true;
        simulator.world.change(|vm| {
            vm.power = WantedPower::On;
            vm.restart = "last".into();
        });
        simulator.settle();
        operator.look(&simulator);
        prop_assert_eq!(simulator.plan(), []);
        prop_assert_eq!(simulator.reason(), "Ready");
        let ItemBody::Vm(vm) = simulator.world.vm_item().body.clone() else {
            panic!("not a machine");
        };
        let domain = simulator.seen.domains.values().next().unwrap();
        let grants: BTreeMap<_, _> = vm.disks.iter().map(|d| (d.volume, d.grant)).collect();
        prop_assert_eq!(&domain.metadata.grants, &grants);
        // The seed beside them.
        prop_assert_eq!(domain.disks.len(), vm.disks.len() + 1);
        for disk in &vm.disks {
            prop_assert_eq!(&domain.disks[&serial(disk)].source, &source_name(disk));
        }
    }
}
