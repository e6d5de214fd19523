//! Machines on simulated hosts, by the real operator and the real agents: what runs, what is left
//! when it goes, and that nothing happens when an operator comes or goes.

pub mod province;

use dc_operator::operator::Parts;
use dc_operator_core::claims::Claims;
use dc_types::InstanceId;
use dc_types::plan::{ItemKey, ItemKind};
use kube::api::DeleteParams;

use super::sessions::running::{Operator, eventually};
use province::{DEADLINE, Province};

/// Claims without the certificates of hosts, which come and go by themselves.
pub fn claims(parts: &Parts) -> Claims {
    let mut claims = parts.ledger.with_claims(Clone::clone);
    claims.hosts.clear();
    claims
}

/// No address, MAC, id or volume has two owners, and every machine stands on one host.
pub fn assert_sound(claims: &Claims) {
    let mut volumes = std::collections::BTreeSet::new();
    let mut addresses = std::collections::BTreeSet::new();
    for vm in claims.vms.values() {
        for volume in &vm.value.volumes {
            assert!(volumes.insert(*volume), "volume {volume} is claimed twice");
            let attached = &claims.attachment_of(*volume).unwrap().value;
            assert_eq!((attached.vm, &attached.host), (vm.value.vm, &vm.value.host));
        }
        for card in &vm.value.cards {
            assert!(
                addresses.insert((card.subnet, card.v4)),
                "{:?} twice",
                card.v4
            );
            assert!(addresses.insert((card.subnet, None)) || card.v4.is_some());
        }
    }
    assert_eq!(volumes.len(), claims.attachments.len());
}

pub async fn lead(province: &mut Province) -> (Operator, Parts) {
    let operator = province.place.real_operator().await;
    let parts = operator.leading().await;
    province.start_agents().await;
    province.wait_connected().await;
    (operator, parts)
}

/// Returns when a leader that has just begun has looked at everything and heard every host.
pub async fn settle(province: &Province, parts: &Parts) {
    eventually("the board is complete", || parts.board.is_complete()).await;
    province.wait_connected().await;
    let told = || {
        let claims = claims(parts);
        let claims = claims.vms.values();
        claims.into_iter().all(|vm| {
            let key = ItemKey::new(ItemKind::Vm, vm.value.vm.0);
            let item = parts.board.get(&vm.value.host, &key);
            let said = parts.observed.item(&vm.value.host, &key);
            item.is_some_and(|item| said.is_some_and(|said| said.hash == item.hash()))
        })
    };
    eventually("every machine is planned and heard of", told).await;
}

fn id_of(claims: &Claims, name: &str) -> InstanceId {
    let vm = claims.vms.values().find(|vm| vm.value.owner.name == name);
    vm.unwrap().value.vm
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_runs_on_one_host_and_leaves_nothing_when_it_goes() {
    let mut province = Province::start().await;
    let (operator, parts) = lead(&mut province).await;
    let ready = || {
        let now = claims(&parts);
        !now.subnets.is_empty() && !now.departments.is_empty()
    };
    eventually("the subnet and its department's network are claimed", ready).await;
    let before = claims(&parts);

    province.apply_vms(["web"]);
    let vm = province.wait_state("web", "Running").await;
    let now = claims(&parts);
    assert_sound(&now);
    let id = id_of(&now, "web");
    let status = vm.status.unwrap();
    assert_eq!(province.runs_on(id), [status.host.unwrap()]);
    assert_eq!((now.volumes.len(), now.attachments.len()), (1, 1));

    province
        .vms()
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    let gone = || {
        let now = claims(&parts);
        now.vms.is_empty() && now.volumes.is_empty() && now.releases.is_empty()
    };
    eventually("nothing is claimed", gone).await;
    let now = claims(&parts);
    assert_eq!(now.held, before.held, "addresses and MACs are free again");
    assert!(now.attachments.is_empty());
    assert!(province.runs_on(id).is_empty());
    let volumes = province.volumes();
    dc_lab::wait::until("the objects are gone", DEADLINE, async || {
        let left = volumes.list(&Default::default()).await.unwrap().items;
        match left.is_empty() && province.vms().get_opt("web").await.unwrap().is_none() {
            true => dc_lab::wait::Look::Holds(()),
            false => dc_lab::wait::Look::NotYet(format!("{left:#?}")),
        }
    })
    .await
    .unwrap();
    province.stop_agents().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_comes_back_changes_nothing() {
    let mut province = Province::start().await;
    let (operator, parts) = lead(&mut province).await;
    let names = ["a", "b", "c", "d"];
    province.apply_vms(names);
    for name in names {
        province.wait_state(name, "Running").await;
    }
    let before = claims(&parts);
    assert_sound(&before);
    let versions = province.versions().await;
    let changes = province.changes();

    let address = operator.address();
    operator.stop().await;
    let operator = province.place.real_operator_at(address).await;
    let parts = operator.leading().await;
    settle(&province, &parts).await;
    assert_eq!(claims(&parts), before);
    assert_eq!(province.versions().await, versions, "a status was written");
    assert_eq!(province.changes(), changes, "a host was touched");
    province.stop_agents().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_operators_the_second_takes_over_in_the_middle_and_nothing_is_doubled() {
    let mut province = Province::start().await;
    let first = province.place.real_operator().await;
    first.leading().await;
    let second = province.place.real_operator().await;
    second.started().await;
    province.start_agents().await;
    province.wait_connected().await;
    province.stop_agents().await;
    province.run_agents(&[second.advertise().to_owned()]);
    province.wait_connected().await;

    let names: Vec<String> = (0..12).map(|n| format!("vm-{n}")).collect();
    province.apply_vms(names.iter().map(String::as_str));
    province.wait_state("vm-3", "Running").await;
    // Not asked to end: its lease is not given back, and its sessions break.
    first.kill();
    let parts = second.leading().await;
    for name in &names {
        province.wait_state(name, "Running").await;
    }
    let now = claims(&parts);
    assert_sound(&now);
    assert_eq!(now.vms.len(), names.len());
    for vm in now.vms.values() {
        assert_eq!(province.runs_on(vm.value.vm), [vm.value.host.to_string()]);
    }

    province.stop_agents().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_host_keeps_its_machines_and_nothing_starts_elsewhere() {
    let mut province = Province::start().await;
    let (operator, parts) = lead(&mut province).await;
    province.apply_vms(["web"]);
    let vm = province.wait_state("web", "Running").await;
    let host = vm.status.unwrap().host.unwrap();
    let before = claims(&parts);
    let id = id_of(&before, "web");

    // Its agent falls silent; its guest goes on.
    let at = province
        .hosts
        .iter()
        .position(|h| h.agent.host.as_str() == host);
    let silent = province.hosts.remove(at.unwrap());
    silent.agent.stop().await;
    let vm = province.wait_state("web", "Unknown").await;
    let ready = vm
        .status
        .unwrap()
        .conditions
        .into_iter()
        .find(|c| c.type_ == "Ready");
    assert_eq!(ready.unwrap().reason, "HostSilent");
    // A machine that comes now goes elsewhere; this one stays where it is.
    province.apply_vms(["other"]);
    let other = province.wait_state("other", "Running").await;
    assert_ne!(other.status.unwrap().host.unwrap(), host);
    let now = claims(&parts);
    assert_eq!(now.vms[&id], before.vms[&id]);
    assert!(province.runs_on(id).is_empty(), "it was started elsewhere");

    province.stop_agents().await;
    province.run_agents(&[]);
    province.wait_state("web", "Running").await;
    assert_eq!(province.runs_on(id), [host]);
    province.stop_agents().await;
    operator.stop().await;
}
