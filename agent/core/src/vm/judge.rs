//! The one decision about one machine: what is wanted of it, what is seen of it, what follows.
//!
//! The plan turns a [`Verdict`] into steps and the status into words. Nothing else decides.

use dc_types::plan::{ItemKey, OnStop, Power as WantedPower, Release};
use dc_types::report::{Consistency, Stop, Trouble};
use dc_types::{Epoch, InstanceId};

use super::hold::{self, Freeze, Lasted, Move, Stage, Undisturbed};
use super::luks;
use super::moves::{self, Switch, effective, is_halted, next_switch, went_over};
use super::plugs;
use super::record::{Phase, Record, settle};
use super::seen::{Domain, Paused, Power, Seen};
use super::validate::{Card, ValidVm, trouble};
use super::xml::writer::clean;
use crate::names::tap_name;
use crate::wanted::Wanted;

/// Seconds between two presses of the power button: a guest that is still booting loses the first.
pub const PRESS_EVERY_S: i64 = 5;
/// Seconds between two tries to resume a guest whose disk gave an error.
pub const RESUME_EVERY_S: i64 = 30;
/// From this many starts in a row on, people are told of a loop.
const LOOP_STARTS: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The record as it must stand, settled by what is seen.
    pub record: Record,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Running as wanted, or as it was when it started.
    Running(Currency),
    /// Off, as wanted.
    Off,
    /// Off although it is wanted on: its policy says so.
    Held(Trouble),
    /// Off; it starts when this is over.
    Wait(Trouble),
    Start,
    /// Paused by its start: plug the taps and let it run.
    Finish,
    /// Paused by an error of its disk: the next try is due, or not yet.
    Retry,
    DiskError,
    /// libvirt is busy with it.
    Passing,
    /// A kernel panic, kept for those who look into it.
    Panicked,
    Stop(StopMove, Why),
    /// Kept from writing for a snapshot, on the way there, or let go again.
    Hold(Move),
    /// Halted while a disk goes over to another place, on the way there, or let go again.
    Switch(Switch),
    /// Not ours to touch.
    Refuse(Trouble),
}

/// How a running machine compares with what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Currency {
    Current,
    /// What differs takes effect at its next start.
    NextStart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMove {
    Press,
    Wait,
    Kill,
}

/// Why a machine is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    PowerOff,
    Restart,
    /// Its disk's grant has a newer epoch: the old target is gone, the guest hangs.
    Fenced,
    /// It panicked, or its start is not wanted any more.
    Dead,
    Released,
    /// The order to stop was taken back, but the button was pressed.
    Pressed,
}

#[must_use]
pub fn judge(wanted: &Wanted<'_>, valid: &ValidVm<'_>, seen: &Seen) -> Judgement {
    let domain = seen.domains.get(&valid.vm.vm);
    let mut record = settled(wanted, valid.vm.vm, seen);
    let halted = domain.is_some_and(|domain| is_halted(&record, domain.power));
    moves::settle(&mut record, valid.asked, domain);
    plugs::settle(&mut record, &valid.vm, domain);
    let refused = refusal(valid, domain, seen).or_else(|| moves::refusal(&record, valid.asked));
    let verdict = match (refused, domain) {
        (Some(trouble), _) => Verdict::Refuse(trouble),
        (None, Some(domain)) if domain.power.is_active() => {
            judge_active(wanted, valid, domain, (&mut record, halted), seen)
        }
        (None, _) => judge_off(wanted, valid, &mut record, seen),
    };
    Judgement { record, verdict }
}

/// The record of a machine after what is seen now.
#[must_use]
pub fn settled(wanted: &Wanted<'_>, vm: InstanceId, seen: &Seen) -> Record {
    let domain = seen.domains.get(&vm);
    let power = domain.map(|domain| domain.power);
    let record = match (seen.records.get(&vm), domain) {
        (Some(record), _) => record.clone(),
        (None, Some(domain)) if domain.power.is_active() => {
            Record::found_running(&domain.metadata.restart, seen.now)
        }
        (None, _) => Record::default(),
    };
    if seen.foreign.iter().any(|foreign| foreign.uuid == vm.0) {
        // Whatever that domain is, it says nothing of how our machine stands.
        return record;
    }
    settle(&record, power, seen.now, &wanted.host.boot_id)
}

fn refusal(valid: &ValidVm<'_>, domain: Option<&Domain>, seen: &Seen) -> Option<Trouble> {
    let in_the_way = seen
        .foreign
        .iter()
        .find(|foreign| foreign.uuid == valid.vm.vm.0 || foreign.name == valid.domain_name);
    if let Some(foreign) = in_the_way {
        return Some(trouble(
            "ForeignDomain",
            format!(
                "domain {:?} ({}) on this host is in the way and is not ours ({}): rename or \
                 remove it by hand",
                foreign.name, foreign.uuid, foreign.why
            ),
        ));
    }
    let held = domain?.metadata.epoch;
    (held > valid.item.epoch).then(|| {
        trouble(
            "NewerEpoch",
            format!(
                "the domain here is of epoch {held}, the plan asks for {}: the operator's ledger \
                 is older than this host; rebuild it before anything is done",
                valid.item.epoch
            ),
        )
    })
}

fn judge_active(
    wanted: &Wanted<'_>,
    valid: &ValidVm<'_>,
    domain: &Domain,
    (record, halted): (&mut Record, bool),
    seen: &Seen,
) -> Verdict {
    let (vm, now) = (&valid.vm, seen.now);
    let deadline = i64::from(vm.stop_deadline_s);
    let fenced = vm.disks.iter().any(|disk| {
        let started = domain.metadata.grants.get(&disk.volume);
        // One that was granted and never came hangs nobody: it comes by its new grant.
        started.is_some_and(|epoch| *epoch != disk.grant)
            && plugs::may_have(domain, disk)
            && !went_over(record, disk)
    });
    let why = if fenced {
        Some(Why::Fenced)
    } else if vm.power == WantedPower::Off {
        Some(Why::PowerOff)
    } else if clean(&domain.metadata.restart) != valid.restart() {
        Some(Why::Restart)
    } else {
        None
    };
    if let Some(next) = hold_of(valid, domain, record, seen, why) {
        return Verdict::Hold(next);
    }
    if let Some(next) = switch_of(valid, domain, record, halted, why) {
        return Verdict::Switch(next);
    }
    if let Some(why) = why {
        return Verdict::Stop(stop_move(why, domain.power, record, now, deadline), why);
    }
    if let Some(stopping) = record.stopping {
        // The button cannot be un-pressed: the guest has its time to go down and is then started
        // again; one that took no notice is left running.
        if now - stopping.since < deadline {
            return Verdict::Stop(StopMove::Wait, Why::Pressed);
        }
        record.stopping = None;
    }
    match domain.power {
        Power::Running => {
            let current = valid.is_defined_as(&domain.metadata.definition)
                && !plugs::opens_otherwise(vm, domain);
            Verdict::Running(match current {
                true => Currency::Current,
                false => Currency::NextStart,
            })
        }
        Power::Paused(Paused::Ordered) => match may_run(wanted, valid) {
            Ok(()) if never_ran(record) && lost_tap(valid, seen).is_some() => {
                Verdict::Stop(StopMove::Kill, Why::Dead)
            }
            Ok(()) => Verdict::Finish,
            Err(trouble) => Verdict::Wait(trouble),
        },
        Power::Paused(Paused::DiskError) => {
            let tried = record.resumed_at.unwrap_or(i64::MIN / 2);
            if now - tried >= RESUME_EVERY_S {
                Verdict::Retry
            } else {
                Verdict::DiskError
            }
        }
        Power::Panicked if vm.on_stop == OnStop::Stay => Verdict::Panicked,
        Power::Panicked => Verdict::Stop(StopMove::Kill, Why::Dead),
        Power::Paused(Paused::Passing) | Power::ShuttingDown | Power::Off(_) => Verdict::Passing,
    }
}

/// What a hold asks for before anything else. One that was let go has no say any more: what may
/// still be frozen is thawed beside all else.
fn hold_of(
    valid: &ValidVm<'_>,
    domain: &Domain,
    record: &mut Record,
    seen: &Seen,
    why: Option<Why>,
) -> Option<Move> {
    let power = domain.power;
    if why == Some(Why::Fenced) || (power == Power::Paused(Paused::Ordered) && never_ran(record)) {
        return None;
    }
    let undisturbed = match (why, record.stopping) {
        (None, None) => Undisturbed::Yes,
        _ => Undisturbed::No,
    };
    let freeze = seen.freezes.get(&valid.vm.vm).copied();
    let now = seen.now;
    let next = hold::next_of_active(record, valid.vm.hold, power, freeze, undisturbed, now)?;
    match record.hold.map(|hold| hold.stage) {
        Some(Stage::Letting(..) | Stage::Ended(..)) if next != Move::LetGo => None,
        _ => Some(next),
    }
}

/// What a switch asks for. One that has halted the guest is ended before the guest is stopped: halted,
/// it could not hear its power button.
fn switch_of(
    valid: &ValidVm<'_>,
    domain: &Domain,
    record: &mut Record,
    halted: bool,
    why: Option<Why>,
) -> Option<Switch> {
    let held = record.hold.is_some_and(|hold| !hold.is_over()) || valid.vm.hold.is_some();
    let disturbed = why.is_some() || record.stopping.is_some() || held;
    if why == Some(Why::Fenced) || (disturbed && !halted) {
        return None;
    }
    next_switch(record, valid.asked, domain, halted)
}

/// Whether a guest that was let go is still to be thawed.
#[must_use]
pub fn must_thaw(record: &Record, freeze: Option<Freeze>) -> bool {
    match (record.hold.map(|hold| hold.stage), freeze) {
        (Some(Stage::Letting(..)), Some(Freeze::Frozen)) => true,
        (Some(Stage::Letting(level, _)), Some(Freeze::Unanswered)) => {
            level == Consistency::FileSystem
        }
        _ => false,
    }
}

fn never_ran(record: &Record) -> bool {
    !matches!(record.phase, Phase::Running { .. })
}

/// A card whose tap is gone, as with its namespace: the QEMU that holds it has no way back, only
/// a start makes a new one.
#[must_use]
pub fn lost_tap<'a>(valid: &'a ValidVm<'_>, seen: &Seen) -> Option<&'a Card> {
    let cards = valid.cards.as_deref().unwrap_or_default();
    cards.iter().find(|card| !seen.taps.contains_key(&card.tap))
}

/// Clean first, then by force. A guest that cannot hear the button is not asked.
fn stop_move(why: Why, power: Power, record: &Record, now: i64, deadline: i64) -> StopMove {
    if why == Why::Fenced {
        return StopMove::Kill;
    }
    match power {
        Power::Panicked | Power::Paused(Paused::Ordered) => return StopMove::Kill,
        Power::Running | Power::Paused(_) | Power::ShuttingDown | Power::Off(_) => (),
    }
    match record.stopping {
        None if deadline == 0 => StopMove::Kill,
        None => StopMove::Press,
        Some(stopping) if now - stopping.since >= deadline => StopMove::Kill,
        Some(_) if power == Power::ShuttingDown => StopMove::Wait,
        Some(stopping) if now - stopping.pressed >= PRESS_EVERY_S => StopMove::Press,
        Some(_) => StopMove::Wait,
    }
}

fn judge_off(
    wanted: &Wanted<'_>,
    valid: &ValidVm<'_>,
    record: &mut Record,
    seen: &Seen,
) -> Verdict {
    let now = seen.now;
    let still = hold::next_of_off(record, valid.vm.hold, now);
    if valid.vm.power == WantedPower::Off {
        // Switching it on again is an order, whatever its policy made of its last stop.
        record.unasked = false;
        record.starts = 0;
        return Verdict::Off;
    }
    let asked_again = clean(&record.restart) != valid.restart();
    if record.unasked
        && !asked_again
        && let Some(trouble) = held_by_policy(valid.vm.on_stop, record.last_stop)
    {
        return Verdict::Held(trouble);
    }
    let waited = now - record.started_at.unwrap_or(now);
    let pause = record.pause_s();
    // A clock that was set back does not hold a machine.
    if !asked_again && (0..pause).contains(&waited) {
        return Verdict::Wait(between_starts(record, pause - waited));
    }
    if effective(valid.asked, Some(record)) != valid.vm {
        return Verdict::Wait(trouble(
            "Moved",
            "a disk was found to have been moved; the machine starts once that is written down",
        ));
    }
    match luks::may_open(&valid.vm, seen).and_then(|()| may_run(wanted, valid)) {
        Ok(()) if still => Verdict::Wait(trouble(
            "HeldForSnapshot",
            "its volumes are being taken; it starts as soon as they are",
        )),
        Ok(()) => Verdict::Start,
        Err(trouble) => Verdict::Wait(trouble),
    }
}

fn held_by_policy(policy: OnStop, last: Option<Stop>) -> Option<Trouble> {
    let failed = matches!(last, Some(Stop::Crashed | Stop::Forced));
    let starts = match policy {
        OnStop::Restart => true,
        OnStop::RestartOnFailure => failed,
        OnStop::Stay => false,
    };
    if starts {
        return None;
    }
    let what = if failed {
        "the guest failed"
    } else {
        "the guest powered itself off"
    };
    Some(trouble(
        if failed { "Crashed" } else { "StoppedByGuest" },
        format!(
            "{what} and its policy is to stay off: write another restart text, or stop and start \
             it, to bring it back"
        ),
    ))
}

fn between_starts(record: &Record, left_s: i64) -> Trouble {
    if record.starts < LOOP_STARTS {
        return trouble(
            "Restarting",
            format!("the guest stopped by itself; it is started again in {left_s} s"),
        );
    }
    trouble(
        "CrashLoop",
        format!(
            "the guest stopped by itself after each of {} starts in a row; the next one is in \
             {left_s} s; its serial console tells more",
            record.starts
        ),
    )
}

/// A guest may run when its department's network and the guards of all its cards stand.
pub(crate) fn may_run(wanted: &Wanted<'_>, valid: &ValidVm<'_>) -> Result<(), Trouble> {
    valid.cards.as_ref().map_err(Clone::clone)?;
    let network = ItemKey::network(&valid.vm.department);
    let keys = valid
        .vm
        .nics
        .iter()
        .flat_map(|nic| [network, ItemKey::endpoint(valid.vm.vm, nic.card)]);
    match keys.into_iter().find(|key| !wanted.ready.contains(key)) {
        None => Ok(()),
        Some(key) => Err(trouble(
            "WaitsForNetwork",
            format!("the machine waits for {key} to be ready on this host"),
        )),
    }
}

/// What a release asks for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseVerdict {
    Done,
    Stop(StopMove),
    /// Held for a snapshot: a guest that is halted cannot hear its power button.
    LetGo,
    /// The domain is off or gone: what is left is cleared away.
    Clear(Leftovers),
}

/// What is left under a released key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    pub domain: bool,
    pub secrets: Vec<uuid::Uuid>,
    pub taps: Vec<String>,
    pub files: bool,
    pub record: bool,
    /// Volumes whose formatting is under way or remembered, by place and grant.
    pub formats: Vec<(InstanceId, Epoch)>,
}

#[must_use]
pub fn judge_release(
    wanted: &Wanted<'_>,
    release: &Release,
    seen: &Seen,
) -> (Record, ReleaseVerdict) {
    let vm = InstanceId(release.key.id);
    let mut record = settled(wanted, vm, seen);
    let domain = seen.domains.get(&vm);
    if let Some(domain) = domain {
        if domain.metadata.epoch > release.epoch {
            return (record, ReleaseVerdict::Done);
        }
        if let Some(hold) = &mut record.hold
            && domain.power == Power::Paused(Paused::Ordered)
            && matches!(record.phase, Phase::Running { .. })
            && !hold.is_over()
        {
            hold.stage = Stage::Letting(Consistency::Crash, Lasted::TooShort);
            return (record, ReleaseVerdict::LetGo);
        }
        if domain.power.is_active() {
            let deadline = i64::from(domain.metadata.stop_deadline_s);
            let stop = stop_move(Why::Released, domain.power, &record, seen.now, deadline);
            return (record, ReleaseVerdict::Stop(stop));
        }
    }
    // Files, taps and record bear no epoch: under a newer item of the same machine they are its.
    let item = wanted.items.get(&release.key);
    let all = item.is_none_or(|item| item.epoch <= release.epoch);
    let left = Leftovers {
        domain: domain.is_some(),
        secrets: secrets_of(vm, seen).filter(|_| all).collect(),
        taps: taps_of(vm, seen).filter(|_| all).collect(),
        files: all && seen.files.contains(&vm),
        record: all && seen.records.contains_key(&vm),
        formats: luks::formats_of(vm, seen).filter(|_| all).collect(),
    };
    let verdict = if left == Leftovers::default() {
        ReleaseVerdict::Done
    } else {
        ReleaseVerdict::Clear(left)
    };
    (record, verdict)
}

pub(crate) fn secrets_of(vm: InstanceId, seen: &Seen) -> impl Iterator<Item = uuid::Uuid> {
    seen.secrets
        .values()
        .filter(move |label| label.vm == vm)
        .map(|label| label.uuid)
}

/// The taps of a machine's cards, whichever of them there are.
fn taps_of(vm: InstanceId, seen: &Seen) -> impl Iterator<Item = String> {
    let cards = u32::try_from(super::validate::CARDS_MAX).expect("a small number");
    (0..cards)
        .map(move |card| tap_name(vm, card))
        .filter(|name| seen.taps.contains_key(name))
}
