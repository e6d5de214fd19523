//! A volume goes to another pool under its running machine, and whatever happens meanwhile.

use dc_crds::ConditionStatus;
use dc_crds::condition::types;
use dc_crds::vm::PowerState;
use dc_crds::volume::{EraseMethod, Reclaim, RestoreSpec, VolumeStatus};
use dc_types::claim::{MovePhase, VolumeClaim};
use dc_types::plan::{ItemKind, MirrorOrder};

use super::*;
use crate::conditions::{Judged, find};
use crate::quota::{Limits, Thing};
use crate::sim::{CLASS, NAMESPACE};
use crate::words::MoveFact;

const OTHER: &str = "san-2";
const OTHER_HOST: &str = "s2";

/// A machine that runs, with a volume "data" of 2 GiB in the first pool; there is another pool.
fn running() -> Sim {
    let mut sim = Sim::new();
    sim.add_san(OTHER, OTHER_HOST);
    sim.add_volume("data", "2Gi");
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    assert_eq!(sim.plan_of("vm web").found, []);
    sim
}

fn set_pool(sim: &mut Sim, pool: &str) {
    sim.volumes.get_mut("data").unwrap().spec.pool = pool.into();
}

fn moving() -> Sim {
    let mut sim = running();
    set_pool(&mut sim, OTHER);
    sim
}

fn claim(sim: &Sim) -> VolumeClaim {
    let me = me(sim, "data");
    sim.ledger.claims.volumes[&id(&me)].value.clone()
}

fn phase(sim: &Sim) -> Option<MovePhase> {
    let second = sim.ledger.claims.moves.values().next()?;
    Some(second.value.phase)
}

fn until(sim: &mut Sim, wanted: MovePhase) {
    while phase(sim) != Some(wanted) {
        assert!(sim.step(), "it rests in {:?}", phase(sim));
    }
}

fn told(sim: &Sim) -> VolumeStatus {
    let judged = Judged {
        generation: 1,
        now: "2026-01-01T00:00:00Z",
    };
    sim.with_volume_seen("data", |seen| status(seen, &plan(seen), &judged))
}

/// The reason of Moving, and whether it does.
fn reason(sim: &Sim) -> Option<(ConditionStatus, String)> {
    let status = told(sim);
    let moving = find(&status.conditions, types::MOVING)?;
    assert!(moving.message.contains(" · "), "{}", moving.message);
    Some((moving.status, moving.reason.clone()))
}

fn refused(sim: &Sim) -> String {
    let (status, reason) = reason(sim).expect("it is asked for");
    assert_eq!(status, ConditionStatus::False);
    assert_eq!(phase(sim), None, "nothing is taken for it");
    reason
}

fn held(sim: &Sim, on: &str, kind: ItemKind) -> usize {
    let held = sim.hosts[&host(on)].held.keys();
    held.filter(|key| key.kind == kind).count()
}

/// It is wholly in one pool, nothing is left in the other, and the machine runs by it.
fn lies_in(sim: &Sim, pool: &str) {
    assert_eq!(claim(sim).pool.as_str(), pool);
    let claims = &sim.ledger.claims;
    assert!(claims.moves.is_empty() && claims.erased.is_empty());
    assert!(claims.releases.is_empty());
    let (there, other) = match pool {
        OTHER => (OTHER_HOST, STORAGE),
        _ => (STORAGE, OTHER_HOST),
    };
    // The root disk is in the first pool.
    let root = usize::from(there == STORAGE);
    assert_eq!(held(sim, there, ItemKind::Volume), 1 + root);
    assert_eq!(held(sim, other, ItemKind::Volume), 1 - root);
    if sim.vms.contains_key("web") {
        assert_eq!(held(sim, there, ItemKind::Grant), 1 + root);
        assert_eq!(held(sim, other, ItemKind::Grant), 1 - root);
    }
    assert_eq!(reason(sim), None);
    let plan = sim.decide_volume("data");
    assert_eq!((plan.txn, plan.aside), (None, Vec::new()));
}

/// How many transactions a whole move takes.
fn steps() -> usize {
    let mut sim = moving();
    (0..).take_while(|_| sim.step()).count()
}

#[test]
fn a_volume_goes_to_another_pool_and_what_it_leaves_is_erased_with_evidence() {
    let mut sim = moving();
    let before = claim(&sim);
    let mut phases = vec![];
    let mut orders = vec![];
    let vm = crate::vm::key(&sim.me("web"));
    while sim.step() {
        phases.extend(phase(&sim));
        let machine = sim.hosts.values().find_map(|host| host.held.get(&vm));
        let ItemBody::Vm(machine) = &machine.unwrap().body else {
            panic!("not a machine");
        };
        let mirror = machine.disks[1].mirror.as_deref();
        orders.extend(mirror.map(|mirror| mirror.order));
        // It is as asked all the time.
        let status = told(&sim);
        let ready = find(&status.conditions, types::READY).unwrap();
        assert_eq!(ready.reason, "Attached", "{phases:?}");
    }
    phases.dedup();
    orders.dedup();
    use MovePhase::{Copying, Leaving, Reserved, Switching};
    assert_eq!(phases, [Reserved, Copying, Switching, Leaving]);
    assert_eq!(orders, [MirrorOrder::Copy, MirrorOrder::Switch]);
    let after = claim(&sim);
    assert_eq!(after.host, host(OTHER_HOST));
    assert_ne!(after.place(), before.place());
    assert_eq!(after.size, before.size);
    lies_in(&sim, OTHER);
    let certificates: Vec<&String> = sim.certificates.keys().collect();
    assert_eq!(
        certificates,
        [&format!("{NAMESPACE}.data.{}", before.place())]
    );
    let spec = &sim.certificates.values().next().unwrap().spec;
    assert_eq!((spec.pool.as_str(), spec.host.as_str()), (POOL, STORAGE));
    let machine = &sim.hosts[&host("h1")].said[&vm];
    let dc_types::report::Detail::Vm { last_stop, .. } = &machine.detail else {
        panic!("not a machine");
    };
    assert_eq!(*last_stop, None);

    // And back: to a place that nothing has had.
    set_pool(&mut sim, POOL);
    sim.look();
    assert_ne!(claim(&sim).place(), before.place());
    assert_ne!(claim(&sim).place(), after.place());
    assert_eq!(claim(&sim).host, host(STORAGE));
    assert_eq!(sim.certificates.len(), 2);
}

#[test]
fn whichever_transaction_an_operator_dies_after_the_next_one_goes_on() {
    let all = steps();
    assert!(all >= 8, "{all}");
    for dies_after in 0..=all {
        let mut sim = moving();
        for _ in 0..dies_after {
            sim.step();
        }
        sim.restart();
        sim.look();
        lies_in(&sim, OTHER);
        assert_eq!(sim.certificates.len(), 1);
    }
}

#[test]
fn a_move_that_is_taken_back_leaves_the_volume_where_it_is_or_brings_it_back() {
    for after in 0..=steps() {
        for dies in [false, true] {
            let mut sim = moving();
            for _ in 0..after {
                sim.step();
            }
            let gone = sim.gone.len();
            set_pool(&mut sim, POOL);
            if dies {
                sim.restart();
            }
            sim.look();
            assert_eq!(claim(&sim).pool.as_str(), POOL);
            assert!(sim.ledger.claims.moves.is_empty());
            assert_eq!(held(&sim, OTHER_HOST, ItemKind::Volume), 0);
            assert_eq!(held(&sim, OTHER_HOST, ItemKind::Grant), 0);
            // One that had not gone over never did.
            assert!(gone > 0 || sim.gone.is_empty() || claim(&sim).stored.is_some());
        }
    }
}

#[test]
fn a_copy_that_is_not_whole_is_taken_back_and_its_place_is_erased() {
    let mut sim = moving();
    sim.hosts.get_mut(&host("h1")).unwrap().copies = false;
    sim.look();
    assert_eq!(phase(&sim), Some(MovePhase::Copying));
    let status = told(&sim);
    let moving = status.moving.unwrap();
    assert_eq!((moving.other.as_str(), moving.percent), (OTHER, Some(40)));
    assert_eq!((moving.phase.as_str(), moving.tries), ("Copying", Some(1)));
    assert_eq!(status.pool.as_deref(), Some(POOL));
    let says = reason(&sim).unwrap();
    assert_eq!(says, (ConditionStatus::True, "Copying".to_owned()));
    let before = claim(&sim);
    set_pool(&mut sim, POOL);
    sim.look();
    lies_in(&sim, POOL);
    assert_eq!(claim(&sim).place(), before.place());
    assert_eq!(sim.certificates.len(), 1, "of the copy");
}

#[test]
fn a_machine_that_is_deleted_at_any_moment_leaves_the_volume_whole() {
    for after in 0..=steps() {
        let mut sim = moving();
        for _ in 0..after {
            sim.step();
        }
        delete(&mut sim.vm("web").metadata);
        sim.look();
        assert!(!sim.vms.contains_key("web"), "after {after}");
        // Another one goes on where it was.
        sim.add_vm("next");
        sim.vm("next").spec.disks = vec![disk("data", Some("data"))];
        sim.look();
        assert_eq!(sim.plan_of("vm next").found, [], "after {after}");
        assert_eq!(claim(&sim).pool.as_str(), OTHER);
        assert!(sim.ledger.claims.moves.is_empty());
    }
}

#[test]
fn a_machine_that_goes_off_at_any_moment_and_comes_back_ends_the_move() {
    for after in 0..=steps() {
        for goes in [false, true] {
            let mut sim = moving();
            for _ in 0..after {
                sim.step();
            }
            sim.vm("web").spec.power_state = PowerState::Stopped;
            sim.look();
            let resting = phase(&sim);
            assert!(
                matches!(
                    resting,
                    None | Some(MovePhase::Reserved | MovePhase::Copying)
                ),
                "after {after}: {resting:?}"
            );
            if resting.is_some() {
                let (_, reason) = reason(&sim).unwrap();
                assert_eq!(reason, "MachineOff");
            }
            if goes {
                // It could be deleted now, whatever it was told before.
                delete(&mut sim.vm("web").metadata);
                sim.look();
                assert!(!sim.vms.contains_key("web"), "after {after}");
                continue;
            }
            sim.vm("web").spec.power_state = PowerState::Running;
            sim.look();
            lies_in(&sim, OTHER);
        }
    }
}

#[test]
fn a_deleted_volume_leaves_nothing_in_either_pool() {
    for after in 0..=steps() {
        let mut sim = moving();
        let object = sim.volumes.get_mut("data").unwrap();
        object.spec.reclaim = Reclaim::Erase;
        object.spec.erase_method = EraseMethod::Zero;
        for _ in 0..after {
            sim.step();
        }
        delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
        delete(&mut sim.vm("web").metadata);
        sim.look();
        assert!(
            sim.volumes.is_empty() && sim.vms.is_empty(),
            "after {after}"
        );
        let claims = &sim.ledger.claims;
        assert!(claims.moves.is_empty() && claims.volumes.is_empty());
        assert!(claims.attachments.is_empty() && claims.releases.is_empty());
        for (name, state) in &sim.hosts {
            assert!(state.held.is_empty(), "{name} after {after}");
        }
    }
}

#[test]
fn a_storage_host_that_is_away_holds_up_the_move_alone_and_not_its_end() {
    for after in 0..=steps() {
        for away in [STORAGE, OTHER_HOST] {
            let mut sim = moving();
            for _ in 0..after {
                sim.step();
            }
            sim.set_silent(away, true);
            sim.look();
            sim.restart();
            sim.look();
            sim.set_silent(away, false);
            sim.look();
            lies_in(&sim, OTHER);
        }
    }
}

fn limits(size: &str) -> Limits {
    let quota = dc_crds::quota::Quota {
        storage: vec![dc_crds::quota::StorageQuota {
            class: CLASS.into(),
            size: size.into(),
        }],
        ..dc_crds::quota::Quota::default()
    };
    Limits::read(Some(&quota))
}

#[test]
fn nothing_is_taken_twice_of_a_quota_and_both_places_are_charged() {
    let mut sim = moving();
    sim.hosts.get_mut(&host("h1")).unwrap().copies = false;
    let thing = || Thing::Storage(CLASS.to_owned());
    let used = |sim: &Sim| sim.used().get(&thing()) >> 30;
    // The root disk has 1 GiB.
    sim.limits = limits("4Gi");
    sim.look();
    assert_eq!(refused(&sim), "QuotaExceeded");
    assert_eq!(used(&sim), 3);
    sim.limits = limits("5Gi");
    sim.look();
    assert_eq!(phase(&sim), Some(MovePhase::Copying));
    assert_eq!(used(&sim), 5);
    let promised = |sim: &Sim, pool: &str| {
        let pool = dc_types::PoolName::new(pool).unwrap();
        sim.ledger.claims.promised_in(&pool).0 >> 30
    };
    assert_eq!((promised(&sim, POOL), promised(&sim, OTHER)), (3, 2));
    sim.hosts.get_mut(&host("h1")).unwrap().copies = true;
    sim.look();
    assert_eq!(used(&sim), 3);
    assert_eq!((promised(&sim, POOL), promised(&sim, OTHER)), (1, 2));
}

#[test]
fn a_move_that_cannot_be_is_refused_with_its_reason() {
    use dc_crds::pool::OwnerClass;
    let mut sim = moving();
    set_pool(&mut sim, "nowhere");
    sim.look();
    assert_eq!(refused(&sim), "PoolMissing");

    let mut sim = moving();
    sim.pools.get_mut(OTHER).unwrap().spec.owner_class = OwnerClass::Soc;
    sim.look();
    assert_eq!(refused(&sim), "ClassDiffers");

    let mut sim = moving();
    sim.pools.get_mut(OTHER).unwrap().spec.promise_percent = 1;
    sim.look();
    assert_eq!(refused(&sim), "PoolFull");

    let mut sim = running();
    sim.add_directory_pool("local-1", "h2");
    set_pool(&mut sim, "local-1");
    sim.look();
    assert_eq!(refused(&sim), "PoolUnreachable");

    let mut sim = running();
    sim.add_snapshot("before", None, Some("data"));
    sim.look();
    set_pool(&mut sim, OTHER);
    sim.look();
    assert_eq!(refused(&sim), "HasSnapshots");
    delete(&mut sim.snapshots.get_mut("before").unwrap().metadata);
    sim.look();
    lies_in(&sim, OTHER);

    let mut sim = running();
    sim.vm("web").spec.disks.truncate(1);
    sim.look();
    set_pool(&mut sim, OTHER);
    sim.look();
    assert_eq!(refused(&sim), "NoMachine");

    let mut sim = running();
    sim.vm("web").spec.power_state = PowerState::Stopped;
    sim.look();
    set_pool(&mut sim, OTHER);
    sim.look();
    assert_eq!(refused(&sim), "MachineOff");

    // A machine that lies elsewhere can have it in a folder of its own host.
    let mut sim = running();
    sim.add_directory_pool("local-1", "h1");
    set_pool(&mut sim, "local-1");
    sim.look();
    assert_eq!(claim(&sim).host, host("h1"));
    assert_eq!(sim.plan_of("vm web").found, []);
}

#[test]
fn growth_restores_and_snapshots_wait_until_it_has_moved() {
    let mut sim = moving();
    sim.hosts.get_mut(&host("h1")).unwrap().copies = false;
    sim.look();
    sim.volumes.get_mut("data").unwrap().spec.size = "3Gi".into();
    sim.add_snapshot("late", None, Some("data"));
    sim.look();
    let first = Fact::Move(MoveFact::First {
        volume: "data".into(),
        to: OTHER.into(),
    });
    assert_eq!(
        sim.plan_of("volume data").found,
        std::slice::from_ref(&first)
    );
    assert_eq!(sim.plan_of("snapshot late").found, [first]);
    assert_eq!(claim(&sim).size, Bytes(2 << 30));
    sim.hosts.get_mut(&host("h1")).unwrap().copies = true;
    sim.look();
    assert_eq!(claim(&sim).size, Bytes(3 << 30));
    assert_eq!(sim.plan_of("snapshot late").found, []);
    let at = sim.ledger.claims.snapshots.values().next().unwrap();
    assert_eq!(at.value.place(), claim(&sim).place());
}

#[test]
fn a_restore_that_was_done_is_not_done_again_where_the_bytes_are_now() {
    let mut sim = Sim::new();
    sim.add_san(OTHER, OTHER_HOST);
    sim.add_volume("data", "2Gi");
    sim.add_snapshot("before", None, Some("data"));
    sim.look();
    let order = RestoreSpec {
        snapshot: "before".into(),
        order: "1".into(),
    };
    sim.volumes.get_mut("data").unwrap().spec.restore = Some(order);
    sim.look();
    delete(&mut sim.snapshots.get_mut("before").unwrap().metadata);
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    set_pool(&mut sim, OTHER);
    sim.look();
    lies_in(&sim, OTHER);
    // One of the same name, of what was written since.
    sim.add_snapshot("before", None, Some("data"));
    sim.look();
    assert_eq!(claim(&sim).restore, None);
    let now = &sim.hosts[&host(OTHER_HOST)].held[&key(claim(&sim).place())];
    let ItemBody::Volume(item) = &now.body else {
        panic!("not a volume");
    };
    assert_eq!(item.restore, None);
    assert_eq!(told(&sim).restored.as_deref(), Some("1"));
}

#[test]
fn a_disk_that_is_taken_off_while_it_goes_over_stays_until_its_host_has_said_where() {
    let mut sim = moving();
    until(&mut sim, MovePhase::Switching);
    sim.vm("web").spec.disks.truncate(1);
    let plan = sim.decide("web");
    let goes = Fact::Move(MoveFact::DiskGoesOver {
        volume: "data".into(),
    });
    assert_eq!((plan.txn, &plan.found), (None, &vec![goes]));
    assert!(
        plan.carry
            .iter()
            .all(|(_, item)| item.key.kind != ItemKind::Vm)
    );
    // Named again, it goes on.
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    lies_in(&sim, OTHER);
}

/// The item of the machine that its host is to hold now.
fn machine_item(sim: &Sim) -> dc_types::plan::Item {
    let carried = sim.decide("web").carry.into_iter();
    let mut items = carried.map(|(_, item)| item);
    items.find(|item| item.key.kind == ItemKind::Vm).unwrap()
}

#[test]
fn a_place_is_given_up_only_when_its_machines_host_says_of_what_it_was_told_last_that_it_let_go() {
    let mut sim = moving();
    sim.hosts.get_mut(&host("h1")).unwrap().copies = false;
    sim.look();
    set_pool(&mut sim, POOL);
    until(&mut sim, MovePhase::Ending);
    // It has not heard of it.
    assert_eq!(sim.decide("web").txn, None);
    let item = machine_item(&sim);
    let refused = crate::sim::fail(&item, "MovedElsewhere");
    let on = sim.hosts.get_mut(&host("h1")).unwrap();
    on.held.insert(item.key, item.clone());
    on.said.insert(item.key, refused);
    sim.look();
    assert_eq!(
        phase(&sim),
        Some(MovePhase::Ending),
        "it may have gone over"
    );
    let letting_go = Observation {
        state: dc_types::report::ItemState::Ready,
        ..crate::sim::observe(&item)
    };
    let on = sim.hosts.get_mut(&host("h1")).unwrap();
    on.said.insert(item.key, letting_go);
    sim.look();
    lies_in(&sim, POOL);
}

#[test]
fn a_machine_that_is_off_has_not_gone_over_only_when_its_host_says_so_of_the_order_not_to() {
    let mut sim = moving();
    until(&mut sim, MovePhase::Switching);
    sim.hosts.get_mut(&host("h1")).unwrap().copies = false;
    sim.vm("web").spec.power_state = PowerState::Stopped;
    until(&mut sim, MovePhase::Recalled);
    // What it said is of the order to go over: it could have been started since.
    assert_eq!(sim.decide("web").txn, None);
    let ItemBody::Vm(machine) = machine_item(&sim).body else {
        panic!("not a machine");
    };
    let mirror = machine.disks[1].mirror.as_deref().unwrap();
    assert_eq!(mirror.order, MirrorOrder::Copy);
    delete(&mut sim.vm("web").metadata);
    let goes = Fact::Move(MoveFact::DiskGoesOver {
        volume: "data".into(),
    });
    assert_eq!(sim.decide("web").found[0], goes, "and it is not deleted");
    sim.look();
    assert!(sim.vms.is_empty());
    assert!(sim.gone.is_empty());
}

#[test]
fn the_base_of_a_backup_does_not_hold_a_move_up_and_goes_with_what_is_left_behind() {
    let mut sim = running();
    sim.add_backup("one", "web");
    sim.look();
    let of_backups = |sim: &Sim| sim.ledger.claims.snapshots.len();
    assert_eq!(of_backups(&sim), 2, "of both disks");
    set_pool(&mut sim, OTHER);
    sim.look();
    lies_in(&sim, OTHER);
    assert_eq!(of_backups(&sim), 0);
}
