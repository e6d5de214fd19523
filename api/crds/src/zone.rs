//! Zone: a security zone of the data centre, its address pools and what may flow into it.

use ipnet::{Ipv4Net, Ipv6Net};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A network zone. What is not named in `ingress` is dropped.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Zone",
    status = "ZoneStatus",
    category = "dc",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type"}"#,
    printcolumn = r#"{"name":"Subnets","type":"integer","jsonPath":".status.subnets"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZoneSpec {
    #[serde(rename = "type")]
    pub type_: ZoneKind,
    /// Subnets that ask for no prefix get one from here; each prefix is given once in a zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_v4: Option<PoolV4>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_v6: Option<PoolV6>,
    /// New connections that may enter this zone, within one department.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<IngressRule>,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ZoneKind {
    Outside,
    Dmz,
    Internal,
    Database,
    Storage,
    Management,
    Soc,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolV4 {
    /// Such as 10.16.0.0/12.
    #[schemars(with = "String")]
    pub cidr: Ipv4Net,
    /// Length of each subnet's prefix. Default 26.
    #[serde(default = "default_v4_length")]
    pub prefix_length: u8,
}

fn default_v4_length() -> u8 {
    26
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolV6 {
    /// Such as fd00:16::/32. Each subnet gets a /64.
    #[schemars(with = "String")]
    pub cidr: Ipv6Net,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressRule {
    /// The zone type new connections come from. From `outside`, only what a machine publishes.
    pub from: ZoneKind,
    pub services: Vec<ServiceSpec>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// What people call it, such as postgres.
    pub name: String,
    pub protocol: ProtocolName,
    /// First port. Absent for icmp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Last port, when there is more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolName {
    Tcp,
    Udp,
    Icmp,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneStatus {
    #[serde(default)]
    pub conditions: Vec<Condition>,
    #[serde(default)]
    pub subnets: i64,
}
