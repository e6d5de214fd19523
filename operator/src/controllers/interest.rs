//! Who looked at what, so that a change wakes those whom it concerns and nobody is searched for.
//!
//! A key's interests are those of its last look. One is noted before its thing is read, so that a
//! change in between is not missed.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// The claims of a machine's backups.
    Backups(Uuid),
    /// Room on hosts.
    Capacity,
    /// Room in a department's quota.
    Room(String),
}

#[derive(Default)]
pub struct Interests {
    state: Mutex<State>,
}

/// Both sides know each other by number: a machine looks at some twenty things, nearly all of them
/// its own, and a name is kept once however many know it.
#[derive(Default)]
struct State {
    things: Side<Thing>,
    keys: Side<Key>,
}

/// Where something stands in its side.
type Number = u32;

struct Side<T> {
    numbers: HashMap<Arc<T>, Number>,
    seats: Vec<Seat<T>>,
    free: Vec<Number>,
}

/// One of this side, and those of the other side that it is joined with.
struct Seat<T> {
    name: Option<Arc<T>>,
    others: Vec<Number>,
}

impl<T> Default for Side<T> {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
            seats: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Side<T> {
    /// Its number, for which it gets a seat if it has none.
    fn seat(&mut self, name: &T) -> Number {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let name = Arc::new(name.clone());
        let seat = Seat {
            name: Some(name.clone()),
            others: Vec::new(),
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.seats[number as usize] = seat;
                number
            }
            None => {
                self.seats.push(seat);
                // Memory ends long before the numbers do.
                Number::try_from(self.seats.len() - 1).unwrap_or(Number::MAX)
            }
        };
        self.numbers.insert(name, number);
        number
    }

    fn name(&self, number: Number) -> Option<&Arc<T>> {
        self.seats[number as usize].name.as_ref()
    }

    fn others(&self, number: Number) -> &[Number] {
        &self.seats[number as usize].others
    }

    fn join(&mut self, number: Number, other: Number) {
        self.seats[number as usize].others.push(other);
    }

    /// Who is joined with nobody any more leaves its seat.
    fn part(&mut self, number: Number, other: Number) {
        let seat = &mut self.seats[number as usize];
        if let Some(at) = seat.others.iter().position(|there| *there == other) {
            seat.others.swap_remove(at);
        }
        if seat.others.is_empty()
            && let Some(name) = seat.name.take()
        {
            seat.others = Vec::new();
            self.numbers.remove(&name);
            self.free.push(number);
        }
    }
}

impl Interests {
    /// Notes that `key` is about to look at `thing`.
    pub fn note(&self, key: &Key, thing: &Thing) {
        let mut state = self.lock();
        let (key, thing) = (state.keys.seat(key), state.things.seat(thing));
        if !state.keys.others(key).contains(&thing) {
            state.keys.join(key, thing);
            state.things.join(thing, key);
        }
    }

    /// Forgets what `key` has not looked at this time.
    pub fn keep_only(&self, key: &Key, used: &HashSet<Thing>) {
        let mut state = self.lock();
        let State { things, keys } = &mut *state;
        let Some(key) = keys.numbers.get(key).copied() else {
            return;
        };
        let is_used = |thing: &Number| {
            things
                .name(*thing)
                .is_some_and(|name| used.contains(&**name))
        };
        let unused = keys.others(key).iter().copied();
        let unused: Vec<Number> = unused.filter(|thing| !is_used(thing)).collect();
        for thing in unused {
            keys.part(key, thing);
            things.part(thing, key);
        }
    }

    /// Those who looked at `thing`.
    #[must_use]
    pub fn of(&self, thing: &Thing) -> Vec<Key> {
        let state = self.lock();
        let Some(thing) = state.things.numbers.get(thing) else {
            return Vec::new();
        };
        let keys = state.things.others(*thing).iter();
        keys.filter_map(|key| state.keys.name(*key))
            .map(|key| Key::clone(key))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change leaves the sides whole, so a panic elsewhere has not broken them.
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
        let state = interests.lock();
        assert!(state.keys.numbers.is_empty() && state.things.numbers.is_empty());
    }

    #[test]
    fn a_seat_that_was_left_is_taken_by_the_next_and_wakes_nobody_else() {
        let interests = Interests::default();
        let vm = |name| Key::new(Kind::Vm, "so-nnmt", name);
        let room = Thing::Room("so-nnmt".into());
        interests.note(&vm("a"), &Thing::Capacity);
        interests.note(&vm("b"), &Thing::Capacity);
        interests.note(&vm("b"), &Thing::Capacity);
        interests.keep_only(&vm("a"), &HashSet::new());
        interests.note(&vm("c"), &room);
        assert_eq!(interests.of(&Thing::Capacity), [vm("b")]);
        assert_eq!(interests.of(&room), [vm("c")]);
        assert_eq!(interests.lock().keys.seats.len(), 2, "a's seat is c's");
        interests.keep_only(&vm("b"), &HashSet::new());
        assert_eq!(interests.of(&Thing::Capacity), []);
        assert_eq!(interests.of(&room), [vm("c")]);
    }
}
