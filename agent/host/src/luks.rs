//! LUKS headers of encrypted volumes, made by the machine's host.
//!
//! The volume is written over its own protocol, under the grant of its machine, so that a host whose
//! grant was taken away writes nothing any more. The first 4 KiB are written last: before that the
//! volume is none of LUKS, and is begun anew with another header; after that it is whole, opens with
//! its key, and is never written again. So what was done can be read from the volume alone, whatever a
//! plan or a ledger says.
//!
//! What always holds: a volume whose first 4 KiB are neither zeros nor a header that opens with the key
//! is left alone. The key is in no argument, and in no file of any file system.

use async_trait::async_trait;
use dc_agent_core::vm::luks::{FormatOrder, Formats};
use dc_types::{Bytes, Epoch, InstanceId};
use thiserror::Error;

use crate::knobs::Injected;

mod fake;
mod memory;
mod real;
mod target;
mod work;

pub use fake::FakeFormatter;
pub use real::QemuFormatter;

#[derive(Debug, Error)]
pub enum LuksError {
    #[error("disk {disk}: {program} cannot be started; is qemu-utils installed?")]
    NoProgram {
        disk: String,
        program: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("disk {disk}: {what}: {said}")]
    Program {
        disk: String,
        what: &'static str,
        said: String,
    },
    #[error("disk {disk}: no memory for its header")]
    Memory {
        disk: String,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "disk {disk}: its volume has a LUKS header that does not open with its key ({said}); nothing \
         was written. Somebody else has formatted it, or its key is another one: find out which before \
         the volume is deleted"
    )]
    OtherKey { disk: String, said: String },
    #[error(
        "disk {disk}: its volume was never formatted, and does not begin with zeros; nothing was \
         written. Find out what is there before the volume is deleted"
    )]
    NotBlank { disk: String },
    #[error(
        "disk {disk}: its volume has {has}, and {needs} are needed with the header: report this fault \
         of the operator"
    )]
    TooSmall {
        disk: String,
        has: Bytes,
        needs: Bytes,
    },
    #[error(
        "disk {disk}: a header of {has} was made, where {expected} are known: report the version of QEMU"
    )]
    OtherHeader {
        disk: String,
        has: Bytes,
        expected: Bytes,
    },
    #[error("its formatting was ended")]
    Stopped,
    #[error(transparent)]
    Injected(#[from] Injected),
}

impl LuksError {
    /// The fact for a status, in PascalCase, from a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoProgram { .. } | Self::Program { .. } | Self::Memory { .. } => "FormatFailed",
            Self::OtherHeader { .. } | Self::TooSmall { .. } => "FormatFailed",
            Self::OtherKey { .. } => "KeyDoesNotOpen",
            Self::NotBlank { .. } => "VolumeNotBlank",
            Self::Stopped => "FormatStopped",
            Self::Injected(_) => "Injected",
        }
    }
}

#[async_trait]
pub trait Formatter: Send + Sync {
    /// What is under way, and what has been done since the agent started. What has failed is not
    /// there.
    async fn formats(&self) -> Result<Formats, LuksError>;

    /// Begins in the background. One that is under way or done is no error; one that has failed is
    /// told once, and is begun by the next call.
    async fn format(&self, order: &FormatOrder) -> Result<(), LuksError>;

    /// Ends it, and forgets what has become of it. When it returns its program is killed; what that has
    /// sent already may still arrive, until the storage fences the grant.
    async fn stop(&self, place: InstanceId, grant: Epoch) -> Result<(), LuksError>;
}
