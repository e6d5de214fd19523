//! UsageRecord: what a department held in one month, day by day and system by system.

pub mod days;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a department held in one month. Written by the operator, kept after the department is gone;
/// its name is `<department>.<month>`. Departments read it through their API.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "UsageRecord",
    status = "UsageRecordStatus",
    shortname = "usage",
    category = "dc",
    printcolumn = r#"{"name":"Department","type":"string","jsonPath":".spec.department"}"#,
    printcolumn = r#"{"name":"Month","type":"string","jsonPath":".spec.month"}"#,
    printcolumn = r#"{"name":"Days","type":"integer","jsonPath":".status.dayCount"}"#,
    printcolumn = r#"{"name":"Complete until","type":"string","jsonPath":".status.until"}"#,
    printcolumn = r#"{"name":"Closed","type":"boolean","jsonPath":".status.closed"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: a record stays that of its month"))]
pub struct UsageRecordSpec {
    /// Whose it is.
    #[schemars(length(min = 1, max = 63))]
    pub department: String,
    /// The month, as 2026-11.
    #[schemars(regex(pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$"))]
    pub month: String,
    /// In which its days begin and end.
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageRecordStatus {
    /// Up to this moment the days are complete, RFC 3339 in UTC; from then on `held` is held.
    #[serde(default)]
    pub until: String,
    /// Whether the month is over: nothing of it changes any more.
    #[serde(default)]
    pub closed: bool,
    /// How many days have an entry.
    #[serde(default)]
    pub day_count: i64,
    /// What each system holds since `until`, and goes on to hold; of a month that is over, what was
    /// held at its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<SystemHeld>,
    /// One entry for each day on which something was held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<UsageDay>,
}

/// What one system holds at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemHeld {
    /// The InformationSystem's name.
    pub system: String,
    pub virtual_machines: i64,
    pub vcpus: i64,
    #[serde(rename = "memoryMiB")]
    pub memory_mib: i64,
    /// Addresses of machines, IPv4 and IPv6.
    pub addresses: i64,
    /// Promised sizes of volumes, by class of the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<StorageHeld>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageHeld {
    /// As the quota names it.
    pub class: String,
    #[serde(rename = "sizeMiB")]
    pub size_mib: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageDay {
    /// As 2026-11-27.
    pub day: String,
    #[serde(default)]
    pub systems: Vec<SystemUse>,
}

/// What one system held in the course of a day: each amount times the seconds it was held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemUse {
    /// The InformationSystem's name.
    pub system: String,
    pub machine_seconds: i64,
    pub vcpu_seconds: i64,
    #[serde(rename = "memoryMiBSeconds")]
    pub memory_mib_seconds: i64,
    pub address_seconds: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<StorageUse>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageUse {
    /// As the quota names it.
    pub class: String,
    #[serde(rename = "sizeMiBSeconds")]
    pub size_mib_seconds: i64,
}

impl UsageRecordStatus {
    /// Whether nothing was held, and nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.days.is_empty()
    }
}
