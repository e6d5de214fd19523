//! The manifest of a backup: what is needed to build the machine anew, elsewhere and without this
//! control plane.

use std::collections::BTreeMap;

use dc_crds::{Image, InformationSystem, MachineClass, Volume};
use dc_types::claim::VmClaim;
use serde::Serialize;
use serde_json::{Value, json};

use super::Seen;
use crate::object;
use crate::snapshot::Target;
use crate::vm;

/// What is around the machine, by name.
#[derive(Debug, Default)]
pub struct Around<'a> {
    pub system: Option<&'a InformationSystem>,
    pub class: Option<&'a MachineClass>,
    pub images: BTreeMap<String, &'a Image>,
}

#[derive(Serialize)]
struct Told<'a> {
    department: &'a str,
    #[serde(rename = "virtualMachine")]
    vm: Value,
    system: Option<Value>,
    class: Option<Value>,
    volumes: Vec<Value>,
    /// Digests of the images that its volumes were made from.
    images: BTreeMap<&'a str, &'a str>,
    /// What it had from the data centre: host, machine type, addresses.
    held: Option<&'a VmClaim>,
}

/// In JSON. What is absent when it is made is null.
#[must_use]
pub(super) fn manifest(seen: &Seen<'_>) -> String {
    let Around {
        system,
        class,
        images,
    } = seen.around;
    let targets = match seen.target {
        Target::Volumes(targets) => targets,
        Target::Absent => &[],
    };
    let told = Told {
        department: &seen.me.namespace,
        vm: seen.vm.map_or(Value::Null, |vm| {
            json!({"name": vm.metadata.name, "uid": vm.metadata.uid,
                   "labels": vm.metadata.labels, "spec": vm.spec})
        }),
        system: system.map(|system| json!({"name": system.metadata.name, "spec": system.spec})),
        class: class.map(|class| json!({"name": class.metadata.name, "spec": class.spec})),
        volumes: targets
            .iter()
            .filter_map(|target| target.volume)
            .map(of_volume)
            .collect(),
        images: images
            .iter()
            .map(|(name, image)| (name.as_str(), image.spec.sha256.as_str()))
            .collect(),
        held: seen.vm.and_then(|vm| {
            let me = object::object_ref(&vm.metadata)?;
            let claim = seen.claims.vms.get(&vm::id(&me))?;
            Some(&claim.value)
        }),
    };
    serde_json::to_string(&told).expect("objects are always representable as JSON")
}

fn of_volume(volume: &Volume) -> Value {
    json!({"name": volume.metadata.name, "uid": volume.metadata.uid, "spec": volume.spec})
}
