//! How the volumes of a folder are opened to those who may hold them: over iSCSI, or as files of the
//! same host. The other half of a folder's driver.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use dc_agent_core::storage::{Expose, FenceProof, GrantSeen};
use dc_types::InstanceId;
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

/// When whoever opens a volume through a grant is told how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizing {
    /// As large as it was when the grant was made, until the grant is made anew.
    AtGrant,
    /// As large as it is, whenever it is asked.
    Live,
}

/// The handles of a volume's grants that will not show its growth.
pub async fn list_outgrown(
    grants: &dyn Grants,
    volume: InstanceId,
) -> Result<BTreeSet<String>, DriverError> {
    match grants.sizing() {
        Sizing::Live => Ok(BTreeSet::new()),
        Sizing::AtGrant => {
            let listed = grants.list().await?.into_iter();
            let of = listed.filter(|grant| grant.volume == volume);
            Ok(of.map(|grant| grant.handle).collect())
        }
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

    fn sizing(&self) -> Sizing;

    /// What cannot be done because of how volumes are opened.
    fn lacks(&self) -> Vec<Lack>;
}
