//! Writes to the Kubernetes API, each with the uid of the object it was decided for: a reused name
//! is never written to by mistake.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dc_crds::request::TemplateKind;
use dc_crds::{ErasureCertificate, FINALIZER, InformationSystem, Subnet, VirtualMachine, Volume};
use dc_operator_core::object::{self, Life};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::Instant;

use super::Context;
use crate::stores::Kind;

mod sandbox;

pub use sandbox::{is_there, remove};

/// The name under which the API server knows our fields.
pub const MANAGER: &str = "dc-operator";

/// How long the watch may take to show a volume that was made: until then it is not made again.
const SHOWN: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub enum ApiError {
    /// The same again would be refused again.
    #[error("the API server refused {what}: {why}")]
    Refused { what: String, why: String },
    #[error("{what} failed")]
    Request {
        what: String,
        #[source]
        source: Box<kube::Error>,
    },
}

/// Volumes that were made and that the watch may not have shown yet: namespace, name, and the
/// machine they were made for, as a name may be another machine's a moment later.
#[derive(Default)]
pub struct Made {
    volumes: Mutex<HashMap<(String, String, String), Instant>>,
}

impl Made {
    /// Whether this one was not made a moment ago; it is noted as made.
    fn begin(&self, volume: &Volume) -> bool {
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        volumes.retain(|_, at| at.elapsed() < SHOWN);
        match volumes.entry(Self::key(volume)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(Instant::now());
                true
            }
        }
    }

    fn undo(&self, volume: &Volume) {
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        volumes.remove(&Self::key(volume));
    }

    fn key(volume: &Volume) -> (String, String, String) {
        let owner = volume.owner_references().first();
        let owner = owner.map(|owner| owner.uid.clone()).unwrap_or_default();
        let namespace = volume.namespace().unwrap_or_default();
        (namespace, volume.name_any(), owner)
    }
}

/// How a write that was answered with an error stands.
enum Answer {
    /// The object is not, or no longer, the one we meant, or it is newer: we shall hear of it.
    Overtaken,
    Refused(String),
    Failed,
}

fn answer(error: &kube::Error) -> Answer {
    let kube::Error::Api(status) = error else {
        return Answer::Failed;
    };
    match status.code {
        404 | 409 => Answer::Overtaken,
        400 | 403 | 405 | 413 | 422 => Answer::Refused(status.message.clone()),
        _ => Answer::Failed,
    }
}

pub fn failed(what: &str, error: kube::Error) -> ApiError {
    match answer(&error) {
        Answer::Refused(why) => ApiError::Refused {
            what: what.to_owned(),
            why,
        },
        Answer::Overtaken | Answer::Failed => ApiError::Request {
            what: what.to_owned(),
            source: Box::new(error),
        },
    }
}

/// Where an object lives, by its own metadata; for kinds of both scopes.
pub fn api_of<K>(client: &Client, object: &K) -> Api<K>
where
    K: Resource<DynamicType = ()> + ScopedApi,
{
    K::scoped(client, object.namespace().as_deref())
}

/// A kind that knows whether it is namespaced.
pub trait ScopedApi: Resource<DynamicType = ()> + Sized {
    fn scoped(client: &Client, namespace: Option<&str>) -> Api<Self>;
}

macro_rules! scoped {
    (namespaced: $($kind:ty),*; cluster: $($global:ty),* $(;)?) => {
        $(impl ScopedApi for $kind {
            fn scoped(client: &Client, namespace: Option<&str>) -> Api<Self> {
                namespaced(client, namespace)
            }
        })*
        $(impl ScopedApi for $global {
            fn scoped(client: &Client, _namespace: Option<&str>) -> Api<Self> {
                Api::all(client.clone())
            }
        })*
    };
}

fn namespaced<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace.unwrap_or_default())
}

scoped! {
    namespaced: dc_crds::InformationSystem, dc_crds::Subnet, dc_crds::Volume,
        dc_crds::VolumeSnapshot, dc_crds::VirtualMachine, dc_crds::ResourceRequest, dc_crds::Approval,
        dc_crds::Backup, dc_crds::Restore, dc_crds::MachineRestore, dc_crds::RestoreProof;
    cluster: dc_crds::RequestPolicy, dc_crds::BackupRepository, dc_crds::BackupPolicy, dc_crds::Department, dc_crds::Host, dc_crds::Zone, dc_crds::StoragePool,
        dc_crds::Image, dc_crds::MachineClass;
}

/// Kinds that hold nothing anywhere, and that nothing belongs to, need no finalizer.
fn holds(kind: Kind) -> bool {
    match kind {
        Kind::Department
        | Kind::Host
        | Kind::Pool
        | Kind::Image
        | Kind::System
        | Kind::Subnet
        | Kind::Volume
        | Kind::Snapshot
        | Kind::Repository
        | Kind::Backup
        | Kind::Restore
        | Kind::MachineRestore
        | Kind::Proof
        | Kind::Vm => true,
        Kind::Zone
        | Kind::Class
        | Kind::Request
        | Kind::Approval
        | Kind::Policy
        | Kind::BackupPolicy
        | Kind::Network
        | Kind::Showback => false,
    }
}

/// Puts our finalizer on an object that the chart's policy has not put it on.
pub async fn ensure_finalizer<K>(context: &Context, object: &K, kind: Kind) -> Result<(), ApiError>
where
    K: ScopedApi + Clone + DeserializeOwned + Debug,
{
    let meta = object.meta();
    let there = object::is_held(meta) || object::life(meta) == Life::Deleting;
    if there || !holds(kind) {
        return Ok(());
    }
    let mut finalizers = meta.finalizers.clone().unwrap_or_default();
    finalizers.push(FINALIZER.to_owned());
    patch_finalizers(context, object, kind, &finalizers).await
}

/// Takes our finalizer off: nothing of the object is left.
pub async fn let_go<K>(context: &Context, object: &K, kind: Kind) -> Result<(), ApiError>
where
    K: ScopedApi + Clone + DeserializeOwned + Debug,
{
    let meta = object.meta();
    if !object::is_held(meta) {
        return Ok(());
    }
    let mut finalizers = meta.finalizers.clone().unwrap_or_default();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    patch_finalizers(context, object, kind, &finalizers).await
}

async fn patch_finalizers<K>(
    context: &Context,
    object: &K,
    kind: Kind,
    finalizers: &[String],
) -> Result<(), ApiError>
where
    K: ScopedApi + Clone + DeserializeOwned + Debug,
{
    let meta = object.meta();
    // The list is replaced as a whole, so it must still be the one that was read.
    let patch = json!({
        "metadata": {
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "finalizers": finalizers,
        }
    });
    context.parts.metrics.wrote(kind.name(), "patch_finalizers");
    let api = api_of(&context.parts.client, object);
    let ours = PatchParams::default();
    match api
        .patch(&object.name_any(), &ours, &Patch::Merge(&patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(error) => match answer(&error) {
            // The newer object wakes its key, and is looked at then.
            Answer::Overtaken => Ok(()),
            Answer::Refused(_) | Answer::Failed => Err(failed("the finalizer's change", error)),
        },
    }
}

/// Writes a whole status; answers with the object's new resource version, or nothing when the
/// object was overtaken.
pub async fn patch_status<K, S>(
    context: &Context,
    object: &K,
    kind: Kind,
    old: Option<&S>,
    new: &S,
) -> Result<Option<String>, ApiError>
where
    K: ScopedApi + Clone + DeserializeOwned + Debug,
    S: Serialize,
{
    let mut status = json!(new);
    // A merge patch removes only what it names.
    if let (Some(Value::Object(old)), Value::Object(new)) = (old.map(|old| json!(old)), &mut status)
    {
        for field in old.keys() {
            new.entry(field.clone()).or_insert(Value::Null);
        }
    }
    let patch = json!({
        "metadata": { "uid": object.meta().uid },
        "status": status,
    });
    context.parts.metrics.wrote(kind.name(), "patch_status");
    let api = api_of(&context.parts.client, object);
    let name = object.name_any();
    let ours = PatchParams::default();
    match api.patch_status(&name, &ours, &Patch::Merge(&patch)).await {
        Ok(written) => Ok(written.resource_version()),
        Err(error) => match answer(&error) {
            Answer::Overtaken => Ok(None),
            Answer::Refused(_) | Answer::Failed => Err(failed("the status", error)),
        },
    }
}

/// Makes a volume; it is enough that one of its name is there, the next look tells whose it is.
pub async fn make_volume(context: &Context, volume: &Volume) -> Result<(), ApiError> {
    if !context.made.begin(volume) {
        return Ok(());
    }
    context.parts.metrics.wrote("Volume", "create");
    let api = api_of(&context.parts.client, volume);
    match api.create(&PostParams::default(), volume).await {
        Ok(_) => Ok(()),
        Err(error) => match answer(&error) {
            Answer::Overtaken => Ok(()),
            Answer::Refused(_) | Answer::Failed => {
                context.made.undo(volume);
                Err(failed("a volume", error))
            }
        },
    }
}

/// Makes one of its name, unless one is there: what has its name is the same.
pub async fn make_once<K>(context: &Context, kind: Kind, object: &K) -> Result<(), ApiError>
where
    K: ScopedApi + Clone + DeserializeOwned + Debug + Serialize,
{
    context.parts.metrics.wrote(kind.name(), "create");
    let api = api_of(&context.parts.client, object);
    match api.create(&PostParams::default(), object).await {
        Ok(_) => Ok(()),
        Err(error) => match answer(&error) {
            Answer::Overtaken => Ok(()),
            Answer::Refused(_) | Answer::Failed => Err(failed(kind.name(), error)),
        },
    }
}

fn template_api(
    client: &Client,
    kind: TemplateKind,
    namespace: &str,
) -> (Api<DynamicObject>, &'static str) {
    let (resource, kind) = match kind {
        TemplateKind::InformationSystem => (
            ApiResource::erase::<InformationSystem>(&()),
            Kind::System.name(),
        ),
        TemplateKind::Subnet => (ApiResource::erase::<Subnet>(&()), Kind::Subnet.name()),
        TemplateKind::Volume => (ApiResource::erase::<Volume>(&()), Kind::Volume.name()),
        TemplateKind::VirtualMachine => {
            (ApiResource::erase::<VirtualMachine>(&()), Kind::Vm.name())
        }
    };
    let api = Api::namespaced_with(client.clone(), namespace, &resource);
    (api, kind)
}

/// Makes an object that was granted. One of its name that is there meanwhile is looked at again.
pub async fn make_template(
    context: &Context,
    kind: TemplateKind,
    namespace: &str,
    name: &str,
    object: &Value,
) -> Result<(), ApiError> {
    let (api, kind) = template_api(&context.parts.client, kind, namespace);
    let what = format!("{kind} {name}");
    let object: DynamicObject =
        serde_json::from_value(object.clone()).map_err(|error| ApiError::Refused {
            what: what.clone(),
            why: error.to_string(),
        })?;
    context.parts.metrics.wrote(kind, "create");
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(error) => match answer(&error) {
            Answer::Overtaken => Ok(()),
            Answer::Refused(_) | Answer::Failed => Err(failed(&what, error)),
        },
    }
}

/// Changes an object to what was granted.
pub async fn change_template(
    context: &Context,
    kind: TemplateKind,
    namespace: &str,
    name: &str,
    patch: &Value,
) -> Result<(), ApiError> {
    let (api, kind) = template_api(&context.parts.client, kind, namespace);
    context.parts.metrics.wrote(kind, "patch");
    let ours = PatchParams::default();
    match api.patch(name, &ours, &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(error) => match answer(&error) {
            Answer::Overtaken => Ok(()),
            Answer::Refused(_) | Answer::Failed => Err(failed(&format!("{kind} {name}"), error)),
        },
    }
}

/// Makes a certificate. One of its name that is of the same volume is the same one, made before an
/// operator died; of another volume it is refused.
pub async fn make_certificate(
    context: &Context,
    certificate: &ErasureCertificate,
) -> Result<(), ApiError> {
    let what = "the certificate of an erasure";
    context.parts.metrics.wrote("ErasureCertificate", "create");
    let api: Api<ErasureCertificate> = Api::all(context.parts.client.clone());
    let error = match api.create(&PostParams::default(), certificate).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    if !matches!(&error, kube::Error::Api(status) if status.code == 409) {
        return Err(failed(what, error));
    }
    let name = certificate.name_any();
    let there = api.get(&name).await.map_err(|error| failed(what, error))?;
    match there.spec.volume_uid == certificate.spec.volume_uid {
        true => Ok(()),
        false => Err(ApiError::Refused {
            what: what.to_owned(),
            why: format!("{name} is there and is of another volume"),
        }),
    }
}

/// Makes an object, or puts right what of it is ours; `on_behalf` is the kind that metrics count it to.
pub async fn apply<K>(
    context: &Context,
    on_behalf: &'static str,
    api: &Api<K>,
    object: &K,
) -> Result<(), ApiError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Serialize,
{
    let kind = K::kind(&());
    context.parts.metrics.wrote(on_behalf, "apply");
    let mut body = json!(object);
    body["apiVersion"] = json!(K::api_version(&()));
    body["kind"] = json!(kind);
    let ours = PatchParams::apply(MANAGER).force();
    api.patch(&object.name_any(), &ours, &Patch::Apply(&body))
        .await
        .map(drop)
        .map_err(|error| failed(&kind, error))
}

/// Writes the whole status of an object that nobody else writes.
pub async fn apply_status<K>(
    context: &Context,
    on_behalf: &'static str,
    api: &Api<K>,
    name: &str,
    status: &impl Serialize,
) -> Result<(), ApiError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let kind = K::kind(&());
    context.parts.metrics.wrote(on_behalf, "status");
    let body = json!({"apiVersion": K::api_version(&()), "kind": kind, "status": status});
    let ours = PatchParams::apply(MANAGER).force();
    api.patch_status(name, &ours, &Patch::Apply(&body))
        .await
        .map(drop)
        .map_err(|error| failed(&kind, error))
}

/// Deletes an object, if it is still the one that was seen; a missing one is fine. `on_behalf` is as
/// for [`apply`].
pub async fn delete<K>(
    context: &Context,
    on_behalf: &'static str,
    api: &Api<K>,
    name: &str,
    uid: Option<String>,
) -> Result<(), ApiError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    context.parts.metrics.wrote(on_behalf, "delete");
    let seen = DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(name, &seen).await {
        Ok(_) => Ok(()),
        Err(error) => match answer(&error) {
            Answer::Overtaken => Ok(()),
            Answer::Refused(_) | Answer::Failed => Err(failed(&K::kind(&()), error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume_of(machine: &str) -> Volume {
        serde_json::from_value(json!({
            "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "Volume",
            "metadata": {"namespace": "so-nnmt", "name": "web-root", "ownerReferences": [
                {"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "VirtualMachine",
                 "name": "web", "uid": machine}]},
            "spec": {"system": "land", "pool": "san-1", "size": "1Gi"},
        }))
        .unwrap()
    }

    #[test]
    fn a_machine_that_takes_a_name_again_gets_volumes_of_its_own() {
        let made = Made::default();
        let (first, second) = (volume_of("uid-1"), volume_of("uid-2"));
        assert!(made.begin(&first));
        assert!(!made.begin(&first), "it is on its way");
        assert!(made.begin(&second), "another machine of the same name");
        made.undo(&first);
        assert!(made.begin(&first), "the first attempt failed");
    }
}
