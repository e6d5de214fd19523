//! What every host should carry, as the leader's controllers see it now.
//!
//! Controllers put items on the board; sessions carry the differences to the hosts. The board is in
//! memory alone: a new leader makes it again from objects and claims. What is removed from a host:
//! - recorded releases of the ledger, whatever the board says;
//! - endpoints and networks that a host holds and the board lacks, but only once the board is
//!   complete. They hold nothing that could be lost.
//!
//! All else that a host holds and the board lacks is left alone, and counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dc_types::HostName;
use dc_types::plan::{Item, ItemHash, ItemKey, ItemKind};
use tokio::sync::{Notify, watch};

/// An item on the board.
#[derive(Clone, Debug)]
pub struct Posted {
    pub item: Arc<Item>,
    pub hash: ItemHash,
    /// When it last changed, for the lag of plans.
    pub since: Instant,
}

/// What a session finds when it looks: keys whose item, or release, may have changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    pub keys: BTreeSet<ItemKey>,
    pub releases: bool,
}

#[derive(Default)]
struct HostBoard {
    items: BTreeMap<ItemKey, Posted>,
    dirty: Dirty,
    wake: Arc<Notify>,
}

/// Cheap to clone; all clones are one board.
#[derive(Clone)]
pub struct Board {
    hosts: Arc<Mutex<HashMap<HostName, HostBoard>>>,
    complete: Arc<watch::Sender<bool>>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            hosts: Arc::default(),
            complete: Arc::new(watch::Sender::new(false)),
        }
    }
}

/// Whether a host holds nothing of worth under such a key, so that the board's silence is enough
/// to remove it.
#[must_use]
pub fn is_derived(kind: ItemKind) -> bool {
    match kind {
        ItemKind::Network | ItemKind::Endpoint => true,
        ItemKind::Image
        | ItemKind::Volume
        | ItemKind::Snapshot
        | ItemKind::Backup
        | ItemKind::Restore
        | ItemKind::Manifest
        | ItemKind::Grant
        | ItemKind::Vm => false,
    }
}

impl Board {
    /// Puts an item in its place. Nothing happens when the same one is there.
    pub fn set(&self, host: &HostName, item: Item) {
        let hash = item.hash();
        let mut hosts = self.lock();
        let board = hosts.entry(host.clone()).or_default();
        let key = item.key;
        if board.items.get(&key).is_some_and(|old| old.hash == hash) {
            return;
        }
        let posted = Posted {
            item: Arc::new(item),
            hash,
            since: Instant::now(),
        };
        board.items.insert(key, posted);
        board.dirty.keys.insert(key);
        board.wake.notify_one();
    }

    /// Takes an item off. An endpoint or network is removed from the host by this; everything else
    /// only by a recorded release.
    pub fn unset(&self, host: &HostName, key: &ItemKey) {
        let mut hosts = self.lock();
        let Some(board) = hosts.get_mut(host) else {
            return;
        };
        if board.items.remove(key).is_some() {
            board.dirty.keys.insert(*key);
            board.wake.notify_one();
        }
    }

    #[must_use]
    pub fn get(&self, host: &HostName, key: &ItemKey) -> Option<Arc<Item>> {
        let hosts = self.lock();
        let posted = hosts.get(host)?.items.get(key)?;
        Some(posted.item.clone())
    }

    /// The keys of one kind that stand on a host's board.
    #[must_use]
    pub fn keys(&self, host: &HostName, kind: ItemKind) -> Vec<ItemKey> {
        let hosts = self.lock();
        let keys = hosts.get(host).into_iter().flat_map(|b| b.items.keys());
        keys.filter(|key| key.kind == kind).copied().collect()
    }

    /// Says that every endpoint and network of every claim is on the board. From now on sessions
    /// send, and remove what hosts hold beyond it.
    pub fn complete(&self) {
        self.complete.send_replace(true);
    }

    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self.complete.borrow()
    }

    pub(crate) async fn wait_complete(&self) {
        let mut complete = self.complete.subscribe();
        // The sender lives in `self`.
        let _ = complete.wait_for(|complete| *complete).await;
    }

    /// Begins a new term with nothing on the board.
    pub fn clear(&self) {
        self.complete.send_replace(false);
        let mut hosts = self.lock();
        for board in hosts.values_mut() {
            board.items.clear();
            board.dirty = Dirty::default();
        }
    }

    /// The recorded releases of a host have changed.
    pub(crate) fn touch_releases(&self, host: &HostName) {
        let mut hosts = self.lock();
        let board = hosts.entry(host.clone()).or_default();
        board.dirty.releases = true;
        board.wake.notify_one();
    }

    pub(crate) fn touch_all_releases(&self) {
        for board in self.lock().values_mut() {
            board.dirty.releases = true;
            board.wake.notify_one();
        }
    }

    /// What a session waits on.
    pub(crate) fn wake(&self, host: &HostName) -> Arc<Notify> {
        self.lock().entry(host.clone()).or_default().wake.clone()
    }

    /// Takes what is dirty, with the items as they stand.
    pub(crate) fn take_dirty(&self, host: &HostName) -> (Dirty, BTreeMap<ItemKey, Posted>) {
        let mut hosts = self.lock();
        let board = hosts.entry(host.clone()).or_default();
        let dirty = std::mem::take(&mut board.dirty);
        let items = dirty.keys.iter();
        let items = items.filter_map(|key| Some((*key, board.items.get(key)?.clone())));
        let items = items.collect();
        (dirty, items)
    }

    /// Everything of a host, for the begin of a session; nothing is dirty after it.
    pub(crate) fn take_all(&self, host: &HostName) -> BTreeMap<ItemKey, Posted> {
        let mut hosts = self.lock();
        let board = hosts.entry(host.clone()).or_default();
        board.dirty = Dirty::default();
        board.items.clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, HostBoard>> {
        // Each change leaves the map whole, so a panic elsewhere has not broken it.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
