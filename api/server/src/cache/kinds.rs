//! The caches of the kinds that belong to departments: one for each, begun when it is first asked
//! for.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use tokio::sync::{broadcast, watch};

use super::{Cache, Told};
use crate::resources::Kind;
use crate::serve::follow::Change;

pub struct Kinds {
    client: Client,
    changes: broadcast::Sender<Arc<Change>>,
    begun: Mutex<Begun>,
}

#[derive(Default)]
struct Begun {
    /// Each is a `Cache<K::Object>`, under the type of its kind.
    caches: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    read: Vec<watch::Receiver<bool>>,
}

impl Kinds {
    #[must_use]
    pub fn new(client: Client, changes: broadcast::Sender<Arc<Change>>) -> Self {
        Self {
            client,
            changes,
            begun: Mutex::default(),
        }
    }

    #[must_use]
    pub fn of<K: Kind>(&self) -> Cache<K::Object> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let known = begun.caches.get(&TypeId::of::<K>());
        if let Some(cache) = known.and_then(|cache| cache.downcast_ref::<Cache<K::Object>>()) {
            return cache.clone();
        }
        let changes = self.changes.clone();
        let tell = move |told: Told<K::Object>| {
            // Nobody who listens, nothing to render.
            if changes.receiver_count() > 0 {
                let _ = changes.send(Arc::new(Change::of::<K>(&told)));
            }
        };
        let cache = Cache::start(self.client.clone(), tell);
        begun.read.push(cache.read());
        let kept = Box::new(cache.clone());
        begun.caches.insert(TypeId::of::<K>(), kept);
        cache
    }

    /// Of each that was begun: true once it was read whole.
    #[must_use]
    pub fn read(&self) -> Vec<watch::Receiver<bool>> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.read.clone()
    }
}
