//! What hosts have said in this term: facts, how each item stands, which releases are done.
//!
//! Written by the sessions alone. What a host said stays when its session ends, with the time since
//! when it is silent; it is forgotten when this operator stops leading, because another will know
//! better by then. `None` everywhere means "not heard", never "not there".

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use dc_types::plan::ItemKey;
use dc_types::report::{Detail, Guest, Hello, HostFacts, Observation, Released, Trouble};
use dc_types::{Epoch, HostName};
use jiff::Timestamp;
use tokio::sync::broadcast;

/// How many changes a subscriber may be behind before it must look at everything: a thousand hosts
/// that come back at once with a few items each.
const CHANGES: usize = 8192;

/// Whether a host speaks to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostSession {
    Connected {
        since: Timestamp,
    },
    /// Its session ended and it has not come back.
    Silent {
        since: Timestamp,
    },
    /// It has not spoken since this operator leads.
    Never,
}

/// What has changed: look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Session(HostName),
    Facts(HostName),
    Item(HostName, ItemKey),
    /// A release was confirmed, or could not be carried out.
    Release(HostName, ItemKey),
    /// Everything was forgotten.
    All,
}

/// How a release stands with its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseState {
    /// Nothing under the key up to the epoch is left. The pending release is gone from the ledger
    /// by now or in a moment.
    Done(Released),
    /// It is tried again.
    Failed { epoch: Epoch, trouble: Trouble },
}

#[derive(Debug)]
struct HostState {
    session: HostSession,
    /// Which of several sessions is the one that counts; a later one replaces an earlier.
    number: u64,
    version: String,
    facts: Option<Arc<HostFacts>>,
    items: BTreeMap<ItemKey, Observation>,
    releases: BTreeMap<ItemKey, ReleaseState>,
}

#[derive(Clone)]
pub struct Observed {
    hosts: Arc<RwLock<HashMap<HostName, HostState>>>,
    changes: broadcast::Sender<Change>,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            hosts: Arc::default(),
            changes: broadcast::Sender::new(CHANGES),
        }
    }
}

impl Observed {
    #[must_use]
    pub fn session(&self, host: &HostName) -> HostSession {
        self.look(host, |state| state.session)
            .unwrap_or(HostSession::Never)
    }

    #[must_use]
    pub fn facts(&self, host: &HostName) -> Option<Arc<HostFacts>> {
        self.look(host, |state| state.facts.clone()).flatten()
    }

    /// The agent's version.
    #[must_use]
    pub fn version(&self, host: &HostName) -> Option<String> {
        self.look(host, |state| state.version.clone())
    }

    /// The last that a host said of an item.
    #[must_use]
    pub fn item(&self, host: &HostName, key: &ItemKey) -> Option<Observation> {
        self.look(host, |state| state.items.get(key).cloned())
            .flatten()
    }

    #[must_use]
    pub fn release(&self, host: &HostName, key: &ItemKey) -> Option<ReleaseState> {
        self.look(host, |state| state.releases.get(key).cloned())
            .flatten()
    }

    /// Whether a host has confirmed that nothing under `key` up to `epoch` is left.
    #[must_use]
    pub fn is_released(&self, host: &HostName, key: &ItemKey, epoch: Epoch) -> bool {
        let state = self.release(host, key);
        matches!(state, Some(ReleaseState::Done(done)) if done.epoch >= epoch)
    }

    /// Every change from now on. A subscriber that lags behind must look at everything again.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// How many hosts are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let connected = |state: &&HostState| matches!(state.session, HostSession::Connected { .. });
        hosts.values().filter(connected).count()
    }

    /// Guests by state, over all hosts that are connected.
    #[must_use]
    pub fn guests(&self) -> BTreeMap<Guest, u64> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let mut guests = BTreeMap::new();
        for state in hosts.values() {
            if !matches!(state.session, HostSession::Connected { .. }) {
                continue;
            }
            for item in state.items.values() {
                if let Detail::Vm { guest, .. } = &item.detail {
                    *guests.entry(*guest).or_default() += 1;
                }
            }
        }
        guests
    }

    /// What every host that spoke in this term is.
    #[must_use]
    pub fn all_facts(&self) -> Vec<(HostName, Arc<HostFacts>)> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let with_facts = |(host, state): (&HostName, &HostState)| {
            state.facts.clone().map(|facts| (host.clone(), facts))
        };
        hosts.iter().filter_map(with_facts).collect()
    }

    /// A host's session begins: it counts from now on, under the number that is answered.
    /// What was known of items that the host no longer holds is dropped.
    pub(crate) fn begin(&self, hello: &Hello, now: Timestamp) -> u64 {
        let host = hello.host.clone();
        let number = self.change(|hosts| {
            let state = hosts.entry(host.clone()).or_insert_with(HostState::new);
            state.number += 1;
            state.session = HostSession::Connected { since: now };
            state.version.clone_from(&hello.version);
            state.facts = Some(Arc::new(hello.facts.clone()));
            let held: std::collections::BTreeSet<_> = hello.held.iter().map(|h| h.key).collect();
            state.items.retain(|key, _| held.contains(key));
            state.number
        });
        self.tell(Change::Session(host.clone()));
        self.tell(Change::Facts(host));
        number
    }

    /// The session with that number ends, unless a later one has taken its place.
    pub(crate) fn end(&self, host: &HostName, number: u64, now: Timestamp) {
        let ended = self.change(|hosts| match hosts.get_mut(host) {
            Some(state) if state.number == number => {
                state.session = HostSession::Silent { since: now };
                true
            }
            _ => false,
        });
        if ended {
            self.tell(Change::Session(host.clone()));
        }
    }

    pub(crate) fn set_facts(&self, host: &HostName, facts: HostFacts) {
        let news = self.change(|hosts| {
            let Some(state) = hosts.get_mut(host) else {
                return false;
            };
            let news = state.facts.as_deref() != Some(&facts);
            state.facts = Some(Arc::new(facts));
            news
        });
        if news {
            self.tell(Change::Facts(host.clone()));
        }
    }

    pub(crate) fn set_items(&self, host: &HostName, observations: Vec<Observation>) {
        let changed = self.change(|hosts| {
            let Some(state) = hosts.get_mut(host) else {
                return Vec::new();
            };
            let mut changed = Vec::new();
            for observation in observations {
                let key = observation.key;
                if state.items.get(&key) != Some(&observation) {
                    state.items.insert(key, observation);
                    changed.push(key);
                }
            }
            changed
        });
        for key in changed {
            self.tell(Change::Item(host.clone(), key));
        }
    }

    pub(crate) fn set_released(&self, host: &HostName, released: Released) {
        let key = released.key;
        self.set_release(host, key, ReleaseState::Done(released));
    }

    pub(crate) fn set_release_failed(
        &self,
        host: &HostName,
        key: ItemKey,
        epoch: Epoch,
        trouble: Trouble,
    ) {
        self.set_release(host, key, ReleaseState::Failed { epoch, trouble });
    }

    fn set_release(&self, host: &HostName, key: ItemKey, release: ReleaseState) {
        self.change(|hosts| {
            let Some(state) = hosts.get_mut(host) else {
                return;
            };
            if let ReleaseState::Done(done) = &release
                && state.items.get(&key).is_some_and(|i| i.epoch <= done.epoch)
            {
                state.items.remove(&key);
            }
            state.releases.insert(key, release);
        });
        self.tell(Change::Release(host.clone(), key));
    }

    /// Forgets everything: another operator leads.
    pub(crate) fn forget(&self) {
        self.change(HashMap::clear);
        self.tell(Change::All);
    }

    fn look<R>(&self, host: &HostName, look: impl FnOnce(&HostState) -> R) -> Option<R> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.get(host).map(look)
    }

    fn change<R>(&self, change: impl FnOnce(&mut HashMap<HostName, HostState>) -> R) -> R {
        // Each change leaves the map whole, so a panic elsewhere has not broken it.
        change(&mut self.hosts.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, change: Change) {
        // Nobody listening is fine.
        let _ = self.changes.send(change);
    }
}

impl HostState {
    fn new() -> Self {
        Self {
            session: HostSession::Never,
            number: 0,
            version: String::new(),
            facts: None,
            items: BTreeMap::new(),
            releases: BTreeMap::new(),
        }
    }
}
