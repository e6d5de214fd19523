//! InformationSystem: what machines and volumes are for, and who answers for it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;
use crate::department::DisplayName;
use crate::lease::Lease;

/// An information system of a department, as it stands in the province's register.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "InformationSystem",
    namespaced,
    status = "InformationSystemStatus",
    shortname = "system",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Id","type":"string","jsonPath":".spec.registerId"}"#,
    printcolumn = r#"{"name":"Level","type":"integer","jsonPath":".spec.securityLevel"}"#,
    printcolumn = r#"{"name":"Public","type":"boolean","jsonPath":".spec.publicService"}"#,
    printcolumn = r#"{"name":"VMs","type":"string","jsonPath":".status.machinesText"}"#,
    printcolumn = r#"{"name":"Title","type":"string","jsonPath":".spec.displayName.vi"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.registerId) || (has(self.registerId) && self.registerId == oldSelf.registerId)").message("registerId: a system keeps its id in the register"))]
pub struct InformationSystemSpec {
    /// As it stands in the register of systems.
    pub display_name: DisplayName,
    /// Its id in the province's register, such as A01 or W30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Z][0-9]{2,4}$"), length(max = 5))]
    pub register_id: Option<String>,
    /// 1 to 5, as determined; absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub security_level: Option<u8>,
    /// Whether citizens and businesses use it directly.
    #[serde(default)]
    pub public_service: bool,
    /// The decision, contract or regulation it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub legal_basis: Option<String>,
    /// Until when its machines may run; no end when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InformationSystemStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// `ready/wanted`.
    #[serde(default)]
    pub machines_text: String,
}
