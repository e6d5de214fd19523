use super::*;
use crate::sim::{POOL, STORAGE, Sim, delete, disk, host};
use crate::words::Fact;
use dc_types::plan::{Disposition, ItemBody};

mod moving;
mod stored;

fn me(sim: &Sim, name: &str) -> ObjectRef {
    crate::object::object_ref(&sim.volumes[name].metadata).unwrap()
}

#[test]
fn a_volume_is_claimed_carried_and_ready() {
    let mut sim = Sim::new();
    sim.add_volume("data", "10Gi");
    sim.look();
    let me = me(&sim, "data");
    assert_eq!(sim.plan_of("volume data").found, []);
    let claim = &sim.ledger.claims.volumes[&id(&me)];
    let held = &sim.hosts[&host(STORAGE)].held[&sim.key_of(&me)];
    assert_eq!(held.epoch, claim.epoch);
}

#[test]
fn a_pool_promises_no_more_than_its_limit_and_says_what_is_left() {
    let mut sim = Sim::new();
    sim.add_volume("a", "90Gi");
    sim.look();
    sim.add_volume("b", "20Gi");
    sim.look();
    let Fact::PoolFull {
        pool,
        need,
        left,
        limit,
    } = &sim.plan_of("volume b").found[0]
    else {
        panic!("{:?}", sim.plan_of("volume b"));
    };
    assert_eq!(
        (pool.as_str(), need.as_str(), left.as_str(), limit.as_str()),
        (POOL, "20 GiB", "10 GiB", "100 GiB")
    );
    // More may be promised than is there, when the pool allows it.
    sim.pools.get_mut(POOL).unwrap().spec.promise_percent = 110;
    sim.look();
    assert_eq!(sim.plan_of("volume b").found, []);
}

#[test]
fn a_volume_grows_under_a_new_epoch_and_never_shrinks() {
    let mut sim = Sim::new();
    sim.add_volume("data", "10Gi");
    sim.look();
    let me = me(&sim, "data");
    let before = sim.ledger.claims.volumes[&id(&me)].epoch;
    sim.volumes.get_mut("data").unwrap().spec.size = "20Gi".into();
    sim.look();
    let after = &sim.ledger.claims.volumes[&id(&me)];
    assert!(after.epoch > before);
    let ItemBody::Volume(item) = &sim.hosts[&host(STORAGE)].held[&sim.key_of(&me)].body else {
        panic!();
    };
    assert_eq!(item.size, Bytes(20 << 30));

    sim.volumes.get_mut("data").unwrap().spec.size = "5Gi".into();
    sim.look();
    assert!(matches!(
        sim.plan_of("volume data").found[0],
        Fact::Shrinks { .. }
    ));
    assert_eq!(
        sim.ledger.claims.volumes[&id(&me)].value.size,
        Bytes(20 << 30)
    );

    sim.volumes.get_mut("data").unwrap().spec.size = "500Gi".into();
    sim.look();
    assert!(matches!(
        sim.plan_of("volume data").found[0],
        Fact::PoolFull { .. }
    ));
}

#[test]
fn a_volume_that_a_machine_holds_is_not_released() {
    let mut sim = Sim::new();
    sim.add_volume("data", "1Gi");
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    assert_eq!(
        sim.plan_of("volume data").found,
        [Fact::StillUsed {
            by: vec!["machine so-nnmt/web".into()]
        }]
    );
    delete(&mut sim.vm("web").metadata);
    sim.look();
    assert!(!sim.volumes.contains_key("data"));
    assert!(sim.ledger.claims.volumes.is_empty());
}

#[test]
fn the_claim_stays_until_the_storage_host_has_confirmed() {
    let mut sim = Sim::new();
    sim.add_volume("data", "1Gi");
    sim.look();
    sim.set_silent(STORAGE, true);
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    let me = me(&sim, "data");
    assert!(sim.ledger.claims.volumes.contains_key(&id(&me)));
    let pending: Vec<_> = sim.ledger.claims.releases_of(&host(STORAGE)).collect();
    assert_eq!(pending[0].value.release.disposition, Disposition::Retain);
    sim.set_silent(STORAGE, false);
    sim.look();
    assert!(sim.volumes.is_empty() && sim.ledger.claims.volumes.is_empty());
}

#[test]
fn a_copy_waits_for_its_source_and_is_not_smaller() {
    let mut sim = Sim::new();
    sim.add_volume("copy", "1Gi");
    sim.volumes.get_mut("copy").unwrap().spec.source.volume = Some("data".into());
    sim.look();
    assert!(matches!(
        sim.plan_of("volume copy").found[0],
        Fact::SourceVolumeMissing { .. }
    ));
    sim.add_volume("data", "2Gi");
    sim.look();
    assert!(matches!(
        sim.plan_of("volume copy").found[0],
        Fact::SourceVolumeLarger { .. }
    ));
    sim.volumes.get_mut("copy").unwrap().spec.size = "2Gi".into();
    sim.look();
    assert_eq!(sim.plan_of("volume copy").found, []);
    // Once it is there it no longer needs the source.
    delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    assert!(!sim.volumes.contains_key("data"));
    assert_eq!(sim.plan_of("volume copy").found, []);
}

#[test]
fn unknown_pools_and_bad_sizes_are_refused() {
    let mut sim = Sim::new();
    sim.add_volume("a", "1Gi");
    sim.volumes.get_mut("a").unwrap().spec.pool = "nowhere".into();
    sim.add_volume("b", "1 GB");
    sim.look();
    assert!(matches!(
        sim.plan_of("volume a").found[0],
        Fact::PoolMissing { .. }
    ));
    assert!(matches!(
        sim.plan_of("volume b").found[0],
        Fact::SizeInvalid { .. }
    ));
}

#[test]
fn the_socs_storage_is_kept_apart() {
    use dc_crds::pool::OwnerClass;
    let mut sim = Sim::new();
    sim.pools.get_mut(POOL).unwrap().spec.owner_class = OwnerClass::Soc;
    sim.add_volume("stray", "1Gi");
    sim.look();
    assert_eq!(
        sim.plan_of("volume stray").found,
        [Fact::ClassDiffers {
            pool: POOL.into(),
            pool_class: "soc",
            department: "so-nnmt".into(),
            class: "shared",
        }]
    );
    assert!(sim.ledger.claims.volumes.is_empty());
    sim.department = OwnerClass::Soc;
    sim.look();
    assert_eq!(sim.plan_of("volume stray").found, []);
    // And the other way round.
    sim.pools.get_mut(POOL).unwrap().spec.owner_class = OwnerClass::Shared;
    sim.add_volume("other", "1Gi");
    sim.look();
    assert!(matches!(
        sim.plan_of("volume other").found[0],
        Fact::ClassDiffers { .. }
    ));
    assert_eq!(
        sim.plan_of("volume stray").found,
        [],
        "what lies there stays"
    );
}

fn erased(sim: &mut Sim, name: &str) {
    use dc_crds::volume::{EraseMethod, Reclaim};
    sim.add_volume(name, "1Gi");
    let volume = sim.volumes.get_mut(name).unwrap();
    volume.spec.reclaim = Reclaim::Erase;
    volume.spec.erase_method = EraseMethod::Zero;
    let by = std::collections::BTreeMap::from([(
        dc_crds::ERASE_ORDERED_BY.to_owned(),
        "an@sonla.gov.vn".to_owned(),
    )]);
    volume.metadata.annotations = Some(by);
    sim.look();
    delete(&mut sim.volumes.get_mut(name).unwrap().metadata);
}

#[test]
fn an_erased_volume_leaves_one_certificate_with_what_its_host_said() {
    use dc_crds::certificate::{ErasedBy, ErasureResult};
    let mut sim = Sim::new();
    erased(&mut sim, "data");
    sim.look();
    assert!(sim.volumes.is_empty() && sim.ledger.claims.volumes.is_empty());
    assert!(sim.ledger.claims.erased.is_empty());
    let certificate = sim.certificates.values().next().unwrap();
    let spec = &certificate.spec;
    assert_eq!(sim.certificates.len(), 1);
    assert_eq!(
        (spec.volume.as_str(), spec.department.as_str()),
        ("data", "so-nnmt")
    );
    assert_eq!(
        (spec.method, spec.result),
        (ErasedBy::Zero, ErasureResult::Verified)
    );
    assert_eq!((spec.extents, spec.bytes, spec.size), (3, 3 << 20, 1 << 30));
    assert_eq!(spec.ordered_by.as_deref(), Some("an@sonla.gov.vn"));
    assert_eq!(spec.began_at.as_deref(), Some("2023-11-14T22:13:20Z"));
    // One whose bytes were kept leaves none.
    sim.add_volume("kept", "1Gi");
    sim.look();
    delete(&mut sim.volumes.get_mut("kept").unwrap().metadata);
    sim.look();
    assert!(sim.volumes.is_empty());
    assert_eq!(sim.certificates.len(), 1);
}

#[test]
fn the_claim_of_an_erased_volume_goes_only_with_its_certificate() {
    let mut sim = Sim::new();
    erased(&mut sim, "data");
    // The release is recorded, and confirmed; then the operator dies.
    while sim.ledger.claims.erased.is_empty() {
        let plan = sim.decide_volume("data");
        sim.play(&plan);
    }
    let plan = sim.decide_volume("data");
    let unsigned = plan.certify.as_ref().expect("it is certified first");
    assert_eq!(
        sim.decide_volume("data"),
        plan,
        "the same, however often it is decided"
    );
    assert!(
        plan.txn.is_some(),
        "and only then let go, in one transaction"
    );
    assert!(unsigned.name.starts_with("so-nnmt.data."));
}

#[test]
fn a_host_that_says_nothing_of_its_erasure_leaves_a_certificate_that_says_so() {
    use dc_crds::certificate::ErasureResult;
    let mut sim = Sim::new();
    erased(&mut sim, "data");
    let me = me(&sim, "data");
    let plan = sim.decide_volume("data");
    assert!(sim.ledger.commit(plan.txn.as_ref().unwrap()));
    // Confirmed to an operator that knew of no certificates.
    let storage = host(STORAGE);
    let claim = sim.ledger.claims.volumes[&id(&me)].epoch;
    let key = sim.key_of(&me);
    let released = &mut sim.hosts.get_mut(&storage).unwrap().released;
    released.insert(key, claim);
    sim.ledger
        .delete(&dc_types::claim::keys::release(&storage, &key));
    sim.look();
    let certificate = sim.certificates.values().next().unwrap();
    assert_eq!(certificate.spec.result, ErasureResult::Unproven);
    assert!(sim.volumes.is_empty());
}

#[test]
fn a_pool_that_cannot_grow_under_a_guest_grows_once_the_guest_is_off() {
    use dc_types::report::Verb;
    let mut sim = Sim::new();
    sim.lacks(Verb::GrowOnline, "only while nobody writes");
    sim.add_volume("data", "1Gi");
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    sim.volumes.get_mut("data").unwrap().spec.size = "2Gi".into();
    sim.look();
    assert_eq!(
        sim.plan_of("volume data").found,
        [Fact::PoolLacks {
            pool: POOL.into(),
            verb: Verb::GrowOnline,
            why: "only while nobody writes".into(),
        }]
    );
    let size = |sim: &Sim| {
        let me = me(sim, "data");
        sim.ledger.claims.volumes[&id(&me)].value.size
    };
    assert_eq!(size(&sim), Bytes(1 << 30));
    sim.vm("web").spec.power_state = dc_crds::vm::PowerState::Stopped;
    sim.look();
    assert_eq!(size(&sim), Bytes(2 << 30));
    assert_eq!(sim.plan_of("volume data").found, []);
}

#[test]
fn a_machine_is_told_of_a_growth_only_when_its_storage_shows_it() {
    let mut sim = Sim::new();
    sim.add_volume("data", "1Gi");
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    let told = |sim: &Sim| {
        let items = sim.decide("web").carry.into_iter();
        let machine = items
            .map(|(_, item)| item.body)
            .find_map(|body| match body {
                ItemBody::Vm(vm) => Some(vm),
                _ => None,
            });
        machine.unwrap().disks.last().unwrap().size
    };
    let claim = |sim: &Sim| {
        let me = me(sim, "data");
        sim.ledger.claims.volumes[&id(&me)].value.clone()
    };
    let (small, large) = (Bytes(1 << 30), Bytes(2 << 30));
    assert_eq!((told(&sim), claim(&sim).grows_from), (small, None));
    sim.volumes.get_mut("data").unwrap().spec.size = "2Gi".into();
    // Claimed; the storage host has not heard of it.
    let plan = sim.decide_volume("data");
    sim.play(&plan);
    assert_eq!(
        (claim(&sim).size, claim(&sim).grows_from),
        (large, Some(small))
    );
    assert_eq!(told(&sim), small);
    // Asked for more before it has grown once: what is shown is what counts.
    sim.volumes.get_mut("data").unwrap().spec.size = "3Gi".into();
    let plan = sim.decide_volume("data");
    sim.play(&plan);
    assert_eq!(claim(&sim).grows_from, Some(small));
    assert_eq!(told(&sim), small);
    sim.look();
    assert_eq!(claim(&sim).grows_from, None);
    assert_eq!(told(&sim), Bytes(3 << 30));
    assert_eq!(sim.plan_of("volume data").found, []);
}

#[test]
fn a_volume_says_how_much_its_machine_uses_it_and_nothing_when_that_is_not_known() {
    use crate::conditions::Judged;
    let mut sim = Sim::new();
    sim.add_volume("data", "1Gi");
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    let used = |sim: &Sim| {
        sim.with_volume_seen("data", |seen| {
            let judged = Judged {
                generation: 1,
                now: "t",
            };
            status(seen, &plan(seen), &judged).used
        })
    };
    assert_eq!(used(&sim).as_deref(), Some("120 IOPS, 4 MiB/s"));
    delete(&mut sim.vm("web").metadata);
    sim.look();
    assert_eq!(used(&sim), None);
}
