//! Disks that have grown while their guest runs.
//!
//! The storage grows first, and the plan's item has the new size only when it has: what QEMU is told
//! here is never more than what is there. A guest that was not told yet, whoever died in between, sees
//! less than the plan says, and is told at the next look. It never sees less than it did before.

use dc_types::Bytes;
use dc_types::plan::{DiskItem, VmItem};

use super::seen::{Domain, LiveDisk};
use super::step::Act;
use super::xml::disk::serial;

/// A disk that its guest sees too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown<'a> {
    pub disk: &'a DiskItem,
    live: &'a LiveDisk,
}

impl Grown<'_> {
    #[must_use]
    pub fn act(&self) -> Act {
        Act::Resize {
            device: self.live.device.clone(),
            size: self.disk.size,
        }
    }
}

/// The disks whose guest sees less than their storage has. One that is being copied elsewhere is told
/// when it is where it goes: QEMU changes no size under a copy.
pub fn grown_disks<'a>(
    vm: &'a VmItem,
    domain: &'a Domain,
) -> impl Iterator<Item = Grown<'a>> + use<'a> {
    vm.disks.iter().filter_map(|disk| {
        let live = domain.disks.get(&serial(disk))?;
        let sees_less = |size: Bytes| size < disk.size;
        let told = live.mirror.is_none() && live.size.is_some_and(sees_less);
        told.then_some(Grown { disk, live })
    })
}
