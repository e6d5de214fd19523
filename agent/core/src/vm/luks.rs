//! Encrypted disks: when they can be opened, and the making of their LUKS header.
//!
//! ```text
//!  never formatted ─ Format ─▶ running ─▶ done, told ─ the plan knows it ─▶ openable
//!        ▲                       │
//!        └── failed, cut off ────┘
//! ```
//!
//! What always holds: a machine is started with an encrypted disk, or given one, only when the plan
//! says that it is formatted and the key is here; one that the plan calls formatted is never formatted.
//! What was done of a header is seen on the volume alone: its first bytes are written last, so that it
//! has a header, whole and with all zeros behind it, or has none.
//!
//! The key is in memory alone. A host that was rebooted waits until an operator gives it anew.

use std::collections::BTreeMap;

use dc_types::plan::{DiskItem, DiskSource, Formatted, Luks, Secret, VmItem};
use dc_types::report::{ItemState, Trouble};
use dc_types::{Bytes, Epoch, InstanceId};

use super::seen::{Domain, Seen};
use super::step::Act;
use super::validate::trouble;
use super::xml::disk::serial;

/// How often a header that is being made is looked at.
const LOOK_EVERY_S: i64 = 2;
/// Of a key in hexadecimal.
const KEY_DIGITS: usize = 64;

/// A volume to be formatted, as its machine opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatOrder {
    pub vm: InstanceId,
    /// The disk's name in the object, for messages.
    pub name: String,
    /// The id under which the storage has the volume, and the grant it is opened by.
    pub place: InstanceId,
    pub grant: Epoch,
    pub initiator: String,
    pub source: DiskSource,
    /// 64 hexadecimal digits.
    pub key: Secret,
    /// What the guest is to see; all of it is to read as zeros.
    pub payload: Bytes,
}

/// The formatting of one volume, by its place and grant.
pub type Formats = BTreeMap<(InstanceId, Epoch), Formatting>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formatting {
    pub vm: InstanceId,
    pub stage: FormatStage,
}

/// One that has failed is not among them: the next step that asks for it is told why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatStage {
    Running { percent: u32 },
    Done,
}

/// Whether QEMU may open a disk.
#[must_use]
pub fn is_openable(disk: &DiskItem) -> bool {
    disk.luks
        .as_ref()
        .is_none_or(|luks| luks.key.is_some() && luks.formatted == Formatted::Done)
}

/// What of an encrypted disk cannot be carried out, whatever happens.
pub fn check(disk: &DiskItem) -> Result<(), String> {
    let Some(Luks { key, formatted: _ }) = &disk.luks else {
        return Ok(());
    };
    let name = &disk.name;
    if disk.mirror.is_some() {
        return Err(format!(
            "disk {name} is encrypted and is to be moved, which this agent cannot do: take the move \
             back"
        ));
    }
    let is_key = |key: &Secret| {
        key.0.len() == KEY_DIGITS && key.0.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    match key.as_ref().is_none_or(is_key) {
        true => Ok(()),
        false => Err(format!(
            "the key of disk {name} is not 64 hexadecimal digits: report this fault of the operator"
        )),
    }
}

/// Or what the first disk that cannot be opened waits for.
pub fn may_open(vm: &VmItem, seen: &Seen) -> Result<(), Trouble> {
    let mut waits = vm.disks.iter().filter_map(|disk| waits_for(disk, seen));
    waits.next().map_or(Ok(()), Err)
}

/// The same of a running machine: of disks that it does not have yet.
#[must_use]
pub fn told(vm: &VmItem, domain: &Domain, seen: &Seen) -> Option<ItemState> {
    let mut others = vm.disks.iter().skip(1);
    let waits = others.find_map(|disk| match domain.disks.contains_key(&serial(disk)) {
        true => None,
        false => waits_for(disk, seen),
    })?;
    Some(ItemState::Pending(waits))
}

fn waits_for(disk: &DiskItem, seen: &Seen) -> Option<Trouble> {
    let Luks { key, formatted } = disk.luks.as_ref()?;
    let name = &disk.name;
    if key.is_none() {
        return Some(trouble(
            "KeyAwaited",
            format!(
                "disk {name} is encrypted, and its key is not on this host: it is kept in memory \
                 alone, and comes with the operator; see that one is connected and has the master key"
            ),
        ));
    }
    if *formatted == Formatted::Done {
        return None;
    }
    let at = seen.formats.get(&(disk.place(), disk.grant));
    let how = match at.map(|at| at.stage) {
        Some(FormatStage::Done) => "which is done; it waits for that to be written down".to_owned(),
        Some(FormatStage::Running { percent }) => format!("{percent}% of it is done"),
        None => "which is about to begin".to_owned(),
    };
    Some(trouble(
        "Formatting",
        format!("disk {name} is encrypted and is being formatted, {how}"),
    ))
}

/// What is to be begun, and what is not asked for any more.
#[must_use]
pub fn acts(vm: &VmItem, seen: &Seen) -> Vec<Act> {
    let asked = |at: &(InstanceId, Epoch)| {
        let mut disks = vm.disks.iter().filter(|disk| is_unformatted(disk));
        disks.any(|disk| (disk.place(), disk.grant) == *at)
    };
    let stale = formats_of(vm.vm, seen).filter(|at| !asked(at));
    let stale = stale.map(|(place, grant)| Act::StopFormat { place, grant });
    let new = vm.disks.iter().filter_map(|disk| order(vm.vm, disk));
    let new = new.filter(|order| !seen.formats.contains_key(&(order.place, order.grant)));
    stale
        .chain(new.map(|order| Act::Format(Box::new(order))))
        .collect()
}

fn is_unformatted(disk: &DiskItem) -> bool {
    let luks = disk.luks.as_ref();
    luks.is_some_and(|luks| luks.formatted == Formatted::Never)
}

fn order(vm: InstanceId, disk: &DiskItem) -> Option<FormatOrder> {
    let key = disk.luks.as_ref()?.key.clone()?;
    is_unformatted(disk).then(|| FormatOrder {
        vm,
        name: disk.name.clone(),
        place: disk.place(),
        grant: disk.grant,
        initiator: disk.initiator.clone(),
        source: disk.source.clone(),
        key,
        payload: disk.size,
    })
}

/// All that is known of a machine's volumes, by place and grant.
pub fn formats_of(vm: InstanceId, seen: &Seen) -> impl Iterator<Item = (InstanceId, Epoch)> {
    let formats = seen.formats.iter();
    let of_vm = formats.filter(move |(_, formatting)| formatting.vm == vm);
    of_vm.map(|(at, _)| *at)
}

/// The volumes that have their header, and of which the plan does not know it.
#[must_use]
pub fn formatted(vm: &VmItem, seen: &Seen) -> Vec<InstanceId> {
    let is_done = |disk: &&DiskItem| {
        let at = seen.formats.get(&(disk.place(), disk.grant));
        is_unformatted(disk) && at.is_some_and(|at| at.stage == FormatStage::Done)
    };
    let disks = vm.disks.iter().filter(is_done);
    disks.map(|disk| disk.volume).collect()
}

/// In how many seconds to look whether a header is made.
#[must_use]
pub fn next_look(vm: InstanceId, seen: &Seen) -> Option<i64> {
    let running = |of: &Formatting| of.vm == vm && matches!(of.stage, FormatStage::Running { .. });
    seen.formats.values().any(running).then_some(LOOK_EVERY_S)
}
