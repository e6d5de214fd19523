//! A ledger in memory: it applies a transaction when its guards hold, and mirrors the claims.

use std::collections::{BTreeMap, BTreeSet};

use crate::claims::Claims;
use crate::txn::{Guard, Txn, Write};

/// The ledger: keys with their revisions, and the mirror of them.
#[derive(Default)]
pub struct Ledger {
    keys: BTreeMap<String, u64>,
    revision: u64,
    pub claims: Claims,
}

impl Ledger {
    pub fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            revision: 100,
            claims: Claims::new(1),
        }
    }

    /// All or nothing, as etcd does it; also refuses to write a key twice.
    pub fn commit(&mut self, txn: &Txn) -> bool {
        let holds = txn.guards.iter().all(|guard| match guard {
            Guard::Absent(key) => !self.keys.contains_key(key),
            Guard::Unchanged { key, revision } => self.keys.get(key) == Some(revision),
        });
        if !holds {
            return false;
        }
        self.revision += 1;
        let mut written = BTreeSet::new();
        for write in &txn.writes {
            let (key, value) = match write {
                Write::Put { key, value } => (key, Some(value.as_str())),
                Write::Delete { key } => (key, None),
            };
            assert!(written.insert(key), "{key} is written twice in {}", txn.why);
            match value {
                Some(_) => self.keys.insert(key.clone(), self.revision),
                None => self.keys.remove(key),
            };
            let applied = self.claims.apply(key, value, self.revision);
            applied.unwrap_or_else(|error| panic!("{}: {error}", txn.why));
        }
        true
    }

    /// Of the last transaction.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn delete(&mut self, key: &str) {
        self.commit(&Txn::new("test").delete(key));
    }
}
