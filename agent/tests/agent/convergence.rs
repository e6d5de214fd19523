//! An agent over fakes brings its host to what the plan says, wherever it is interrupted.

use std::future::Future;
use std::time::Duration;

use crate::host::{
    DEADLINE, TestHost, all_ready, all_released, carried, is_ready, plan, releases, until, upserts,
};
use dc_agent::agent::Agent;
use dc_agent::metrics::Metrics;
use dc_agent_core::ledger::Change;
use dc_host::{Knobs, Rule};
use dc_proto::session::ReleaseRef;
use dc_types::plan::{ItemKey, ItemKind};
use futures::StreamExt;

/// Agents at a time: each is quick, and mostly waits.
const AT_A_TIME: usize = 48;

async fn settled(host: &TestHost) -> Agent {
    let agent = host.start();
    agent.keeper.accept(upserts()).await.unwrap();
    until(&agent, "the plan is carried out", all_ready).await;
    agent
}

/// Runs the scenario for each number, many at a time.
async fn for_each<F: Future<Output = ()>>(numbers: impl Iterator<Item = u64>, one: fn(u64) -> F) {
    futures::stream::iter(numbers)
        .for_each_concurrent(AT_A_TIME, one)
        .await;
}

/// Waits until the process has died of its knob, or has done all without meeting it.
async fn until_cut_off(knobs: &Knobs, agent: &Agent, done: fn(&dc_agent_core::Standing) -> bool) {
    let died = async {
        while !knobs.is_cut_off() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = died => {}
        _ = until(agent, "cut off, or done", done) => {}
    }
}

/// How many calls of tools it takes to carry the plan out.
async fn calls(host: &TestHost) -> u64 {
    host.fakes.knobs.counts().values().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_of_a_host_is_carried_out_and_then_nothing_is_done_any_more() {
    let host = TestHost::new();
    let agent = settled(&host).await;
    assert_eq!(carried(&host).guests, 1);
    drop(agent);
    let metrics = Metrics::default();
    let agent = host.start_counting(&metrics);
    until(&agent, "all is still as it should be", all_ready).await;
    let text = metrics.render();
    assert!(!text.contains("dc_agent_steps_total{"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_at_any_call_goes_on_where_it_was() {
    let host = TestHost::new();
    drop(settled(&host).await);
    let calls = calls(&host).await;
    for_each(0..calls, |call| async move {
        let host = TestHost::new();
        host.fakes.knobs.set("*", Rule::cut_off_after(call));
        let agent = host.start();
        agent.keeper.accept(upserts()).await.unwrap();
        until_cut_off(&host.fakes.knobs, &agent, all_ready).await;
        drop(agent);
        host.fakes.knobs.revive();
        let agent = host.start();
        until(&agent, &format!("after dying at call {call}"), all_ready).await;
        assert_eq!(carried(&host).guests, 1, "after dying at call {call}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_dies_at_any_call_is_finished() {
    let host = TestHost::new();
    let agent = settled(&host).await;
    let before = calls(&host).await;
    agent.keeper.accept(releases()).await.unwrap();
    until(&agent, "everything is released", all_released).await;
    drop(agent);
    let calls = calls(&host).await - before;
    for_each(0..calls, |call| async move {
        let host = TestHost::new();
        let agent = settled(&host).await;
        host.fakes.knobs.set("*", Rule::cut_off_after(call));
        agent.keeper.accept(releases()).await.unwrap();
        until_cut_off(&host.fakes.knobs, &agent, all_released).await;
        drop(agent);
        host.fakes.knobs.revive();
        let agent = host.start();
        until(&agent, &format!("after dying at call {call}"), all_released).await;
        assert_eq!(carried(&host).guests, 0, "after dying at call {call}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_may_fail_once_or_lose_its_answer() {
    let host = TestHost::new();
    drop(settled(&host).await);
    let names: Vec<String> = host.fakes.knobs.counts().into_keys().collect();
    let cases = names.into_iter().flat_map(|name| {
        [
            (name.clone(), Rule::fail_once()),
            (name, Rule::lose_answer_once()),
        ]
    });
    futures::stream::iter(cases)
        .for_each_concurrent(AT_A_TIME, |(name, rule)| async move {
            let host = TestHost::new();
            let what = format!("{name}: {rule:?}");
            host.fakes.knobs.set(name, rule);
            let agent = host.start();
            agent.keeper.accept(upserts()).await.unwrap();
            until(&agent, &what, all_ready).await;
            agent.keeper.accept(releases()).await.unwrap();
            until(&agent, &what, all_released).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebooted_host_brings_its_machines_back_without_an_operator() {
    let mut host = TestHost::new();
    let agent = settled(&host).await;
    drop(agent);
    host.reboot();
    assert_eq!(carried(&host).guests, 0);
    let agent = host.start();
    let vm = *plan()
        .items
        .keys()
        .find(|k| k.kind == ItemKind::Vm)
        .unwrap();
    until(&agent, "everything is back", |standing| {
        all_ready(standing) && standing.observations.contains_key(&vm)
    })
    .await;
    assert_eq!(carried(&host).guests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_has_lost_its_ledger_removes_nothing() {
    let host = TestHost::new();
    drop(settled(&host).await);
    let before = carried(&host);
    std::fs::remove_dir_all(host.folder.path().join("state")).unwrap();
    let agent = host.start();
    let looked = async {
        while !agent.health.waits_for().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, looked).await.unwrap();
    assert_eq!(carried(&host), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_told_until_it_is_confirmed_and_then_forgotten() {
    let host = TestHost::new();
    let agent = settled(&host).await;
    let key = *plan()
        .items
        .keys()
        .find(|k| k.kind == ItemKind::Vm)
        .unwrap();
    let epoch = plan().items[&key].epoch;
    let release = releases().into_iter().find(|change| match change {
        Change::Release(release) => release.key == key,
        Change::Upsert(..) => false,
    });
    // A confirmation of what is not done yet is not believed.
    let confirmed = [ReleaseRef { key, epoch }];
    host.fakes.knobs.set("libvirt.*", Rule::hang());
    agent
        .keeper
        .accept(release.into_iter().collect())
        .await
        .unwrap();
    agent.keeper.confirm(&confirmed).await.unwrap();
    assert!(agent.keeper.ledger().await.releases.contains_key(&key));
    host.fakes.knobs.clear("libvirt.*");
    until(&agent, "it is done", |s| s.released.contains_key(&key)).await;
    // The agent dies before it could tell: the next one tells.
    drop(agent);
    let agent = host.start();
    until(&agent, "it is told again", |s| {
        s.released.contains_key(&key)
    })
    .await;
    agent.keeper.confirm(&confirmed).await.unwrap();
    assert!(agent.keeper.ledger().await.releases.is_empty());
    until(&agent, "it is forgotten", |s| s.released.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_call_holds_back_its_own_item_alone() {
    let host = TestHost::new();
    let agent = host.start();
    host.fakes.knobs.set("pool.fetch_image", Rule::hang());
    let image = |key: &ItemKey| key.kind == ItemKind::Image;
    agent.keeper.accept(upserts()).await.unwrap();
    let network = |key: &ItemKey| matches!(key.kind, ItemKind::Network | ItemKind::Endpoint);
    let plan = plan();
    until(&agent, "what needs no image is ready", |standing| {
        let mut keys = plan.items.keys();
        keys.all(|key| !network(key) || is_ready(standing, key))
    })
    .await;
    let ready = agent.keeper.standing().borrow().ready();
    assert!(ready.iter().all(|key| !image(key)), "{ready:?}");
    host.fakes.knobs.clear("pool.fetch_image");
    until(&agent, "the rest follows", all_ready).await;
}
