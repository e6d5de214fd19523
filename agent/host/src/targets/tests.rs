//! The procedures over the fake daemon.

use std::time::Duration;

use dc_agent_core::storage::Expose;
use dc_types::plan::{Chap, GrantItem, Secret};
use dc_types::{Epoch, InstanceId, PoolName};
use uuid::Uuid;

use super::{FENCE_LIMIT, FakeTargets, Targets, TargetsError, expose, fence};
use crate::knobs::{Knobs, Rule};

fn order(revision: u64) -> Expose {
    let volume = InstanceId(Uuid::from_u128(1));
    Expose {
        pool: PoolName::new("p1").unwrap(),
        volume,
        epoch: Epoch {
            incarnation: 1,
            revision,
        },
        path: "/pools/p1/volumes/1.raw".into(),
        initiator: "iqn.h1".into(),
        chap: Chap {
            user: format!("{volume}.{revision}"),
            secret: Secret("secret123456".into()),
        },
    }
}

fn name(order: &Expose) -> String {
    GrantItem::target_name(order.volume, order.epoch)
}

#[tokio::test]
async fn a_target_opens_for_its_initiator_and_secret_alone() {
    let targets = FakeTargets::new(Knobs::new());
    let order = order(1);
    expose(&targets, &order).await.unwrap();
    let name = name(&order);
    assert!(targets.log_in(&name, "iqn.h1", &order.chap).is_some());
    assert!(targets.log_in(&name, "iqn.h2", &order.chap).is_none());
    let mut wrong = order.chap.clone();
    wrong.secret = Secret("guess1234567".into());
    assert!(targets.log_in(&name, "iqn.h1", &wrong).is_none());
}

#[tokio::test]
async fn nobody_logs_in_to_a_target_that_was_cut_off_while_it_was_made() {
    for calls in 0..6 {
        let knobs = Knobs::new();
        let targets = FakeTargets::new(knobs.clone());
        knobs.set("*", Rule::cut_off_after(calls));
        let order = order(1);
        assert!(expose(&targets, &order).await.is_err(), "{calls}");
        assert!(
            targets
                .log_in(&name(&order), "iqn.h1", &order.chap)
                .is_none()
        );
    }
}

#[tokio::test]
async fn a_fence_cuts_waits_for_writes_in_flight_and_takes_the_account() {
    let targets = FakeTargets::new(Knobs::new());
    let order = order(1);
    let tid = expose(&targets, &order).await.unwrap();
    let name = name(&order);
    let session = targets.log_in(&name, "iqn.h1", &order.chap).unwrap();
    targets.begin_log_in(&name, "iqn.h1");
    targets.keep_active(&name, 3);
    let fenced = fence(&targets, tid, &name, FENCE_LIMIT).await.unwrap();
    assert_eq!(fenced.cut, 2, "the half-finished login counts");
    assert!(!targets.is_logged_in(session));
    assert_eq!(targets.deleted(), [name]);
    assert_eq!(targets.accounts(), 0);
}

#[tokio::test]
async fn a_slow_fence_says_so_keeps_the_door_shut_and_goes_on_when_repeated() {
    let targets = FakeTargets::new(Knobs::new());
    let order = order(1);
    let tid = expose(&targets, &order).await.unwrap();
    let name = name(&order);
    targets.keep_active(&name, u32::MAX);
    let slow = fence(&targets, tid, &name, Duration::ZERO).await;
    assert!(
        matches!(slow, Err(TargetsError::FenceSlow { .. })),
        "{slow:?}"
    );
    assert!(targets.log_in(&name, "iqn.h1", &order.chap).is_none());
    targets.keep_active(&name, 0);
    for _ in 0..2 {
        fence(&targets, tid, &name, FENCE_LIMIT).await.unwrap();
    }
    assert_eq!(targets.list_targets().await.unwrap(), []);
}

#[tokio::test]
async fn a_number_that_belongs_to_another_target_now_is_not_fenced() {
    let targets = FakeTargets::new(Knobs::new());
    let order = order(1);
    let tid = expose(&targets, &order).await.unwrap();
    let other = fence(&targets, tid, "iqn.other", FENCE_LIMIT).await;
    assert!(matches!(other, Err(TargetsError::AnotherTarget { .. })));
    assert_eq!(targets.list_targets().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_number_is_never_used_twice() {
    let targets = FakeTargets::new(Knobs::new());
    let first = expose(&targets, &order(1)).await.unwrap();
    fence(&targets, first, &name(&order(1)), FENCE_LIMIT)
        .await
        .unwrap();
    let second = expose(&targets, &order(1)).await.unwrap();
    assert!(second > first);
}
