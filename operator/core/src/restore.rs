//! Restores: a volume of a backup, written by a storage host into a new Volume, or over one that is
//! there ([`in_place`]).
//!
//! ```text
//! wanted ─ valid ─▶ its Volume made and claimed, for nobody ─▶ claimed ─▶ carried ─ host: done
//!        ─▶ the volume is its owner's, the claim says so ─▶ recorded ─▶ claim deleted
//! its volume deleted meanwhile ─▶ the run is stopped ─▶ Stopped, recorded ─▶ claim deleted
//! ```
//! What always holds:
//! - The Volume's claim says that its bytes are to come until the same transaction in which the claim
//!   of the restore says that they are there. No machine gets it before, none can take it, and no
//!   snapshot or copy is made of it.
//! - It is written once: a restore whose status tells how it ended is never begun again, and one that
//!   is done is the only one of its volume.
//! - The department's quota has room for the volume, as for any other.

use dc_crds::{Backup, Restore, VirtualMachine, Volume, VolumeSnapshot};
use dc_types::claim::{RestoreClaim, RestoreState};
use dc_types::plan::{Item, ItemBody, ItemKey, ItemKind, RepositoryAccess, RestoreItem};
use dc_types::report::Observation;
use dc_types::{Bytes, ObjectRef, ObjectUid, RunId};

use crate::backup::RepositorySeen;
use crate::claims::{Claimed, Claims};
use crate::place::Presence;
use crate::sight::Removal;
use crate::words::{BackupFact, Fact};

pub mod in_place;
pub mod plan;
pub mod status;
#[cfg(test)]
mod tests;
pub mod validate;

pub use plan::plan;
pub use status::status;

/// What was read for one restore.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub restore: &'a Restore,
    pub me: &'a ObjectRef,
    /// The Backup that it names.
    pub backup: Option<&'a Backup>,
    pub repository: Option<RepositorySeen<'a>>,
    /// The Volume of the name that it asks for, and what its storage host says of it.
    pub volume: Option<&'a Volume>,
    pub volume_said: Option<&'a Observation>,
    /// The machine that has it, and the snapshot of what was there before: of one in place.
    pub holder: Option<&'a VirtualMachine>,
    pub before: Option<&'a VolumeSnapshot>,
    /// The storage host, and what it says of the run.
    pub presence: Presence,
    pub said: Option<&'a Observation>,
    /// How far the release of the run is.
    pub removal: Removal,
    /// Whose repository it may read, and why it may not.
    pub source: Result<&'a str, &'a Fact>,
    /// Why the API server refused the Volume.
    pub refused: Option<&'a Fact>,
    pub claims: &'a Claims,
}

#[must_use]
pub fn key(restore: ObjectUid) -> ItemKey {
    ItemKey::new(ItemKind::Restore, restore.0)
}

/// The BackupRepository that it reads from, as far as that is known.
#[must_use]
pub fn repository<'a>(restore: &'a Restore, backup: Option<&'a Backup>) -> Option<&'a str> {
    let named = restore.spec.snapshot.as_ref();
    let named = named.map(|snapshot| snapshot.repository.as_str());
    named.or_else(|| Some(backup?.spec.repository.as_str()))
}

/// The department whose repository is read: the namespace's own. In the operator's namespace, where
/// none has one, trials name theirs.
pub fn source<'a>(
    restore: &'a Restore,
    me: &'a ObjectRef,
    operators: &str,
) -> Result<&'a str, Fact> {
    match &restore.spec.department {
        None => Ok(&me.namespace),
        Some(department) if me.namespace == operators => Ok(department),
        Some(department) => Err(Fact::Backup(BackupFact::OfAnother {
            department: department.clone(),
        })),
    }
}

/// The item on the storage host.
#[must_use]
pub fn item(
    claim: &Claimed<RestoreClaim>,
    access: &RepositoryAccess,
    limit: Option<Bytes>,
) -> Option<Item> {
    let RestoreClaim {
        owner,
        volume: _,
        place,
        pool,
        host: _,
        size,
        repository: _,
        snapshot_id,
        file,
        verify,
        state,
    } = &claim.value;
    (*state == RestoreState::Running).then(|| Item {
        key: key(owner.uid),
        epoch: claim.epoch,
        object: owner.clone(),
        body: ItemBody::Restore(Box::new(RestoreItem {
            run: RunId(owner.uid.0),
            repository: access.clone(),
            backup: snapshot_id.clone(),
            file: file.clone(),
            volume: *place,
            pool: pool.clone(),
            size: *size,
            verify: *verify,
            limit,
        })),
    })
}
