//! MachineClass: how much of a host a machine gets.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// vCPU, memory and CPU model of a machine. Memory is the guest's; overhead is the platform's.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "MachineClass",
    status = "MachineClassStatus",
    shortname = "mclass",
    category = "dc",
    printcolumn = r#"{"name":"vCPU","type":"integer","jsonPath":".spec.vcpus"}"#,
    printcolumn = r#"{"name":"Memory","type":"string","jsonPath":".spec.memory"}"#,
    printcolumn = r#"{"name":"CPU model","type":"string","jsonPath":".spec.cpuModel"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineClassSpec {
    pub vcpus: u32,
    /// Such as 4Gi.
    pub memory: String,
    /// A libvirt model every host of the class has, such as qemu64. Named, never probed.
    #[serde(default = "default_cpu_model")]
    pub cpu_model: String,
}

fn default_cpu_model() -> String {
    "qemu64".to_owned()
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineClassStatus {
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
