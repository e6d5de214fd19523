use dc_types::claim::MovePhase;
use dc_types::plan::{Disposition, Release};
use dc_types::{ObjectRef, ObjectUid};

use super::*;

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn owner(namespace: &str, n: u128) -> ObjectRef {
    ObjectRef {
        namespace: namespace.into(),
        name: format!("o{n}"),
        uid: ObjectUid(Uuid::from_u128(n)),
    }
}

fn vm(n: u128, on: &str, vcpus: u32, memory: u64) -> VmClaim {
    VmClaim {
        vm: InstanceId(Uuid::from_u128(n)),
        owner: owner("so-nnmt", n),
        host: host(on),
        vcpus,
        memory: MiB(memory),
        machine_type: "pc-q35-7.2".into(),
        volumes: vec![],
        cards: vec![],
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

fn put_vm(claims: &mut Claims, vm: &VmClaim, revision: u64) {
    claims
        .apply(&keys::vm(vm.vm), Some(&json(vm)), revision)
        .unwrap();
}

#[test]
fn what_a_host_promised_follows_its_claims() {
    let mut claims = Claims::new(1);
    put_vm(&mut claims, &vm(1, "h1", 2, 512), 5);
    put_vm(&mut claims, &vm(2, "h1", 4, 1024), 6);
    let promise = claims.promised_on(&host("h1"));
    assert_eq!((promise.vms, promise.vcpus), (2, 6));
    assert_eq!(promise.memory, MiB(1536));

    // The same machine on another host: counted there and no longer here.
    put_vm(&mut claims, &vm(1, "h2", 2, 512), 7);
    assert_eq!(claims.promised_on(&host("h1")).vms, 1);
    assert_eq!(claims.promised_on(&host("h2")).vcpus, 2);
    assert_eq!(claims.vms_on(&host("h2")).count(), 1);
    assert_eq!(claims.vms_in("so-nnmt").count(), 2);

    for n in [1, 2] {
        let key = keys::vm(InstanceId(Uuid::from_u128(n)));
        claims.apply(&key, None, 8).unwrap();
    }
    assert_eq!(claims, Claims::new(1));
}

#[test]
fn what_a_pool_promised_follows_its_claims() {
    let mut claims = Claims::new(1);
    let volume = VolumeClaim {
        volume: InstanceId(Uuid::from_u128(9)),
        owner: owner("so-nnmt", 9),
        pool: PoolName::new("san").unwrap(),
        host: host("s1"),
        size: Bytes(10),
        grows_from: None,
        restore: None,
        stored: None,
        restored: None,
        contents: dc_types::claim::Contents::Whole,
        cipher: dc_types::claim::Cipher::Plain,
    };
    let key = keys::volume(volume.volume);
    claims.apply(&key, Some(&json(&volume)), 3).unwrap();
    let grown = VolumeClaim {
        size: Bytes(25),
        ..volume.clone()
    };
    claims.apply(&key, Some(&json(&grown)), 4).unwrap();
    assert_eq!(claims.promised_in(&volume.pool), Bytes(25));
    assert_eq!(claims.volumes_on(&host("s1")).count(), 1);
    claims.apply(&key, None, 5).unwrap();
    assert_eq!(claims, Claims::new(1));
}

#[test]
fn a_machine_is_an_item_of_the_host_that_it_is_claimed_for_and_of_no_other() {
    let mut claims = Claims::new(1);
    put_vm(&mut claims, &vm(1, "h1", 2, 512), 5);
    let key = |kind, n| ItemKey::new(kind, Uuid::from_u128(n));
    assert!(claims.has_item(&host("h1"), &key(ItemKind::Vm, 1)));
    assert!(!claims.has_item(&host("h2"), &key(ItemKind::Vm, 1)));
    assert!(!claims.has_item(&host("h1"), &key(ItemKind::Vm, 2)));
    assert!(!claims.has_item(&host("h1"), &key(ItemKind::Volume, 1)));
}

#[test]
fn the_epoch_is_the_revision_unless_a_rebuild_kept_an_older_one() {
    let mut claims = Claims::new(2);
    let vm = vm(1, "h1", 1, 64);
    let kept_epoch = Epoch {
        incarnation: 1,
        revision: 900,
    };
    let rebuilt = Rebuilt {
        value: vm.clone(),
        kept_epoch,
    };
    let key = keys::vm(vm.vm);
    claims.apply(&key, Some(&json(&rebuilt)), 4).unwrap();
    assert_eq!(claims.vms[&vm.vm].epoch, kept_epoch);
    assert_eq!(claims.vms[&vm.vm].revision, 4);

    put_vm(&mut claims, &vm, 5);
    assert_eq!(claims.vms[&vm.vm].epoch, claims.epoch_of(5));
}

#[test]
fn the_releases_of_a_host_are_its_own() {
    let mut claims = Claims::new(1);
    let release = |n: u128| Release {
        key: ItemKey {
            kind: ItemKind::Endpoint,
            id: Uuid::from_u128(n),
            card: 1,
        },
        epoch: Epoch::default(),
        object: owner("so-nnmt", n),
        disposition: Disposition::Remove,
    };
    for (on, n) in [("h1", 1), ("h2", 2), ("h2", 3), ("h3", 4)] {
        let pending = PendingRelease {
            host: host(on),
            release: release(n),
        };
        let key = keys::release(&pending.host, &pending.release.key);
        claims.apply(&key, Some(&json(&pending)), 1).unwrap();
    }
    let of_h2: Vec<_> = claims
        .releases_of(&host("h2"))
        .map(|c| c.value.release.key.id.as_u128())
        .collect();
    assert_eq!(of_h2, [2, 3]);
}

#[test]
fn index_keys_are_held_until_they_are_removed() {
    let mut claims = Claims::new(1);
    let key = keys::mac("52:54:00:00:00:01".parse().unwrap());
    let holder = HeldBy {
        holder: ObjectUid(Uuid::from_u128(1)),
    };
    claims.apply(&key, Some(&json(&holder)), 3).unwrap();
    assert_eq!(claims.held[&key], (holder, 3));
    claims.apply(&key, None, 4).unwrap();
    assert!(claims.held.is_empty());
}

#[test]
fn a_key_or_value_that_does_not_read_is_an_error_that_names_it() {
    let mut claims = Claims::new(1);
    for key in ["vm/x", "surprise/1", "release/h1/Vm/1", "department/A_B"] {
        let error = claims.apply(key, Some("{}"), 1).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
    let key = keys::vm(InstanceId(Uuid::from_u128(1)));
    let error = claims.apply(&key, Some("{"), 1).unwrap_err().to_string();
    assert!(error.contains(&key), "{error}");
    assert_eq!(claims, Claims::new(1));
}

#[test]
fn a_claim_of_before_there_were_moves_has_its_bytes_under_the_volumes_id() {
    let volume = InstanceId(Uuid::from_u128(9));
    let old = format!(
        r#"{{"volume":"{volume}","owner":{},"pool":"san","host":"s1","size":10}}"#,
        json(&owner("so-nnmt", 9))
    );
    let mut claims = Claims::new(1);
    claims.apply(&keys::volume(volume), Some(&old), 3).unwrap();
    let claim = claims.volumes[&volume].value.clone();
    assert_eq!((claim.stored, claim.place()), (None, volume));
    assert_eq!(
        json(&claim),
        old,
        "and an operator of before still reads it"
    );
    // A move changes the place that it is found by.
    let place = InstanceId(Uuid::from_u128(10));
    let moved = VolumeClaim {
        stored: Some(place),
        ..claim
    };
    claims
        .apply(&keys::volume(volume), Some(&json(&moved)), 4)
        .unwrap();
    let at = |place| claims.volume_at(place).map(|claim| claim.value.volume);
    assert_eq!((at(place), at(volume)), (Some(volume), None));
    assert_eq!(claims.place_of(volume), place);
    claims.apply(&keys::volume(volume), None, 5).unwrap();
    assert_eq!(claims, Claims::new(1));
}

#[test]
fn a_second_place_is_promised_charged_and_held_like_the_first_one() {
    let volume = InstanceId(Uuid::from_u128(9));
    let second = MoveClaim {
        volume,
        owner: owner("so-nnmt", 9),
        place: InstanceId(Uuid::from_u128(10)),
        pool: PoolName::new("ceph").unwrap(),
        host: host("s2"),
        size: Bytes(10),
        phase: MovePhase::Reserved,
    };
    let mut claims = Claims::new(1);
    let key = keys::second(volume);
    claims.apply(&key, Some(&json(&second)), 3).unwrap();
    assert_eq!(claims.promised_in(&second.pool), Bytes(10));
    let charged = &claims.charges().of("so-nnmt").unwrap().pools;
    assert_eq!(charged[&second.pool], Bytes(10));
    let item = ItemKey::new(ItemKind::Volume, second.place.0);
    assert!(claims.has_item(&second.host, &item));
    assert!(!claims.has_item(&host("s1"), &item));
    // What is left behind takes its place.
    let left = MoveClaim {
        place: volume,
        pool: PoolName::new("san").unwrap(),
        host: host("s1"),
        phase: MovePhase::Leaving,
        ..second.clone()
    };
    claims.apply(&key, Some(&json(&left)), 4).unwrap();
    assert_eq!(claims.promised_in(&second.pool), Bytes(0));
    assert!(claims.second_at(second.place).is_none() && !claims.has_item(&second.host, &item));
    assert_eq!(claims.second_at(volume).unwrap().value, left);
    claims.apply(&key, None, 5).unwrap();
    assert_eq!(claims, Claims::new(1));
}
