//! The ledger's keys in memory: claims, who leads, and how far both are known.
//!
//! A key reaches the mirror by three ways that overtake each other: our own commits, the watch, and
//! a whole read after the watch broke. The newest revision of each key counts, whichever way it
//! came; what a commit removed is remembered until the watch has passed that point.

use std::collections::{HashMap, HashSet};

use dc_operator_core::claims::{ClaimError, Claims};
use dc_types::claim::keys;
use serde::{Deserialize, Serialize};

/// One key as the store showed it, without the ledger's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    /// `None`: removed at this revision.
    pub value: Option<String>,
    pub revision: u64,
    pub created: u64,
}

/// What a leader writes under its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderValue {
    /// Tells two operators on one address apart.
    pub id: uuid::Uuid,
    /// Where agents reach it, `host:port`.
    pub advertise: String,
}

/// The leader's key as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenLeader {
    pub value: LeaderValue,
    /// The revision of its election.
    pub created: u64,
}

#[derive(Debug)]
pub struct Mirror {
    pub claims: Claims,
    pub leader: Option<SeenLeader>,
    /// Everything up to this revision is in.
    progress: u64,
    /// The highest revision ever seen; a store that knows less has lost something.
    high: u64,
    present: HashMap<String, u64>,
    /// Removed by a commit of ours, ahead of the watch.
    gone: HashMap<String, u64>,
}

impl Mirror {
    pub fn new(incarnation: u64) -> Self {
        Self {
            claims: Claims::new(incarnation),
            leader: None,
            progress: 0,
            high: 0,
            present: HashMap::new(),
            gone: HashMap::new(),
        }
    }

    pub fn progress(&self) -> u64 {
        self.progress
    }

    pub fn high(&self) -> u64 {
        self.high
    }

    pub fn note_revision(&mut self, revision: u64) {
        self.high = self.high.max(revision);
    }

    /// Takes in one key; says whether it was news.
    pub fn apply(&mut self, entry: &Entry) -> Result<bool, ClaimError> {
        let known = self.present.get(&entry.key).or(self.gone.get(&entry.key));
        if known.is_some_and(|&known| known >= entry.revision) {
            return Ok(false);
        }
        if entry.key == keys::LEADER {
            self.leader = read_leader(entry)?;
        }
        self.claims
            .apply(&entry.key, entry.value.as_deref(), entry.revision)?;
        match entry.value {
            Some(_) => {
                self.gone.remove(&entry.key);
                self.present.insert(entry.key.clone(), entry.revision);
            }
            None => {
                self.present.remove(&entry.key);
                if entry.revision > self.progress {
                    self.gone.insert(entry.key.clone(), entry.revision);
                }
            }
        }
        self.note_revision(entry.revision);
        Ok(true)
    }

    /// The watch has delivered everything up to `revision`.
    pub fn advance(&mut self, revision: u64) {
        self.note_revision(revision);
        if revision > self.progress {
            self.progress = revision;
            self.gone.retain(|_, removed| *removed > revision);
        }
    }

    /// Takes in a whole read at `revision`; what it does not have is gone, except what was written
    /// since. Answers the keys that changed.
    pub fn resync(&mut self, all: &[Entry], revision: u64) -> Result<Vec<String>, ClaimError> {
        let there: HashSet<&str> = all.iter().map(|entry| entry.key.as_str()).collect();
        let lost: Vec<String> = self
            .present
            .iter()
            .filter(|(key, at)| **at <= revision && !there.contains(key.as_str()))
            .map(|(key, _)| key.clone())
            .collect();
        let mut changed = Vec::new();
        for entry in all {
            if self.apply(entry)? {
                changed.push(entry.key.clone());
            }
        }
        for key in lost {
            let removed = Entry {
                key,
                value: None,
                revision,
                created: 0,
            };
            if self.apply(&removed)? {
                changed.push(removed.key);
            }
        }
        self.advance(revision);
        Ok(changed)
    }
}

fn read_leader(entry: &Entry) -> Result<Option<SeenLeader>, ClaimError> {
    let Some(value) = &entry.value else {
        return Ok(None);
    };
    let value = serde_json::from_str(value).map_err(|source| ClaimError::Value {
        key: entry.key.clone(),
        source,
    })?;
    Ok(Some(SeenLeader {
        value,
        created: entry.created,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "mac/52:54:00:00:00:01";
    const OTHER: &str = "vni/5000";

    fn entry(key: &str, present: bool, revision: u64) -> Entry {
        let holder = r#"{"holder":"00000000-0000-0000-0000-000000000001"}"#;
        Entry {
            key: key.into(),
            value: present.then(|| holder.into()),
            revision,
            created: revision,
        }
    }

    fn held(mirror: &Mirror) -> Vec<&str> {
        let mut keys: Vec<_> = mirror.claims.held.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn an_event_older_than_our_own_commit_changes_nothing() {
        let mut mirror = Mirror::new(1);
        assert!(mirror.apply(&entry(KEY, true, 8)).unwrap());
        assert!(!mirror.apply(&entry(KEY, true, 8)).unwrap());
        assert!(!mirror.apply(&entry(KEY, false, 5)).unwrap());
        assert_eq!(held(&mirror), [KEY]);
    }

    #[test]
    fn what_our_commit_removed_does_not_come_back_with_a_late_event() {
        let mut mirror = Mirror::new(1);
        mirror.apply(&entry(KEY, true, 8)).unwrap();
        mirror.apply(&entry(KEY, false, 10)).unwrap();
        assert!(!mirror.apply(&entry(KEY, true, 8)).unwrap());
        assert!(held(&mirror).is_empty());
        mirror.advance(10);
        assert!(mirror.gone.is_empty(), "remembered only until then");
    }

    #[test]
    fn a_whole_read_removes_what_it_lacks_but_not_what_was_written_since() {
        let mut mirror = Mirror::new(1);
        mirror.apply(&entry(KEY, true, 8)).unwrap();
        mirror.apply(&entry(OTHER, true, 12)).unwrap();
        let changed = mirror.resync(&[], 10).unwrap();
        assert_eq!(changed, [KEY]);
        assert_eq!(held(&mirror), [OTHER]);
        assert_eq!((mirror.progress(), mirror.high()), (10, 12));
    }

    #[test]
    fn a_whole_read_that_is_older_than_our_commit_does_not_undo_it() {
        let mut mirror = Mirror::new(1);
        mirror.apply(&entry(KEY, true, 8)).unwrap();
        mirror.apply(&entry(KEY, false, 12)).unwrap();
        mirror.resync(&[entry(KEY, true, 8)], 10).unwrap();
        assert!(held(&mirror).is_empty());
    }

    #[test]
    fn the_leader_is_who_stands_in_its_key() {
        let mut mirror = Mirror::new(1);
        let value = LeaderValue {
            id: uuid::Uuid::from_u128(1),
            advertise: "a:1".into(),
        };
        let mut key = entry(keys::LEADER, true, 4);
        key.value = Some(serde_json::to_string(&value).unwrap());
        mirror.apply(&key).unwrap();
        assert_eq!(mirror.leader, Some(SeenLeader { value, created: 4 }));
        mirror.apply(&entry(keys::LEADER, false, 6)).unwrap();
        assert_eq!(mirror.leader, None);
    }
}
