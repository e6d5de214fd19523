//! VolumeSnapshot: volumes as they stood at one moment.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// One volume, or all volumes of a machine at one instant, as they stood when it was taken.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "VolumeSnapshot",
    namespaced,
    status = "VolumeSnapshotStatus",
    shortname = "snap",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Of","type":"string","jsonPath":".status.of"}"#,
    printcolumn = r#"{"name":"Consistency","type":"string","jsonPath":".status.consistency"}"#,
    printcolumn = r#"{"name":"Taken","type":"date","jsonPath":".status.takenAt"}"#,
    printcolumn = r#"{"name":"System","type":"string","jsonPath":".spec.system"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: a snapshot is of one moment and cannot change; make another"))]
#[x_kube(validation = Rule::new("has(self.volume) != has(self.vm)").message("spec: name exactly one of volume and vm"))]
pub struct VolumeSnapshotSpec {
    /// The InformationSystem of the same namespace it belongs to.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub system: String,
    /// The Volume of the same namespace to take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub volume: Option<String>,
    /// The VirtualMachine of the same namespace whose volumes are taken, all at one instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub vm: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Pending, Holding, Taking, Verifying, Taken or Releasing.
    #[serde(default)]
    pub state: String,
    /// What it is of, such as `vm/web, 2 volumes`.
    #[serde(default)]
    pub of: String,
    /// What was reached: Application, FileSystem or Crash. Absent until it is certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<ConsistencyReached>,
    /// When the last of its volumes was taken, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<SnapshotVolume>,
}

/// One volume of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotVolume {
    /// The Volume's name when it was taken.
    pub volume: String,
    /// The Volume's instance id.
    pub instance_id: String,
    pub snapshot_id: String,
    pub size: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConsistencyReached {
    /// As after a power cut: file systems and databases repair themselves from their journals.
    Crash,
    /// The guest had written its file systems out, by its guest agent or by a clean stop.
    FileSystem,
    /// Its applications had written theirs out too.
    Application,
}
