//! Keeping a guest from writing for a moment, so that snapshots of its volumes are of one instant.
//!
//! ```text
//!           Note Freeze        Note Pause          Note
//!  running ────────────▶ Freezing ─────▶ Pausing ──────▶ Held ── order taken back ──▶ Letting(kept)
//!                            │              │             │                             │
//!                            └── deadline, stop asked, order taken back too soon ──▶ Letting(broken)
//!                                                          Resume Thaw, until nothing is frozen │
//!  off ── Note ──▶ Still ── order taken back: kept · deadline: broken ──▶ Ended ◀───────────────┘
//! ```
//!
//! File systems are frozen first, when the guest's agent answers, and the guest is paused in any
//! case: QEMU has then sent all it had and waited for the answers. Paused is what is held; frozen
//! only decides the level. A stopped guest writes nothing, and is not started meanwhile.
//!
//! What always holds: a stage is written down before what it speaks of is done, so an agent that
//! died at any point lets the guest go when it is back; the deadline is this agent's own, whatever
//! the operator says or does not say; a hold that was once let go never counts as kept.

use dc_types::Epoch;
use dc_types::plan::Hold;
use dc_types::report::{Consistency, HoldSeen, HoldState, Stop};
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::seen::{Paused, Power};

/// No hold lasts longer, whatever is asked: a guest that is away for longer loses connections.
pub const HOLD_MAX_S: u32 = 60;

/// The last hold that was asked of a guest. Part of its [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRecord {
    pub id: Epoch,
    /// When it was begun, seconds since 1970, and for how long it lasts at most.
    pub since: i64,
    pub deadline_s: u32,
    pub stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    Freezing,
    Pausing(Consistency),
    Held(Consistency),
    /// Off, and kept from being started.
    Still(Consistency),
    Letting(Consistency, Lasted),
    Ended(Consistency, Lasted),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lasted {
    UntilTakenBack,
    TooShort,
}

/// What the guest's agent says of its file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freeze {
    Frozen,
    Thawed,
    /// There is no agent, or it does not answer.
    Unanswered,
}

/// What is to be done for a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Freeze,
    Pause,
    /// It is held, or what comes next has to be seen first.
    Keep,
    LetGo,
    /// It runs; its file systems may be frozen still.
    Thaw,
}

impl HoldRecord {
    /// Of a domain of which nothing was written down: it may have been frozen by somebody who did.
    #[must_use]
    pub fn unknown(now: i64) -> Self {
        Self {
            id: Epoch::default(),
            since: now,
            deadline_s: 0,
            stage: Stage::Letting(Consistency::Crash, Lasted::TooShort),
        }
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended(..))
    }

    /// A clock that was set back ends a hold as well.
    fn is_late(&self, now: i64) -> bool {
        !(0..i64::from(self.deadline_s)).contains(&(now - self.since))
    }

    /// In how many seconds it is late.
    #[must_use]
    pub fn seconds_left(&self, now: i64) -> i64 {
        (self.since + i64::from(self.deadline_s) - now).max(1)
    }

    fn level(&self) -> Consistency {
        match self.stage {
            Stage::Freezing => Consistency::Crash,
            Stage::Pausing(level)
            | Stage::Held(level)
            | Stage::Still(level)
            | Stage::Letting(level, _)
            | Stage::Ended(level, _) => level,
        }
    }

    fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    fn broken(self) -> Self {
        self.at(Stage::Letting(self.level(), Lasted::TooShort))
    }

    /// What the operator is told, as soon as something is certain.
    #[must_use]
    pub fn told(&self) -> Option<HoldSeen> {
        let state = match self.stage {
            Stage::Freezing | Stage::Pausing(_) => return None,
            Stage::Held(_) | Stage::Still(_) => HoldState::Holding,
            Stage::Letting(_, lasted) | Stage::Ended(_, lasted) => match lasted {
                Lasted::UntilTakenBack => HoldState::Kept,
                Lasted::TooShort => HoldState::Broken,
            },
        };
        (self.id != Epoch::default()).then(|| HoldSeen {
            id: self.id,
            level: self.level(),
            state,
        })
    }
}

/// Whether the machine is otherwise left alone: a stop that was asked for ends a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undisturbed {
    Yes,
    No,
}

/// What the hold of a running or paused guest asks for; the record is taken to its next stage.
/// `None`: it has no say.
#[must_use]
pub fn next_of_active(
    record: &mut Record,
    wanted: Option<Hold>,
    power: Power,
    freeze: Option<Freeze>,
    undisturbed: Undisturbed,
    now: i64,
) -> Option<Move> {
    let Some(hold) = record.hold.filter(|hold| !hold.is_over()) else {
        return begin(record, wanted, power, undisturbed, now);
    };
    let asked = wanted.is_some_and(|wanted| wanted.id == hold.id);
    let goes_on = asked && !hold.is_late(now) && undisturbed == Undisturbed::Yes;
    let paused = power == Power::Paused(Paused::Ordered);
    let (stage, next) = match hold.stage {
        Stage::Freezing if goes_on && power == Power::Running => match freeze {
            None => (hold.stage, Move::Keep),
            Some(Freeze::Frozen) => (Stage::Pausing(Consistency::FileSystem), Move::Pause),
            Some(Freeze::Thawed | Freeze::Unanswered) => {
                (Stage::Pausing(Consistency::Crash), Move::Pause)
            }
        },
        Stage::Pausing(_) if goes_on && power == Power::Running => (hold.stage, Move::Pause),
        Stage::Pausing(level) if goes_on && paused => (Stage::Held(level), Move::Keep),
        Stage::Held(_) if goes_on && paused => (hold.stage, Move::Keep),
        Stage::Held(level) if !asked && !hold.is_late(now) && paused => {
            let lasted = Lasted::UntilTakenBack;
            (Stage::Letting(level, lasted), Move::LetGo)
        }
        Stage::Freezing | Stage::Pausing(_) | Stage::Held(_) => (hold.broken().stage, Move::LetGo),
        // Somebody started it: it was not still until the end.
        Stage::Still(level) => (Stage::Ended(level, Lasted::TooShort), Move::Keep),
        // It died frozen, and says nothing any more.
        Stage::Letting(level, lasted) if power == Power::Panicked => {
            (Stage::Ended(level, lasted), Move::Keep)
        }
        Stage::Letting(level, lasted) => match (paused, freeze) {
            (true, _) => (hold.stage, Move::LetGo),
            (false, None) => (hold.stage, Move::Keep),
            (false, Some(Freeze::Frozen)) => (hold.stage, Move::Thaw),
            // It was frozen, and nobody has said since that it is not.
            (false, Some(Freeze::Unanswered)) if level == Consistency::FileSystem => {
                (hold.stage, Move::Thaw)
            }
            (false, Some(Freeze::Thawed | Freeze::Unanswered)) => {
                (Stage::Ended(level, lasted), Move::Keep)
            }
        },
        Stage::Ended(..) => return None,
    };
    record.hold = Some(hold.at(stage));
    Some(next)
}

fn begin(
    record: &mut Record,
    wanted: Option<Hold>,
    power: Power,
    undisturbed: Undisturbed,
    now: i64,
) -> Option<Move> {
    let wanted = wanted.filter(|wanted| record.hold.is_none_or(|old| old.id != wanted.id))?;
    if power != Power::Running || undisturbed == Undisturbed::No {
        return None;
    }
    record.hold = Some(new(wanted, Stage::Freezing, now));
    Some(Move::Freeze)
}

fn new(wanted: Hold, stage: Stage, now: i64) -> HoldRecord {
    HoldRecord {
        id: wanted.id,
        since: now,
        deadline_s: wanted.deadline_s.min(HOLD_MAX_S),
        stage,
    }
}

/// The hold of a guest that is off; answers whether it keeps the guest from being started.
#[must_use]
pub fn next_of_off(record: &mut Record, wanted: Option<Hold>, now: i64) -> bool {
    if let Some(hold) = record.hold.filter(|hold| !hold.is_over()) {
        let asked = wanted.is_some_and(|wanted| wanted.id == hold.id);
        let stage = match hold.stage {
            Stage::Still(_) if asked && !hold.is_late(now) => return true,
            Stage::Still(level) if !asked && !hold.is_late(now) => {
                Stage::Ended(level, Lasted::UntilTakenBack)
            }
            // It was let go before it went off, and nothing of it is frozen any more.
            Stage::Letting(level, lasted) => Stage::Ended(level, lasted),
            Stage::Still(_)
            | Stage::Freezing
            | Stage::Pausing(_)
            | Stage::Held(_)
            | Stage::Ended(..) => Stage::Ended(hold.level(), Lasted::TooShort),
        };
        record.hold = Some(hold.at(stage));
        return false;
    }
    let fresh = |wanted: &Hold| record.hold.is_none_or(|old| old.id != wanted.id);
    let Some(wanted) = wanted.filter(fresh) else {
        return false;
    };
    // Only a guest that was asked to stop, and did, has certainly written everything out.
    let level = match record.last_stop {
        Some(Stop::Clean) => Consistency::FileSystem,
        Some(Stop::Forced | Stop::ByGuest | Stop::Crashed | Stop::HostLost) | None => {
            Consistency::Crash
        }
    };
    record.hold = Some(new(wanted, Stage::Still(level), now));
    true
}

/// Whether the guest's agent must be asked how its file systems are.
#[must_use]
pub fn asks_guest(record: &Record) -> bool {
    record
        .hold
        .is_some_and(|hold| matches!(hold.stage, Stage::Freezing | Stage::Letting(..)))
}
