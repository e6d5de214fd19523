//! Department: a body of the province. It owns the namespace of the same name.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A body of the province that owns resources: a department, agency, commune or party body.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Department",
    status = "DepartmentStatus",
    shortname = "dept",
    category = "dc",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.kind"}"#,
    printcolumn = r#"{"name":"Systems","type":"integer","jsonPath":".status.systems"}"#,
    printcolumn = r#"{"name":"VMs","type":"integer","jsonPath":".status.virtualMachines"}"#,
    printcolumn = r#"{"name":"Name","type":"string","jsonPath":".spec.displayName.vi"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DepartmentSpec {
    pub display_name: DisplayName,
    pub kind: DepartmentKind,
    /// Its domain name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Users and groups of the identity provider, by role.
    #[serde(default)]
    pub members: Members,
}

/// A name in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisplayName {
    pub vi: String,
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
    pub administrators: Vec<Subject>,
    /// Start, stop and restart, and read everything but Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<Subject>,
    /// Read everything but Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auditors: Vec<Subject>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    pub kind: SubjectKind,
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
    pub conditions: Vec<Condition>,
    /// Computed from the objects of the namespace.
    #[serde(default)]
    pub systems: i64,
    #[serde(default)]
    pub virtual_machines: i64,
    #[serde(default)]
    pub volumes: i64,
}
