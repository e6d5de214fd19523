use dc_crds::RESTORED_BY;
use dc_crds::machine_restore::{SubnetInstead, VolumeInstead};
use dc_crds::restore::RepositorySnapshot;
use dc_crds::vm::PowerState;
use dc_types::claim::Contents;

use crate::plan::Plan;
use crate::quota::Limits;
use crate::sim::{POOL, REPOSITORY, STORAGE, Sim, copy_of, delete, disk, same};
use crate::words::{Fact, MachineRestoreFact};

/// A machine `web` of two disks, with a backup `one`.
fn with_backup() -> Sim {
    let mut sim = Sim::new();
    sim.add_volume("data", "2Gi");
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    sim.add_backup("one", "web");
    sim.look();
    assert!(
        sim.backups["one"]
            .status
            .clone()
            .unwrap()
            .snapshot_id
            .is_some()
    );
    sim
}

/// The same, and the machine is gone with its volumes.
fn lost() -> Sim {
    let mut sim = with_backup();
    delete(&mut sim.vm("web").metadata);
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    assert!(
        sim.vms.is_empty() && sim.volumes.is_empty(),
        "{:?}",
        sim.plans
    );
    sim
}

fn state(sim: &Sim, name: &str) -> String {
    let status = sim.machine_restores[name].status.clone();
    status.unwrap_or_default().state
}

fn facts(sim: &Sim, name: &str) -> Vec<MachineRestoreFact> {
    let found = sim.decide_machine_restore(name).found.into_iter();
    let facts = found.map(|fact| match fact {
        Fact::MachineRestore(fact) => fact,
        other => panic!("{other:?}"),
    });
    facts.collect()
}

fn nothing_was_made(sim: &Sim) {
    assert!(sim.restores.is_empty(), "{:?}", sim.restores.keys());
    assert!(sim.ledger.claims.restores.is_empty());
}

#[test]
fn a_copy_stands_beside_the_machine_with_all_its_volumes_and_nothing_that_is_its_own() {
    let mut sim = with_backup();
    let before = sim.vms["web"].clone();
    sim.works(false);
    sim.add_machine_restore("again", copy_of("one", "web-2"));
    sim.works(true);
    sim.look();
    assert_eq!(state(&sim, "again"), "Done");
    let status = sim.machine_restores["again"].status.clone().unwrap();
    assert_eq!(status.machine.as_deref(), Some("web-2"));
    assert_eq!(status.progress.as_deref(), Some("2 of 2"));
    let built = sim.vms["web-2"].clone();
    assert_eq!(status.instance_id, built.metadata.uid);
    assert_eq!(built.spec.power_state, PowerState::Stopped);
    let disks: Vec<_> = built
        .spec
        .disks
        .iter()
        .map(|disk| disk.volume.clone().unwrap())
        .collect();
    assert_eq!(disks, ["web-2-root", "web-2-data"]);
    assert_eq!(sim.volumes["web-2-data"].spec.size, "2Gi");
    let card = &built.spec.interfaces[0];
    assert_eq!((card.mac.clone(), card.ipv4, card.ipv6), (None, None, None));
    assert_eq!(
        sim.vms["web"].spec, before.spec,
        "the machine is not touched"
    );
    let macs = |sim: &Sim| -> Vec<_> {
        let vms = sim.ledger.claims.vms.values();
        vms.map(|vm| vm.value.cards[0].mac).collect()
    };
    let macs = macs(&sim);
    assert!(macs.len() == 2 && macs[0] != macs[1]);
    // Nothing is left to do or to be forgotten.
    assert_eq!(sim.decide_machine_restore("again"), Plan::default());
    assert!(sim.ledger.claims.manifests.is_empty() && sim.ledger.claims.releases.is_empty());
    // What was built outlives the order.
    delete(&mut sim.machine_restores.get_mut("again").unwrap().metadata);
    sim.look();
    assert!(sim.machine_restores.is_empty() && sim.restores.is_empty());
    assert!(sim.vms.contains_key("web-2") && sim.volumes.contains_key("web-2-root"));
}

#[test]
fn the_machine_itself_comes_back_under_its_name_with_its_mac_and_addresses() {
    let mut sim = with_backup();
    let held = sim.given("one").held.unwrap();
    delete(&mut sim.vm("web").metadata);
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    sim.add_machine_restore("again", same("one"));
    sim.look();
    assert_eq!(state(&sim, "again"), "Done", "{:?}", facts(&sim, "again"));
    let mut claims = sim.ledger.claims.vms.values();
    let claim = claims.next().unwrap();
    assert_eq!(claim.value.owner.name, "web");
    assert_eq!(claim.value.cards, held.cards);
    let names: Vec<_> = sim.volumes.keys().cloned().collect();
    assert_eq!(names, ["data", "web-root"], "as they were called");
    assert_eq!(sim.vms["web"].spec.power_state, PowerState::Running);
    let by = sim.vms["web"].metadata.annotations.clone().unwrap();
    assert_eq!(
        by.get(RESTORED_BY),
        sim.machine_restores["again"].metadata.uid.as_ref()
    );
}

#[test]
fn there_is_one_of_a_machine_and_no_name_is_taken_from_anybody() {
    let mut sim = with_backup();
    sim.add_machine_restore("twin", same("one"));
    sim.look();
    let remains = MachineRestoreFact::MachineRemains {
        machine: "web".into(),
    };
    assert_eq!(facts(&sim, "twin")[0], remains);
    sim.add_machine_restore("over", copy_of("one", "web"));
    sim.look();
    let taken = MachineRestoreFact::MachineTaken {
        machine: "web".into(),
    };
    assert_eq!(facts(&sim, "over")[0], taken);
    sim.add_volume("web-2-data", "1Gi");
    sim.add_machine_restore("again", copy_of("one", "web-2"));
    sim.look();
    let taken = MachineRestoreFact::VolumeTaken {
        was: "data".into(),
        volume: "web-2-data".into(),
    };
    assert_eq!(facts(&sim, "again"), [taken]);
    nothing_was_made(&sim);
    assert_eq!(sim.volumes["web-2-data"].spec.source.restore, None);
    // Another name of that one volume.
    let mut spec = copy_of("one", "web-2");
    spec.volumes.push(VolumeInstead {
        was: "data".into(),
        name: Some("old-data".into()),
        pool: None,
    });
    sim.add_machine_restore("named", spec);
    sim.look();
    assert_eq!(state(&sim, "named"), "Done");
    assert!(sim.volumes.contains_key("old-data") && sim.volumes.contains_key("web-2-root"));
}

#[test]
fn an_address_that_is_anothers_by_now_is_named_before_anything_is_made() {
    let mut sim = lost();
    let held = sim.given("one").held.unwrap();
    sim.add_vm("newcomer");
    sim.vm("newcomer").spec.interfaces[0].ipv4 = held.cards[0].v4;
    sim.look();
    sim.add_machine_restore("again", same("one"));
    sim.look();
    // The first free one was v6's too.
    let (v4, v6) = (held.cards[0].v4.unwrap(), held.cards[0].v6.unwrap());
    let taken = [v4.to_string(), v6.to_string()].map(|what| MachineRestoreFact::AddressTaken {
        what,
        by: Some("newcomer".into()),
    });
    assert_eq!(facts(&sim, "again"), taken);
    nothing_was_made(&sim);
    // In another subnet it keeps its MAC alone.
    sim.add_subnet("other");
    let mut spec = same("one");
    spec.subnets.push(SubnetInstead {
        was: "web".into(),
        subnet: "other".into(),
    });
    sim.add_machine_restore("elsewhere", spec);
    sim.look();
    assert_eq!(state(&sim, "elsewhere"), "Done");
    let card = &sim.vms["web"].spec.interfaces[0];
    assert_eq!((card.subnet.as_str(), card.ipv4), ("other", None));
    assert_eq!(card.mac, Some(held.cards[0].mac.to_string()));
}

#[test]
fn what_the_machine_needs_and_is_gone_is_named_with_the_field_that_names_another() {
    let mut sim = with_backup();
    let class = sim.classes.remove("small").unwrap();
    sim.add_machine_restore("again", copy_of("one", "web-2"));
    sim.look();
    let gone = |what, name: &str, field| MachineRestoreFact::NoLonger {
        what,
        name: name.into(),
        field,
    };
    assert_eq!(
        facts(&sim, "again"),
        [gone("MachineClass", "small", "class")]
    );
    let mut spec = copy_of("one", "web-3");
    spec.system = Some("gone".into());
    spec.subnets.push(SubnetInstead {
        was: "web".into(),
        subnet: "none".into(),
    });
    spec.volumes.push(VolumeInstead {
        was: "data".into(),
        name: None,
        pool: Some("tape".into()),
    });
    sim.add_machine_restore("all", spec);
    sim.look();
    let all = [
        gone("InformationSystem", "gone", "system"),
        gone("MachineClass", "small", "class"),
        gone("StoragePool", "tape", "pool"),
        gone("Subnet", "none", "subnets"),
    ];
    assert_eq!(facts(&sim, "all"), all);
    nothing_was_made(&sim);
    // Another class does, and the first goes on by itself once its own is there again.
    sim.classes.insert("large".into(), class.clone());
    let mut spec = copy_of("one", "web-4");
    spec.class = Some("large".into());
    sim.add_machine_restore("other", spec);
    sim.look();
    assert_eq!(state(&sim, "other"), "Done");
    assert_eq!(state(&sim, "again"), "Pending");
    sim.classes.insert("small".into(), class);
    sim.look();
    assert_eq!(state(&sim, "again"), "Done");
}

#[test]
fn what_is_changed_and_was_not_there_is_refused() {
    let mut sim = with_backup();
    let mut spec = copy_of("one", "web-2");
    spec.volumes.push(VolumeInstead {
        was: "logs".into(),
        name: None,
        pool: None,
    });
    spec.subnets.push(SubnetInstead {
        was: "lan".into(),
        subnet: "web".into(),
    });
    sim.add_machine_restore("again", spec);
    sim.look();
    let facts = facts(&sim, "again");
    let fields: Vec<_> = facts
        .iter()
        .map(|fact| match fact {
            MachineRestoreFact::NotInBackup { field, name, has } => {
                (*field, name.as_str(), has.len())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        fields,
        [("volumes.was", "logs", 2), ("subnets.was", "lan", 1)]
    );
    let mut spec = copy_of("one", "web-2");
    for was in ["web-root", "data"] {
        spec.volumes.push(VolumeInstead {
            was: was.into(),
            name: Some("both".into()),
            pool: None,
        });
    }
    sim.add_machine_restore("twice", spec);
    sim.look();
    let twice = MachineRestoreFact::VolumeTwice {
        volume: "both".into(),
    };
    assert_eq!(self::facts(&sim, "twice"), [twice]);
    nothing_was_made(&sim);
}

#[test]
fn a_machine_larger_than_the_quota_is_refused_as_a_whole() {
    let mut sim = with_backup();
    // Room for one of its volumes, not for both.
    let used = sim.used();
    let storage = crate::quota::Thing::Storage(crate::sim::CLASS.into());
    let limit = (used.get(&storage) >> 30) + 2;
    let quota = serde_json::json!({"storage": [{"class": crate::sim::CLASS, "size": format!("{limit}Gi")}]});
    sim.limits = Limits::read(Some(&serde_json::from_value(quota).unwrap()));
    sim.add_machine_restore("again", copy_of("one", "web-2"));
    sim.look();
    let found = sim.decide_machine_restore("again").found;
    assert!(matches!(found[0], Fact::QuotaExceeded { .. }), "{found:?}");
    nothing_was_made(&sim);
    sim.limits = Limits::default();
    sim.look();
    assert_eq!(state(&sim, "again"), "Done");
}

#[test]
fn what_does_not_read_and_what_is_another_departments_is_refused() {
    let mut sim = with_backup();
    let text = sim.manifest("one").replace("so-nnmt", "so-y-te");
    *sim.manifest("one") = text;
    sim.add_machine_restore("again", copy_of("one", "web-2"));
    sim.look();
    assert_eq!(facts(&sim, "again"), [MachineRestoreFact::OfAnother]);
    *sim.manifest("one") = r#"{"department":"so-nnmt","volumes":[]}"#.into();
    sim.reads_again();
    sim.look();
    let found = facts(&sim, "again");
    assert!(
        matches!(&found[..], [MachineRestoreFact::ManifestBroken { error }] if error.contains("virtualMachine")),
        "{found:?}"
    );
    nothing_was_made(&sim);
}

#[test]
fn no_machine_is_made_before_all_of_its_volumes_are_whole() {
    let mut sim = with_backup();
    sim.add_machine_restore("again", copy_of("one", "web-2"));
    sim.works(false);
    sim.look();
    assert_eq!(state(&sim, "again"), "Writing");
    assert!(!sim.vms.contains_key("web-2"));
    let contents: Vec<_> = sim
        .ledger
        .claims
        .volumes
        .values()
        .filter(|claim| claim.value.owner.name.starts_with("web-2"))
        .map(|claim| claim.value.contents)
        .collect();
    assert_eq!(contents, [Contents::AwaitRestore, Contents::AwaitRestore]);
    let Fact::MachineRestore(MachineRestoreFact::Writing { done, of, says }) =
        &sim.decide_machine_restore("again").found[0]
    else {
        panic!("{:?}", sim.decide_machine_restore("again").found);
    };
    assert_eq!((*done, *of), (0, 2));
    assert!(
        says.as_ref()
            .is_some_and(|says| says.contains("web-2-root")),
        "{says:?}"
    );
    // Whoever leads, it is the same.
    sim.boards.clear();
    sim.loses_statuses = true;
    sim.works(true);
    sim.look();
    sim.loses_statuses = false;
    sim.look();
    assert_eq!(state(&sim, "again"), "Done");
    let made = sim.vms.keys().filter(|name| *name != "web").count();
    assert_eq!(made, 1);
}

#[test]
fn nothing_is_made_before_its_volumes_are_written_down() {
    let mut sim = with_backup();
    sim.loses_statuses = true;
    sim.add_machine_restore("again", copy_of("one", "web-2"));
    sim.look();
    nothing_was_made(&sim);
    sim.loses_statuses = false;
    sim.look();
    assert_eq!(state(&sim, "again"), "Done");
}

#[test]
fn a_volume_that_is_deleted_meanwhile_stops_it_for_good_and_what_is_done_is_never_done_again() {
    let mut sim = with_backup();
    sim.works(false);
    sim.add_machine_restore("again", copy_of("one", "web-2"));
    sim.look();
    delete(&mut sim.volumes.get_mut("web-2-data").unwrap().metadata);
    sim.look();
    assert_eq!(state(&sim, "again"), "Stopped");
    let status = sim.machine_restores["again"].status.clone().unwrap();
    assert!(
        status.conditions[0].message.contains("web-2-data"),
        "{status:?}"
    );
    sim.works(true);
    sim.look();
    assert!(!sim.vms.contains_key("web-2"));
    assert!(sim.ledger.claims.manifests.is_empty());
    // The words stay as they were.
    assert_eq!(
        sim.machine_restores["again"]
            .status
            .clone()
            .unwrap()
            .conditions,
        status.conditions
    );

    let mut sim = with_backup();
    sim.add_machine_restore("again", copy_of("one", "web-2"));
    sim.look();
    delete(&mut sim.vm("web-2").metadata);
    sim.look();
    assert_eq!(
        (state(&sim, "again").as_str(), sim.vms.contains_key("web-2")),
        ("Done", false)
    );
}

#[test]
fn an_order_that_is_deleted_stops_its_restores_and_leaves_nothing_claimed() {
    let mut sim = with_backup();
    sim.works(false);
    sim.add_machine_restore("again", copy_of("one", "web-2"));
    sim.look();
    delete(&mut sim.machine_restores.get_mut("again").unwrap().metadata);
    sim.look();
    assert!(sim.machine_restores.is_empty() && sim.restores.is_empty());
    let claims = &sim.ledger.claims;
    assert!(claims.manifests.is_empty() && claims.restores.is_empty());
    assert!(!sim.vms.contains_key("web-2"));
    // What is half written is nobody's.
    let mut halves = claims.volumes.values();
    assert!(halves.any(|claim| claim.value.contents == Contents::AwaitRestore));
}

#[test]
fn it_comes_back_without_any_record_by_what_the_repository_has() {
    let mut sim = lost();
    let id = sim.backups["one"]
        .status
        .clone()
        .unwrap()
        .snapshot_id
        .unwrap();
    sim.backups.clear();
    let mut spec = same("one");
    spec.backup = None;
    spec.snapshot = Some(RepositorySnapshot {
        repository: REPOSITORY.into(),
        id,
    });
    spec.pool = Some(POOL.into());
    sim.add_machine_restore("again", spec);
    sim.look();
    assert_eq!(state(&sim, "again"), "Done");
    assert!(sim.vms.contains_key("web"));
}

#[test]
fn a_host_that_is_silent_is_waited_for_and_named() {
    let mut sim = with_backup();
    sim.set_silent(STORAGE, true);
    sim.add_machine_restore("again", copy_of("one", "web-2"));
    sim.look();
    let found = sim.decide_machine_restore("again").found;
    let silent = Fact::HostSilent {
        host: STORAGE.into(),
    };
    assert_eq!(found, [silent]);
    sim.set_silent(STORAGE, false);
    sim.look();
    assert_eq!(state(&sim, "again"), "Done");
}
