//! What a department may hold at most, and how it stands with that.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most a department may hold. What is not named is unlimited; 0 allows none.
///
/// Claims are what is charged: a machine from its placement until its host has let go of it,
/// running or stopped; a volume from its promise, a snapshot from when it is begun, until its storage
/// host has let go of it. vCPUs and memory are the guest's. A limit below what is held takes nothing away: nothing new is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.memory) || quantity(self.memory).compareTo(quantity('1024Pi')) <= 0").message("memory: at most 1024Pi; leave it out for no limit"))]
#[x_kube(validation = Rule::new("!has(self.storage) || self.storage.all(s, quantity(s.size).compareTo(quantity('1024Pi')) <= 0)").message("storage: at most 1024Pi of a class; leave the class out for no limit"))]
pub struct Quota {
    /// Machines, whatever their size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub virtual_machines: Option<u32>,
    /// vCPUs of all machines together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub vcpus: Option<u32>,
    /// Memory of all guests together, such as 64Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^(0|[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?)$"),
        length(max = 18)
    )]
    pub memory: Option<String>,
    /// Sizes of all volumes together, by the class of their pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["class"]))]
    pub storage: Vec<StorageQuota>,
    /// Subnets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub subnets: Option<u32>,
    /// Snapshots that are kept, one for each volume: a machine with three disks is three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub snapshots: Option<u32>,
    /// Network cards that publish anything: so many addresses answer from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub public_addresses: Option<u32>,
    /// Services that machines publish: one that two cards publish is two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub published_services: Option<u32>,
}

/// The most of one class of storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageQuota {
    /// As StoragePools name it in `spec.class`.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub class: String,
    /// Such as 500Gi or 2T.
    #[schemars(
        regex(pattern = "^(0|[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?)$"),
        length(max = 18)
    )]
    pub size: String,
}

/// One thing that a department holds, wants or may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaLine {
    /// virtualMachines, vcpus, memory, subnets, snapshots, publicAddresses, publishedServices, or
    /// `storage/<class>`.
    pub resource: String,
    /// What its claims hold.
    pub used: String,
    /// What its objects want and do not hold yet.
    pub reserved: String,
    /// Absent: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// What nobody holds or waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<String>,
}
