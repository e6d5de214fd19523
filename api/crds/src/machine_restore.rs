//! MachineRestore: an order to build a machine anew from what a backup holds of it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;
use crate::restore::RepositorySnapshot;
use crate::vm::PowerState;

/// A machine of a backup, built anew: all its volumes as they were at that one instant, then the
/// VirtualMachine as its manifest tells.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "MachineRestore",
    namespaced,
    status = "MachineRestoreStatus",
    shortname = "mrest",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Backup","type":"string","jsonPath":".status.from"}"#,
    printcolumn = r#"{"name":"VM","type":"string","jsonPath":".status.machine"}"#,
    printcolumn = r#"{"name":"Identity","type":"string","jsonPath":".spec.identity"}"#,
    printcolumn = r#"{"name":"Volumes","type":"string","jsonPath":".status.progress"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: a restore is done once and cannot change; make another"))]
#[x_kube(validation = Rule::new("has(self.backup) != has(self.snapshot)").message("spec: name exactly one of backup and snapshot"))]
#[x_kube(validation = Rule::new("self.identity == 'Copy' ? has(self.name) : !has(self.name)").message("spec.name: a copy needs one; with identity Same the machine has the name that it had"))]
#[x_kube(validation = Rule::new("!has(self.snapshot) || has(self.pool)").message("spec.pool: needed when a snapshot is named, as its storage host reads it"))]
pub struct MachineRestoreSpec {
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
    /// Whether it is the machine again, or another one with the same content.
    #[serde(default)]
    pub identity: Identity,
    /// The copy's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"),
        length(max = 40)
    )]
    pub name: Option<String>,
    /// Whether the guest is started once it is built.
    #[serde(default = "stopped")]
    pub power_state: PowerState,
    /// The InformationSystem it belongs to. Absent: the one it belonged to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub system: Option<String>,
    /// The MachineClass. Absent: the one it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub class: Option<String>,
    /// The StoragePool of all its volumes. Absent: for each the one it was in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub pool: Option<String>,
    /// Subnets in the place of those it was in. Its cards there have free addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub subnets: Vec<SubnetInstead>,
    /// What is otherwise with single volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volumes: Vec<VolumeInstead>,
    /// Read each volume back when it is written, and compare it with the backup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
}

fn stopped() -> PowerState {
    PowerState::Stopped
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Identity {
    /// Another machine: another name, other MACs and addresses, published to nobody.
    #[default]
    Copy,
    /// The machine itself: its name, MACs and addresses. The one it was must be gone.
    Same,
}

/// A subnet in the place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubnetInstead {
    /// As it was called.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub was: String,
    /// A Subnet of the same namespace.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub subnet: String,
}

/// What is otherwise with one volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeInstead {
    /// As it was called.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub was: String,
    /// The name of the Volume that is made. Absent: for a copy `<name>-<disk>`, else what it was
    /// called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub name: Option<String>,
    /// The StoragePool that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub pool: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineRestoreStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Pending, Reading, Writing, Building, Done, Stopped or Releasing. Done and Stopped are for good.
    #[serde(default)]
    pub state: String,
    /// The backup, or the repository and the snapshot in it.
    #[serde(default)]
    pub from: String,
    /// The VirtualMachine that is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Its instance id, once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Such as `1 of 3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Written down before any of them is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<RebuiltVolume>,
}

/// One volume of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebuiltVolume {
    /// As it was called.
    pub was: String,
    /// The Volume that is made.
    pub volume: String,
    /// The Restore that writes it.
    pub restore: String,
    /// Whether all of it is written.
    #[serde(default)]
    pub done: bool,
}
