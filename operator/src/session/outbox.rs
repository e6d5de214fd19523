//! What one session still has to tell its host. Pure: it is told what changed and answers messages.
//!
//! It knows what the host holds (by Hello, then by what was sent), what should be there, and which
//! releases are recorded; the next message is the difference, and an item that changed five times
//! while the line was busy is sent once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use dc_proto::session::{DELTAS_PER_MESSAGE, OperatorSays, ReleaseRef};
use dc_types::plan::{Delta, Disposition, ItemHash, ItemKey, Release};
use dc_types::report::{Held, Released};
use dc_types::{Epoch, ObjectRef, ObjectUid, Sequence};
use uuid::Uuid;

use crate::board::{Posted, is_derived};

#[derive(Debug, Default)]
pub struct Outbox {
    /// What the host has, or is about to have.
    held: BTreeMap<ItemKey, (Epoch, ItemHash)>,
    /// What it should have.
    wanted: BTreeMap<ItemKey, Posted>,
    /// What a removed item was, for the words of its release.
    objects: BTreeMap<ItemKey, ObjectRef>,
    /// Recorded releases, and those told in this session.
    pending: BTreeMap<ItemKey, Release>,
    told: BTreeMap<ItemKey, Epoch>,
    /// Releases of our own making (see [`is_derived`]) that the host has not answered yet.
    removing: BTreeMap<ItemKey, Epoch>,
    /// Keys to look at.
    queue: BTreeSet<ItemKey>,
    confirmed: Vec<ReleaseRef>,
    sequence: Sequence,
    /// Sent and not on the host's disk yet, with when the oldest change in it was made.
    unaccepted: VecDeque<(Sequence, Instant)>,
}

impl Outbox {
    #[must_use]
    pub fn new(held: &[Held]) -> Self {
        let held = held.iter().map(|held| (held.key, (held.epoch, held.hash)));
        Self {
            held: held.collect(),
            ..Self::default()
        }
    }

    /// Learns everything at once. Answers what the host holds that neither plan nor ledger knows,
    /// and that only a recorded release may remove.
    pub fn begin(
        &mut self,
        wanted: BTreeMap<ItemKey, Posted>,
        pending: BTreeMap<ItemKey, Release>,
    ) -> Vec<ItemKey> {
        self.queue.extend(self.held.keys());
        self.queue.extend(wanted.keys());
        self.queue.extend(pending.keys());
        self.wanted = wanted;
        self.pending = pending;
        let unplanned = |key: &&ItemKey| {
            !is_derived(key.kind)
                && !self.wanted.contains_key(key)
                && !self.pending.contains_key(key)
        };
        self.held.keys().filter(unplanned).copied().collect()
    }

    /// An item is on the board in this form, or no longer.
    pub fn set_wanted(&mut self, key: ItemKey, posted: Option<Posted>) {
        let old = match posted {
            Some(posted) => self.wanted.insert(key, posted),
            None => self.wanted.remove(&key),
        };
        if let Some(old) = old {
            self.objects.insert(key, old.item.object.clone());
        }
        self.queue.insert(key);
    }

    /// These releases are recorded now.
    pub fn set_pending(&mut self, pending: BTreeMap<ItemKey, Release>) {
        self.queue.extend(pending.keys());
        // What waited for a release that is gone may go now.
        self.queue.extend(self.pending.keys());
        self.pending = pending;
    }

    /// Whether the host may speak of this item at all.
    #[must_use]
    pub fn knows(&self, key: &ItemKey) -> bool {
        self.held.contains_key(key)
            || self.wanted.contains_key(key)
            || self.pending.contains_key(key)
            || self.told.contains_key(key)
            || self.removing.contains_key(key)
    }

    /// The host has nothing left under a key, and what was recorded of it is settled.
    pub fn settle(&mut self, released: &Released) {
        let Released { key, epoch, .. } = released;
        if self.held.get(key).is_some_and(|(held, _)| held <= epoch) {
            self.held.remove(key);
        }
        if self.removing.get(key).is_some_and(|e| e <= epoch) {
            self.removing.remove(key);
        }
        if self.pending.get(key).is_some_and(|r| r.epoch <= *epoch) {
            self.pending.remove(key);
        }
        self.told.remove(key);
        self.confirmed.push(ReleaseRef {
            key: *key,
            epoch: *epoch,
        });
        self.queue.insert(*key);
    }

    /// What was sent up to `sequence` is on the host's disk; answers how long each change took.
    pub fn accepted(&mut self, sequence: Sequence, now: Instant) -> Vec<Duration> {
        let mut lags = Vec::new();
        while let Some((sent, since)) = self.unaccepted.front().copied()
            && sent <= sequence
        {
            lags.push(now.duration_since(since));
            self.unaccepted.pop_front();
        }
        lags
    }

    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.queue.is_empty() || !self.confirmed.is_empty()
    }

    /// The next message, or nothing when what was looked at needs no words.
    pub fn take(&mut self) -> Option<(Sequence, OperatorSays)> {
        if !self.confirmed.is_empty() {
            let confirmed = std::mem::take(&mut self.confirmed);
            return Some((self.number(), OperatorSays::Confirmed(confirmed)));
        }
        let mut deltas = Vec::new();
        let mut oldest: Option<Instant> = None;
        // A key makes two deltas at most.
        while deltas.len() + 1 < DELTAS_PER_MESSAGE
            && let Some(key) = self.queue.pop_first()
        {
            if let Some(since) = self.consider(key, &mut deltas) {
                oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
            }
        }
        if deltas.is_empty() {
            return None;
        }
        let sequence = self.number();
        if let Some(oldest) = oldest {
            self.unaccepted.push_back((sequence, oldest));
        }
        Some((sequence, OperatorSays::Deltas(deltas)))
    }

    fn number(&mut self) -> Sequence {
        // The welcome has number 0.
        self.sequence.0 += 1;
        self.sequence
    }

    /// Adds what is to be said of one key; answers since when, if its item is to be said.
    fn consider(&mut self, key: ItemKey, deltas: &mut Vec<Delta>) -> Option<Instant> {
        if let Some(release) = self.pending.get(&key)
            && self.told.get(&key) < Some(&release.epoch)
        {
            self.told.insert(key, release.epoch);
            let gone = |(epoch, _): &(Epoch, ItemHash)| *epoch <= release.epoch;
            if self.held.get(&key).is_some_and(gone) {
                self.held.remove(&key);
            }
            deltas.push(Delta::Release(release.clone()));
        }
        let Some(posted) = self.wanted.get(&key) else {
            self.remove_derived(key, deltas);
            return None;
        };
        let released = self.pending.get(&key).map(|release| release.epoch);
        let released = released.max(self.removing.get(&key).copied());
        if released >= Some(posted.item.epoch) {
            // Its turn comes when the host has confirmed.
            return None;
        }
        let held = self.held.get(&key).map(|(_, hash)| *hash);
        if held == Some(posted.hash) {
            return None;
        }
        self.held.insert(key, (posted.item.epoch, posted.hash));
        deltas.push(Delta::Upsert(Box::new((*posted.item).clone())));
        Some(posted.since)
    }

    fn remove_derived(&mut self, key: ItemKey, deltas: &mut Vec<Delta>) {
        if !is_derived(key.kind) {
            return;
        }
        let Some((epoch, _)) = self.held.remove(&key) else {
            return;
        };
        self.removing.insert(key, epoch);
        let object = self.objects.remove(&key).unwrap_or_else(|| ObjectRef {
            namespace: String::new(),
            name: "unplanned".to_owned(),
            uid: ObjectUid(Uuid::nil()),
        });
        deltas.push(Delta::Release(Release {
            key,
            epoch,
            object,
            disposition: Disposition::Remove,
        }));
    }
}

#[cfg(test)]
mod tests;
