//! How a sandbox goes: all of it at once; each part waits for what holds it.

use super::Seen;
use super::sandbox::{OldKind, OldObject};
use crate::object::{self, Life};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What of it nobody has asked to go yet.
pub(super) fn rest(seen: &Seen<'_>) -> Vec<OldObject> {
    let sandbox = &seen.sandbox;
    let machine = sandbox.machine.map(|vm| (OldKind::Machine, &vm.metadata));
    let restores = sandbox.restores.values();
    let restores = restores.map(|(restore, _)| (OldKind::Restore, &restore.metadata));
    let volumes = sandbox.volumes.values();
    let volumes = volumes.map(|volume| (OldKind::Volume, &volume.metadata));
    let all = machine.into_iter().chain(restores).chain(volumes);
    all.filter(|(_, meta)| object::life(meta) == Life::Wanted)
        .filter_map(|(kind, meta)| old(kind, meta))
        .collect()
}

fn old(kind: OldKind, meta: &ObjectMeta) -> Option<OldObject> {
    Some(OldObject {
        kind,
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
    })
}
