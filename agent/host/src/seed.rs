//! What a machine has on this host's disk: its cloud-init seed, UEFI variables, console log, and
//! the agent's record of it.
//!
//! What always holds: a file is whole or not there (written aside, synced, renamed); a seed, which
//! holds secrets, is readable by root and whom libvirt gives it to alone; every name is made of a
//! machine's id.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use async_trait::async_trait;
use dc_agent_core::vm::Record;
use dc_agent_core::vm::seed::Seed;
use dc_types::InstanceId;
use thiserror::Error;

use crate::knobs::Injected;

mod fake;
mod image;
mod real;

pub use fake::FakeSeeds;
pub use image::{ImageError, seed_image};
pub use real::SeedFolder;

#[derive(Debug, Error)]
pub enum SeedError {
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot make the seed of {vm}")]
    Image { vm: InstanceId, source: ImageError },
    #[error(transparent)]
    Injected(#[from] Injected),
}

impl SeedError {
    /// The fact for a status, in PascalCase, from a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "HostDisk",
            Self::Image { .. } => "SeedInvalid",
            Self::Injected(_) => "Injected",
        }
    }
}

#[async_trait]
pub trait Seeds: Send + Sync {
    /// Machines that have any file but a record here.
    async fn machines(&self) -> Result<BTreeSet<InstanceId>, SeedError>;

    /// Writes the seed image in place of the one there. The machine must be off.
    async fn write_seed(&self, vm: InstanceId, seed: &Seed) -> Result<(), SeedError>;

    /// Removes seed, UEFI variables and console log.
    async fn remove_files(&self, vm: InstanceId) -> Result<(), SeedError>;

    /// Whether the machine's serial console has shown a text, in its last 4 MiB.
    async fn console_shows(&self, vm: InstanceId, text: &str) -> Result<bool, SeedError>;

    /// All records that can be read. One that cannot counts as lost: history, not guests.
    async fn records(&self) -> Result<BTreeMap<InstanceId, Record>, SeedError>;

    async fn write_record(&self, vm: InstanceId, record: &Record) -> Result<(), SeedError>;

    async fn remove_record(&self, vm: InstanceId) -> Result<(), SeedError>;
}
