//! Volume: a SAN volume of a department.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A thin volume of a pool.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Volume",
    namespaced,
    status = "VolumeStatus",
    shortname = "vol",
    category = "dc",
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Size","type":"string","jsonPath":".spec.size"}"#,
    printcolumn = r#"{"name":"Pool","type":"string","jsonPath":".spec.pool"}"#,
    printcolumn = r#"{"name":"Attached to","type":"string","jsonPath":".status.attachedTo"}"#,
    printcolumn = r#"{"name":"System","type":"string","jsonPath":".spec.system"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// The InformationSystem of the same namespace it belongs to.
    pub system: String,
    pub pool: String,
    /// Such as 20Gi or 1350G. May grow, never shrink.
    pub size: String,
    #[serde(default)]
    pub source: SourceSpec,
    #[serde(default)]
    pub access: Access,
    #[serde(default)]
    pub reclaim: Reclaim,
    #[serde(default)]
    pub erase_method: EraseMethod,
}

/// The spec of a Volume that a VirtualMachine makes; the system is the machine's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeTemplate {
    pub pool: String,
    pub size: String,
    #[serde(default)]
    pub source: SourceSpec,
    #[serde(default)]
    pub reclaim: Reclaim,
    #[serde(default)]
    pub erase_method: EraseMethod,
}

/// What the volume is made from. Blank when nothing is named; at most one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceSpec {
    /// An Image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A Volume of the same namespace and pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Access {
    /// One machine at a time.
    #[default]
    Exclusive,
}

/// What happens to the bytes when the Volume is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reclaim {
    /// They stay in the pool, under a name that an event tells.
    #[default]
    Retain,
    /// They are erased by `eraseMethod`.
    Erase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EraseMethod {
    /// All blocks are given back to the pool and read as zeros.
    #[default]
    Discard,
    /// All blocks are written with zeros first.
    Zero,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Pending, Creating, Available, Attached or Releasing.
    #[serde(default)]
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The size that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_to: Option<String>,
    /// The storage host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}
