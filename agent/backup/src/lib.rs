//! The archiver: it writes what volumes hold into a repository of restic's published format,
//! version 2, and reads it back. Whoever has the password and stock restic needs nothing else.
//!
//! ```text
//! Source ── plan: which blocks ── readers: hash, compress, encrypt ── packs ── index ── snapshot
//!           (pure; plan.rs)       (archive/pipeline.rs)               (pack.rs)  (archive.rs)
//! ```
//!
//! What always holds:
//! - What is written is never changed, and nothing is deleted on the way of a backup but locks, and
//!   in a folder what a dead writer has left unfinished: an append-only server will do.
//! - A pack is there before the index names it, and the index before the snapshot does. Cut off
//!   anywhere, the repository is sound, and the next run goes on with what the index knows.
//! - A block that is kept from the backup before is one that the repository still has. Whatever is
//!   in doubt is read.
//! - Others' locks are respected, and ours is gone at the end, however it ends.
//!
//! Opening, listing, checking, forgetting, pruning, copying and restoring is left to `rustic_core`
//! ([`Repository`]); that the volumes are read by their changed extents alone is this crate's own
//! (`docs/adr/0017-backup-format.md` says why).
//!
//! All of it blocks: call it from a thread of its own, never from an asynchronous task.

pub mod archive;
mod backend;
pub mod blocks;
mod check;
mod cipher;
mod control;
mod error;
pub mod lock;
pub mod manifest;
mod pack;
pub mod plan;
mod repository;
pub mod source;
pub mod store;
pub mod target;
mod verify;

pub use check::Finding;
pub use control::Control;
pub use error::BackupError;
pub use repository::{Access, Password, Repository};
/// Under which name a file or blob of a repository is kept: the SHA-256 of its content.
pub use rustic_core::Id;
/// A backup, as the repository describes it.
pub use rustic_core::repofile::{SnapshotFile, SnapshotId};
