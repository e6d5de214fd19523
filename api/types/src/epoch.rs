//! Order between claims, and between the leaders that send plans.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The age of a claim: the incarnation of the ledger, then the revision of its key.
///
/// A ledger that was lost or restored counts its revisions again from the past; its incarnation
/// then rises, so that epochs stay ordered. The derived order is the one that counts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch {
    pub incarnation: u64,
    /// etcd's mod revision of the claim's key.
    pub revision: u64,
}

impl fmt::Display for Epoch {
    /// `incarnation.revision`, as it stands in target names and messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.revision)
    }
}

impl std::str::FromStr for Epoch {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (incarnation, revision) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self {
            incarnation: incarnation.parse()?,
            revision: revision.parse()?,
        })
    }
}

/// The term of a leader: the ledger's incarnation, then the revision of its election.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Term {
    pub incarnation: u64,
    pub revision: u64,
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.revision)
    }
}

/// The number of a delta within one session and term; a gap ends the session.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Sequence(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_incarnation_is_newer_than_any_revision_of_the_old() {
        let old = Epoch {
            incarnation: 1,
            revision: 900,
        };
        let new = Epoch {
            incarnation: 2,
            revision: 3,
        };
        assert!(new > old);
        assert_eq!("2.3".parse::<Epoch>().unwrap(), new);
        assert_eq!(new.to_string(), "2.3");
        assert!("2".parse::<Epoch>().is_err());
    }
}
