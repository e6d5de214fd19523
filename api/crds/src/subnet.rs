//! Subnet: a department's segment in one zone.

use ipnet::{Ipv4Net, Ipv6Net};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A segment of a department. Two departments may use the same private prefix.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Subnet",
    namespaced,
    status = "SubnetStatus",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Zone","type":"string","jsonPath":".spec.zone"}"#,
    printcolumn = r#"{"name":"IPv4","type":"string","jsonPath":".status.ipv4"}"#,
    printcolumn = r#"{"name":"IPv6","type":"string","jsonPath":".status.ipv6"}"#,
    printcolumn = r#"{"name":"Used","type":"integer","jsonPath":".status.addressesUsed"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.zone == oldSelf.zone").message("zone: a subnet keeps its zone; make another Subnet"))]
#[x_kube(validation = Rule::new("has(self.ipv4) == has(oldSelf.ipv4) && (!has(self.ipv4) || self.ipv4 == oldSelf.ipv4)").message("ipv4: a subnet keeps its prefix, given or not; make another Subnet"))]
#[x_kube(validation = Rule::new("has(self.ipv6) == has(oldSelf.ipv6) && (!has(self.ipv6) || self.ipv6 == oldSelf.ipv6)").message("ipv6: a subnet keeps its prefix, given or not; make another Subnet"))]
pub struct SubnetSpec {
    /// The InformationSystem it belongs to; absent when the whole department shares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub system: Option<String>,
    /// The Zone.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub zone: String,
    /// A prefix of the department's own choice; from the zone's pool when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 18))]
    #[x_kube(validation = Rule::new("isCIDR(self) && cidr(self).ip().family() == 4 && cidr(self) == cidr(self).masked() && cidr(self).prefixLength() >= 16 && cidr(self).prefixLength() <= 28").message("ipv4: an IPv4 network from /16 to /28 such as 10.20.0.0/26, with no bits set after the prefix"))]
    pub ipv4: Option<Ipv4Net>,
    /// A /64 of the department's own choice; from the zone's pool when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 43))]
    #[x_kube(validation = Rule::new("isCIDR(self) && cidr(self).ip().family() == 6 && cidr(self) == cidr(self).masked() && cidr(self).prefixLength() == 64").message("ipv6: an IPv6 network of /64 such as fd00:20:1::/64"))]
    pub ipv6: Option<Ipv6Net>,
    /// Name servers told to the guests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", length(max = 3), inner(length(max = 39)))]
    pub dns: Vec<std::net::IpAddr>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubnetStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    #[serde(default)]
    pub addresses_used: i64,
}
