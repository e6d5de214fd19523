//! The objects of a sandbox.

use std::collections::BTreeMap;

use dc_crds::proof::{Probes, Trial, TriedVolume};
use dc_crds::restore::{RepositorySnapshot, RestoreSpec, RestoreTarget};
use dc_crds::vm::{Disk, OnGuestStop, PowerState, VirtualMachineSpec};
use dc_crds::volume::Reclaim;
use dc_crds::{PROBES, PROOF, Restore, VirtualMachine, VolumeSnapshot, VolumeSnapshotSpec};
use dc_types::ObjectRef;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::volume_name;

/// The system that they are said to be of. There is none of that name: nobody asks for it there.
pub const SYSTEM: &str = "proofs";

/// What is not there yet.
#[derive(Clone, Debug, PartialEq)]
pub enum NewObject {
    Restore(Box<New<RestoreSpec>>),
    Machine(Box<New<VirtualMachineSpec>>),
    Snapshot(Box<New<VolumeSnapshotSpec>>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct New<S> {
    pub meta: ObjectMeta,
    pub spec: S,
}

impl New<RestoreSpec> {
    #[must_use]
    pub fn object(&self) -> Restore {
        Restore {
            metadata: self.meta.clone(),
            spec: self.spec.clone(),
            status: None,
        }
    }
}

impl New<VirtualMachineSpec> {
    #[must_use]
    pub fn object(&self) -> VirtualMachine {
        VirtualMachine {
            metadata: self.meta.clone(),
            spec: self.spec.clone(),
            status: None,
        }
    }
}

impl New<VolumeSnapshotSpec> {
    #[must_use]
    pub fn object(&self) -> VolumeSnapshot {
        VolumeSnapshot {
            metadata: self.meta.clone(),
            spec: self.spec.clone(),
            status: None,
        }
    }
}

/// What is to go, if it is still the one that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldObject {
    pub kind: OldKind,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldKind {
    Restore,
    Volume,
    Machine,
}

fn meta(namespace: &str, name: &str, proof: &ObjectRef) -> ObjectMeta {
    let of = format!("{}.{}", proof.namespace, proof.name);
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        annotations: Some(BTreeMap::from([(PROOF.to_owned(), of)])),
        ..ObjectMeta::default()
    }
}

/// Its Volume is made by it, has its name, and is erased when it goes.
pub(super) fn restore(
    namespace: &str,
    proof: &ObjectRef,
    trial: &Trial,
    number: usize,
) -> NewObject {
    let name = volume_name(&trial.sandbox, number);
    let TriedVolume {
        volume,
        file: _,
        size,
        erase_method,
        sha256: _,
    } = &trial.volumes[number];
    let spec = RestoreSpec {
        backup: None,
        snapshot: Some(RepositorySnapshot {
            repository: trial.repository.clone(),
            id: trial.snapshot_id.clone(),
        }),
        volume: volume.clone(),
        verify: true,
        department: Some(proof.namespace.clone()),
        to: RestoreTarget {
            name: name.clone(),
            system: SYSTEM.to_owned(),
            pool: trial.pool.clone(),
            size: Some(size.clone()),
            reclaim: Reclaim::Erase,
            erase_method: *erase_method,
            qos: None,
        },
        in_place: None,
    };
    let meta = meta(namespace, &name, proof);
    NewObject::Restore(Box::new(New { meta, spec }))
}

/// Without a card: it reaches nothing, and nobody reaches it. It is not started again by itself:
/// a guest that powers off has not come up.
pub(super) fn machine(
    namespace: &str,
    proof: &ObjectRef,
    trial: &Trial,
    probes: &Probes,
) -> NewObject {
    let disks = (0..trial.volumes.len()).map(|number| Disk {
        name: format!("d{number}"),
        volume: Some(volume_name(&trial.sandbox, number)),
        template: None,
    });
    let spec = VirtualMachineSpec {
        system: SYSTEM.to_owned(),
        class: trial.class.clone(),
        power_state: PowerState::Running,
        restart: None,
        firmware: trial.firmware,
        disks: disks.collect(),
        interfaces: Vec::new(),
        cloud_init: None,
        // What it writes is erased: nothing is lost when it is cut off.
        stop_deadline_seconds: 1,
        on_guest_stop: OnGuestStop::Stay,
        spread_group: None,
        physical_exception: None,
        lease: None,
    };
    let mut meta = meta(namespace, &trial.sandbox, proof);
    let probes = serde_json::to_string(probes).expect("probes are representable as JSON");
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(PROBES.to_owned(), probes);
    NewObject::Machine(Box::new(New { meta, spec }))
}

/// What a machine of a sandbox has to show, as its host is told; `None` for any other machine.
#[must_use]
pub fn probes_of(vm: &VirtualMachine, namespace: &str) -> Option<dc_types::plan::Probes> {
    if vm.metadata.namespace.as_deref() != Some(namespace) {
        return None;
    }
    let text = vm.metadata.annotations.as_ref()?.get(PROBES)?;
    let Probes {
        console,
        guest_agent,
        command,
    } = serde_json::from_str(text).ok()?;
    Some(dc_types::plan::Probes {
        console,
        agent: guest_agent,
        command,
    })
}
