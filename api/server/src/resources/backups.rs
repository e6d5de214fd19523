//! Backups: of a machine, all its volumes at one instant; made and looked at. What removes them is the
//! platform's.

use dc_crds::condition::types::{KEPT, PROVEN, USUAL};
use dc_crds::{Backup, BackupSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::snapshots::Consistency;
use super::{Create, Facts, Kind, named, view};
use crate::rights::{Person, Resource};

pub struct Backups;

/// One backup of a machine.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Backup)]
pub struct BackupView {
    #[serde(flatten)]
    pub meta: view::Meta,
    pub virtual_machine: String,
    /// Where it lies.
    pub repository: String,
    /// The policy that made it; absent when a person did.
    pub policy: Option<String>,
    /// RFC 3339: the time of the policy's schedule that it was made for.
    pub scheduled_at: Option<String>,
    /// Pending, Holding, Taking, Verifying, Copying, Done, Failed or Releasing.
    pub state: String,
    /// How much of it is done, such as `3.4 GiB of 20.0 GiB`; only while it runs.
    pub progress: Option<String>,
    /// What was reached; absent until it is certain.
    pub consistency: Option<Consistency>,
    /// RFC 3339: the instant that it is of.
    pub taken_at: Option<String>,
    /// RFC 3339: when its volumes began to be read, and when it was whole.
    pub began_at: Option<String>,
    pub ended_at: Option<String>,
    /// Of all volumes.
    pub size: Option<String>,
    /// What was read of them.
    pub read: Option<String>,
    /// What the repository has grown by.
    pub added: Option<String>,
    /// restic's id of it in the department's repository.
    pub snapshot_id: Option<String>,
    pub volumes: Vec<BackedUpVolume>,
    pub proven: ProvenView,
    /// Whether the rules of its policy keep it. What they do not keep may be removed; absent until it
    /// is done.
    pub kept: Option<view::Ready>,
    /// Whether its run was like those before it. False: somebody should look, and `message` says why;
    /// absent where that is not watched.
    pub usual: Option<view::Ready>,
}

/// One volume of a backup.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackedUpVolume {
    /// Its name when it was taken.
    pub volume: String,
    pub size: String,
    /// Whether only what had changed was read.
    pub incremental: bool,
    /// Why all of it was read, when it was.
    pub why_full: Option<String>,
}

/// Whether it was shown to come back.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Proven)]
pub struct ProvenView {
    /// True: a trial has shown it. False: the last trial failed, or none was made. Unknown: it is not
    /// done yet.
    pub status: view::Verdict,
    pub reason: String,
    pub message: String,
    /// RFC 3339: when a trial last showed it.
    pub at: Option<String>,
    /// The proof that did.
    pub by: Option<String>,
    /// The last proof that failed, if none has been well since.
    pub failed: Option<String>,
}

/// A backup to be made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewBackup {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub name: String,
    /// A machine of the department, with all its volumes.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub virtual_machine: String,
    /// A repository of the catalogue.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub repository: String,
}

impl Kind for Backups {
    type Object = Backup;
    type View = BackupView;
    const RESOURCE: Resource = Resource {
        group: dc_crds::GROUP,
        plural: "backups",
    };

    fn view(object: &Backup) -> BackupView {
        let BackupSpec {
            vm,
            repository,
            policy,
            scheduled_at,
        } = object.spec.clone();
        let status = object.status.clone().unwrap_or_default();
        let condition = |type_| view::condition(&object.metadata, &status.conditions, type_);
        let proven = condition(PROVEN);
        let done = status.snapshot_id.is_some();
        let watched = status.conditions.iter().any(|one| one.type_ == USUAL);
        let volumes = status.volumes.iter().map(|one| BackedUpVolume {
            volume: one.volume.clone(),
            size: one.size.clone(),
            incremental: one.incremental,
            why_full: one.why_full.clone(),
        });
        BackupView {
            meta: Self::meta(object),
            virtual_machine: vm,
            repository,
            policy,
            scheduled_at,
            volumes: volumes.collect(),
            proven: ProvenView {
                status: proven.status,
                reason: proven.reason,
                message: proven.message,
                at: status.proven_at.clone(),
                by: status.proven_by.clone(),
                failed: status.failed_proof.clone(),
            },
            kept: done.then(|| condition(KEPT)),
            usual: watched.then(|| condition(USUAL)),
            state: status.state,
            progress: status.progress,
            consistency: status.consistency.map(Consistency::of),
            taken_at: status.taken_at,
            began_at: status.began_at,
            ended_at: status.ended_at,
            size: status.size,
            read: status.read,
            added: status.added,
            snapshot_id: status.snapshot_id,
        }
    }

    fn meta(object: &Backup) -> view::Meta {
        let status = object.status.as_ref();
        view::meta(
            &object.metadata,
            status.map_or(&[], |status| &status.conditions),
        )
    }

    fn facts(object: &Backup) -> Facts<'_> {
        Facts {
            state: object.status.as_ref().map(|status| status.state.as_str()),
            virtual_machine: Some(&object.spec.vm),
            ..Facts::default()
        }
    }
}

impl Create for Backups {
    type New = NewBackup;

    fn name(new: &NewBackup, _: &Person) -> String {
        new.name.clone()
    }

    fn object(department: &str, name: &str, new: NewBackup) -> Backup {
        let NewBackup {
            name: _,
            virtual_machine,
            repository,
        } = new;
        let spec = BackupSpec {
            vm: virtual_machine,
            repository,
            policy: None,
            scheduled_at: None,
        };
        let mut backup = Backup::new("", spec);
        backup.metadata = named(department, name);
        backup
    }

    fn audited(new: &NewBackup) -> Value {
        json!(new)
    }
}
