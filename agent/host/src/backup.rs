//! Runs of backups and restores: each a thread of its own, for hours, beside everything else.
//!
//! ```text
//! begin ─▶ thread: the pool's snapshots or volume ── repository ── turn ── archiver ─▶ written down
//!                                                                    │
//! end ─▶ stop ───────────────────────────────────────────────────────┴─▶ ended, and forgotten
//! ```
//!
//! [`Runs`] is the same on real and on simulated hosts: it puts drivers and archiver together. What
//! differs is where a repository is, [`Places`], and where it is written down which backups are done,
//! [`Notes`].
//!
//! What always holds: no run goes on twice at the same time, and none begins that is written down as
//! done. What was written down is there before anybody hears that the run has ended.

mod bytes;
mod fake;
mod gate;
mod notes;
mod places;
mod runs;
mod trouble;
mod work;

pub use bytes::{Snapshot, SnapshotSource, VolumeTarget, open_snapshot};
pub use fake::{FakePlaces, FakeRepositories};
pub use notes::Notes;
pub use places::{Places, RealPlaces};
pub use runs::Runs;
