//! Deleting live connections from conntrack.

mod fake;
mod real;

use async_trait::async_trait;
use dc_agent_core::network::Place;
use dc_agent_core::network::firewall::department::Cuts;
use thiserror::Error;

use crate::enter::EnterError;
use crate::knobs::Injected;

pub use real::RealConntrack;

#[derive(Debug, Error)]
pub enum ConntrackError {
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error(transparent)]
    Injected(#[from] Injected),
}

#[async_trait]
pub trait Conntrack: Send + Sync {
    /// Deletes every connection that carries one of these marks, or has one of these addresses at
    /// either end. None found is as good.
    async fn cut(&self, place: &Place, cuts: &Cuts) -> Result<(), ConntrackError>;
}
