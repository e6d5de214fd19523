//! What is kept beside a volume, and stays when its bytes are gone.
//!
//! It is the storage's own memory: whose a volume is, whether its bytes were there once, the highest
//! epoch it was granted under, which snapshots it has. An agent that has lost everything else keeps
//! to it. It changes by one [`Note`] at a time.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::plan::Disposition;
use dc_types::report::{Erasure, RestoreDone};
use dc_types::{Epoch, ObjectRef, RunId, SnapshotId};
use serde::{Deserialize, Serialize};

/// What is kept beside a volume, and stays when its bytes are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// The object that owns it.
    pub owner: ObjectRef,
    /// The epoch of the owner's claim.
    pub epoch: Epoch,
    pub making: Making,
    pub grants: Option<Watermark>,
    pub gone: Option<Gone>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub snapshots: BTreeMap<SnapshotId, SnapshotRecord>,
    /// The order of the last restore in place that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<String>,
    /// The last restore from a backup that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filled: Option<Filled>,
    /// The last fence: the proof that its epoch writes no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<FenceProof>,
    /// Handles of the grants that were there when the volume last grew, where a grant shows the size
    /// of the moment it was made. Such a grant is made anew.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub outgrown: BTreeSet<String>,
}

/// What is known of a snapshot beside the volume it was taken of, so that its loss is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// Of the item that asked for it.
    pub epoch: Epoch,
    pub making: Making,
}

/// What a volume's bytes were written from: never written again by the same run, whatever a guest
/// has made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    pub run: RunId,
    pub done: RestoreDone,
}

/// A line of a volume's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Whose it is now. Takes away what was said of bytes that are gone.
    Owner { owner: ObjectRef, epoch: Epoch },
    /// The bytes are there.
    Made,
    /// Raises the watermark; one that is higher already stays.
    Watermark(Watermark),
    /// A snapshot is being made, or is there.
    Snapshot {
        snapshot: SnapshotId,
        record: SnapshotRecord,
    },
    /// A snapshot is gone, as asked.
    NoSnapshot(SnapshotId),
    /// A restore was done, by this order.
    Restored(String),
    /// A restore from a backup was done.
    Filled(Filled),
    /// A grant was taken away. Part of taking it away, not a step of its own.
    Fenced(FenceProof),
    /// The volume is about to grow, and grants with these handles will not show it. Part of growing,
    /// not a step of its own; takes the place of what the last growth noted.
    Outgrown(BTreeSet<String>),
    /// The bytes are gone. Part of retaining and erasing, not a step of its own.
    Gone(Gone),
}

/// That nothing written through a grant can land any more, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceProof {
    /// Of the grant that was taken away.
    pub epoch: Epoch,
    /// What was deleted or shut, in that order, as the driver calls it.
    pub deleted: Vec<String>,
    /// When it was done, seconds since 1970.
    pub ended_at: i64,
    pub took_ms: u64,
}

/// Whether the bytes were there once. The record is written before them, so that bytes never lie
/// in a pool without a claim, and again after them, so that their loss is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Making {
    Begun,
    Made,
}

impl VolumeRecord {
    /// The record as it is once `note` is written down; `None` begins a new one.
    ///
    /// A watermark never falls, and says nothing of a volume that has no owner yet.
    #[must_use]
    pub fn with(before: Option<Self>, note: &Note) -> Option<Self> {
        let mut record = match (before, note) {
            (None, Note::Owner { owner, epoch }) => {
                return Some(Self {
                    owner: owner.clone(),
                    epoch: *epoch,
                    making: Making::Begun,
                    grants: None,
                    gone: None,
                    snapshots: BTreeMap::new(),
                    restored: None,
                    filled: None,
                    fence: None,
                    outgrown: BTreeSet::new(),
                });
            }
            (before, _) => before?,
        };
        match note {
            Note::Owner { owner, epoch } => {
                if record.gone.take().is_some() {
                    record.making = Making::Begun;
                    record.restored = None;
                    record.filled = None;
                }
                record.owner = owner.clone();
                record.epoch = *epoch;
            }
            Note::Made => record.making = Making::Made,
            Note::Watermark(mark) => record.grants = record.grants.max(Some(*mark)),
            Note::Snapshot {
                snapshot,
                record: of,
            } => {
                record.snapshots.insert(*snapshot, *of);
            }
            Note::NoSnapshot(snapshot) => {
                record.snapshots.remove(snapshot);
            }
            Note::Filled(filled) => record.filled = Some(*filled),
            Note::Restored(order) => record.restored = Some(order.clone()),
            Note::Fenced(proof) => record.fence = Some(proof.clone()),
            Note::Outgrown(handles) => record.outgrown = handles.clone(),
            Note::Gone(gone) => {
                // What had begun of snapshots was of these bytes; of a whole one they do not go.
                record.snapshots.clear();
                record.gone = Some(gone.clone());
            }
        }
        Some(record)
    }
}

/// The highest epoch of a volume's grants. The order of the fields is the order of age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Watermark {
    pub epoch: Epoch,
    pub state: WatermarkState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WatermarkState {
    /// May be granted, also again after the target daemon has forgotten it.
    Open,
    /// May never be granted again.
    Fenced,
}

impl Watermark {
    #[must_use]
    pub fn open(epoch: Epoch) -> Self {
        Self {
            epoch,
            state: WatermarkState::Open,
        }
    }

    #[must_use]
    pub fn fenced(epoch: Epoch) -> Self {
        Self {
            epoch,
            state: WatermarkState::Fenced,
        }
    }

    /// Whether a grant of `epoch` may be made where this is the highest so far.
    #[must_use]
    pub fn admits(self, epoch: Epoch) -> bool {
        Self::open(epoch) >= self
    }
}

/// How a volume's bytes went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// The epoch of the release.
    pub epoch: Epoch,
    pub disposition: Disposition,
    /// For people: where they lie, or how they were erased.
    pub note: String,
    /// What the erasure did, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure: Option<Erasure>,
}
