//! The procedures over the fake daemon.

use std::time::Duration;

use std::path::Path;

use dc_types::plan::{Chap, GrantItem, Secret};
use dc_types::{Epoch, InstanceId};
use uuid::Uuid;

use super::{FENCE_LIMIT, FakeTargets, NewTarget, Targets, TargetsError, Tid, fence};
use crate::knobs::{Knobs, Rule};

/// A grant of one volume.
struct Order {
    volume: InstanceId,
    epoch: Epoch,
    initiator: String,
    chap: Chap,
}

fn order(revision: u64) -> Order {
    let volume = InstanceId(Uuid::from_u128(1));
    Order {
        volume,
        epoch: Epoch {
            incarnation: 1,
            revision,
        },
        initiator: "iqn.h1".into(),
        chap: Chap {
            user: format!("{volume}.{revision}"),
            secret: Secret("secret123456".into()),
        },
    }
}

fn name(order: &Order) -> String {
    GrantItem::target_name(order.volume, order.epoch)
}

async fn expose(targets: &FakeTargets, order: &Order) -> Result<Tid, TargetsError> {
    let new = NewTarget {
        name: &name(order),
        file: Path::new("/pools/p1/volumes/1.raw"),
        serial: "1",
        initiator: &order.initiator,
        chap: &order.chap,
    };
    super::expose(targets, new).await
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
    assert_eq!(targets.deleted(), std::slice::from_ref(&name));
    let told = fenced.deleted.join(", ");
    assert!(told.contains(&name) && told.contains("session"), "{told}");
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
