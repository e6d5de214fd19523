//! What the daemon shows of a target.

use std::fmt;
use std::path::PathBuf;

use dc_types::plan::GrantItem;
use dc_types::{Epoch, InstanceId};
use serde::{Deserialize, Serialize};

/// The target daemon's number of a target; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tid(pub u32);

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One target of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSeen {
    pub tid: Tid,
    pub name: String,
    /// The file behind LUN 1.
    pub lun: Option<PathBuf>,
    pub accounts: Vec<String>,
    /// Initiator names and addresses that may log in.
    pub acl: Vec<String>,
    /// Initiator names that are logged in.
    pub sessions: Vec<String>,
}

impl TargetSeen {
    /// The volume and epoch of a target that we made; `None` for a foreign one.
    #[must_use]
    pub fn grant(&self) -> Option<(InstanceId, Epoch)> {
        // The name is made in one place only: what does not give the same name back is not ours.
        let (rest, epoch) = self.name.rsplit_once(':')?;
        let (_, volume) = rest.rsplit_once(':')?;
        let (volume, epoch) = (volume.parse().ok()?, epoch.parse().ok()?);
        (GrantItem::target_name(volume, epoch) == self.name).then_some((volume, epoch))
    }
}
