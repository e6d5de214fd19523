//! The host's own size.

mod fake;
mod real;

use async_trait::async_trait;
use dc_types::MiB;
use thiserror::Error;

pub use fake::FakeMachine;
pub use real::RealMachine;

/// How large a host is, and what is free of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineSize {
    pub vcpus: u32,
    pub memory: MiB,
    pub memory_available: MiB,
}

#[derive(Debug, Error)]
pub enum MachineError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: &'static str,
        source: std::io::Error,
    },
    #[error("{path} does not say {field}")]
    Field {
        path: &'static str,
        field: &'static str,
    },
    #[error(transparent)]
    Injected(#[from] crate::Injected),
}

#[async_trait]
pub trait Machine: Send + Sync {
    async fn size(&self) -> Result<MachineSize, MachineError>;
}
