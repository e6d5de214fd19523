use dc_crds::snapshot::ConsistencyReached;
use dc_types::claim::{HoldPhase, SnapshotState};
use dc_types::plan::ItemBody;
use dc_types::report::{Consistency, Verb};

use super::*;
use crate::plan::Plan;
use crate::sim::{STORAGE, Sim, delete, disk, fail, host};
use crate::words::Fact;

/// A machine with two volumes, running.
fn running() -> Sim {
    let mut sim = Sim::new();
    sim.add_volume("data", "2Gi");
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    sim
}

fn held(sim: &Sim) -> usize {
    let held = &sim.hosts[&host(STORAGE)].held;
    held.keys()
        .filter(|key| key.kind == ItemKind::Snapshot)
        .count()
}

fn claims(sim: &Sim) -> Vec<&Claimed<SnapshotClaim>> {
    sim.ledger.claims.snapshots.values().collect()
}

#[test]
fn a_group_is_taken_while_the_guest_is_held_and_says_what_was_reached() {
    let mut sim = running();
    sim.add_snapshot_of_vm("before", "web");
    sim.look();
    assert_eq!(sim.plan_of("snapshot before").found, []);
    assert_eq!((claims(&sim).len(), held(&sim)), (2, 2));
    assert!(sim.ledger.claims.holds.is_empty(), "the guest goes on");
    let status = sim.snapshots["before"].status.clone().unwrap();
    assert_eq!(status.consistency, Some(ConsistencyReached::FileSystem));
    assert_eq!(status.state, "Taken");
    assert_eq!(status.of, "vm/web, 2 volumes");
    let mut names: Vec<&str> = status.volumes.iter().map(|v| v.volume.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["data", "web-root"]);
    assert!(status.taken_at.is_some());
}

#[test]
fn nothing_is_taken_before_the_host_says_that_the_guest_is_held() {
    let mut sim = running();
    let on = sim
        .ledger
        .claims
        .vms
        .values()
        .next()
        .unwrap()
        .value
        .host
        .clone();
    sim.add_snapshot_of_vm("before", "web");
    // The first decision claims all and the hold, in one transaction.
    let plan = sim.decide_snapshot("before");
    let txn = plan.txn.as_ref().unwrap();
    assert!(plan.carry.is_empty());
    assert!(sim.ledger.commit(txn));
    let epochs: Vec<_> = claims(&sim).iter().map(|claim| claim.epoch).collect();
    let hold = sim.ledger.claims.holds.values().next().unwrap();
    assert!(
        epochs.iter().all(|epoch| *epoch == hold.epoch),
        "one instant, one epoch"
    );
    let waits = sim.decide_snapshot("before");
    assert!(waits.carry.is_empty() && waits.txn.is_none());
    assert!(matches!(waits.found[0], Fact::HoldPending { .. }));
    // A silent host holds nobody.
    sim.set_silent(on.as_str(), true);
    sim.look();
    assert_eq!(held(&sim), 0);
    assert!(matches!(
        sim.plan_of("snapshot before").found[0],
        Fact::HostSilent { .. }
    ));
    sim.set_silent(on.as_str(), false);
    sim.look();
    assert_eq!(sim.plan_of("snapshot before").found, []);
}

#[test]
fn a_hold_that_did_not_last_makes_no_group_and_is_tried_again_under_other_ids() {
    let mut sim = running();
    for name in ["h1", "h2"] {
        sim.hosts.get_mut(&host(name)).unwrap().lets_go = true;
    }
    sim.add_snapshot_of_vm("before", "web");
    sim.look();
    assert_eq!(
        sim.plan_of("snapshot before").found,
        [Fact::SnapshotFailed { attempts: ATTEMPTS }]
    );
    let status = sim.snapshots["before"].status.clone().unwrap();
    assert_eq!(status.consistency, None, "nothing is claimed of it");
    assert_eq!(held(&sim), 0, "what was taken is gone");
    assert!(sim.ledger.claims.holds.is_empty());
    assert!(sim.ledger.claims.releases.is_empty());
    delete(&mut sim.snapshots.get_mut("before").unwrap().metadata);
    sim.look();
    assert!(sim.snapshots.is_empty() && claims(&sim).is_empty());
}

#[test]
fn a_snapshot_that_cannot_be_taken_lets_the_guest_go_at_once() {
    let mut sim = running();
    sim.add_snapshot_of_vm("before", "web");
    let plan = sim.decide_snapshot("before");
    assert!(sim.ledger.commit(plan.txn.as_ref().unwrap()));
    let first = claims(&sim)[0].clone();
    // Its host has the guest held, and the storage could not take one of the two.
    while sim.boards_held(&first) == 0 {
        let vm = sim.decide("web");
        sim.play(&vm);
        let snapshot = sim.decide_snapshot("before");
        sim.play(&snapshot);
    }
    let failed = fail(&item(&first), "PoolFull");
    let storage = sim.hosts.get_mut(&host(STORAGE)).unwrap();
    storage.said.insert(failed.key, failed);
    let plan = sim.decide_snapshot("before");
    assert!(sim.ledger.commit(plan.txn.as_ref().unwrap()));
    assert!(sim.ledger.claims.holds.is_empty());
    assert!(
        claims(&sim)
            .iter()
            .all(|c| c.value.state == SnapshotState::Broken)
    );
}

#[test]
fn a_snapshot_of_a_volume_that_nobody_has_is_as_after_a_power_cut() {
    let mut sim = Sim::new();
    sim.add_volume("data", "2Gi");
    sim.look();
    sim.add_snapshot("before", None, Some("data"));
    sim.look();
    let status = sim.snapshots["before"].status.clone().unwrap();
    assert_eq!(status.consistency, Some(ConsistencyReached::Crash));
    // It counts as promised, and keeps its volume.
    let pool = dc_types::PoolName::new(crate::sim::POOL).unwrap();
    assert_eq!(sim.ledger.claims.promised_in(&pool).0, 4 << 30);
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    assert_eq!(
        sim.plan_of("volume data").found,
        [Fact::StillUsed {
            by: vec!["snapshot so-nnmt/before".into()]
        }]
    );
    delete(&mut sim.snapshots.get_mut("before").unwrap().metadata);
    sim.look();
    assert!(sim.volumes.is_empty() && claims(&sim).is_empty());
}

#[test]
fn one_that_was_made_again_behind_our_back_is_told_and_not_used() {
    let mut sim = Sim::new();
    sim.add_volume("data", "2Gi");
    sim.look();
    sim.add_snapshot("before", None, Some("data"));
    sim.look();
    let storage = sim.hosts.get_mut(&host(STORAGE)).unwrap();
    for said in storage.said.values_mut() {
        if let dc_types::report::Detail::Snapshot { taken_at, .. } = &mut said.detail {
            *taken_at += 3600;
        }
    }
    sim.look();
    assert!(matches!(
        sim.plan_of("snapshot before").found[0],
        Fact::SnapshotReplaced { .. }
    ));
    sim.add_volume("copy", "2Gi");
    sim.volumes.get_mut("copy").unwrap().spec.source.snapshot =
        Some(dc_crds::volume::SnapshotSource {
            name: "before".into(),
            volume: None,
        });
    sim.look();
    assert!(matches!(
        sim.plan_of("volume copy").found[0],
        Fact::SnapshotNotTaken { .. }
    ));
}

#[test]
fn a_volume_is_made_from_a_snapshot_and_brought_back_to_one() {
    let mut sim = running();
    sim.add_snapshot_of_vm("before", "web");
    sim.look();
    let from = |volume: Option<&str>| {
        Some(dc_crds::volume::SnapshotSource {
            name: "before".into(),
            volume: volume.map(Into::into),
        })
    };
    sim.add_volume("copy", "2Gi");
    sim.volumes.get_mut("copy").unwrap().spec.source.snapshot = from(None);
    sim.look();
    assert!(matches!(
        sim.plan_of("volume copy").found[0],
        Fact::SnapshotNeedsVolume { .. }
    ));
    sim.volumes.get_mut("copy").unwrap().spec.source.snapshot = from(Some("data"));
    sim.look();
    assert_eq!(sim.plan_of("volume copy").found, []);

    // In place only while no machine has it.
    let order = dc_crds::volume::RestoreSpec {
        snapshot: "before".into(),
        order: "1".into(),
    };
    sim.volumes.get_mut("data").unwrap().spec.restore = Some(order);
    sim.look();
    assert_eq!(
        sim.plan_of("volume data").found,
        [Fact::RestoreWaits { vm: "web".into() }]
    );
    sim.vm("web").spec.disks.pop();
    sim.look();
    assert_eq!(sim.plan_of("volume data").found, []);
    let me = crate::object::object_ref(&sim.volumes["data"].metadata).unwrap();
    let held = &sim.hosts[&host(STORAGE)].held[&sim.key_of(&me)];
    let ItemBody::Volume(body) = &held.body else {
        panic!("{held:?}");
    };
    assert_eq!(body.restore.as_ref().unwrap().order, "1");
}

#[test]
fn no_machine_gets_a_volume_that_is_being_brought_back() {
    let mut sim = Sim::new();
    sim.add_volume("data", "2Gi");
    sim.look();
    sim.add_snapshot("before", None, Some("data"));
    sim.look();
    sim.set_silent(STORAGE, true);
    sim.volumes.get_mut("data").unwrap().spec.restore = Some(dc_crds::volume::RestoreSpec {
        snapshot: "before".into(),
        order: "1".into(),
    });
    sim.look();
    sim.add_vm("web");
    sim.vm("web").spec.disks = vec![disk("data", Some("data"))];
    sim.look();
    assert!(sim.ledger.claims.attachments.is_empty());
    sim.set_silent(STORAGE, false);
    sim.look();
    assert_eq!(sim.ledger.claims.attachments.len(), 1);
}

#[test]
fn a_pool_that_cannot_take_snapshots_says_why() {
    let mut sim = Sim::new();
    sim.add_volume("data", "2Gi");
    sim.look();
    sim.lacks(Verb::Snapshot, "the file system has no reflink");
    sim.add_snapshot("before", None, Some("data"));
    sim.look();
    let Fact::PoolLacks { why, .. } = &sim.plan_of("snapshot before").found[0] else {
        panic!("{:?}", sim.plan_of("snapshot before"));
    };
    assert_eq!(why, "the file system has no reflink");
}

#[test]
fn one_guest_is_held_for_one_group_at_a_time() {
    let mut sim = running();
    sim.add_snapshot_of_vm("a", "web");
    sim.add_snapshot_of_vm("b", "web");
    let first = sim.decide_snapshot("a");
    assert!(sim.ledger.commit(first.txn.as_ref().unwrap()));
    assert_eq!(
        sim.decide_snapshot("b"),
        Plan::found(Fact::HoldTaken {
            vm: "web".into(),
            by: "a".into()
        })
    );
    sim.look();
    assert_eq!(sim.plan_of("snapshot a").found, []);
    assert_eq!(sim.plan_of("snapshot b").found, []);
}

#[test]
fn an_operator_that_dies_at_any_point_ends_with_the_same() {
    // Each decision of an attempt is carried out twice, as by an operator that did not hear.
    let mut sim = running();
    sim.add_snapshot_of_vm("before", "web");
    for _ in 0..40 {
        let plan = sim.decide_snapshot("before");
        sim.play(&plan);
        if let Some(txn) = &plan.txn {
            assert!(!sim.ledger.commit(txn), "a transaction holds only once");
        }
        let vm = sim.decide("web");
        sim.play(&vm);
    }
    let state = claims(&sim)[0].value.state;
    assert!(
        matches!(
            state,
            SnapshotState::Taken {
                level: Consistency::FileSystem,
                ..
            }
        ),
        "{state:?}"
    );
    let lifted = |hold: &Claimed<dc_types::claim::HoldClaim>| hold.value.phase == HoldPhase::Lifted;
    assert!(!sim.ledger.claims.holds.values().any(lifted));
}
