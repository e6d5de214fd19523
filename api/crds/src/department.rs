//! Department: a body of the province. It owns the namespace of the same name.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;
use crate::pool::OwnerClass;
use crate::quota::{Quota, QuotaLine};

/// A body of the province that owns resources: a department, agency, commune or party body.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Department",
    status = "DepartmentStatus",
    shortname = "dept",
    category = "dc",
    validation = Rule::new("!(self.metadata.name in ['default', 'dc-system']) && !self.metadata.name.startsWith('kube-')").message("metadata.name: the namespace of this name belongs to the cluster itself"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.kind"}"#,
    printcolumn = r#"{"name":"Systems","type":"integer","jsonPath":".status.systems"}"#,
    printcolumn = r#"{"name":"VMs","type":"integer","jsonPath":".status.virtualMachines"}"#,
    printcolumn = r#"{"name":"vCPU","type":"string","jsonPath":".status.vcpusText"}"#,
    printcolumn = r#"{"name":"Memory","type":"string","jsonPath":".status.memoryText"}"#,
    printcolumn = r#"{"name":"Storage","type":"string","jsonPath":".status.storageText"}"#,
    printcolumn = r#"{"name":"Unprotected","type":"integer","jsonPath":".status.unprotected"}"#,
    printcolumn = r#"{"name":"In quota","type":"string","jsonPath":".status.conditions[?(@.type==\"WithinQuota\")].reason","priority":1}"#,
    printcolumn = r#"{"name":"Title","type":"string","jsonPath":".spec.displayName.vi"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kind == oldSelf.kind || !(self.kind == 'commune' || oldSelf.kind == 'commune')").message("kind: a commune stays a commune; write a new Department and move its systems instead"))]
#[x_kube(validation = Rule::new("self.ownerClass == oldSelf.ownerClass").message("ownerClass: a department keeps its class, as its volumes lie in pools of it"))]
pub struct DepartmentSpec {
    pub display_name: DisplayName,
    /// Its place in the administration.
    pub kind: DepartmentKind,
    /// Its domain name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z0-9][-a-z0-9.]{0,252}$"))]
    pub domain: Option<String>,
    /// Users and groups of the identity provider, by role.
    #[serde(default)]
    pub members: Members,
    /// What it may hold at most; without it nothing is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Whose storage it uses: StoragePools of the same class, and no others.
    #[serde(default)]
    pub owner_class: OwnerClass,
}

/// A name in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisplayName {
    /// In Vietnamese, as it stands in official documents.
    #[schemars(length(min = 1, max = 512))]
    pub vi: String,
    /// In English.
    #[schemars(length(min = 1, max = 512))]
    pub en: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DepartmentKind {
    Department,
    Office,
    CentralAgency,
    FrontBody,
    Press,
    Party,
    Commune,
}

/// Who may do what in the department's namespace. Users are written as the API server sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Members {
    /// IT officers: ask for, change and operate all that belongs to the department.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub administrators: Vec<Subject>,
    /// The one in charge, and whoever stands in: answer the department's ResourceRequests, and read
    /// everything but Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub leaders: Vec<Subject>,
    /// Start, stop and restart, and read everything but Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub operators: Vec<Subject>,
    /// Read everything but Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub auditors: Vec<Subject>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// One person, or a group of the identity provider.
    pub kind: SubjectKind,
    /// As the API server sees it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum SubjectKind {
    User,
    Group,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepartmentStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Computed from the objects of the namespace.
    #[serde(default)]
    pub systems: i64,
    #[serde(default)]
    pub virtual_machines: i64,
    #[serde(default)]
    pub volumes: i64,
    /// What it holds, wants and may hold, computed from claims and objects.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["resource"]))]
    pub quota: Vec<QuotaLine>,
    /// `used/limit`.
    #[serde(default)]
    pub vcpus_text: String,
    /// `used/limit`.
    #[serde(default)]
    pub memory_text: String,
    /// `used/limit` of each class.
    #[serde(default)]
    pub storage_text: String,
    /// Machines that no BackupPolicy is for, or only one that is suspended or cannot be read.
    #[serde(default)]
    pub unprotected: i64,
    /// Some of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unprotected_machines: Vec<String>,
    /// Volumes that no BackupPolicy backs up: of such machines, or of none.
    #[serde(default)]
    pub unprotected_volumes: i64,
}
