//! Over a volume that is there, and the machine that has it.

use dc_crds::restore::InPlace;
use dc_crds::vm::PowerState;
use dc_crds::volume::RestoreSpec as ReturnSpec;
use dc_types::plan::{ItemBody, Power, VmItem};

use super::*;
use crate::restore::in_place::snapshot_name;

fn over(sim: &mut Sim, name: &str, stop_machine: bool) {
    sim.add_restore(name, "one", "web-root", "web-root");
    let restore = sim.restores.get_mut(name).unwrap();
    restore.spec.in_place = Some(InPlace { stop_machine });
}

/// What the machine's host is told.
fn machine(sim: &Sim) -> VmItem {
    let mut items = sim.boards.values().flat_map(|board| board.values());
    let found = items.find_map(|item| match &item.body {
        ItemBody::Vm(vm) => Some((**vm).clone()),
        _ => None,
    });
    found.unwrap()
}

fn granted(sim: &Sim) -> usize {
    sim.ledger.claims.attachments.len()
}

fn before(sim: &Sim, name: &str) -> String {
    let me = crate::object::object_ref(&sim.restores[name].metadata).unwrap();
    snapshot_name(&me)
}

#[test]
fn a_machine_that_is_to_run_is_not_stopped_unless_that_is_asked() {
    let mut sim = with_backup();
    let now = machine(&sim);
    over(&mut sim, "back", false);
    sim.look();
    let runs = BackupFact::MachineRuns { vm: "web".into() };
    assert_eq!(sim.decide_restore("back").found, [Fact::Backup(runs)]);
    assert_eq!(machine(&sim), now);
    assert!(sim.snapshots.is_empty());
    sim.vm("web").spec.power_state = PowerState::Stopped;
    sim.look();
    assert_eq!(state(&sim, "back"), "Done");
    // It is off as its object asks, and has its volume again.
    assert_eq!((machine(&sim).power, granted(&sim)), (Power::Off, 1));
}

#[test]
fn a_guest_is_stopped_what_is_there_is_taken_and_nobody_starts_on_half_of_it() {
    let mut sim = with_backup();
    let first = machine(&sim);
    sim.works(false);
    over(&mut sim, "back", true);
    sim.look();
    assert_eq!(state(&sim, "back"), "Writing");
    assert_eq!(machine(&sim).power, Power::Off);
    assert_eq!(
        (granted(&sim), contents(&sim, "web-root")),
        (0, Contents::AwaitRestore)
    );
    let status = sim.restores["back"].status.clone().unwrap();
    assert_eq!(status.before, Some(before(&sim, "back")));
    let taken = &sim.snapshots[&before(&sim, "back")];
    assert_eq!(taken.status.clone().unwrap().state, "Taken");
    let item = carried(&sim).unwrap();
    assert_eq!(
        sim.ledger.claims.volumes[&item.volume].value.owner.name,
        "web-root"
    );
    // Neither that machine nor another gets it, whoever leads and whatever is asked.
    sim.vm("web").spec.restart = Some("now".into());
    sim.add_vm("thief");
    sim.vm("thief").spec.disks = vec![disk("root", Some("web-root"))];
    sim.boards.clear();
    sim.look();
    assert_eq!(granted(&sim), 0);
    let waits = sim.plan_of("vm web").found.clone();
    assert!(
        matches!(&waits[0], Fact::VolumesPending { .. }),
        "{waits:?}"
    );
    let awaits = BackupFact::AwaitsRestore {
        restore: "back".into(),
    };
    assert_eq!(sim.decide_volume("web-root").found, [Fact::Backup(awaits)]);
    delete(&mut sim.vm("thief").metadata);
    sim.look();

    sim.works(true);
    sim.look();
    assert_eq!(state(&sim, "back"), "Done");
    assert_eq!(
        (granted(&sim), contents(&sim, "web-root")),
        (1, Contents::Whole)
    );
    let again = machine(&sim);
    assert_eq!((again.power, again.disks.len()), (Power::On, 1));
    assert!(
        again.disks[0].grant > first.disks[0].grant,
        "an old grant is never opened again"
    );
    assert!(sim.ledger.claims.restores.is_empty() && sim.ledger.claims.releases.is_empty());
    assert_eq!(sim.decide_restore("back"), crate::plan::Plan::default());
    // What was there before stays, for as long as the department wants it.
    delete(&mut sim.restores.get_mut("back").unwrap().metadata);
    sim.look();
    assert_eq!(sim.snapshots.len(), 1);
}

#[test]
fn given_up_in_the_middle_it_is_taken_back_from_what_was_there_before() {
    let mut sim = with_backup();
    sim.works(false);
    over(&mut sim, "back", true);
    sim.look();
    let snapshot = before(&sim, "back");
    delete(&mut sim.restores.get_mut("back").unwrap().metadata);
    sim.look();
    assert!(sim.restores.is_empty() && sim.ledger.claims.restores.is_empty());
    assert_eq!(
        (granted(&sim), contents(&sim, "web-root")),
        (0, Contents::AwaitRestore)
    );
    let half = Fact::Backup(BackupFact::HalfRestored);
    assert_eq!(sim.decide_volume("web-root").found, [half]);
    assert!(matches!(
        sim.plan_of("vm web").found[0],
        Fact::VolumesPending { .. }
    ));
    let asked = ReturnSpec {
        snapshot,
        order: "back to what it was".into(),
    };
    sim.volumes.get_mut("web-root").unwrap().spec.restore = Some(asked);
    sim.look();
    assert_eq!(
        (granted(&sim), contents(&sim, "web-root")),
        (1, Contents::Whole)
    );
    assert_eq!(machine(&sim).power, Power::On);

    // Or another one goes over it; what is half is not taken again.
    sim.works(false);
    over(&mut sim, "again", true);
    sim.look();
    delete(&mut sim.restores.get_mut("again").unwrap().metadata);
    sim.look();
    let taken = sim.snapshots.len();
    sim.works(true);
    over(&mut sim, "last", true);
    sim.look();
    assert_eq!(state(&sim, "last"), "Done");
    assert_eq!((sim.snapshots.len(), granted(&sim)), (taken, 1));
}

#[test]
fn given_up_before_it_is_written_nothing_has_changed() {
    let mut sim = with_backup();
    let first = machine(&sim);
    let home = sim
        .ledger
        .claims
        .vms
        .values()
        .next()
        .unwrap()
        .value
        .host
        .clone();
    sim.set_silent(home.as_str(), true);
    over(&mut sim, "back", true);
    sim.look();
    // Whether it is off nobody knows.
    assert_eq!(state(&sim, "back"), "Waiting");
    assert_eq!(
        (granted(&sim), contents(&sim, "web-root")),
        (1, Contents::Whole)
    );
    let waits = BackupFact::MachineLetsGo { vm: "web".into() };
    assert_eq!(sim.decide_restore("back").found, [Fact::Backup(waits)]);
    // No other one comes between.
    over(&mut sim, "second", true);
    let runs = BackupFact::RestoreRuns {
        volume: "web-root".into(),
        by: "back".into(),
    };
    assert_eq!(sim.decide_restore("second").found, [Fact::Backup(runs)]);
    for name in ["second", "back"] {
        delete(&mut sim.restores.get_mut(name).unwrap().metadata);
        sim.look();
    }
    sim.set_silent(home.as_str(), false);
    sim.look();
    assert!(sim.restores.is_empty() && sim.snapshots.is_empty());
    assert_eq!(machine(&sim), first);
}

#[test]
fn what_is_not_that_volume_is_told() {
    let mut sim = with_backup();
    over(&mut sim, "other", true);
    let spec = &mut sim.restores.get_mut("other").unwrap().spec;
    spec.to.system = "another".into();
    let other = BackupFact::InPlaceOther {
        volume: "web-root".into(),
        system: sim.volumes["web-root"].spec.system.clone(),
        pool: sim.volumes["web-root"].spec.pool.clone(),
    };
    assert_eq!(sim.decide_restore("other").found, [Fact::Backup(other)]);
    over(&mut sim, "none", true);
    sim.restores.get_mut("none").unwrap().spec.to.name = "nothing".into();
    let missing = BackupFact::InPlaceMissing {
        volume: "nothing".into(),
    };
    assert_eq!(sim.decide_restore("none").found, [Fact::Backup(missing)]);
    sim.look();
    assert!(sim.ledger.claims.restores.is_empty() && sim.snapshots.is_empty());
}

#[test]
fn a_machine_that_was_rebuilt_meanwhile_gets_its_volume_again() {
    let mut sim = with_backup();
    sim.works(false);
    over(&mut sim, "back", true);
    sim.look();
    let volume = carried(&sim).unwrap().volume;
    let claim = sim.ledger.claims.vms.values().next().unwrap().value.clone();
    let rebuilt = dc_types::claim::VmClaim {
        volumes: vec![volume],
        ..claim
    };
    let key = dc_types::claim::keys::vm(rebuilt.vm);
    let txn = crate::txn::Txn::new("as its host told").put(key, &rebuilt);
    assert!(sim.ledger.commit(&txn));
    sim.look();
    assert_eq!(granted(&sim), 0);
    sim.works(true);
    sim.look();
    assert_eq!((granted(&sim), machine(&sim).disks.len()), (1, 1));
    assert_eq!(machine(&sim).power, Power::On);
}
