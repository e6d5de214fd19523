//! The next step of one snapshot.

use dc_types::HostName;
use dc_types::claim::{HoldClaim, HoldPhase, PendingRelease, SnapshotClaim, SnapshotState, keys};
use dc_types::plan::{Disposition, Item, Release};
use dc_types::report::{Consistency, Detail, HoldSeen, HoldState};

use super::validate::{ValidSnapshot, validate};
use super::{ATTEMPTS, Purpose, Seen, deletion, id, item, key};
use crate::claims::{Claimed, Rebuilt};
use crate::object::{self, Life};
use crate::place::Presence;
use crate::plan::Plan;
use crate::quota::{Amounts, Asker, Thing};
use crate::sight::{self, Removal, Sight};
use crate::txn::Txn;
use crate::words::{Fact, Standing};

pub(crate) type Mine<'a> = [&'a Claimed<SnapshotClaim>];

#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    let mine: Vec<_> = seen.claims.snapshots_by(seen.me.uid).collect();
    if object::life(&seen.snapshot.metadata) == Life::Deleting {
        return deletion::plan(seen, &mine);
    }
    if !object::is_held(&seen.snapshot.metadata) {
        return Plan::found(Fact::Creating);
    }
    let Some(first) = mine.first() else {
        return match validate(seen) {
            Err(found) => Plan::all_found(found),
            Ok(valid) => allowed(seen, &valid, &mine, || Plan::claim(begin(seen, &valid, 0))),
        };
    };
    match first.value.state {
        SnapshotState::Taking => taking(seen, first, &mine),
        SnapshotState::Broken => again(seen, first, &mine),
        SnapshotState::Taken { .. } => kept(seen, &mine),
    }
}

/// The department's quota has room for what the group has more than it holds: when it is begun anew
/// its old claims go in the same transaction.
fn allowed(
    seen: &Seen<'_>,
    valid: &ValidSnapshot,
    mine: &Mine<'_>,
    begin: impl FnOnce() -> Plan,
) -> Plan {
    let Purpose::Department(allowance) = seen.purpose else {
        return begin();
    };
    let more = valid.members.len().saturating_sub(mine.len());
    let asks = Amounts::of([(Thing::Snapshots, more as u64)]);
    match allowance.check(seen.claims, Asker::of(seen.me), &asks) {
        Ok(()) => begin(),
        Err(fact) => Plan::found(fact),
    }
}

/// Claims every snapshot of the group, and the hold of the guest that has the volumes.
fn begin(seen: &Seen<'_>, valid: &ValidSnapshot, attempt: u32) -> Txn {
    let mut txn = Txn::new(format!("snapshot {}: claim, attempt {attempt}", seen.me));
    for member in &valid.members {
        let claim = SnapshotClaim {
            snapshot: id(seen.me, member.volume, attempt),
            owner: seen.me.clone(),
            volume: member.volume,
            pool: member.pool.clone(),
            host: member.host.clone(),
            size: member.size,
            held: valid.held,
            attempt,
            state: SnapshotState::Taking,
            stored: member.stored,
            purpose: seen.purpose.claimed(),
        };
        txn = txn
            .unchanged(keys::volume(member.volume), member.revision)
            .claim(keys::snapshot(claim.snapshot), &claim);
    }
    let Some(vm) = valid.held else {
        return txn;
    };
    let hold = HoldClaim {
        vm,
        owner: seen.me.clone(),
        phase: HoldPhase::Asked,
    };
    let txn = txn.claim(keys::hold(vm), &hold);
    match seen.claims.vms.get(&vm) {
        Some(claim) => txn.unchanged(keys::vm(vm), claim.revision),
        None => txn,
    }
}

fn taking(seen: &Seen<'_>, first: &Claimed<SnapshotClaim>, mine: &Mine<'_>) -> Plan {
    let Some(vm) = first.value.held else {
        let attached =
            |c: &&Claimed<SnapshotClaim>| seen.claims.attachments.contains_key(&c.value.place());
        if mine.len() > 1 && mine.iter().any(attached) {
            // Somebody may have written between the first and the last.
            return give_up(seen, mine, None);
        }
        return match taken(seen, mine) {
            // Nobody has it, and what the last who had it left unwritten is not known.
            Took::All(at) => Plan::claim(settle(seen, mine, None, Consistency::Crash, &at)),
            Took::Waits(found) => carry(mine, found),
            Took::Failed => give_up(seen, mine, None),
        };
    };
    let hold = seen.claims.holds.get(&vm);
    let hold = hold.filter(|hold| hold.value.owner.uid == seen.me.uid);
    let (Some(hold), Some(machine)) = (hold, seen.machine) else {
        // The machine, or the ledger that knew of the hold, is gone.
        return give_up(seen, mine, hold);
    };
    let held = held_of(machine.said.as_ref().map(|said| &said.detail));
    let state = held.filter(|held| held.id == first.epoch);
    match (hold.value.phase, state.map(|held| (held.state, held.level))) {
        (_, Some((HoldState::Broken, _))) | (HoldPhase::Asked, Some((HoldState::Kept, _))) => {
            give_up(seen, mine, Some(hold))
        }
        (HoldPhase::Asked, None) => Plan::found(match machine.presence {
            Presence::Connected => Fact::HoldPending {
                vm: machine.name.clone(),
                host: machine.host.to_string(),
            },
            Presence::Silent | Presence::Never => Fact::HostSilent {
                host: machine.host.to_string(),
            },
        }),
        (HoldPhase::Asked, Some((HoldState::Holding, _))) => match taken(seen, mine) {
            Took::All(_) => Plan::claim(lift(seen, hold)),
            Took::Waits(found) => carry(mine, found),
            Took::Failed => give_up(seen, mine, Some(hold)),
        },
        (HoldPhase::Lifted, Some((HoldState::Kept, level))) => match taken(seen, mine) {
            Took::All(at) => Plan::claim(settle(seen, mine, Some(hold), level, &at)),
            Took::Waits(found) => carry(mine, found),
            Took::Failed => give_up(seen, mine, Some(hold)),
        },
        (HoldPhase::Lifted, None | Some((HoldState::Holding, _))) => {
            let fact = Fact::SnapshotVerifying {
                vm: machine.name.clone(),
            };
            carry(mine, vec![fact])
        }
    }
}

fn held_of(detail: Option<&Detail>) -> Option<HoldSeen> {
    match detail? {
        Detail::Vm { held, .. } => held.as_deref().copied(),
        Detail::None
        | Detail::Image { .. }
        | Detail::Volume { .. }
        | Detail::Snapshot { .. }
        | Detail::Backup { .. }
        | Detail::Restore { .. }
        | Detail::Manifest { .. } => None,
    }
}

/// How far a group is.
enum Took {
    /// When each was taken, in the order of the claims.
    All(Vec<i64>),
    Waits(Vec<Fact>),
    Failed,
}

fn taken(seen: &Seen<'_>, mine: &Mine<'_>) -> Took {
    let (mut at, mut waiting, mut told) = (Vec::new(), 0, Vec::new());
    for claim in mine {
        match sight_of(seen, claim) {
            Sight::AsAsked(Detail::Snapshot { size: _, taken_at }) => at.push(taken_at),
            Sight::AsAsked(_) | Sight::OnTheWay(_) => waiting += 1,
            Sight::Told(fact) => told.push(fact),
        }
    }
    if told.iter().any(|f| f.standing() == Standing::Troubled) {
        return Took::Failed;
    }
    match (told.is_empty(), waiting) {
        (true, 0) => Took::All(at),
        (true, _) => Took::Waits(vec![Fact::SnapshotTaking {
            taken: at.len(),
            all: mine.len(),
        }]),
        (false, _) => Took::Waits(told),
    }
}

fn sight_of(seen: &Seen<'_>, claim: &Claimed<SnapshotClaim>) -> Sight {
    let member = seen.members.get(&claim.value.snapshot);
    let presence = member.map_or(Presence::Never, |member| member.presence);
    let said = member.and_then(|member| member.said.as_ref());
    sight::of_item(&claim.value.host, presence, &item(claim), said)
}

fn carry(mine: &Mine<'_>, found: Vec<Fact>) -> Plan {
    let carried = |claim: &&Claimed<SnapshotClaim>| (claim.value.host.clone(), item(claim));
    let carry: Vec<(HostName, Item)> = mine.iter().map(carried).collect();
    Plan {
        carry,
        found,
        ..Plan::default()
    }
}

/// Written again under the epoch that hosts know it by.
fn put_again(txn: Txn, claim: &Claimed<SnapshotClaim>, state: SnapshotState) -> Txn {
    let value = SnapshotClaim {
        state,
        ..claim.value.clone()
    };
    let key = keys::snapshot(value.snapshot);
    let kept_epoch = claim.epoch;
    txn.unchanged(key.clone(), claim.revision)
        .put(key, &Rebuilt { value, kept_epoch })
}

/// All are taken: the host is to let the guest go, and to say whether it was held until now.
fn lift(seen: &Seen<'_>, hold: &Claimed<HoldClaim>) -> Txn {
    let value = HoldClaim {
        phase: HoldPhase::Lifted,
        ..hold.value.clone()
    };
    let key = keys::hold(value.vm);
    let kept_epoch = hold.epoch;
    Txn::new(format!("snapshot {}: all taken, let the guest go", seen.me))
        .unchanged(key.clone(), hold.revision)
        .put(key, &Rebuilt { value, kept_epoch })
}

fn settle(
    seen: &Seen<'_>,
    mine: &Mine<'_>,
    hold: Option<&Claimed<HoldClaim>>,
    level: Consistency,
    taken_at: &[i64],
) -> Txn {
    let mut txn = Txn::new(format!("snapshot {}: taken, {level:?}", seen.me));
    for (claim, &taken_at) in mine.iter().zip(taken_at) {
        txn = put_again(txn, claim, SnapshotState::Taken { level, taken_at });
    }
    without_hold(txn, hold)
}

pub(super) fn without_hold(txn: Txn, hold: Option<&Claimed<HoldClaim>>) -> Txn {
    match hold {
        Some(hold) => txn
            .unchanged(keys::hold(hold.value.vm), hold.revision)
            .delete(keys::hold(hold.value.vm)),
        None => txn,
    }
}

/// What was taken is of no one instant: it goes, and the guest is let go at once.
fn give_up(seen: &Seen<'_>, mine: &Mine<'_>, hold: Option<&Claimed<HoldClaim>>) -> Plan {
    let mut txn = Txn::new(format!("snapshot {}: broken", seen.me));
    let mut uncarry = Vec::new();
    for claim in mine {
        txn = put_again(txn, claim, SnapshotState::Broken);
        txn = release(txn, claim);
        uncarry.push((claim.value.host.clone(), key(claim.value.snapshot)));
    }
    Plan {
        uncarry,
        ..Plan::claim(without_hold(txn, hold))
    }
}

/// Records that a snapshot is to be deleted at its storage host.
pub(crate) fn release(txn: Txn, claim: &Claimed<SnapshotClaim>) -> Txn {
    let SnapshotClaim { host, owner, .. } = &claim.value;
    let key = key(claim.value.snapshot);
    let release = PendingRelease {
        host: host.clone(),
        release: Release {
            key,
            epoch: claim.epoch,
            object: owner.clone(),
            disposition: Disposition::Remove,
        },
    };
    txn.put(keys::release(host, &key), &release)
}

/// How far the removal of all of them is: as far as that of the slowest.
pub(crate) fn removal(seen: &Seen<'_>, mine: &Mine<'_>) -> Removal {
    let of = |claim: &&Claimed<SnapshotClaim>| {
        let member = seen.members.get(&claim.value.snapshot);
        member.map_or(Removal::NotAsked, |member| member.removal)
    };
    let all: Vec<Removal> = mine.iter().map(of).collect();
    match () {
        () if all.contains(&Removal::NotAsked) => Removal::NotAsked,
        () if all.contains(&Removal::Pending) => Removal::Pending,
        () => Removal::Done,
    }
}

/// Broken: once nothing of it is left it is begun anew, under other ids.
fn again(seen: &Seen<'_>, first: &Claimed<SnapshotClaim>, mine: &Mine<'_>) -> Plan {
    let attempts = first.value.attempt + 1;
    match removal(seen, mine) {
        Removal::NotAsked => deletion::release_all(seen, mine),
        Removal::Pending => Plan::found(Fact::SnapshotAgain { attempts }),
        Removal::Done if attempts >= ATTEMPTS => Plan::found(Fact::SnapshotFailed { attempts }),
        Removal::Done => match validate(seen) {
            Err(found) => Plan::all_found(found),
            Ok(valid) => allowed(seen, &valid, mine, || {
                let txn = begin(seen, &valid, attempts);
                Plan::claim(deletion::without_claims(txn, mine))
            }),
        },
    }
}

fn kept(seen: &Seen<'_>, mine: &Mine<'_>) -> Plan {
    let found = mine.iter().filter_map(|claim| {
        let SnapshotState::Taken {
            level: _,
            taken_at: then,
        } = claim.value.state
        else {
            return None;
        };
        match sight_of(seen, claim) {
            Sight::AsAsked(Detail::Snapshot { size: _, taken_at }) if taken_at != then => {
                Some(Fact::SnapshotReplaced {
                    snapshot: claim.value.snapshot.to_string(),
                })
            }
            Sight::AsAsked(_) => None,
            Sight::OnTheWay(_) => Some(Fact::LookedFor),
            Sight::Told(fact) => Some(fact),
        }
    });
    carry(mine, found.collect())
}
