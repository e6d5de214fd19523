//! The objects of one kind, by name, by uid and by namespace.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use kube::Resource;
use kube::runtime::watcher::Event;
use uuid::Uuid;

use super::{Key, Kind, read, version_of, write};

/// A namespace, empty for kinds of the cluster, and a name in it.
type Name = (String, String);

/// What one event changed: how the object was, and how it is.
pub struct Taken<K> {
    pub old: Option<Arc<K>>,
    pub new: Option<Arc<K>>,
}

pub struct Shelf<K> {
    inner: RwLock<Inner<K>>,
}

struct Inner<K> {
    /// By namespace and by name.
    objects: HashMap<String, BTreeMap<String, Arc<K>>>,
    by_uid: HashMap<Uuid, Arc<K>>,
    /// Names seen since a watch began anew: what is not among them at its end is gone.
    renewed: Option<BTreeSet<Name>>,
}

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self {
            inner: RwLock::new(Inner {
                objects: HashMap::new(),
                by_uid: HashMap::new(),
                renewed: None,
            }),
        }
    }
}

impl<K: Resource<DynamicType = ()>> Shelf<K> {
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        read(&self.inner).get(namespace, name).cloned()
    }

    #[must_use]
    pub fn version(&self, namespace: &str, name: &str) -> Option<u64> {
        let inner = read(&self.inner);
        inner
            .get(namespace, name)
            .map(|object| version_of(&**object))
    }

    /// Where the object of this uid is.
    #[must_use]
    pub fn find(&self, uid: Uuid, kind: Kind) -> Option<Key> {
        let inner = read(&self.inner);
        let meta = inner.by_uid.get(&uid)?.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        Some(Key::new(kind, namespace, meta.name.as_deref()?))
    }

    /// The objects of one namespace, by name.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let inner = read(&self.inner);
        let there = inner.objects.get(namespace).into_iter().flatten();
        there.map(|(_, object)| object.clone()).collect()
    }

    #[must_use]
    pub fn count_in(&self, namespace: &str) -> usize {
        let inner = read(&self.inner);
        inner.objects.get(namespace).map_or(0, BTreeMap::len)
    }

    /// Those of all namespaces; only for who sums all of them up, now and then.
    #[must_use]
    pub fn everywhere(&self) -> Vec<Arc<K>> {
        let inner = read(&self.inner);
        let there = inner.objects.values().flatten();
        there.map(|(_, object)| object.clone()).collect()
    }

    /// All of a kind of the cluster's scope; only for kinds that are few.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.in_namespace("")
    }

    #[must_use]
    pub fn keys(&self, kind: Kind) -> Vec<Key> {
        let inner = read(&self.inner);
        let names = inner.names();
        names
            .map(|(namespace, name)| Key::new(kind, namespace, name))
            .collect()
    }

    /// Takes in an event of the watch.
    pub(super) fn take(&self, event: Event<K>) -> Vec<Taken<K>> {
        let mut inner = write(&self.inner);
        match event {
            Event::Apply(object) => vec![inner.put(object)],
            Event::Delete(object) => {
                let name = name_of(&object);
                // A late deletion of an older object of the name removes nothing newer.
                let there = inner.get(&name.0, &name.1);
                if there.is_some_and(|there| there.meta().uid != object.meta().uid) {
                    return Vec::new();
                }
                vec![inner.remove(&name)]
            }
            Event::Init => {
                inner.renewed = Some(BTreeSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let name = name_of(&object);
                if let Some(renewed) = &mut inner.renewed {
                    renewed.insert(name);
                }
                vec![inner.put(object)]
            }
            Event::InitDone => {
                let renewed = inner.renewed.take().unwrap_or_default();
                let names = inner.names();
                let names = names.map(|(namespace, name)| (namespace.clone(), name.clone()));
                let gone = names.filter(|name| !renewed.contains(name));
                let gone: Vec<Name> = gone.collect();
                gone.iter().map(|name| inner.remove(name)).collect()
            }
        }
    }
}

fn name_of<K: Resource>(object: &K) -> Name {
    let meta = object.meta();
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

fn uid_of<K: Resource>(object: &K) -> Option<Uuid> {
    object.meta().uid.as_deref()?.parse().ok()
}

impl<K> Inner<K> {
    fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(namespace)?.get(name)
    }

    fn names(&self) -> impl Iterator<Item = (&String, &String)> {
        let namespaces = self.objects.iter();
        namespaces
            .flat_map(|(namespace, objects)| objects.keys().map(move |name| (namespace, name)))
    }
}

impl<K: Resource> Inner<K> {
    fn put(&mut self, object: K) -> Taken<K> {
        let (namespace, name) = name_of(&object);
        let new = Arc::new(object);
        let there = self.objects.entry(namespace).or_default();
        let old = there.insert(name, new.clone());
        if let Some(uid) = old.as_deref().and_then(uid_of) {
            self.by_uid.remove(&uid);
        }
        if let Some(uid) = uid_of(&*new) {
            self.by_uid.insert(uid, new.clone());
        }
        Taken {
            old,
            new: Some(new),
        }
    }

    fn remove(&mut self, (namespace, name): &Name) -> Taken<K> {
        let mut old = None;
        if let Some(there) = self.objects.get_mut(namespace) {
            old = there.remove(name);
            if there.is_empty() {
                self.objects.remove(namespace);
            }
        }
        if let Some(uid) = old.as_deref().and_then(uid_of) {
            self.by_uid.remove(&uid);
        }
        Taken { old, new: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_crds::{MachineClass, MachineClassSpec};

    fn class(name: &str, uid: u128) -> MachineClass {
        let spec = MachineClassSpec {
            vcpus: 1,
            memory: "1Gi".into(),
            cpu_model: "qemu64".into(),
        };
        let mut class = MachineClass::new(name, spec);
        class.metadata.uid = Some(Uuid::from_u128(uid).to_string());
        class
    }

    fn names(shelf: &Shelf<MachineClass>) -> Vec<String> {
        let all = shelf.all();
        all.iter().filter_map(|c| c.metadata.name.clone()).collect()
    }

    #[test]
    fn what_a_renewed_watch_does_not_show_is_gone_and_told() {
        let shelf = Shelf::default();
        for event in [
            Event::Init,
            Event::InitApply(class("a", 1)),
            Event::InitApply(class("b", 2)),
            Event::InitDone,
        ] {
            shelf.take(event);
        }
        shelf.take(Event::Init);
        shelf.take(Event::InitApply(class("b", 2)));
        assert_eq!(names(&shelf), ["a", "b"], "kept until the end");
        let gone = shelf.take(Event::InitDone);
        assert_eq!(gone.len(), 1);
        assert!(gone[0].new.is_none());
        assert_eq!(names(&shelf), ["b"]);
        assert!(shelf.find(Uuid::from_u128(1), Kind::Class).is_none());
    }

    #[test]
    fn a_late_deletion_does_not_remove_a_newer_object_of_the_name() {
        let shelf = Shelf::default();
        shelf.take(Event::Apply(class("a", 2)));
        assert!(shelf.take(Event::Delete(class("a", 1))).is_empty());
        assert_eq!(names(&shelf), ["a"]);
        shelf.take(Event::Delete(class("a", 2)));
        assert!(names(&shelf).is_empty());
    }

    #[test]
    fn a_reused_name_is_found_by_its_new_uid_alone() {
        let shelf = Shelf::default();
        shelf.take(Event::Apply(class("a", 1)));
        shelf.take(Event::Apply(class("a", 2)));
        assert!(shelf.find(Uuid::from_u128(1), Kind::Class).is_none());
        assert!(shelf.find(Uuid::from_u128(2), Kind::Class).is_some());
    }
}
