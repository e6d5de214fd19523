use std::collections::HashMap;

use dc_crds::SubnetSpec;
use dc_crds::subnet::SubnetStatus;
use dc_types::plan::{
    Chap, DiskItem, DiskSource, Firmware, Formatted, GrantAccess, ItemKey, ItemKind, Luks,
    NetworkRole, NicItem, OnStop, Portal, Power, Qos, Secret, SeedItem, Segment, VolumeSource,
    ZoneType,
};
use dc_types::{Bytes, Mac, MiB, PoolName};
use uuid::Uuid;

use super::*;
use crate::claims::Claims;

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

fn id(n: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(n))
}

fn object(name: &str, n: u128) -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: name.into(),
        uid: ObjectUid(Uuid::from_u128(n)),
    }
}

fn item(kind: ItemKind, n: u128, at: u64, name: &str, body: ItemBody) -> Item {
    Item {
        key: ItemKey::new(kind, Uuid::from_u128(n)),
        epoch: epoch(at),
        object: object(name, n),
        body,
    }
}

fn chap() -> Chap {
    Chap {
        user: "dc".into(),
        secret: Secret("s".into()),
    }
}

const SUBNET: SubnetUid = SubnetUid(Uuid::from_u128(900));

/// Machine `n` with volume `n + 100`, granted at the same epoch as its claim.
fn vm(n: u128, on: &str, at: u64) -> Item {
    let disk = DiskItem {
        volume: id(n + 100),
        name: "root".into(),
        grant: epoch(at),
        initiator: GrantItem::initiator_name(&host(on), id(n)),
        source: DiskSource::Iscsi {
            portal: Portal {
                address: "10.20.0.1".parse().unwrap(),
                port: 3260,
            },
            chap: chap(),
        },
        size: Bytes(1 << 30),
        qos: Qos::default(),
        stored: None,
        mirror: None,
        luks: None,
    };
    let nic = NicItem {
        card: 0,
        subnet: SUBNET,
        mac: Mac([0x52, 0x54, 0, 0, 0, u8::try_from(n).unwrap()]),
        v4: Some(std::net::Ipv4Addr::new(10, 1, 0, u8::try_from(n).unwrap())),
        v6: None,
    };
    let body = VmItem {
        vm: id(n),
        department: DepartmentName::new("so-nnmt").unwrap(),
        system: "land".into(),
        name: format!("vm{n}"),
        power: Power::On,
        restart: String::new(),
        vcpus: 2,
        memory: MiB(512),
        cpu_model: "qemu64".into(),
        machine_type: "pc-q35-7.2".into(),
        firmware: Firmware::Bios,
        disks: vec![disk],
        nics: vec![nic],
        seed: SeedItem {
            hostname: "web".into(),
            user_data: Secret(String::new()),
        },
        stop_deadline_s: 60,
        on_stop: OnStop::Restart,
        hold: None,
        probes: None,
    };
    item(
        ItemKind::Vm,
        n,
        at,
        &format!("vm{n}"),
        ItemBody::Vm(Box::new(body)),
    )
}

fn volume(n: u128, at: u64) -> Item {
    let body = VolumeItem {
        volume: id(n),
        pool: PoolName::new("san").unwrap(),
        size: Bytes(1 << 30),
        source: VolumeSource::Blank,
        restore: None,
    };
    item(
        ItemKind::Volume,
        n,
        at,
        &format!("v{n}"),
        ItemBody::Volume(body),
    )
}

fn grant(n: u128, to: &str, vm: u128, at: u64) -> Item {
    let body = GrantItem {
        volume: id(n),
        pool: PoolName::new("san").unwrap(),
        initiator: GrantItem::initiator_name(&host(to), id(vm)),
        access: GrantAccess::Iscsi { chap: chap() },
    };
    item(
        ItemKind::Grant,
        n,
        at,
        &format!("v{n}"),
        ItemBody::Grant(body),
    )
}

fn network(vni: u32, at: u64) -> Item {
    let segment = Segment {
        subnet: SUBNET,
        name: "app".into(),
        zone: ZoneType::Internal,
        vni: Vni(vni),
        v4: Some("10.1.0.0/26".parse().unwrap()),
        v6: None,
        gateway_v4: None,
        gateway_v6: None,
        gateway_mac: Mac([2, 0, 0, 0, 0, 1]),
        dns: vec![],
    };
    let department = DepartmentName::new("so-nnmt").unwrap();
    let body = NetworkItem {
        department: department.clone(),
        transit: Vni(4096),
        segments: vec![segment],
        flows: vec![],
        peers: vec![],
        role: NetworkRole::Compute,
    };
    Item {
        key: ItemKey::network(&department),
        epoch: epoch(at),
        object: object("so-nnmt", 1),
        body: ItemBody::Network(body),
    }
}

fn inventory(name: &str, items: Vec<Item>) -> Inventory {
    Inventory {
        host: host(name),
        identity: HostIdentity {
            fingerprint: format!("of {name}"),
            previous: None,
            not_after: 0,
            rejoin: None,
        },
        items,
    }
}

fn objects() -> Objects {
    let department = serde_json::json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "Department",
        "metadata": { "name": "so-nnmt", "uid": Uuid::from_u128(1).to_string() },
        "spec": { "displayName": { "vi": "Sở", "en": "Department" }, "kind": "department" },
    });
    let department = serde_json::from_value(department).unwrap();
    Objects {
        subnets: vec![subnet(SUBNET.0, "app", None)],
        departments: vec![department],
        snapshots: vec![],
        volumes: vec![],
        backups: vec![],
        keys: BTreeSet::new(),
    }
}

fn subnet(uid: Uuid, name: &str, status: Option<SubnetStatus>) -> Subnet {
    let spec = SubnetSpec {
        system: None,
        zone: "internal".into(),
        ipv4: None,
        ipv6: None,
        dns: vec![],
    };
    let mut subnet = Subnet::new(name, spec);
    subnet.metadata.namespace = Some("so-nnmt".into());
    subnet.metadata.uid = Some(uid.to_string());
    subnet.status = status;
    subnet
}

/// The outcome as an operator reads it, under the new incarnation.
fn read(outcome: &Outcome) -> Claims {
    let mut claims = Claims::new(2);
    for (n, (key, value)) in (1..).zip(&outcome.keys) {
        claims.apply(key, Some(value), n).unwrap();
    }
    claims
}

#[test]
fn a_data_centre_that_agrees_is_rebuilt_as_it_was() {
    let storage = inventory("s1", vec![volume(101, 5), grant(101, "h1", 1, 9)]);
    let compute = inventory("h1", vec![vm(1, "h1", 9), network(5000, 7)]);
    let outcome = rebuild(&[storage, compute], &objects());
    assert_eq!(outcome.disagreements, Vec::<String>::new());
    let claims = read(&outcome);
    let vm = &claims.vms[&id(1)];
    assert_eq!((vm.value.host.as_str(), vm.epoch), ("h1", epoch(9)));
    assert_eq!(vm.value.volumes, [id(101)]);
    assert_eq!(claims.attachments[&id(101)].epoch, epoch(9));
    assert_eq!(claims.volumes[&id(101)].epoch, epoch(5));
    assert_eq!(claims.subnets[&SUBNET].value.vni, Vni(5000));
    assert!(
        claims.subnets[&SUBNET].epoch > epoch(7),
        "networks are newer"
    );
    let mut held: Vec<_> = claims.held.keys().cloned().collect();
    held.sort();
    assert_eq!(
        held,
        [
            keys::address(SUBNET, "10.1.0.1".parse().unwrap()),
            keys::mac(Mac([0x52, 0x54, 0, 0, 0, 1])),
            keys::prefix("internal", "10.1.0.0/26"),
            keys::vni(Vni(4096)),
            keys::vni(Vni(5000)),
        ]
    );
    assert_eq!(claims.hosts[&host("h1")].value.fingerprint, "of h1");
}

#[test]
fn a_machine_on_two_hosts_is_claimed_where_its_storage_is_granted() {
    // The newer claim is not the one that storage serves.
    let storage = inventory("s1", vec![volume(101, 5), grant(101, "h1", 1, 9)]);
    let one = inventory("h1", vec![vm(1, "h1", 9)]);
    let two = inventory("h2", vec![vm(1, "h2", 12)]);
    let outcome = rebuild(&[two, storage, one], &objects());
    let claims = read(&outcome);
    assert_eq!(claims.vms[&id(1)].value.host.as_str(), "h1");
    let text = outcome.disagreements.join("\n");
    assert!(
        text.contains("h2 (epoch 1.12) and h1 (epoch 1.9)"),
        "{text}"
    );
    assert!(text.contains("its storage is granted to it"), "{text}");
}

#[test]
fn without_a_grant_the_newest_of_two_is_taken_and_both_are_named() {
    let one = inventory("h1", vec![vm(1, "h1", 9)]);
    let two = inventory("h2", vec![vm(1, "h2", 12)]);
    let outcome = rebuild(&[one, two], &objects());
    assert_eq!(read(&outcome).vms[&id(1)].value.host.as_str(), "h2");
    assert!(outcome.disagreements[0].contains("no storage speaks for it"));
}

#[test]
fn a_volume_granted_to_a_machine_that_nobody_holds_goes_to_no_other() {
    let storage = inventory("s1", vec![volume(101, 5), grant(101, "h9", 1, 9)]);
    let outcome = rebuild(&[storage], &objects());
    let claims = read(&outcome);
    let attached = &claims.attachments[&id(101)].value;
    assert_eq!((attached.vm, attached.host.as_str()), (id(1), "h9"));
    assert!(claims.vms.is_empty());
    assert!(
        outcome.disagreements[0].contains("on host h9"),
        "{outcome:?}"
    );
}

#[test]
fn a_volume_on_two_storage_hosts_and_an_address_of_two_machines_are_listed() {
    let mut double = vm(2, "h1", 10);
    if let ItemBody::Vm(body) = &mut double.body {
        body.nics[0].v4 = Some(std::net::Ipv4Addr::new(10, 1, 0, 1));
    }
    let one = inventory("s1", vec![volume(101, 5), grant(101, "h1", 1, 9)]);
    let two = inventory("s2", vec![volume(101, 8), grant(102, "h1", 2, 10)]);
    let compute = inventory("h1", vec![vm(1, "h1", 9), double, network(5000, 7)]);
    let outcome = rebuild(&[one, two, compute], &objects());
    assert_eq!(read(&outcome).volumes[&id(101)].value.host.as_str(), "s2");
    let text = outcome.disagreements.join("\n");
    assert!(text.contains("s2 (epoch 1.8) and s1 (epoch 1.5)"), "{text}");
    assert!(text.contains("10.1.0.1") && text.contains("vm2"), "{text}");
    assert_eq!(outcome.disagreements.len(), 2, "{text}");
}

#[test]
fn of_two_networks_the_newest_counts_and_a_subnet_nobody_carries_keeps_its_status() {
    let other = Uuid::from_u128(901);
    let status = SubnetStatus {
        vni: Some(6000),
        ipv4: Some("10.2.0.0/26".into()),
        ..SubnetStatus::default()
    };
    let mut objects = objects();
    objects.subnets.push(subnet(other, "db", Some(status)));
    let old = inventory("h1", vec![network(4999, 3)]);
    let new = inventory("h2", vec![network(5000, 7)]);
    let outcome = rebuild(&[new, old], &objects);
    let claims = read(&outcome);
    assert_eq!(claims.subnets[&SUBNET].value.vni, Vni(5000));
    let quiet = &claims.subnets[&SubnetUid(other)].value;
    assert_eq!(
        (quiet.vni, quiet.v4),
        (Vni(6000), Some("10.2.0.0/26".parse().unwrap()))
    );
    assert!(
        claims
            .held
            .contains_key(&keys::prefix("internal", "10.2.0.0/26"))
    );
    assert!(!claims.held.contains_key(&keys::vni(Vni(4999))));
}

#[test]
fn the_order_of_the_hosts_does_not_matter() {
    let hosts = [
        inventory("s1", vec![volume(101, 5), grant(101, "h1", 1, 9)]),
        inventory("h1", vec![vm(1, "h1", 9), network(5000, 7)]),
        inventory("h2", vec![vm(1, "h2", 8), vm(2, "h2", 11)]),
    ];
    let mut seen: HashMap<String, usize> = HashMap::new();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let inventories: Vec<_> = order.iter().map(|n| hosts[*n].clone()).collect();
        let outcome = rebuild(&inventories, &objects());
        *seen.entry(format!("{outcome:?}")).or_default() += 1;
    }
    assert_eq!(seen.len(), 1, "{seen:#?}");
}

#[test]
fn a_snapshot_comes_back_as_people_read_it_and_an_unfinished_one_is_taken_anew() {
    use dc_crds::snapshot::{ConsistencyReached, SnapshotVolume, VolumeSnapshotStatus};
    use dc_types::SnapshotId;
    use dc_types::claim::SnapshotState;
    use dc_types::plan::SnapshotItem;
    use dc_types::report::Consistency;

    let snapshot = |n: u128| {
        let body = ItemBody::Snapshot(SnapshotItem {
            snapshot: SnapshotId(Uuid::from_u128(n)),
            volume: id(101),
            pool: PoolName::new("san").unwrap(),
        });
        Item {
            key: ItemKey::new(ItemKind::Snapshot, Uuid::from_u128(n)),
            body,
            ..volume(101, 6)
        }
    };
    let storage = inventory("s1", vec![volume(101, 5), snapshot(201), snapshot(202)]);
    let status = VolumeSnapshotStatus {
        consistency: Some(ConsistencyReached::FileSystem),
        volumes: vec![SnapshotVolume {
            volume: "data".into(),
            instance_id: id(101).to_string(),
            snapshot_id: Uuid::from_u128(201).to_string(),
            size: "1Gi".into(),
            taken_at: Some("2026-11-25T10:00:00Z".into()),
        }],
        ..VolumeSnapshotStatus::default()
    };
    let mut told = dc_crds::VolumeSnapshot::new(
        "before",
        dc_crds::VolumeSnapshotSpec {
            system: "s".into(),
            volume: Some("data".into()),
            vm: None,
        },
    );
    told.status = Some(status);
    let objects = Objects {
        snapshots: vec![told],
        ..objects()
    };
    let outcome = rebuild(&[storage], &objects);
    let claims = read(&outcome);
    let of = |n| &claims.snapshots[&SnapshotId(Uuid::from_u128(n))];
    let SnapshotState::Taken { level, taken_at } = of(201).value.state else {
        panic!("{:?}", of(201));
    };
    assert_eq!(level, Consistency::FileSystem);
    assert_eq!(taken_at, 1_795_600_800);
    assert_eq!(of(201).epoch, epoch(6), "hosts know it by this one");
    assert_eq!(of(201).value.size, claims.volumes[&id(101)].value.size);
    assert_eq!(of(202).value.state, SnapshotState::Broken);
    assert_eq!(outcome.disagreements.len(), 1);
    assert!(outcome.disagreements[0].contains("was not finished"));
}

mod moves;
mod published;
mod restores;

/// What a person is told of volumes and grants.
fn of_storage(outcome: &Outcome) -> Vec<&String> {
    let told = outcome.disagreements.iter();
    told.filter(|told| told.contains("volume") || told.contains("disk"))
        .collect()
}

/// Machine 1, whose disk's bytes were moved to place 301: as its host and the storage hold it.
fn moved_machine() -> (Item, Item, Item) {
    let mut machine = vm(1, "h1", 5);
    let ItemBody::Vm(body) = &mut machine.body else {
        panic!("not a machine");
    };
    body.disks[0].stored = Some(id(301));
    let mut place = volume(301, 4);
    place.object = object("v101", 101);
    (machine, place, grant(301, "h1", 1, 5))
}

#[test]
fn a_moved_volume_is_found_again_in_its_place() {
    let (machine, place, grant) = moved_machine();
    let inventories = [
        inventory("h1", vec![machine]),
        inventory("s1", vec![place, grant]),
    ];
    let outcome = rebuild(&inventories, &objects());
    assert_eq!(of_storage(&outcome), Vec::<&String>::new());
    let claims = read(&outcome);
    assert_eq!(claims.volumes.len(), 1);
    assert_eq!(claims.volumes[&id(101)].value.place(), id(301));
    let attached = claims.attachment_of(id(101)).unwrap();
    assert_eq!((attached.value.volume, attached.epoch), (id(101), epoch(5)));
    assert!(claims.attachments.contains_key(&id(301)));
}

#[test]
fn of_two_places_of_a_volume_the_one_that_its_machine_opens_is_taken_and_a_person_is_told() {
    let (machine, place, granted) = moved_machine();
    // What was left behind has the newer epoch, and is the volume's own id.
    let inventories = [
        inventory("h1", vec![machine]),
        inventory("s1", vec![place, granted]),
        inventory("s2", vec![volume(101, 9)]),
    ];
    let outcome = rebuild(&inventories, &objects());
    let claims = read(&outcome);
    let claim = &claims.volumes[&id(101)].value;
    assert_eq!((claim.place(), &claim.host), (id(301), &host("s1")));
    let [told] = of_storage(&outcome)[..] else {
        panic!("{:?}", outcome.disagreements);
    };
    assert!(told.contains("bytes in two places"), "{told}");
}

#[test]
fn a_moved_volume_without_a_machine_is_known_by_the_object_it_was_made_for() {
    let (_, place, _) = moved_machine();
    let outcome = rebuild(&[inventory("s1", vec![place])], &objects());
    assert_eq!(outcome.disagreements, Vec::<String>::new());
    let claims = read(&outcome);
    assert_eq!(claims.volumes[&id(101)].value.stored, Some(id(301)));
}

#[test]
fn a_volume_that_was_encrypted_still_is_and_a_key_that_is_gone_is_told() {
    let mut opened = vm(1, "c1", 9);
    let ItemBody::Vm(machine) = &mut opened.body else {
        panic!("not a machine");
    };
    let first = &mut machine.disks[0];
    first.luks = Some(Luks {
        key: None,
        formatted: Formatted::Done,
    });
    let volume_id = first.volume;
    let found = [
        inventory("s1", vec![volume(volume_id.0.as_u128(), 4), volume(7, 4)]),
        inventory("c1", vec![opened]),
    ];
    let mut objects = objects();
    let outcome = rebuild(&found, &objects);
    let claims = read(&outcome);
    let cipher = |id| claims.volumes[&id].value.cipher;
    assert_eq!(
        (cipher(volume_id), cipher(id(7))),
        (Cipher::Luks, Cipher::Plain)
    );
    let told = outcome.disagreements.iter();
    let told: Vec<&String> = told.filter(|told| told.contains("no key for it")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&volume_id.to_string()), "{told:?}");
    objects.keys.insert(volume_id);
    let outcome = rebuild(&found, &objects);
    let told = outcome.disagreements.iter();
    assert_eq!(told.filter(|told| told.contains("no key")).count(), 0);
    assert!(outcome.keys.keys().all(|key| !key.starts_with("key/")));
}
