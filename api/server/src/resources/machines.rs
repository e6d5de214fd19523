//! Virtual machines: made, started, stopped, restarted, given another class, deleted.

use dc_crds::VirtualMachine;
use dc_crds::vm::{
    CloudInit, Disk, FirmwareKind, Interface, OnGuestStop, PowerState, VirtualMachineSpec,
};
use dc_crds::volume::VolumeTemplate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};
use utoipa::ToSchema;

use super::volumes::{NewSource, ReclaimRule};
use super::{Change, Create, Facts, Kind, Patch, named, view};
use crate::rights::{Person, Resource, Verb};
use dc_audit::chain::hex;

pub struct Machines;

/// A virtual machine.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VirtualMachine)]
pub struct MachineView {
    #[serde(flatten)]
    pub meta: view::Meta,
    pub system: String,
    pub class: String,
    /// What is wanted.
    pub power: Power,
    /// What is there: Pending, Starting, Running, Paused, Stopping, Stopped, Crashed, Unknown or
    /// Releasing.
    pub state: String,
    pub disks: Vec<DiskView>,
    pub interfaces: Vec<InterfaceView>,
    /// The text of the last restart that was asked for.
    pub restart: Option<String>,
    /// RFC 3339.
    pub started_at: Option<String>,
    /// RFC 3339: until when it may run; its system's, or no end, when absent.
    pub lease_until: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Disk)]
pub struct DiskView {
    pub name: String,
    /// The volume.
    pub volume: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Interface)]
pub struct InterfaceView {
    pub subnet: String,
    /// Absent until it is given.
    pub mac: Option<String>,
    pub ipv4: Option<String>,
    pub ipv6: Option<String>,
    /// Services that the outside may reach here.
    pub publish: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Power {
    #[default]
    Running,
    Stopped,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    #[default]
    Bios,
    Uefi,
}

/// A machine to be made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewVirtualMachine {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$", max_length = 40)]
    pub name: String,
    /// The information system it belongs to.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub system: String,
    /// A class of the catalogue.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub class: String,
    #[serde(default)]
    pub power: Power,
    #[serde(default)]
    pub firmware: Firmware,
    /// In boot order; the first one is booted from.
    #[schema(min_items = 1, max_items = 16)]
    pub disks: Vec<NewDisk>,
    #[schema(min_items = 1, max_items = 8)]
    pub interfaces: Vec<NewInterface>,
    /// cloud-init's user data, beginning with `#cloud-config` or `#!`. It may hold secrets, and is
    /// not shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 65536)]
    pub user_data: Option<String>,
    /// Machines of the system in one group run on different hosts while that is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub spread_group: Option<String>,
}

/// A disk: a volume that is there, or what to make one from. Exactly one of the two.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewDisk {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?$", max_length = 20)]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub volume: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<NewDiskTemplate>,
}

/// A volume that is made with the machine and deleted with it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewDiskTemplate {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub pool: String,
    #[schema(
        pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
        max_length = 18
    )]
    pub size: String,
    #[serde(default)]
    pub source: NewSource,
    #[serde(default)]
    pub reclaim: ReclaimRule,
    /// Encrypt its bytes at rest, by a key of its own. Of a blank volume alone, and for good.
    #[serde(default)]
    pub encrypted: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewInterface {
    /// A subnet of the department.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub subnet: String,
    /// A free one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Ipv4)]
    pub ipv4: Option<Ipv4Addr>,
    /// A free one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Ipv6)]
    pub ipv6: Option<Ipv6Addr>,
    /// Services that the outside may reach; the zone must allow each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub publish: Vec<String>,
}

/// What may change; at least one of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(min_properties = 1)]
pub struct VirtualMachineChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<Power>,
    /// Any text that was not sent before, such as the time: the guest is stopped and started once
    /// for each text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub restart: Option<String>,
    /// Another class. It needs the right to make machines, since it takes as much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub class: Option<String>,
}

impl Kind for Machines {
    type Object = VirtualMachine;
    type View = MachineView;
    const RESOURCE: Resource = Resource {
        group: dc_crds::GROUP,
        plural: "virtualmachines",
    };

    fn view(object: &VirtualMachine) -> MachineView {
        let spec = &object.spec;
        let status = object.status.clone().unwrap_or_default();
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let interfaces = spec.interfaces.iter().map(|wanted| {
            let given = status.interfaces.iter();
            let given = given.clone().find(|given| given.subnet == wanted.subnet);
            InterfaceView {
                subnet: wanted.subnet.clone(),
                mac: given.map(|given| given.mac.clone()),
                ipv4: given.and_then(|given| given.ipv4.clone()),
                ipv6: given.and_then(|given| given.ipv6.clone()),
                publish: wanted.publish.clone(),
            }
        });
        let disks = spec.disks.iter().map(|disk| DiskView {
            name: disk.name.clone(),
            volume: match &disk.volume {
                Some(volume) => volume.clone(),
                None => format!("{name}-{}", disk.name),
            },
        });
        MachineView {
            meta: view::meta(&object.metadata, &status.conditions),
            system: spec.system.clone(),
            class: spec.class.clone(),
            power: match spec.power_state {
                PowerState::Running => Power::Running,
                PowerState::Stopped => Power::Stopped,
            },
            disks: disks.collect(),
            interfaces: interfaces.collect(),
            restart: spec.restart.clone(),
            state: status.state.clone(),
            started_at: status.started_at,
            lease_until: spec.lease.as_ref().map(|lease| lease.until.clone()),
        }
    }

    fn meta(object: &VirtualMachine) -> view::Meta {
        let status = object.status.as_ref();
        view::meta(
            &object.metadata,
            status.map_or(&[], |status| &status.conditions),
        )
    }

    fn facts(object: &VirtualMachine) -> Facts<'_> {
        Facts {
            system: Some(&object.spec.system),
            state: object.status.as_ref().map(|status| status.state.as_str()),
            virtual_machine: object.metadata.name.as_deref(),
        }
    }
}

impl Create for Machines {
    type New = NewVirtualMachine;

    fn name(new: &NewVirtualMachine, _: &Person) -> String {
        new.name.clone()
    }

    fn object(department: &str, name: &str, new: NewVirtualMachine) -> VirtualMachine {
        let NewVirtualMachine {
            name: _,
            system,
            class,
            power,
            firmware,
            disks,
            interfaces,
            user_data,
            spread_group,
        } = new;
        let spec = VirtualMachineSpec {
            system,
            class,
            power_state: match power {
                Power::Running => PowerState::Running,
                Power::Stopped => PowerState::Stopped,
            },
            restart: None,
            firmware: match firmware {
                Firmware::Bios => FirmwareKind::Bios,
                Firmware::Uefi => FirmwareKind::Uefi,
            },
            disks: disks.into_iter().map(disk).collect(),
            interfaces: interfaces.into_iter().map(interface).collect(),
            cloud_init: user_data.map(|text| CloudInit {
                user_data: Some(text),
                secret: None,
            }),
            // As in a manifest that does not say.
            stop_deadline_seconds: 60,
            on_guest_stop: OnGuestStop::default(),
            spread_group,
            physical_exception: None,
            lease: None,
        };
        let mut machine = VirtualMachine::new("", spec);
        machine.metadata = named(department, name);
        machine
    }

    /// User data may hold passwords: its digest tells whether it is the same.
    fn audited(new: &NewVirtualMachine) -> Value {
        use sha2::{Digest, Sha256};
        let mut audited = json!(new);
        if let Some(text) = &new.user_data {
            let digest = hex(&Sha256::digest(text));
            audited["userData"] = json!({ "sha256": digest });
        }
        audited
    }
}

fn disk(new: NewDisk) -> Disk {
    let NewDisk {
        name,
        volume,
        template,
    } = new;
    Disk {
        name,
        volume,
        template: template.map(|template| {
            let NewDiskTemplate {
                pool,
                size,
                source,
                reclaim,
                encrypted,
            } = template;
            let (reclaim, erase_method) = reclaim.parts();
            VolumeTemplate {
                pool,
                size,
                source: source.spec(),
                reclaim,
                erase_method,
                qos: None,
                encrypted,
            }
        }),
    }
}

fn interface(new: NewInterface) -> Interface {
    let NewInterface {
        subnet,
        ipv4,
        ipv6,
        publish,
    } = new;
    Interface {
        subnet,
        ipv4,
        ipv6,
        mac: None,
        publish,
    }
}

impl Change for Machines {
    type Change = VirtualMachineChange;

    /// A department's operators may change machines; that they change no more than power is seen
    /// to here.
    fn patch(change: VirtualMachineChange) -> Patch {
        let VirtualMachineChange {
            power,
            restart,
            class,
        } = change;
        let mut spec = json!({});
        if let Some(power) = power {
            spec["powerState"] = json!(power);
        }
        if let Some(restart) = restart {
            spec["restart"] = json!(restart);
        }
        let needs = class.is_some().then_some(Verb::Create);
        if let Some(class) = class {
            spec["class"] = json!(class);
        }
        Patch { spec, needs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(value: Value) -> Result<NewVirtualMachine, serde_json::Error> {
        serde_json::from_value(value)
    }

    fn good() -> Value {
        json!({"name": "web-1", "system": "a01", "class": "small", "userData": "#! password",
               "disks": [{"name": "root", "template": {"pool": "san-1", "size": "20Gi"}}],
               "interfaces": [{"subnet": "dmz"}]})
    }

    #[test]
    fn the_audit_log_does_not_keep_user_data() {
        let audited = Machines::audited(&new(good()).unwrap()).to_string();
        assert!(!audited.contains("password"), "{audited}");
        assert!(audited.contains("sha256"), "{audited}");
    }

    #[test]
    fn what_only_the_platform_sets_cannot_be_sent() {
        for field in [
            "host",
            "status",
            "instanceId",
            "metadata",
            "physicalException",
            "uid",
        ] {
            let mut sent = good();
            sent[field] = json!("x");
            assert!(new(sent).is_err(), "{field}");
        }
        let mut sent = good();
        sent["interfaces"][0]["mac"] = json!("02:00:00:00:00:01");
        assert!(new(sent).is_err());
    }

    #[test]
    fn another_class_needs_the_right_to_make_machines_and_power_does_not() {
        let change = |value| Machines::patch(serde_json::from_value(value).unwrap());
        let power = change(json!({"power": "Stopped", "restart": "1"}));
        assert_eq!(power.needs, None);
        assert_eq!(power.spec, json!({"powerState": "Stopped", "restart": "1"}));
        let class = change(json!({"class": "large"}));
        assert_eq!(class.needs, Some(Verb::Create));
        assert_eq!(class.spec, json!({"class": "large"}));
    }
}
