//! Disks of a running guest: they grow, go to another place, come and go.

use std::collections::{BTreeMap, BTreeSet};

use dc_agent_core::vm::status;
use dc_agent_core::vm::xml::disk::serial;
use dc_host::Rule;
use dc_types::plan::{DiskItem, ItemBody, Mirror, MirrorOrder};
use dc_types::report::{Detail, Guest, ItemState, MoveState, Trouble};
use dc_types::{Bytes, InstanceId};

use super::{Desk, TURNS_MAX};

impl Desk {
    fn mirror(&mut self, order: MirrorOrder) {
        self.change(|vm| {
            let disk = &mut vm.disks[0];
            disk.mirror = Some(Box::new(Mirror {
                place: InstanceId(uuid::Uuid::from_u128(70)),
                grant: "1.70".parse().unwrap(),
                source: disk.source.clone(),
                order,
            }));
        });
    }

    /// Where the first disk's move is.
    async fn moved(&self) -> Option<MoveState> {
        let observation = self.status().await.observations.into_iter().next().unwrap();
        match observation.detail {
            Detail::Vm { moves, .. } => Some(moves.first()?.state),
            detail => panic!("not a machine's detail: {detail:?}"),
        }
    }

    /// Turns until the first disk's move is so far; its copy is whole as soon as it is there.
    async fn settle_move(&mut self, state: MoveState) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for _ in 0..TURNS_MAX {
            troubles.extend(self.turn().await.err());
            self.fakes.hypervisor.finish_copy(self.vm(), "vda");
            if self.moved().await == Some(state) {
                return troubles;
            }
        }
        panic!("the move is not {state:?}: {troubles:?}");
    }

    /// The first disk goes to another place, and the plan comes to know it.
    pub(super) async fn move_disk(&mut self) -> Vec<Trouble> {
        self.mirror(MirrorOrder::Copy);
        let mut troubles = self.settle_move(MoveState::Ready).await;
        self.mirror(MirrorOrder::Switch);
        troubles.extend(self.settle_move(MoveState::Switched).await);
        self.change(|vm| vm.disks[0] = vm.disks[0].switched().unwrap());
        troubles.extend(self.settle().await);
        let source = self.fakes.hypervisor.source(self.vm(), "vda").unwrap();
        assert!(source.ends_with(":1.70/1"), "{source}");
        troubles
    }

    /// The first disk has grown at its storage, and its guest is told.
    pub(super) async fn grow_disk(&mut self) -> Vec<Trouble> {
        let (vm, hypervisor) = (self.vm(), self.fakes.hypervisor.clone());
        let (small, large) = (Bytes(1 << 30), Bytes(2 << 30));
        hypervisor.set_size(vm, "vda", small);
        self.change(|vm| vm.disks[0].size = small);
        let mut troubles = self.settle().await;
        hypervisor.set_size(vm, "vda", large);
        assert_eq!(hypervisor.size(vm, "vda"), Some(small));
        self.change(|vm| vm.disks[0].size = large);
        troubles.extend(self.settle().await);
        assert_eq!(hypervisor.size(vm, "vda"), Some(large));
        troubles
    }

    /// Another disk over iSCSI, as the operator grants it.
    fn another_disk(&self) -> DiskItem {
        let ItemBody::Vm(vm) = &self.items[&self.key()].body else {
            panic!("not a machine");
        };
        DiskItem {
            volume: InstanceId(uuid::Uuid::from_u128(0x0bad_cafe << 64)),
            name: "another".into(),
            grant: "1.80".parse().unwrap(),
            ..vm.disks[0].clone()
        }
    }

    fn add(&mut self, disk: &DiskItem) {
        self.change(|vm| vm.disks.push(disk.clone()));
    }

    fn take_off(&mut self, disk: &DiskItem) {
        self.change(|vm| vm.disks.retain(|of| of.volume != disk.volume));
    }

    fn has(&self, disk: &DiskItem) -> bool {
        let devices = self.fakes.hypervisor.devices(self.vm());
        devices.contains_key(&serial(disk))
    }

    /// A disk comes to the running guest and goes, and comes again under a newer grant.
    pub(super) async fn plug_disk(&mut self) -> Vec<Trouble> {
        let mut disk = self.another_disk();
        let starts = self.fakes.knobs.count("libvirt.start");
        let mut troubles = Vec::new();
        for grant in ["1.80", "1.81"] {
            disk.grant = grant.parse().unwrap();
            self.add(&disk);
            troubles.extend(self.settle().await);
            assert!(self.has(&disk));
            self.assert_running().await;
            self.take_off(&disk);
            troubles.extend(self.settle().await);
            assert!(!self.has(&disk));
            self.assert_running().await;
        }
        assert_eq!(self.fakes.knobs.count("libvirt.start"), starts);
        troubles
    }
}

#[tokio::test]
async fn a_disk_that_its_storage_does_not_grant_yet_keeps_no_other_and_is_told_until_it_comes() {
    let mut desk = Desk::new().await;
    desk.settle().await;
    let disk = desk.another_disk();
    let next = DiskItem {
        volume: InstanceId(uuid::Uuid::from_u128(0x0bad_cafd << 64)),
        ..disk.clone()
    };
    desk.add(&disk);
    desk.add(&next);
    desk.fakes.knobs.set("libvirt.attach", Rule::fail_once());
    let trouble = desk.turn().await.unwrap_err();
    assert!(trouble.message.contains("disk another"), "{trouble:?}");
    assert!(!desk.has(&disk) && desk.has(&next));
    let key = desk.key();
    let told = status(
        &desk.wanted().as_wanted(),
        &desk.seen().await,
        &BTreeMap::from([(key, trouble.clone())]),
        &BTreeSet::new(),
    );
    let ItemState::Pending(told) = &told.observations[0].state else {
        panic!("{told:?}");
    };
    assert_eq!(told.reason, "DiskPlugs");
    assert!(told.message.contains(&trouble.message), "{told:?}");
    assert_eq!(desk.settle().await, []);
    assert!(desk.has(&disk));
    desk.assert_running().await;
}

#[tokio::test]
async fn a_guest_that_keeps_a_disk_is_told_of_and_its_machine_is_not_as_asked() {
    let mut desk = Desk::new().await;
    let disk = desk.another_disk();
    desk.add(&disk);
    desk.settle().await;
    desk.fakes.hypervisor.set_clinging(desk.vm(), true);
    desk.take_off(&disk);
    let since = desk.now;
    while desk.now - since < 60 {
        assert_eq!(desk.turn().await, Ok(true));
    }
    let (state, guest, _) = desk.guest().await;
    assert!(
        matches!(&state, ItemState::Failed(trouble) if trouble.reason == "DiskHeld"),
        "{state:?}"
    );
    assert_eq!(guest, Guest::Running);
    assert!(desk.has(&disk));
    desk.fakes.hypervisor.set_clinging(desk.vm(), false);
    assert_eq!(desk.settle().await, []);
    assert!(!desk.has(&disk));
    desk.assert_running().await;
}
