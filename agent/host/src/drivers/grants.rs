//! How the volumes of a folder are opened to those who may hold them: over iSCSI, or as files of the
//! same host. The other half of a folder's driver.

use std::path::Path;

use async_trait::async_trait;
use dc_agent_core::storage::{Expose, FenceProof, GrantSeen};
use dc_types::report::{Lack, PoolPlace};
use tokio::sync::Notify;

use super::DriverError;

/// The grants of one pool. What the calls keep to is in [`super::Driver`].
#[async_trait]
pub trait Grants: Send + Sync {
    async fn list(&self) -> Result<Vec<GrantSeen>, DriverError>;

    /// Opens `file` as ordered. The volume's record holds the epoch open.
    async fn open(&self, order: &Expose, file: &Path) -> Result<(), DriverError>;

    async fn close(&self, grant: &GrantSeen) -> Result<FenceProof, DriverError>;

    async fn follow(&self, changed: &Notify);

    fn place(&self) -> PoolPlace;

    /// What cannot be done because of how volumes are opened.
    fn lacks(&self) -> Vec<Lack>;
}
