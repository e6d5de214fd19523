//! Sandboxes of proofs: what is there, and what is to go.

use std::fmt::Debug;

use dc_crds::{Restore, VirtualMachine, Volume};
use dc_operator_core::proof::sandbox::{OldKind, OldObject};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::{ApiError, delete, failed};
use crate::controllers::Context;

/// Has one object of a sandbox deleted, if it is still the one that was seen.
pub async fn remove(context: &Context, old: &OldObject) -> Result<(), ApiError> {
    let OldObject {
        kind,
        namespace,
        name,
        uid,
    } = old;
    let client = context.parts.client.clone();
    let uid = Some(uid.clone());
    match kind {
        OldKind::Restore => {
            let api: Api<Restore> = Api::namespaced(client, namespace);
            delete(context, "RestoreProof", &api, name, uid).await
        }
        OldKind::Volume => {
            let api: Api<Volume> = Api::namespaced(client, namespace);
            delete(context, "RestoreProof", &api, name, uid).await
        }
        OldKind::Machine => {
            let api: Api<VirtualMachine> = Api::namespaced(client, namespace);
            delete(context, "RestoreProof", &api, name, uid).await
        }
    }
}

/// Whether one of this name is there, as the API server says now.
pub async fn is_there<K>(context: &Context, namespace: &str, name: &str) -> Result<bool, ApiError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let api: Api<K> = Api::namespaced(context.parts.client.clone(), namespace);
    let found = api.get_metadata_opt(name).await;
    let found = found.map_err(|error| failed(&K::kind(&()), error))?;
    Ok(found.is_some())
}
