//! The volume's half of a move: a second place in another pool, until nothing of it is left.
//!
//! ```text
//! asked ─▶ Reserved ─ made, attach claimed, granted ─▶ Copying ─ Ready ─▶ Switching ─ Switched ─▶ Leaving
//!             │                                          │                    │ off      (the old place)
//!             └──────────── taken back ─▶ Ending ◀───────┘◀───── Recalled ◀───┘
//!                                           └─ let go ─▶ Leaving (the new place) ─▶ erased ─▶ certified ─▶ no claim
//! ```
//! What the machine's host has to have done first is decided with the machine: see
//! [`crate::vm::moving`]. What always holds: each arrow is one transaction; the guest's bytes are in
//! the place of the volume's claim until the host has said that it went over; a place is released
//! only when no machine may open it, by the erase method, and its claim goes with its certificate.

use dc_types::HostName;
use dc_types::claim::{AttachClaim, MoveClaim, MovePhase, VolumeClaim, keys};
use dc_types::plan::{Item, ItemBody, VolumeItem, VolumeSource};
use dc_types::report::{Detail, Guest, MoveSeen, Observation, PoolFacts};
use serde::Serialize;

use super::{PoolSeen, Seen, id, key};
use crate::claims::{Claimed, Rebuilt};
use crate::object::{self, Life};
use crate::place::Presence;
use crate::plan::Plan;
use crate::sight::{self, Removal, Sight};
use crate::txn::Txn;
use crate::words::{Fact, MoveFact};

mod begin;
mod leave;
mod over;
pub(super) mod told;

use begin::{open, reserve};
use leave::leaving;
use over::{copying, recalled, switching};

/// What was read around the second place of a volume, claimed or asked for.
#[derive(Clone, Copy)]
pub struct MovingSeen<'a> {
    /// The pool that the object names, when its bytes lie in another.
    pub target: Option<PoolSeen<'a>>,
    /// Of the host that has the second place, and what it says of that pool.
    pub presence: Presence,
    pub facts: Option<&'a PoolFacts>,
    /// What it says of the volume there.
    pub said: Option<&'a Observation>,
    /// How far the release of the second place is, and that of its last grant.
    pub removal: Removal,
    pub grant_removal: Removal,
    /// Of the host of the machine that has the volume.
    pub holder_presence: Presence,
}

impl MovingSeen<'_> {
    /// Nothing is moved, nor to be.
    pub const NONE: Self = Self {
        target: None,
        presence: Presence::Never,
        facts: None,
        said: None,
        removal: Removal::NotAsked,
        grant_removal: Removal::Done,
        holder_presence: Presence::Never,
    };
}

/// What is to be done about a move now.
pub(super) enum Next {
    Nothing,
    /// One transaction.
    Commit(Box<Plan>),
    /// How it stands, and what the second host is to carry.
    Stands(Box<Plan>),
}

impl Next {
    fn txn(txn: Txn) -> Self {
        Self::Commit(Box::new(Plan::claim(txn)))
    }

    fn fact(fact: MoveFact) -> Self {
        Self::stands(Fact::Move(fact), None)
    }

    fn stands(fact: Fact, carry: Option<(HostName, Item)>) -> Self {
        Self::Stands(Box::new(Plan {
            carry: carry.into_iter().collect(),
            aside: vec![fact],
            ..Plan::default()
        }))
    }

    /// Adds to a plan of the volume what is to be done and told beside.
    pub fn beside(self, plan: Plan) -> Plan {
        match self {
            Self::Nothing => plan,
            Self::Commit(commit) => *commit,
            Self::Stands(stands) => Plan {
                carry: [plan.carry, stands.carry].concat(),
                aside: stands.aside,
                ..plan
            },
        }
    }
}

pub(super) fn next(seen: &Seen<'_>) -> Next {
    let me = id(seen.me);
    let Some(volume) = seen.claims.volumes.get(&me) else {
        return Next::Nothing;
    };
    match seen.claims.moves.get(&me) {
        Some(second) => under_way(seen, volume, second),
        None if !is_asked(seen, volume) => Next::Nothing,
        None => match reserve(seen, volume) {
            Ok(txn) => Next::txn(txn),
            Err(fact) => Next::stands(fact, None),
        },
    }
}

/// The pool that the object names, as far as it is another than the one where its bytes lie.
fn is_asked(seen: &Seen<'_>, volume: &Claimed<VolumeClaim>) -> bool {
    object::life(&seen.volume.metadata) == Life::Wanted
        && seen.volume.spec.pool != volume.value.pool.as_str()
}

/// What else of the volume waits until it has moved: growth and restores, which are of one place.
pub(super) fn may_change(seen: &Seen<'_>) -> Result<(), Fact> {
    match in_progress(seen.claims.moves.get(&id(seen.me))) {
        None => Ok(()),
        Some(second) => Err(first(&seen.me.name, second)),
    }
}

/// The claim of a move whose bytes are still going somewhere.
pub(crate) fn in_progress(second: Option<&Claimed<MoveClaim>>) -> Option<&Claimed<MoveClaim>> {
    second.filter(|second| second.value.phase != MovePhase::Leaving)
}

pub(crate) fn first(volume: &str, second: &Claimed<MoveClaim>) -> Fact {
    Fact::Move(MoveFact::First {
        volume: volume.to_owned(),
        to: second.value.pool.to_string(),
    })
}

/// What the machine's host says of its guest; `None` when it says nothing.
fn guest(seen: &Seen<'_>) -> Option<Guest> {
    match &seen.holder_said?.detail {
        Detail::Vm { guest, .. } => Some(*guest),
        _ => None,
    }
}

fn is_off(guest: Option<Guest>) -> bool {
    matches!(guest, Some(Guest::Absent | Guest::Stopped | Guest::Crashed))
}

/// What the machine's host says of the copy to a place.
fn heard(seen: &Seen<'_>, second: &MoveClaim) -> Option<MoveSeen> {
    let Detail::Vm { moves, .. } = &seen.holder_said?.detail else {
        return None;
    };
    let of = |of: &&MoveSeen| (of.volume, of.place) == (second.volume, second.place);
    moves.iter().find(of).copied()
}

/// The claim in another phase, under the epoch that the storage host knows it by.
pub(crate) fn put_phase(txn: Txn, second: &Claimed<MoveClaim>, phase: MovePhase) -> Txn {
    let value = MoveClaim {
        phase,
        ..second.value.clone()
    };
    let kept_epoch = second.epoch;
    put(txn, second, &Rebuilt { value, kept_epoch })
}

/// Nobody opens the place any more. The claim's new epoch is later than that of all that its storage
/// host holds of it, and is what is released.
pub(crate) fn put_leaving(txn: Txn, second: &Claimed<MoveClaim>, left: MoveClaim) -> Txn {
    let left = MoveClaim {
        phase: MovePhase::Leaving,
        ..left
    };
    put(txn, second, &left)
}

fn put(txn: Txn, second: &Claimed<MoveClaim>, value: &impl Serialize) -> Txn {
    let key = keys::second(second.value.volume);
    txn.unchanged(key.clone(), second.revision).put(key, value)
}

/// The item of the second place: blank, and written by QEMU alone.
fn item(seen: &Seen<'_>, second: &Claimed<MoveClaim>) -> Item {
    let MoveClaim {
        volume: _,
        owner: _,
        place,
        pool,
        host: _,
        size,
        phase: _,
    } = &second.value;
    Item {
        key: key(*place),
        epoch: second.epoch,
        object: seen.me.clone(),
        body: ItemBody::Volume(VolumeItem {
            volume: *place,
            pool: pool.clone(),
            size: *size,
            source: VolumeSource::Blank,
            restore: None,
        }),
    }
}

fn under_way(seen: &Seen<'_>, volume: &Claimed<VolumeClaim>, second: &Claimed<MoveClaim>) -> Next {
    let claim = &second.value;
    if claim.phase == MovePhase::Leaving {
        return leaving(seen, volume, second);
    }
    let wanted = object::life(&seen.volume.metadata) == Life::Wanted
        && seen.volume.spec.pool == claim.pool.as_str();
    let opened = seen.claims.attachments.contains_key(&claim.place);
    let why = |what: &str| Txn::new(format!("volume {}: {what} {}", seen.me, claim.pool));
    let next = match (claim.phase, opened) {
        (MovePhase::Reserved | MovePhase::Ending, false) if !wanted => {
            let txn = put_leaving(why("leave"), second, claim.clone());
            let txn = txn.absent(keys::attach(claim.place));
            Ok(Plan {
                uncarry: vec![(claim.host.clone(), key(claim.place))],
                ..Plan::claim(txn)
            })
        }
        (MovePhase::Reserved | MovePhase::Copying, true) if !wanted => {
            let txn = why("take back the move to");
            Ok(Plan::claim(put_phase(txn, second, MovePhase::Ending)))
        }
        // Its machine is gone: the next one begins where this one did.
        (MovePhase::Copying | MovePhase::Ending, false) => Ok(Plan::claim(put_phase(
            why("nobody copies to"),
            second,
            MovePhase::Reserved,
        ))),
        (MovePhase::Reserved, false) => open(seen, second),
        (MovePhase::Copying, true) => copying(seen, volume, second),
        (MovePhase::Switching, true) => switching(seen, second),
        (MovePhase::Reserved, true) => Err(Fact::Move(MoveFact::Preparing {
            to: claim.pool.to_string(),
        })),
        (MovePhase::Ending, true) => Err(Fact::Move(MoveFact::TakenBack {
            to: claim.pool.to_string(),
        })),
        (MovePhase::Recalled, true) => recalled(seen, second),
        (MovePhase::Switching | MovePhase::Recalled, false) => Err(asks_host(seen, claim)),
        (MovePhase::Leaving, _) => Err(left_behind(claim)),
    };
    match next {
        Ok(plan) => Next::Commit(Box::new(plan)),
        Err(fact) => {
            let item = item(seen, second);
            let storage =
                sight::of_item(&claim.host, seen.moving.presence, &item, seen.moving.said);
            // What its storage could not do explains what waits for it.
            let fact = match storage {
                Sight::Told(told) if claim.phase == MovePhase::Reserved => told,
                _ => fact,
            };
            Next::stands(fact, Some((claim.host.clone(), item)))
        }
    }
}

fn asks_host(seen: &Seen<'_>, second: &MoveClaim) -> Fact {
    let attached = seen.claims.attachments.get(&second.place);
    let (vm, host) = attached.map_or((String::new(), String::new()), |attached| {
        let AttachClaim { vm, host, .. } = &attached.value;
        let of = seen.claims.vms.get(vm);
        let vm = of.map_or(vm.to_string(), |of| of.value.owner.name.clone());
        (vm, host.to_string())
    });
    Fact::Move(MoveFact::AsksHost { vm, host })
}

fn left_behind(second: &MoveClaim) -> Fact {
    Fact::Move(MoveFact::LeftBehind {
        pool: second.pool.to_string(),
    })
}
