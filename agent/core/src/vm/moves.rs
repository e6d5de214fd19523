//! Moving a disk's bytes to another place while its guest runs.
//!
//! ```text
//!  a mirror is asked for                  Switch is ordered
//!  ─ Note Copy ─▶ copying ─▶ ready ─ Note Pause ─▶ halted ─ Pivot ─▶ halted, on the new place
//!       ▲            │         │                                        │ Note Resume
//!       └─ breaks off, later ──┘   no longer asked for: EndCopy         ▼
//!                                                                    switched
//! ```
//!
//! What always holds: the guest writes to one place alone, the copy to the other is QEMU's. It is
//! halted from before it goes over until that is written down. A host that dies before has both
//! places alike and starts from the old one; one that dies after starts from the new one, whatever
//! the plan says by then. It is told as switched only once that is so.
//!
//! Not decided here: when to switch, and what becomes of the old place. Both are the operator's.

use std::borrow::Cow;

use dc_types::plan::{DiskItem, Mirror, MirrorOrder, VmItem};
use dc_types::report::{MoveSeen, MoveState, Trouble};
use dc_types::{Epoch, InstanceId};
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::seen::{CopyStage, Domain, LiveDisk, LiveMirror, Paused, Power};
use super::step::Act;
use super::validate::trouble;
use super::xml::disk::{render_copy, serial, source_name};
use super::xml::secret::render_secret;

/// A copy that broke off is begun again after so many seconds, and so many more each time.
const AGAIN_AFTER_S: i64 = 30;
/// At most.
const AGAIN_MAX_S: i64 = 600;
/// How often a copy is looked at.
pub const LOOK_EVERY_S: i64 = 5;

/// What is remembered of a move of one disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRecord {
    pub place: InstanceId,
    pub grant: Epoch,
    /// How often the copy was begun, and when last.
    pub tries: u32,
    pub begun_at: i64,
    pub stage: MoveStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MoveStage {
    Copying,
    /// The guest is being halted, and goes over.
    Switching,
    /// It has gone over: its bytes are in the new place alone.
    Switched,
}

/// What a switch asks for before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch {
    Pause,
    Pivot {
        device: String,
    },
    /// QEMU is going over: the guest stands still until it has said whether it did.
    Wait,
    /// Nothing is left to go over: the guest runs on.
    LetGo,
}

/// The machine with each disk opened where its bytes are.
#[must_use]
pub fn effective<'a>(asked: &'a VmItem, record: Option<&Record>) -> Cow<'a, VmItem> {
    let Some(record) = record.filter(|record| !record.moves.is_empty()) else {
        return Cow::Borrowed(asked);
    };
    let disk = |disk: &DiskItem| match has_switched(record, disk) {
        true => disk.switched().unwrap_or_else(|| disk.clone()),
        false => disk.clone(),
    };
    Cow::Owned(VmItem {
        disks: asked.disks.iter().map(disk).collect(),
        ..asked.clone()
    })
}

/// Whether a disk that has a mirror in the plan is written to there already.
#[must_use]
pub fn has_switched(record: &Record, disk: &DiskItem) -> bool {
    let (Some(mirror), Some(of)) = (&disk.mirror, record.moves.get(&disk.volume)) else {
        return false;
    };
    of.stage == MoveStage::Switched && of.place == mirror.place
}

/// Whether a running disk goes by this grant because it was switched to it, not started with it.
#[must_use]
pub fn went_over(record: &Record, disk: &DiskItem) -> bool {
    record.moves.get(&disk.volume).is_some_and(|of| {
        of.stage == MoveStage::Switched && (of.place, of.grant) == (disk.place(), disk.grant)
    })
}

/// The name under which QEMU has the second place.
fn name_of(disk: &DiskItem) -> Option<String> {
    disk.switched().as_ref().map(source_name)
}

fn live<'a>(domain: &'a Domain, disk: &DiskItem) -> Option<&'a LiveDisk> {
    domain.disks.get(&serial(disk))
}

/// The job that copies a disk to its mirror, if it is there.
fn job<'a>(domain: &'a Domain, disk: &DiskItem) -> Option<(&'a LiveDisk, &'a LiveMirror)> {
    let live = live(domain, disk)?;
    let job = live.mirror.as_ref()?;
    (Some(&job.source) == name_of(disk).as_ref()).then_some((live, job))
}

/// The record after what is seen of the domain and what the plan has come to know.
pub fn settle(record: &mut Record, asked: &VmItem, domain: Option<&Domain>) {
    let disks = &asked.disks;
    record
        .moves
        .retain(|volume, _| disks.iter().any(|disk| disk.volume == *volume));
    let active = domain.filter(|domain| domain.power.is_active());
    for disk in disks {
        settle_disk(record, disk, domain, active);
    }
}

fn settle_disk(
    record: &mut Record,
    disk: &DiskItem,
    domain: Option<&Domain>,
    active: Option<&Domain>,
) {
    let of = record.moves.get(&disk.volume).copied();
    let switched = of.filter(|of| of.stage == MoveStage::Switched);
    let Some(mirror) = disk.mirror.as_deref() else {
        // The plan names the new place, or the move was taken back. What has switched and is not
        // in the plan stays, and is refused.
        let open = active.and_then(|domain| live(domain, disk)?.mirror.as_ref());
        let done = match switched {
            Some(of) => of.place == disk.place(),
            None => open.is_none(),
        };
        if done {
            record.moves.remove(&disk.volume);
        }
        return;
    };
    let is_there = |domain: &Domain| {
        let source = live(domain, disk).map(|live| &live.source);
        source.is_some() && source == name_of(disk).as_ref()
    };
    let was_told =
        |domain: &Domain| domain.metadata.grants.get(&disk.volume) == Some(&mirror.grant);
    if active.is_some_and(is_there) || domain.is_some_and(was_told) {
        let before = of.filter(|of| of.place == mirror.place);
        let before = before.unwrap_or_else(|| begun(mirror, 0, 0));
        let now = MoveRecord {
            grant: mirror.grant,
            stage: MoveStage::Switched,
            ..before
        };
        record.moves.insert(disk.volume, now);
        return;
    }
    match of {
        Some(of) if of.stage != MoveStage::Switched && of.place != mirror.place => {
            record.moves.remove(&disk.volume);
        }
        Some(of) if of.stage == MoveStage::Switching && active.is_none() => {
            let stage = MoveStage::Copying;
            record.moves.insert(disk.volume, MoveRecord { stage, ..of });
        }
        Some(_) | None => {}
    }
}

fn begun(mirror: &Mirror, tries: u32, begun_at: i64) -> MoveRecord {
    MoveRecord {
        place: mirror.place,
        grant: mirror.grant,
        tries,
        begun_at,
        stage: MoveStage::Copying,
    }
}

/// A plan that looks for a disk's bytes where they no longer are comes from a ledger of the past.
#[must_use]
pub fn refusal(record: &Record, asked: &VmItem) -> Option<Trouble> {
    let lost = asked.disks.iter().find_map(|disk| {
        let of = record.moves.get(&disk.volume)?;
        let known = of.place == disk.place() || has_switched(record, disk);
        (of.stage == MoveStage::Switched && !known).then_some((disk, of))
    });
    let (disk, of) = lost?;
    Some(trouble(
        "MovedElsewhere",
        format!(
            "disk {} was moved and its bytes are in place {}, the plan asks for {}: the \
             operator's ledger is older than this host; rebuild it before anything is done",
            disk.name,
            of.place,
            disk.place()
        ),
    ))
}

/// Whether the guest stands still for a switch.
#[must_use]
pub fn is_halted(record: &Record, power: Power) -> bool {
    let mut moves = record.moves.values();
    power == Power::Paused(Paused::Ordered) && moves.any(|of| of.stage == MoveStage::Switching)
}

/// The next move of a switch; `halted` is whether the guest stood still for one when it was looked
/// at. What is about to go over is written down in the record.
pub fn next_switch(
    record: &mut Record,
    asked: &VmItem,
    domain: &Domain,
    halted: bool,
) -> Option<Switch> {
    let ready: Vec<(&DiskItem, &LiveDisk)> = asked
        .disks
        .iter()
        .filter(|disk| ordered(disk) == Some(MirrorOrder::Switch) && !has_switched(record, disk))
        .filter_map(|disk| {
            let (live, job) = job(domain, disk)?;
            (job.stage == CopyStage::Ready).then_some((disk, live))
        })
        .collect();
    if halted {
        let mut jobs = domain.disks.values().filter_map(|of| of.mirror.as_ref());
        let going = jobs.any(|job| job.stage == CopyStage::GoingOver);
        return Some(match ready.first() {
            _ if going => Switch::Wait,
            Some((_, live)) => Switch::Pivot {
                device: live.device.clone(),
            },
            None => {
                end_switching(record);
                Switch::LetGo
            }
        });
    }
    if ready.is_empty() || domain.power != Power::Running {
        return None;
    }
    for (disk, _) in ready {
        let Some(mirror) = disk.mirror.as_deref() else {
            continue;
        };
        let of = record.moves.entry(disk.volume);
        let of = of.or_insert_with(|| begun(mirror, 1, 0));
        of.stage = MoveStage::Switching;
    }
    Some(Switch::Pause)
}

fn end_switching(record: &mut Record) {
    for of in record.moves.values_mut() {
        if of.stage == MoveStage::Switching {
            of.stage = MoveStage::Copying;
        }
    }
}

fn ordered(disk: &DiskItem) -> Option<MirrorOrder> {
    disk.mirror.as_deref().map(|mirror| mirror.order)
}

/// Copies to begin and to end under a running guest; what is begun is written down in the record.
#[must_use]
pub fn plan_copies(record: &mut Record, asked: &VmItem, domain: &Domain, now: i64) -> Vec<Act> {
    let mut acts = Vec::new();
    for disk in &asked.disks {
        let Some(live) = live(domain, disk) else {
            continue;
        };
        let device = live.device.clone();
        if let Some(copy) = &live.mirror {
            // What ends anyway is left to end.
            let ours = job(domain, disk).is_some();
            if !ours && matches!(copy.stage, CopyStage::Copying | CopyStage::Ready) {
                acts.push(Act::EndCopy { device });
            }
            continue;
        }
        let (Some(mirror), Some(to)) = (disk.mirror.as_deref(), disk.switched()) else {
            continue;
        };
        if has_switched(record, disk) || left_s(record, disk, now) > 0 {
            continue;
        }
        let tries = record.moves.get(&disk.volume).map_or(0, |of| of.tries);
        let of = begun(mirror, tries.saturating_add(1), now);
        record.moves.insert(disk.volume, of);
        acts.push(Act::Note(record.clone()));
        acts.extend(render_secret(asked.vm, &to).map(Act::DefineSecret));
        let xml = render_copy(&to, &device).render();
        acts.push(Act::Copy { device, xml });
    }
    acts
}

/// Seconds until the copy of a disk may be begun again.
fn left_s(record: &Record, disk: &DiskItem, now: i64) -> i64 {
    let Some(of) = record.moves.get(&disk.volume) else {
        return 0;
    };
    let pause = AGAIN_AFTER_S
        .saturating_mul(of.tries.into())
        .min(AGAIN_MAX_S);
    // A clock that was set back does not hold a copy.
    let waited = now - of.begun_at;
    match (0..pause).contains(&waited) {
        true => pause - waited,
        false => 0,
    }
}

/// In how many seconds a copy is worth another look.
#[must_use]
pub fn next_look(record: &Record, asked: &VmItem, domain: &Domain, now: i64) -> Option<i64> {
    let open = |disk: &DiskItem| live(domain, disk).is_some_and(|live| live.mirror.is_some());
    let under_way = asked
        .disks
        .iter()
        .filter(|disk| disk.mirror.is_some() || open(disk));
    let looks = under_way.filter_map(|disk| match job(domain, disk) {
        _ if has_switched(record, disk) => None,
        None if open(disk) => Some(LOOK_EVERY_S),
        Some((_, job)) if job.stage == CopyStage::Ready => None,
        Some(_) => Some(LOOK_EVERY_S),
        None => Some(left_s(record, disk, now).clamp(1, AGAIN_MAX_S)),
    });
    looks.min()
}

fn seen(disk: &DiskItem, place: InstanceId, tries: u32, state: MoveState) -> MoveSeen {
    MoveSeen {
        volume: disk.volume,
        place,
        tries,
        state,
    }
}

/// How the moves stand that are asked for, or were and are not at their end. `stored` is what is written
/// down, `settled` what will be. Nothing is said of a disk in between: that it waits could be taken for
/// that it has not gone over.
#[must_use]
pub fn told(
    stored: Option<&Record>,
    settled: &Record,
    asked: &VmItem,
    domain: Option<&Domain>,
) -> Vec<MoveSeen> {
    let active = domain.filter(|domain| domain.power.is_active());
    let of_disk = |disk: &DiskItem| {
        let of = stored.and_then(|stored| stored.moves.get(&disk.volume));
        let Some(mirror) = disk.mirror.as_deref() else {
            let open = active.and_then(|domain| live(domain, disk)?.mirror.as_ref());
            return open
                .and(of)
                .map(|of| seen(disk, of.place, of.tries, MoveState::Ending));
        };
        let adopted = active
            .is_none_or(|domain| domain.metadata.grants.get(&disk.volume) == Some(&mirror.grant));
        let state = match active.and_then(|domain| job(domain, disk)) {
            _ if adopted && stored.is_some_and(|stored| has_switched(stored, disk)) => {
                MoveState::Switched
            }
            Some((_, job)) if job.stage == CopyStage::Ready => MoveState::Ready,
            Some((_, job)) => MoveState::Copying {
                percent: job.percent,
            },
            None if has_switched(settled, disk) => return None,
            None => MoveState::Waiting,
        };
        let tries = of.map_or(0, |of| of.tries);
        Some(seen(disk, mirror.place, tries, state))
    };
    asked.disks.iter().filter_map(of_disk).collect()
}
