use super::*;
use crate::sim::{POOL, STORAGE, Sim, delete, disk, host};
use crate::words::Fact;
use dc_types::plan::{Disposition, ItemBody};

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
    let held = &sim.hosts[&host(STORAGE)].held[&key(&me)];
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
    let ItemBody::Volume(item) = &sim.hosts[&host(STORAGE)].held[&key(&me)].body else {
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
