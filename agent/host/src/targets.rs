//! The iSCSI target daemon: targets that let one initiator open one volume.
//!
//! [`Targets`] has the daemon's own verbs; [`expose`] and [`fence`] put them together.
//!
//! What always holds:
//! - A target's number is never used twice, also not after a restart of this process or the
//!   daemon's. A login that was half finished when its target was deleted goes to whatever has the
//!   number later, and writes there [measured with tgt 1.0.85].
//! - A target's access list comes last: until then nobody may log in.
//! - A fence has succeeded only when the daemon has deleted the target. That waits for writes in
//!   flight, which would otherwise land later.
//! - CHAP secrets are in no process's arguments: the daemon is spoken to over its own socket.
//!
//! The daemon forgets everything when it stops; what it ought to have is planned again from what
//! it lists. It keeps accounts by user for all targets together.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use dc_types::plan::Chap;
use thiserror::Error;
use tokio::sync::Notify;

use crate::knobs::Injected;

mod fake;
mod listing;
mod procedure;
mod real;
mod seen;
#[cfg(test)]
mod tests;
mod wire;

pub use fake::FakeTargets;
pub use procedure::{FENCE_LIMIT, Fenced, NewTarget, expose, fence};
pub use real::RealTargets;
pub use seen::{TargetSeen, Tid};

/// The verbs of the target daemon. LUN 1 of a target is the volume.
#[async_trait]
pub trait Targets: Send + Sync {
    async fn list_targets(&self) -> Result<Vec<TargetSeen>, TargetsError>;

    /// A number that was never given to a target. Written down before it is returned.
    async fn reserve_tid(&self) -> Result<Tid, TargetsError>;

    async fn create_target(&self, tid: Tid, name: &str) -> Result<(), TargetsError>;

    /// Puts a file behind LUN 1. `serial` is what the guest sees of the disk.
    async fn create_lun(&self, tid: Tid, file: &Path, serial: &str) -> Result<(), TargetsError>;

    /// Makes an account, in place of the one that has its user.
    async fn create_account(&self, chap: &Chap) -> Result<(), TargetsError>;

    async fn bind_account(&self, tid: Tid, user: &str) -> Result<(), TargetsError>;

    /// Takes an account away, if it is there.
    async fn delete_account(&self, user: &str) -> Result<(), TargetsError>;

    async fn allow_initiator(&self, tid: Tid, initiator: &str) -> Result<(), TargetsError>;

    async fn forbid_initiator(&self, tid: Tid, initiator: &str) -> Result<(), TargetsError>;

    async fn list_connections(&self, tid: Tid) -> Result<Vec<Connection>, TargetsError>;

    async fn delete_connection(&self, tid: Tid, of: Connection) -> Result<(), TargetsError>;

    async fn delete_target(&self, tid: Tid) -> Result<Deleted, TargetsError>;

    /// Tells whenever the daemon has begun or ended; goes on until it is dropped. A daemon that
    /// was started again has forgotten everything, and guests wait for their targets.
    async fn follow(&self, changed: &Notify);
}

/// One connection of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    pub session: u64,
    pub connection: u32,
}

/// What became of the wish to delete a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone, and nothing it was told can land any more.
    Gone,
    /// It has sessions, or writes in flight.
    StillActive,
}

/// Why the target daemon did not do something.
#[derive(Debug, Error)]
pub enum TargetsError {
    #[error("the target daemon cannot be reached at {}", socket.display())]
    Unreachable { socket: PathBuf, source: io::Error },
    #[error("the target daemon did not answer {what} within {limit_ms} ms")]
    NoAnswer { what: String, limit_ms: u128 },
    #[error("the target daemon refused {what}: {reason}")]
    Refused { what: String, reason: &'static str },
    #[error("the target daemon's answer to {what} makes no sense: {why}")]
    Nonsense { what: String, why: String },
    #[error("the numbers of targets cannot be kept in {}", path.display())]
    Counter { path: PathBuf, source: io::Error },
    #[error("target {name} is not deleted after {waited_ms} ms")]
    FenceSlow { name: String, waited_ms: u128 },
    #[error("target number {tid} is {is} now, not {name}")]
    AnotherTarget { tid: Tid, name: String, is: String },
    #[error(transparent)]
    Injected(#[from] Injected),
}
