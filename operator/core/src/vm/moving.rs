//! The machine's half of a move: what of it follows from what its host has said.
//!
//! A disk that has a second place is opened there too, and its item names it as long as the ledger
//! says so, whatever hosts have said since this operator leads. Everything that gives a place away is
//! decided here, from the host's own words about the very item that it holds: see
//! [`crate::volume::moving`] for the whole.

use dc_types::claim::{AttachClaim, MoveClaim, MovePhase, PendingRelease, VolumeClaim, keys};
use dc_types::plan::{Disposition, Item, ItemKey, Mirror, MirrorOrder, Release};
use dc_types::report::{Detail, Guest, ItemState, MoveSeen, MoveState, Observation};
use dc_types::{HostName, InstanceId};

use super::items::{self, Held};
use super::{DiskSeen, Seen, Way, grant_key, id};
use crate::claims::{Claimed, Rebuilt};
use crate::place::Presence;
use crate::plan::Plan;
use crate::sight::{self, Removal};
use crate::txn::Txn;
use crate::volume::moving::{put_leaving, put_phase};
use crate::words::{Fact, MoveFact};

/// What was read around the second place of a disk.
#[derive(Clone, Debug)]
pub struct SecondSeen {
    /// How it is opened, as far as its storage host has said.
    pub way: Option<Way>,
    pub grant_said: Option<Observation>,
}

/// The second place of a volume, opened for a machine.
#[derive(Clone, Copy)]
pub(super) struct Second<'a> {
    pub claim: &'a Claimed<MoveClaim>,
    pub attach: &'a Claimed<AttachClaim>,
}

/// The second place of a volume that this machine may open.
pub(super) fn opened<'a>(seen: &Seen<'a>, volume: InstanceId) -> Option<Second<'a>> {
    let claim = seen.claims.moves.get(&volume)?;
    let attach = seen.claims.attachments.get(&claim.value.place)?;
    (attach.value.vm == id(seen.me)).then_some(Second { claim, attach })
}

/// The grant of the second place, at its storage host; `None` while that has not said how it is opened.
pub(super) fn grant(seen: &Seen<'_>, second: &Second<'_>, disk: &DiskSeen<'_>) -> Option<Item> {
    let MoveClaim { place, pool, .. } = &second.claim.value;
    let way = disk.second.as_ref()?.way.as_ref();
    items::grant_of(seen, second.attach, (*place, pool), way)
}

/// What the machine's item says of the second place. An error while it cannot be said how that is
/// opened: what the host holds stays.
pub(super) fn mirror(
    seen: &Seen<'_>,
    volume: InstanceId,
    disk: &DiskSeen<'_>,
) -> Result<Option<Box<Mirror>>, ()> {
    let Some(second) = opened(seen, volume) else {
        return Ok(None);
    };
    let MoveClaim { place, phase, .. } = &second.claim.value;
    if !phase.is_mirrored() {
        return Ok(None);
    }
    let way = disk.second.as_ref().and_then(|second| second.way.as_ref());
    let grant = second.attach.epoch;
    Ok(Some(Box::new(Mirror {
        place: *place,
        grant,
        source: items::source(seen, *place, grant, way.ok_or(())?),
        order: match phase {
            MovePhase::Switching => MirrorOrder::Switch,
            _ => MirrorOrder::Copy,
        },
    })))
}

/// The volume, if there is one, of which only the machine's host knows where its bytes are.
pub(super) fn goes_over(seen: &Seen<'_>) -> Option<Fact> {
    let claim = seen.claims.vms.get(&id(seen.me))?;
    claim
        .value
        .volumes
        .iter()
        .find_map(|volume| of(seen, *volume))
}

/// The same of a disk that the object no longer names: the host holds an item with it.
pub(super) fn drops(seen: &Seen<'_>, dropped: &[InstanceId]) -> Option<Fact> {
    dropped.iter().find_map(|volume| of(seen, *volume))
}

fn of(seen: &Seen<'_>, volume: InstanceId) -> Option<Fact> {
    let second = opened(seen, volume)?;
    second.claim.value.phase.may_have_gone_over().then(|| {
        Fact::Move(MoveFact::DiskGoesOver {
            volume: second.claim.value.owner.name.clone(),
        })
    })
}

/// The next transaction that follows from what hosts have said. `machine` is the item that the host is
/// to hold now.
pub(super) fn next(
    seen: &Seen<'_>,
    volumes: &[InstanceId],
    machine: Option<&Item>,
    disks: &[(Held<'_>, &DiskSeen<'_>)],
) -> Option<Plan> {
    let said = seen.said?;
    let vm = seen.claims.vms.get(&id(seen.me))?;
    let host = seen.index.host(&vm.value.host);
    if host.map(|host| host.presence) != Some(Presence::Connected) {
        return None;
    }
    // What it says of an older item may be otherwise by now; what it says of this one stays so.
    let heard = machine.is_some_and(|item| (said.epoch, said.hash) == (item.epoch, item.hash()));
    volumes.iter().find_map(|volume| {
        let second = opened(seen, *volume)?;
        let state = told(said, &second.claim.value);
        let why = |what: &str| Txn::new(format!("vm {}: {what} {volume}", seen.me));
        match (second.claim.value.phase, state) {
            (phase, Some(MoveState::Switched)) if phase.is_mirrored() => done(seen, &second),
            (MovePhase::Reserved, _) if is_granted(seen, &second, *volume, disks) => {
                let txn = why("copy").unchanged(
                    keys::attach(second.claim.value.place),
                    second.attach.revision,
                );
                Some(Plan::claim(put_phase(
                    txn,
                    second.claim,
                    MovePhase::Copying,
                )))
            }
            (MovePhase::Recalled, Some(MoveState::Waiting)) if heard && is_off(said) => {
                let txn = why("not gone over");
                Some(Plan::claim(put_phase(
                    txn,
                    second.claim,
                    MovePhase::Copying,
                )))
            }
            (MovePhase::Ending, None) if heard && !is_failed(said) => {
                let txn = why("let go of the copy of");
                let (txn, gone) = close(txn, seen, &second);
                let txn = put_leaving(txn, second.claim, second.claim.value.clone());
                Some(Plan {
                    uncarry: vec![gone],
                    ..Plan::claim(txn)
                })
            }
            _ => None,
        }
    })
}

fn told(said: &Observation, second: &MoveClaim) -> Option<MoveState> {
    let Detail::Vm { moves, .. } = &said.detail else {
        return None;
    };
    // What is being ended is told of the place that its record has.
    let of = |of: &&MoveSeen| of.volume == second.volume;
    let of = moves.iter().find(of)?;
    match of.place == second.place {
        true => Some(of.state),
        false => Some(MoveState::Ending),
    }
}

fn is_off(said: &Observation) -> bool {
    let Detail::Vm { guest, .. } = &said.detail else {
        return false;
    };
    matches!(guest, Guest::Absent | Guest::Stopped | Guest::Crashed)
}

fn is_failed(said: &Observation) -> bool {
    matches!(said.state, ItemState::Failed(_))
}

fn is_granted(
    seen: &Seen<'_>,
    second: &Second<'_>,
    volume: InstanceId,
    disks: &[(Held<'_>, &DiskSeen<'_>)],
) -> bool {
    let mut disks = disks.iter();
    let disk = disks.find(|(held, _)| held.volume == volume);
    let Some((_, disk)) = disk else {
        return false;
    };
    let host = &second.claim.value.host;
    let presence = seen.index.host(host);
    let presence = presence.map_or(Presence::Never, |host| host.presence);
    let said = disk.second.as_ref().and_then(|of| of.grant_said.as_ref());
    grant(seen, second, disk)
        .is_some_and(|item| sight::of_item(host, presence, &item, said).is_as_asked())
}

/// The bytes are in the second place alone: it is the volume's from now on, and the first one is what
/// is left behind.
fn done(seen: &Seen<'_>, second: &Second<'_>) -> Option<Plan> {
    let MoveClaim {
        volume,
        owner: _,
        place,
        pool,
        host,
        size: _,
        phase: _,
    } = &second.claim.value;
    let old = seen.claims.volumes.get(volume)?;
    let attach = seen.claims.attachments.get(&old.value.place())?;
    let new = VolumeClaim {
        pool: pool.clone(),
        host: host.clone(),
        stored: Some(*place),
        restored: old
            .value
            .restore
            .as_ref()
            .map(|last| last.order.clone())
            .or(old.value.restored.clone()),
        restore: None,
        ..old.value.clone()
    };
    let left = MoveClaim {
        place: old.value.place(),
        pool: old.value.pool.clone(),
        host: old.value.host.clone(),
        size: old.value.size,
        ..second.claim.value.clone()
    };
    let txn = Txn::new(format!("vm {}: {volume} has gone over to {pool}", seen.me))
        .unchanged(keys::attach(*place), second.attach.revision)
        .unchanged(keys::volume(*volume), old.revision)
        // Under the epoch that its storage host knows the place by: nothing of it is new there.
        .put(
            keys::volume(*volume),
            &Rebuilt {
                value: new,
                kept_epoch: second.claim.epoch,
            },
        );
    let (txn, gone) = give_back(txn, seen, (&left.host, left.place), attach);
    Some(Plan {
        uncarry: vec![gone],
        ..Plan::claim(put_leaving(txn, second.claim, left))
    })
}

/// Adds the end of a second place's attachment.
fn close(txn: Txn, seen: &Seen<'_>, second: &Second<'_>) -> (Txn, (HostName, ItemKey)) {
    let MoveClaim { place, host, .. } = &second.claim.value;
    give_back(txn, seen, (host, *place), second.attach)
}

/// Adds what becomes of the second place when the machine no longer has the volume: another machine
/// may have it copied there from the beginning.
pub(super) fn detach(
    txn: Txn,
    seen: &Seen<'_>,
    volume: InstanceId,
) -> (Txn, Option<(HostName, ItemKey)>) {
    let Some(second) = opened(seen, volume) else {
        return (txn, None);
    };
    let (txn, gone) = close(txn, seen, &second);
    let txn = match second.claim.value.phase {
        MovePhase::Reserved | MovePhase::Copying => {
            put_phase(txn, second.claim, MovePhase::Reserved)
        }
        MovePhase::Ending | MovePhase::Leaving => {
            put_leaving(txn, second.claim, second.claim.value.clone())
        }
        // Not while only the host knows where the bytes are: whoever asked this before is wrong.
        MovePhase::Switching | MovePhase::Recalled => txn.absent(keys::second(volume)),
    };
    (txn, Some(gone))
}

/// An attachment goes, and its grant is to be deleted.
pub(super) fn give_back(
    txn: Txn,
    seen: &Seen<'_>,
    (host, place): (&HostName, InstanceId),
    attach: &Claimed<AttachClaim>,
) -> (Txn, (HostName, ItemKey)) {
    let key = grant_key(place);
    let release = PendingRelease {
        host: host.clone(),
        release: Release {
            key,
            epoch: attach.epoch,
            object: seen.me.clone(),
            disposition: Disposition::Remove,
        },
    };
    let txn = txn
        .unchanged(keys::attach(place), attach.revision)
        .delete(keys::attach(place))
        .put(keys::release(host, &key), &release);
    (txn, (host.clone(), key))
}

/// Whether a machine that is being deleted has to stay for a moment.
pub(super) fn stays(seen: &Seen<'_>) -> Option<Fact> {
    match seen.removal {
        Removal::NotAsked => goes_over(seen),
        Removal::Pending | Removal::Done => None,
    }
}
