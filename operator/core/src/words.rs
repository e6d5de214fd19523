//! What people read: every fact the operator can find, with its reason and its sentence in English
//! and Vietnamese. The tables are in `words/`, one for each part.
//!
//! A sentence says what is so, where (the field, when it is one), and what to do. A fact holds the
//! evidence; whoever finds it chooses no words.

use serde::{Deserialize, Serialize};

mod backup;
mod encryption;
mod fact;
mod home;
mod host;
mod in_place;
mod machine;
mod machine_restore;
mod moving;
mod network;
mod platform;
mod proof;
mod quota;
mod request;
pub mod size;
mod snapshot;
mod storage;
mod text;
mod watch;

pub use backup::BackupFact;
pub use encryption::EncryptionFact;
pub use fact::Fact;
pub use home::HomeFact;
pub use machine_restore::MachineRestoreFact;
pub use moving::MoveFact;
pub(crate) use platform::list;
pub use proof::ProofFact;
pub use text::{Awaited, Words};
pub use watch::{Compared, WatchFact};

/// How an object stands, as far as one fact shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// As asked.
    Settled,
    /// As asked, and not in use: a machine that is to be stopped.
    Resting,
    /// On the way; it goes on by itself.
    Moving,
    /// Somebody has to do something.
    Troubled,
    /// Not known, because a host is silent.
    Unseen,
}

impl Fact {
    /// The fact in words: the one place where they are chosen.
    #[must_use]
    pub fn words(&self) -> Words {
        platform::words(self)
            .or_else(|| machine::words(self))
            .or_else(|| home::words(self))
            .or_else(|| moving::words(self))
            .or_else(|| backup::words(self))
            .or_else(|| encryption::words(self))
            .or_else(|| proof::words(self))
            .or_else(|| watch::words(self))
            .or_else(|| machine_restore::words(self))
            .or_else(|| storage::words(self))
            .or_else(|| snapshot::words(self))
            .or_else(|| network::words(self))
            .or_else(|| quota::words(self))
            .or_else(|| request::words(self))
            .unwrap_or_else(|| Words::new(Standing::Troubled, "Unknown", "", ""))
    }

    #[must_use]
    pub fn standing(&self) -> Standing {
        self.words().standing
    }
}

/// Several facts as one: the first one's reason, all sentences.
#[must_use]
pub fn all_words(facts: &[Fact]) -> Option<Words> {
    let mut words = facts.iter().map(Fact::words);
    let mut first = words.next()?;
    for next in words {
        first.en = format!("{}; {}", first.en, next.en);
        first.vi = format!("{}; {}", first.vi, next.vi);
    }
    Some(first)
}

#[cfg(test)]
mod tests;
