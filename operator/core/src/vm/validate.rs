//! What one VirtualMachine asks, checked against what it names.

use std::collections::BTreeSet;

use dc_crds::vm::{
    CloudInit, Disk, FirmwareKind, Interface, OnGuestStop, PowerState, VirtualMachineSpec,
};
use dc_crds::volume::{VolumeSpec, VolumeTemplate};
use dc_crds::{MachineClass, VirtualMachine};
use dc_types::claim::SubnetClaim;
use dc_types::plan::{Firmware, OnStop, Power, Secret, ZoneType};
use dc_types::{Bytes, DepartmentName, InstanceId, Mac, MiB, SubnetUid};

use super::{CardSeen, DiskSeen, Seen, cloud_init, home, id, volume_name};
use crate::lease::{self, Term};
use crate::network;
use crate::object::{self, Life};
use crate::place::zone_type;
use crate::quota::wish::{Exposed, MachineSize, Publishes};
use crate::volume::Named;
use crate::words::Fact;

/// A machine that may be claimed, or is.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidVm {
    pub id: InstanceId,
    pub department: DepartmentName,
    pub system: String,
    pub name: String,
    /// What is asked, while the lease lasts.
    pub power: Power,
    pub term: Option<Term>,
    pub restart: String,
    pub class: String,
    pub vcpus: u32,
    pub memory: MiB,
    pub cpu_model: String,
    pub firmware: Firmware,
    pub disks: Vec<ValidDisk>,
    pub cards: Vec<ValidCard>,
    pub user_data: Secret,
    pub stop_deadline_s: u32,
    pub on_stop: OnStop,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ValidDisk {
    pub name: String,
    pub volume_name: String,
    pub volume: DiskVolume,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DiskVolume {
    /// An object that is there.
    There(InstanceId),
    /// To be made from the disk's template.
    ToMake(Box<VolumeSpec>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidCard {
    pub subnet: SubnetUid,
    pub subnet_name: String,
    pub zone: ZoneType,
    pub prefixes: SubnetClaim,
    pub v4: Option<std::net::Ipv4Addr>,
    pub v6: Option<std::net::Ipv6Addr>,
    pub mac: Option<Mac>,
    /// In one order, each name once.
    pub publish: Vec<String>,
}

impl ValidVm {
    /// What of it is charged beside its volumes.
    #[must_use]
    pub fn size(&self) -> MachineSize {
        MachineSize {
            vcpus: self.vcpus,
            memory: self.memory,
            exposed: Exposed::of(&self.cards),
        }
    }
}

impl Publishes for ValidCard {
    fn publish(&self) -> &[String] {
        &self.publish
    }
}

/// Everything that is wrong with it, or what it waits for.
pub fn validate(seen: &Seen<'_>) -> Result<ValidVm, Vec<Fact>> {
    let VirtualMachine { spec, .. } = seen.vm;
    let VirtualMachineSpec {
        system,
        class,
        power_state,
        restart,
        firmware,
        disks,
        interfaces,
        cloud_init,
        stop_deadline_seconds,
        on_guest_stop,
        spread_group: _,
        physical_exception: _,
        // Read with the system's.
        lease: _,
    } = spec;
    let mut wrong = Vec::new();
    if seen.system == Named::Absent {
        wrong.push(Fact::SystemMissing {
            system: system.clone(),
        });
    }
    let size = keep(&mut wrong, class_size(class, seen.class));
    let disks = validate_disks(seen, disks, &mut wrong);
    wrong.extend(home::validate(seen).err());
    let cards = validate_cards(seen, interfaces, &mut wrong);
    let user_data = keep(&mut wrong, validate_user_data(seen, cloud_init.as_ref()));
    let leases = seen.leases.iter().copied();
    let term = keep(&mut wrong, lease::judge(leases, seen.now)).flatten();
    let department = DepartmentName::new(seen.me.namespace.clone()).ok();
    match (size, user_data, department) {
        (Some((vcpus, memory, cpu_model)), Some(user_data), Some(department))
            if wrong.is_empty() =>
        {
            Ok(ValidVm {
                id: id(seen.me),
                department,
                system: system.clone(),
                name: seen.me.name.clone(),
                power: match power_state {
                    PowerState::Running if term.as_ref().is_some_and(Term::is_over) => Power::Off,
                    PowerState::Running => Power::On,
                    PowerState::Stopped => Power::Off,
                },
                term,
                restart: restart.clone().unwrap_or_default(),
                class: class.clone(),
                vcpus,
                memory,
                cpu_model,
                firmware: match firmware {
                    FirmwareKind::Bios => Firmware::Bios,
                    FirmwareKind::Uefi => Firmware::Uefi,
                },
                disks,
                cards,
                user_data,
                stop_deadline_s: *stop_deadline_seconds,
                on_stop: match on_guest_stop {
                    OnGuestStop::Restart => OnStop::Restart,
                    OnGuestStop::RestartOnFailure => OnStop::RestartOnFailure,
                    OnGuestStop::Stay => OnStop::Stay,
                },
            })
        }
        _ => Err(wrong),
    }
}

fn keep<T>(wrong: &mut Vec<Fact>, result: Result<T, Fact>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(fact) => {
            wrong.push(fact);
            None
        }
    }
}

fn class_size(name: &str, class: Option<&MachineClass>) -> Result<(u32, MiB, String), Fact> {
    let class = class.ok_or_else(|| Fact::ClassMissing {
        class: name.to_owned(),
    })?;
    let memory = class.spec.memory.parse::<Bytes>().map(Bytes::to_mib);
    match memory {
        Ok(memory) if memory.0 > 0 => Ok((class.spec.vcpus, memory, class.spec.cpu_model.clone())),
        Ok(_) | Err(_) => Err(Fact::ClassBroken {
            class: name.to_owned(),
            memory: class.spec.memory.clone(),
        }),
    }
}

fn validate_user_data(seen: &Seen<'_>, asked: Option<&CloudInit>) -> Result<Secret, Fact> {
    match asked {
        None => cloud_init::validate(super::UserData::Absent),
        Some(CloudInit {
            user_data: Some(text),
            secret: _,
        }) => cloud_init::validate(super::UserData::Inline(text)),
        Some(CloudInit {
            user_data: None,
            secret: _,
        }) => cloud_init::validate(seen.user_data),
    }
}

fn validate_disks(seen: &Seen<'_>, disks: &[Disk], wrong: &mut Vec<Fact>) -> Vec<ValidDisk> {
    let mut valid: Vec<ValidDisk> = Vec::new();
    for (disk, found) in disks.iter().zip(seen.disks) {
        let volume_name = volume_name(&seen.me.name, disk);
        if valid.iter().any(|other| other.volume_name == volume_name) {
            wrong.push(Fact::VolumeTwice {
                disk: disk.name.clone(),
                volume: volume_name,
            });
            continue;
        }
        if let Some(volume) = keep(wrong, validate_disk(seen, disk, found, &volume_name)) {
            valid.push(ValidDisk {
                name: disk.name.clone(),
                volume_name,
                volume,
            });
        }
    }
    valid
}

fn validate_disk(
    seen: &Seen<'_>,
    asked: &Disk,
    found: &DiskSeen<'_>,
    volume_name: &str,
) -> Result<DiskVolume, Fact> {
    let (disk, name) = (asked.name.clone(), volume_name.to_owned());
    let Some(volume) = found.volume else {
        return match &asked.template {
            None => Err(Fact::VolumeMissing { disk, volume: name }),
            Some(template) => Ok(DiskVolume::ToMake(Box::new(volume_of_template(
                template,
                &seen.vm.spec.system,
            )))),
        };
    };
    let missing = || Fact::VolumeMissing {
        disk: asked.name.clone(),
        volume: volume_name.to_owned(),
    };
    let volume_id = InstanceId(object::uid(&volume.metadata).ok_or_else(missing)?.0);
    let attached = seen.claims.attachment_of(volume_id);
    let mine = attached.is_some_and(|claim| claim.value.vm == id(seen.me));
    if asked.template.is_some() && !is_owned_by(volume, seen) {
        return Err(Fact::VolumeNameTaken { disk, volume: name });
    }
    if object::life(&volume.metadata) == Life::Deleting && !mine {
        return Err(Fact::VolumeDeleting { disk, volume: name });
    }
    match attached {
        Some(claim) if !mine => {
            let holder = seen.claims.vms.get(&claim.value.vm);
            let by = holder.map_or(claim.value.vm.to_string(), |vm| vm.value.owner.to_string());
            Err(Fact::VolumeInUse {
                disk,
                volume: name,
                by,
            })
        }
        Some(_) | None => Ok(DiskVolume::There(volume_id)),
    }
}

/// Whether a volume was made for this very machine, and not for an older one of the same name.
fn is_owned_by(volume: &dc_crds::Volume, seen: &Seen<'_>) -> bool {
    let me = seen.me.uid.to_string();
    let owners = volume.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.uid == me)
}

fn volume_of_template(template: &VolumeTemplate, system: &str) -> VolumeSpec {
    let VolumeTemplate {
        pool,
        size,
        source,
        reclaim,
        erase_method,
        qos,
        encrypted,
    } = template.clone();
    VolumeSpec {
        system: system.to_owned(),
        pool,
        size,
        source,
        access: dc_crds::volume::Access::Exclusive,
        reclaim,
        erase_method,
        qos,
        restore: None,
        encrypted,
    }
}

fn validate_cards(
    seen: &Seen<'_>,
    interfaces: &[Interface],
    wrong: &mut Vec<Fact>,
) -> Vec<ValidCard> {
    let mut valid = Vec::new();
    for (card, (interface, found)) in interfaces.iter().zip(seen.cards).enumerate() {
        valid.extend(keep(wrong, validate_card(seen, card, interface, found)));
    }
    let claim = seen.claims.vms.get(&id(seen.me));
    if let Some(claim) = claim
        && wrong.is_empty()
    {
        let now = valid.iter().map(|card| card.subnet);
        if !now.eq(claim.value.cards.iter().map(|card| card.subnet)) {
            wrong.push(Fact::CardsChanged);
        }
    }
    valid
}

fn validate_card(
    seen: &Seen<'_>,
    card: usize,
    interface: &Interface,
    found: &CardSeen<'_>,
) -> Result<ValidCard, Fact> {
    let Interface {
        subnet: name,
        ipv4,
        ipv6,
        mac,
        publish,
    } = interface;
    let subnet = name.clone();
    let Some(object) = found.subnet else {
        return Err(Fact::SubnetMissing { card, subnet });
    };
    let uid = object::uid(&object.metadata).map(|uid| SubnetUid(uid.0));
    let claim = uid.and_then(|uid| seen.claims.subnets.get(&uid));
    let (Some(claim), Some(zone)) = (claim, found.zone) else {
        return Err(Fact::SubnetNotReady { card, subnet });
    };
    let mac = mac
        .as_deref()
        .map(str::parse::<Mac>)
        .transpose()
        .map_err(|error| Fact::MacInvalid {
            card,
            error: error.to_string(),
        })?;
    network::published(zone, publish).map_err(|service| Fact::ServiceNotNamed {
        card,
        service,
        zone: object.spec.zone.clone(),
        named: network::from_outside(zone).map(|s| s.name).collect(),
    })?;
    let publish: BTreeSet<&String> = publish.iter().collect();
    Ok(ValidCard {
        subnet: claim.value.subnet,
        subnet_name: subnet,
        zone: zone_type(zone.spec.type_),
        prefixes: claim.value.clone(),
        v4: *ipv4,
        v6: *ipv6,
        mac,
        publish: publish.into_iter().cloned().collect(),
    })
}
