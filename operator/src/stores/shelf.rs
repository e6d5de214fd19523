//! The objects of one kind, by name, by uid and by namespace.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use kube::Resource;
use kube::runtime::watcher::Event;
use uuid::Uuid;

use super::{Key, Kind, read, write};

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
    objects: HashMap<Name, Arc<K>>,
    by_uid: HashMap<Uuid, Name>,
    by_namespace: HashMap<String, BTreeSet<String>>,
    /// Names seen since a watch began anew: what is not among them at its end is gone.
    renewed: Option<BTreeSet<Name>>,
}

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self {
            inner: RwLock::new(Inner {
                objects: HashMap::new(),
                by_uid: HashMap::new(),
                by_namespace: HashMap::new(),
                renewed: None,
            }),
        }
    }
}

impl<K: Resource<DynamicType = ()>> Shelf<K> {
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let at = (namespace.to_owned(), name.to_owned());
        read(&self.inner).objects.get(&at).cloned()
    }

    /// Where the object of this uid is.
    #[must_use]
    pub fn find(&self, uid: Uuid, kind: Kind) -> Option<Key> {
        let inner = read(&self.inner);
        let (namespace, name) = inner.by_uid.get(&uid)?;
        Some(Key::new(kind, namespace, name))
    }

    /// The objects of one namespace, by name.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let inner = read(&self.inner);
        let names = inner.by_namespace.get(namespace).into_iter().flatten();
        names
            .filter_map(|name| inner.objects.get(&(namespace.to_owned(), name.clone())))
            .cloned()
            .collect()
    }

    #[must_use]
    pub fn count_in(&self, namespace: &str) -> usize {
        let inner = read(&self.inner);
        inner.by_namespace.get(namespace).map_or(0, BTreeSet::len)
    }

    /// All of them; only for kinds that are few.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.in_namespace("")
    }

    #[must_use]
    pub fn keys(&self, kind: Kind) -> Vec<Key> {
        let inner = read(&self.inner);
        let names = inner.objects.keys();
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
                let there = inner.objects.get(&name);
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
                let names: Vec<Name> = inner.objects.keys().cloned().collect();
                let gone = names.iter().filter(|name| !renewed.contains(*name));
                gone.map(|name| inner.remove(name)).collect()
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

impl<K: Resource> Inner<K> {
    fn put(&mut self, object: K) -> Taken<K> {
        let name = name_of(&object);
        if let Some(old) = self.objects.get(&name)
            && let Some(uid) = uid_of(&**old)
        {
            self.by_uid.remove(&uid);
        }
        if let Some(uid) = uid_of(&object) {
            self.by_uid.insert(uid, name.clone());
        }
        let names = self.by_namespace.entry(name.0.clone()).or_default();
        names.insert(name.1.clone());
        let new = Arc::new(object);
        Taken {
            old: self.objects.insert(name, new.clone()),
            new: Some(new),
        }
    }

    fn remove(&mut self, name: &Name) -> Taken<K> {
        let old = self.objects.remove(name);
        if let Some(uid) = old.as_deref().and_then(uid_of) {
            self.by_uid.remove(&uid);
        }
        if let Some(names) = self.by_namespace.get_mut(&name.0) {
            names.remove(&name.1);
            if names.is_empty() {
                self.by_namespace.remove(&name.0);
            }
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
