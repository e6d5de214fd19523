//! Backups and restores as a host does them: runs that take hours, beside everything else.
//!
//! ```text
//! item ─ sensible? ─ its snapshots, or its volume, ready? ─ room for its repository? ─▶ Begin
//!                        ▲ it failed: once its pause is over                            │
//!                        └──────────────────────────────────────────────────────────────┤
//! release ─▶ End: stopped, and nothing of it runs any more                              ▼
//!                                                          done: written down, never done again
//! ```
//!
//! A run is no step: a step begins it, and a step ends it. Whatever runs, and whatever has ended
//! well, is seen.
//!
//! What always holds:
//! - A run that is done is not begun again, whatever was forgotten: of a backup the host keeps an
//!   answer, and the backup itself bears the run's id; of a restore it is written beside the volume.
//! - What is not known is not begun.
//! - A repository that is out of reach holds up its own runs alone.

mod judge;
pub mod plan;
pub mod seen;
pub mod status;
pub mod step;
mod trouble;
mod validate;

pub use plan::{PER_REPOSITORY, pause, plan};
pub use seen::{Phase, RunSeen, RunState, Seen};
pub use status::{next_look, status};
pub use step::{Order, Step};
pub use trouble::{BackupTrouble, Cause};

#[cfg(test)]
mod tests;
