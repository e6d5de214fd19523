//! What is made of a design.

use std::collections::BTreeMap;

use dc_crds::restore::RestoreSpec;
use dc_crds::vm::VirtualMachineSpec;
use dc_crds::{RESTORED_BY, VirtualMachine};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::Seen;
use super::design::{Design, DesignedVolume};
use crate::proof::sandbox::{New, NewObject};

/// Goes with the order, by the garbage collector.
pub(super) fn restore(seen: &Seen<'_>, volume: &DesignedVolume) -> New<RestoreSpec> {
    let spec = &seen.restore.spec;
    New {
        meta: ObjectMeta {
            name: Some(volume.restore.clone()),
            namespace: Some(seen.me.namespace.clone()),
            owner_references: Some(vec![OwnerReference {
                api_version: format!("{}/{}", dc_crds::GROUP, dc_crds::VERSION),
                kind: "MachineRestore".to_owned(),
                name: seen.me.name.clone(),
                uid: seen.me.uid.to_string(),
                controller: Some(true),
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        },
        spec: RestoreSpec {
            backup: spec.backup.clone(),
            snapshot: spec.snapshot.clone(),
            volume: volume.was.clone(),
            verify: spec.verify,
            department: None,
            to: volume.to.clone(),
            in_place: None,
        },
    }
}

/// Nobody's but the department's: it stays when the order goes.
pub(super) fn machine(seen: &Seen<'_>, design: &Design) -> NewObject {
    let by = BTreeMap::from([(RESTORED_BY.to_owned(), seen.me.uid.to_string())]);
    let meta = ObjectMeta {
        name: Some(design.name.clone()),
        namespace: Some(seen.me.namespace.clone()),
        labels: design.labels.clone(),
        annotations: Some(by),
        ..ObjectMeta::default()
    };
    let spec: VirtualMachineSpec = design.spec.clone();
    NewObject::Machine(Box::new(New { meta, spec }))
}

/// Whether a machine is the one that this order has built.
pub(super) fn is_built_by(machine: &VirtualMachine, seen: &Seen<'_>) -> bool {
    let annotations = machine.metadata.annotations.as_ref();
    let by = annotations.and_then(|all| all.get(RESTORED_BY));
    by.is_some_and(|by| *by == seen.me.uid.to_string())
}
