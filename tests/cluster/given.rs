//! A cluster that is there already (`up --kubeconfig`): the ledger, the operator and the agents are
//! the lab's, the API server and what it holds are not.

use std::time::Duration;

use dc_lab::control_plane::{ControlPlane, test_lab};
use dc_lab::inventory::Size;
use dc_lab::lab::Lab;
use dc_lab::operator::{self, Agents, Replica};
use dc_lab::wait::{self, Look};
use dc_lab::{cargo, chart, simulated, status, teardown};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(600);
const SIZE: Size = Size {
    compute: 2,
    storage: 1,
    gateway: 1,
    folders: 0,
};

/// Taken away also when the test fails.
struct Beside(Lab);

impl Drop for Beside {
    fn drop(&mut self) {
        if self.0.folder().exists()
            && let Err(error) = teardown::remove(&self.0)
        {
            eprintln!("{error:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_cluster_is_used_and_stays_when_the_lab_beside_it_goes() {
    let given = ControlPlane::start_for_test("given").await.unwrap();
    let beside = Beside(test_lab("beside").unwrap());
    let programs = cargo::build_programs().unwrap();

    let plane = ControlPlane::ensure_beside(&beside.0, given.kubeconfig());
    let plane = plane.await.unwrap();
    assert!(plane.store().is_none(), "the cluster's etcd is not ours");
    // As when `up` was interrupted and run again.
    for _ in 0..2 {
        chart::ensure(&plane).await.unwrap();
        let operator = operator::ensure(&plane, &programs.operator, Replica::First, Agents::Local);
        operator.await.unwrap();
        let agents = simulated::ensure(&plane, &programs.agent, SIZE);
        agents.await.unwrap();
    }

    let kubectl = given.kubectl().unwrap();
    let department = json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1",
        "kind": "Department",
        "metadata": {"name": "so-nnmt"},
        "spec": {"kind": "department", "displayName": {"vi": "Sở thử", "en": "Trial"}},
    });
    kubectl
        .apply_text(&department.to_string(), "given-test")
        .unwrap();
    wait::until("a namespace and ready hosts", DEADLINE, async || {
        let namespace = kubectl.json(&["get", "namespace", "so-nnmt"]);
        let hosts = kubectl.json(&["get", "hosts"]).unwrap();
        let hosts = hosts["items"].as_array().cloned().unwrap_or_default();
        let ready = |host: &&serde_json::Value| status::condition(host, "Ready") == Some("True");
        let ready = hosts.iter().filter(ready).count();
        match namespace.is_ok() && ready == SIZE.hosts().len() {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{namespace:?}, {ready} of {} hosts", hosts.len())),
        }
    })
    .await
    .unwrap();

    let ours = teardown::processes_of(&beside.0);
    teardown::remove(&beside.0).unwrap();
    assert!(ours.iter().all(|process| !process.is_alive()));
    kubectl.run(&["get", "department", "so-nnmt"]).unwrap();
}
