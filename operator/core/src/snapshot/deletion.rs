//! How a snapshot goes: its storage hosts delete it, and when all have confirmed, its claims go.

use dc_types::claim::keys;

use super::plan::{Mine, release, removal, without_hold};
use super::{Seen, key};
use crate::place::Presence;
use crate::plan::Plan;
use crate::sight::Removal;
use crate::txn::Txn;
use crate::words::Fact;

pub(super) fn plan(seen: &Seen<'_>, mine: &Mine<'_>) -> Plan {
    if mine.is_empty() {
        return Plan::let_go();
    }
    match removal(seen, mine) {
        Removal::NotAsked => release_all(seen, mine),
        Removal::Pending => {
            let silent = mine.iter().find(|claim| {
                let member = seen.members.get(&claim.value.snapshot);
                member.is_some_and(|member| member.presence != Presence::Connected)
            });
            Plan::found(match silent {
                Some(claim) => Fact::HostSilent {
                    host: claim.value.host.to_string(),
                },
                None => Fact::Deleting,
            })
        }
        Removal::Done => {
            let txn = Txn::new(format!("snapshot {}: let go", seen.me));
            Plan::claim(without_claims(txn, mine))
        }
    }
}

/// Records the release of each that is not gone yet; a guest that is held for it is let go.
pub(crate) fn release_all(seen: &Seen<'_>, mine: &Mine<'_>) -> Plan {
    let mut txn = Txn::new(format!("snapshot {}: release", seen.me));
    let mut uncarry = Vec::new();
    for claim in mine {
        let member = seen.members.get(&claim.value.snapshot);
        if member.is_some_and(|member| member.removal != Removal::NotAsked) {
            continue;
        }
        let key_of_claim = keys::snapshot(claim.value.snapshot);
        txn = release(txn.unchanged(key_of_claim, claim.revision), claim);
        uncarry.push((claim.value.host.clone(), key(claim.value.snapshot)));
    }
    let held = mine.iter().find_map(|claim| claim.value.held);
    let hold = held.and_then(|vm| seen.claims.holds.get(&vm));
    let hold = hold.filter(|hold| hold.value.owner.uid == seen.me.uid);
    Plan {
        uncarry,
        ..Plan::claim(without_hold(txn, hold))
    }
}

pub(crate) fn without_claims(mut txn: Txn, mine: &Mine<'_>) -> Txn {
    for claim in mine {
        let key = keys::snapshot(claim.value.snapshot);
        txn = txn.unchanged(key.clone(), claim.revision).delete(key);
    }
    txn
}
