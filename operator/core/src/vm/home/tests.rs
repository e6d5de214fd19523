use dc_crds::VirtualMachine;
use dc_types::plan::{DiskSource, GrantAccess, GrantItem, ItemBody};
use dc_types::report::{PoolPlace, Verb};
use proptest::prelude::*;

use super::*;
use crate::conditions::Judged;
use crate::sim::{POOL, STORAGE, Sim, delete, disk, host};
use crate::vm::{grant_key, key};
use crate::volume;
use crate::words::{HomeFact, Standing};

/// Two hosts with a folder each, beside the SAN.
fn centre() -> Sim {
    let mut sim = Sim::new();
    sim.add_directory_pool("local-1", "h1");
    sim.add_directory_pool("local-2", "h2");
    sim
}

/// A machine whose root is made in a pool.
fn add_in<'a>(sim: &'a mut Sim, name: &str, pool: &str) -> &'a mut VirtualMachine {
    sim.add_vm(name);
    let vm = sim.vm(name);
    vm.spec.disks[0].template.as_mut().unwrap().pool = pool.into();
    vm
}

fn add_volume_in(sim: &mut Sim, name: &str, pool: &str) {
    sim.add_volume(name, "1Gi");
    sim.volumes.get_mut(name).unwrap().spec.pool = pool.into();
}

fn found(sim: &Sim, name: &str) -> Vec<Fact> {
    sim.decide(name).found
}

fn host_of(sim: &Sim, name: &str) -> Option<HostName> {
    let claim = sim.ledger.claims.vms.get(&id(&sim.me(name)))?;
    Some(claim.value.host.clone())
}

fn conditions(sim: &Sim, name: &str) -> Vec<(String, String)> {
    let me = sim.me(name);
    let status = sim.with_seen(&sim.vms[name], &me, |seen| {
        let judged = Judged {
            generation: 1,
            now: "t",
        };
        crate::vm::status(seen, &crate::vm::plan(seen), &judged)
    });
    let conditions = status.conditions.into_iter();
    conditions.map(|c| (c.reason, c.message)).collect()
}

#[test]
fn a_machine_goes_where_its_folder_is_and_opens_its_file_under_the_grant() {
    for (pool, on) in [("local-1", "h1"), ("local-2", "h2")] {
        let mut sim = centre();
        add_in(&mut sim, "web", pool);
        sim.look();
        assert_eq!(found(&sim, "web"), []);
        assert_eq!(host_of(&sim, "web"), Some(host(on)));
        let me = sim.me("web");
        let volume = sim.ledger.claims.vms[&id(&me)].value.volumes[0];
        let held = &sim.hosts[&host(on)].held;
        let granted = &held[&grant_key(volume)];
        let ItemBody::Grant(grant) = &granted.body else {
            panic!("{granted:?}");
        };
        assert_eq!(grant.access, GrantAccess::File { local: host(on) });
        let ItemBody::Vm(item) = &held[&key(&me)].body else {
            panic!("{held:?}");
        };
        let file = GrantItem::file_name(volume, granted.epoch);
        let path = format!("/srv/{pool}/{file}");
        assert_eq!(item.disks[0].source, DiskSource::File { path });
        let placed = &conditions(&sim, "web")[1];
        assert_eq!(placed.0, "Placed");
        assert!(
            placed
                .1
                .contains(&format!("which alone can open pool {pool}"))
        );
    }
}

#[test]
fn when_the_folders_host_is_full_each_host_says_why_and_it_goes_on_when_there_is_room() {
    let mut sim = centre();
    for name in ["a", "b", "c", "d"] {
        add_in(&mut sim, name, "local-1");
    }
    sim.look();
    add_in(&mut sim, "late", "local-1");
    sim.look();
    let facts = found(&sim, "late");
    let [Fact::NoCapacity { help, hosts, .. }] = &facts[..] else {
        panic!("{facts:?}");
    };
    assert_eq!(
        hosts,
        "h1: memory (need 1 GiB, have 0 B); h2: host of the pool (need h1, which has pool \
         local-1, have h2)"
    );
    assert_eq!(
        help.en,
        "h1 needs 1 GiB more free memory; or have volume late-root in a pool that every host \
         reaches, not in local-1"
    );
    assert!(help.vi.contains("đặt volume late-root"), "{}", help.vi);
    delete(&mut sim.vm("a").metadata);
    sim.look();
    assert_eq!(host_of(&sim, "late"), Some(host("h1")));
}

#[test]
fn volumes_in_folders_of_two_hosts_are_refused_before_any_is_made() {
    let mut sim = centre();
    add_volume_in(&mut sim, "data", "local-2");
    let vm = add_in(&mut sim, "web", "local-1");
    vm.spec.disks.push(disk("data", Some("data")));
    sim.look();
    let facts = found(&sim, "web");
    let [apart @ Fact::Home(HomeFact::PoolsApart { .. })] = &facts[..] else {
        panic!("{facts:?}");
    };
    let words = apart.words();
    assert_eq!(words.standing, Standing::Troubled);
    for text in [&words.en, &words.vi] {
        assert!(text.contains("local-1") && text.contains("h1"), "{text}");
        assert!(text.contains("local-2") && text.contains("h2"), "{text}");
    }
    assert!(!sim.volumes.contains_key("web-root") && host_of(&sim, "web").is_none());
    // Both in one folder: it goes on.
    sim.vm("web").spec.disks[0].template.as_mut().unwrap().pool = "local-2".into();
    sim.look();
    assert_eq!(host_of(&sim, "web"), Some(host("h2")));
}

#[test]
fn a_disk_of_another_hosts_folder_is_refused_to_a_machine_that_goes_on_as_it_was() {
    let mut sim = centre();
    add_volume_in(&mut sim, "data", "local-2");
    add_in(&mut sim, "web", "local-1");
    sim.look();
    let before = sim.hosts[&host("h1")].held.clone();
    let data = disk("data", Some("data"));
    sim.vm("web").spec.disks.push(data);
    sim.look();
    let facts = found(&sim, "web");
    let [Fact::Home(HomeFact::DiskElsewhere { lies, vm_host })] = &facts[..] else {
        panic!("{facts:?}");
    };
    assert_eq!((lies.disk.as_str(), lies.host.as_str()), ("data", "h2"));
    assert_eq!(vm_host, "h1");
    assert_eq!(sim.hosts[&host("h1")].held, before);
    assert_eq!(sim.ledger.claims.attachments.len(), 1);
    sim.vm("web").spec.disks.pop();
    sim.look();
    assert_eq!(found(&sim, "web"), []);
}

#[test]
fn a_folder_and_the_san_go_together_and_the_folder_says_where() {
    let mut sim = centre();
    add_volume_in(&mut sim, "data", "local-2");
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    assert_eq!(found(&sim, "web"), []);
    assert_eq!(host_of(&sim, "web"), Some(host("h2")));
    let root = sim.volumes["web-root"].spec.pool.clone();
    assert_eq!(root, POOL);
}

#[test]
fn a_spread_group_does_not_take_a_machine_away_from_its_folder_and_that_is_said() {
    let mut sim = centre();
    for name in ["a", "b"] {
        add_in(&mut sim, name, "local-1").spec.spread_group = Some("web".into());
    }
    sim.look();
    for name in ["a", "b"] {
        assert_eq!(host_of(&sim, name), Some(host("h1")));
        let said = &conditions(&sim, name)[1].1;
        assert!(said.contains("spread group web"), "{said}");
        assert!(said.contains("nhóm phân tán web"), "{said}");
    }
}

/// While it is silent nobody gets its machine or its volume, and both languages say why.
#[test]
fn a_silent_host_keeps_what_lies_in_its_folder() {
    let mut sim = centre();
    add_in(&mut sim, "web", "local-1");
    sim.look();
    let volume = sim.ledger.claims.vms[&id(&sim.me("web"))].value.volumes[0];
    sim.set_silent("h1", true);
    sim.look();
    let facts = found(&sim, "web");
    let Some(Fact::Home(HomeFact::HomeSilent { deleting, .. })) = facts.first() else {
        panic!("{facts:?}");
    };
    assert!(!deleting);
    let ready = &conditions(&sim, "web")[0];
    assert_eq!(ready.0, "HostSilent");
    assert!(ready.1.contains("cannot be started elsewhere"), "{ready:?}");
    assert!(ready.1.contains("Không thể khởi động ở nơi khác"));

    delete(&mut sim.vm("web").metadata);
    sim.add_vm("thief");
    let root = disk("root", Some("web-root"));
    sim.vm("thief").spec.disks = vec![root];
    sim.look();
    let facts = found(&sim, "web");
    let [Fact::Home(HomeFact::HomeSilent { deleting: true, .. })] = &facts[..] else {
        panic!("{facts:?}");
    };
    let facts = found(&sim, "thief");
    assert!(
        matches!(&facts[..], [Fact::VolumeInUse { .. }]),
        "{facts:?}"
    );
    let attached = &sim.ledger.claims.attachments[&volume].value;
    assert_eq!(attached.vm, id(&sim.me("web")));

    sim.vms.remove("thief");
    sim.set_silent("h1", false);
    sim.look();
    assert!(sim.vms.is_empty() && sim.volumes.is_empty());
    assert!(sim.hosts[&host("h1")].held.is_empty());
}

/// A pool that nothing is known of, as after a restart of everything with its object gone.
#[test]
fn a_machine_is_not_placed_before_it_is_known_whether_its_pool_is_a_folder() {
    let mut sim = centre();
    add_volume_in(&mut sim, "data", "local-2");
    sim.look();
    let pool = sim.pools.remove("local-2").unwrap();
    sim.add_vm("web");
    sim.vm("web").spec.disks = vec![disk("data", Some("data"))];
    let me = sim.me("web");
    let data = &sim.volumes["data"];
    let seen = sim.with_seen(&sim.vms["web"], &me, |seen| {
        let disks = [DiskSeen {
            volume: Some(data),
            reach: Reach::Unknown,
            way: None,
            ..seen.disks[0].clone()
        }];
        let seen = Seen {
            disks: &disks,
            ..*seen
        };
        crate::vm::plan(&seen)
    });
    assert_eq!(seen.txn, None);
    let waits = Fact::GrantsPending {
        waiting: vec!["data".into()],
    };
    assert_eq!(seen.found, [waits]);
    // What its host says is enough.
    sim.look();
    assert_eq!(host_of(&sim, "web"), Some(host("h2")));
    sim.pools.insert("local-2".into(), pool);
    sim.look();
    assert_eq!(found(&sim, "web"), []);
}

#[test]
fn a_pool_that_is_served_otherwise_than_its_object_says_takes_no_volume() {
    let mut sim = centre();
    sim.serve_as("local-1", PoolPlace::Iscsi);
    add_in(&mut sim, "web", "local-1");
    sim.look();
    let plan = sim.decide_volume("web-root");
    let [Fact::Home(HomeFact::PoolServedOtherwise { driver, served, .. })] = &plan.found[..] else {
        panic!("{plan:?}");
    };
    assert_eq!((*driver, *served), ("directory", "iscsi"));
    assert!(sim.ledger.claims.volumes.is_empty());

    let mut sim = centre();
    let folder = PoolPlace::Directory {
        folder: "/srv/san".into(),
    };
    sim.serve_as(POOL, folder);
    sim.add_vm("web");
    sim.look();
    assert!(sim.ledger.claims.volumes.is_empty() && host_of(&sim, "web").is_none());
}

#[test]
fn snapshots_and_clones_stay_in_the_folder_and_are_refused_where_it_lacks_them() {
    let mut sim = centre();
    add_in(&mut sim, "web", "local-1");
    sim.look();
    sim.add_snapshot_of_vm("before", "web");
    add_volume_in(&mut sim, "copy", "local-1");
    sim.volumes.get_mut("copy").unwrap().spec.source.volume = Some("web-root".into());
    sim.look();
    let me = object::object_ref(&sim.snapshots["before"].metadata).unwrap();
    let taken = sim.ledger.claims.snapshots_by(me.uid).next().unwrap();
    assert_eq!(taken.value.host, host("h1"));
    assert_eq!(sim.boards_held(taken), 1);
    assert_eq!(sim.decide_volume("copy").found, []);
    let copy = object::object_ref(&sim.volumes["copy"].metadata).unwrap();
    let claim = &sim.ledger.claims.volumes[&volume::id(&copy)].value;
    assert_eq!(claim.host, host("h1"));

    sim.lack(
        "local-1",
        Verb::Snapshot,
        "its file system shares no blocks",
    );
    sim.add_snapshot_of_vm("after", "web");
    sim.look();
    let plan = sim.decide_snapshot("after");
    let [Fact::PoolLacks { pool, why, .. }] = &plan.found[..] else {
        panic!("{plan:?}");
    };
    assert_eq!(pool, "local-1");
    assert_eq!(why, "its file system shares no blocks");
}

#[test]
fn the_machine_that_comes_next_waits_until_the_one_before_has_let_go() {
    let mut sim = centre();
    add_volume_in(&mut sim, "data", "local-1");
    let with_data = |sim: &mut Sim, name: &str| {
        sim.add_vm(name);
        sim.vm(name).spec.disks = vec![disk("data", Some("data"))];
    };
    with_data(&mut sim, "old");
    sim.look();
    let volume = sim.ledger.claims.vms[&id(&sim.me("old"))].value.volumes[0];
    let before = sim.ledger.claims.attachments[&volume].epoch;
    with_data(&mut sim, "new");
    sim.set_silent(STORAGE, true);
    sim.look();
    assert!(host_of(&sim, "new").is_none());
    delete(&mut sim.vm("old").metadata);
    sim.look();
    assert_eq!(host_of(&sim, "new"), Some(host("h1")));
    assert!(sim.ledger.claims.attachments[&volume].epoch > before);
}

fn any_pools() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0usize..3, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever the disks' pools are and whichever order they come in.
    #[test]
    fn a_machine_runs_where_all_its_disks_can_be_opened_or_says_that_no_host_can(pools in any_pools()) {
        const POOLS: [&str; 3] = [POOL, "local-1", "local-2"];
        let mut sim = centre();
        sim.add_vm("web");
        for (n, pool) in pools.iter().enumerate() {
            add_volume_in(&mut sim, &format!("data{n}"), POOLS[*pool]);
            let disk = disk(&format!("data{n}"), Some(&format!("data{n}")));
            sim.vm("web").spec.disks.push(disk);
        }
        sim.look();
        let on = host_of(&sim, "web");
        match (pools.contains(&1), pools.contains(&2)) {
            (true, true) => {
                prop_assert_eq!(on, None);
                let apart = matches!(found(&sim, "web")[..], [Fact::Home(HomeFact::PoolsApart { .. })]);
                prop_assert!(apart);
            }
            (true, false) => prop_assert_eq!(on, Some(host("h1"))),
            (false, true) => prop_assert_eq!(on, Some(host("h2"))),
            (false, false) => prop_assert!(on.is_some()),
        }
    }
}
