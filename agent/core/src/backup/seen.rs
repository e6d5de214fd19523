//! What was looked at: the runs of this host.

use std::collections::BTreeMap;
use std::time::Duration;

use dc_types::Epoch;
use dc_types::plan::{ItemHash, ItemKey};
use dc_types::report::{BackupDone, ManifestRead, Progress, RestoreDone, Trouble};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Those that run, those that failed, and those that are done, of all that is asked for or
    /// released.
    pub runs: BTreeMap<ItemKey, RunSeen>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSeen {
    /// Of the item that it was begun for.
    pub epoch: Epoch,
    pub state: RunState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Whether it is done could not be found out.
    Unknown(String),
    Running {
        phase: Phase,
        /// Why it failed before.
        before: Option<Trouble>,
    },
    Failed {
        /// What was asked when it failed: something else is tried at once.
        asked: ItemHash,
        trouble: Trouble,
        /// In a row.
        times: u32,
        ago: Duration,
    },
    BackedUp(BackupDone),
    /// Also after its item is gone: it stands beside the volume.
    Restored(RestoreDone),
    /// In memory, until its item is released.
    Read(Box<ManifestRead>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The repository is being opened.
    Opening,
    /// Others move data; so many do at a time.
    Waiting,
    Moving(Option<Progress>),
}
