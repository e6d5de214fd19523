//! Directory pools by the real operator and the real agents over fakes: where their machines go, what
//! is said when they cannot, how a holder is waited for, and what a silent host keeps.

use dc_crds::condition::types;
use dc_crds::{Host, StoragePool, VirtualMachine};
use dc_host::drivers::FakeLocalGrants;
use dc_lab::wait::{Look, until};
use dc_operator::operator::Parts;
use dc_operator_core::conditions::find;
use dc_types::{InstanceId, PoolName};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::machines::lead;
use super::machines::province::{DEADLINE, DEPARTMENT, Province};
use super::sessions::running::eventually;

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": DEPARTMENT}, "spec": spec})
}

fn make_pools(province: &Province) {
    for (pool, host) in [("local-1", "compute-1"), ("local-2", "compute-2")] {
        let spec = json!({"driver": {"directory": {"host": host}}});
        let mut pool = object("StoragePool", pool, spec);
        pool["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("namespace");
        province.place.apply(&pool.to_string());
    }
}

/// A machine whose disks are made in these pools, the first one as its root.
fn apply_machine(province: &Province, name: &str, class: &str, pools: &[&str]) {
    let disk = |(n, pool): (usize, &&str)| {
        json!({"name": format!("disk{n}"),
            "template": {"pool": pool, "size": "1Gi", "reclaim": "Erase"}})
    };
    let disks: Vec<Value> = pools.iter().enumerate().map(disk).collect();
    let spec = json!({"system": "land", "class": class, "firmware": "bios", "disks": disks,
        "interfaces": [{"subnet": "app"}]});
    let vm = object("VirtualMachine", name, spec);
    province.place.apply(&vm.to_string());
}

/// Waits for the reason of a machine's Ready; answers with the message.
async fn says(province: &Province, name: &str, reason: &str) -> String {
    let vms = province.vms();
    until(&format!("{name} to say {reason}"), DEADLINE, async || {
        let vm = vms.get(name).await.unwrap();
        let status = vm.status.unwrap_or_default();
        let ready = find(&status.conditions, types::READY);
        match ready.filter(|ready| ready.reason == reason) {
            Some(ready) => Look::Holds(ready.message.clone()),
            None => Look::NotYet(format!("{status:#?}")),
        }
    })
    .await
    .unwrap()
}

fn names<'a>(province: &'a Province, host: &str, pool: &str) -> &'a FakeLocalGrants {
    let pool = PoolName::new(pool).unwrap();
    &province.host(host).fakes.folders[&pool]
}

async fn rest(province: &Province, host: &str, rests: bool) {
    let hosts: Api<Host> = Api::all(province.place.client());
    let patch = Patch::Merge(json!({"spec": {"maintenance": rests}}));
    let params = PatchParams::default();
    hosts.patch(host, &params, &patch).await.unwrap();
}

fn volume_of(parts: &Parts, vm: &VirtualMachine) -> InstanceId {
    let uid = vm.metadata.uid.as_ref().unwrap().parse().unwrap();
    parts
        .ledger
        .with_claims(|claims| claims.vms[&InstanceId(uid)].value.volumes[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_live_where_their_folder_is_and_each_host_says_why_they_cannot() {
    let mut province = Province::start().await;
    let (operator, parts) = lead(&mut province).await;
    make_pools(&province);
    let pools: Api<StoragePool> = Api::all(province.place.client());
    let pool = until("local-1 to be ready", DEADLINE, async || {
        let pool = pools.get("local-1").await.unwrap();
        let status = pool.status.unwrap_or_default();
        let ready = find(&status.conditions, types::READY);
        match ready.is_some_and(|ready| ready.reason == "Ready") {
            true => Look::Holds(status),
            false => Look::NotYet(format!("{status:#?}")),
        }
    });
    let pool = pool.await.unwrap();
    assert_eq!(pool.driver, "directory");
    let lacks: Vec<&str> = pool.lacks.iter().map(|lack| lack.verb.as_str()).collect();
    assert_eq!(lacks, ["Fence"]);

    // Each on the host of its folder, under the epoch of its attachment.
    for (name, pool, host) in [
        ("near-1", "local-1", "compute-1"),
        ("near-2", "local-2", "compute-2"),
        ("near-3", "local-2", "compute-2"),
    ] {
        apply_machine(&province, name, "tiny", &[pool, "san-1"]);
        let vm = province.wait_state(name, "Running").await;
        assert_eq!(vm.status.as_ref().unwrap().host.as_deref(), Some(host));
        let volume = volume_of(&parts, &vm);
        let epoch = parts
            .ledger
            .with_claims(|claims| claims.attachments[&volume].epoch);
        let opened = names(&province, host, pool).opened();
        assert_eq!(opened.get(&volume), Some(&epoch));
        let uid = vm.metadata.uid.as_ref().unwrap().parse().unwrap();
        assert_eq!(province.runs_on(InstanceId(uid)), [host]);
    }

    apply_machine(&province, "apart", "tiny", &["local-1", "local-2"]);
    let message = says(&province, "apart", "PoolsApart").await;
    assert!(message.contains("local-1 of compute-1"), "{message}");
    assert!(message.contains("local-2 của compute-2"), "{message}");
    let volumes = province.volumes();
    assert!(volumes.get_opt("apart-disk0").await.unwrap().is_none());

    // No room, for one reason or the other, and then there is some.
    let class = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "MachineClass",
        "metadata": {"name": "giant"},
        "spec": {"vcpus": 1, "memory": "900Ti", "cpuModel": "qemu64"}});
    province.place.apply(&class.to_string());
    apply_machine(&province, "giant", "giant", &["local-1"]);
    let message = says(&province, "giant", "NoCapacity").await;
    let hosts = message.split("Host by host: ").nth(1).unwrap();
    assert!(hosts.starts_with("compute-1: memory"), "{message}");
    let other = "host of the pool (need compute-1, which has pool local-1, have compute-2)";
    assert!(hosts.contains(other), "{message}");
    rest(&province, "compute-1", true).await;
    apply_machine(&province, "late", "tiny", &["local-1"]);
    let message = says(&province, "late", "NoCapacity").await;
    assert!(
        message.contains("Smallest change: end maintenance on compute-1"),
        "{message}"
    );
    assert!(
        message.contains(&format!("compute-2: {other}")),
        "{message}"
    );
    rest(&province, "compute-1", false).await;
    let late = province.wait_state("late", "Running").await;
    assert_eq!(late.status.unwrap().host.as_deref(), Some("compute-1"));

    province.stop_agents().await;
    operator.stop().await;
}

/// The volume is nobody else's, and its bytes stay, as long as a process has the file open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_is_waited_for_and_a_silent_host_keeps_what_it_has() {
    let mut province = Province::start().await;
    let (operator, parts) = lead(&mut province).await;
    make_pools(&province);
    for name in ["held", "kept"] {
        apply_machine(&province, name, "tiny", &["local-1"]);
    }
    let held = province.wait_state("held", "Running").await;
    province.wait_state("kept", "Running").await;
    let volume = volume_of(&parts, &held);
    let grants = names(&province, "compute-1", "local-1").clone();
    grants.set_holders(volume, vec!["qemu-system-x86 (4711)".into()]);
    let delete = DeleteParams::default();
    province.vms().delete("held", &delete).await.unwrap();
    eventually("it is tried again", || grants.waited() >= 2).await;
    assert!(grants.opened().contains_key(&volume), "cut off a holder");
    let driver = province
        .host("compute-1")
        .fakes
        .pools
        .values()
        .next()
        .unwrap();
    assert!(driver.erased().is_empty(), "erased under a holder");
    let volumes = province.volumes();
    assert!(volumes.get_opt("held-disk0").await.unwrap().is_some());
    grants.set_holders(volume, Vec::new());
    until("the volume to be gone", DEADLINE, async || {
        match volumes.get_opt("held-disk0").await.unwrap() {
            None => Look::Holds(()),
            Some(volume) => Look::NotYet(format!("{:?}", volume.status)),
        }
    })
    .await
    .unwrap();
    assert_eq!(driver.erased(), [volume]);

    let at = province
        .hosts
        .iter()
        .position(|host| host.agent.host.as_str() == "compute-1");
    let silent = province.hosts.remove(at.unwrap());
    silent.agent.stop().await;
    let message = says(&province, "kept", "HostSilent").await;
    assert!(message.contains("cannot be started elsewhere"), "{message}");
    assert!(message.contains("local-1"), "{message}");
    province.vms().delete("kept", &delete).await.unwrap();
    until("it waits for its host", DEADLINE, async || {
        let vm = province.vms().get("kept").await.unwrap();
        let status = vm.status.unwrap_or_default();
        let ready = find(&status.conditions, types::READY);
        let message = ready.map_or("", |ready| ready.message.as_str());
        match message.contains("when the host has confirmed it") {
            true => Look::Holds(()),
            false => Look::NotYet(message.to_owned()),
        }
    })
    .await
    .unwrap();
    let attached = parts.ledger.with_claims(|claims| claims.attachments.len());
    assert_eq!(attached, 1, "given back without its host");
    province.stop_agents().await;
    operator.stop().await;
}
