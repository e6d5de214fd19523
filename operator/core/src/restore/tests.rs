use dc_crds::VolumeSpec;
use dc_types::claim::Contents;
use dc_types::plan::{ItemBody, RestoreItem};

use crate::quota::Limits;
use crate::sim::{STORAGE, Sim, delete, disk, host};
use crate::words::{BackupFact, Fact};

mod in_place;

/// A machine with a backup `one`.
fn with_backup() -> Sim {
    let mut sim = Sim::new();
    sim.add_vm("web");
    sim.look();
    sim.add_backup("one", "web");
    sim.look();
    sim
}

fn state(sim: &Sim, name: &str) -> String {
    let status = sim.restores[name].status.clone();
    status.unwrap_or_default().state
}

fn carried(sim: &Sim) -> Option<RestoreItem> {
    let mut items = sim.boards[&host(STORAGE)].values();
    items.find_map(|item| match &item.body {
        ItemBody::Restore(restore) => Some((**restore).clone()),
        _ => None,
    })
}

fn contents(sim: &Sim, volume: &str) -> Contents {
    let mut volumes = sim.ledger.claims.volumes.values();
    let found = volumes.find(|claim| claim.value.owner.name == volume);
    found.unwrap().value.contents
}

#[test]
fn a_volume_is_made_for_nobody_and_is_its_owners_when_all_of_it_is_written() {
    let mut sim = with_backup();
    sim.works(false);
    sim.add_restore("back", "one", "web-root", "copy");
    sim.look();
    assert_eq!(state(&sim, "back"), "Writing");
    let item = carried(&sim).unwrap();
    assert_eq!(item.file, "web-root.raw");
    assert_eq!(
        item.limit,
        Some(dc_types::Bytes(100 << 20)),
        "as the repository says"
    );
    let recorded = sim.backups["one"].status.clone().unwrap().snapshot_id;
    assert_eq!(Some(item.backup), recorded);
    assert_eq!(contents(&sim, "copy"), Contents::AwaitRestore);
    let awaits = BackupFact::AwaitsRestore {
        restore: "back".into(),
    };
    assert_eq!(sim.decide_volume("copy").found, [Fact::Backup(awaits)]);
    // Neither a machine gets it nor a snapshot is made of it.
    sim.add_vm("second");
    let disks = &mut sim.vm("second").spec.disks;
    disks.push(disk("more", Some("copy")));
    sim.add_snapshot("early", None, Some("copy"));
    sim.look();
    let granted = |sim: &Sim| sim.ledger.claims.attachments.len();
    assert_eq!(granted(&sim), 1, "the first machine's");
    assert!(matches!(
        sim.decide_snapshot("early").found[0],
        Fact::SnapshotTargetNotReady { .. }
    ));
    sim.works(true);
    sim.look();
    let status = sim.restores["back"].status.clone().unwrap();
    assert_eq!((status.state.as_str(), status.progress), ("Done", None));
    assert!(status.written.is_some() && status.ended_at.is_some());
    assert_eq!(contents(&sim, "copy"), Contents::Whole);
    assert_eq!(granted(&sim), 3, "the second machine has both");
    assert!(sim.ledger.claims.restores.is_empty() && sim.ledger.claims.releases.is_empty());
    assert_eq!(carried(&sim), None);
    assert_eq!(sim.decide_restore("back"), crate::plan::Plan::default());
    // The volume outlives the order.
    delete(&mut sim.restores.get_mut("back").unwrap().metadata);
    sim.look();
    assert!(sim.restores.is_empty() && sim.volumes.contains_key("copy"));
}

#[test]
fn whoever_leads_it_is_the_same_restore_and_it_is_done_once() {
    let mut sim = with_backup();
    sim.works(false);
    sim.add_restore("back", "one", "web-root", "copy");
    sim.look();
    let before = carried(&sim);
    sim.boards.clear();
    sim.look();
    assert_eq!(carried(&sim), before);
    sim.loses_statuses = true;
    sim.works(true);
    sim.look();
    assert_eq!(contents(&sim, "copy"), Contents::Whole);
    assert_eq!(
        sim.ledger.claims.restores.len(),
        1,
        "nothing else tells of it"
    );
    sim.loses_statuses = false;
    sim.look();
    assert_eq!(state(&sim, "back"), "Done");
    // Another of the same name does not write over what is its owner's by now.
    delete(&mut sim.restores.get_mut("back").unwrap().metadata);
    sim.look();
    sim.add_restore("back", "one", "web-root", "copy");
    sim.look();
    let taken = BackupFact::NameTaken {
        volume: "copy".into(),
    };
    assert_eq!(sim.decide_restore("back").found, [Fact::Backup(taken)]);
}

#[test]
fn a_name_in_use_an_unknown_backup_and_an_unknown_volume_are_told() {
    let mut sim = with_backup();
    sim.add_restore("over", "one", "web-root", "web-root");
    let taken = BackupFact::NameTaken {
        volume: "web-root".into(),
    };
    assert_eq!(sim.decide_restore("over").found, [Fact::Backup(taken)]);
    sim.add_restore("none", "other", "web-root", "copy");
    let missing = BackupFact::BackupMissing {
        backup: "other".into(),
    };
    assert_eq!(sim.decide_restore("none").found, [Fact::Backup(missing)]);
    sim.add_restore("part", "one", "web-data", "copy");
    let without = BackupFact::BackupWithoutVolume {
        backup: "one".into(),
        volume: "web-data".into(),
        has: vec!["web-root".into()],
    };
    assert_eq!(sim.decide_restore("part").found, [Fact::Backup(without)]);
    sim.add_restore("small", "one", "web-root", "copy");
    sim.restores.get_mut("small").unwrap().spec.to.size = Some("1Mi".into());
    let small = sim.decide_restore("small").found;
    assert!(matches!(
        small[0],
        Fact::Backup(BackupFact::TooSmall { .. })
    ));
    assert!(!sim.volumes.contains_key("copy"));
}

#[test]
fn a_restore_larger_than_the_quota_waits_and_says_so() {
    let mut sim = with_backup();
    let quota = serde_json::json!({"storage": [{"class": "standard", "size": "1Gi"}]});
    sim.limits = Limits::read(Some(&serde_json::from_value(quota).unwrap()));
    sim.add_restore("back", "one", "web-root", "copy");
    sim.look();
    assert_eq!(state(&sim, "back"), "Pending");
    let found = sim.decide_volume("copy").found;
    assert!(matches!(found[0], Fact::QuotaExceeded { .. }), "{found:?}");
    sim.limits = Limits::default();
    sim.look();
    assert_eq!(state(&sim, "back"), "Done");
}

#[test]
fn a_volume_that_is_deleted_meanwhile_stops_its_restore_for_good() {
    let mut sim = with_backup();
    sim.works(false);
    sim.add_restore("back", "one", "web-root", "copy");
    sim.look();
    sim.set_silent(STORAGE, true);
    delete(&mut sim.volumes.get_mut("copy").unwrap().metadata);
    sim.look();
    let used = sim.decide_volume("copy").found;
    assert!(
        matches!(used[0], Fact::StillUsed { .. }),
        "it may still be written"
    );
    sim.set_silent(STORAGE, false);
    sim.look();
    assert_eq!(state(&sim, "back"), "Stopped");
    assert!(!sim.volumes.contains_key("copy"));
    assert!(sim.ledger.claims.restores.is_empty() && sim.ledger.claims.releases.is_empty());
    sim.works(true);
    sim.look();
    assert!(!sim.volumes.contains_key("copy"), "it is not begun again");
}

#[test]
fn a_restore_that_is_deleted_stops_and_its_volume_stays_nobodys() {
    let mut sim = with_backup();
    sim.works(false);
    sim.add_restore("back", "one", "web-root", "copy");
    sim.look();
    delete(&mut sim.restores.get_mut("back").unwrap().metadata);
    sim.look();
    assert!(sim.restores.is_empty() && sim.ledger.claims.restores.is_empty());
    assert_eq!(contents(&sim, "copy"), Contents::AwaitRestore);
    // Made again under the same name, it is written from the beginning.
    sim.works(true);
    sim.add_restore("back", "one", "web-root", "copy");
    sim.look();
    assert_eq!(contents(&sim, "copy"), Contents::Whole);
}

#[test]
fn a_volume_that_names_a_restore_is_blank_to_its_storage() {
    let mut sim = with_backup();
    sim.works(false);
    sim.add_restore("back", "one", "web-root", "copy");
    sim.look();
    let VolumeSpec { source, .. } = &sim.volumes["copy"].spec;
    assert_eq!(source.restore.as_deref(), Some("back"));
    let held = &sim.hosts[&host(STORAGE)].held;
    let made = held.values().find_map(|item| match &item.body {
        ItemBody::Volume(volume) if item.object.name == "copy" => Some(&volume.source),
        _ => None,
    });
    assert_eq!(made, Some(&dc_types::plan::VolumeSource::Blank));
}
