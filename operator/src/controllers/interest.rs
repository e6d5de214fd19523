//! Who looked at what, so that a change wakes those whom it concerns and nobody is searched for.
//!
//! A key's interests are those of its last look. One is noted before its thing is read, so that a
//! change in between is not missed.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dc_types::HostName;
use dc_types::plan::ItemKey;
use uuid::Uuid;

use crate::stores::Key;

/// Something that a look may depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Thing {
    /// An object, there or not.
    Object(Key),
    /// What a host says of an item, or of its release; and its pending release.
    Item(HostName, ItemKey),
    /// Whether a host is connected.
    Session(HostName),
    /// What a host is.
    Facts(HostName),
    /// A claim, by its id.
    Claim(Uuid),
    /// Room on hosts.
    Capacity,
    /// Room in a department's quota.
    Room(String),
}

#[derive(Default)]
pub struct Interests {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    by_thing: HashMap<Thing, HashSet<Key>>,
    by_key: HashMap<Key, HashSet<Thing>>,
}

impl Interests {
    /// Notes that `key` is about to look at `thing`.
    pub fn note(&self, key: &Key, thing: &Thing) {
        let mut state = self.lock();
        let things = state.by_key.entry(key.clone()).or_default();
        if things.insert(thing.clone()) {
            let keys = state.by_thing.entry(thing.clone()).or_default();
            keys.insert(key.clone());
        }
    }

    /// Forgets what `key` has not looked at this time.
    pub fn keep_only(&self, key: &Key, used: &HashSet<Thing>) {
        let mut state = self.lock();
        let Some(things) = state.by_key.get_mut(key) else {
            return;
        };
        let unused: Vec<Thing> = things.difference(used).cloned().collect();
        for thing in &unused {
            things.remove(thing);
        }
        if things.is_empty() {
            state.by_key.remove(key);
        }
        for thing in unused {
            if let Some(keys) = state.by_thing.get_mut(&thing) {
                keys.remove(key);
                if keys.is_empty() {
                    state.by_thing.remove(&thing);
                }
            }
        }
    }

    /// Those who looked at `thing`.
    #[must_use]
    pub fn of(&self, thing: &Thing) -> Vec<Key> {
        let state = self.lock();
        let keys = state.by_thing.get(thing);
        keys.into_iter().flatten().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change leaves the maps whole, so a panic elsewhere has not broken them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::Kind;

    #[test]
    fn what_a_key_no_longer_looks_at_no_longer_wakes_it() {
        let interests = Interests::default();
        let vm = Key::new(Kind::Vm, "so-nnmt", "web");
        let class = |name| Thing::Object(Key::global(Kind::Class, name));
        interests.note(&vm, &class("small"));
        interests.note(&vm, &Thing::Capacity);
        assert_eq!(interests.of(&class("small")), std::slice::from_ref(&vm));
        interests.keep_only(&vm, &HashSet::from([Thing::Capacity]));
        assert_eq!(interests.of(&class("small")), []);
        assert_eq!(interests.of(&Thing::Capacity), std::slice::from_ref(&vm));
        interests.keep_only(&vm, &HashSet::new());
        assert!(interests.lock().by_key.is_empty() && interests.lock().by_thing.is_empty());
    }
}
