//! What a host has accepted: its items, the releases it has not been told to forget, and the
//! highest term it has followed. The agent keeps it on disk; here is what may change it.
//!
//! ```text
//!            Upsert(e)                    Release(r)                 Confirmed(r), after done
//!  nothing ───────────▶ item e ──────────────────────▶ release r ─────────────────▶ nothing
//!                        │  ▲ Upsert(e' ≥ e)            │
//!                        └──┘                           │ Upsert(e > r): both stand, the release
//!                                                       ▼ is carried out first
//!                                                 release r, item e
//! ```
//!
//! What always holds: an item of an older epoch never takes the place of a newer one, nothing that
//! was released comes back, and nothing goes without a release. A term never falls.

mod file;

use std::collections::BTreeMap;
use std::sync::Arc;

use dc_types::plan::{GrantItem, Item, ItemBody, ItemHash, ItemKey, Items, Release, VmItem};
use dc_types::report::{Detail, Held, ItemState, Observation, Trouble};
use dc_types::{Epoch, HostName, Term};
use thiserror::Error;

use crate::wanted::Releases;

pub use file::{LedgerFileError, parse, render};

/// The ledger in memory; a clone shares what is not changed. `sent` are the operator's own digests
/// of the items: what it is told is held, and what an observation speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub term: Term,
    pub items: Arc<Items>,
    pub sent: Arc<Sent>,
    pub releases: Arc<Releases>,
}

/// The operator's digest of each item.
pub type Sent = BTreeMap<ItemKey, ItemHash>;

/// One change that the operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Upsert(Box<Item>, ItemHash),
    Release(Release),
}

/// Why an item was not taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("{key}: its epoch {epoch} is older than {held}, which this host holds")]
    OldEpoch {
        key: ItemKey,
        epoch: Epoch,
        held: Epoch,
    },
    #[error("{key}: epoch {epoch} was released, as was everything up to {released}")]
    Released {
        key: ItemKey,
        epoch: Epoch,
        released: Epoch,
    },
    #[error(
        "{key}: disk {disk:?} is granted to initiator {initiator:?}, which is not that of this \
         machine on this host: the machine belongs to another host"
    )]
    AnotherHost {
        key: ItemKey,
        disk: String,
        initiator: String,
    },
}

impl Refusal {
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::OldEpoch { .. } => "OldEpoch",
            Refusal::Released { .. } => "AlreadyReleased",
            Refusal::AnotherHost { .. } => "AnotherHost",
        }
    }
}

/// A leader that must not be followed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the operator leads under term {offered}, but this host has followed {followed} already")]
pub struct LowerTerm {
    pub offered: Term,
    pub followed: Term,
}

impl Ledger {
    /// Follows a leader; says whether the term is new.
    pub fn follow(&mut self, term: Term) -> Result<bool, LowerTerm> {
        if term < self.term {
            return Err(LowerTerm {
                offered: term,
                followed: self.term,
            });
        }
        let new = term > self.term;
        self.term = term;
        Ok(new)
    }

    /// Takes the operator's changes; says which items were refused, as observations for it.
    pub fn accept(&mut self, host: &HostName, changes: Vec<Change>) -> Vec<Observation> {
        let mut refused = Vec::new();
        for change in changes {
            match change {
                Change::Release(release) => self.release(release),
                Change::Upsert(item, sent) => {
                    let (key, epoch) = (item.key, item.epoch);
                    if let Err(refusal) = self.upsert(host, *item, sent) {
                        refused.push(refusal.observation(key, epoch, sent));
                    }
                }
            }
        }
        refused
    }

    fn upsert(&mut self, host: &HostName, item: Item, sent: ItemHash) -> Result<(), Refusal> {
        let (key, epoch) = (item.key, item.epoch);
        if let Some(release) = self.releases.get(&key)
            && epoch <= release.epoch
        {
            let released = release.epoch;
            return Err(Refusal::Released {
                key,
                epoch,
                released,
            });
        }
        if let Some(held) = self.items.get(&key)
            && epoch < held.epoch
        {
            let held = held.epoch;
            return Err(Refusal::OldEpoch { key, epoch, held });
        }
        if let ItemBody::Vm(vm) = &item.body {
            belongs_here(host, key, vm)?;
        }
        Arc::make_mut(&mut self.items).insert(key, item);
        Arc::make_mut(&mut self.sent).insert(key, sent);
        Ok(())
    }

    fn release(&mut self, release: Release) {
        let key = release.key;
        if self
            .items
            .get(&key)
            .is_some_and(|i| i.epoch <= release.epoch)
        {
            Arc::make_mut(&mut self.items).remove(&key);
            Arc::make_mut(&mut self.sent).remove(&key);
        }
        match self.releases.get(&key) {
            Some(held) if held.epoch > release.epoch => {}
            _ => {
                Arc::make_mut(&mut self.releases).insert(key, release);
            }
        }
    }

    /// Forgets a release that the operator has recorded as done; says whether there was one.
    pub fn confirmed(&mut self, key: &ItemKey, epoch: Epoch) -> bool {
        let done = self.releases.get(key).is_some_and(|r| r.epoch <= epoch);
        if done {
            Arc::make_mut(&mut self.releases).remove(key);
        }
        done
    }

    /// What the host tells an operator that it holds.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        self.items
            .values()
            .map(|item| Held {
                key: item.key,
                epoch: item.epoch,
                hash: self.sent.get(&item.key).copied().unwrap_or(item.hash()),
            })
            .collect()
    }
}

/// A machine's disks are granted to an initiator that carries host and machine in its name.
fn belongs_here(host: &HostName, key: ItemKey, vm: &VmItem) -> Result<(), Refusal> {
    let own = GrantItem::initiator_name(host, vm.vm);
    match vm.disks.iter().find(|disk| disk.initiator != own) {
        None => Ok(()),
        Some(disk) => Err(Refusal::AnotherHost {
            key,
            disk: disk.name.clone(),
            initiator: disk.initiator.clone(),
        }),
    }
}

impl Refusal {
    fn observation(&self, key: ItemKey, epoch: Epoch, sent: ItemHash) -> Observation {
        Observation {
            key,
            epoch,
            hash: sent,
            state: ItemState::Failed(Trouble {
                reason: self.reason().to_owned(),
                message: self.to_string(),
            }),
            detail: Detail::None,
        }
    }
}

#[cfg(test)]
mod tests;
