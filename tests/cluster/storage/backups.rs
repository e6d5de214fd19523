//! Backups and restores by the real operator on a real API server; the storage host, which reads and
//! writes, is played by the test.

use dc_crds::condition::types;
use dc_crds::snapshot::ConsistencyReached;
use dc_crds::{Backup, BackupPolicy, BackupRepository, Department, Restore};
use dc_lab::wait::{Look, until};
use dc_operator_core::backup::password::RecoveryKey;
use dc_operator_core::conditions::find;
use dc_types::plan::{BackupItem, Item, ItemBody, RepositoryPlace, RestoreItem};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use super::{Centre, DEADLINE, DEPARTMENT, eventually, host};

const OTHER: &str = "so-khcn";

impl Centre {
    fn backups(&self) -> Api<Backup> {
        Api::namespaced(self.province.place.client(), DEPARTMENT)
    }

    fn restores(&self) -> Api<Restore> {
        Api::namespaced(self.province.place.client(), DEPARTMENT)
    }

    fn repository(&self) {
        let object = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "BackupRepository",
            "metadata": {"name": "main"},
            "spec": {"folder": {"path": "/backups"}, "recoveryKey": "first", "bandwidth": "200Mi"}});
        self.province.place.apply(&object.to_string());
    }

    fn policy(&self, name: &str, cron: &str, selector: serde_json::Value) {
        let object = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "BackupPolicy",
            "metadata": {"name": name},
            "spec": {"repository": "main", "selector": selector,
                     "schedule": {"cron": cron}, "keep": {"last": 1},
                     "prove": {"suspend": true}}});
        self.province.place.apply(&object.to_string());
    }

    fn backup(&self, name: &str) {
        self.apply("Backup", name, json!({"vm": "web", "repository": "main"}));
    }

    fn restore(&self, name: &str, from: &str, to: &str) {
        self.apply(
            "Restore",
            name,
            json!({"backup": from, "volume": "web-root",
                "to": {"name": to, "system": "land", "pool": host::POOL}}),
        );
    }

    async fn with_machine() -> Self {
        let centre = Self::open().await;
        centre.repository();
        centre.volume("data", json!({}));
        centre.machine("web", "data");
        centre.province.wait_state("web", "Running").await;
        centre
    }

    /// The storage host holds a backup of this name.
    async fn held_backup(&self, name: &str) -> (Item, BackupItem) {
        until(&format!("the host to hold {name}"), DEADLINE, async || {
            let held = self.storage.held().into_iter();
            let found = held
                .filter(|item| item.object.name == name)
                .find_map(|item| {
                    let ItemBody::Backup(body) = &item.body else {
                        return None;
                    };
                    let body = (**body).clone();
                    Some((item, body))
                });
            found.map_or_else(|| Look::NotYet("not yet".into()), Look::Holds)
        })
        .await
        .unwrap()
    }

    fn held_restore(&self) -> Option<RestoreItem> {
        let held = self.storage.held().into_iter();
        held.into_iter().find_map(|item| match item.body {
            ItemBody::Restore(restore) => Some(*restore),
            _ => None,
        })
    }

    /// All backups, once so many are done.
    async fn wait_backed_up(&self, count: usize) -> Vec<Backup> {
        let backups = self.backups();
        until(
            &format!("{count} backups to be done"),
            DEADLINE,
            async || {
                let found = backups.list(&ListParams::default()).await.unwrap().items;
                let done = found.iter().filter(|backup| {
                    let status = backup.status.as_ref();
                    status.is_some_and(|status| status.snapshot_id.is_some())
                });
                match done.count() >= count {
                    true => Look::Holds(found),
                    false => Look::NotYet(format!("{} are there", found.len())),
                }
            },
        )
        .await
        .unwrap()
    }

    /// Until the department shows these machines as those that no policy is for.
    async fn wait_unprotected(&self, wanted: &[&str]) {
        let departments: Api<Department> = Api::all(self.province.place.client());
        until("the machines without a policy", DEADLINE, async || {
            let status = departments.get(DEPARTMENT).await.unwrap().status;
            let found = status.unwrap_or_default().unprotected_machines;
            match found == wanted {
                true => Look::Holds(()),
                false => Look::NotYet(format!("{found:?}")),
            }
        })
        .await
        .unwrap();
    }

    /// SIGKILL, and a new operator at the same address.
    pub(super) async fn replace_operator(&mut self) {
        let operator = self.operator.take().unwrap();
        let address = operator.address();
        operator.kill();
        let operator = self.province.place.real_operator_at(address).await;
        self.parts = operator.leading().await;
        self.operator = Some(operator);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_backed_up_by_hand_through_a_killed_operator_and_comes_back_as_a_volume() {
    let mut centre = Centre::with_machine().await;
    let backups = centre.backups();

    centre.storage.stall(true);
    centre.backup("one");
    let (item, first) = centre.held_backup("one").await;
    assert_eq!(first.machine, "so-nnmt/web");
    let files: Vec<&str> = first.volumes.iter().map(|v| v.file.as_str()).collect();
    assert_eq!(files, ["web-root.raw", "data.raw"]);
    assert!(first.make && first.parent.is_none());
    let place = RepositoryPlace::Folder {
        path: "/backups/so-nnmt".into(),
    };
    assert_eq!(first.repository.place, place);
    let key = RecoveryKey::new([7; 32]);
    assert_eq!(first.repository.password, key.password("main", DEPARTMENT));
    let running = centre.says(&backups, "one", "Copying").await;
    let status = running.status.unwrap();
    assert_eq!(status.state, "Copying");
    assert_eq!(status.progress.as_deref(), Some("1 GiB of 3 GiB"));
    let asked = centre.storage.asked().len();

    // Whoever leads next goes on with the same run, and takes nothing anew.
    centre.replace_operator().await;
    centre.storage.stall(false);
    let done = centre.says(&backups, "one", "BackedUp").await;
    assert_eq!(centre.storage.asked().len(), asked);
    let status = done.status.unwrap();
    assert_eq!(status.consistency, Some(ConsistencyReached::FileSystem));
    assert_eq!(
        status.snapshot_id,
        Some(format!("{:064x}", first.run.0.as_u128()))
    );
    assert_eq!(status.progress, None);
    let volumes = status
        .volumes
        .iter()
        .map(|v| (v.volume.as_str(), v.incremental));
    assert_eq!(
        volumes.collect::<Vec<_>>(),
        [("web-root", false), ("data", false)]
    );
    let released = || centre.storage.released().contains(&item.key);
    eventually("the host may forget the run", released).await;

    // The second tells changes from the snapshots of the first, which then go.
    centre.storage.stall(true);
    centre.backup("two");
    let (_, second) = centre.held_backup("two").await;
    assert_eq!(second.parent, status.snapshot_id);
    for (before, now) in first.volumes.iter().zip(&second.volumes) {
        assert_eq!(now.base, Some(before.snapshot));
    }
    centre.storage.stall(false);
    let done = centre.says(&backups, "two", "BackedUp").await;
    assert!(done.status.unwrap().volumes.iter().all(|v| v.incremental));
    eventually("the first one's snapshots are gone", || {
        centre.parts.ledger.with_claims(|claims| {
            let mut snapshots = claims.snapshots.values();
            let mut backups = claims.backups.values();
            snapshots.all(|claim| claim.value.owner.name == "two")
                && backups.all(|claim| claim.value.owner.name == "two")
                && claims.releases.is_empty()
        })
    })
    .await;
    centre.says(&backups, "one", "BackedUp").await;
    let repositories: Api<BackupRepository> = Api::all(centre.province.place.client());
    until("the repository counts both", DEADLINE, async || {
        let status = repositories.get("main").await.unwrap().status;
        match status.unwrap_or_default() {
            status if status.backups == 2 && status.last_backup.is_some() => Look::Holds(()),
            status => Look::NotYet(format!("{status:?}")),
        }
    })
    .await
    .unwrap();

    bring_back(&mut centre).await;
    centre.close().await;
}

/// A volume of the first backup, through another killed operator.
async fn bring_back(centre: &mut Centre) {
    let (restores, volumes) = (centre.restores(), centre.province.volumes());
    centre.storage.stall(true);
    centre.restore("back", "one", "copy");
    centre.says(&restores, "back", "Writing").await;
    let written = centre.held_restore().unwrap();
    assert_eq!(written.file, "web-root.raw");
    centre.says(&volumes, "copy", "AwaitsRestore").await;
    // A machine that asks for it waits.
    centre.machine("second", "copy");
    centre.replace_operator().await;
    let waiting = centre
        .says(&centre.province.vms(), "second", "VolumesPending")
        .await;
    let conditions = waiting.status.unwrap().conditions;
    let message = &find(&conditions, types::READY).unwrap().message;
    assert!(message.contains("Restore back"), "{message}");
    assert_eq!(centre.held_restore().unwrap(), written);
    centre.storage.stall(false);
    let done = centre.says(&restores, "back", "Restored").await;
    let status = done.status.unwrap();
    assert_eq!(
        (status.state.as_str(), status.from.as_str()),
        ("Done", "one")
    );
    centre.province.wait_state("second", "Running").await;
    eventually("nothing of it is claimed", || {
        centre
            .parts
            .ledger
            .with_claims(|claims| claims.restores.is_empty())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_another_departments_or_no_name_at_all_is_refused_and_deletions_leave_nothing() {
    let centre = Centre::with_machine().await;
    let (backups, restores) = (centre.backups(), centre.restores());
    let other = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "Department",
        "metadata": {"name": OTHER},
        "spec": {"displayName": {"vi": "Sở Khoa học", "en": "Science"}, "kind": "department"}});
    centre.province.place.apply(&other.to_string());

    // A name that is not there, and a repository whose key nobody has.
    centre.apply(
        "Backup",
        "none",
        json!({"vm": "nothing", "repository": "main"}),
    );
    centre.says(&backups, "none", "TargetMissing").await;
    centre.apply(
        "Backup",
        "where",
        json!({"vm": "web", "repository": "other"}),
    );
    centre.says(&backups, "where", "RepositoryMissing").await;
    let locked = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "BackupRepository",
        "metadata": {"name": "other"},
        "spec": {"folder": {"path": "/other"}, "recoveryKey": "lost"}});
    centre.province.place.apply(&locked.to_string());
    centre.says(&backups, "where", "RecoveryKeyMissing").await;
    let repositories: Api<BackupRepository> = Api::all(centre.province.place.client());
    centre
        .says(&repositories, "other", "RecoveryKeyMissing")
        .await;

    centre.backup("one");
    let done = centre.says(&backups, "one", "BackedUp").await;
    centre.restore("over", "one", "data");
    centre.says(&restores, "over", "NameTaken").await;
    centre.restore("unknown", "two", "copy");
    centre.says(&restores, "unknown", "BackupMissing").await;

    // Of another department neither the record nor the snapshot can be had.
    let id = done.status.unwrap().snapshot_id.unwrap();
    let theirs: Api<Restore> = Api::namespaced(centre.province.place.client(), OTHER);
    let to = json!({"name": "copy", "system": "land", "pool": host::POOL, "size": "1Gi"});
    let steal = |name: &str, from: serde_json::Value| {
        let mut spec = json!({"volume": "web-root", "to": to});
        let from = from.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(from);
        let object = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "Restore",
            "metadata": {"name": name, "namespace": OTHER}, "spec": spec});
        centre.province.place.apply(&object.to_string());
    };
    until("the other department's namespace", DEADLINE, async || {
        let object = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "InformationSystem",
            "metadata": {"name": "land", "namespace": OTHER},
            "spec": {"displayName": {"vi": "a", "en": "b"}}});
        let kubectl = centre.province.place.kubectl();
        match kubectl.apply_text(&object.to_string(), "test") {
            Ok(_) => Look::Holds(()),
            Err(error) => Look::NotYet(format!("{error:#}")),
        }
    })
    .await
    .unwrap();
    steal("record", json!({"backup": "one"}));
    centre.says(&theirs, "record", "BackupMissing").await;
    centre.storage.stall(true);
    steal(
        "snapshot",
        json!({"snapshot": {"repository": "main", "id": id}}),
    );
    centre.says(&theirs, "snapshot", "Writing").await;
    let item = centre.held_restore().unwrap();
    let place = RepositoryPlace::Folder {
        path: format!("/backups/{OTHER}"),
    };
    assert_eq!(
        item.repository.place, place,
        "its own repository, where that is not"
    );
    assert_ne!(
        item.repository.password,
        RecoveryKey::new([7; 32]).password("main", DEPARTMENT)
    );

    as_a_tenant(&centre).await;
    gone(&centre).await;
    centre.close().await;
}

/// What the department's administrator may do: make backups by hand, and nothing else of them.
async fn as_a_tenant(centre: &Centre) {
    let departments: Api<Department> = Api::all(centre.province.place.client());
    let officer = json!({"kind": "User", "name": "officer"});
    let members = json!({"members": {"administrators": [officer]}});
    centre.change(&departments, DEPARTMENT, members).await;
    let make = |name: &str, spec: serde_json::Value| {
        let object = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "Backup",
            "metadata": {"name": name, "namespace": DEPARTMENT}, "spec": spec});
        let file = centre.province.folder().join(format!("{name}.json"));
        std::fs::write(&file, object.to_string()).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let kubectl = centre.province.place.kubectl();
        kubectl.run(&["create", "--as=officer", "-f", &file])
    };
    until(
        "the officer to have his role",
        DEADLINE,
        async || match make("by-officer", json!({"vm": "web", "repository": "main"})) {
            Ok(_) => Look::Holds(()),
            Err(error) => Look::NotYet(format!("{error:#}")),
        },
    )
    .await
    .unwrap();
    let forged = json!({"vm": "web", "repository": "main", "policy": "nightly",
        "scheduledAt": "2026-11-26T18:00:00Z"});
    let error = format!("{:#}", make("forged", forged).unwrap_err());
    assert!(error.contains("the operator writes it"), "{error}");
    let kubectl = centre.province.place.kubectl();
    let namespace = format!("--namespace={DEPARTMENT}");
    for deed in [
        &["delete", "backup", "one"][..],
        &[
            "patch",
            "backup",
            "one",
            "--type=merge",
            "-p",
            "{\"metadata\":{\"labels\":{}}}",
        ],
    ] {
        let as_officer: Vec<&str> = deed
            .iter()
            .copied()
            .chain(["--as=officer", &namespace])
            .collect();
        let error = format!("{:#}", kubectl.run(&as_officer).unwrap_err());
        assert!(
            error.contains("forbidden") || error.contains("Forbidden"),
            "{error}"
        );
    }
}

/// Deleted while they run: the host stops first, and nothing is left.
async fn gone(centre: &Centre) {
    let delete = DeleteParams::default();
    let (backups, client) = (centre.backups(), centre.province.place.client());
    let (item, _) = centre.held_backup("by-officer").await;
    let repositories: Api<BackupRepository> = Api::all(client.clone());
    repositories.delete("main", &delete).await.unwrap();
    centre.says(&repositories, "main", "StillUsed").await;
    for name in ["by-officer", "one", "none", "where"] {
        backups.delete(name, &delete).await.unwrap();
    }
    let theirs: Api<Restore> = Api::namespaced(client, OTHER);
    theirs.delete("snapshot", &delete).await.unwrap();
    eventually("nothing is claimed", || {
        centre.parts.ledger.with_claims(|claims| {
            claims.backups.is_empty()
                && claims.restores.is_empty()
                && claims.snapshots.is_empty()
                && claims.holds.is_empty()
                && claims.releases.is_empty()
        })
    })
    .await;
    assert!(centre.storage.released().contains(&item.key));
    until(
        "the repository to go",
        DEADLINE,
        async || match repositories.get_opt("main").await.unwrap() {
            None => Look::Holds(()),
            Some(found) => Look::NotYet(format!("{:?}", found.status)),
        },
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_makes_one_backup_for_each_time_through_a_killed_operator_and_shows_who_has_none()
{
    let mut centre = Centre::with_machine().await;
    centre.wait_unprotected(&["web"]).await;
    centre.policy("broken", "61 * * * *", json!({}));
    centre.policy("others", "* * * * *", json!({"departments": [OTHER]}));
    let policies: Api<BackupPolicy> = Api::all(centre.province.place.client());
    centre.says(&policies, "broken", "CronInvalid").await;
    // Neither what is broken nor what is another department's protects it.
    centre.wait_unprotected(&["web"]).await;
    centre.policy("minutes", "* * * * *", json!({"systems": ["land"]}));
    centre.wait_unprotected(&[]).await;

    let first = centre.wait_backed_up(1).await;
    centre.replace_operator().await;
    let found = centre.wait_backed_up(first.len() + 1).await;
    // One for each minute, all of the one machine, by the one policy.
    let times = found.iter().map(|backup| backup.spec.scheduled_at.clone());
    let mut times: Vec<Option<String>> = times.collect();
    times.sort();
    times.dedup();
    assert_eq!(times.len(), found.len());
    assert!(found.iter().all(|backup| {
        let spec = &backup.spec;
        spec.vm == "web" && spec.policy.as_deref() == Some("minutes")
    }));
    until("the policy to count its machine", DEADLINE, async || {
        let status = policies.get("minutes").await.unwrap().status;
        match status.unwrap_or_default() {
            status if (status.machines, status.backed_up) == (1, 1) => Look::Holds(()),
            status => Look::NotYet(format!("{status:?}")),
        }
    })
    .await
    .unwrap();
    centre.close().await;
}
