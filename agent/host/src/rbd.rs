//! Ceph's block storage: its own program `rbd` for images, `qemu-storage-daemon` for bytes; and its
//! daemons, asked over a connection that is kept ([`dc_rados`]), also for what is kept beside images.
//!
//! There is no maintained Rust binding of librbd; the program answers in JSON and ends with the
//! error's number.
//!
//! What always holds:
//! - A key is never an argument and never in an error: keyrings go in by standard input, and the
//!   programs find the agent's own in the file that the configuration names.
//! - Every call has an end: operations that get no answer from the cluster give up, and a program
//!   that hangs all the same is stopped.
//! - A call that finds its work done already has succeeded.
//!
//! It knows nothing of volumes, owners or epochs: see [`crate::drivers`].

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use dc_types::Bytes;
use dc_types::plan::Secret;
use nix::errno::Errno;
use thiserror::Error;

use crate::knobs::Injected;

mod answers;
mod bytes;
mod daemons;
mod fake;
mod nbd;
mod program;
mod real;
#[cfg(test)]
mod tests;

pub use bytes::{BlockServer, Blocks, Opening, QemuStorageDaemon};
pub use fake::FakeCeph;
pub use real::{RbdPlace, RealCeph};

/// An image in a namespace of the pool. Shown as the programs take it: `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    /// Empty for the pool's own.
    pub namespace: String,
    pub name: String,
}

impl ImageName {
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// An image as the cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Part of the names of its objects; never used again.
    pub id: String,
    pub size: Bytes,
    /// When it was last written to, about: seconds since 1970.
    pub changed_at: Option<i64>,
    /// What it was cloned from, until it is flattened.
    pub parent: Option<Parent>,
}

/// Where a clone reads what it has not written itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub image: ImageName,
    pub id: String,
    pub place: ParentPlace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentPlace {
    Listed,
    /// Removed by name, and kept for its clones.
    Trash,
}

/// What images and their snapshots take, object by object (4 MiB each).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub name: String,
    /// `None` for what was written since the last snapshot.
    pub snapshot: Option<String>,
    pub size: Bytes,
    pub used: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// One that was taken later has a higher one.
    pub order: u64,
    pub name: String,
    pub size: Bytes,
    /// Seconds since 1970.
    pub taken_at: i64,
}

/// A run of bytes that may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    pub offset: u64,
    pub length: u64,
}

/// An image that was removed by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trashed {
    pub id: String,
    pub name: String,
}

/// Whether an image may become smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    Refused,
    /// What lies past the end is gone.
    Allowed,
}

/// Where a client that has an image open is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientAddress(pub String);

/// The exclusive lock of an image, which a dead client leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub id: String,
    /// Such as `client.4223`.
    pub locker: String,
    pub address: ClientAddress,
}

/// Images, by the program `rbd`.
#[async_trait]
pub trait Rbd: Send + Sync {
    async fn list_namespaces(&self) -> Result<Vec<String>, RbdError>;
    async fn ensure_namespace(&self, namespace: &str) -> Result<(), RbdError>;

    /// What a namespace's images take, with their snapshots.
    async fn list_usage(&self, namespace: &str) -> Result<Vec<Usage>, RbdError>;
    async fn read_image(&self, image: &ImageName) -> Result<Option<ImageInfo>, RbdError>;
    /// Makes a thin image; one that is there is an error.
    async fn create_image(&self, image: &ImageName, size: Bytes) -> Result<(), RbdError>;
    /// Makes a clone that shares what `snapshot` of `from` holds; one that is there is an error.
    async fn clone_image(
        &self,
        from: &ImageName,
        snapshot: &str,
        to: &ImageName,
    ) -> Result<(), RbdError>;
    /// Makes an image from a raw file, leaving out what is zero.
    async fn import_image(&self, file: &std::path::Path, to: &ImageName) -> Result<(), RbdError>;
    async fn resize_image(
        &self,
        image: &ImageName,
        size: Bytes,
        shrink: Shrink,
    ) -> Result<(), RbdError>;
    /// Within its namespace.
    async fn rename_image(&self, image: &ImageName, name: &str) -> Result<(), RbdError>;
    /// Gives a clone all that it shares, as its own.
    async fn flatten_image(&self, image: &ImageName) -> Result<(), RbdError>;
    async fn remove_image(&self, image: &ImageName) -> Result<(), RbdError>;
    /// Sets a client's option for all who open the image.
    async fn set_option(&self, image: &ImageName, key: &str, value: &str) -> Result<(), RbdError>;

    /// Removes an image by name and keeps its bytes for its clones.
    async fn trash_image(&self, image: &ImageName) -> Result<(), RbdError>;
    async fn list_trash(&self, namespace: &str) -> Result<Vec<Trashed>, RbdError>;
    /// Fails as [`RbdError::has_clones`] says while there are any.
    async fn remove_trashed(&self, namespace: &str, id: &str) -> Result<(), RbdError>;

    /// In the order in which they were taken; without those that are kept for clones alone.
    async fn list_snapshots(&self, image: &ImageName) -> Result<Vec<Snapshot>, RbdError>;
    async fn create_snapshot(&self, image: &ImageName, snapshot: &str) -> Result<(), RbdError>;
    /// One that has clones stays for them, without its name.
    async fn remove_snapshot(&self, image: &ImageName, snapshot: &str) -> Result<(), RbdError>;
    async fn rollback_image(&self, image: &ImageName, snapshot: &str) -> Result<(), RbdError>;
    /// What differs between two snapshots, the older first. Without an older one, all that may
    /// hold something; without a newer one, up to now. Never less, sometimes more.
    async fn read_differences(
        &self,
        image: &ImageName,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Vec<Difference>, RbdError>;
    /// The clones of an image, in whatever namespace, those in the trash included.
    async fn list_clones(&self, image: &ImageName) -> Result<Vec<ImageName>, RbdError>;

    /// Who has it open.
    async fn list_watchers(&self, image: &ImageName) -> Result<Vec<ClientAddress>, RbdError>;
    async fn list_locks(&self, image: &ImageName) -> Result<Vec<Lock>, RbdError>;
    async fn remove_lock(&self, image: &ImageName, lock: &Lock) -> Result<(), RbdError>;
}

/// A user of the cluster and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// With the leading `client.`.
    pub name: String,
    /// In base64.
    pub key: Secret,
    /// Towards monitors and OSDs, in Ceph's own words.
    pub monitor: String,
    pub osd: String,
}

/// A client that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// With the leading `client.`.
    pub user: String,
    pub address: ClientAddress,
}

/// What the pool has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Of what is stored, copies counted once.
    pub used: Bytes,
    pub free: Bytes,
    pub state: SpaceState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceState {
    Open,
    /// The cluster lets nobody write: writers wait.
    Full,
}

/// The version of the cluster's map of itself that an order was written into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MapEpoch(pub u64);

/// What the cluster keeps, by its daemons.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Who asks, with the leading `client.`.
    fn own_user(&self) -> String;

    async fn read_space(&self) -> Result<Space, RbdError>;

    /// The users whose names begin so.
    async fn list_users(&self, prefix: &str) -> Result<Vec<User>, RbdError>;
    /// Makes a user, in place of the one that has its name.
    async fn ensure_user(&self, user: &User) -> Result<(), RbdError>;
    async fn remove_user(&self, name: &str) -> Result<(), RbdError>;
    /// Every client that is connected to a monitor, with its user. One that has not opened any image
    /// yet is among them.
    async fn list_sessions(&self) -> Result<Vec<Session>, RbdError>;
    /// `address:port`, as clients are told them.
    async fn list_monitors(&self) -> Result<Vec<SocketAddr>, RbdError>;

    /// Lets nobody write or read from this address any more, for so many seconds.
    async fn block(&self, address: &ClientAddress, seconds: u64) -> Result<(), RbdError>;
    async fn list_blocked(&self) -> Result<Vec<ClientAddress>, RbdError>;
    /// The newest version of the cluster's map.
    async fn read_map_epoch(&self) -> Result<MapEpoch, RbdError>;
    /// The oldest version that an OSD that is up still goes by.
    async fn read_oldest_osd_map(&self) -> Result<MapEpoch, RbdError>;

    /// Texts under keys, in an object of the pool that only the agent's user may touch.
    async fn list_records(&self, object: &str) -> Result<BTreeMap<String, Vec<u8>>, RbdError>;
    async fn read_record(&self, object: &str, key: &str) -> Result<Option<Vec<u8>>, RbdError>;
    /// Durable before it returns.
    async fn write_record(&self, object: &str, key: &str, text: &[u8]) -> Result<(), RbdError>;
    async fn remove_record(&self, object: &str, key: &str) -> Result<(), RbdError>;
}

/// Why Ceph did not do something.
#[derive(Debug, Error)]
pub enum RbdError {
    #[error("{program} {what}: {}: {said}", errno.desc())]
    Refused {
        program: &'static str,
        what: String,
        errno: Errno,
        said: String,
    },
    #[error("{program} {what}: no answer from the cluster within {limit_s} s")]
    Hung {
        program: &'static str,
        what: String,
        limit_s: u64,
    },
    #[error("{program} cannot be started: is its package installed?")]
    NotStarted {
        program: &'static str,
        source: io::Error,
    },
    #[error("the answer of {program} {what} makes no sense: {why}")]
    Nonsense {
        program: &'static str,
        what: String,
        why: String,
    },
    #[error("the bytes of {image}: {what}")]
    Bytes {
        image: String,
        what: &'static str,
        source: io::Error,
    },
    #[error(transparent)]
    Injected(#[from] Injected),
}

impl RbdError {
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Bytes { source, .. } => source.raw_os_error().map(Errno::from_raw),
            Self::Hung { .. }
            | Self::NotStarted { .. }
            | Self::Nonsense { .. }
            | Self::Injected(_) => None,
        }
    }

    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.errno() == Some(Errno::ENOENT) && !self.is_of_pool()
    }

    /// The pool itself is not there, so that nothing is known of what was asked for.
    #[must_use]
    pub fn is_of_pool(&self) -> bool {
        matches!(self, Self::Refused { errno: Errno::ENOENT, said, .. }
            if said.contains("error opening pool") || said.contains("error opening default pool"))
    }

    #[must_use]
    pub fn is_there(&self) -> bool {
        self.errno() == Some(Errno::EEXIST)
    }

    #[must_use]
    pub fn has_clones(&self) -> bool {
        self.errno() == Some(Errno::ENOTEMPTY)
    }

    /// The program was ended by a signal, its own or another's.
    #[must_use]
    pub fn is_death(&self) -> bool {
        self.errno() == Some(Errno::EINTR)
    }

    /// Somebody has it open.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.errno() == Some(Errno::EBUSY)
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.errno(), Some(Errno::ENOSPC | Errno::EDQUOT))
    }

    /// The cluster did not answer in time, or cannot be reached.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Hung { .. })
            || matches!(
                self.errno(),
                Some(Errno::ETIMEDOUT | Errno::ENOTCONN | Errno::ECONNREFUSED)
            )
    }
}
