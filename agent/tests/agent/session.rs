//! The session, against an operator that the test plays over real TLS.

use std::time::Duration;

use crate::host::{self, DEADLINE, TestHost, all_ready, plan, until};
use crate::operator::{Heard, Played, TOKEN};
use dc_agent::agent::{Agent, Operator, Parts};
use dc_agent::config::SizeOverride;
use dc_agent::identity::IdentityStore;
use dc_agent::metrics::Metrics;
use dc_proto::session::{AgentSays, OperatorSays, ReleaseRef};
use dc_types::plan::{Delta, ItemKind};
use dc_types::report::{ItemState, Report};
use dc_types::{Sequence, Term};

fn term(revision: u64) -> Term {
    Term {
        incarnation: 1,
        revision,
    }
}

/// An agent that dials the operator's address with its join file.
fn start(host: &TestHost, operator: &Played) -> Agent {
    start_at(host, vec![operator.address()], operator)
}

fn start_at(host: &TestHost, addresses: Vec<String>, operator: &Played) -> Agent {
    let join = host.folder.path().join("join.json");
    std::fs::write(&join, operator.join_file("h1")).unwrap();
    let view = std::sync::Arc::new(host::view(host.boot));
    Agent::start(Parts {
        size: SizeOverride::default(),
        tools: host.fakes.tools(),
        operator: Some(Operator {
            addresses,
            identity: IdentityStore::new(view.name.clone(), host.place(), Some(join)),
        }),
        place: host.place(),
        metrics: Metrics::default(),
        host: view,
    })
    .unwrap()
}

fn upserts() -> OperatorSays {
    let plan = plan();
    let items = plan.items.values().cloned();
    OperatorSays::Deltas(items.map(|item| Delta::Upsert(Box::new(item))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_joins_once_accepts_its_plan_and_reports_it_ready() {
    let host = TestHost::new();
    let mut operator = Played::start().await;
    let agent = start(&host, &operator);
    let mut talk = operator.next_session().await;
    assert!(talk.hello.held.is_empty());
    talk.welcome(term(5)).await;
    talk.say(1, upserts()).await;
    talk.until("the deltas are on disk", |heard| {
        matches!(heard, Heard::Says(AgentSays::Accepted(Sequence(1))))
    })
    .await;
    let vm = *plan()
        .items
        .keys()
        .find(|k| k.kind == ItemKind::Vm)
        .unwrap();
    talk.until("the machine is ready", |heard| match heard {
        Heard::Says(AgentSays::Report(Report::Observed(observations))) => {
            observations.iter().any(|o| {
                o.key == vm && o.state == ItemState::Ready && o.hash == plan().items[&vm].hash()
            })
        }
        _ => false,
    })
    .await;
    // The line breaks: the host comes back with its certificate, and says what it holds.
    drop(talk);
    let talk = operator.next_session().await;
    assert_eq!(talk.hello.held.len(), plan().items.len());
    assert_eq!(talk.hello.term, term(5));
    assert_eq!(operator.joined(), 1);
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_of_a_lower_term_is_left_and_changes_nothing() {
    let host = TestHost::new();
    let mut operator = Played::start().await;
    let agent = start(&host, &operator);
    let mut talk = operator.next_session().await;
    talk.welcome(term(9)).await;
    talk.say(1, OperatorSays::Deltas(Vec::new())).await;
    talk.until("it follows", |heard| {
        matches!(heard, Heard::Says(AgentSays::Accepted(_)))
    })
    .await;
    drop(talk);
    let mut old = operator.next_session().await;
    assert_eq!(old.hello.term, term(9));
    old.welcome(term(8)).await;
    old.say(1, upserts()).await;
    old.until("it hangs up", |heard| matches!(heard, Heard::End))
        .await;
    assert!(agent.keeper.ledger().await.items.is_empty());
    assert_eq!(agent.keeper.ledger().await.term, term(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_ends_the_session_and_what_came_after_it_is_not_taken() {
    let host = TestHost::new();
    let mut operator = Played::start().await;
    let agent = start(&host, &operator);
    let mut talk = operator.next_session().await;
    talk.welcome(term(1)).await;
    talk.say(2, upserts()).await;
    talk.until("it hangs up", |heard| matches!(heard, Heard::End))
        .await;
    assert!(agent.keeper.ledger().await.items.is_empty());
    let mut again = operator.next_session().await;
    again.welcome(term(1)).await;
    again.say(1, upserts()).await;
    until(&agent, "the next session is complete", all_ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_another_host_is_refused() {
    let host = TestHost::new();
    let mut operator = Played::start().await;
    let agent = start(&host, &operator);
    let mut talk = operator.next_session().await;
    talk.welcome_as("h2", term(1)).await;
    talk.say(1, upserts()).await;
    talk.until("it hangs up", |heard| matches!(heard, Heard::End))
        .await;
    assert!(agent.keeper.ledger().await.items.is_empty());
    // An item of another host in a session of ours is refused by itself.
    let mut talk = operator.next_session().await;
    talk.welcome(term(1)).await;
    let mut items = plan().items.values().cloned().collect::<Vec<_>>();
    for item in &mut items {
        if let dc_types::plan::ItemBody::Vm(vm) = &mut item.body {
            vm.disks[0].initiator = vm.disks[0].initiator.replace("host:h1", "host:h2");
        }
    }
    let deltas = items.into_iter().map(|item| Delta::Upsert(Box::new(item)));
    talk.say(1, OperatorSays::Deltas(deltas.collect())).await;
    talk.until("the machine is refused", |heard| match heard {
        Heard::Says(AgentSays::Report(Report::Observed(observations))) => {
            observations.iter().any(|o| match &o.state {
                ItemState::Failed(trouble) => trouble.reason == "AnotherHost",
                _ => false,
            })
        }
        _ => false,
    })
    .await;
    let held = agent.keeper.ledger().await.items;
    assert!(held.keys().all(|key| key.kind != ItemKind::Vm));
    assert_eq!(held.len(), plan().items.len() - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_points_to_the_leader() {
    let host = TestHost::new();
    let mut leader = Played::start().await;
    let follower = Played::follower_of(&leader).await;
    let agent = start_at(&host, vec![follower.address()], &follower);
    let mut talk = leader.next_session().await;
    talk.welcome(term(1)).await;
    talk.say(1, upserts()).await;
    until(&agent, "the plan of the leader is carried out", all_ready).await;
    assert_eq!(leader.joined(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_told_in_every_session_until_it_is_confirmed() {
    let host = TestHost::new();
    let mut operator = Played::start().await;
    let agent = start(&host, &operator);
    let mut talk = operator.next_session().await;
    talk.welcome(term(1)).await;
    let release = plan().releases.values().next().unwrap().clone();
    let deltas = vec![Delta::Release(release.clone())];
    talk.say(1, OperatorSays::Deltas(deltas)).await;
    let released = |heard: &Heard| match heard {
        Heard::Says(AgentSays::Report(Report::Released(released))) => released.key == release.key,
        _ => false,
    };
    talk.until("it is released", released).await;
    drop(talk);
    let mut talk = operator.next_session().await;
    talk.welcome(term(1)).await;
    talk.until("it is released, again", released).await;
    let confirmed = ReleaseRef {
        key: release.key,
        epoch: release.epoch,
    };
    talk.say(1, OperatorSays::Confirmed(vec![confirmed])).await;
    until(&agent, "it is forgotten", |s| s.released.is_empty()).await;
    assert!(agent.keeper.ledger().await.releases.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_before_it_ends_and_the_session_goes_on_with_the_new_one() {
    let host = TestHost::new();
    // Two thirds of it are over soon.
    let mut operator = Played::start_with_life(Duration::from_secs(9)).await;
    let agent = start(&host, &operator);
    let mut first = operator.next_session().await;
    first.welcome(term(1)).await;
    let before = first.certificate.clone();
    let mut second = operator.next_session().await;
    second.welcome(term(1)).await;
    assert_ne!(second.certificate, before);
    assert_eq!(operator.joined(), 1);
    assert_eq!(operator.renewed(), 1);
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_and_a_strange_operator_get_nowhere() {
    let host = TestHost::new();
    let operator = Played::start().await;
    let join = host.folder.path().join("join.json");
    // Another authority signed this one: the agent must not give it the token.
    let strange = Played::start().await;
    let stolen = operator
        .join_file("h1")
        .replace(&operator.address(), &strange.address());
    std::fs::write(&join, stolen.replace(TOKEN, "another-token")).unwrap();
    let view = std::sync::Arc::new(host::view(1));
    let agent = Agent::start(Parts {
        size: SizeOverride::default(),
        tools: host.fakes.tools(),
        operator: Some(Operator {
            addresses: vec![strange.address()],
            identity: IdentityStore::new(
                view.name.clone(),
                dc_agent::keeper::Place::Memory,
                Some(join),
            ),
        }),
        place: dc_agent::keeper::Place::Memory,
        metrics: Metrics::default(),
        host: view,
    })
    .unwrap();
    let tried = async {
        while strange.connections() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, tried).await.unwrap();
    assert_eq!(
        strange.asked_to_join(),
        0,
        "the token was shown to a stranger"
    );
    assert!(!agent.health.is_connected());
}
