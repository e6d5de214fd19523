//! How a backup goes: first the run is stopped, then its snapshots are deleted, then its claims go.
//! What is in the repository stays there.

use dc_types::claim::{BackupClaim, BackupState, SnapshotClaim, keys};

use super::plan::{base_of, release, with_group};
use super::{Seen, key};
use crate::claims::Claimed;
use crate::place::Presence;
use crate::plan::Plan;
use crate::sight::Removal;
use crate::snapshot;
use crate::txn::Txn;
use crate::words::{BackupFact, Fact};

pub(super) fn plan(seen: &Seen<'_>, claim: Option<&Claimed<BackupClaim>>) -> Plan {
    if let Some(next) = base_of(seen) {
        return Plan::found(Fact::Backup(BackupFact::Base {
            by: next.value.owner.name.clone(),
        }));
    }
    let nothing_left = claim.is_none() && seen.claims.snapshots_by(seen.me.uid).next().is_none();
    if nothing_left {
        return Plan::let_go();
    }
    if let Some(claim) = claim
        && claim.value.state == BackupState::Running
    {
        match seen.removal {
            Removal::NotAsked => {
                let host = claim.value.host.clone();
                let uid = seen.me.uid;
                let txn = Txn::new(format!("backup {}: stop", seen.me))
                    .unchanged(keys::backup(uid), claim.revision);
                return Plan {
                    uncarry: vec![(host, key(uid))],
                    ..Plan::claim(release(txn, claim))
                };
            }
            Removal::Pending => return Plan::found(waits(seen, claim)),
            Removal::Done => {}
        }
    }
    let plan = give_back(seen, claim);
    match (&plan.txn, plan.found.is_empty()) {
        (None, true) => Plan::found(Fact::Deleting),
        _ => plan,
    }
}

fn waits(seen: &Seen<'_>, claim: &Claimed<BackupClaim>) -> Fact {
    match seen.presence {
        Presence::Connected => Fact::Deleting,
        Presence::Silent | Presence::Never => Fact::HostSilent {
            host: claim.value.host.to_string(),
        },
    }
}

/// Gives its snapshots back, then its claims. Nothing is found: how the backup itself stands is not
/// changed by it.
pub(super) fn give_back(seen: &Seen<'_>, claim: Option<&Claimed<BackupClaim>>) -> Plan {
    let mine: Vec<&Claimed<SnapshotClaim>> = seen.claims.snapshots_by(seen.me.uid).collect();
    let removal = match mine.is_empty() {
        true => Removal::Done,
        false => with_group(seen, |group| snapshot::plan::removal(group, &mine)),
    };
    match removal {
        Removal::NotAsked => {
            with_group(seen, |group| snapshot::deletion::release_all(group, &mine))
        }
        Removal::Pending => Plan::default(),
        Removal::Done => {
            let txn = Txn::new(format!("backup {}: let its snapshots go", seen.me));
            let txn = snapshot::deletion::without_claims(txn, &mine);
            Plan::claim(match claim {
                Some(claim) => {
                    let key = keys::backup(seen.me.uid);
                    txn.unchanged(key.clone(), claim.revision).delete(key)
                }
                None => txn,
            })
        }
    }
}
