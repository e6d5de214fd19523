//! From verdicts to words. The status says what the plan does: both ask the same judge.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::InstanceId;
use dc_types::plan::{Item, ItemBody, ItemKey, ItemKind, VmItem};
use dc_types::report::{Detail, Guest, HoldState, ItemState, Observation, Released, Stop, Trouble};

use super::growth::{Grown, grown_disks};
use super::judge::{
    Currency, Judgement, ReleaseVerdict, Verdict, Why, judge, judge_release, lost_tap, must_thaw,
    settled,
};
use super::luks;
use super::meter::used;
use super::moves::told;
use super::plan::release_pending;
use super::plugs;
use super::record::Record;
use super::seen::{Domain, Power, Seen};
use super::validate::{ValidVm, trouble, validate};
use crate::wanted::{Status, Wanted};

/// `troubles` are what the last steps of a key ran into; `busy` are keys whose steps are being
/// carried out.
#[must_use]
pub fn status(
    wanted: &Wanted<'_>,
    seen: &Seen,
    troubles: &BTreeMap<ItemKey, Trouble>,
    busy: &BTreeSet<ItemKey>,
) -> Status {
    let observations = wanted
        .of_kind(ItemKind::Vm)
        .filter_map(|item| match &item.body {
            ItemBody::Vm(vm) => Some(observe(wanted, item, vm, seen, troubles, busy)),
            _ => None,
        })
        .collect();
    let released = wanted
        .releases_of_kind(ItemKind::Vm)
        .filter(|release| !busy.contains(&release.key))
        .filter(|release| judge_release(wanted, release, seen).1 == ReleaseVerdict::Done)
        .map(|release| Released {
            erasure: None,
            key: release.key,
            epoch: release.epoch,
            note: String::new(),
        })
        .collect();
    Status {
        observations,
        released,
    }
}

fn observe(
    wanted: &Wanted<'_>,
    item: &Item,
    vm: &VmItem,
    seen: &Seen,
    troubles: &BTreeMap<ItemKey, Trouble>,
    busy: &BTreeSet<ItemKey>,
) -> Observation {
    let domain = seen.domains.get(&vm.vm);
    let (record, guest, mut state) = if release_pending(wanted, item.key.id, seen) {
        let record = settled(wanted, vm.vm, seen);
        let guest = guest_when_leaving(domain, &record);
        let pending = pending(
            "Releasing",
            "an older claim of the machine is being removed",
        );
        (record, guest, pending)
    } else {
        match validate(wanted, item, &seen.records) {
            Some(Ok(valid)) => {
                let Judgement { record, verdict } = judge(wanted, &valid, seen);
                let guest = guest(&verdict, domain, &record);
                let state = state(&verdict, &valid, &record, seen);
                (record, guest, state)
            }
            Some(Err(trouble)) => {
                let record = settled(wanted, vm.vm, seen);
                let guest = guest_when_leaving(domain, &record);
                (record, guest, ItemState::Failed(trouble))
            }
            None => unreachable!("the caller took an item of this kind"),
        }
    };
    if let Some(trouble) = troubles.get(&item.key)
        && !busy.contains(&item.key)
        && state != ItemState::Ready
    {
        let failed = || ItemState::Failed(trouble.clone());
        state = plugs::with_trouble(&state, trouble).unwrap_or_else(failed);
    }
    Observation {
        key: item.key,
        epoch: item.epoch,
        hash: item.hash(),
        state,
        detail: detail(guest, domain, &record, vm, seen),
    }
}

fn detail(
    guest: Guest,
    domain: Option<&Domain>,
    record: &Record,
    asked: &VmItem,
    seen: &Seen,
) -> Detail {
    let stored = seen.records.get(&asked.vm);
    // That it is held is told once it is written down: an agent that died in between could not say
    // whether it lasted.
    let written = stored.and_then(|stored| stored.hold) == record.hold;
    let held = record.hold.and_then(|hold| hold.told());
    let held = held.filter(|held| written || held.state != HoldState::Holding);
    Detail::Vm {
        guest,
        last_stop: record.last_stop,
        machine_type: domain.map(|domain| domain.metadata.machine_type.clone()),
        started_at: record.started_at,
        restart: record.restart.clone(),
        held: held.map(Box::new),
        moves: told(stored, record, asked, domain),
        used: used(asked, seen),
        formatted: luks::formatted(asked, seen),
        probed: asked.probes.is_some().then(|| {
            let probed = seen.probed.get(&asked.vm).copied();
            Box::new(probed.unwrap_or_default())
        }),
    }
}

fn pending(reason: &str, message: impl Into<String>) -> ItemState {
    ItemState::Pending(trouble(reason, message))
}

fn state(verdict: &Verdict, valid: &ValidVm<'_>, record: &Record, seen: &Seen) -> ItemState {
    let freeze = seen.freezes.get(&valid.vm.vm).copied();
    match verdict {
        Verdict::Running(_) if must_thaw(record, freeze) => pending(
            "Thawing",
            "its file systems are frozen for a snapshot and are being thawed; if that takes long, \
             its guest agent does not answer: restart the machine",
        ),
        Verdict::Hold(_) => pending(
            "HeldForSnapshot",
            "the guest is kept from writing for a moment, while its volumes are taken",
        ),
        Verdict::Switch(_) => pending(
            "Switching",
            "a disk goes over to the storage that it was moved to: the guest stands still for a \
             moment",
        ),
        Verdict::Running(currency) => state_of_running(*currency, valid, record, seen),
        Verdict::Off => ItemState::Ready,
        Verdict::Held(trouble) | Verdict::Wait(trouble) => ItemState::Pending(trouble.clone()),
        Verdict::Start | Verdict::Finish => pending("Starting", "the machine is being started"),
        Verdict::Passing => pending("Passing", "libvirt is busy with the machine"),
        Verdict::Retry | Verdict::DiskError => pending(
            "DiskError",
            "a disk gave an error, most often because its pool is full, and the guest is paused: \
             it goes on by itself when the disk can be written again",
        ),
        Verdict::Panicked => ItemState::Failed(trouble(
            "Panicked",
            "the guest's kernel panicked and its memory is kept, as its policy asks: stop it when \
             you have looked into it",
        )),
        Verdict::Stop(_, why) => pending("Stopping", stopping_message(*why, valid)),
        Verdict::Refuse(trouble) => ItemState::Failed(trouble.clone()),
    }
}

fn state_of_running(
    currency: Currency,
    valid: &ValidVm<'_>,
    record: &Record,
    seen: &Seen,
) -> ItemState {
    let domain = seen.domains.get(&valid.vm.vm);
    let plugs = domain.map(|domain| plugs::compare(&valid.vm, domain));
    // A disk on its way is told before a restart that is needed: it may be gone by then.
    let moving = plugs.as_ref().and_then(|of| of.told(record, seen.now));
    let closed = || luks::told(&valid.vm, domain?, seen);
    let moving = moving.or_else(closed);
    let lost = lost_tap(valid, seen).filter(|_| currency == Currency::Current);
    if let Some(card) = lost {
        return ItemState::Failed(trouble(
            "TapLost",
            format!(
                "interface {} has lost its tap {} and has no network: restart the machine",
                card.nic.card, card.tap
            ),
        ));
    }
    if let Some(moving) = moving {
        return moving;
    }
    if currency == Currency::NextStart {
        return pending(
            "RestartNeeded",
            "the machine runs as it was started; what was changed since takes effect at its next \
             start: write another restart text to have it now",
        );
    }
    let growing = told_to_grow(valid, seen);
    let unserved = || plugs.as_ref().and_then(plugs::Plugs::told_unserved);
    growing.or_else(unserved).unwrap_or(ItemState::Ready)
}

/// A disk whose guest does not see its size yet.
fn told_to_grow(valid: &ValidVm<'_>, seen: &Seen) -> Option<ItemState> {
    let domain = seen.domains.get(&valid.vm.vm)?;
    let Grown { disk, .. } = grown_disks(&valid.vm, domain).next()?;
    Some(pending(
        "DiskGrows",
        format!(
            "disk {} has {} at its storage, and the guest is being told",
            disk.name, disk.size
        ),
    ))
}

fn stopping_message(why: Why, valid: &ValidVm<'_>) -> String {
    let deadline = valid.vm.stop_deadline_s;
    match why {
        Why::PowerOff | Why::Released => {
            format!("the guest was asked to power off; force is used after {deadline} s")
        }
        Why::Restart => format!(
            "the guest was asked to power off and is then started; force is used after {deadline} s"
        ),
        Why::Fenced => {
            "its disk was granted anew: the machine is stopped by force and started".to_owned()
        }
        Why::Dead => "the guest is dead; its remains are cleared away".to_owned(),
        Why::Pressed => {
            "the guest was asked to power off before it was wanted on again; it is started once \
             it is off"
                .to_owned()
        }
    }
}

fn guest(verdict: &Verdict, domain: Option<&Domain>, record: &Record) -> Guest {
    match verdict {
        Verdict::Running(_) => Guest::Running,
        Verdict::Start | Verdict::Finish => Guest::Starting,
        Verdict::Retry | Verdict::DiskError => Guest::Paused,
        Verdict::Panicked => Guest::Crashed,
        Verdict::Stop(..) => Guest::Stopping,
        Verdict::Wait(_) if domain.is_some_and(|domain| domain.power.is_active()) => {
            Guest::Starting
        }
        Verdict::Off
        | Verdict::Held(_)
        | Verdict::Wait(_)
        | Verdict::Hold(_)
        | Verdict::Switch(_)
        | Verdict::Passing
        | Verdict::Refuse(_) => guest_when_leaving(domain, record),
    }
}

/// What is there, without regard to what is wanted.
fn guest_when_leaving(domain: Option<&Domain>, record: &Record) -> Guest {
    match domain.map(|domain| domain.power) {
        Some(Power::Running) => Guest::Running,
        Some(Power::Paused(_)) => Guest::Paused,
        Some(Power::ShuttingDown) => Guest::Stopping,
        Some(Power::Panicked) => Guest::Crashed,
        None if record.started_at.is_none() => Guest::Absent,
        Some(Power::Off(_)) | None => {
            if record.unasked && record.last_stop == Some(Stop::Crashed) {
                Guest::Crashed
            } else {
                Guest::Stopped
            }
        }
    }
}

/// How many guests are in each state, for metrics.
#[must_use]
pub fn count_guests(observations: &[Observation]) -> BTreeMap<Guest, usize> {
    let mut counts = BTreeMap::new();
    for observation in observations {
        if let Detail::Vm { guest, .. } = &observation.detail {
            *counts.entry(*guest).or_default() += 1;
        }
    }
    counts
}

/// The machines this host is to carry.
#[must_use]
pub fn machines(wanted: &Wanted<'_>) -> BTreeSet<InstanceId> {
    wanted
        .of_kind(ItemKind::Vm)
        .map(|item| InstanceId(item.key.id))
        .collect()
}
