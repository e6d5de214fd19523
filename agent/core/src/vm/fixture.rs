//! A machine with two disks and two cards, its network, and the plan around them; for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dc_types::plan::{
    Cephx, Chap, DiskItem, DiskSource, Disposition, Firmware, GrantItem, Hold, Item, ItemBody,
    ItemKey, ItemKind, Items, NetworkItem, NetworkRole, NicItem, OnStop, Portal, Power, Qos,
    Release, Secret, SeedItem, Segment, VmItem, ZoneType,
};
use dc_types::report::Accelerator;
use dc_types::{
    Bytes, DepartmentName, Epoch, HostName, InstanceId, Mac, MiB, ObjectRef, ObjectUid, SubnetUid,
    Vni,
};
use uuid::Uuid;

use super::validate::{Card, guest_mtu, validate};
use super::xml::{DomainSpec, Metadata, render_domain};
use crate::wanted::{HostView, Releases, Wanted};

pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

pub(crate) fn disk(volume: u64) -> DiskItem {
    let vm = InstanceId(Uuid::from_u128(1));
    DiskItem {
        volume: InstanceId(Uuid::from_u64_pair(volume, 0)),
        name: format!("disk{volume}"),
        grant: epoch(volume),
        initiator: GrantItem::initiator_name(&HostName::new("h1").unwrap(), vm),
        source: DiskSource::Iscsi {
            portal: Portal {
                address: "10.250.0.2".parse().unwrap(),
                port: 3260,
            },
            chap: Chap {
                user: "dc".into(),
                secret: Secret("5f2c-chap-secret".into()),
            },
        },
        size: Bytes(1 << 30),
        qos: Qos::default(),
        stored: None,
        mirror: None,
        luks: None,
    }
}

/// A key as Ceph makes them: type, time, length and 16 bytes, in base64.
pub(crate) fn cephx() -> Cephx {
    Cephx {
        user: "dc.7.1.7".into(),
        key: Secret("AQAAAAAAAAAAABAAAQIDBAUGBwgJCgsMDQ4PEA==".into()),
        namespace: "so-tnmt".into(),
    }
}

pub(crate) fn vm() -> VmItem {
    VmItem {
        vm: InstanceId(Uuid::from_u128(1)),
        department: DepartmentName::new("so-nnmt").unwrap(),
        system: "w30-land".into(),
        name: "web".into(),
        power: Power::On,
        restart: String::new(),
        vcpus: 1,
        memory: MiB(128),
        cpu_model: "qemu64".into(),
        machine_type: "pc-q35-7.2".into(),
        firmware: Firmware::Bios,
        disks: vec![disk(7), disk(8)],
        nics: vec![nic(0, 1, Some("fd00:1::5")), nic(1, 2, None)],
        seed: SeedItem {
            hostname: "web".into(),
            user_data: Secret("#cloud-config\n".into()),
        },
        stop_deadline_s: 60,
        on_stop: OnStop::Restart,
        hold: None,
        probes: None,
    }
}

pub(crate) fn hold(revision: u64) -> Hold {
    Hold {
        id: epoch(revision),
        deadline_s: 30,
    }
}

fn nic(card: u32, subnet: u8, v6: Option<&str>) -> NicItem {
    NicItem {
        card,
        subnet: SubnetUid(Uuid::from_u128(subnet.into())),
        mac: Mac([0x52, 0x54, 0, 0, 0, subnet]),
        v4: Some(format!("10.{subnet}.0.5").parse().unwrap()),
        v6: v6.map(|address| address.parse().unwrap()),
    }
}

fn segment(subnet: u8) -> Segment {
    let gateway = format!("10.{subnet}.0.1");
    let vni = Vni(5000 + u32::from(subnet));
    Segment {
        subnet: SubnetUid(Uuid::from_u128(subnet.into())),
        name: format!("s{subnet}"),
        zone: ZoneType::Dmz,
        vni,
        v4: Some(format!("10.{subnet}.0.0/24").parse().unwrap()),
        v6: (subnet == 1).then(|| "fd00:1::/64".parse().unwrap()),
        // The second card's segment has no way out: one default route is enough.
        gateway_v4: (subnet == 1).then(|| gateway.parse().unwrap()),
        gateway_v6: (subnet == 1).then(|| "fd00:1::1".parse().unwrap()),
        gateway_mac: Mac::of_gateway(vni),
        dns: vec![gateway.parse().unwrap()],
    }
}

pub(crate) fn network_key() -> ItemKey {
    ItemKey::network(&vm().department)
}

/// The cards as validation makes them.
pub(crate) fn cards() -> Vec<Card> {
    let world = World::of(vm());
    let valid = validate(&world.wanted(), world.vm_item(), &BTreeMap::new());
    let valid = valid.unwrap().unwrap();
    valid.cards.unwrap()
}

pub(crate) fn metadata() -> Metadata {
    let world = World::of(vm());
    let item = world.vm_item();
    let valid = validate(&world.wanted(), item, &BTreeMap::new());
    let valid = valid.unwrap().unwrap();
    Metadata {
        object: item.object.clone(),
        system: valid.vm.system.clone(),
        epoch: item.epoch,
        hash: item.hash(),
        grants: valid.vm.disks.iter().map(|d| (d.volume, d.grant)).collect(),
        definition: valid.definition.clone(),
        restart: valid.restart(),
        stop_deadline_s: valid.vm.stop_deadline_s,
        machine_type: valid.vm.machine_type.clone(),
    }
}

pub(crate) fn domain_xml() -> String {
    render_domain(&DomainSpec {
        vm: &vm(),
        name: "so-nnmt-web-00000000",
        metadata: &metadata(),
        accelerator: Accelerator::Tcg,
        cards: &cards(),
        mtu: guest_mtu("10.0.0.1".parse().unwrap()),
        seed: Path::new("/seeds/1/seed.img"),
        nvram: Path::new("/seeds/1/nvram.fd"),
        console: Path::new("/consoles/1.log"),
    })
}

/// A plan with one machine, its network ready.
pub(crate) struct World {
    pub items: Items,
    pub releases: Releases,
    pub host: HostView,
    pub ready: BTreeSet<ItemKey>,
}

impl World {
    pub(crate) fn of(vm: VmItem) -> Self {
        let network = Item {
            key: network_key(),
            epoch: epoch(1),
            object: object("so-nnmt", 100),
            body: ItemBody::Network(NetworkItem {
                department: vm.department.clone(),
                transit: Vni(4999),
                segments: vec![segment(1), segment(2)],
                flows: Vec::new(),
                peers: Vec::new(),
                role: NetworkRole::Compute,
            }),
        };
        let cards = vm.nics.iter().map(|nic| nic.card);
        let ready = cards
            .map(|card| ItemKey::endpoint(vm.vm, card))
            .chain([network.key])
            .collect();
        let mut world = Self {
            items: Items::from([(network.key, network)]),
            releases: Releases::new(),
            host: crate::wanted::tests::host_view(),
            ready,
        };
        world.put(vm, epoch(10));
        world
    }

    /// Puts the machine's item in place of the one there.
    pub(crate) fn put(&mut self, vm: VmItem, epoch: Epoch) {
        let item = Item {
            key: ItemKey::new(ItemKind::Vm, vm.vm.0),
            epoch,
            object: object(&vm.name, 200),
            body: ItemBody::Vm(Box::new(vm)),
        };
        self.items.insert(item.key, item);
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut VmItem)) {
        let item = self.vm_item().clone();
        let ItemBody::Vm(mut vm) = item.body else {
            unreachable!("the key is a machine's");
        };
        change(&mut vm);
        self.put(*vm, item.epoch);
    }

    pub(crate) fn release(&mut self, epoch: Epoch) {
        let release = Release {
            key: vm_key(),
            epoch,
            object: object("web", 200),
            disposition: Disposition::Remove,
        };
        self.releases.insert(release.key, release);
    }

    pub(crate) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            items: &self.items,
            releases: &self.releases,
            host: &self.host,
            ready: &self.ready,
        }
    }

    pub(crate) fn vm_item(&self) -> &Item {
        &self.items[&vm_key()]
    }
}

pub(crate) fn vm_key() -> ItemKey {
    ItemKey::new(ItemKind::Vm, vm().vm.0)
}

fn object(name: &str, uid: u128) -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: name.to_owned(),
        uid: ObjectUid(Uuid::from_u128(uid)),
    }
}
