use super::*;
use crate::conditions::{Judged, find};
use crate::sim::{POOL, STORAGE, Sim, host};
use dc_crds::ConditionStatus;
use dc_crds::condition::types;
use dc_types::report::PoolPlace;
use dc_types::{Bytes, ObjectUid};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use uuid::Uuid;

fn facts(used: u64) -> PoolFacts {
    PoolFacts {
        pool: PoolName::new(POOL).unwrap(),
        capacity: Bytes(100 << 30),
        used: Bytes(used),
        reflink: true,
        fault: None,
        place: PoolPlace::Iscsi,
        lacks: Vec::new(),
        orphans: Vec::new(),
    }
}

fn with_seen<R>(
    sim: &Sim,
    pool: &StoragePool,
    facts: Option<&PoolFacts>,
    look: impl FnOnce(&Seen<'_>) -> R,
) -> R {
    let me = ObjectRef {
        namespace: String::new(),
        name: POOL.into(),
        uid: ObjectUid(Uuid::from_u128(1)),
    };
    look(&Seen {
        pool,
        me: &me,
        name: &PoolName::new(POOL).unwrap(),
        host: Some(&host(STORAGE)),
        presence: Presence::Connected,
        facts,
        claims: &sim.ledger.claims,
        images: &[],
    })
}

fn status_of(sim: &Sim, used: u64) -> dc_crds::StoragePoolStatus {
    let judged = Judged {
        generation: 1,
        now: "t",
    };
    with_seen(sim, &sim.pools[POOL], Some(&facts(used)), |seen| {
        status(seen, &plan(seen), &judged)
    })
}

#[test]
fn a_pool_that_fills_up_warns_before_it_is_full() {
    let sim = Sim::new();
    let left = |used: u64| {
        let status = status_of(&sim, used << 30);
        let left = find(&status.conditions, types::CAPACITY).unwrap();
        (left.status, left.reason.clone())
    };
    assert_eq!(left(10), (ConditionStatus::True, "HasRoom".into()));
    assert_eq!(left(85), (ConditionStatus::False, "PoolFillingUp".into()));
}

#[test]
fn a_pool_warns_before_it_may_promise_no_more() {
    let mut sim = Sim::new();
    let left = |sim: &Sim| {
        let status = status_of(sim, 0);
        find(&status.conditions, types::CAPACITY).unwrap().clone()
    };
    sim.add_volume("data", "79Gi");
    sim.look();
    assert_eq!(left(&sim).status, ConditionStatus::True);
    sim.add_volume("more", "2Gi");
    sim.look();
    let warned = left(&sim);
    assert_eq!(warned.status, ConditionStatus::False);
    assert_eq!(warned.reason, "NearlyPromised");
    assert!(
        warned.message.contains("81% of the 100 GiB"),
        "{}",
        warned.message
    );
}

#[test]
fn a_small_change_of_use_is_no_change_of_status() {
    let mut sim = Sim::new();
    sim.add_volume("data", "30Gi");
    sim.look();
    let (a, b) = (
        status_of(&sim, (10 << 30) + 1),
        status_of(&sim, (10 << 30) + 90_000_000),
    );
    assert_eq!(a, b);
    assert_eq!(a.promised, "30 GiB of 100 GiB");
    assert_eq!(a.volumes, 1);
}

#[test]
fn a_pool_its_host_does_not_serve_is_told_apart_from_a_silent_host() {
    let sim = Sim::new();
    let found = with_seen(&sim, &sim.pools[POOL], None, plan).found;
    assert!(matches!(found[0], Fact::PoolNotServed { .. }));
}

#[test]
fn a_pool_with_a_volume_stays() {
    let mut sim = Sim::new();
    sim.add_volume("data", "1Gi");
    sim.look();
    let mut pool = sim.pools[POOL].clone();
    pool.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let facts = facts(0);
    let deleted = |sim: &Sim| with_seen(sim, &pool, Some(&facts), plan);
    assert_eq!(
        deleted(&sim).found,
        [Fact::StillUsed {
            by: vec!["volume so-nnmt/data".into()]
        }]
    );
    crate::sim::delete(&mut sim.volumes.get_mut("data").unwrap().metadata);
    sim.look();
    assert_eq!(deleted(&sim), Plan::let_go());
}
