//! The real control plane, started and taken away.

use std::fs;
use std::path::Path;
use std::time::Duration;

use dc_lab::control_plane::{ControlPlane, Durability, api_server, controller_manager};
use dc_lab::kubectl::Kubectl;
use dc_lab::process::{self, Ensured};
use dc_lab::toolbox::Tool;
use dc_lab::wait::{self, Look};
use dc_lab::{helm, remains, teardown};

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_control_plane_is_real_and_leaves_nothing_behind() {
    let plane = ControlPlane::start_for_test("real").await.unwrap();
    let kubectl = plane.kubectl().unwrap();

    let version = kubectl.json(&["version"]).unwrap();
    let server = version
        .pointer("/serverVersion/gitVersion")
        .and_then(|v| v.as_str());
    let client = version
        .pointer("/clientVersion/gitVersion")
        .and_then(|v| v.as_str());
    assert!(
        server.is_some_and(|version| version.starts_with("v1.")),
        "{version}"
    );
    assert_eq!(server, client);

    create_namespace(&kubectl, "so-tai-chinh").await;

    let lab = plane.lab().clone();
    let processes = teardown::processes_of(&lab);
    assert_eq!(
        processes.len(),
        4,
        "two etcds, the API server and the controller manager"
    );
    plane.stop().unwrap();
    assert!(processes.iter().all(|process| !process.is_alive()));
    assert_eq!(remains::find(&lab).unwrap(), [""; 0]);
}

/// With the default service account, the work of the controller manager: once it is there, that is
/// past its start, in which it ends when the API server does.
async fn create_namespace(kubectl: &Kubectl, name: &str) {
    kubectl.run(&["create", "namespace", name]).unwrap();
    wait::until("the default service account", DEADLINE, async || {
        Look::from_attempt(kubectl.run(&["-n", name, "get", "serviceaccount", "default"]))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_was_killed_comes_back_with_its_data_and_the_rest_is_kept() {
    let plane = ControlPlane::start_for_test("killed").await.unwrap();
    let kubectl = plane.kubectl().unwrap();
    create_namespace(&kubectl, "kept").await;
    let manager = process::running(plane.lab(), controller_manager::PROCESS).unwrap();
    process::kill(plane.lab(), api_server::PROCESS).unwrap();
    plane.ledger().kill().unwrap();

    let again = ControlPlane::ensure(plane.lab(), Durability::InMemory)
        .await
        .unwrap();
    kubectl.run(&["get", "namespace", "kept"]).unwrap();
    assert_eq!(
        process::running(plane.lab(), controller_manager::PROCESS).unwrap(),
        manager
    );
    assert!(matches!(
        again.ledger().ensure().await.unwrap(),
        Ensured::Kept(_)
    ));
}

#[tokio::test]
async fn a_restored_ledger_holds_what_it_held_then() {
    let plane = ControlPlane::start_for_test("ledger").await.unwrap();
    let put = |value: &str| etcdctl(&plane, &["put", "claim", value]);
    let get = || etcdctl(&plane, &["get", "claim", "--print-value-only"]);
    put("before");
    let snapshot = plane.lab().folder().join("then.db");
    plane.ledger().save_snapshot(&snapshot).unwrap();
    put("after");
    plane.ledger().restore_snapshot(&snapshot).unwrap();
    plane.ledger().ensure().await.unwrap();
    assert_eq!(get().trim(), "before");
    plane.ledger().wipe().unwrap();
    plane.ledger().ensure().await.unwrap();
    assert_eq!(get().trim(), "");
}

fn etcdctl(plane: &ControlPlane, args: &[&str]) -> String {
    let mut command = std::process::Command::new(plane.tools().path(Tool::Etcdctl).unwrap());
    command
        .args(["--endpoints", &plane.ledger().url()])
        .args(args);
    dc_lab::progress::run(&mut command).unwrap()
}

#[tokio::test]
async fn a_chart_is_installed_twice_and_its_service_account_may_only_what_it_grants() {
    let plane = ControlPlane::start_for_test("chart").await.unwrap();
    let chart = plane.lab().subfolder("chart").unwrap();
    write_chart(&chart);
    let release = helm::Release {
        name: "small",
        namespace: "dc-system",
        chart: &chart,
        values: &[("greeting", "hello")],
    };
    let program = plane.tools().path(Tool::Helm).unwrap();
    let admin = plane.kubectl().unwrap();
    for _ in 0..2 {
        helm::ensure(program, &admin, plane.lab(), &release).unwrap();
    }
    // As an interrupted first install leaves it: objects without a finished release.
    admin
        .run(&[
            "label",
            "--overwrite",
            "--namespace=dc-system",
            "secrets",
            "--selector=owner=helm,name=small",
            "status=pending-install",
        ])
        .unwrap();
    helm::ensure(program, &admin, plane.lab(), &release).unwrap();
    let map = admin
        .json(&["-n", "dc-system", "get", "configmap", "small"])
        .unwrap();
    assert_eq!(
        map.pointer("/data/greeting")
            .and_then(|value| value.as_str()),
        Some("hello")
    );

    let kubeconfig =
        helm::service_account_kubeconfig(plane.lab(), &admin, "dc-system", "reader").unwrap();
    let reader = Kubectl::new(plane.tools().path(Tool::Kubectl).unwrap(), &kubeconfig);
    reader.run(&["get", "configmap", "small"]).unwrap();
    let refused = reader.run(&["delete", "configmap", "small"]).unwrap_err();
    assert!(refused.to_string().contains("Forbidden"), "{refused}");
}

fn write_chart(folder: &Path) {
    let manifests = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: small, namespace: {{ .Release.Namespace }} }
data: { greeting: {{ .Values.greeting | quote }} }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: reader, namespace: {{ .Release.Namespace }} }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reader, namespace: {{ .Release.Namespace }} }
rules: [{ apiGroups: [""], resources: [configmaps], verbs: [get, list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: reader, namespace: {{ .Release.Namespace }} }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }
subjects: [{ kind: ServiceAccount, name: reader, namespace: {{ .Release.Namespace }} }]
"#;
    fs::create_dir_all(folder.join("templates")).unwrap();
    fs::write(
        folder.join("Chart.yaml"),
        "apiVersion: v2\nname: small\nversion: 0.1.0\n",
    )
    .unwrap();
    fs::write(folder.join("values.yaml"), "greeting: none\n").unwrap();
    fs::write(folder.join("templates/all.yaml"), manifests).unwrap();
}
