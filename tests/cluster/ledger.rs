//! The ledger and the election against a real etcd: what is committed once, by whom, and what a
//! store that has lost something is recognised by.

pub mod members;
mod place;
mod proxy;

use std::time::Duration;

use dc_lab::wait::{Look, until};
use dc_operator::leader::Leader;
use dc_operator::ledger::{Commit, Distrust, Health, Known, Ledger, LedgerError};
use dc_operator_core::txn::Txn;
use dc_types::Vni;
use dc_types::claim::keys;

pub use place::TestLedger;
use place::{TTL, claim_vni, holds};
use proxy::Proxy;

const DEADLINE: Duration = Duration::from_secs(300);

async fn wait_health(ledger: &Ledger, what: &str, wanted: impl Fn(&Health) -> bool) {
    until(what, DEADLINE, async || {
        let health = ledger.health();
        match wanted(&health) {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{health:?}")),
        }
    })
    .await
    .unwrap();
}

async fn wait_leading(leader: &Leader, ledger: &Ledger) {
    let leading = tokio::time::timeout(DEADLINE, leader.wait_leading()).await;
    assert!(
        leading.is_ok(),
        "nobody leads; the ledger is {:?}",
        ledger.health()
    );
}

/// Waits until the store has answered what came late, and has nothing more to say.
async fn quiet(proxy: &Proxy, before: usize) {
    let mut last = (before, std::time::Instant::now());
    until("the store to have answered", DEADLINE, async || {
        let now = proxy.late_answers();
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        match now > before && last.1.elapsed() > Duration::from_millis(500) {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{now} bytes")),
        }
    })
    .await
    .unwrap();
}

fn done(commit: Result<Commit, LedgerError>) -> u64 {
    match commit {
        Ok(Commit::Done { revision }) => revision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_claim_is_made_once_and_seen_by_all() {
    let place = TestLedger::start("claim").await;
    let (ledger, leader) = place.operator(Known::default()).await;
    let (follower, _candidate) = place.operator(Known::default()).await;
    wait_leading(&leader, &ledger).await;

    let revision = done(ledger.commit(&claim_vni(5000)).await);
    assert!(
        holds(&ledger, 5000),
        "at once, without waiting for the watch"
    );
    assert_eq!(ledger.with_claims(|c| c.epoch_of(revision)), ledger.now());
    assert_eq!(
        ledger.commit(&claim_vni(5000)).await.unwrap(),
        Commit::Conflict
    );
    assert_eq!(
        follower.commit(&claim_vni(5001)).await.unwrap(),
        Commit::NotLeader
    );
    until(
        "the follower sees the claim",
        DEADLINE,
        async || match holds(&follower, 5000) {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{:?}", follower.health())),
        },
    )
    .await
    .unwrap();
    assert!(!holds(&follower, 5001));
}

#[tokio::test]
async fn all_of_a_transaction_is_written_or_nothing() {
    let place = TestLedger::start("txn").await;
    let (ledger, leader) = place.operator(Known::default()).await;
    wait_leading(&leader, &ledger).await;
    done(ledger.commit(&claim_vni(5000)).await);
    let both = Txn::new("a free id and a taken one")
        .claim(keys::vni(Vni(5001)), &place::holder())
        .claim(keys::vni(Vni(5000)), &place::holder());
    assert_eq!(ledger.commit(&both).await.unwrap(), Commit::Conflict);
    assert!(!holds(&ledger, 5001));
    assert_eq!(place.read(&keys::vni(Vni(5001))).await, None);
}

#[tokio::test]
async fn who_resigns_is_followed_at_once_under_a_higher_term() {
    let place = TestLedger::start("resign").await;
    let (first, leader) = place.operator(Known::default()).await;
    wait_leading(&leader, &first).await;
    let old = leader.term().unwrap();
    let (second, candidate) = place.operator(Known::default()).await;
    assert_eq!(candidate.term(), None);

    leader.resign().await;
    wait_leading(&candidate, &second).await;
    assert!(candidate.term().unwrap() > old);
    assert_eq!(
        first.commit(&claim_vni(1)).await.unwrap(),
        Commit::NotLeader
    );
    done(second.commit(&claim_vni(1)).await);
}

#[tokio::test]
async fn a_leader_that_was_cut_off_stops_by_its_own_clock_and_never_commits_again() {
    let place = TestLedger::start("cutoff").await;
    let proxy = Proxy::start(place.address()).await;
    let (cut, leader) = place.operator_at(&proxy.url(), Known::default()).await;
    wait_leading(&leader, &cut).await;
    let term = leader.term().unwrap();
    let (other, candidate) = place.operator(Known::default()).await;

    proxy.hold();
    let late = tokio::spawn({
        let cut = cut.clone();
        async move { cut.commit(&claim_vni(7)).await }
    });
    let lost = tokio::time::timeout(TTL * 2, leader.wait_lost(term)).await;
    assert!(lost.is_ok(), "still leading after twice the lease");
    wait_leading(&candidate, &other).await;
    done(other.commit(&claim_vni(8)).await);

    // Everything that lay in the line arrives after all.
    proxy.deliver();
    assert_eq!(late.await.unwrap().unwrap(), Commit::NotLeader);
    assert_eq!(place.read(&keys::vni(Vni(7))).await, None);
    assert!(holds(&other, 8) && !holds(&other, 7));
}

#[tokio::test]
async fn a_leader_whose_key_is_gone_commits_nothing_though_it_believes_to_lead() {
    let place = TestLedger::start("keygone").await;
    let (ledger, leader) = place.operator(Known::default()).await;
    wait_leading(&leader, &ledger).await;
    let term = leader.term().unwrap();
    place.delete(keys::LEADER).await;
    assert_eq!(
        ledger.commit(&claim_vni(7)).await.unwrap(),
        Commit::NotLeader
    );
    let lost = tokio::time::timeout(DEADLINE, leader.wait_lost(term)).await;
    assert!(lost.is_ok(), "still leading without a key");
    // It stands again, under a new term.
    wait_leading(&leader, &ledger).await;
    assert!(leader.term().unwrap() > term);
    done(ledger.commit(&claim_vni(7)).await);
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_to_be_done() {
    let place = TestLedger::start("answer").await;
    let proxy = Proxy::start(place.address()).await;
    let (ledger, leader) = place.operator_at(&proxy.url(), Known::default()).await;
    wait_leading(&leader, &ledger).await;

    proxy.swallow_answers();
    let commit = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.commit(&claim_vni(7)).await }
    });
    let key = keys::vni(Vni(7));
    let written = until("the store has it", DEADLINE, async || {
        match place.read(&key).await {
            Some(entry) => Look::Holds(entry),
            None => Look::NotYet("no such key".into()),
        }
    });
    let written = written.await.unwrap();
    assert!(!commit.is_finished(), "it cannot know yet");
    proxy.cut_and_pass();
    assert_eq!(done(commit.await.unwrap()), written.revision);
    assert!(holds(&ledger, 7));
    assert_eq!(place.read(&key).await, Some(written), "written once");
}

#[tokio::test]
async fn a_commit_that_arrives_late_does_not_happen_twice() {
    let place = TestLedger::start("late").await;
    let proxy = Proxy::start(place.address()).await;
    let (ledger, leader) = place.operator_at(&proxy.url(), Known::default()).await;
    wait_leading(&leader, &ledger).await;

    // The request leaves, and stays in the line; the operator sees the line break.
    proxy.hold();
    let key = keys::vni(Vni(7));
    // Unguarded, so that only the fence keeps the late one out.
    let commit = Txn::new("unguarded").put(&key, &place::holder());
    let commit = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.commit(&commit).await }
    });
    until("the request is in the line", DEADLINE, async || {
        match proxy.held_bytes() > 0 {
            true => Look::Holds(()),
            false => Look::NotYet("nothing".into()),
        }
    })
    .await
    .unwrap();
    proxy.cut_clients_and_pass_new();
    let revision = done(commit.await.unwrap());
    let before = proxy.late_answers();
    proxy.deliver();
    quiet(&proxy, before).await;
    let stands = place.read(&key).await.unwrap();
    assert_eq!((stands.revision, stands.version), (revision, 1));
}

#[tokio::test]
async fn a_store_that_dies_and_comes_back_with_all_it_had_is_followed_again() {
    let place = TestLedger::start("restart").await;
    let (ledger, leader) = place.operator(Known::default()).await;
    wait_leading(&leader, &ledger).await;
    done(ledger.commit(&claim_vni(5000)).await);
    place.etcd().kill().unwrap();
    wait_health(&ledger, "out of reach", |h| {
        matches!(h, Health::Unreachable { .. })
    })
    .await;
    place.etcd().ensure().await.unwrap();
    wait_health(&ledger, "good again", |h| *h == Health::Good).await;
    assert!(holds(&ledger, 5000));
    wait_leading(&leader, &ledger).await;
    done(ledger.commit(&claim_vni(5001)).await);
}

#[tokio::test]
async fn a_store_that_was_rolled_back_is_not_believed_and_nothing_is_committed() {
    let place = TestLedger::start("rollback").await;
    let (ledger, leader) = place.operator(Known::default()).await;
    wait_leading(&leader, &ledger).await;
    let snapshot = place.folder().join("snapshot.db");
    place.etcd().save_snapshot(&snapshot).unwrap();
    for vni in 5000..5020 {
        done(ledger.commit(&claim_vni(vni)).await);
    }
    let known = ledger.known();
    let before = ledger.with_claims(Clone::clone);

    place.etcd().restore_snapshot(&snapshot).unwrap();
    place.etcd().ensure().await.unwrap();
    wait_health(&ledger, "distrust", |h| {
        matches!(h, Health::Distrusted(Distrust::RolledBack { .. }))
    })
    .await;
    until("the lead is given up", DEADLINE, async || {
        match leader.term() {
            None => Look::Holds(()),
            Some(term) => Look::NotYet(format!("{term}")),
        }
    })
    .await
    .unwrap();
    let error = ledger.commit(&claim_vni(6000)).await.unwrap_err();
    assert!(error.to_string().contains("ledger rebuild"), "{error}");
    assert_eq!(
        ledger.with_claims(Clone::clone),
        before,
        "nothing is forgotten"
    );

    // One that starts now knows it from the record alone.
    let (late, _) = place.operator_without_wait(known).await;
    wait_health(&late, "distrust", |h| matches!(h, Health::Distrusted(_))).await;
}

#[tokio::test]
async fn a_store_that_was_wiped_is_not_taken_for_a_new_one() {
    let place = TestLedger::start("wiped").await;
    let (ledger, leader) = place.operator(Known::default()).await;
    wait_leading(&leader, &ledger).await;
    done(ledger.commit(&claim_vni(5000)).await);
    let known = ledger.known();
    place.etcd().wipe().unwrap();
    place.etcd().ensure().await.unwrap();
    wait_health(&ledger, "distrust", |h| matches!(h, Health::Distrusted(_))).await;
    assert!(matches!(
        ledger.commit(&claim_vni(6000)).await,
        Err(LedgerError::Distrusted(_))
    ));
    let (late, _) = place.operator_without_wait(known).await;
    wait_health(&late, "distrust", |h| {
        matches!(h, Health::Distrusted(Distrust::Wiped { known: 1 }))
    })
    .await;
    assert_eq!(
        place.read(keys::INCARNATION).await,
        None,
        "nobody made a new one"
    );
}

#[tokio::test]
async fn what_does_not_read_is_distrusted_and_named() {
    let place = TestLedger::start("unread").await;
    place.write("vm/not-a-uuid", "{}").await;
    let (ledger, _) = place.operator_without_wait(Known::default()).await;
    wait_health(&ledger, "distrust", |health| match health {
        Health::Distrusted(why) => why.to_string().contains("vm/not-a-uuid"),
        _ => false,
    })
    .await;
}
