//! MachineClass: how much of a host a machine gets.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// vCPU, memory and CPU model of a machine. Memory is the guest's; overhead is the platform's.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "MachineClass",
    status = "MachineClassStatus",
    shortname = "mclass",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"vCPU","type":"integer","jsonPath":".spec.vcpus"}"#,
    printcolumn = r#"{"name":"Memory","type":"string","jsonPath":".spec.memory"}"#,
    printcolumn = r#"{"name":"CPU model","type":"string","jsonPath":".spec.cpuModel"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a class never changes under the machines that use it; make another MachineClass"))]
pub struct MachineClassSpec {
    /// Virtual CPUs of the guest.
    #[schemars(range(min = 1, max = 256))]
    pub vcpus: u32,
    /// Such as 4Gi.
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"),
        length(max = 18)
    )]
    pub memory: String,
    /// A libvirt model every host of the class has, such as qemu64. Named, never probed.
    #[serde(default = "default_cpu_model")]
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))]
    pub cpu_model: String,
}

fn default_cpu_model() -> String {
    "qemu64".to_owned()
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineClassStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
