//! Backups: where they lie, and what one of them is.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;
use crate::snapshot::ConsistencyReached;

/// A place for backups in restic's format. Each department has a repository of its own below it, with
/// a password of its own.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "BackupRepository",
    status = "BackupRepositoryStatus",
    shortname = "brepo",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Place","type":"string","jsonPath":".status.place"}"#,
    printcolumn = r#"{"name":"Backups","type":"integer","jsonPath":".status.backups"}"#,
    printcolumn = r#"{"name":"Last","type":"date","jsonPath":".status.lastBackup"}"#,
    printcolumn = r#"{"name":"Key","type":"string","jsonPath":".spec.recoveryKey"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.folder) != has(self.rest)").message("spec: name exactly one of folder and rest"))]
#[x_kube(validation = Rule::new("self.recoveryKey == oldSelf.recoveryKey").message("recoveryKey: a repository keeps its key, which its departments' passwords are made from; make another repository"))]
#[x_kube(validation = Rule::new("!has(self.bandwidth) || quantity(self.bandwidth).compareTo(quantity('64Ki')) >= 0 && quantity(self.bandwidth).compareTo(quantity('1Ti')) <= 0").message("bandwidth: from 64Ki to 1Ti, bytes a second"))]
pub struct BackupRepositorySpec {
    /// A folder of the storage host, or mounted there at the same path on each storage host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderPlace>,
    /// A server that speaks restic's REST protocol over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<RestPlace>,
    /// The recovery key that the departments' passwords are made from, by its id: one of those that
    /// the operator was given. Cannot change.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub recovery_key: String,
    /// What one backup may send or receive at most, in bytes a second, such as 200Mi. Absent: as fast
    /// as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|k|M|G|T)?$"),
        length(max = 18)
    )]
    pub bandwidth: Option<String>,
}

/// A folder for repositories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.path.split('/').exists(part, part == '..' || part == '.')").message("folder.path: without . and .."))]
pub struct FolderPlace {
    /// Absolute. The repository of a department is the folder of its name in it.
    #[schemars(regex(pattern = "^(/[A-Za-z0-9._-]+)+$"), length(max = 512))]
    pub path: String,
}

/// A REST server for repositories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestPlace {
    /// Such as `https://backup-1.sonla.gov.vn:8000`. The repository of a department is below it, under
    /// the department's name, and so is the user that it signs in as.
    #[schemars(
        regex(
            pattern = "^https://([a-z0-9]([-a-z0-9.]*[a-z0-9])?|\\[[0-9a-f:]+\\])(:[0-9]{1,5})?(/[A-Za-z0-9._-]+)*/?$"
        ),
        length(max = 512)
    )]
    pub url: String,
    /// The certificates (PEM) that the server's is checked against. Absent: those of the storage host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub ca_bundle: Option<String>,
    /// A Secret in the operator's namespace: for each department a key of its name, with the password
    /// that it signs in with.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"),
        length(max = 253)
    )]
    pub login_secret: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupRepositoryStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The folder or the server.
    #[serde(default)]
    pub place: String,
    /// Backups that are done and whose records are there.
    #[serde(default)]
    pub backups: i64,
    /// When the last of them ended, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<String>,
}

/// One backup of a machine: all its volumes at one instant, and what is needed to build it anew. The
/// record of it: the backup itself lies in the repository, and stays there when this is deleted.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Backup",
    namespaced,
    status = "BackupStatus",
    shortname = "bak",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"VM","type":"string","jsonPath":".spec.vm"}"#,
    printcolumn = r#"{"name":"Taken","type":"date","jsonPath":".status.takenAt"}"#,
    printcolumn = r#"{"name":"Consistency","type":"string","jsonPath":".status.consistency"}"#,
    printcolumn = r#"{"name":"Progress","type":"string","jsonPath":".status.progress"}"#,
    printcolumn = r#"{"name":"Size","type":"string","jsonPath":".status.size"}"#,
    printcolumn = r#"{"name":"Added","type":"string","jsonPath":".status.added"}"#,
    printcolumn = r#"{"name":"Proven","type":"date","jsonPath":".status.provenAt"}"#,
    printcolumn = r#"{"name":"Usual","type":"string","jsonPath":".status.conditions[?(@.type==\"Usual\")].reason"}"#,
    printcolumn = r#"{"name":"Repository","type":"string","jsonPath":".spec.repository"}"#,
    printcolumn = r#"{"name":"Policy","type":"string","jsonPath":".spec.policy"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: a backup is of one moment and cannot change; make another"))]
#[x_kube(validation = Rule::new("has(self.policy) == has(self.scheduledAt)").message("spec: policy and scheduledAt are written together, by the operator"))]
pub struct BackupSpec {
    /// The VirtualMachine of the same namespace.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub vm: String,
    /// The BackupRepository that it goes to.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub repository: String,
    /// The BackupPolicy that made it; absent when a person did. The operator alone writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub policy: Option<String>,
    /// The time of the policy's schedule that it was made for, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
        length(max = 20)
    )]
    pub scheduled_at: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Pending, Holding, Taking, Verifying, Copying, Done or Releasing.
    #[serde(default)]
    pub state: String,
    /// The id of restic's snapshot in the department's repository. What is there is a backup that is
    /// done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// What was reached: Application, FileSystem or Crash. Absent until it is certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<ConsistencyReached>,
    /// The instant that it is of, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<String>,
    /// When the storage host began to read, and when the backup was whole, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The storage host that reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How much of it is done, such as `3.4 GiB of 20.0 GiB`; only while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Of all volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// What was read of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// What the repository has grown by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<String>,
    /// The same for programs. Absent when it is not known what the run did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<RunFigures>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<BackupVolume>,
    /// When a trial last showed that it comes back, RFC 3339 in UTC, and the RestoreProof that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_by: Option<String>,
    /// The last trial that failed, if none has been well since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_proof: Option<String>,
}

/// What a run did, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunFigures {
    /// Of all volumes.
    pub size_bytes: i64,
    /// What was read of them: what had changed, rounded up to blocks.
    pub read_bytes: i64,
    /// What the repository has grown by: what of it was new there, compressed.
    pub added_bytes: i64,
}

/// One volume of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupVolume {
    /// The Volume's name when it was taken.
    pub volume: String,
    /// Its file in the snapshot.
    pub file: String,
    pub size: String,
    /// Whether only what had changed was read.
    pub incremental: bool,
    /// Why all of it was read, when it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_full: Option<String>,
}
