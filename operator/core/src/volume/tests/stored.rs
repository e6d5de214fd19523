//! A volume whose bytes were moved: storage knows them by their place, everybody else by the volume.

use super::*;
use crate::sim::NAMESPACE;
use dc_types::HostName;
use dc_types::plan::{ItemKind, VolumeSource};
use uuid::Uuid;

const PLACE: InstanceId = InstanceId(Uuid::from_u128(0xace));

/// A volume "data" of 2 GiB, claimed as a move has left it.
fn moved(sim: &mut Sim) -> ObjectRef {
    sim.add_moved_volume("data", "2Gi", PLACE);
    sim.look();
    me(sim, "data")
}

/// Ids of what the storage host holds of one kind.
fn held(sim: &Sim, kind: ItemKind) -> Vec<Uuid> {
    let held = sim.hosts[&host(STORAGE)].held.keys();
    held.filter(|key| key.kind == kind)
        .map(|key| key.id)
        .collect()
}

#[test]
fn a_moved_volume_is_stored_granted_and_opened_by_its_place_and_named_by_its_id() {
    let mut sim = Sim::new();
    let me = moved(&mut sim);
    assert_eq!(sim.plan_of("volume data").found, []);
    assert_eq!(held(&sim, ItemKind::Volume), [PLACE.0]);
    let ItemBody::Volume(item) = &sim.hosts[&host(STORAGE)].held[&key(PLACE)].body else {
        panic!("not a volume");
    };
    assert_eq!((item.volume, &item.source), (PLACE, &VolumeSource::Blank));

    sim.add_vm("web");
    sim.vm("web").spec.disks = vec![disk("data", Some("data"))];
    sim.look();
    assert_eq!(held(&sim, ItemKind::Grant), [PLACE.0]);
    let claims = &sim.ledger.claims;
    let attached = claims.attachment_of(id(&me)).unwrap();
    assert_eq!(attached.value.volume, id(&me));
    assert!(claims.attachments.contains_key(&PLACE), "the fence's key");
    let vm = crate::vm::key(&sim.me("web"));
    let machine = sim.hosts.values().find_map(|host| host.held.get(&vm));
    let ItemBody::Vm(machine) = &machine.unwrap().body else {
        panic!("not a machine");
    };
    let [opened] = &machine.disks[..] else {
        panic!("{:?}", machine.disks);
    };
    assert_eq!((opened.volume, opened.place()), (id(&me), PLACE));
    assert_eq!(opened.grant, attached.epoch);

    // Nobody else gets it, and it does not go, while the machine has it.
    sim.add_vm("other");
    sim.vm("other").spec.disks = vec![disk("data", Some("data"))];
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    assert!(
        !sim.ledger
            .claims
            .vms
            .contains_key(&crate::vm::id(&sim.me("other")))
    );
    assert_eq!(held(&sim, ItemKind::Volume), [PLACE.0]);
}

#[test]
fn a_moved_volume_has_snapshots_of_its_place_and_comes_back_to_them() {
    let mut sim = Sim::new();
    let me = moved(&mut sim);
    sim.add_snapshot("before", None, Some("data"));
    sim.look();
    assert_eq!(sim.plan_of("snapshot before").found, []);
    let of = sim.hosts[&host(STORAGE)].held.values();
    let of: Vec<InstanceId> = of
        .filter_map(|item| match &item.body {
            ItemBody::Snapshot(snapshot) => Some(snapshot.volume),
            _ => None,
        })
        .collect();
    assert_eq!(of, [PLACE]);
    assert_eq!(sim.ledger.claims.snapshots_of(id(&me)).count(), 1);

    sim.volumes.get_mut("data").unwrap().spec.restore = Some(dc_crds::volume::RestoreSpec {
        snapshot: "before".into(),
        order: "1".into(),
    });
    sim.look();
    assert_eq!(sim.plan_of("volume data").found, []);
    let claim = &sim.ledger.claims.volumes[&id(&me)].value;
    assert_eq!(claim.stored, Some(PLACE), "an order does not move it back");
    let ItemBody::Volume(item) = &sim.hosts[&host(STORAGE)].held[&key(PLACE)].body else {
        panic!("not a volume");
    };
    assert_eq!(item.restore.as_ref().unwrap().order, "1");
}

#[test]
fn a_moved_volume_grows_in_its_place_and_is_copied_from_there() {
    let mut sim = Sim::new();
    let me = moved(&mut sim);
    sim.volumes.get_mut("data").unwrap().spec.size = "3Gi".into();
    sim.look();
    let claim = &sim.ledger.claims.volumes[&id(&me)].value;
    assert_eq!((claim.size, claim.stored), (Bytes(3 << 30), Some(PLACE)));

    sim.add_volume("copy", "3Gi");
    let copy = sim.volumes.get_mut("copy").unwrap();
    copy.spec.source.volume = Some("data".into());
    sim.look();
    assert_eq!(sim.plan_of("volume copy").found, []);
    let copy = self::me(&sim, "copy");
    let ItemBody::Volume(item) = &sim.hosts[&host(STORAGE)].held[&key(id(&copy))].body else {
        panic!("not a volume");
    };
    assert_eq!(item.source, VolumeSource::Volume(PLACE));
}

#[test]
fn a_moved_volume_is_erased_in_its_place_with_a_certificate_of_that_place() {
    let mut sim = Sim::new();
    let me = moved(&mut sim);
    let object = sim.volumes.get_mut("data").unwrap();
    object.spec.reclaim = dc_crds::volume::Reclaim::Erase;
    delete(&mut object.metadata);
    sim.look();
    assert!(sim.volumes.is_empty() && held(&sim, ItemKind::Volume).is_empty());
    let claims = &sim.ledger.claims;
    assert!(claims.volumes.is_empty() && claims.erased.is_empty() && claims.releases.is_empty());
    assert!(claims.volume_at(PLACE).is_none());
    let certificates: Vec<&String> = sim.certificates.keys().collect();
    assert_eq!(certificates, [&format!("{NAMESPACE}.data.{PLACE}")]);
    let spec = &sim.certificates.values().next().unwrap().spec;
    assert_eq!(spec.instance_id, id(&me).to_string());
    let result = dc_crds::certificate::ErasureResult::Verified;
    assert_eq!(spec.result, result, "what the host said was kept");
}

#[test]
fn a_host_has_the_place_of_a_volume_and_not_its_id() {
    let mut sim = Sim::new();
    let me = moved(&mut sim);
    let claims = &sim.ledger.claims;
    let on = |name: &str, place| claims.has_item(&HostName::new(name).unwrap(), &key(place));
    assert!(on(STORAGE, PLACE) && !on("h1", PLACE));
    assert!(!on(STORAGE, id(&me)), "what lies there is left of before");
}
