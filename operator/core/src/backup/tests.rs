use dc_crds::backup::RunFigures;
use dc_types::claim::{BackupClaim, BackupState, Makes, SnapshotPurpose};
use dc_types::plan::{BackupItem, ItemBody, RepositoryPlace};
use dc_types::report::Verb;

use crate::claims::Claimed;
use crate::quota::Thing;
use crate::sim::{REPOSITORY, STORAGE, Sim, delete, host};
use crate::words::{BackupFact, Fact};

fn with_machine() -> Sim {
    let mut sim = Sim::new();
    sim.add_vm("web");
    sim.look();
    sim
}

fn claim<'a>(sim: &'a Sim, name: &str) -> Option<&'a Claimed<BackupClaim>> {
    let mut all = sim.ledger.claims.backups.values();
    all.find(|claim| claim.value.owner.name == name)
}

fn state(sim: &Sim, name: &str) -> String {
    let status = sim.backups[name].status.clone();
    status.unwrap_or_default().state
}

/// What the storage host has been told of a run.
fn carried(sim: &Sim, name: &str) -> Option<BackupItem> {
    let mut items = sim.boards[&host(STORAGE)].values();
    items.find_map(|item| match &item.body {
        ItemBody::Backup(backup) if item.object.name == name => Some((**backup).clone()),
        _ => None,
    })
}

fn snapshots_of(sim: &Sim, name: &str) -> usize {
    let all = sim.ledger.claims.snapshots.values();
    all.filter(|claim| claim.value.owner.name == name).count()
}

#[test]
fn a_machine_is_backed_up_and_the_next_one_reads_only_what_has_changed() {
    let mut sim = with_machine();
    sim.works(false);
    sim.add_backup("one", "web");
    sim.look();
    assert_eq!(state(&sim, "one"), "Copying");
    let first = carried(&sim, "one").unwrap();
    assert!(first.make, "the department has no repository yet");
    assert_eq!(first.machine, "so-nnmt/web");
    assert_eq!(first.volumes.len(), 1);
    assert_eq!(first.volumes[0].file, "web-root.raw");
    assert_eq!((first.volumes[0].base, &first.parent), (None, &None));
    assert_eq!(first.limit.unwrap().0, 100 << 20);
    let place = RepositoryPlace::Folder {
        path: "/backups/so-nnmt".into(),
    };
    assert_eq!(first.repository.place, place);
    let manifest: serde_json::Value = serde_json::from_str(&first.manifest).unwrap();
    assert_eq!(manifest["virtualMachine"]["name"], "web");
    assert_eq!(manifest["volumes"][0]["name"], "web-root");
    let status = sim.backups["one"].status.clone().unwrap();
    assert_eq!(status.progress.as_deref(), Some("1 MiB of 4 MiB"));

    sim.works(true);
    sim.look();
    let status = sim.backups["one"].status.clone().unwrap();
    assert_eq!(status.state, "Done");
    assert_eq!(status.snapshot_id.as_ref().unwrap().len(), 64);
    assert_eq!(status.volumes[0].volume, "web-root");
    assert!(status.taken_at.is_some() && status.consistency.is_some());
    assert_eq!(status.read.as_deref(), Some("4 MiB"));
    let figures = RunFigures {
        size_bytes: 1 << 30,
        read_bytes: 4 << 20,
        added_bytes: 1 << 20,
    };
    assert_eq!(status.figures, Some(figures));
    assert!(!status.volumes[0].incremental && status.volumes[0].why_full.is_some());
    assert_eq!(carried(&sim, "one"), None, "the host may forget the run");
    assert!(sim.ledger.claims.releases.is_empty());
    // Its snapshot stays for the next.
    assert_eq!(snapshots_of(&sim, "one"), 1);

    sim.works(false);
    sim.add_backup("two", "web");
    sim.look();
    let second = carried(&sim, "two").unwrap();
    assert!(!second.make);
    assert_eq!(second.parent, status.snapshot_id);
    assert_eq!(second.volumes[0].base, Some(first.volumes[0].snapshot));
    assert_ne!(second.volumes[0].snapshot, first.volumes[0].snapshot);
    assert_eq!(snapshots_of(&sim, "one"), 1, "it is being read from");
    sim.works(true);
    sim.look();
    assert_eq!(state(&sim, "two"), "Done");
    let later = sim.backups["two"].status.clone().unwrap();
    assert!(later.volumes[0].incremental);
    assert_eq!(
        (snapshots_of(&sim, "one"), snapshots_of(&sim, "two")),
        (0, 1)
    );
    assert!(claim(&sim, "one").is_none(), "its status alone tells of it");
    assert_eq!(sim.backups["one"].status.clone().unwrap(), status);
    assert_eq!(sim.decide_backup("one"), crate::plan::Plan::default());
}

#[test]
fn a_run_is_claimed_with_its_snapshots_and_they_are_the_platforms() {
    let mut sim = with_machine();
    sim.limits = crate::quota::Limits::read(Some(&dc_crds::quota::Quota {
        snapshots: Some(0),
        ..dc_crds::quota::Quota::default()
    }));
    sim.add_backup("one", "web");
    let txn = sim.decide_backup("one").txn.unwrap();
    let puts = txn.writes.iter().filter_map(|write| match write {
        crate::txn::Write::Put { key, .. } => Some(key.split('/').next().unwrap()),
        crate::txn::Write::Delete { .. } => None,
    });
    assert_eq!(puts.collect::<Vec<_>>(), ["snapshot", "hold", "backup"]);
    sim.look();
    assert_eq!(state(&sim, "one"), "Done");
    let mut snapshots = sim.ledger.claims.snapshots.values();
    assert!(snapshots.all(|claim| claim.value.purpose == SnapshotPurpose::Backup));
    assert_eq!(sim.used().get(&Thing::Snapshots), 0);
}

#[test]
fn one_backup_of_a_machine_runs_at_a_time_and_one_makes_the_repository() {
    let mut sim = with_machine();
    sim.add_vm("db");
    sim.look();
    sim.works(false);
    sim.add_backup("one", "web");
    sim.look();
    sim.add_backup("two", "web");
    sim.add_backup("other", "db");
    sim.look();
    let found = |sim: &Sim, name: &str| sim.decide_backup(name).found;
    let waits = BackupFact::Waits { by: "one".into() };
    assert_eq!(found(&sim, "two")[0], Fact::Backup(waits));
    let begins = BackupFact::RepositoryBegins { by: "one".into() };
    assert_eq!(found(&sim, "other"), [Fact::Backup(begins)]);
    sim.works(true);
    sim.look();
    for name in ["one", "two", "other"] {
        assert_eq!(state(&sim, name), "Done", "{name}");
    }
    assert_eq!(claim(&sim, "other").unwrap().value.makes, Makes::Nothing);
    assert_eq!(claim(&sim, "two").unwrap().value.makes, Makes::Nothing);
}

/// Every transaction of the life of two backups, each with the operator dying right after it: what
/// comes next is decided from the ledger and the objects alone.
#[test]
fn whoever_leads_it_is_the_same_run() {
    let mut sim = with_machine();
    sim.works(false);
    sim.add_backup("one", "web");
    sim.look();
    let before = (carried(&sim, "one"), claim(&sim, "one").cloned());
    // A new leader has empty boards, and looks at everything.
    sim.boards.clear();
    sim.look();
    assert_eq!((carried(&sim, "one"), claim(&sim, "one").cloned()), before);
    // One that is done, and whose status could not be written, is not begun again.
    sim.loses_statuses = true;
    sim.works(true);
    sim.look();
    assert!(matches!(
        claim(&sim, "one").unwrap().value.state,
        BackupState::Done(_)
    ));
    sim.loses_statuses = false;
    sim.boards.clear();
    sim.look();
    assert_eq!(state(&sim, "one"), "Done");
    let held = &sim.hosts[&host(STORAGE)].held;
    let runs = held
        .values()
        .filter(|item| matches!(item.body, ItemBody::Backup(_)));
    assert_eq!(runs.count(), 0);
}

#[test]
fn a_base_is_not_let_go_before_the_status_tells_of_it() {
    let mut sim = with_machine();
    sim.loses_statuses = true;
    sim.add_backup("one", "web");
    sim.look();
    sim.add_backup("two", "web");
    sim.look();
    assert_eq!(
        (snapshots_of(&sim, "one"), snapshots_of(&sim, "two")),
        (1, 1)
    );
    sim.loses_statuses = false;
    sim.look();
    assert_eq!(
        (state(&sim, "one"), snapshots_of(&sim, "one")),
        ("Done".into(), 0)
    );
}

#[test]
fn a_backup_that_is_deleted_stops_and_leaves_nothing() {
    let mut sim = with_machine();
    sim.works(false);
    sim.add_backup("one", "web");
    sim.look();
    assert!(carried(&sim, "one").is_some());
    sim.set_silent(STORAGE, true);
    delete(&mut sim.backups.get_mut("one").unwrap().metadata);
    sim.look();
    assert!(sim.backups.contains_key("one"), "it may still be running");
    assert_eq!(snapshots_of(&sim, "one"), 1, "it may still be read");
    sim.set_silent(STORAGE, false);
    sim.look();
    assert!(!sim.backups.contains_key("one"));
    assert!(sim.ledger.claims.backups.is_empty() && sim.ledger.claims.snapshots.is_empty());
    assert!(sim.ledger.claims.holds.is_empty() && sim.ledger.claims.releases.is_empty());
    assert!(
        sim.hosts[&host(STORAGE)]
            .held
            .values()
            .all(|item| !matches!(item.body, ItemBody::Backup(_) | ItemBody::Snapshot(_)))
    );
}

#[test]
fn a_base_that_is_deleted_waits_for_who_reads_from_it() {
    let mut sim = with_machine();
    sim.add_backup("one", "web");
    sim.look();
    sim.works(false);
    sim.add_backup("two", "web");
    sim.look();
    delete(&mut sim.backups.get_mut("one").unwrap().metadata);
    sim.look();
    let base = BackupFact::Base { by: "two".into() };
    assert_eq!(sim.decide_backup("one").found, [Fact::Backup(base)]);
    sim.works(true);
    sim.look();
    assert!(!sim.backups.contains_key("one"));
    assert_eq!(state(&sim, "two"), "Done");
}

#[test]
fn a_machine_that_goes_takes_the_base_with_it_and_waits_for_a_run() {
    let mut sim = with_machine();
    sim.works(false);
    sim.add_backup("one", "web");
    sim.look();
    delete(&mut sim.vm("web").metadata);
    sim.look();
    assert!(
        !sim.vms.contains_key("web"),
        "the machine itself is not read from"
    );
    assert_eq!(sim.volumes.len(), 1, "its volume is");
    let used = sim.decide_volume("web-root").found;
    let by = vec!["backup so-nnmt/one".to_owned()];
    assert_eq!(used, [Fact::StillUsed { by }]);
    sim.works(true);
    sim.look();
    assert_eq!(state(&sim, "one"), "Done");
    assert!(sim.volumes.is_empty() && sim.ledger.claims.snapshots.is_empty());
    assert!(sim.ledger.claims.backups.is_empty());
    // There is nothing to begin another one of.
    sim.add_backup("two", "web");
    sim.look();
    assert_eq!(state(&sim, "two"), "Pending");
}

#[test]
fn what_keeps_one_from_being_begun_is_told() {
    let mut sim = with_machine();
    sim.add_backup("none", "nothing");
    let missing = Fact::SnapshotTargetMissing {
        what: "vm/nothing".into(),
    };
    assert_eq!(sim.decide_backup("none").found, [missing]);
    sim.add_backup("one", "web");
    sim.repositories.clear();
    let missing = BackupFact::RepositoryMissing {
        repository: REPOSITORY.into(),
    };
    assert_eq!(sim.decide_backup("one").found, [Fact::Backup(missing)]);
    let mut other = crate::sim::repository();
    other.spec.recovery_key = "second".into();
    sim.repositories.insert(REPOSITORY.into(), other);
    let missing = BackupFact::RecoveryKeyMissing {
        key: "second".into(),
        known: vec!["first".into()],
    };
    assert_eq!(sim.decide_backup("one").found, [Fact::Backup(missing)]);
    sim.repositories
        .insert(REPOSITORY.into(), crate::sim::repository());
    sim.lacks(Verb::Snapshot, "this test has none");
    assert!(matches!(
        sim.decide_backup("one").found[0],
        Fact::PoolLacks { .. }
    ));
}

#[test]
fn a_group_that_is_never_of_one_instant_is_told_and_gives_everything_back() {
    let mut sim = with_machine();
    let compute = sim.ledger.claims.vms.values().next().unwrap();
    let compute = compute.value.host.clone();
    sim.hosts.get_mut(&compute).unwrap().lets_go = true;
    sim.add_backup("one", "web");
    sim.look();
    let status = sim.backups["one"].status.clone().unwrap();
    assert_eq!(status.state, "Failed");
    assert_eq!(status.conditions[0].reason, "NotOneInstant");
    assert!(sim.ledger.claims.backups.is_empty() && sim.ledger.claims.snapshots.is_empty());
    // It stays so, and the next one may try.
    sim.hosts.get_mut(&compute).unwrap().lets_go = false;
    sim.add_backup("two", "web");
    sim.look();
    assert_eq!(state(&sim, "two"), "Done");
    assert_eq!(sim.backups["one"].status.clone().unwrap(), status);
}

#[test]
fn a_lost_ledger_makes_the_next_backup_a_full_one_and_none_of_the_old_is_done_again() {
    let mut sim = with_machine();
    sim.add_backup("one", "web");
    sim.look();
    let owner = claim(&sim, "one").unwrap().value.owner.uid;
    sim.ledger.delete(&dc_types::claim::keys::backup(owner));
    sim.look();
    assert_eq!(
        snapshots_of(&sim, "one"),
        0,
        "nobody knows any more what it is of"
    );
    assert_eq!(state(&sim, "one"), "Done");
    sim.works(false);
    sim.add_backup("two", "web");
    sim.look();
    let item = carried(&sim, "two").unwrap();
    assert_eq!((item.volumes[0].base, item.make), (None, false));
}
