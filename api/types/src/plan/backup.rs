//! Backups of a machine into a repository, and volumes restored from one.

use serde::{Deserialize, Serialize};

use super::Secret;
use crate::{Bytes, InstanceId, PoolName, RunId, SnapshotId};

/// On a storage host: one backup of one machine, from snapshots that are there. Key: the run's id.
///
/// It is done once, whatever dies meanwhile: the backup bears the run's id, and a repeated run finds
/// it. To release it stops the run; what is in the repository stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupItem {
    pub run: RunId,
    pub repository: RepositoryAccess,
    /// Make the repository when there is none. At most one item at a time has this for a
    /// repository, and none once it was made: a place that is not mounted is then no new one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub make: bool,
    /// Under which name the repository shows it: `<department>/<machine>`.
    pub machine: String,
    /// A JSON text: all that is needed to build the machine anew.
    pub manifest: String,
    /// At least one.
    pub volumes: Vec<BackupVolume>,
    /// The backup before, as restic names it: 64 hexadecimal digits.
    pub parent: Option<String>,
    /// How much is read of the storage in a second.
    pub limit: Option<Bytes>,
}

/// A volume of the machine, as one of its snapshots has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupVolume {
    /// The name of its file in the backup, such as `root.raw`.
    pub file: String,
    /// The id under which the storage has the bytes.
    pub volume: InstanceId,
    pub pool: PoolName,
    pub snapshot: SnapshotId,
    /// The snapshot that the backup before was made of. That it is gone costs a full read.
    pub base: Option<SnapshotId>,
}

/// On a storage host: one volume written from a backup. Key: the run's id.
///
/// The volume is there, is as long as the backup's file or longer, and is granted to nobody before
/// this is done. It is done once: that is written down beside the volume. To release it stops the
/// run, and leaves the volume as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreItem {
    pub run: RunId,
    pub repository: RepositoryAccess,
    /// As restic names it: 64 hexadecimal digits.
    pub backup: String,
    /// The name of the file in the backup, such as `root.raw`.
    pub file: String,
    /// The id under which the storage has the bytes.
    pub volume: InstanceId,
    pub pool: PoolName,
    /// Of the volume.
    pub size: Bytes,
    /// Read the volume back when it is written, and compare each block with what the backup says
    /// of it: the answer has the digest of what was read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
    /// How much is written to the storage in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Bytes>,
}

/// On a storage host: what stands beside the volumes of a backup, read and told. Key: the run's id.
///
/// It changes nothing anywhere, and is kept in memory: a host that was started again reads it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestItem {
    pub run: RunId,
    pub repository: RepositoryAccess,
    /// As restic names it: 64 hexadecimal digits.
    pub backup: String,
}

/// A repository, and what opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryAccess {
    pub place: RepositoryPlace,
    pub password: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RepositoryPlace {
    /// A folder of the host that does it, from the root on.
    Folder { path: String },
    /// A server that speaks restic's protocol over TLS.
    Rest {
        /// `https://host:port/folder/`, without user or password.
        url: String,
        user: String,
        login: Secret,
        /// Who signs the server, in PEM; empty: whom the host trusts.
        ca: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_opens_a_repository_is_in_its_debug_form() {
        let access = RepositoryAccess {
            place: RepositoryPlace::Rest {
                url: "https://backup:8000/so-nnmt/".into(),
                user: "so-nnmt".into(),
                login: Secret("hunter2".into()),
                ca: "-----BEGIN CERTIFICATE-----".into(),
            },
            password: Secret("correct horse".into()),
        };
        let shown = format!("{access:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("correct horse"), "{shown}");
        assert!(shown.contains("https://backup:8000/so-nnmt/"), "{shown}");
    }
}
