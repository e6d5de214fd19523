//! Backups from kubectl to the repository and back, by the real operator and the real agents: on
//! simulated hosts, whose repositories are in memory and are what the archiver writes.

use dc_backup::{Password, Repository};
use dc_crds::condition::types;
use dc_crds::{Backup, Restore};
use dc_lab::wait::{Look, until};
use dc_operator_core::conditions::find;
use dc_types::plan::RepositoryPlace;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use super::machines::lead;
use super::machines::province::{DEADLINE, DEPARTMENT, Province};
use super::sessions::running::{eventually, recovery_keys};

fn apply(province: &Province, kind: &str, name: &str, spec: serde_json::Value) {
    let object = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": DEPARTMENT}, "spec": spec});
    province.place.apply(&object.to_string());
}

async fn backed_up(province: &Province, name: &str) -> Backup {
    let api: Api<Backup> = Api::namespaced(province.place.client(), DEPARTMENT);
    until(&format!("{name} to be done"), DEADLINE, async || {
        let found = api.get(name).await.unwrap();
        let status = found.status.clone().unwrap_or_default();
        match status.snapshot_id {
            Some(_) => Look::Holds(found),
            None => Look::NotYet(format!("{status:#?}")),
        }
    })
    .await
    .unwrap()
}

async fn restore_says(province: &Province, name: &str, reason: &str) -> Restore {
    let api: Api<Restore> = Api::namespaced(province.place.client(), DEPARTMENT);
    until(&format!("{name} to say {reason}"), DEADLINE, async || {
        let found = api.get(name).await.unwrap();
        let status = found.status.clone().unwrap_or_default();
        match find(&status.conditions, types::READY) {
            Some(ready) if ready.reason == reason => Look::Holds(found),
            _ => Look::NotYet(format!("{status:#?}")),
        }
    })
    .await
    .unwrap()
}

/// The department's repository, opened with nothing but the key on paper.
fn open(province: &Province) -> Repository {
    let place = RepositoryPlace::Folder {
        path: format!("/backups/{DEPARTMENT}"),
    };
    let store = province.host("storage-1").fakes.repositories.store(&place);
    let key = &recovery_keys()["first"];
    let password = key.password("main", DEPARTMENT);
    Repository::open(store, &Password::new(password.0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_goes_into_the_repository_and_a_volume_of_it_comes_back() {
    let mut province = Province::start().await;
    let (operator, parts) = lead(&mut province).await;
    let repository = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "BackupRepository",
        "metadata": {"name": "main"},
        "spec": {"folder": {"path": "/backups"}, "recoveryKey": "first"}});
    province.place.apply(&repository.to_string());
    province.apply_vms(["web"]);
    province.wait_state("web", "Running").await;

    let of_web = json!({"vm": "web", "repository": "main"});
    apply(&province, "Backup", "one", of_web.clone());
    let one = backed_up(&province, "one").await.status.unwrap();
    let there = open(&province).backups().unwrap();
    assert_eq!(there.len(), 1);
    assert_eq!(there[0].hostname, "so-nnmt/web");
    apply(&province, "Backup", "two", of_web);
    let two = backed_up(&province, "two").await.status.unwrap();
    assert_ne!(one.snapshot_id, two.snapshot_id);
    let why = two
        .volumes
        .iter()
        .map(|v| (v.incremental, v.why_full.clone()));
    assert_eq!(why.collect::<Vec<_>>(), [(true, None)]);
    assert_eq!(open(&province).backups().unwrap().len(), 2);

    let to = |name: &str| json!({"name": name, "system": "land", "pool": "san-1"});
    let from_one = json!({"backup": "one", "volume": "web-root", "to": to("copy")});
    apply(&province, "Restore", "back", from_one);
    let done = restore_says(&province, "back", "Restored")
        .await
        .status
        .unwrap();
    assert!(done.written.is_some());
    province.wait_volume("copy", "Ready", "1Gi").await;

    // Without the record, by what restic shows; and one that nobody has is told by the host.
    let mut target = to("by-id");
    target["size"] = json!("1Gi");
    let by_id = |id: &str, to: &serde_json::Value| json!({"snapshot": {"repository": "main", "id": id}, "volume": "web-root", "to": to});
    let id = two.snapshot_id.unwrap();
    apply(&province, "Restore", "by-id", by_id(&id, &target));
    restore_says(&province, "by-id", "Restored").await;
    target["name"] = json!("never");
    apply(
        &province,
        "Restore",
        "never",
        by_id(&"0".repeat(64), &target),
    );
    restore_says(&province, "never", "BackupMissing").await;

    // All of it goes, and the repository keeps what it has.
    let delete = DeleteParams::default();
    let client = province.place.client();
    let restores: Api<Restore> = Api::namespaced(client.clone(), DEPARTMENT);
    let backups: Api<Backup> = Api::namespaced(client, DEPARTMENT);
    for name in ["back", "by-id", "never"] {
        restores.delete(name, &delete).await.unwrap();
    }
    for name in ["one", "two"] {
        backups.delete(name, &delete).await.unwrap();
    }
    eventually("nothing of it is claimed", || {
        parts.ledger.with_claims(|claims| {
            claims.backups.is_empty()
                && claims.restores.is_empty()
                && claims.snapshots.is_empty()
                && claims.releases.is_empty()
        })
    })
    .await;
    assert_eq!(open(&province).backups().unwrap().len(), 2);
    province.stop_agents().await;
    operator.stop().await;
}
