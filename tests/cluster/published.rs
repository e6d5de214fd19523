//! What is reached from outside is what the quota has room for and the object still names, as the
//! hosts are told it.

use std::time::Duration;

use dc_crds::{Department, VirtualMachine};
use dc_lab::wait::{Look, until};
use dc_operator::operator::Parts;
use dc_types::InstanceId;
use dc_types::plan::{ItemBody, ItemKey};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::machines::province::{DEPARTMENT, Province};
use super::machines::{claims, lead};

const DEADLINE: Duration = Duration::from_secs(600);

const DMZ: &str = "
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: Zone
metadata: {name: dmz}
spec:
  type: dmz
  poolV4: {cidr: 10.32.0.0/12, prefixLength: 26}
  ingress:
  - from: outside
    services:
    - {name: http, protocol: tcp, port: 80}
    - {name: https, protocol: tcp, port: 443}
    - {name: smtp, protocol: tcp, port: 25}
---
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: Subnet
metadata: {name: web, namespace: so-nnmt}
spec: {zone: dmz}
";

fn machine(name: &str, publish: &[&str]) -> String {
    format!(
        "
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: VirtualMachine
metadata: {{name: {name}, namespace: {DEPARTMENT}}}
spec:
  system: land
  class: tiny
  disks: [{{name: root, template: {{pool: san-1, size: 1Gi, reclaim: Erase}}}}]
  interfaces: [{{subnet: web, publish: {publish:?}}}]
"
    )
}

async fn limit(province: &Province, quota: Value) {
    let departments: Api<Department> = Api::all(province.place.client());
    let patch = Patch::Merge(json!({"spec": {"quota": quota}}));
    let ours = PatchParams::default();
    departments.patch(DEPARTMENT, &ours, &patch).await.unwrap();
}

/// The services of a machine that its host lets in.
fn open(parts: &Parts, name: &str) -> Option<Vec<String>> {
    let claims = claims(parts);
    let claim = claims.vms.values().find(|vm| vm.value.owner.name == name)?;
    let vm: InstanceId = claim.value.vm;
    let item = parts
        .board
        .get(&claim.value.host, &ItemKey::endpoint(vm, 0))?;
    match &item.body {
        ItemBody::Endpoint(endpoint) => {
            let names = endpoint.published.iter();
            Some(names.map(|service| service.name.clone()).collect())
        }
        body => panic!("{body:?}"),
    }
}

async fn wait_open(parts: &Parts, name: &str, services: &[&str]) {
    until(
        &format!("{name} to be open for {services:?}"),
        DEADLINE,
        async || match open(parts, name) {
            Some(open) if open == services => Look::Holds(()),
            other => Look::NotYet(format!("{other:?}")),
        },
    )
    .await
    .unwrap();
}

async fn wait_refused(province: &Province, name: &str) -> String {
    until(&format!("{name} to be refused"), DEADLINE, async || {
        let vm: VirtualMachine = province.vms().get(name).await.unwrap();
        let status = vm.status.unwrap_or_default();
        match status
            .conditions
            .iter()
            .find(|c| c.reason == "QuotaExceeded")
        {
            Some(condition) => Look::Holds(condition.message.clone()),
            None => Look::NotYet(format!("{status:#?}")),
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_is_what_there_is_room_for_and_what_is_taken_out_closes_at_once() {
    let mut province = Province::start().await;
    limit(
        &province,
        json!({"publicAddresses": 1, "publishedServices": 1}),
    )
    .await;
    let (operator, parts) = lead(&mut province).await;
    province.place.apply(DMZ);
    province.place.apply(&machine("web", &["http"]));
    province.wait_state("web", "Running").await;
    wait_open(&parts, "web", &["http"]).await;

    // It runs on with what it has.
    province.place.apply(&machine("web", &["http", "https"]));
    let says = wait_refused(&province, "web").await;
    assert!(says.contains("1 asked for, 1 used"), "{says}");
    assert!(says.contains("spec.quota.publishedServices"), "{says}");
    assert_eq!(open(&parts, "web").unwrap(), ["http"]);
    province.place.apply(&machine("late", &["https"]));
    let says = wait_refused(&province, "late").await;
    assert!(says.contains("spec.quota.publicAddresses"), "{says}");
    assert_eq!(open(&parts, "late"), None);

    // What is taken out closes, though there is no room for what came in.
    province.place.apply(&machine("web", &["https", "smtp"]));
    wait_open(&parts, "web", &[]).await;
    // One in place of another is not more, whatever the limit has become.
    limit(
        &province,
        json!({"publicAddresses": 0, "publishedServices": 0}),
    )
    .await;
    province.place.apply(&machine("web", &["https"]));
    wait_open(&parts, "web", &["https"]).await;
    province.place.apply(&machine("web", &[]));
    wait_open(&parts, "web", &[]).await;

    limit(&province, Value::Null).await;
    wait_open(&parts, "late", &["https"]).await;
    province.wait_state("late", "Running").await;

    // Another leader opens what the claims have, and nothing else.
    operator.stop().await;
    let second = province.place.real_operator().await;
    let parts = second.leading().await;
    wait_open(&parts, "late", &["https"]).await;
    wait_open(&parts, "web", &[]).await;
    province.stop_agents().await;
    second.stop().await;
}
