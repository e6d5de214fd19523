//! What was looked at on a storage host, and what is kept beside a volume.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use dc_types::plan::{Disposition, GrantItem, ImageFormat};
use dc_types::report::PoolFacts;
use dc_types::{Bytes, Epoch, ImageUid, InstanceId, ObjectRef, PoolName};
use serde::{Deserialize, Serialize};

use super::step::Note;

/// Everything the storage vertical knows of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub pools: BTreeMap<PoolName, PoolSeen>,
    pub targets: TargetsSeen,
    /// Images that are being fetched right now.
    pub fetching: BTreeMap<ImageUid, ImageProgress>,
}

impl Seen {
    /// The targets of one volume; empty when they could not be listed. Looks at all of them: who
    /// asks for many volumes makes an index first.
    pub fn targets_of(&self, volume: InstanceId) -> impl Iterator<Item = &TargetSeen> {
        let all = match &self.targets {
            TargetsSeen::Listed(all) => all.as_slice(),
            TargetsSeen::Unknown(_) => &[],
        };
        all.iter()
            .filter(move |target| target.grant().is_some_and(|(v, _)| v == volume))
    }
}

/// One pool's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSeen {
    /// A pool with a fault shows no volumes and no images.
    pub facts: PoolFacts,
    pub volumes: BTreeMap<InstanceId, VolumeSeen>,
    pub images: BTreeMap<ImageUid, ImageSeen>,
}

/// What a pool holds of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSeen {
    /// Where its bytes lie, or would.
    pub path: PathBuf,
    pub bytes: VolumeBytes,
    pub record: Option<VolumeRecord>,
    /// Why nothing is done with it, such as a record that cannot be read.
    pub fault: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeBytes {
    Absent,
    Present {
        size: Bytes,
        allocated: Bytes,
    },
    /// Taken out of use, and not erased to the end.
    Erasing,
}

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
                });
            }
            (before, _) => before?,
        };
        match note {
            Note::Owner { owner, epoch } => {
                if record.gone.take().is_some() {
                    record.making = Making::Begun;
                }
                record.owner = owner.clone();
                record.epoch = *epoch;
            }
            Note::Made => record.making = Making::Made,
            Note::Watermark(mark) => record.grants = record.grants.max(Some(*mark)),
            Note::Gone(gone) => record.gone = Some(gone.clone()),
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
}

/// An image that volumes can be cloned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSeen {
    /// Of the source it was made from.
    pub sha256: String,
    pub format: ImageFormat,
    pub virtual_size: Bytes,
    /// The epoch of the item that asked for it.
    pub epoch: Epoch,
}

/// How far the fetching of an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageProgress {
    /// Bytes read, of so many when the source says.
    Reading {
        done: Bytes,
        of: Option<Bytes>,
    },
    Converting,
}

/// Progress without a known end is told in steps of this many bytes.
const PROGRESS_STEP: u64 = 256 << 20;

impl fmt::Display for ImageProgress {
    /// In few steps, because each change is told to the operator and written to the object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reading { done, of: Some(of) } => {
                let tenths = done.0.saturating_mul(10) / of.0.max(1);
                write!(f, "read {} % of {} MiB", tenths * 10, of.to_mib().0)
            }
            Self::Reading { done, of: None } => {
                let steps = done.0 / PROGRESS_STEP;
                write!(
                    f,
                    "read {} MiB or more",
                    Bytes(steps * PROGRESS_STEP).to_mib().0
                )
            }
            Self::Converting => f.write_str("read to the end, converting"),
        }
    }
}

/// The targets, as far as they could be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetsSeen {
    Listed(Vec<TargetSeen>),
    /// Why the target daemon did not say.
    Unknown(String),
}

impl Default for TargetsSeen {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// The target daemon's number of a target; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tid(pub u32);

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One target of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSeen {
    pub tid: Tid,
    pub name: String,
    /// The file behind LUN 1.
    pub lun: Option<PathBuf>,
    pub accounts: Vec<String>,
    /// Initiator names and addresses that may log in.
    pub acl: Vec<String>,
    /// Initiator names that are logged in.
    pub sessions: Vec<String>,
}

impl TargetSeen {
    /// The volume and epoch of a target that we made; `None` for a foreign one.
    #[must_use]
    pub fn grant(&self) -> Option<(InstanceId, Epoch)> {
        // The name is made in one place only: what does not give the same name back is not ours.
        let (rest, epoch) = self.name.rsplit_once(':')?;
        let (_, volume) = rest.rsplit_once(':')?;
        let (volume, epoch) = (volume.parse().ok()?, epoch.parse().ok()?);
        (GrantItem::target_name(volume, epoch) == self.name).then_some((volume, epoch))
    }
}
