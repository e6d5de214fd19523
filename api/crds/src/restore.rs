//! Restore: an order to bring back what a backup holds.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;
use crate::volume::{EraseMethod, QosSpec, Reclaim};

/// One volume of a backup, written into a new Volume of the department, or over one that is there.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Restore",
    namespaced,
    status = "RestoreStatus",
    shortname = "rest",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Backup","type":"string","jsonPath":".status.from"}"#,
    printcolumn = r#"{"name":"Volume","type":"string","jsonPath":".spec.volume"}"#,
    printcolumn = r#"{"name":"To","type":"string","jsonPath":".spec.to.name"}"#,
    printcolumn = r#"{"name":"Progress","type":"string","jsonPath":".status.progress"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: a restore is done once and cannot change; make another"))]
#[x_kube(validation = Rule::new("has(self.backup) != has(self.snapshot)").message("spec: name exactly one of backup and snapshot"))]
#[x_kube(validation = Rule::new("!has(self.snapshot) || has(self.to.size)").message("spec.to.size: needed when a snapshot is named, as its size is not recorded here"))]
pub struct RestoreSpec {
    /// A Backup of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub backup: Option<String>,
    /// A snapshot of the department's repository, when there is no record of the backup any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<RepositorySnapshot>,
    /// Which of its volumes, by the name it had.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub volume: String,
    /// Read the volume back when it is written, and compare it with the backup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
    /// Whose repository is read, when it is not the namespace's own: for trials, in the operator's
    /// namespace alone. Refused in any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub department: Option<String>,
    /// The Volume that is made; with `inPlace` the one that is written over.
    pub to: RestoreTarget,
    /// Write over the Volume that `to` names, with the system and the pool it has. What else `to` says
    /// is not looked at. Its present state is snapshotted first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place: Option<InPlace>,
}

/// Over a volume that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InPlace {
    /// Have the guest of the machine that has the volume stopped, and started again afterwards as its
    /// machine asks. Otherwise its machine must be asked to be stopped.
    #[serde(default)]
    pub stop_machine: bool,
}

/// One snapshot, as restic knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositorySnapshot {
    /// The BackupRepository.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub repository: String,
    /// All 64 hexadecimal digits.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"), length(max = 64))]
    pub id: String,
}

/// A Volume that is not there yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.size) || quantity(self.size).compareTo(quantity('1Mi')) >= 0 && quantity(self.size).compareTo(quantity('64Ti')) <= 0").message("to.size: from 1Mi to 64Ti"))]
#[x_kube(validation = Rule::new("self.eraseMethod != 'KeyDestruction'").message("to.eraseMethod: KeyDestruction is for encrypted volumes alone, and a restored one is not; set Discard, Zero or Random"))]
pub struct RestoreTarget {
    /// Its name.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub name: String,
    /// The InformationSystem of the same namespace it belongs to.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub system: String,
    /// The StoragePool that holds it.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub pool: String,
    /// Not less than the volume had. Absent: as much as it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"),
        length(max = 18)
    )]
    pub size: Option<String>,
    /// What happens to the bytes when the Volume is deleted.
    #[serde(default)]
    pub reclaim: Reclaim,
    /// How, when `reclaim` is Erase.
    #[serde(default)]
    pub erase_method: EraseMethod,
    /// How fast it may be read and written. Absent: as fast as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<QosSpec>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Pending, Waiting, Writing, Done, Stopped or Releasing. Done and Stopped are for good.
    #[serde(default)]
    pub state: String,
    /// The backup, or the repository and the snapshot in it.
    #[serde(default)]
    pub from: String,
    /// The VolumeSnapshot of what was there before, when it is in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The instance id of the Volume that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<String>,
    /// How much of it is done, such as `3.4 GiB of 20.0 GiB`; only while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// What was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
    /// Of what was read back, when that was asked for: each block is as in the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}
