//! Volume: a SAN volume of a department.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A thin volume of a pool.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Volume",
    namespaced,
    status = "VolumeStatus",
    shortname = "vol",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Size","type":"string","jsonPath":".spec.size"}"#,
    printcolumn = r#"{"name":"Pool","type":"string","jsonPath":".spec.pool"}"#,
    printcolumn = r#"{"name":"Attached to","type":"string","jsonPath":".status.attachedTo"}"#,
    printcolumn = r#"{"name":"System","type":"string","jsonPath":".spec.system"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.system == oldSelf.system").message("system: a volume keeps its system"))]
#[x_kube(validation = Rule::new("self.pool == oldSelf.pool").message("pool: a volume stays in its pool"))]
#[x_kube(validation = Rule::new("self.source == oldSelf.source").message("source: cannot change once the volume is made"))]
#[x_kube(validation = Rule::new("self.access == oldSelf.access").message("access: cannot change once the volume is made"))]
#[x_kube(validation = Rule::new("quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0").message("size: a volume may grow, never shrink"))]
#[x_kube(validation = Rule::new("quantity(self.size).compareTo(quantity('1Mi')) >= 0 && quantity(self.size).compareTo(quantity('64Ti')) <= 0").message("size: from 1Mi to 64Ti"))]
pub struct VolumeSpec {
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
    /// Such as 20Gi or 1350G. May grow, never shrink.
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"),
        length(max = 18)
    )]
    pub size: String,
    #[serde(default)]
    pub source: SourceSpec,
    /// Who may open it at the same time.
    #[serde(default)]
    pub access: Access,
    #[serde(default)]
    pub reclaim: Reclaim,
    /// How, when `reclaim` is Erase.
    #[serde(default)]
    pub erase_method: EraseMethod,
}

/// The spec of a Volume that a VirtualMachine makes; the system is the machine's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeTemplate {
    /// The StoragePool that holds it.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub pool: String,
    /// Such as 20Gi or 1350G.
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"),
        length(max = 18)
    )]
    pub size: String,
    #[serde(default)]
    pub source: SourceSpec,
    #[serde(default)]
    pub reclaim: Reclaim,
    /// How, when `reclaim` is Erase.
    #[serde(default)]
    pub erase_method: EraseMethod,
}

/// What the volume is made from. Blank when nothing is named; at most one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.image) && has(self.volume))").message("source: at most one of image and volume"))]
pub struct SourceSpec {
    /// An Image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub image: Option<String>,
    /// A Volume of the same namespace and pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
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
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
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
