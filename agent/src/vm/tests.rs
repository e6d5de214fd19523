//! The vertical over fake tools: every call failed, answered into the void, cut off after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dc_agent_core::ledger;
use dc_agent_core::names::{bridge_name, netns_name, tap_name};
use dc_agent_core::network::{Change, Place};
use dc_agent_core::vm::seen::{Off, Paused, Power, TapPlace};
use dc_agent_core::vm::{Seen, next_look, plan, status};
use dc_agent_core::wanted::{Folders, HostAddresses, HostView, Releases, Status, WantedOwned};
use dc_host::{Fakes, Rule};
use dc_types::plan::{Disposition, Hold, ItemBody, ItemKey, ItemKind, Items, Release, VmItem};
use dc_types::report::{
    Accelerator, Detail, Guest, HoldSeen, HoldState, ItemState, Role, Stop, Trouble,
};
use dc_types::{Epoch, HostName, InstanceId, Vni};

use super::{apply, read_at};

mod disks;

/// Turns of the loop after which nothing should be left to do.
const TURNS_MAX: usize = 200;

/// One fake host with one machine, and the agent's loop over it without its clock.
struct Desk {
    fakes: Fakes,
    host: Arc<HostView>,
    items: Items,
    releases: Releases,
    now: i64,
}

impl Desk {
    async fn new() -> Self {
        let host = Arc::new(host_view());
        let desk = Self {
            fakes: Fakes::new(&host),
            host,
            items: items(),
            releases: Releases::new(),
            now: 1_800_000_000,
        };
        desk.make_network().await;
        desk
    }

    /// What the network reconciler would have made.
    async fn make_network(&self) {
        let links = self.fakes.tools().links;
        for item in self.items.values() {
            let ItemBody::Network(network) = &item.body else {
                continue;
            };
            let netns = netns_name(network.transit);
            links.add_netns(&netns).await.unwrap();
            for segment in &network.segments {
                let bridge = Change::AddBridge {
                    name: bridge_name(segment.vni),
                    mac: segment.gateway_mac,
                    mtu: 1450,
                };
                let place = Place::Netns(netns.clone());
                links.change(&place, &[bridge]).await.unwrap();
            }
        }
    }

    fn vm(&self) -> InstanceId {
        InstanceId(self.key().id)
    }

    fn key(&self) -> ItemKey {
        let of_kind = |key: &&ItemKey| key.kind == ItemKind::Vm;
        *self.items.keys().find(of_kind).unwrap()
    }

    fn change(&mut self, change: impl FnOnce(&mut VmItem)) {
        let key = self.key();
        let item = self.items.get_mut(&key).unwrap();
        if let ItemBody::Vm(vm) = &mut item.body {
            change(vm);
        }
    }

    fn release(&mut self) {
        let item = &self.items[&self.key()];
        let release = Release {
            key: item.key,
            epoch: item.epoch,
            object: item.object.clone(),
            disposition: Disposition::Remove,
        };
        self.releases.insert(release.key, release);
    }

    fn wanted(&self) -> WantedOwned {
        WantedOwned {
            items: Arc::new(self.items.clone()),
            releases: Arc::new(self.releases.clone()),
            host: Arc::clone(&self.host),
            ready: Arc::new(self.items.keys().copied().collect()),
        }
    }

    /// The test's own look: it may meet the one failure that was meant for the agent.
    async fn seen(&self) -> Seen {
        let tools = self.fakes.tools();
        match read_at(&tools, self.now).await {
            Ok(seen) => seen,
            Err(_) => read_at(&tools, self.now).await.unwrap(),
        }
    }

    async fn status(&self) -> Status {
        let (wanted, seen) = (self.wanted(), self.seen().await);
        status(
            &wanted.as_wanted(),
            &seen,
            &BTreeMap::new(),
            &BTreeSet::new(),
        )
    }

    async fn guest(&self) -> (ItemState, Guest, Option<Stop>) {
        let observation = self.status().await.observations.into_iter().next().unwrap();
        match observation.detail {
            Detail::Vm {
                guest, last_stop, ..
            } => (observation.state, guest, last_stop),
            detail => panic!("not a machine's detail: {detail:?}"),
        }
    }

    /// One turn; `Err` when a look or a step failed, and whether there was anything to do.
    async fn turn(&mut self) -> Result<bool, Trouble> {
        let tools = self.fakes.tools();
        let wanted = self.wanted();
        let seen = read_at(&tools, self.now).await.map_err(|error| Trouble {
            reason: "Read".into(),
            message: error.to_string(),
        })?;
        let steps = plan(&wanted.as_wanted(), &seen);
        for step in &steps {
            apply(&tools, step).await?;
        }
        let wait = next_look(&wanted.as_wanted(), &seen);
        self.now += i64::from(wait.unwrap_or_default());
        Ok(!steps.is_empty() || wait.is_some())
    }

    /// Turns until nothing is left to do; returns the troubles met on the way.
    async fn settle(&mut self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for _ in 0..TURNS_MAX {
            match self.turn().await {
                Ok(true) => (),
                Ok(false) => return troubles,
                Err(trouble) => troubles.push(trouble),
            }
        }
        panic!("it does not settle: {troubles:?}");
    }

    async fn held(&self) -> Option<HoldSeen> {
        let observation = self.status().await.observations.into_iter().next().unwrap();
        match observation.detail {
            Detail::Vm { held, .. } => held.as_deref().copied(),
            detail => panic!("not a machine's detail: {detail:?}"),
        }
    }

    /// The guest is held, as for a snapshot, and let go.
    async fn hold_and_let_go(&mut self) -> Vec<Trouble> {
        let hold = Hold {
            id: "1.99".parse().unwrap(),
            deadline_s: 30,
        };
        self.change(|vm| vm.hold = Some(hold));
        let mut troubles = Vec::new();
        for _ in 0..TURNS_MAX {
            // Less time passes than it may last.
            let now = self.now;
            troubles.extend(self.turn().await.err());
            self.now = now;
            let held = self.held().await;
            if held.is_some_and(|held| held.state == HoldState::Holding) {
                break;
            }
        }
        let paused = Power::Paused(Paused::Ordered);
        assert_eq!(self.fakes.hypervisor.power(self.vm()), Some(paused));
        self.change(|vm| vm.hold = None);
        troubles.extend(self.settle().await);
        assert!(!self.fakes.hypervisor.is_frozen(self.vm()));
        let kept = self.held().await.unwrap();
        assert_eq!((kept.id, kept.state), (hold.id, HoldState::Kept));
        troubles
    }

    /// Start, growth and move of a disk, one that comes and goes, hold, restart, stop, release; after
    /// each what was asked for is so.
    async fn live(&mut self) -> Vec<Trouble> {
        let mut troubles = self.settle().await;
        self.assert_running().await;
        troubles.extend(self.grow_disk().await);
        self.assert_running().await;
        troubles.extend(self.move_disk().await);
        self.assert_running().await;
        troubles.extend(self.plug_disk().await);
        troubles.extend(self.hold_and_let_go().await);
        self.assert_running().await;
        self.change(|vm| vm.restart = "again".into());
        troubles.extend(self.settle().await);
        self.assert_running().await;
        self.release();
        troubles.extend(self.settle().await);
        self.assert_nothing_left().await;
        troubles
    }

    async fn assert_running(&self) {
        let (state, guest, _) = self.guest().await;
        assert_eq!((state, guest), (ItemState::Ready, Guest::Running));
        assert_eq!(self.fakes.hypervisor.power(self.vm()), Some(Power::Running));
        let plugged = TapPlace::Netns {
            netns: netns_name(Vni(4096)),
            bridge: Some(bridge_name(Vni(4097))),
        };
        let taps = self.seen().await.taps;
        assert_eq!(taps.get(&tap_name(self.vm(), 0)), Some(&plugged));
    }

    async fn assert_nothing_left(&self) {
        let Seen {
            now: _,
            domains,
            foreign: _,
            rates: _,
            secrets,
            records,
            files,
            taps,
            freezes: _,
            formats,
            probed: _,
        } = self.seen().await;
        assert!(domains.is_empty(), "{domains:?}");
        assert!(secrets.is_empty(), "{secrets:?}");
        assert!(records.is_empty(), "{records:?}");
        assert!(files.is_empty(), "{files:?}");
        assert!(taps.is_empty(), "{taps:?}");
        assert!(formats.is_empty(), "{formats:?}");
        assert_eq!(self.status().await.released.len(), 1);
    }
}

/// What the host carries of a machine in the first version's ledger.
fn items() -> Items {
    let text = include_bytes!("../../core/fixtures/ledger-v1.json");
    let ledger = ledger::parse(&HostName::new("h1").unwrap(), text).unwrap();
    let kinds = [ItemKind::Network, ItemKind::Endpoint, ItemKind::Vm];
    let items = ledger.items.iter();
    items
        .filter(|(key, _)| kinds.contains(&key.kind))
        .map(|(key, item)| (*key, item.clone()))
        .collect()
}

fn host_view() -> HostView {
    let address = |last| std::net::IpAddr::from([10, 250, last, 1]);
    HostView {
        name: HostName::new("h1").unwrap(),
        roles: vec![Role::Compute],
        accelerator: Accelerator::Tcg,
        addresses: HostAddresses {
            management: address(0),
            storage: address(1),
            overlay: address(2),
        },
        portal: None,
        pools: BTreeMap::new(),
        edge: None,
        folders: Folders {
            state: "/state".into(),
            images: "/images".into(),
            seeds: "/seeds".into(),
            consoles: "/consoles".into(),
        },
        boot_id: "boot-1".into(),
    }
}

/// The calls of a whole life, each with how often it is made.
async fn calls_of_a_life() -> BTreeMap<String, u64> {
    let mut desk = Desk::new().await;
    let before = desk.fakes.knobs.counts();
    assert_eq!(desk.live().await, []);
    let mut calls = desk.fakes.knobs.counts();
    calls.retain(|call, count| {
        *count -= before.get(call).copied().unwrap_or_default();
        *count > 0
    });
    calls
}

#[tokio::test]
async fn whatever_call_fails_once_the_machine_lives_as_ordered() {
    for (call, count) in calls_of_a_life().await {
        for skip in 0..count.min(4) {
            let mut desk = Desk::new().await;
            let rule = Rule {
                skip: skip + desk.fakes.knobs.count(&call),
                ..Rule::fail_once()
            };
            desk.fakes.knobs.set(call.clone(), rule);
            desk.live().await;
            assert!(desk.fakes.knobs.count(&call) > skip, "{call} {skip}");
        }
    }
}

#[tokio::test]
async fn whatever_answer_is_lost_the_machine_lives_as_ordered() {
    for (call, count) in calls_of_a_life().await {
        for skip in 0..count.min(4) {
            let mut desk = Desk::new().await;
            let rule = Rule {
                skip: skip + desk.fakes.knobs.count(&call),
                ..Rule::lose_answer_once()
            };
            desk.fakes.knobs.set(call.clone(), rule);
            desk.live().await;
        }
    }
}

#[tokio::test]
async fn an_agent_that_dies_at_any_call_is_followed_by_one_that_ends_the_same() {
    let calls: u64 = calls_of_a_life().await.values().sum();
    for call in 0..calls {
        let mut desk = Desk::new().await;
        desk.fakes.knobs.set("*", Rule::cut_off_after(call));
        // The first agent's life, as far as it gets.
        for _ in 0..TURNS_MAX {
            if !matches!(desk.turn().await, Ok(true)) {
                break;
            }
        }
        desk.fakes.knobs.revive();
        desk.live().await;
    }
}

#[tokio::test]
async fn a_restart_of_libvirtd_loses_its_secrets_and_nothing_follows_from_it() {
    let mut desk = Desk::new().await;
    desk.settle().await;
    desk.fakes.hypervisor.restart_libvirtd();
    assert_eq!(desk.turn().await, Ok(false), "a running guest needs none");
    desk.change(|vm| vm.restart = "again".into());
    assert_eq!(desk.settle().await, []);
    desk.assert_running().await;
}

#[tokio::test]
async fn a_host_that_was_cut_off_brings_its_machine_back_and_says_why() {
    let mut desk = Desk::new().await;
    desk.settle().await;
    desk.fakes.reboot();
    let host = HostView {
        boot_id: "boot-2".into(),
        ..host_view()
    };
    desk.host = Arc::new(host);
    desk.make_network().await;
    desk.settle().await;
    desk.assert_running().await;
    assert_eq!(desk.guest().await.2, Some(Stop::HostLost));
}

#[tokio::test]
async fn a_crash_is_followed_by_a_start_and_a_clean_power_off_is_not() {
    // The policy of the fixture's machine is RestartOnFailure.
    let mut desk = Desk::new().await;
    desk.settle().await;
    desk.fakes.hypervisor.guest_stops(desk.vm(), Off::Crashed);
    desk.settle().await;
    desk.assert_running().await;
    assert_eq!(desk.guest().await.2, Some(Stop::Crashed));
    desk.fakes.hypervisor.guest_stops(desk.vm(), Off::ByGuest);
    desk.settle().await;
    let (_, guest, last_stop) = desk.guest().await;
    assert_eq!((guest, last_stop), (Guest::Stopped, Some(Stop::ByGuest)));
}

#[tokio::test]
async fn a_start_that_fails_says_what_and_where_and_never_the_secret() {
    let mut desk = Desk::new().await;
    desk.fakes.knobs.set("libvirt.start", Rule::fail_always());
    let trouble = desk.turn().await.unwrap_err();
    assert!(
        trouble.message.starts_with("cannot start the machine:"),
        "{trouble:?}"
    );
    let seen = format!("{:?}", desk.seen().await);
    let steps = format!("{:?}", plan(&desk.wanted().as_wanted(), &desk.seen().await));
    for text in [seen, steps, desk.fakes.hypervisor.xml(desk.vm()).unwrap()] {
        assert!(!text.contains("0123456789abcdef01234567"), "{text}");
    }
}

#[tokio::test]
async fn a_foreign_domain_under_the_machines_uuid_is_not_touched() {
    let mut desk = Desk::new().await;
    desk.fakes.hypervisor.add_foreign(desk.vm().0, "theirs");
    assert_eq!(desk.turn().await, Ok(false));
    let (state, ..) = desk.guest().await;
    assert!(
        matches!(&state, ItemState::Failed(trouble) if trouble.reason == "ForeignDomain"),
        "{state:?}"
    );
}

#[tokio::test]
async fn a_machine_of_a_newer_epoch_than_the_plan_is_left_running() {
    let mut desk = Desk::new().await;
    desk.settle().await;
    let key = desk.key();
    let old = Epoch {
        incarnation: 1,
        revision: 2,
    };
    desk.items.get_mut(&key).unwrap().epoch = old;
    desk.change(|vm| vm.power = dc_types::plan::Power::Off);
    assert_eq!(desk.turn().await, Ok(false));
    assert_eq!(desk.fakes.hypervisor.running(), 1);
}
