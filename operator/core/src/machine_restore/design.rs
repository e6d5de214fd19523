//! What is built: the machine and its volumes, from the order and the manifest alone.

use std::collections::{BTreeMap, BTreeSet};

use dc_crds::machine_restore::{Identity, MachineRestoreSpec, SubnetInstead, VolumeInstead};
use dc_crds::restore::RestoreTarget;
use dc_crds::vm::{Disk, Interface, VirtualMachineSpec};
use dc_crds::volume::VolumeSpec;
use dc_types::claim::VmClaim;
use dc_types::report::ManifestRead;
use dc_types::{Bytes, ObjectRef};
use serde::Deserialize;

use crate::backup::file;
use crate::vm::{template_volume_name, volume_name};
use crate::words::MachineRestoreFact;

/// What the manifest says, as [`crate::backup::manifest`] wrote it. Fields that a later version adds
/// are not read; what this one needs is never left out by it, or its format is another.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Given {
    pub department: String,
    #[serde(rename = "virtualMachine")]
    pub machine: Machine,
    pub volumes: Vec<Named<VolumeSpec>>,
    /// What it had from the data centre.
    pub held: Option<VmClaim>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Machine {
    pub name: String,
    pub labels: Option<BTreeMap<String, String>>,
    pub spec: VirtualMachineSpec,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Named<S> {
    pub name: String,
    pub spec: S,
}

/// The machine that is built.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    pub name: String,
    pub labels: Option<BTreeMap<String, String>>,
    pub spec: VirtualMachineSpec,
    /// In the order of its disks.
    pub volumes: Vec<DesignedVolume>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DesignedVolume {
    /// As it was called.
    pub was: String,
    /// Of the file in the backup.
    pub size: Bytes,
    /// The Restore that writes it.
    pub restore: String,
    pub to: RestoreTarget,
}

impl Given {
    pub fn read(read: &ManifestRead) -> Result<Self, MachineRestoreFact> {
        serde_json::from_str(&read.machine).map_err(|error| MachineRestoreFact::ManifestBroken {
            error: error.to_string(),
        })
    }
}

/// The name of the Restore with this number. No other order ever has it.
#[must_use]
pub fn restore_name(me: &ObjectRef, number: usize) -> String {
    format!("m-{}-{number}", me.uid.0.simple())
}

/// Everything that is wrong with the order, as far as the manifest shows it.
pub fn design(
    spec: &MachineRestoreSpec,
    me: &ObjectRef,
    read: &ManifestRead,
) -> Result<Design, Vec<MachineRestoreFact>> {
    let given = Given::read(read).map_err(|fact| vec![fact])?;
    let mut wrong = Vec::new();
    if given.department != me.namespace {
        return Err(vec![MachineRestoreFact::OfAnother]);
    }
    wrong.extend(unknown(spec, &given));
    let name = spec.name.clone().unwrap_or(given.machine.name.clone());
    let mut volumes = Vec::new();
    for (number, disk) in given.machine.spec.disks.iter().enumerate() {
        match volume(spec, me, read, &given, &name, number, disk) {
            Ok(volume) => volumes.push(volume),
            Err(fact) => wrong.push(fact),
        }
    }
    wrong.extend(twice(&volumes));
    match wrong.is_empty() {
        true => Ok(Design {
            spec: machine(spec, &given, &volumes),
            labels: given.machine.labels,
            name,
            volumes,
        }),
        false => Err(wrong),
    }
}

/// What is to be otherwise, and was not there.
fn unknown(spec: &MachineRestoreSpec, given: &Given) -> Vec<MachineRestoreFact> {
    let was: Vec<String> = given
        .machine
        .spec
        .disks
        .iter()
        .map(|disk| volume_name(&given.machine.name, disk))
        .collect();
    let cards = given.machine.spec.interfaces.iter();
    let subnets: Vec<String> = cards.map(|card| card.subnet.clone()).collect();
    let not_in = |field: &'static str, name: &String, has: &[String]| {
        (!has.contains(name)).then(|| MachineRestoreFact::NotInBackup {
            field,
            name: name.clone(),
            has: has.to_vec(),
        })
    };
    let of_volumes = spec.volumes.iter();
    let of_volumes = of_volumes.filter_map(|of| not_in("volumes.was", &of.was, &was));
    let of_subnets = spec.subnets.iter();
    let of_subnets = of_subnets.filter_map(|of| not_in("subnets.was", &of.was, &subnets));
    of_volumes.chain(of_subnets).collect()
}

fn volume(
    spec: &MachineRestoreSpec,
    me: &ObjectRef,
    read: &ManifestRead,
    given: &Given,
    name: &str,
    number: usize,
    disk: &Disk,
) -> Result<DesignedVolume, MachineRestoreFact> {
    let was = volume_name(&given.machine.name, disk);
    let incomplete = || MachineRestoreFact::Incomplete {
        volume: was.clone(),
    };
    let found = given.volumes.iter().find(|of| of.name == was);
    let old = &found.ok_or_else(incomplete)?.spec;
    let in_backup = read.files.iter().find(|of| of.file == file(&was));
    let size = in_backup.ok_or_else(incomplete)?.size;
    let instead = spec.volumes.iter().find(|of| of.was == was);
    let (other_name, other_pool) = match instead {
        Some(VolumeInstead { was: _, name, pool }) => (name.clone(), pool.clone()),
        None => (None, None),
    };
    let usual = match spec.identity {
        Identity::Copy => template_volume_name(name, &disk.name),
        Identity::Same => was.clone(),
    };
    let pool = other_pool.or_else(|| spec.pool.clone());
    Ok(DesignedVolume {
        size,
        restore: restore_name(me, number),
        to: RestoreTarget {
            name: other_name.unwrap_or(usual),
            system: system(spec, given),
            pool: pool.unwrap_or_else(|| old.pool.clone()),
            size: Some(size.to_string()),
            reclaim: old.reclaim,
            erase_method: old.erase_method,
            qos: old.qos.clone(),
        },
        was,
    })
}

fn twice(volumes: &[DesignedVolume]) -> Option<MachineRestoreFact> {
    let mut names = BTreeSet::new();
    let mut all = volumes.iter();
    let twice = all.find(|volume| !names.insert(&volume.to.name))?;
    Some(MachineRestoreFact::VolumeTwice {
        volume: twice.to.name.clone(),
    })
}

fn system(spec: &MachineRestoreSpec, given: &Given) -> String {
    let asked = spec.system.clone();
    asked.unwrap_or_else(|| given.machine.spec.system.clone())
}

/// Its disks are Volumes that exist: they stay when the machine goes.
fn machine(
    spec: &MachineRestoreSpec,
    given: &Given,
    volumes: &[DesignedVolume],
) -> VirtualMachineSpec {
    let old = &given.machine.spec;
    let disks = old.disks.iter().zip(volumes);
    let cards = old.interfaces.iter().enumerate();
    VirtualMachineSpec {
        system: system(spec, given),
        class: spec.class.clone().unwrap_or_else(|| old.class.clone()),
        power_state: spec.power_state,
        restart: None,
        firmware: old.firmware,
        disks: disks
            .map(|(disk, volume)| Disk {
                name: disk.name.clone(),
                volume: Some(volume.to.name.clone()),
                template: None,
            })
            .collect(),
        interfaces: cards
            .map(|(number, card)| interface(spec, given, number, card))
            .collect(),
        cloud_init: old.cloud_init.clone(),
        stop_deadline_seconds: old.stop_deadline_seconds,
        on_guest_stop: old.on_guest_stop,
        spread_group: old.spread_group.clone(),
        physical_exception: old.physical_exception.clone(),
        lease: old.lease.clone(),
    }
}

fn interface(
    spec: &MachineRestoreSpec,
    given: &Given,
    number: usize,
    card: &Interface,
) -> Interface {
    let instead = spec.subnets.iter().find(|of| of.was == card.subnet);
    let subnet = instead.map(|SubnetInstead { was: _, subnet }| subnet.clone());
    let other = subnet.is_some();
    let subnet = subnet.unwrap_or_else(|| card.subnet.clone());
    if spec.identity == Identity::Copy {
        return Interface {
            subnet,
            ipv4: None,
            ipv6: None,
            mac: None,
            publish: Vec::new(),
        };
    }
    let held = given.held.as_ref().and_then(|held| held.cards.get(number));
    let mac = held.map(|held| held.mac.to_string());
    let (v4, v6) = match (other, held) {
        (true, _) => (None, None),
        (false, Some(held)) => (held.v4, held.v6),
        (false, None) => (card.ipv4, card.ipv6),
    };
    Interface {
        subnet,
        ipv4: v4,
        ipv6: v6,
        mac: mac.or_else(|| card.mac.clone()),
        publish: card.publish.clone(),
    }
}
