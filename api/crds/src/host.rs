//! Host: a machine of the data centre that carries guests, volumes or the edge.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A host. Its agent joins with the one-time token that the operator makes for it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Host",
    status = "HostStatus",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$')").message("metadata.name: at most 40 of a-z, 0-9 and -"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Roles","type":"string","jsonPath":".status.rolesText"}"#,
    printcolumn = r#"{"name":"VMs","type":"integer","jsonPath":".status.virtualMachines"}"#,
    printcolumn = r#"{"name":"vCPU","type":"string","jsonPath":".status.vcpusText"}"#,
    printcolumn = r#"{"name":"Memory","type":"string","jsonPath":".status.memoryText"}"#,
    printcolumn = r#"{"name":"Maintenance","type":"boolean","jsonPath":".spec.maintenance","priority":1}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.roles.all(r, self.roles.exists_one(s, s == r))").message("roles: each role is named once"))]
pub struct HostSpec {
    /// What it is for: compute carries machines, storage holds pools, gateway joins the outside.
    #[schemars(length(min = 1, max = 3))]
    pub roles: Vec<HostRole>,
    /// No new machine is placed here; those that run stay.
    #[serde(default)]
    pub maintenance: bool,
    /// Zone types whose machines may run here; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub zones: Vec<crate::zone::ZoneKind>,
    /// vCPUs promised for each real one. Default 4.
    #[serde(default = "default_vcpu_ratio")]
    #[schemars(range(min = 1, max = 64))]
    pub vcpu_ratio: u32,
    /// Memory kept for the host itself, such as 2Gi. Default 512Mi.
    #[serde(default = "default_reserved_memory")]
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"),
        length(max = 18)
    )]
    pub reserved_memory: String,
}

fn default_vcpu_ratio() -> u32 {
    4
}

fn default_reserved_memory() -> String {
    "512Mi".to_owned()
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum HostRole {
    Compute,
    Storage,
    Gateway,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    #[serde(default)]
    pub roles_text: String,
    #[serde(default)]
    pub virtual_machines: i64,
    /// `promised/limit`.
    #[serde(default)]
    pub vcpus_text: String,
    /// `promised/limit`.
    #[serde(default)]
    pub memory_text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machine_types: Vec<String>,
    /// Its address on the overlay network: an operator that starts while the host is silent still
    /// tells the other hosts where its machines are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay_address: Option<String>,
}
