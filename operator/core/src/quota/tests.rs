use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::*;
use crate::sim::{CLASS, POOL, STORAGE, Sim, delete, disk};

mod properties;
mod published;

fn limits(quota: serde_json::Value) -> Limits {
    let quota: Quota = serde_json::from_value(quota).unwrap();
    Limits::read(Some(&quota))
}

fn storage() -> Thing {
    Thing::Storage(CLASS.into())
}

fn over(sim: &Sim, key: &str) -> Vec<Over> {
    match &sim.plan_of(key).found[..] {
        [Fact::QuotaExceeded { over, .. }] => over.clone(),
        found => panic!("{key}: {found:?}"),
    }
}

#[test]
fn what_is_not_named_is_unlimited_and_nought_allows_none() {
    let some =
        limits(serde_json::json!({"vcpus": 0, "storage": [{"class": "fast", "size": "1Ti"}]}));
    assert_eq!(some.get(&Thing::Vcpus), Some(0));
    assert_eq!(some.get(&Thing::Storage("fast".into())), Some(1 << 40));
    assert_eq!(some.get(&Thing::Memory), None);
    assert!(Limits::read(None).is_empty());
}

#[test]
fn a_machine_beyond_the_quota_makes_no_volume_and_says_what_would_help() {
    let mut sim = Sim::new();
    sim.limits = limits(serde_json::json!({"vcpus": 3, "memory": "8Gi"}));
    sim.add_vm("a");
    sim.add_vm("b");
    sim.look();
    assert_eq!(sim.plan_of("vm a").found, []);
    assert_eq!(
        over(&sim, "vm b"),
        [Over {
            thing: Thing::Vcpus,
            asked: 2,
            used: 2,
            ahead: 0,
            limit: 3
        }]
    );
    assert!(!sim.volumes.contains_key("b-root"));
    let words = sim.plan_of("vm b").found[0].words();
    assert_eq!(words.reason, "QuotaExceeded");
    for says in [
        "vCPUs: 2 asked for, 2 used, limit 3, 1 free",
        "give back 1, or raise spec.quota.vcpus of Department so-nnmt to 4",
    ] {
        assert!(words.en.contains(says), "{}", words.en);
    }
    assert!(words.vi.contains("còn 1"), "{}", words.vi);

    // It goes on by itself as soon as there is room.
    sim.limits = limits(serde_json::json!({"vcpus": 4}));
    sim.look();
    assert_eq!(sim.plan_of("vm b").found, []);
    assert_eq!(sim.used().get(&Thing::Vcpus), 4);
}

#[test]
fn room_that_is_given_back_goes_to_the_oldest_that_waits() {
    let mut sim = Sim::new();
    sim.limits = limits(serde_json::json!({"virtualMachines": 1}));
    // By name the other way round than by age.
    for name in ["d", "c", "b", "a"] {
        sim.add_vm(name);
    }
    sim.look();
    assert_eq!(sim.plan_of("vm d").found, []);
    assert_eq!(over(&sim, "vm a")[0].ahead, 2);
    for (gone, next) in [("d", "c"), ("c", "b"), ("b", "a")] {
        delete(&mut sim.vm(gone).metadata);
        sim.look();
        assert_eq!(sim.plan_of(&format!("vm {next}")).found, [], "{next}");
    }
}

#[test]
fn a_wish_larger_than_the_quota_holds_nobody_up() {
    let mut sim = Sim::new();
    sim.limits = limits(serde_json::json!({"storage": [{"class": CLASS, "size": "10Gi"}]}));
    sim.add_volume("huge", "11Gi");
    sim.add_volume("first", "6Gi");
    sim.add_volume("second", "6Gi");
    sim.add_volume("third", "1Gi");
    sim.look();
    assert_eq!(sim.plan_of("volume first").found, []);
    let huge = sim.plan_of("volume huge").found[0].words().en;
    assert!(
        huge.contains("smallest change: raise spec.quota.storage[standard]"),
        "{huge}"
    );
    // There would be room for the third, and the second would then wait for ever.
    assert_eq!(over(&sim, "volume third")[0].ahead, 6 << 30);
    delete(&mut sim.volumes.get_mut("second").unwrap().metadata);
    sim.look();
    assert_eq!(sim.plan_of("volume third").found, []);
}

#[test]
fn a_group_of_snapshots_is_charged_for_each_volume_and_waits_for_room_for_all_of_it() {
    let mut sim = Sim::new();
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", None));
    sim.look();
    sim.limits = limits(serde_json::json!({"snapshots": 3}));
    for name in ["first", "second", "third"] {
        sim.add_snapshot_of_vm(name, "web");
    }
    sim.look();
    assert_eq!(sim.plan_of("snapshot first").found, []);
    let refused = Over {
        thing: Thing::Snapshots,
        asked: 2,
        used: 2,
        ahead: 0,
        limit: 3,
    };
    assert_eq!(over(&sim, "snapshot second"), [refused]);
    assert_eq!(over(&sim, "snapshot third")[0].ahead, 2);
    assert!(
        sim.ledger.claims.holds.is_empty(),
        "no guest is held for it"
    );
    let words = sim.plan_of("snapshot second").found[0].words();
    for says in ["1 free", "give back 1, or raise spec.quota.snapshots"] {
        assert!(words.en.contains(says), "{}", words.en);
    }
    // While its host has not let go of it, it is charged.
    sim.set_silent(STORAGE, true);
    delete(&mut sim.snapshots.get_mut("first").unwrap().metadata);
    sim.look();
    assert_eq!(sim.used().get(&Thing::Snapshots), 2);
    sim.set_silent(STORAGE, false);
    sim.look();
    assert_eq!(sim.plan_of("snapshot second").found, []);
    assert_eq!(over(&sim, "snapshot third")[0].used, 2);
    // A lower limit takes nothing away.
    sim.limits = limits(serde_json::json!({"snapshots": 0}));
    sim.look();
    assert_eq!(sim.used().get(&Thing::Snapshots), 2);
}

#[test]
fn a_group_that_is_begun_anew_needs_no_more_than_it_holds() {
    let mut sim = Sim::new();
    sim.add_vm("web");
    sim.look();
    sim.limits = limits(serde_json::json!({"snapshots": 1}));
    for host in sim.hosts.values_mut() {
        host.lets_go = true;
    }
    sim.add_snapshot_of_vm("first", "web");
    sim.add_snapshot_of_vm("second", "web");
    sim.look();
    // Each attempt replaced the one before, and none was refused or passed on to the younger.
    assert!(matches!(
        sim.plan_of("snapshot first").found[..],
        [Fact::SnapshotFailed { attempts: 3 }]
    ));
    assert_eq!(sim.used().get(&Thing::Snapshots), 1);
    assert_eq!(over(&sim, "snapshot second")[0].used, 1);
}

#[test]
fn two_machines_never_hold_half_of_what_both_need() {
    let mut sim = Sim::new();
    // Two disks of 1Gi each.
    sim.limits = limits(serde_json::json!({"storage": [{"class": CLASS, "size": "2Gi"}]}));
    for name in ["a", "b"] {
        sim.add_vm(name);
        sim.vm(name).spec.disks.push(disk("data", None));
    }
    sim.look();
    assert_eq!(sim.plan_of("vm a").found, []);
    assert_eq!(over(&sim, "vm b")[0].used, 2 << 30);
    assert_eq!(sim.volumes.len(), 2);
}

#[test]
fn of_wishes_a_moment_old_those_that_were_served_since_hold_nobody_up() {
    let mut sim = Sim::new();
    for name in ["a", "b", "c"] {
        sim.add_volume(name, "1Gi");
    }
    let some = limits(serde_json::json!({"storage": [{"class": CLASS, "size": "3Gi"}]}));
    let old = sim.wishes();
    let asker = Asker {
        uid: old[2].uid,
        machine: None,
    };
    let ahead = |sim: &Sim| wish::ahead(&old, &sim.ledger.claims, asker, &some).get(&storage());
    assert_eq!(ahead(&sim), 2 << 30);
    sim.look();
    assert_eq!(ahead(&sim), 0);
    // Who came since comes last, and a machine's volume with its machine.
    let none = Claims::new(1);
    let of = |uid, machine| wish::ahead(&old, &none, Asker { uid, machine }, &some);
    let new = dc_types::ObjectUid(uuid::Uuid::from_u128(99));
    assert_eq!(of(new, None).get(&storage()), 3 << 30);
    assert_eq!(of(new, Some(old[1].uid)).get(&storage()), 1 << 30);
}

#[test]
fn nobody_goes_before_a_machine_whose_volumes_are_being_made() {
    let mut sim = Sim::new();
    sim.add_vm("a");
    sim.add_vm("b");
    let some = limits(serde_json::json!({"virtualMachines": 1}));
    let mut wishes = sim.wishes();
    let names = |wishes: &[Wish]| -> Vec<String> {
        let names = wishes.iter().map(|wish| wish.name.clone());
        names.collect()
    };
    assert_eq!(names(&wishes), ["a", "b"]);
    let [a, b] = [0, 1].map(|at| Asker {
        uid: wishes[at].uid,
        machine: None,
    });
    let none = Claims::new(1);
    let ahead = |wishes: &[Wish], asker| {
        let ahead = wish::ahead(wishes, &none, asker, &some);
        ahead.get(&Thing::VirtualMachines)
    };
    assert_eq!((ahead(&wishes, a), ahead(&wishes, b)), (0, 1));
    wish::begin(&mut wishes, b.uid);
    assert_eq!(names(&wishes), ["b", "a"]);
    assert_eq!((ahead(&wishes, a), ahead(&wishes, b)), (1, 0));

    // The volumes that are there say the same to whoever did not see them begun.
    sim.add_volume("b-root", "10Gi");
    let volume = sim.volumes.get_mut("b-root").unwrap();
    volume.metadata.owner_references = Some(vec![OwnerReference {
        uid: b.uid.to_string(),
        ..OwnerReference::default()
    }]);
    assert_eq!(names(&sim.wishes()), ["b", "b-root", "a"]);
}

#[test]
fn growth_is_charged_before_it_is_granted_and_stopping_gives_nothing_back() {
    let mut sim = Sim::new();
    sim.limits = limits(serde_json::json!({
        "vcpus": 2, "storage": [{"class": CLASS, "size": "11Gi"}]
    }));
    sim.add_vm("web");
    sim.add_volume("data", "10Gi");
    sim.look();
    sim.volumes.get_mut("data").unwrap().spec.size = "11Gi".into();
    sim.vm("web").spec.power_state = dc_crds::vm::PowerState::Stopped;
    sim.add_vm("next");
    sim.look();
    assert_eq!(over(&sim, "volume data")[0].asked, 1 << 30);
    assert_eq!(sim.used().get(&storage()), 11 << 30);
    assert_eq!(
        over(&sim, "vm next")[0].used,
        2,
        "a stopped machine is charged"
    );
    assert!(
        sim.hosts[&crate::sim::host(STORAGE)].held.len() >= 2,
        "both stay"
    );
}

#[test]
fn a_lower_limit_takes_nothing_away_and_gives_nothing_new() {
    let mut sim = Sim::new();
    sim.add_vm("a");
    sim.add_vm("b");
    sim.look();
    sim.limits = limits(serde_json::json!({"virtualMachines": 1, "subnets": 0}));
    sim.add_subnet("more");
    sim.look();
    assert_eq!(sim.used().get(&Thing::VirtualMachines), 2);
    assert_eq!(
        (
            sim.plan_of("vm a").found.len(),
            sim.plan_of("vm b").found.len()
        ),
        (0, 0)
    );
    assert_eq!(over(&sim, "subnet more")[0].limit, 0);
    let rows = report::rows(&sim.limits, &sim.used(), &Amounts::default());
    let draft = report::within(&rows);
    assert_eq!(draft.words.reason, "OverQuota");
    assert!(
        draft.words.en.contains("machines 2 of 1"),
        "{}",
        draft.words.en
    );
}

#[test]
fn a_volume_whose_pool_is_gone_counts_in_every_class() {
    let mut sim = Sim::new();
    sim.add_volume("data", "3Gi");
    sim.look();
    let mut other = sim.pools.remove(POOL).unwrap();
    other.metadata.name = Some("other".into());
    other.spec.class = "fast".into();
    sim.pools.insert("other".into(), other);
    assert_eq!(sim.used().get(&Thing::Storage("fast".into())), 3 << 30);
}

#[test]
fn without_a_department_nothing_is_charged_to_anybody() {
    let classes = PoolClasses::default();
    let allowance = Allowance {
        department: "so-nnmt",
        limits: None,
        classes: &classes,
        ahead: &|_| Amounts::default(),
    };
    let asks = Amounts::of([(Thing::Subnets, 1)]);
    let asker = Asker {
        uid: dc_types::ObjectUid(uuid::Uuid::from_u128(1)),
        machine: None,
    };
    let refused = allowance.check(&Claims::new(1), asker, &asks).unwrap_err();
    assert_eq!(refused.words().reason, "DepartmentMissing");
}

#[test]
fn a_line_says_used_reserved_limit_and_free() {
    let some = limits(serde_json::json!({"memory": "10Gi"}));
    let used = Amounts::of([(Thing::Memory, 6 << 30), (Thing::Vcpus, 3)]);
    let reserved = Amounts::of([(Thing::Memory, 1 << 30)]);
    let rows = report::rows(&some, &used, &reserved);
    let lines: Vec<_> = rows.iter().map(report::line).collect();
    let memory = lines.iter().find(|line| line.resource == "memory").unwrap();
    assert_eq!(
        (memory.used.as_str(), memory.reserved.as_str()),
        ("6Gi", "1Gi")
    );
    assert_eq!(
        (memory.limit.as_deref(), memory.free.as_deref()),
        (Some("10Gi"), Some("3Gi"))
    );
    let vcpus = lines.iter().find(|line| line.resource == "vcpus").unwrap();
    assert_eq!((vcpus.used.as_str(), &vcpus.limit), ("3", &None));
    assert_eq!(report::column(&rows, |t| *t == Thing::Memory), "6Gi/10Gi");
}
