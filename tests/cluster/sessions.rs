//! Joining and sessions, over TLS, against a real API server and a real ledger: who may speak for
//! a host, and what a host is told.

pub mod agent;
mod many;
pub mod running;

use dc_lab::chart;
use dc_operator::join::{REJOIN, token::Token};
use dc_operator::ledger::{Commit, Distrust, Health};
use dc_operator::observed::{HostSession, ReleaseState};
use dc_operator_core::txn::Txn;
use dc_proto::Received;
use dc_proto::session::{AgentSays, ReceivedSays, ReleaseRef};
use dc_types::claim::{PendingRelease, keys};
use dc_types::plan::{Disposition, Item, ItemBody, ItemKey, ItemKind, Release};
use dc_types::plan::{VolumeItem, VolumeSource};
use dc_types::report::{Detail, Held, ItemState, Observation, Released, Report, Trouble};
use dc_types::{
    Bytes, Epoch, HostName, InstanceId, ObjectRef, ObjectUid, PoolName, Sequence, Term,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tonic::Code;
use uuid::Uuid;

use crate::lent::lend;
use agent::{Credentials, hello, join, renew, request};
use running::{Place, eventually};

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn object() -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: "web".into(),
        uid: ObjectUid(Uuid::from_u128(1)),
    }
}

fn volume(n: u128, epoch: Epoch) -> Item {
    let volume = InstanceId(Uuid::from_u128(n));
    Item {
        key: ItemKey::new(ItemKind::Volume, volume.0),
        epoch,
        object: object(),
        body: ItemBody::Volume(VolumeItem {
            volume,
            pool: PoolName::new("san").unwrap(),
            size: Bytes(1 << 30),
            source: VolumeSource::Blank,
            restore: None,
        }),
    }
}

fn ready(item: &Item) -> Observation {
    Observation {
        key: item.key,
        epoch: item.epoch,
        hash: item.hash(),
        state: ItemState::Ready,
        detail: Detail::Volume {
            size: Bytes(1 << 30),
            restored: None,
            allocated: Bytes(0),
        },
    }
}

/// The keys that a message puts on the host.
fn upserts(says: &ReceivedSays) -> Vec<ItemKey> {
    let of = |received: &Received| match received {
        Received::Upsert(item, _) => Some(item.key),
        Received::Release(_) => None,
    };
    deltas(says).filter_map(of).collect()
}

fn releases(says: &ReceivedSays) -> Vec<(ItemKey, Epoch)> {
    let of = |received: &Received| match received {
        Received::Release(release) => Some((release.key, release.epoch)),
        Received::Upsert(..) => None,
    };
    deltas(says).filter_map(of).collect()
}

fn deltas(says: &ReceivedSays) -> impl Iterator<Item = &Received> {
    let deltas = match says {
        ReceivedSays::Deltas(deltas) => deltas.as_slice(),
        _ => &[],
    };
    deltas.iter().map(|delta| delta.as_ref().unwrap())
}

/// An API server with the chart, a ledger, and an operator whose board is the test's own.
async fn place() -> Place {
    Place::start(lend().await).await
}

#[tokio::test]
async fn a_host_joins_once_and_is_told_its_plan_and_nothing_else() {
    let place = place().await;
    let operator = place.operator().await;
    let parts = operator.leading().await;
    place.make_host("s1").await;
    place.make_host("s2").await;
    let token = place.token("s1").await;
    let credentials = join(&token, "s1").await.unwrap();

    // Used up.
    let again = join(&token, "s1").await.unwrap_err();
    assert_eq!(again.code(), Code::PermissionDenied);
    assert!(again.message().contains("rejoin"), "{again}");
    // Nobody else's, and nobody without one.
    let other = place.token("s2").await;
    let mut stolen = other.clone();
    stolen.file.token = token.file.token.clone();
    let wrong = join(&stolen, "s2").await.unwrap_err();
    assert!(wrong.message().contains("not that of host s2"), "{wrong}");
    let nobody = join(&other, "s3").await.unwrap_err();
    assert!(
        nobody.message().contains("no token for host s3"),
        "{nobody}"
    );
    let bad = request(&other, "s2", "not a request").await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
    join(&other, "s2")
        .await
        .expect("a bad request does not use the token up");

    let item = volume(1, Epoch::default());
    parts.board.set(&host("s1"), item.clone());
    parts.board.set(&host("s2"), volume(2, Epoch::default()));
    let mut line = credentials.session(hello("s1", vec![])).await.unwrap();
    let welcome = line.next().await.unwrap();
    assert_eq!(Some(welcome.term), parts.leader.term());
    assert!(line.is_quiet().await, "the board is not complete");
    parts.board.complete();
    let plan = line.next().await.unwrap();
    assert_eq!(plan.sequence, Sequence(1));
    assert_eq!(upserts(&plan.says), [item.key]);

    line.say(AgentSays::Accepted(plan.sequence)).await;
    line.say(AgentSays::Report(Report::Observed(vec![ready(&item)])))
        .await;
    eventually("the report is taken", || {
        let seen = parts.observed.item(&host("s1"), &item.key);
        seen == Some(ready(&item))
    })
    .await;
    // What it says of another host's volume is not listened to.
    let foreign = volume(2, Epoch::default());
    line.say(AgentSays::Report(Report::Observed(vec![ready(&foreign)])))
        .await;
    line.say(AgentSays::Report(Report::Facts(Box::new(agent::facts(7)))))
        .await;
    eventually("the next report is taken", || {
        parts
            .observed
            .facts(&host("s1"))
            .is_some_and(|facts| facts.vcpus == 7)
    })
    .await;
    assert_eq!(parts.observed.item(&host("s1"), &foreign.key), None);

    drop(line);
    eventually("the host is silent", || {
        matches!(
            parts.observed.session(&host("s1")),
            HostSession::Silent { .. }
        )
    })
    .await;
    // It comes back with what it holds, and hears nothing it knows.
    let held = vec![Held {
        key: item.key,
        epoch: item.epoch,
        hash: item.hash(),
    }];
    let mut line = credentials.session(hello("s1", held)).await.unwrap();
    line.next().await.unwrap();
    assert!(line.is_quiet().await);
    operator.stop().await;
}

#[tokio::test]
async fn of_two_that_come_with_one_token_one_joins() {
    let place = place().await;
    let operator = place.operator().await;
    operator.leading().await;
    place.make_host("h1").await;
    let token = place.token("h1").await;
    let attempts = (0..8).map(|_| join(&token, "h1"));
    let ended = futures::future::join_all(attempts).await;
    let joined: Vec<_> = ended.iter().filter(|ended| ended.is_ok()).collect();
    assert_eq!(joined.len(), 1, "{ended:?}");

    // A token that has expired says so.
    place.make_host("h2").await;
    let token = place.token("h2").await;
    place.expire("h2", &token).await;
    let late = join(&token, "h2").await.unwrap_err();
    assert!(late.message().contains("was valid until"), "{late}");
    operator.stop().await;
}

#[tokio::test]
async fn a_host_speaks_for_itself_alone_and_by_its_latest_certificate() {
    let place = place().await;
    let operator = place.operator().await;
    let parts = operator.leading().await;
    place.make_host("h1").await;
    place.make_host("h2").await;
    let token = place.token("h1").await;
    let first = join(&token, "h1").await.unwrap();

    // Another host's name in the message, and no certificate at all.
    let mut line = first.session(hello("h2", vec![])).await.unwrap();
    let refused = line.next().await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("h2"), "{refused}");
    let nobody = Credentials::none(&token);
    let refused = nobody.session(hello("h1", vec![])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);

    // A renewal keeps the old one until the new one is used.
    let second = renew(&first, "h1").await.unwrap();
    let third = renew(&first, "h1")
        .await
        .expect("its answer may have been lost");
    let refused = second.session(hello("h1", vec![])).await.unwrap_err();
    assert!(refused.message().contains("not the latest"), "{refused}");
    let mut line = third.session(hello("h1", vec![])).await.unwrap();
    line.next().await.unwrap();
    eventually("the first is believed no longer", || {
        parts
            .ledger
            .with_claims(|c| c.hosts[&host("h1")].value.previous.is_none())
    })
    .await;
    let refused = first.session(hello("h1", vec![])).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    // Joined anew by a person's wish: every certificate before is worthless.
    place.annotate("h1", REJOIN, "2026-05-01").await;
    let token = place.token("h1").await;
    let fourth = join(&token, "h1").await.unwrap();
    let refused = third.session(hello("h1", vec![])).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut newer = fourth.session(hello("h1", vec![])).await.unwrap();
    newer.next().await.unwrap();
    let ended = line.next().await.unwrap_err();
    assert!(ended.message().contains("newer session"), "{ended}");

    // A host whose object is gone is nobody.
    place.delete_host("h1").await;
    eventually("the certificate is forgotten", || {
        parts
            .ledger
            .with_claims(|c| !c.hosts.contains_key(&host("h1")))
    })
    .await;
    let refused = fourth.session(hello("h1", vec![])).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    operator.stop().await;
}

#[tokio::test]
async fn a_recorded_release_is_repeated_until_it_is_confirmed_and_forgotten_only_then() {
    let place = place().await;
    let operator = place.operator().await;
    let parts = operator.leading().await;
    place.make_host("s1").await;
    let credentials = join(&place.token("s1").await, "s1").await.unwrap();
    parts.board.complete();

    let item = volume(
        1,
        Epoch {
            incarnation: 1,
            revision: 2,
        },
    );
    let pending = PendingRelease {
        host: host("s1"),
        release: Release {
            key: item.key,
            epoch: item.epoch,
            object: object(),
            disposition: Disposition::Retain,
        },
    };
    let key = keys::release(&host("s1"), &item.key);
    let txn = Txn::new("release a volume").put(&key, &pending);
    assert!(matches!(
        parts.ledger.commit(&txn).await,
        Ok(Commit::Done { .. })
    ));

    let held = vec![Held {
        key: item.key,
        epoch: item.epoch,
        hash: item.hash(),
    }];
    for _ in 0..2 {
        let mut line = credentials
            .session(hello("s1", held.clone()))
            .await
            .unwrap();
        line.next().await.unwrap();
        let told = line.next().await.unwrap();
        assert_eq!(releases(&told.says), [(item.key, item.epoch)]);
    }
    let mut line = credentials.session(hello("s1", held)).await.unwrap();
    line.next().await.unwrap();
    line.next().await.unwrap();
    let trouble = Trouble {
        reason: "Busy".into(),
        message: "in use".into(),
    };
    line.say(AgentSays::Report(Report::ReleaseFailed {
        key: item.key,
        epoch: item.epoch,
        trouble,
    }))
    .await;
    eventually("the trouble is known", || {
        let state = parts.observed.release(&host("s1"), &item.key);
        matches!(state, Some(ReleaseState::Failed { .. }))
    })
    .await;
    let released = Released {
        erasure: None,
        key: item.key,
        epoch: item.epoch,
        note: "kept at /srv/san/retained/web".into(),
    };
    line.say(AgentSays::Report(Report::Released(released.clone())))
        .await;
    let confirmed = line.next().await.unwrap();
    let reference = ReleaseRef {
        key: item.key,
        epoch: item.epoch,
    };
    assert_eq!(confirmed.says, ReceivedSays::Confirmed(vec![reference]));
    assert!(parts.ledger.with_claims(|c| c.releases.is_empty()));
    assert!(
        parts
            .observed
            .is_released(&host("s1"), &item.key, item.epoch)
    );
    // Said again, because the confirmation might have been lost.
    line.say(AgentSays::Report(Report::Released(released)))
        .await;
    assert!(matches!(
        line.next().await.unwrap().says,
        ReceivedSays::Confirmed(_)
    ));
    operator.stop().await;
}

#[tokio::test]
async fn a_follower_says_where_the_leader_is_and_takes_over_under_a_higher_term() {
    let place = place().await;
    let first = place.operator().await;
    let parts = first.leading().await;
    let second = place.operator().await;
    second.started().await;
    place.make_host("h1").await;
    let credentials = join(&place.token("h1").await, "h1").await.unwrap();
    let mut line = credentials.session(hello("h1", vec![])).await.unwrap();
    let old = line.next().await.unwrap().term;

    let elsewhere = credentials.at(second.advertise());
    let refused = elsewhere.session(hello("h1", vec![])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let leader = refused.metadata().get(dc_proto::LEADER_METADATA).unwrap();
    assert_eq!(leader.to_str().unwrap(), parts.leader.address().unwrap());

    first.stop().await;
    assert!(line.next().await.is_err(), "the session ends with the term");
    second.leading().await;
    let mut line = elsewhere.session(hello("h1", vec![])).await.unwrap();
    assert!(line.next().await.unwrap().term > old);
    second.stop().await;
}

#[tokio::test]
async fn a_host_that_knows_of_a_later_time_than_the_ledger_stops_everything() {
    let place = place().await;
    let operator = place.operator().await;
    let parts = operator.leading().await;
    parts.board.complete();
    place.make_host("h1").await;
    place.make_host("h2").await;
    let first = join(&place.token("h1").await, "h1").await.unwrap();
    let other = join(&place.token("h2").await, "h2").await.unwrap();
    let mut line = other.session(hello("h2", vec![])).await.unwrap();
    line.next().await.unwrap();

    let mut ahead = hello("h1", vec![]);
    ahead.term = Term {
        incarnation: 1,
        revision: 1_000_000,
    };
    let mut session = first.session(ahead).await.unwrap();
    let refused = session.next().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(matches!(
        parts.ledger.health(),
        Health::Distrusted(Distrust::HostAhead { .. })
    ));
    assert!(line.next().await.is_err(), "every session ends");
    let (ready, text) = operator.get("/readyz").await;
    assert!(!ready && text.contains("ledger rebuild"), "{text}");
    operator.stop().await;
}

#[tokio::test]
async fn the_pages_say_how_it_stands() {
    let place = place().await;
    let operator = place.operator().await;
    let parts = operator.leading().await;
    let (ready, text) = operator.get("/readyz").await;
    assert!(ready && text.contains("leading"), "{text}");
    assert!(operator.get("/healthz").await.0);
    parts.metrics.wrote("VirtualMachine", "patch_status");
    let (_, text) = operator.get("/metrics").await;
    for line in [
        "dc_operator_leading 1",
        "dc_operator_ledger_trusted 1",
        "dc_operator_claims{kind=\"vm\"} 0",
        "dc_operator_api_writes_total{kind=\"VirtualMachine\",verb=\"patch_status\"} 1",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    operator.stop().await;
}

impl Place {
    /// Moves the end of a token's life into the past.
    async fn expire(&self, name: &str, token: &Token) {
        let past = "2020-01-01T00:00:00Z".parse().unwrap();
        let expired = Token {
            expires: past,
            ..token.clone()
        };
        let data = ByteString(serde_json::to_vec(&expired).unwrap());
        let patch = json!({ "data": { "join.json": data } });
        let secrets: Api<Secret> = Api::namespaced(self.client(), chart::NAMESPACE);
        secrets
            .patch(
                &format!("join-{name}"),
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await
            .unwrap();
    }
}
