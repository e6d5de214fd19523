//! A cluster that remembers, in place of Ceph's programs and its block server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use super::{ClientAddress, ImageName, Lock, Parent, RbdError, Session, Snapshot, User};
use crate::knobs::Knobs;

mod blocks;
mod cluster;
mod disk;
mod images;

use disk::Disk;

/// What a fake cluster has room for.
const CAPACITY: u64 = 100 << 40;

/// One pool of a fake cluster; clones share it.
#[derive(Clone)]
pub struct FakeCeph {
    knobs: Knobs,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    namespaces: BTreeSet<String>,
    images: BTreeMap<ImageName, Image>,
    trash: Vec<(ImageName, Image)>,
    users: BTreeMap<String, User>,
    sessions: Vec<Session>,
    blocked: BTreeSet<ClientAddress>,
    records: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    made: u64,
    full: bool,
}

#[derive(Clone, Default)]
struct Image {
    id: String,
    disk: Disk,
    parent: Option<Parent>,
    snapshots: Vec<(Snapshot, Disk)>,
    watchers: Vec<ClientAddress>,
    locks: Vec<Lock>,
}

impl FakeCeph {
    #[must_use]
    pub fn new(knobs: Knobs) -> Self {
        Self {
            knobs,
            state: Arc::default(),
        }
    }

    /// A client comes in as a user and, if it is given one, opens an image and takes its lock.
    pub fn connect(&self, user: &str, address: &str, image: Option<&ImageName>) {
        let mut state = self.state();
        let address = ClientAddress(address.to_owned());
        state.sessions.push(Session {
            user: user.to_owned(),
            address: address.clone(),
        });
        if let Some(image) = image.and_then(|image| state.images.get_mut(image)) {
            image.watchers.push(address.clone());
            image.locks.push(Lock {
                id: "auto 1".to_owned(),
                locker: "client.1".to_owned(),
                address,
            });
        }
    }

    /// A client comes in and has an image open, without its lock.
    pub fn watch(&self, user: &str, address: &str, image: &ImageName) {
        self.connect(user, address, None);
        if let Some(image) = self.state().images.get_mut(image) {
            image.watchers.push(ClientAddress(address.to_owned()));
        }
    }

    /// Fills the pool, or makes room.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Takes away everything that is kept, as when the pool was made anew.
    pub fn forget(&self) {
        *self.state() = State::default();
    }

    /// The names of all images, in order.
    #[must_use]
    pub fn images(&self) -> Vec<String> {
        self.state()
            .images
            .keys()
            .map(ImageName::to_string)
            .collect()
    }

    #[must_use]
    pub fn users(&self) -> Vec<User> {
        self.state().users.values().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn gate(&self, call: &'static str) -> Result<(), RbdError> {
        Ok(self.knobs.gate(call).await?)
    }

    /// Works on the state between the two looks at the knobs.
    async fn act<T>(
        &self,
        call: &'static str,
        work: impl FnOnce(&mut State) -> Result<T, Errno>,
    ) -> Result<T, RbdError> {
        self.gate(call).await?;
        let done = work(&mut self.state());
        let done = done.map_err(|errno| refused(call, errno))?;
        self.knobs.answer(call)?;
        Ok(done)
    }
}

fn refused(call: &'static str, errno: Errno) -> RbdError {
    RbdError::Refused {
        program: "fake",
        what: call.to_owned(),
        errno,
        said: String::new(),
    }
}

impl State {
    fn image(&mut self, image: &ImageName) -> Result<&mut Image, Errno> {
        self.images.get_mut(image).ok_or(Errno::ENOENT)
    }

    fn add(&mut self, name: &ImageName, image: Image) -> Result<(), Errno> {
        let known = name.namespace.is_empty() || self.namespaces.contains(&name.namespace);
        if !known {
            return Err(Errno::ENOENT);
        }
        if self.full {
            return Err(Errno::ENOSPC);
        }
        if self.images.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.made += 1;
        let id = format!("{:x}", 0x1000 + self.made);
        self.images.insert(name.clone(), Image { id, ..image });
        Ok(())
    }

    fn has_clones(&self, id: &str) -> bool {
        let kept = self.trash.iter().map(|(_, image)| image);
        let mut all = self.images.values().chain(kept);
        all.any(|image| image.parent.as_ref().is_some_and(|parent| parent.id == id))
    }
}
