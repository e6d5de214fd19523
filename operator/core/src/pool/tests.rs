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

#[test]
fn a_pool_says_its_health_what_it_lacks_and_what_nobody_claims() {
    let sim = Sim::new();
    let mut facts = facts(10 << 30);
    facts.lacks.push(dc_types::report::Lack {
        verb: Verb::Fence,
        why: "it only waits".into(),
    });
    let orphan = |name: &str, size| dc_types::report::Orphan {
        kind: dc_types::report::OrphanKind::Snapshot,
        name: name.into(),
        size: Bytes(size),
        since: Some(0),
    };
    facts.orphans = (0..30).map(|n| orphan(&format!("s{n}"), n << 20)).collect();
    let judged = Judged {
        generation: 1,
        now: "2026-11-25T00:00:00Z",
    };
    let told = |facts: &PoolFacts| {
        with_seen(&sim, &sim.pools[POOL], Some(facts), |seen| {
            status(seen, &plan(seen), &judged)
        })
    };
    let status = told(&facts);
    assert_eq!(
        (status.health.as_str(), status.driver.as_str()),
        ("Healthy", "iscsi")
    );
    assert_eq!(status.lacks[0].verb, "Fence");
    assert_eq!((status.orphan_count, status.orphans.len()), (30, 20));
    assert_eq!(status.orphans[0].name, "s29", "the largest first");
    assert_eq!(
        status.orphans[0].since.as_deref(),
        Some("1970-01-01T00:00:00Z")
    );
    assert_eq!(
        (status.fills.as_str(), status.samples.len()),
        ("unknown", 1)
    );
    facts.used = facts.capacity;
    assert_eq!(told(&facts).health, "Full");
    facts.fault = Some("gone".into());
    assert_eq!(told(&facts).health, "Unusable");
}
