//! Quotas by the real operator on a real ledger: crowds, changes of leader, growth, and limits that
//! are moved.

use std::collections::BTreeSet;
use std::time::Duration;

use dc_crds::quota::QuotaLine;
use dc_crds::{Department, InformationSystem, VirtualMachine};
use dc_lab::wait::{Look, until};
use dc_operator::operator::Parts;
use dc_types::claim::keys;
use etcd_client::{Client as Etcd, EventType, GetOptions, WatchOptions};
use futures::{StreamExt, stream};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::machines::province::{DEPARTMENT, Province};
use super::machines::{assert_sound, claims, lead, settle};

/// A thousand objects get a status each from an operator that shares two cores with everything else.
const CROWD_DEADLINE: Duration = Duration::from_secs(1200);
const DEADLINE: Duration = Duration::from_secs(600);
/// As many as ask the API server at once.
const AT_ONCE: usize = 64;

async fn set_quota(province: &Province, quota: Value) {
    let departments: Api<Department> = Api::all(province.place.client());
    let patch = Patch::Merge(json!({"spec": {"quota": quota}}));
    let ours = PatchParams::default();
    departments.patch(DEPARTMENT, &ours, &patch).await.unwrap();
}

async fn department(province: &Province) -> Department {
    let departments: Api<Department> = Api::all(province.place.client());
    departments.get(DEPARTMENT).await.unwrap()
}

fn machine(name: &str) -> VirtualMachine {
    let vm = json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": DEPARTMENT},
        "spec": {
            "system": "land", "class": "tiny",
            "disks": [{"name": "root",
                       "template": {"pool": "san-1", "size": "1Gi", "reclaim": "Erase"}}],
            "interfaces": [{"subnet": "app"}],
        },
    });
    serde_json::from_value(vm).unwrap()
}

async fn create_at_once(province: &Province, numbers: std::ops::Range<usize>) {
    let vms = province.vms();
    let create = |n| {
        let vms = vms.clone();
        async move {
            let machine = machine(&format!("crowd-{n}"));
            vms.create(&PostParams::default(), &machine).await.unwrap();
        }
    };
    let created = stream::iter(numbers).map(create).buffer_unordered(AT_ONCE);
    created.collect::<Vec<()>>().await;
}

fn reason(vm: &VirtualMachine) -> String {
    let status = vm.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
    ready.map_or(String::new(), |ready| ready.reason.clone())
}

async fn all(province: &Province) -> Vec<VirtualMachine> {
    let list = ListParams::default();
    province.vms().list(&list).await.unwrap().items
}

/// Names of machines that hold a claim.
fn claimed(parts: &Parts) -> BTreeSet<String> {
    let claims = claims(parts);
    let names = claims.vms.values().map(|vm| vm.value.owner.name.clone());
    names.collect()
}

/// Waits until so many are claimed, every other one says that the quota is used up, and no volume
/// was made for those.
async fn wait_full(province: &Province, parts: &Parts, limit: usize) {
    let volumes = province.volumes();
    until(
        &format!("{limit} to be claimed"),
        CROWD_DEADLINE,
        async || {
            let (all, claimed) = (all(province).await, claimed(parts));
            let refused = all.iter().filter(|vm| reason(vm) == "QuotaExceeded");
            let refused = refused.count();
            let volumes = volumes.list(&ListParams::default()).await.unwrap();
            let volumes = volumes.items.len();
            match claimed.len() == limit && claimed.len() + refused == all.len() && volumes == limit
            {
                true => Look::Holds(()),
                false => Look::NotYet(format!(
                    "of {} {} are claimed, {refused} refused, with {volumes} volumes",
                    all.len(),
                    claimed.len()
                )),
            }
        },
    )
    .await
    .unwrap();
}

/// The machines that wait, the oldest first.
async fn waiting(province: &Province, parts: &Parts) -> Vec<String> {
    let claimed = claimed(parts);
    let mut all = all(province).await;
    all.retain(|vm| !claimed.contains(&vm.name_any()));
    all.sort_by_key(|vm| {
        let created = vm.creation_timestamp().map(|created| created.0);
        (created, vm.uid().unwrap())
    });
    all.iter().map(ResourceExt::name_any).collect()
}

/// The most machines that were ever claimed at once, from the ledger's own history.
async fn most_ever_claimed(province: &Province) -> usize {
    let mut etcd = Etcd::connect([province.place.ledger().url()], None)
        .await
        .unwrap();
    let prefix = format!("/dc/test/{}", keys::VM);
    let now = etcd.get(prefix.as_str(), Some(GetOptions::new().with_prefix()));
    let now = now.await.unwrap();
    let end = now.header().unwrap().revision();
    let options = WatchOptions::new().with_prefix().with_start_revision(1);
    let mut watch = etcd.watch(prefix.as_str(), Some(options)).await.unwrap();
    let last = now.kvs().iter().map(|kv| kv.mod_revision()).max();
    let last = last.unwrap_or(end);
    let (mut held, mut most) = (BTreeSet::new(), 0);
    while let Some(answer) = watch.message().await.unwrap() {
        for event in answer.events() {
            let kv = event.kv().unwrap();
            let key = kv.key_str().unwrap().to_owned();
            match event.event_type() {
                EventType::Put => held.insert(key),
                EventType::Delete => held.remove(&key),
            };
            most = most.max(held.len());
            if kv.mod_revision() >= last {
                return most;
            }
        }
    }
    panic!("the history ends before revision {last}");
}

fn line(department: &Department, resource: &str) -> Option<QuotaLine> {
    let status = department.status.as_ref()?;
    let mut lines = status.quota.iter();
    lines.find(|line| line.resource == resource).cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_take_just_what_is_left_and_a_killed_leader_changes_nothing() {
    const LIMIT: usize = 20;
    let mut province = Province::start().await;
    set_quota(&province, json!({"virtualMachines": LIMIT})).await;
    let first = province.place.real_operator().await;
    let parts = first.leading().await;
    let second = province.place.real_operator().await;
    second.started().await;
    province.start_agents().await;
    province.wait_connected().await;
    province.stop_agents().await;
    province.run_agents(&[second.advertise().to_owned()]);
    province.wait_connected().await;

    // One less than the limit, then the crowd.
    let before: Vec<String> = (1..LIMIT).map(|n| format!("early-{n}")).collect();
    province.apply_vms(before.iter().map(String::as_str));
    wait_full(&province, &parts, LIMIT - 1).await;
    create_at_once(&province, 0..500).await;
    first.kill();
    create_at_once(&province, 500..1000).await;
    let parts = second.leading().await;
    wait_full(&province, &parts, LIMIT).await;
    assert_sound(&claims(&parts));
    assert_eq!(most_ever_claimed(&province).await, LIMIT);

    // An operator that begins anew decides the same.
    let before = claims(&parts);
    second.stop().await;
    let third = province.place.real_operator().await;
    let parts = third.leading().await;
    province.stop_agents().await;
    province.run_agents(&[third.advertise().to_owned()]);
    settle(&province, &parts).await;
    wait_full(&province, &parts, LIMIT).await;
    assert_eq!(claims(&parts), before);

    // More room goes to those that have waited longest, and so does what is given back.
    let oldest: BTreeSet<String> = waiting(&province, &parts)
        .await
        .into_iter()
        .take(5)
        .collect();
    let held = claimed(&parts);
    set_quota(&province, json!({"virtualMachines": LIMIT + 5})).await;
    wait_full(&province, &parts, LIMIT + 5).await;
    let now = claimed(&parts);
    let new: BTreeSet<String> = now.difference(&held).cloned().collect();
    assert_eq!(new, oldest);
    let next = waiting(&province, &parts).await.remove(0);
    let gone = DeleteParams::default();
    province.vms().delete("early-1", &gone).await.unwrap();
    until(
        "the next to be claimed",
        DEADLINE,
        async || match claimed(&parts).contains(&next) {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{:?}", claimed(&parts))),
        },
    )
    .await
    .unwrap();
    wait_full(&province, &parts, LIMIT + 5).await;
    assert_eq!(most_ever_claimed(&province).await, LIMIT + 5);
    until("the department to say so", DEADLINE, async || {
        let line = line(&department(&province).await, "virtualMachines");
        let line = line.map(|line| (line.used, line.limit, line.free, line.reserved));
        let waits = (1000 + LIMIT - 1 - 1 - (LIMIT + 5)).to_string();
        match line == Some(("25".into(), Some("25".into()), Some("0".into()), waits)) {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{line:?}")),
        }
    })
    .await
    .unwrap();
    province.stop_agents().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn growth_waits_for_room_and_a_lower_quota_takes_nothing_away() {
    let mut province = Province::start().await;
    let three = json!({"storage": [{"class": "standard", "size": "3Gi"}], "subnets": 1});
    set_quota(&province, three).await;
    let (operator, parts) = lead(&mut province).await;
    province.apply_vms(["web"]);
    province.wait_state("web", "Running").await;
    let volume = |size: &str| {
        format!(
            "{{apiVersion: dc.sonla.gov.vn/v1alpha1, kind: Volume, metadata: {{name: data, \
             namespace: {DEPARTMENT}}}, spec: {{system: land, pool: san-1, size: {size}}}}}"
        )
    };
    province.place.apply(&volume("1Gi"));
    province.wait_volume("data", "Ready", "1Gi").await;
    province.place.apply(&volume("3Gi"));
    let refused = province.wait_volume("data", "QuotaExceeded", "1Gi").await;
    let says = "storage of class standard: 2Gi asked for, 2Gi used, limit 3Gi, 1Gi free";
    assert!(refused.contains(says), "{refused}");
    assert!(refused.contains("lưu trữ loại standard"), "{refused}");
    set_quota(
        &province,
        json!({"storage": [{"class": "standard", "size": "4Gi"}]}),
    )
    .await;
    province.wait_volume("data", "Ready", "3Gi").await;

    let (_, metrics) = operator.get("/metrics").await;
    let shown = "dc_operator_quota_amount{department=\"so-nnmt\",resource=\"storage/standard\",\
                 amount=\"limit\"} 4294967296";
    assert!(metrics.contains(shown), "{metrics}");

    let less = json!({"storage": [{"class": "standard", "size": "1Gi"}], "virtualMachines": 0});
    set_quota(&province, less).await;
    let before = claims(&parts);
    until(
        "the department to be over its quota",
        DEADLINE,
        async || {
            let status = department(&province).await.status.unwrap_or_default();
            let within = status.conditions.iter().find(|c| c.type_ == "WithinQuota");
            match within
                .is_some_and(|c| c.reason == "OverQuota" && c.message.contains("4Gi of 1Gi"))
            {
                true => Look::Holds(()),
                false => Look::NotYet(format!("{status:#?}")),
            }
        },
    )
    .await
    .unwrap();
    province.apply_vms(["late"]);
    until("the late one to be refused", DEADLINE, async || {
        let vm = province.vms().get("late").await.unwrap();
        match reason(&vm) == "QuotaExceeded" {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{:?}", vm.status)),
        }
    })
    .await
    .unwrap();
    province.wait_state("web", "Running").await;
    assert_eq!(claims(&parts), before);
    province.stop_agents().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_whose_lease_ends_is_stopped_and_told_of_and_runs_again_when_it_is_extended() {
    let mut province = Province::start().await;
    let (operator, parts) = lead(&mut province).await;
    province.apply_vms(["web"]);
    province.wait_state("web", "Running").await;
    let before = claims(&parts);
    let lease = |after_s: i64| {
        let until = Timestamp::now() + SignedDuration::from_secs(after_s);
        json!({"spec": {"lease": {"until": until.to_string(), "warnDays": [30]}}})
    };
    let vms = province.vms();
    let ours = PatchParams::default();
    vms.patch("web", &ours, &Patch::Merge(lease(86_400)))
        .await
        .unwrap();
    wait_event(&province, "web", "LeaseEnding").await;
    // Nothing but the time wakes it.
    vms.patch("web", &ours, &Patch::Merge(lease(3)))
        .await
        .unwrap();
    province.wait_state("web", "Stopped").await;
    wait_event(&province, "web", "LeaseEnded").await;
    assert_eq!(reason(&vms.get("web").await.unwrap()), "LeaseEnded");
    assert_eq!(claims(&parts), before);

    vms.patch("web", &ours, &Patch::Merge(lease(86_400 * 365)))
        .await
        .unwrap();
    province.wait_state("web", "Running").await;
    // The system's lease is its machines' too.
    let systems: Api<InformationSystem> = Api::namespaced(province.place.client(), DEPARTMENT);
    systems
        .patch("land", &ours, &Patch::Merge(lease(-1)))
        .await
        .unwrap();
    province.wait_state("web", "Stopped").await;
    province.stop_agents().await;
    operator.stop().await;
}

async fn wait_event(province: &Province, name: &str, reason: &str) {
    let events: Api<Event> = Api::namespaced(province.place.client(), DEPARTMENT);
    until(&format!("an event {reason}"), DEADLINE, async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let told = events.iter().any(|event| {
            let of = event.regarding.as_ref().and_then(|of| of.name.as_deref());
            of == Some(name) && event.reason.as_deref() == Some(reason)
        });
        match told {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{} events", events.len())),
        }
    })
    .await
    .unwrap();
}
