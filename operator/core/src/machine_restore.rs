//! Restores of machines: what stands beside a backup's volumes is read, each volume is restored into
//! one of its own, and the machine is built of them.
//!
//! ```text
//! wanted ─ valid ─▶ claimed ─▶ carried ─ host: read ─▶ design ─ it fits ─▶ volumes written down
//!        ─▶ a Restore for each ─ all done ─▶ VirtualMachine made ─▶ recorded ─▶ claim deleted
//! a volume is deleted meanwhile ─▶ Stopped, recorded ─▶ claim deleted
//! ```
//! The design is a function of the order and the manifest alone, and both are for ever: whoever
//! leads, and whatever was forgotten, it is the same machine of the same volumes.
//!
//! What always holds:
//! - Nothing is made before the host has read the manifest, and all of what the machine needs was
//!   there, and the quota had room for all of it.
//! - The machine is made when all of its volumes are whole: no guest is started on half of them.
//! - It takes nothing's place: a machine or a volume of the same name is never touched.
//! - One whose status tells how it ended is never begun again.
//!
//! Its Restores are its own: they go with it, and those that write stop then. What they have written
//! in full stays; what they have not is nobody's.

use std::collections::BTreeMap;

use dc_crds::{
    Backup, MachineClass, MachineRestore, Restore, StoragePool, Subnet, VirtualMachine, Volume,
};
use dc_types::claim::ManifestClaim;
use dc_types::plan::{Item, ItemBody, ItemKey, ItemKind, ManifestItem, RepositoryAccess};
use dc_types::report::Observation;
use dc_types::{ObjectRef, ObjectUid, RunId};

use crate::backup::RepositorySeen;
use crate::claims::{Claimed, Claims};
use crate::place::Presence;
use crate::quota::Allowance;
use crate::volume::Named;

pub mod design;
pub mod objects;
pub mod plan;
pub mod status;
#[cfg(test)]
mod tests;
pub mod validate;

pub use design::{Design, Given};
pub use plan::{Course, plan};
pub use status::status;

/// What was read for one restore of a machine.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub restore: &'a MachineRestore,
    pub me: &'a ObjectRef,
    /// The Backup that it names.
    pub backup: Option<&'a Backup>,
    pub repository: Option<RepositorySeen<'a>>,
    /// The pool that it names: its storage host reads when no Backup says who.
    pub pool: Option<&'a StoragePool>,
    /// The storage host, and what it says of the manifest.
    pub presence: Presence,
    pub said: Option<&'a Observation>,
    /// What of the design is there; `None` while that is not known.
    pub around: Option<Around<'a>>,
    pub allowance: Allowance<'a>,
    pub claims: &'a Claims,
}

/// What a design names and makes, as far as it is there, by name.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub system: Named,
    pub class: Option<&'a MachineClass>,
    pub pools: &'a BTreeMap<String, &'a StoragePool>,
    pub subnets: &'a BTreeMap<String, &'a Subnet>,
    pub volumes: &'a BTreeMap<String, &'a Volume>,
    pub restores: &'a BTreeMap<String, &'a Restore>,
    pub machine: Option<&'a VirtualMachine>,
}

#[must_use]
pub fn key(restore: ObjectUid) -> ItemKey {
    ItemKey::new(ItemKind::Manifest, restore.0)
}

/// The BackupRepository that it reads from, as far as that is known.
#[must_use]
pub fn repository<'a>(restore: &'a MachineRestore, backup: Option<&'a Backup>) -> Option<&'a str> {
    let named = restore.spec.snapshot.as_ref();
    let named = named.map(|snapshot| snapshot.repository.as_str());
    named.or_else(|| Some(backup?.spec.repository.as_str()))
}

/// The item on the storage host.
#[must_use]
pub fn item(claim: &Claimed<ManifestClaim>, access: &RepositoryAccess) -> Item {
    let ManifestClaim {
        owner,
        host: _,
        repository: _,
        snapshot_id,
    } = &claim.value;
    Item {
        key: key(owner.uid),
        epoch: claim.epoch,
        object: owner.clone(),
        body: ItemBody::Manifest(Box::new(ManifestItem {
            run: RunId(owner.uid.0),
            repository: access.clone(),
            backup: snapshot_id.clone(),
        })),
    }
}
