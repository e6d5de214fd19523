//! Volume: a SAN volume of a department.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A thin volume of a pool.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Volume",
    namespaced,
    status = "VolumeStatus",
    shortname = "vol",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Size","type":"string","jsonPath":".spec.size"}"#,
    printcolumn = r#"{"name":"Pool","type":"string","jsonPath":".spec.pool"}"#,
    printcolumn = r#"{"name":"Moving","type":"string","jsonPath":".status.moving.phase"}"#,
    printcolumn = r#"{"name":"Attached to","type":"string","jsonPath":".status.attachedTo"}"#,
    printcolumn = r#"{"name":"System","type":"string","jsonPath":".spec.system"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.system == oldSelf.system").message("system: a volume keeps its system"))]
#[x_kube(validation = Rule::new("self.source == oldSelf.source").message("source: cannot change once the volume is made"))]
#[x_kube(validation = Rule::new("self.encrypted == oldSelf.encrypted").message("encrypted: cannot change once the volume is made"))]
#[x_kube(validation = Rule::new("!self.encrypted || !(has(self.source.image) || has(self.source.volume) || has(self.source.snapshot) || has(self.source.restore))").message("encrypted: only a blank volume can be; take source away"))]
#[x_kube(validation = Rule::new("self.encrypted || self.eraseMethod != 'KeyDestruction'").message("eraseMethod: KeyDestruction is for encrypted volumes alone; set Discard, Zero or Random"))]
#[x_kube(validation = Rule::new("self.access == oldSelf.access").message("access: cannot change once the volume is made"))]
#[x_kube(validation = Rule::new("quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0").message("size: a volume may grow, never shrink"))]
#[x_kube(validation = Rule::new("quantity(self.size).compareTo(quantity('1Mi')) >= 0 && quantity(self.size).compareTo(quantity('64Ti')) <= 0").message("size: from 1Mi to 64Ti"))]
pub struct VolumeSpec {
    /// The InformationSystem of the same namespace it belongs to.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub system: String,
    /// The StoragePool that holds it. Another one has it moved there under its running machine.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub pool: String,
    /// Such as 20Gi or 1350G. May grow, never shrink.
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"),
        length(max = 18)
    )]
    pub size: String,
    #[serde(default)]
    pub source: SourceSpec,
    /// Who may open it at the same time.
    #[serde(default)]
    pub access: Access,
    #[serde(default)]
    pub reclaim: Reclaim,
    /// How, when `reclaim` is Erase.
    #[serde(default)]
    pub erase_method: EraseMethod,
    /// How fast it may be read and written. Absent: as fast as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<QosSpec>,
    /// Brings the volume back to a snapshot of its own, in place, while no machine has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreSpec>,
    /// Whether its bytes are encrypted at rest, by a key of its own. Only of a blank volume, and for
    /// life. Its guest sees all of `size`; the pool has 2 MiB more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub encrypted: bool,
}

/// The spec of a Volume that a VirtualMachine makes; the system is the machine's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeTemplate {
    /// The StoragePool that holds it.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub pool: String,
    /// Such as 20Gi or 1350G.
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"),
        length(max = 18)
    )]
    pub size: String,
    #[serde(default)]
    pub source: SourceSpec,
    #[serde(default)]
    pub reclaim: Reclaim,
    /// How, when `reclaim` is Erase.
    #[serde(default)]
    pub erase_method: EraseMethod,
    /// How fast it may be read and written. Absent: as fast as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<QosSpec>,
    /// Whether its bytes are encrypted at rest, by a key of its own. Only of a blank volume, and for
    /// life.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub encrypted: bool,
}

/// How fast a volume may be read and written, together. Changed while its machine runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.iopsBurst) || (has(self.iops) && self.iopsBurst >= self.iops)").message("qos.iopsBurst: not less than qos.iops, which it needs"))]
#[x_kube(validation = Rule::new("!has(self.bandwidthBurst) || (has(self.bandwidth) && quantity(self.bandwidthBurst).compareTo(quantity(self.bandwidth)) >= 0)").message("qos.bandwidthBurst: not less than qos.bandwidth, which it needs"))]
#[x_kube(validation = Rule::new("!has(self.burstSeconds) || has(self.iopsBurst) || has(self.bandwidthBurst)").message("qos.burstSeconds: needs iopsBurst or bandwidthBurst"))]
#[x_kube(validation = Rule::new("(!has(self.bandwidth) || quantity(self.bandwidth).compareTo(quantity('64Ki')) >= 0 && quantity(self.bandwidth).compareTo(quantity('1Ti')) <= 0) && (!has(self.bandwidthBurst) || quantity(self.bandwidthBurst).compareTo(quantity('1Ti')) <= 0)").message("qos.bandwidth: from 64Ki to 1Ti, bytes a second"))]
pub struct QosSpec {
    /// Reads and writes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 10_000_000))]
    pub iops: Option<u32>,
    /// The same for a short time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 10_000_000))]
    pub iops_burst: Option<u32>,
    /// Bytes a second, such as 100Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|k|M|G|T)?$"),
        length(max = 18)
    )]
    pub bandwidth: Option<String>,
    /// The same for a short time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|k|M|G|T)?$"),
        length(max = 18)
    )]
    pub bandwidth_burst: Option<String>,
    /// How long a burst may last at its full height. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub burst_seconds: Option<u32>,
}

/// An order to bring a volume back to a snapshot. What was written since is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreSpec {
    /// A VolumeSnapshot of the same namespace that holds this volume.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub snapshot: String,
    /// Any text. Another one than that of the last restore asks for one more.
    #[schemars(length(min = 1, max = 64))]
    pub order: String,
}

/// What the volume is made from. Blank when nothing is named; at most one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.image), has(self.volume), has(self.snapshot), has(self.restore)].filter(named, named).size() <= 1").message("source: at most one of image, volume, snapshot and restore"))]
pub struct SourceSpec {
    /// An Image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub image: Option<String>,
    /// A Volume of the same namespace and pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub volume: Option<String>,
    /// A VolumeSnapshot of the same namespace and pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotSource>,
    /// A Restore of the same namespace that names this volume and writes it. No machine gets it before
    /// that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub restore: Option<String>,
}

/// One volume of a VolumeSnapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotSource {
    /// The VolumeSnapshot.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub name: String,
    /// Which of its volumes, by the name it had; not needed when it has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub volume: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Access {
    /// One machine at a time.
    #[default]
    Exclusive,
}

/// What happens to the bytes when the Volume is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reclaim {
    /// They stay in the pool, under a name that an event tells.
    #[default]
    Retain,
    /// They are erased by `eraseMethod`, and an ErasureCertificate is left.
    Erase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EraseMethod {
    /// All blocks are given back to the pool and read as zeros.
    #[default]
    Discard,
    /// All blocks are written with zeros first.
    Zero,
    /// All blocks are written with random bytes, then with zeros.
    Random,
    /// Only of an encrypted volume: its key is destroyed, and each member of the ledger is asked whether
    /// it still has it; then all blocks are given back to the pool.
    KeyDestruction,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Pending, Creating, Available, Attached or Releasing.
    #[serde(default)]
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The size that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_to: Option<String>,
    /// The pool where its bytes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The storage host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How far it is on its way to another pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<MovingStatus>,
    /// The order of the last restore that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<String>,
    /// The limits as they are set, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// How much it is used, in words: a mean of a minute, another one when it differs by more than a
    /// quarter. Live figures are in the metrics of its machine's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// Snapshots that keep it from being deleted.
    #[serde(default)]
    pub snapshots: i64,
}

/// A move of the volume's bytes, until nothing of it is left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovingStatus {
    /// The other pool: the one that it goes to, or what is left of it lies in.
    pub other: String,
    /// Reserved, Copying, Switching, Recalled, Ending or Leaving.
    pub phase: String,
    /// How much is copied, in steps of 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// How often the copy was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
}
