//! A host as a value: carries out steps on a `Seen` as libvirt would. It holds what must always
//! hold, and the properties of the plan are tested over it.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::report::{Detail, Guest, ItemState, Stop};

use super::fixture::{self, NOW, World};
use super::hold::{Freeze, asks_guest};
use super::luks::{FormatStage, Formatting};
use super::seen::{CopyStage, Domain, LiveDisk, Off, Paused, Power, Seen, TapPlace};
use super::step::{Act, Step};
use super::xml::disk::{read_copy, read_live_disks};
use super::xml::slots::SPARE_SLOTS;
use super::xml::{Metadata, SecretLabel};
use super::{next_look, plan, status};

mod cases;
mod growth;
mod holds;
mod luks;
mod moves;
mod plugs;
mod properties;

struct Simulator {
    world: World,
    seen: Seen,
    /// Whether the guest listens to its power button.
    hears: bool,
    agent: Agent,
    /// Whether its file systems are frozen, whoever knows of it.
    frozen: bool,
    /// Whether the guest lets go of a disk when it is asked.
    lets_go: bool,
    /// Devices that it was asked for and has not let go of.
    asked: BTreeSet<String>,
}

/// The guest's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agent {
    Answers,
    Silent,
}

impl Simulator {
    fn new(world: World) -> Self {
        let seen = Seen {
            now: NOW,
            ..Seen::default()
        };
        Self {
            world,
            seen,
            hears: true,
            agent: Agent::Answers,
            frozen: false,
            lets_go: true,
            asked: BTreeSet::new(),
        }
    }

    fn domain(&mut self, step: &Step) -> &mut Domain {
        let name = step.name();
        self.seen
            .domains
            .get_mut(&step.vm)
            .unwrap_or_else(|| panic!("{name} without a domain"))
    }

    fn disk(&mut self, step: &Step, device: &str) -> &mut LiveDisk {
        let mut disks = self.domain(step).disks.values_mut();
        let disk = disks.find(|disk| disk.device == device);
        disk.unwrap_or_else(|| panic!("no disk {device}"))
    }

    fn power(&self) -> Option<Power> {
        let domain = self.seen.domains.values().next()?;
        Some(domain.power)
    }

    fn set_power(&mut self, power: Power) {
        for domain in self.seen.domains.values_mut() {
            domain.power = power;
        }
    }

    fn apply(&mut self, step: &Step) {
        let vm = step.vm;
        match &step.act {
            Act::Note(record) => {
                self.seen.records.insert(vm, record.clone());
            }
            Act::WriteSeed(_) => {
                self.seen.files.insert(vm);
            }
            Act::DefineSecret(secret) => {
                let label = SecretLabel::parse(&secret.xml).expect("a secret of ours");
                self.seen.secrets.insert(label.uuid, label);
            }
            Act::RemoveSecret(uuid) => {
                self.seen.secrets.remove(uuid);
            }
            Act::MakeTap { name, .. } => {
                self.seen.taps.insert(name.clone(), TapPlace::Host);
            }
            Act::DeleteTap(name) => {
                self.seen.taps.remove(name);
            }
            Act::Define { xml } => self.define(step, xml),
            Act::Undefine => {
                assert!(!self.domain(step).power.is_active(), "it would vanish");
                self.seen.domains.remove(&vm);
            }
            Act::Start => self.start(step),
            Act::PlugTap {
                name,
                netns,
                bridge,
            } => {
                let place = TapPlace::Netns {
                    netns: netns.clone(),
                    bridge: Some(bridge.clone()),
                };
                let old = self.seen.taps.insert(name.clone(), place);
                assert!(old.is_some(), "no tap {name}");
            }
            Act::Resume => self.resume(step),
            Act::Freeze => self.freeze(step),
            Act::Thaw => {
                assert_eq!(self.domain(step).power, Power::Running, "nobody answers");
                self.frozen = false;
            }
            Act::Pause => {
                let domain = self.domain(step);
                assert!(domain.power.is_active(), "a pause of what is off");
                domain.power = Power::Paused(Paused::Ordered);
            }
            Act::Limit { device, qos } => {
                let disks = self.domain(step).disks.values_mut();
                for disk in disks.filter(|disk| disk.device == *device) {
                    disk.qos = *qos;
                }
            }
            Act::Resize { device, size } => {
                let power = self.domain(step).power;
                assert_eq!(power, Power::Running, "a size told to nobody");
                let disk = self.disk(step, device);
                assert!(disk.size < Some(*size), "a disk shrinks, or is told twice");
                disk.size = Some(*size);
            }
            Act::Copy { device, xml } => {
                let copy = read_copy(xml).expect("a source");
                let power = self.domain(step).power;
                assert_eq!(power, Power::Running, "a copy of what does not run");
                let disk = self.disk(step, device);
                assert_eq!(disk.mirror, None, "two copies of one disk");
                assert_ne!(disk.source, copy.source, "copied onto itself");
                disk.mirror = Some(copy);
            }
            Act::EndCopy { device } => self.disk(step, device).mirror = None,
            Act::Pivot { device } => {
                let power = self.domain(step).power;
                assert_eq!(power, Power::Paused(Paused::Ordered), "it would write");
                let disk = self.disk(step, device);
                let copy = disk.mirror.take().expect("a copy");
                assert_eq!(copy.stage, CopyStage::Ready, "the copy is not whole");
                (disk.source, disk.hosts) = (copy.source, copy.hosts);
            }
            Act::Format(order) => {
                let formatting = Formatting {
                    vm,
                    stage: FormatStage::Done,
                };
                let at = (order.place, order.grant);
                let old = self.seen.formats.insert(at, formatting);
                assert_eq!(old, None, "formatted twice");
            }
            Act::StopFormat { place, grant } => {
                self.seen.formats.remove(&(*place, *grant));
            }
            Act::Plug(disks) => disks.iter().for_each(|disk| self.plug(step, disk)),
            Act::Unplug { device } => self.ask_to_let_go(step, device),
            Act::Press => {
                let hears = self.hears;
                let domain = self.domain(step);
                assert!(domain.power.is_active(), "a press on a machine that is off");
                if hears && domain.power == Power::Running {
                    domain.power = Power::Off(Off::ByGuest);
                }
            }
            Act::Destroy => self.domain(step).power = Power::Off(Off::Destroyed),
            Act::Adopt { metadata } => {
                let metadata = Metadata::read_alone(metadata).unwrap();
                self.domain(step).metadata = metadata;
            }
            Act::RemoveFiles => {
                self.seen.files.remove(&vm);
            }
            Act::Forget => {
                self.seen.records.remove(&vm);
            }
        }
    }

    fn define(&mut self, step: &Step, xml: &str) {
        let metadata = Metadata::find(xml).unwrap().expect("ours");
        let document = roxmltree::Document::parse(xml).unwrap();
        let text = |tag| {
            let node = document.descendants().find(|node| node.has_tag_name(tag));
            node.and_then(|node| node.text()).unwrap().to_owned()
        };
        let name = text("name");
        let domain = self.seen.domains.entry(step.vm).or_insert(Domain {
            name: name.clone(),
            metadata: metadata.clone(),
            power: Power::Off(Off::Unknown),
            disks: BTreeMap::new(),
            free_slots: None,
        });
        assert_eq!(domain.name, name, "libvirt refuses another name");
        assert!(!domain.power.is_active(), "defined under a running machine");
        domain.metadata = metadata;
        domain.disks = read_live_disks(xml);
        domain.free_slots = Some(SPARE_SLOTS);
        self.asked.clear();
    }

    fn freeze(&mut self, step: &Step) {
        assert_eq!(self.domain(step).power, Power::Running, "nobody answers");
        self.frozen = self.agent == Agent::Answers;
    }

    fn start(&mut self, step: &Step) {
        let secrets = self.seen.secrets.len();
        let domain = self.domain(step);
        assert!(!domain.power.is_active(), "started twice");
        assert!(secrets >= domain.metadata.grants.len(), "no secrets");
        domain.power = Power::Paused(Paused::Ordered);
        self.frozen = false;
    }

    fn resume(&mut self, step: &Step) {
        for card in fixture::cards() {
            assert_eq!(
                self.seen.taps.get(&card.tap),
                Some(&TapPlace::Netns {
                    netns: card.netns.clone(),
                    bridge: Some(card.bridge.clone()),
                }),
                "a guest ran before its card was plugged"
            );
        }
        let domain = self.domain(step);
        assert!(
            matches!(domain.power, Power::Paused(_)),
            "{:?}",
            domain.power
        );
        domain.power = Power::Running;
    }

    /// A look: the guest is asked what the shell would ask it.
    fn look(&mut self) {
        self.let_go();
        self.seen.freezes.clear();
        for (vm, record) in &self.seen.records {
            let running = |domain: &Domain| domain.power == Power::Running;
            if !asks_guest(record) || !self.seen.domains.get(vm).is_some_and(running) {
                continue;
            }
            let freeze = match (self.agent, self.frozen) {
                (Agent::Silent, _) => Freeze::Unanswered,
                (Agent::Answers, true) => Freeze::Frozen,
                (Agent::Answers, false) => Freeze::Thawed,
            };
            self.seen.freezes.insert(*vm, freeze);
        }
    }

    fn plan(&mut self) -> Vec<Step> {
        self.look();
        plan(&self.world.wanted(), &self.seen)
    }

    /// Plans and applies until nothing is left to do or to wait for. The clock goes on when the
    /// plan says that something waits for it.
    fn settle(&mut self) {
        for _ in 0..200 {
            let steps = self.plan();
            for step in &steps {
                self.apply(step);
            }
            match next_look(&self.world.wanted(), &self.seen) {
                Some(seconds) => self.seen.now += i64::from(seconds),
                None if steps.is_empty() => return,
                None => (),
            }
        }
        panic!("it does not settle: {:?}", self.plan());
    }

    fn names(&mut self) -> Vec<&'static str> {
        self.plan().iter().map(Step::name).collect()
    }

    fn observed(&self) -> (ItemState, Guest, Option<Stop>) {
        let status = status(
            &self.world.wanted(),
            &self.seen,
            &BTreeMap::new(),
            &BTreeSet::new(),
        );
        let observation = status.observations.into_iter().next().unwrap();
        let Detail::Vm {
            guest, last_stop, ..
        } = observation.detail
        else {
            panic!("not a machine's detail");
        };
        (observation.state, guest, last_stop)
    }

    fn reason(&self) -> String {
        match self.observed().0 {
            ItemState::Ready => "Ready".into(),
            ItemState::Pending(trouble) | ItemState::Failed(trouble) => trouble.reason,
        }
    }
}
