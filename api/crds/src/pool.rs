//! StoragePool: a back end that holds volumes.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A storage back end and how far it may be promised beyond what it has.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "StoragePool",
    status = "StoragePoolStatus",
    shortname = "pool",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Class","type":"string","jsonPath":".spec.class"}"#,
    printcolumn = r#"{"name":"Driver","type":"string","jsonPath":".status.driver"}"#,
    printcolumn = r#"{"name":"Capacity","type":"string","jsonPath":".status.capacity"}"#,
    printcolumn = r#"{"name":"Used","type":"string","jsonPath":".status.used"}"#,
    printcolumn = r#"{"name":"Promised","type":"string","jsonPath":".status.promised"}"#,
    printcolumn = r#"{"name":"Owner","type":"string","jsonPath":".spec.ownerClass"}"#,
    printcolumn = r#"{"name":"Health","type":"string","jsonPath":".status.health"}"#,
    printcolumn = r#"{"name":"Fills","type":"string","jsonPath":".status.fills"}"#,
    printcolumn = r#"{"name":"Orphans","type":"integer","jsonPath":".status.orphanCount"}"#,
    printcolumn = r#"{"name":"Volumes","type":"integer","jsonPath":".status.volumes"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.ownerClass == oldSelf.ownerClass").message("ownerClass: a pool keeps its class, as its bytes keep their owners; make another pool"))]
#[x_kube(validation = Rule::new("self.driver == oldSelf.driver").message("driver: a pool stays where its data is; make another pool"))]
pub struct StoragePoolSpec {
    /// Exactly one driver.
    pub driver: Driver,
    /// What kind of storage it is: departments' quotas count by class. Default standard.
    #[serde(default = "default_class")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub class: String,
    /// Bytes promised for each hundred the pool has. Default 300; 100 promises no more than is there.
    #[serde(default = "default_promise_percent")]
    #[schemars(range(min = 1, max = 10000))]
    pub promise_percent: u32,
    /// The condition CapacityLeft turns False past this share, in percent: of the capacity that is
    /// used, or of the promises that may be made. Default 80.
    #[serde(default = "default_warn_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub warn_percent: u32,
    /// Whose volumes it takes: those of departments of the same class, and no others.
    #[serde(default)]
    pub owner_class: OwnerClass,
}

/// The SOC's storage is kept apart from the data centre's: requirement S8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OwnerClass {
    /// The data centre's departments.
    #[default]
    Shared,
    /// The security operation centre alone.
    Soc,
}

impl OwnerClass {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OwnerClass::Shared => "shared",
            OwnerClass::Soc => "soc",
        }
    }
}

fn default_class() -> String {
    "standard".to_owned()
}

fn default_promise_percent() -> u32 {
    300
}

fn default_warn_percent() -> u32 {
    80
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.iscsi) ? 1 : 0) + (has(self.rbd) ? 1 : 0) + (has(self.directory) ? 1 : 0) == 1").message("driver: name exactly one of iscsi, rbd and directory"))]
pub struct Driver {
    /// The project's own SAN node: tgt over a reflink file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iscsi: Option<IscsiDriver>,
    /// A pool of a Ceph cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rbd: Option<RbdDriver>,
    /// A folder of a compute host, whose volumes the machines of that host alone can open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryDriver>,
}

/// Which driver a pool names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverKind {
    Iscsi,
    Rbd,
    Directory,
}

impl DriverKind {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DriverKind::Iscsi => "iscsi",
            DriverKind::Rbd => "rbd",
            DriverKind::Directory => "directory",
        }
    }
}

impl Driver {
    /// The API server lets no object through that names none, or several.
    #[must_use]
    pub fn kind(&self) -> DriverKind {
        let Self {
            iscsi: _,
            rbd,
            directory,
        } = self;
        match (rbd, directory) {
            (_, Some(_)) => DriverKind::Directory,
            (Some(_), None) => DriverKind::Rbd,
            (None, None) => DriverKind::Iscsi,
        }
    }

    /// As people know it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The host whose agent works with the pool.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        let Self {
            iscsi,
            rbd,
            directory,
        } = self;
        let iscsi = iscsi.as_ref().map(|driver| driver.host.as_str());
        let rbd = rbd.as_ref().map(|driver| driver.host.as_str());
        let directory = directory.as_ref().map(|driver| driver.host.as_str());
        directory.or(rbd).or(iscsi)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IscsiDriver {
    /// The storage host that holds the pool; its agent's configuration says where.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub host: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RbdDriver {
    /// The storage host whose agent works with the pool; its configuration says which cluster it is
    /// and what the pool is called there. Machines reach the cluster themselves.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub host: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DirectoryDriver {
    /// The compute host that has the folder; its agent's configuration says where. A machine with a
    /// volume of this pool runs there and nowhere else.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub host: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoragePoolStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    #[serde(default)]
    pub driver: String,
    #[serde(default)]
    pub capacity: String,
    #[serde(default)]
    pub used: String,
    /// The sum of the sizes of all claimed volumes, of the limit.
    #[serde(default)]
    pub promised: String,
    #[serde(default)]
    pub volumes: i64,
    #[serde(default)]
    pub snapshots: i64,
    /// Healthy, Filling, Full, Unusable or Unknown.
    #[serde(default)]
    pub health: String,
    /// The day when it fills if its use goes on as it did, `not at this rate`, or `unknown`.
    #[serde(default)]
    pub fills: String,
    /// What its driver cannot do, and why: asking for it is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<PoolLack>,
    /// How much lies in it that nobody claims.
    #[serde(default)]
    pub orphan_count: i64,
    /// The largest of it. Never removed by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<PoolOrphan>,
    /// How its use went, the oldest first: what the forecast is made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<UseSample>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolLack {
    /// Snapshot, Clone, ChangedExtents, GrowOnline, Fence or Discard.
    pub verb: String,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolOrphan {
    /// Volume, Snapshot, Image, Grant or Other.
    pub kind: String,
    /// As the driver calls it.
    pub name: String,
    pub size: String,
    /// When it was last changed, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// What of a pool was used at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UseSample {
    /// Seconds since 1970.
    pub at: i64,
    /// Bytes.
    pub used: i64,
}
