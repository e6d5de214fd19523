use dc_crds::volume::{EraseMethod, Reclaim};
use dc_types::claim::{Cipher, VolumeKey, keys};
use dc_types::plan::{Formatted, ItemBody, LUKS_HEADER, Luks, RbdCluster, Secret};
use dc_types::{Bytes, InstanceId};

use crate::object;
use crate::sim::{STORAGE, Sim, delete, disk, host};
use crate::txn::{Txn, Write};
use crate::vm;
use crate::volume;
use crate::volume::encryption::{Sealed, outdated, rewrap, wrapped_by};
use crate::words::{EncryptionFact, Fact};

fn encrypt(sim: &mut Sim, name: &str) {
    let volume = sim.volumes.get_mut(name).unwrap();
    volume.spec.encrypted = true;
    volume.spec.reclaim = Reclaim::Erase;
    volume.spec.erase_method = EraseMethod::Zero;
}

/// A machine with a disk that is encrypted beside its first.
fn with_machine() -> (Sim, InstanceId) {
    let mut sim = Sim::new();
    sim.add_volume("data", "10Gi");
    encrypt(&mut sim, "data");
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    let me = object::object_ref(&sim.volumes["data"].metadata).unwrap();
    (sim, volume::id(&me))
}

fn key(sim: &Sim, volume: InstanceId) -> VolumeKey {
    sim.ledger.claims.keys[&volume].value.clone()
}

/// How the machine's host was told to open the disk, and how large it is to its guest.
fn told(sim: &Sim) -> (Option<Luks>, Bytes) {
    let me = sim.me("web");
    let on = &sim.ledger.claims.vms[&vm::id(&me)].value.host;
    let ItemBody::Vm(vm) = &sim.hosts[on].held[&vm::key(&me)].body else {
        panic!("no machine");
    };
    (vm.disks[1].luks.clone(), vm.disks[1].size)
}

#[test]
fn a_key_is_claimed_with_its_volume_given_to_the_machines_host_alone_and_never_changed() {
    let (mut sim, volume) = with_machine();
    assert_eq!(sim.plan_of("vm web").found, []);
    assert_eq!(sim.drawn.get(), 1);
    let claim = sim.ledger.claims.volumes[&volume].value.clone();
    assert_eq!(claim.cipher, Cipher::Luks);
    let given = key(&sim, volume);
    assert_eq!(
        (given.master.as_str(), given.formatted),
        ("2026", Formatted::Done)
    );
    let (luks, size) = told(&sim);
    let luks = luks.unwrap();
    assert_eq!(luks.key.unwrap().0, "key 1");
    assert_eq!((luks.formatted, size), (Formatted::Done, Bytes(10 << 30)));
    assert_eq!(claim.size, Bytes((10 << 30) + LUKS_HEADER.0));
    // The storage has the whole size, and no key.
    let stored = format!("{:?}", sim.hosts[&host(STORAGE)].held);
    assert!(!stored.contains("Luks"), "{stored}");
    sim.masters.push("2027");
    sim.look();
    assert_eq!(key(&sim, volume), given);
    assert_eq!(sim.drawn.get(), 1);
}

#[test]
fn there_is_never_a_claim_without_its_key_nor_a_second_key() {
    let mut sim = Sim::new();
    sim.add_volume("data", "10Gi");
    encrypt(&mut sim, "data");
    let txn = sim.decide_volume("data").txn.unwrap();
    let me = object::object_ref(&sim.volumes["data"].metadata).unwrap();
    let id = volume::id(&me);
    let written: Vec<&str> = txn
        .writes
        .iter()
        .map(|write| match write {
            Write::Put { key, .. } | Write::Delete { key } => key.as_str(),
        })
        .collect();
    assert_eq!(written, [keys::volume(id), keys::key(id)]);
    // The answer was lost: the same again is refused as a whole, also with another key.
    let other = sim.decide_volume("data").txn.unwrap();
    assert_ne!(txn, other);
    assert!(sim.ledger.commit(&txn));
    assert!(!sim.ledger.commit(&other));
    let kept = key(&sim, id);
    assert_eq!(kept.wrapped.0, "wrapped 1");
    // A key that an older ledger has left keeps a claim from having another.
    let mut sim = Sim::new();
    sim.add_volume("data", "10Gi");
    encrypt(&mut sim, "data");
    let left = Txn::new("left").put(keys::key(id), &VolumeKey { volume: id, ..kept });
    assert!(sim.ledger.commit(&left));
    let txn = sim.decide_volume("data").txn.unwrap();
    assert!(!sim.ledger.commit(&txn));
}

#[test]
fn an_operator_without_the_master_key_makes_no_volume_and_starts_no_machine() {
    let mut sim = Sim::new();
    sim.masters.clear();
    sim.add_volume("data", "10Gi");
    encrypt(&mut sim, "data");
    sim.look();
    let no_key = [Fact::Encryption(EncryptionFact::NoMasterKey)];
    assert_eq!(sim.plan_of("volume data").found, no_key);
    assert!(sim.ledger.claims.volumes.is_empty());

    let (mut sim, volume) = with_machine();
    sim.masters = vec!["2027"];
    sim.look();
    let unknown = Fact::Encryption(EncryptionFact::MasterKeyUnknown {
        volume: "data".into(),
        id: "2026".into(),
    });
    assert_eq!(sim.plan_of("vm web").found[0], unknown);
    assert_eq!(told(&sim).0.unwrap().key, None);
    // Nor is another made for a volume whose key is gone.
    let gone = Txn::new("gone").delete(keys::key(volume));
    assert!(sim.ledger.commit(&gone));
    sim.look();
    let missing = Fact::Encryption(EncryptionFact::KeyMissing {
        volume: "data".into(),
    });
    assert_eq!(sim.plan_of("vm web").found[0], missing);
    assert_eq!(sim.plan_of("volume data").found, [missing]);
    assert!(!sim.ledger.claims.keys.contains_key(&volume));
}

#[test]
fn what_a_host_said_under_an_older_claim_formats_nothing() {
    let (mut sim, volume) = with_machine();
    let old = sim.ledger.claims.keys[&volume].clone();
    let never = VolumeKey {
        formatted: Formatted::Never,
        ..old.value
    };
    let txn = Txn::new("never").put(keys::key(volume), &never);
    assert!(sim.ledger.commit(&txn));
    let claims = &sim.ledger.claims;
    let me = sim.me("web");
    let claim = &claims.vms[&vm::id(&me)];
    let mut said = sim.said(&claim.value.host, &vm::key(&me)).unwrap();
    if let dc_types::report::Detail::Vm { formatted, .. } = &mut said.detail {
        *formatted = vec![volume];
    }
    let of = |said: &dc_types::report::Observation, volumes: &[InstanceId]| {
        super::formatted(Txn::new("t"), claims, volumes, (claim.epoch, Some(said)))
    };
    let txn = of(&said, &claim.value.volumes).unwrap();
    assert_eq!((txn.guards.len(), txn.writes.len()), (1, 1));
    assert_eq!(of(&said, &[]), None, "a volume of another machine");
    said.epoch.revision -= 1;
    assert_eq!(of(&said, &claim.value.volumes), None);
}

#[test]
fn nothing_is_made_from_an_encrypted_volume_it_is_not_backed_up_and_it_grows_behind_its_header() {
    let (mut sim, volume) = with_machine();
    let before = key(&sim, volume);
    sim.add_volume("copy", "10Gi");
    sim.volumes.get_mut("copy").unwrap().spec.source.volume = Some("data".into());
    sim.look();
    let refused = Fact::Encryption(EncryptionFact::SourceEncrypted {
        source: "data".into(),
    });
    assert_eq!(sim.plan_of("volume copy").found, [refused]);
    sim.add_backup("one", "web");
    sim.look();
    let refused = Fact::Encryption(EncryptionFact::EncryptedNotBackedUp {
        volumes: vec!["data".into()],
    });
    assert!(sim.plan_of("backup one").found.contains(&refused));
    assert!(sim.ledger.claims.backups.is_empty());
    sim.volumes.get_mut("data").unwrap().spec.size = "20Gi".into();
    sim.look();
    assert_eq!(sim.plan_of("volume data").found, []);
    assert_eq!(told(&sim).1, Bytes(20 << 30));
    let claim = &sim.ledger.claims.volumes[&volume].value;
    assert_eq!(claim.size, Bytes((20 << 30) + LUKS_HEADER.0));
    assert_eq!(key(&sim, volume), before);
}

#[test]
fn a_pool_of_ceph_takes_an_encrypted_volume() {
    let mut sim = Sim::new();
    sim.set_ceph(&RbdCluster {
        monitors: Vec::new(),
        pool: "dc".into(),
    });
    sim.add_volume("data", "10Gi");
    encrypt(&mut sim, "data");
    sim.look();
    assert_eq!(sim.plan_of("volume data").found, []);
    assert_eq!(sim.ledger.claims.keys.len(), 1);
}

#[test]
fn a_key_is_wrapped_anew_by_the_newest_master_key_and_a_write_in_between_is_not_lost() {
    let (mut sim, volume) = with_machine();
    let claims = &sim.ledger.claims;
    let knows = |key: &VolumeKey| key.master == "2026";
    assert!(outdated(claims, "2026", knows, 9).is_empty());
    assert!(outdated(claims, "2027", knows, 0).is_empty());
    let nobody = outdated(claims, "2027", |_| false, 9);
    assert!(nobody.is_empty(), "the one that wraps it is missing");
    let old = outdated(claims, "2027", knows, 9)[0].clone();
    let sealed = |master: &str| Sealed {
        master: master.into(),
        nonce: "1".repeat(24),
        wrapped: Secret("wrapped 1 anew".into()),
    };
    let txn = rewrap(&old, sealed("2027"));
    // Somebody writes first, as when a volume was formatted.
    let other = Txn::new("formatted").put(keys::key(volume), &old.value);
    assert!(sim.ledger.commit(&other));
    assert!(!sim.ledger.commit(&txn), "it was written over");
    let old = sim.ledger.claims.keys[&volume].clone();
    assert!(sim.ledger.commit(&rewrap(&old, sealed("2027"))));
    let new = key(&sim, volume);
    assert_eq!(
        (new.master.as_str(), new.former),
        ("2027", vec!["2026".to_owned()])
    );
    assert_eq!(new.formatted, old.value.formatted);
    assert_eq!(
        wrapped_by(&sim.ledger.claims),
        [("2027".to_owned(), 1)].into()
    );
    // Back under the first: each is named once.
    let now = sim.ledger.claims.keys[&volume].clone();
    assert!(sim.ledger.commit(&rewrap(&now, sealed("2026"))));
    assert_eq!(key(&sim, volume).former, ["2027"]);
    // One that was destroyed meanwhile does not come back.
    let now = sim.ledger.claims.keys[&volume].clone();
    sim.ledger.delete(&keys::key(volume));
    assert!(!sim.ledger.commit(&rewrap(&now, sealed("2027"))));
    assert!(!sim.ledger.claims.keys.contains_key(&volume));
}

#[test]
fn the_key_goes_with_bytes_that_were_erased_and_stays_with_those_that_are_retained() {
    for reclaim in [Reclaim::Erase, Reclaim::Retain] {
        let mut sim = Sim::new();
        sim.add_volume("data", "10Gi");
        encrypt(&mut sim, "data");
        sim.volumes.get_mut("data").unwrap().spec.reclaim = reclaim;
        sim.look();
        assert_eq!(sim.ledger.claims.keys.len(), 1);
        delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
        sim.look();
        assert!(sim.ledger.claims.volumes.is_empty(), "{reclaim:?}");
        let left = usize::from(reclaim == Reclaim::Retain);
        assert_eq!(sim.ledger.claims.keys.len(), left, "{reclaim:?}");
    }
}
