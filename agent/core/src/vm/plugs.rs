//! Disks that come to a running guest, and go.
//!
//! ```text
//!  asked for, not there ─ Adopt (its grant noted) ─ Plug ─▶ there
//!  there, not asked for ─ Note Unplug, again and again ─▶ let go of ─ Adopt (without its grant) ─▶ nothing left
//! ```
//!
//! What always holds: a grant is noted in the domain's metadata before its disk is attached, and is
//! taken out when the disk is gone from QEMU, never before. Until that is done the machine is not as
//! asked: this alone keeps the operator from giving the grant to another. The disk that the machine
//! was started from neither comes nor goes while it runs.
//!
//! Not decided here: whether the guest runs and nothing holds, switches or stops it. Only then this is
//! asked.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::plan::{DiskItem, VmItem};
use dc_types::report::{ItemState, Trouble};
use dc_types::{Epoch, InstanceId};
use serde::{Deserialize, Serialize};

use super::luks::is_openable;
use super::moves::went_over;
use super::record::Record;
use super::seen::{CopyStage, Domain, LiveDisk, Seen};
use super::step::{Act, NewDisk};
use super::validate::trouble;
use super::xml::disk::{
    FIRST_DEVICE, is_of_volume, render_disk, serial, serial_of, source_hosts, source_name,
    target_name,
};
use super::xml::secret::{key_uuid, render_secrets, secret_uuid};

/// A guest that was still booting has lost the first request. Not more often: to PCI Express a second
/// one within five seconds takes the first back.
const ASK_EVERY_S: i64 = 10;
/// A guest that listens lets go of a disk in a second or two.
const HELD_AFTER_S: i64 = 30;
const LOOK_EVERY_S: i64 = 2;
/// A guest may keep a disk for days.
const LOOK_AT_HELD_EVERY_S: i64 = 10;
/// `vda` to `vdz`.
const LETTERS: usize = 26;

/// The reasons under which this is told.
const PLUGS: &str = "DiskPlugs";
const HELD: &str = "DiskHeld";

/// When a guest was asked to let go of a disk, seconds since 1970. Part of its [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unplugging {
    pub since: i64,
    /// The last time.
    pub asked: i64,
}

/// How the disks that are asked for differ from those that QEMU has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugs<'a> {
    /// To be attached, each with the index of its device's name.
    coming: Vec<(&'a DiskItem, usize)>,
    /// The same, and the machine has no port for them.
    unserved: Vec<&'a DiskItem>,
    /// Not asked for, by serial.
    leaving: BTreeMap<&'a str, &'a LiveDisk>,
    /// Granted once, neither asked for nor there.
    gone: Vec<(InstanceId, Epoch)>,
    /// Whether it is known what QEMU has.
    known: bool,
}

#[must_use]
pub fn compare<'a>(vm: &'a VmItem, domain: &'a Domain) -> Plugs<'a> {
    let asked: BTreeSet<String> = vm.disks.iter().map(serial).collect();
    let live = &domain.disks;
    // Every machine has the disk that it was started from: without it nothing could be read.
    let known = live.values().any(|disk| disk.device == FIRST_DEVICE);
    let leaving = live
        .iter()
        .filter(|(serial, disk)| {
            disk.device != FIRST_DEVICE && is_of_volume(serial) && !asked.contains(*serial)
        })
        .map(|(serial, disk)| (serial.as_str(), disk))
        .collect();
    let grants = domain.metadata.grants.iter();
    let gone = grants
        .filter(|(volume, _)| {
            let serial = serial_of(**volume);
            !asked.contains(&serial) && !live.contains_key(&serial)
        })
        .map(|(volume, epoch)| (*volume, *epoch))
        .collect();
    let (coming, unserved) = match known {
        true => missing(vm, domain),
        false => Default::default(),
    };
    Plugs {
        coming,
        unserved,
        leaving,
        gone,
        known,
    }
}

/// What is asked for and not there, as far as there are ports and names, and what is left over.
fn missing<'a>(vm: &'a VmItem, domain: &Domain) -> (Vec<(&'a DiskItem, usize)>, Vec<&'a DiskItem>) {
    let taken: BTreeSet<&str> = domain.disks.values().map(|d| d.device.as_str()).collect();
    let free = |index: &usize| !taken.contains(target_name(*index).as_str());
    let ports = domain.free_slots.unwrap_or(LETTERS);
    let mut places = (1..LETTERS).filter(free).take(ports);
    let (mut coming, mut unserved) = (Vec::new(), Vec::new());
    let others = vm.disks.iter().skip(1);
    let others = others.filter(|disk| is_openable(disk));
    for disk in others.filter(|disk| !domain.disks.contains_key(&serial(disk))) {
        match places.next() {
            Some(index) => coming.push((disk, index)),
            None => unserved.push(disk),
        }
    }
    (coming, unserved)
}

/// Whether QEMU may have a disk open: it shows it, or does not say what it has.
#[must_use]
pub fn may_have(domain: &Domain, disk: &DiskItem) -> bool {
    domain.disks.is_empty() || domain.disks.contains_key(&serial(disk))
}

/// Whether a disk after the first is opened elsewhere than is asked, as at another address of its
/// storage: that changes at the next start.
#[must_use]
pub fn opens_otherwise(vm: &VmItem, domain: &Domain) -> bool {
    let otherwise = |disk: &DiskItem, live: &LiveDisk| {
        live.source != source_name(disk) || live.hosts != source_hosts(disk)
    };
    let others = vm.disks.iter().skip(1);
    others
        .filter_map(|disk| Some((disk, domain.disks.get(&serial(disk))?)))
        .any(|(disk, live)| otherwise(disk, live))
}

/// The record after what is seen of the domain: a request counts for as long as the disk is to go.
pub fn settle(record: &mut Record, vm: &VmItem, domain: Option<&Domain>) {
    if record.unplugs.is_empty() {
        return;
    }
    let active = domain.filter(|domain| domain.power.is_active());
    let plugs = active.map(|domain| compare(vm, domain));
    record.unplugs.retain(|serial, _| {
        let plugs = plugs.as_ref();
        plugs.is_some_and(|plugs| !plugs.known || plugs.leaving.contains_key(serial.as_str()))
    });
}

/// Whether disks may come and go: a guest that is held, or not let go of yet, keeps what it has.
#[must_use]
pub fn may_change(record: &Record) -> bool {
    record.hold.is_none_or(|hold| hold.is_over())
}

impl Plugs<'_> {
    /// The grants of what the domain has open or may open next. Taken from what it had: what is not
    /// in the plan any more stays until it is gone.
    #[must_use]
    pub fn grants(
        &self,
        vm: &VmItem,
        record: &Record,
        domain: &Domain,
    ) -> BTreeMap<InstanceId, Epoch> {
        let mut grants = domain.metadata.grants.clone();
        let opened = |disk: &DiskItem| {
            let live = domain.disks.get(&serial(disk));
            live.is_some_and(|live| live.source == source_name(disk))
        };
        let has = vm.disks.iter();
        let has = has.filter(|disk| went_over(record, disk) || opened(disk));
        grants.extend(has.map(|disk| (disk.volume, disk.grant)));
        if !self.known || !may_change(record) {
            return grants;
        }
        for (volume, _) in &self.gone {
            grants.remove(volume);
        }
        grants.extend(
            self.coming
                .iter()
                .map(|(disk, _)| (disk.volume, disk.grant)),
        );
        grants
    }

    /// The logins of what is gone. They are taken away before its grant is: until then they can be
    /// found. A disk that was moved has another; that one stays until the machine is off.
    pub fn forget_logins<'a>(&'a self, seen: &'a Seen) -> impl Iterator<Item = Act> + use<'a> {
        let of = |(volume, epoch): &(InstanceId, Epoch)| {
            [secret_uuid(*volume, *epoch), key_uuid(*volume, *epoch)]
        };
        let secrets = self.gone.iter().flat_map(of).filter(|_| self.known);
        secrets
            .filter(|uuid| seen.secrets.contains_key(uuid))
            .map(Act::RemoveSecret)
    }

    /// Who is asked to let go, and what is attached. Last of what is done for a machine: a storage
    /// that has not granted a disk yet refuses it, and nothing else waits for that.
    #[must_use]
    pub fn acts(&self, vm: &VmItem, record: &mut Record, now: i64) -> Vec<Act> {
        if !self.known || !may_change(record) {
            return Vec::new();
        }
        let mut acts = self.unplug(record, now);
        let new = |(disk, index): &(&DiskItem, usize)| NewDisk {
            name: disk.name.clone(),
            secrets: render_secrets(vm.vm, disk),
            xml: render_disk(disk, *index).render(),
        };
        if !self.coming.is_empty() {
            acts.push(Act::Plug(self.coming.iter().map(new).collect()));
        }
        acts
    }

    /// A copy is ended first: QEMU lets go of no disk that it copies.
    fn unplug(&self, record: &mut Record, now: i64) -> Vec<Act> {
        let (mut ends, mut asks) = (Vec::new(), Vec::new());
        for (serial, disk) in &self.leaving {
            let device = disk.device.clone();
            match disk.mirror.as_ref().map(|copy| copy.stage) {
                Some(CopyStage::Copying | CopyStage::Ready) => ends.push(Act::EndCopy { device }),
                Some(CopyStage::GoingOver | CopyStage::Ending) => (),
                None if is_due(record.unplugs.get(*serial), now) => {
                    let old = record.unplugs.get(*serial);
                    let since = old.map_or(now, |of| of.since);
                    let asked = Unplugging { since, asked: now };
                    record.unplugs.insert((*serial).to_owned(), asked);
                    asks.push(Act::Unplug { device });
                }
                None => (),
            }
        }
        let note = (!asks.is_empty()).then(|| Act::Note(record.clone()));
        ends.into_iter().chain(note).chain(asks).collect()
    }

    /// In how many seconds to look whether a guest has let go.
    #[must_use]
    pub fn next_look(&self, record: &Record, now: i64) -> Option<i64> {
        let pause = |serial: &&str| match is_held(record.unplugs.get(*serial), now) {
            true => LOOK_AT_HELD_EVERY_S,
            false => LOOK_EVERY_S,
        };
        self.leaving.keys().map(pause).min()
    }

    /// What keeps the machine from being as asked.
    #[must_use]
    pub fn told(&self, record: &Record, now: i64) -> Option<ItemState> {
        let leaving = self.leaving.iter();
        let mut held = leaving.filter(|(serial, _)| is_held(record.unplugs.get(**serial), now));
        if let Some((serial, disk)) = held.next() {
            return Some(ItemState::Failed(trouble(
                HELD,
                format!(
                    "the guest does not let go of a disk that was taken off, device {} of the \
                     domain: in the guest, stop using /dev/disk/by-id/virtio-{serial}, or restart \
                     the machine; its volume stays the machine's until then",
                    disk.device
                ),
            )));
        }
        let message = if let Some((disk, _)) = self.coming.first() {
            format!("disk {} is being attached to the running guest", disk.name)
        } else if let Some(disk) = self.leaving.values().next() {
            let device = &disk.device;
            format!("the guest was asked to let go of a disk that was taken off, device {device}")
        } else if let Some((volume, _)) = self.gone.first() {
            format!("volume {volume} was taken off, and that is being written down")
        } else {
            return None;
        };
        Some(ItemState::Pending(trouble(PLUGS, message)))
    }

    /// A disk that only a restart brings.
    #[must_use]
    pub fn told_unserved(&self) -> Option<ItemState> {
        let disk = self.unserved.first()?;
        Some(ItemState::Pending(trouble(
            "RestartNeeded",
            format!(
                "disk {} is attached at the next start: the running machine has no free port for \
                 it; write another restart text to have it now",
                disk.name
            ),
        )))
    }
}

/// What a step ran into beside what is told here: the reason stays, so that a storage which has not
/// granted a disk yet does not make a running machine look broken.
#[must_use]
pub fn with_trouble(state: &ItemState, met: &Trouble) -> Option<ItemState> {
    let add = |told: &Trouble| {
        let is_ours = [PLUGS, HELD].contains(&told.reason.as_str());
        is_ours.then(|| trouble(&told.reason, format!("{}; {}", told.message, met.message)))
    };
    match state {
        ItemState::Ready => None,
        ItemState::Pending(told) => add(told).map(ItemState::Pending),
        ItemState::Failed(told) => add(told).map(ItemState::Failed),
    }
}

/// A clock that was set back asks again.
fn is_due(before: Option<&Unplugging>, now: i64) -> bool {
    before.is_none_or(|of| !(0..ASK_EVERY_S).contains(&(now - of.asked)))
}

fn is_held(asked: Option<&Unplugging>, now: i64) -> bool {
    asked.is_some_and(|of| now - of.since >= HELD_AFTER_S)
}
