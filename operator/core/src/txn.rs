//! A change of the ledger as a value: what must still be so, and what is then written.
//!
//! All of it happens or nothing does. Keys are relative (see [`dc_types::claim::keys`]); whoever
//! carries a transaction out adds the ledger's prefix and the guard that it still leads.

use serde::Serialize;

/// What must be so at the moment of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// No such key: the claim is free.
    Absent(String),
    /// The key stands as it was read: same mod revision.
    Unchanged { key: String, revision: u64 },
}

/// One key written or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put { key: String, value: String },
    Delete { key: String },
}

/// One transaction, made by a pure plan and carried out elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    pub guards: Vec<Guard>,
    pub writes: Vec<Write>,
    /// For logs: what this does and for which object.
    pub why: String,
}

impl Txn {
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            guards: Vec::new(),
            writes: Vec::new(),
            why: why.into(),
        }
    }

    /// Takes a free key: fails as a whole when somebody holds it.
    #[must_use]
    pub fn claim(self, key: impl Into<String>, value: &impl Serialize) -> Self {
        let key = key.into();
        self.absent(key.clone()).put(key, value)
    }

    #[must_use]
    pub fn absent(mut self, key: impl Into<String>) -> Self {
        self.guards.push(Guard::Absent(key.into()));
        self
    }

    #[must_use]
    pub fn unchanged(mut self, key: impl Into<String>, revision: u64) -> Self {
        self.guards.push(Guard::Unchanged {
            key: key.into(),
            revision,
        });
        self
    }

    /// Writes without looking at what stands there; guard it, unless that is what is meant.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: &impl Serialize) -> Self {
        self.writes.push(Write::Put {
            key: key.into(),
            value: serde_json::to_string(value).expect("a claim is always representable as JSON"),
        });
        self
    }

    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_guarded_by_its_own_absence() {
        let txn = Txn::new("vm so-nnmt/web").claim("vm/1", &5).delete("vm/2");
        assert_eq!(txn.guards, [Guard::Absent("vm/1".into())]);
        assert_eq!(
            txn.writes,
            [
                Write::Put {
                    key: "vm/1".into(),
                    value: "5".into()
                },
                Write::Delete { key: "vm/2".into() }
            ]
        );
    }
}
