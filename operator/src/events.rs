//! Kubernetes events: what happened to an object, told once when it happens.
//!
//! They are few and for people; nothing depends on them. They wait in a bounded queue and are
//! dropped rather than holding anything up.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as EventObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::metrics::Metrics;

const CONTROLLER: &str = "dc-operator";
/// As many as a burst of a thousand machines tells.
const WAITING: usize = 1024;
/// The API server refuses longer notes.
const NOTE_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Normal,
    Warning,
}

/// Where events are put. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<EventObject>,
    instance: String,
}

impl Events {
    /// Begins to send; ends with the last clone.
    #[must_use]
    pub fn start(client: Client, metrics: Metrics, instance: &str) -> Self {
        let (queue, mut waiting) = mpsc::channel::<EventObject>(WAITING);
        tokio::spawn(async move {
            while let Some(event) = waiting.recv().await {
                let namespace = event.metadata.namespace.clone().unwrap_or_default();
                let api: Api<EventObject> = Api::namespaced(client.clone(), &namespace);
                metrics.wrote("Event", "create");
                if let Err(error) = api.create(&PostParams::default(), &event).await {
                    tracing::debug!(%error, "an event was not taken");
                }
            }
        });
        Self {
            queue,
            instance: instance.to_owned(),
        }
    }

    /// Tells one thing of an object.
    pub fn tell<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        tone: Tone,
        reason: &str,
        note: &str,
    ) {
        let mut note = note.to_owned();
        if note.len() > NOTE_MAX {
            let end = (0..=NOTE_MAX).rev().find(|at| note.is_char_boundary(*at));
            note.truncate(end.unwrap_or_default());
        }
        let regarding: ObjectReference = object.object_ref(&());
        let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
        let event = EventObject {
            metadata: ObjectMeta {
                name: Some(format!("{}.{}", object.name_any(), Uuid::new_v4().simple())),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(Timestamp::now())),
            note: Some(note),
            reason: Some(reason.to_owned()),
            regarding: Some(regarding),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(format!("{tone:?}")),
            ..EventObject::default()
        };
        if self.queue.try_send(event).is_err() {
            tracing::debug!(object = object.name_any(), reason, "an event was dropped");
        }
    }
}
