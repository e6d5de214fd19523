//! VirtualMachine: a guest, its disks and its cards.

use std::net::{Ipv4Addr, Ipv6Addr};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;
use crate::lease::Lease;
use crate::volume::VolumeTemplate;

/// A virtual machine. It runs on one host at a time, never on two.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "VirtualMachine",
    namespaced,
    status = "VirtualMachineStatus",
    shortname = "vm",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$')").message("metadata.name: at most 40 of a-z, 0-9 and -, so that the volumes made from templates have room for theirs"),
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Host","type":"string","jsonPath":".status.host"}"#,
    printcolumn = r#"{"name":"Address","type":"string","jsonPath":".status.addressText"}"#,
    printcolumn = r#"{"name":"Class","type":"string","jsonPath":".spec.class"}"#,
    printcolumn = r#"{"name":"System","type":"string","jsonPath":".spec.system"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.system == oldSelf.system").message("system: a machine keeps its system"))]
#[x_kube(validation = Rule::new("self.firmware == oldSelf.firmware").message("firmware: cannot change, the disk would not boot"))]
#[x_kube(validation = Rule::new("self.disks.all(d, self.disks.exists_one(e, e.name == d.name))").message("disks: each has a name of its own"))]
#[x_kube(validation = Rule::new("oldSelf.disks.all(o, !has(o.template) || !self.disks.exists(d, d.name == o.name) || self.disks.exists(d, d.name == o.name && has(d.template) && d.template.pool == o.template.pool && d.template.source == o.template.source && d.template.encrypted == o.template.encrypted))").message("disks: pool, source and encrypted of a template cannot change once the volume is made"))]
#[x_kube(validation = Rule::new("self.interfaces.map(i, i.subnet) == oldSelf.interfaces.map(i, i.subnet)").message("interfaces: cards, their order and their subnets are fixed when the machine is made"))]
pub struct VirtualMachineSpec {
    /// The InformationSystem of the same namespace it belongs to.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub system: String,
    /// The MachineClass.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub class: String,
    /// Whether the guest is to run.
    #[serde(default)]
    pub power_state: PowerState,
    /// Write another text here, such as the time, and the guest is stopped and started once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub restart: Option<String>,
    /// How the guest boots.
    #[serde(default)]
    pub firmware: FirmwareKind,
    /// In boot order; the first one is booted from. The others may be added and taken off while it runs.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub disks: Vec<Disk>,
    /// Its network cards, in order. Without one it reaches nothing and nobody reaches it.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["subnet"]))]
    pub interfaces: Vec<Interface>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// Seconds a clean stop may take before force is used. Default 60.
    #[serde(default = "default_stop_deadline")]
    #[schemars(range(min = 1, max = 3600))]
    pub stop_deadline_seconds: u32,
    #[serde(default)]
    pub on_guest_stop: OnGuestStop,
    /// Machines of the same system in one group run on different hosts while that is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub spread_group: Option<String>,
    /// Why a database runs here rather than on a physical server, as the province's rules ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical_exception: Option<PhysicalException>,
    /// Until when it may run; no end when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
}

fn default_stop_deadline() -> u32 {
    60
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PowerState {
    #[default]
    Running,
    Stopped,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FirmwareKind {
    #[default]
    Bios,
    Uefi,
}

/// What happens when the guest stops by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnGuestStop {
    /// Start it again.
    #[default]
    Restart,
    /// Start it again after a crash only.
    RestartOnFailure,
    Stay,
}

/// A disk: a Volume that exists, or a template that makes one. Exactly one of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.volume) != has(self.template)").message("exactly one of volume and template"))]
#[x_kube(validation = Rule::new("!has(self.template) || !self.template.encrypted || !(has(self.template.source.image) || has(self.template.source.volume) || has(self.template.source.snapshot) || has(self.template.source.restore))").message("template.encrypted: only a blank volume can be; take source away"))]
#[x_kube(validation = Rule::new("!has(self.template) || self.template.encrypted || self.template.eraseMethod != 'KeyDestruction'").message("template.eraseMethod: KeyDestruction is for encrypted volumes alone; set Discard, Zero or Random"))]
pub struct Disk {
    /// A DNS label, unique within the machine.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?$"),
        length(max = 20)
    )]
    pub name: String,
    /// A Volume of the same namespace that no other machine holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub volume: Option<String>,
    /// Makes the Volume `<machine>-<disk>` in the same namespace, once; it is deleted with the
    /// machine, by its own reclaim rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<VolumeTemplate>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.mac) || (has(self.mac) && self.mac == oldSelf.mac)").message("mac: a card keeps its MAC for life"))]
#[x_kube(validation = Rule::new("!has(oldSelf.ipv4) || (has(self.ipv4) && self.ipv4 == oldSelf.ipv4)").message("ipv4: a card keeps its address for life"))]
#[x_kube(validation = Rule::new("!has(oldSelf.ipv6) || (has(self.ipv6) && self.ipv6 == oldSelf.ipv6)").message("ipv6: a card keeps its address for life"))]
pub struct Interface {
    /// A Subnet of the same namespace.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub subnet: String,
    /// A free one of the subnet when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 15))]
    #[x_kube(validation = Rule::new("isIP(self) && ip(self).family() == 4").message("ipv4: an IPv4 address such as 10.20.0.12"))]
    pub ipv4: Option<Ipv4Addr>,
    /// A free one of the subnet when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 39))]
    #[x_kube(validation = Rule::new("isIP(self) && ip(self).family() == 6").message("ipv6: an IPv6 address such as fd00:20::12"))]
    pub ipv6: Option<Ipv6Addr>,
    /// Made from the machine's id when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$"),
        length(max = 17)
    )]
    pub mac: Option<String>,
    /// Names of services the outside may reach here; the zone must allow each from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63)))]
    pub publish: Vec<String>,
}

/// cloud-init's user-data: written here, or in a Secret of the namespace. Not both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.userData) != has(self.secret)").message("cloudInit: exactly one of userData and secret"))]
pub struct CloudInit {
    /// Beginning with `#cloud-config`, or `#!` for a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub user_data: Option<String>,
    /// The key `userData` of this Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhysicalException {
    /// Why a physical server is not used.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// Who decided it.
    #[schemars(length(min = 1, max = 512))]
    pub decided_by: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualMachineStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Pending, Starting, Running, Paused, Stopping, Stopped, Crashed, Unknown or Releasing.
    #[serde(default)]
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Of the claim, `incarnation.revision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_type: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address_text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceStatus>,
    /// Clean, Forced, ByGuest, Crashed or HostLost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_stop: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceStatus {
    pub subnet: String,
    pub mac: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
}
