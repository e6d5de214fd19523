use dc_crds::certificate::{ErasedBy, ErasureCertificateSpec, ErasureResult};
use dc_types::claim::VolumeKey;
use dc_types::plan::ItemKind;

use super::*;
use crate::object;
use crate::sim::{STORAGE, Sim, delete, disk, host};
use crate::txn::Write;
use crate::volume;

fn said(
    members: &[(&str, Result<(), &str>)],
) -> Result<BTreeMap<String, Result<(), String>>, String> {
    let of =
        |(name, said): &(&str, Result<(), &str>)| ((*name).to_owned(), said.map_err(str::to_owned));
    Ok(members.iter().map(of).collect())
}

/// An encrypted volume whose key is to be destroyed.
fn volume() -> (Sim, InstanceId) {
    let mut sim = Sim::new();
    sim.add_volume("data", "10Gi");
    let spec = &mut sim.volumes.get_mut("data").unwrap().spec;
    spec.encrypted = true;
    spec.reclaim = Reclaim::Erase;
    spec.erase_method = EraseMethod::KeyDestruction;
    sim.look();
    let me = object::object_ref(&sim.volumes["data"].metadata).unwrap();
    (sim, volume::id(&me))
}

/// The same, deleted and its key gone.
fn destroyed() -> (Sim, InstanceId) {
    let (mut sim, id) = volume();
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    (sim, id)
}

fn record(sim: &Sim, id: InstanceId) -> Claimed<DestroyedKey> {
    sim.ledger.claims.destroyed[&id].clone()
}

/// The members answer for what is asked now.
fn read(sim: &mut Sim, members: Result<BTreeMap<String, Result<(), String>>, String>) {
    let claims = &sim.ledger.claims;
    let (revision, _) = unread(claims).unwrap();
    sim.reading = Some(Reading {
        incarnation: claims.incarnation,
        revision,
        members,
    });
}

fn released(sim: &Sim) -> bool {
    let held = &sim.hosts[&host(STORAGE)].held;
    !held.keys().any(|key| key.kind == ItemKind::Volume)
}

fn certified(sim: &Sim) -> ErasureCertificateSpec {
    assert_eq!(sim.certificates.len(), 1);
    assert!(sim.volumes.is_empty() && sim.ledger.claims.volumes.is_empty());
    assert!(sim.ledger.claims.destroyed.is_empty() && sim.ledger.claims.erased.is_empty());
    sim.certificates.values().next().unwrap().spec.clone()
}

#[test]
fn the_key_goes_first_then_every_member_is_asked_then_the_blocks_go_and_all_of_it_is_certified() {
    let (mut sim, id) = destroyed();
    assert!(!sim.ledger.claims.keys.contains_key(&id));
    let destroyed_at = record(&sim, id).revision;
    assert_eq!(record(&sim, id).value.masters, ["2026"]);
    assert!(!released(&sim), "discarded before the members were asked");
    read(&mut sim, said(&[("a", Ok(())), ("b", Err("no answer"))]));
    sim.look();
    let waits = Fact::Encryption(EncryptionFact::KeyBeingDestroyed {
        silent: vec!["b: no answer".into()],
        until: "1970-01-01T00:15:00Z".into(),
    });
    assert_eq!(sim.plan_of("volume data").found, [waits]);
    assert!(!released(&sim), "discarded while a member is waited for");
    // The first one is down by now. What it has said stays said.
    read(&mut sim, said(&[("a", Err("no answer")), ("b", Ok(()))]));
    sim.look();
    assert!(released(&sim));
    let spec = certified(&sim);
    assert_eq!(
        (spec.method, spec.result),
        (ErasedBy::KeyDestruction, ErasureResult::Verified)
    );
    let key = spec.key.unwrap();
    assert_eq!(
        (key.compacted, key.silent),
        (vec!["a".into(), "b".into()], vec![])
    );
    assert_eq!(key.revision, i64::try_from(destroyed_at).unwrap());
    assert_eq!(key.master_keys, ["2026"]);
    assert!(
        key.remains.starts_with("Snapshots of the ledger"),
        "{}",
        key.remains
    );
}

#[test]
fn what_the_storage_host_did_not_say_is_not_called_verified() {
    let (mut sim, id) = destroyed();
    read(&mut sim, said(&[("a", Ok(()))]));
    while sim.ledger.claims.releases.is_empty() {
        let plan = sim.decide_volume("data");
        assert!(sim.ledger.commit(plan.txn.as_ref().unwrap()));
    }
    // It is confirmed to an operator that did not keep what was said.
    let storage = host(STORAGE);
    let key = volume::key(id);
    let epoch = sim.ledger.claims.volumes[&id].epoch;
    let released = &mut sim.hosts.get_mut(&storage).unwrap().released;
    released.insert(key, epoch);
    sim.ledger.delete(&keys::release(&storage, &key));
    sim.look();
    let spec = certified(&sim);
    assert_eq!(
        (spec.method, spec.result),
        (ErasedBy::KeyDestruction, ErasureResult::PartlyVerified)
    );
}

#[test]
fn a_member_that_never_answers_is_named_and_nothing_is_called_verified() {
    let (mut sim, id) = destroyed();
    let mut silent = said(&[("a", Ok(())), ("b", Err("no answer"))]);
    read(&mut sim, silent.clone());
    sim.look();
    sim.now = "1970-01-01T00:14:59Z".parse().unwrap();
    sim.look();
    assert!(!record(&sim, id).value.closed && !released(&sim));
    // It was taken out of the cluster, with what it has on its disk.
    silent.as_mut().unwrap().remove("b");
    read(&mut sim, silent);
    sim.now = "1970-01-01T00:15:00Z".parse().unwrap();
    sim.look();
    let spec = certified(&sim);
    assert_eq!(spec.result, ErasureResult::PartlyVerified);
    let key = spec.key.unwrap();
    assert_eq!(
        (key.compacted, key.silent),
        (vec!["a".into()], vec!["b".into()])
    );
}

#[test]
fn nothing_is_closed_by_time_alone_nor_by_what_was_said_of_another_revision_or_store() {
    let (mut sim, id) = destroyed();
    sim.now = "1971-01-01T00:00:00Z".parse().unwrap();
    sim.look();
    assert!(!record(&sim, id).value.closed, "nobody was asked");
    let all = said(&[("a", Ok(()))]);
    for (incarnation, revision) in [(1, record(&sim, id).revision - 1), (2, 1_000)] {
        sim.reading = Some(Reading {
            incarnation,
            revision,
            members: all.clone(),
        });
        sim.look();
        assert!(!record(&sim, id).value.closed);
    }
    // A later compaction has all that an earlier one has.
    sim.reading = Some(Reading {
        incarnation: 1,
        revision: 1_000,
        members: Err("the ledger's members are not known".into()),
    });
    sim.look();
    let spec = certified(&sim);
    assert_eq!(
        spec.result,
        ErasureResult::PartlyVerified,
        "nobody has answered"
    );
}

#[test]
fn in_a_ledger_that_was_rebuilt_all_members_are_asked_anew() {
    let (mut sim, id) = destroyed();
    read(&mut sim, said(&[("a", Ok(())), ("b", Err("no answer"))]));
    sim.look();
    let before = record(&sim, id);
    sim.ledger.claims.incarnation = 2;
    sim.look();
    let anew = record(&sim, id);
    assert_eq!((anew.value.incarnation, anew.value.members.len()), (2, 0));
    assert!(revision_of(&anew) > before.revision);
    assert!(!released(&sim));
    read(&mut sim, said(&[("c", Ok(()))]));
    sim.look();
    let key = certified(&sim).key.unwrap();
    assert_eq!((key.compacted, key.incarnation), (vec!["c".to_owned()], 2));
}

#[test]
fn whoever_dies_after_any_step_goes_on_and_certifies_once() {
    // Each step is decided twice: what was decided before a death is refused or the same after it.
    let (mut sim, id) = volume();
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    let mut steps = 0;
    while sim.volumes.contains_key("data") {
        if unread(&sim.ledger.claims).is_some() {
            read(&mut sim, said(&[("a", Ok(()))]));
        }
        let plan = sim.decide_volume("data");
        assert_eq!(sim.decide_volume("data"), plan);
        let key_there = sim.ledger.claims.keys.contains_key(&id);
        let releases = |write: &Write| match write {
            Write::Put { key, .. } => key.starts_with(keys::RELEASE),
            Write::Delete { .. } => false,
        };
        let releases = plan.txn.iter().any(|txn| txn.writes.iter().any(releases));
        assert!(!(releases && key_there), "released before the key was gone");
        sim.play(&plan);
        // A release is the same done twice: its host confirms it again.
        if let Some(txn) = plan.txn.as_ref().filter(|_| !releases) {
            assert!(!sim.ledger.commit(txn), "done twice: {txn:?}");
        }
        steps += 1;
        assert!(steps < 20, "{plan:#?}");
        if plan.txn.is_none() {
            sim.look();
        }
    }
    assert_eq!(certified(&sim).result, ErasureResult::Verified);
}

#[test]
fn a_key_is_not_destroyed_while_a_machine_or_a_snapshot_has_the_volume() {
    let (mut sim, id) = volume();
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.add_snapshot("s", None, Some("data"));
    sim.look();
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    assert!(sim.ledger.claims.keys.contains_key(&id));
    delete(&mut sim.vm("web").metadata);
    sim.look();
    assert!(
        sim.ledger.claims.keys.contains_key(&id),
        "a snapshot is of it"
    );
    delete(&mut sim.snapshots.get_mut("s").unwrap().metadata);
    sim.look();
    assert!(!sim.ledger.claims.keys.contains_key(&id));
    assert!(sim.ledger.claims.destroyed.contains_key(&id));
}

#[test]
fn what_has_no_key_is_refused_and_goes_by_another_method() {
    let mut sim = Sim::new();
    sim.add_volume("plain", "1Gi");
    let spec = &mut sim.volumes.get_mut("plain").unwrap().spec;
    (spec.reclaim, spec.erase_method) = (Reclaim::Erase, EraseMethod::KeyDestruction);
    sim.look();
    let refused = [Fact::Encryption(EncryptionFact::NotEncrypted)];
    assert_eq!(sim.plan_of("volume plain").found, refused);
    sim.volumes.get_mut("plain").unwrap().spec.erase_method = EraseMethod::Discard;
    sim.look();
    sim.volumes.get_mut("plain").unwrap().spec.erase_method = EraseMethod::KeyDestruction;
    delete(&mut sim.volumes.get_mut("plain").unwrap().metadata);
    sim.look();
    assert_eq!(sim.plan_of("volume plain").found, refused);
    sim.volumes.get_mut("plain").unwrap().spec.erase_method = EraseMethod::Zero;
    sim.look();
    assert_eq!(certified(&sim).method, ErasedBy::Zero);

    let (mut sim, id) = volume();
    sim.ledger.delete(&keys::key(id));
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    let lost = [Fact::Encryption(EncryptionFact::NoKeyToDestroy)];
    assert_eq!(sim.plan_of("volume data").found, lost);
    sim.volumes.get_mut("data").unwrap().spec.erase_method = EraseMethod::Discard;
    sim.look();
    let spec = certified(&sim);
    assert_eq!((spec.method, spec.key), (ErasedBy::Discard, None));
}

#[test]
fn what_is_asked_otherwise_afterwards_does_not_keep_blocks_without_a_key() {
    let (mut sim, _) = destroyed();
    sim.volumes.get_mut("data").unwrap().spec.reclaim = Reclaim::Retain;
    read(&mut sim, said(&[("a", Ok(()))]));
    sim.look();
    assert!(released(&sim));
    assert_eq!(certified(&sim).method, ErasedBy::KeyDestruction);
}

#[test]
fn every_master_key_that_wrapped_it_is_named() {
    let (mut sim, id) = volume();
    let old = sim.ledger.claims.keys[&id].clone();
    let rewrapped = VolumeKey {
        master: "2027".into(),
        former: vec!["2026".into()],
        ..old.value
    };
    let txn = Txn::new("re-wrapped").put(keys::key(id), &rewrapped);
    assert!(sim.ledger.commit(&txn));
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    read(&mut sim, said(&[("a", Ok(()))]));
    sim.look();
    assert_eq!(certified(&sim).key.unwrap().master_keys, ["2026", "2027"]);
}
