//! Zone: a security zone of the data centre, its address pools and what may flow into it.

use ipnet::{Ipv4Net, Ipv6Net};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A network zone. What is not named in `ingress` is dropped.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Zone",
    status = "ZoneStatus",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type"}"#,
    printcolumn = r#"{"name":"Subnets","type":"integer","jsonPath":".status.subnets"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == oldSelf.type").message("type: a zone keeps its type; make another zone"))]
#[x_kube(validation = Rule::new("self.type != 'outside' || (!has(self.poolV4) && !has(self.poolV6))").message("poolV4, poolV6: the outside has no subnets of ours"))]
#[x_kube(validation = Rule::new("!has(oldSelf.poolV4) || (has(self.poolV4) && self.poolV4.prefixLength == oldSelf.poolV4.prefixLength)").message("poolV4.prefixLength: cannot change once set, subnets have been cut by it"))]
#[x_kube(validation = Rule::new("self.type != 'database' || !has(self.ingress) || self.ingress.all(i, i.from == 'internal')").message("ingress: a database zone is entered from the internal zone only"))]
#[x_kube(validation = Rule::new("self.type != 'storage' || !has(self.ingress) || size(self.ingress) == 0").message("ingress: a storage zone carries no tenant traffic"))]
#[x_kube(validation = Rule::new("self.type == 'dmz' || !has(self.ingress) || self.ingress.all(i, i.from != 'outside')").message("ingress: only a dmz is entered from outside"))]
pub struct ZoneSpec {
    /// What the zone is for; it decides what may reach it.
    #[serde(rename = "type")]
    pub type_: ZoneKind,
    /// Subnets that ask for no prefix get one from here; each prefix is given once in a zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_v4: Option<PoolV4>,
    /// As poolV4, for IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_v6: Option<PoolV6>,
    /// New connections that may enter this zone, within one department.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.prefixLength >= int(self.cidr.split('/')[1])").message("prefixLength: a subnet cannot be larger than the pool"))]
pub struct PoolV4 {
    /// Such as 10.16.0.0/12.
    #[schemars(with = "String", length(max = 18))]
    #[x_kube(validation = Rule::new("isCIDR(self) && cidr(self).ip().family() == 4 && cidr(self) == cidr(self).masked()").message("cidr: an IPv4 network such as 10.16.0.0/12, with no bits set after the prefix"))]
    pub cidr: Ipv4Net,
    /// Length of each subnet's prefix. Default 26.
    #[serde(default = "default_v4_length")]
    #[schemars(range(min = 16, max = 28))]
    pub prefix_length: u8,
}

fn default_v4_length() -> u8 {
    26
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolV6 {
    /// Such as fd00:16::/32. Each subnet gets a /64.
    #[schemars(with = "String", length(max = 43))]
    #[x_kube(validation = Rule::new("isCIDR(self) && cidr(self).ip().family() == 6 && cidr(self).prefixLength() <= 64").message("cidr: an IPv6 network of /64 or larger, such as fd00:16::/32"))]
    pub cidr: Ipv6Net,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressRule {
    /// The zone type new connections come from. From `outside`, only what a machine publishes.
    pub from: ZoneKind,
    /// What may be reached.
    #[schemars(length(min = 1, max = 32))]
    pub services: Vec<ServiceSpec>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.protocol == 'icmp' ? !has(self.port) && !has(self.endPort) : has(self.port)").message("port: tcp and udp need one, icmp has none"))]
#[x_kube(validation = Rule::new("!has(self.endPort) || (has(self.port) && self.endPort >= self.port)").message("endPort: not below port"))]
pub struct ServiceSpec {
    /// What people call it, such as postgres.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub name: String,
    /// tcp, udp, or icmp for echo requests.
    pub protocol: ProtocolName,
    /// First port. Absent for icmp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Last port, when there is more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
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
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    #[serde(default)]
    pub subnets: i64,
}
