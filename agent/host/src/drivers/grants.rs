//! How the volumes of a folder are opened to those who may hold them: over iSCSI, or as files of the
//! same host. The other half of a folder's driver.

use std::path::Path;

use async_trait::async_trait;
use dc_agent_core::storage::{Expose, FenceProof, GrantSeen};
use dc_types::report::{Lack, PoolPlace};
use tokio::sync::Notify;

use super::DriverError;

/// The grant of the order's epoch among those that are there; one of another epoch is in the way.
pub fn find_own<'a>(
    order: &Expose,
    listed: &'a [GrantSeen],
) -> Result<Option<&'a GrantSeen>, DriverError> {
    let of = || listed.iter().filter(|grant| grant.volume == order.volume);
    match of().find(|grant| grant.epoch != order.epoch) {
        None => Ok(of().next()),
        Some(other) => Err(DriverError::InUse {
            what: format!("volume {}", order.volume),
            by: format!("the grant of epoch {}", other.epoch),
        }),
    }
}

/// The grants of one pool. What the calls keep to is in [`super::Driver`].
#[async_trait]
pub trait Grants: Send + Sync {
    async fn list(&self) -> Result<Vec<GrantSeen>, DriverError>;

    /// Opens `file` as ordered. The volume's record holds the epoch open, and no grant of another
    /// epoch is there; `there` is the one of this epoch, when it was listed.
    async fn open(
        &self,
        order: &Expose,
        file: &Path,
        there: Option<&GrantSeen>,
    ) -> Result<(), DriverError>;

    async fn close(&self, grant: &GrantSeen) -> Result<FenceProof, DriverError>;

    async fn follow(&self, changed: &Notify);

    fn place(&self) -> PoolPlace;

    /// What cannot be done because of how volumes are opened.
    fn lacks(&self) -> Vec<Lack>;
}
