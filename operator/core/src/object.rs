//! What the operator reads from the metadata of any object.

use dc_crds::FINALIZER;
use dc_types::{ObjectRef, ObjectUid};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Whether somebody has asked for the object's deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Wanted,
    Deleting,
}

/// The object's name and uid; `None` while the API server has not given it a uid that reads.
#[must_use]
pub fn object_ref(meta: &ObjectMeta) -> Option<ObjectRef> {
    Some(ObjectRef {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone()?,
        uid: uid(meta)?,
    })
}

#[must_use]
pub fn uid(meta: &ObjectMeta) -> Option<ObjectUid> {
    meta.uid.as_deref()?.parse().ok()
}

#[must_use]
pub fn life(meta: &ObjectMeta) -> Life {
    match meta.deletion_timestamp {
        Some(_) => Life::Deleting,
        None => Life::Wanted,
    }
}

/// Whether our finalizer stands on the object: without it nothing may be claimed for it.
#[must_use]
pub fn is_held(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|f| f == FINALIZER)
}

#[must_use]
pub fn generation(meta: &ObjectMeta) -> i64 {
    meta.generation.unwrap_or_default()
}
