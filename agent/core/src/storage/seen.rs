//! What was looked at on a storage host: its pools, and what each holds.

use std::collections::BTreeMap;
use std::fmt;

use dc_types::plan::{GrantAccess, ImageFormat};
use dc_types::report::{Orphan, PoolFacts};
use dc_types::{Bytes, Epoch, ImageUid, InstanceId, PoolName, SnapshotId};
use serde::{Deserialize, Serialize};

use super::record::VolumeRecord;

/// Everything the storage vertical knows of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub pools: BTreeMap<PoolName, PoolSeen>,
    /// Images that are being fetched right now.
    pub fetching: BTreeMap<ImageUid, ImageProgress>,
}

impl Seen {
    /// The grants of one volume; empty when they could not be listed. Looks at all of them: who
    /// asks for many volumes makes an index first.
    pub fn grants_of(&self, volume: InstanceId) -> impl Iterator<Item = &GrantSeen> {
        let all = self.pools.values().flat_map(|pool| pool.grants.listed());
        all.filter(move |grant| grant.volume == volume)
    }
}

/// One pool, as its driver shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSeen {
    /// A pool with a fault shows nothing of what it holds.
    pub facts: PoolFacts,
    pub contents: Contents,
    pub grants: GrantsSeen,
}

/// What a usable pool holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub volumes: BTreeMap<InstanceId, VolumeSeen>,
    pub images: BTreeMap<ImageUid, ImageSeen>,
    /// What lies in it and has no place in it: a name that is not ours, bytes without a record.
    pub strays: Vec<Orphan>,
}

/// What a pool holds of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSeen {
    /// Where its bytes lie, or would, as the driver calls it: a path, an image.
    pub place: String,
    pub bytes: VolumeBytes,
    pub record: Option<VolumeRecord>,
    pub snapshots: BTreeMap<SnapshotId, SnapshotSeen>,
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

/// A volume as it stood at one moment; it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSeen {
    pub size: Bytes,
    /// Seconds since 1970.
    pub taken_at: i64,
    /// Why it is not to be trusted, such as a change behind our back.
    pub fault: Option<String>,
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

/// The grants of a pool, as far as they could be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantsSeen {
    Listed(Vec<GrantSeen>),
    /// Why the driver does not know, such as a target daemon that is silent.
    Unknown(String),
}

impl GrantsSeen {
    /// All of them; none when they are not known.
    #[must_use]
    pub fn listed(&self) -> &[GrantSeen] {
        match self {
            Self::Listed(all) => all,
            Self::Unknown(_) => &[],
        }
    }
}

impl Default for GrantsSeen {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// One way into a volume: an iSCSI target, a cephx user, a file that may be opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrantSeen {
    pub pool: PoolName,
    pub volume: InstanceId,
    pub epoch: Epoch,
    /// The driver's own name of it, such as a target's number. Another grant of the same volume and
    /// epoch, made later, has another handle wherever the driver can tell them apart.
    pub handle: String,
    pub form: GrantForm,
    /// Who has the volume open through it, as the driver calls them.
    pub holders: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GrantForm {
    /// It lets this holder in, and nobody else.
    Whole(Admits),
    /// It was cut off while it was made, or changed by hand: what is the matter with it.
    Broken(String),
}

/// Whom a grant lets in: a [`GrantAccess`] without its secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Admits {
    Iscsi { initiator: String, user: String },
    Rbd { user: String, namespace: String },
    File { host: String },
}

impl Admits {
    #[must_use]
    pub fn of(initiator: &str, access: &GrantAccess) -> Self {
        match access {
            GrantAccess::Iscsi { chap } => Self::Iscsi {
                initiator: initiator.to_owned(),
                user: chap.user.clone(),
            },
            GrantAccess::Rbd { cephx } => Self::Rbd {
                user: cephx.user.clone(),
                namespace: cephx.namespace.clone(),
            },
            GrantAccess::File { local } => Self::File {
                host: local.to_string(),
            },
        }
    }
}
