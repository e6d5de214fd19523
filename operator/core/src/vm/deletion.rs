//! How a machine goes: first its host lets go of it, then the storage of its volumes, then we.

use dc_types::HostName;
use dc_types::claim::{PendingRelease, VmClaim, keys};
use dc_types::plan::{Disposition, ItemKey, Release};
use dc_types::{Epoch, InstanceId};

use super::claim::held_keys;
use super::items::Held;
use super::{Seen, home, id, key, moving};
use crate::claims::Claimed;
use crate::place::Presence;
use crate::plan::Plan;
use crate::sight::Removal;
use crate::txn::Txn;
use crate::words::Fact;

pub(super) fn plan(seen: &Seen<'_>) -> Plan {
    let Some(claim) = seen.claims.vms.get(&id(seen.me)) else {
        let waits = seen
            .disks
            .iter()
            .any(|disk| disk.grant_removal == Removal::Pending);
        return match waits {
            true => Plan::found(Fact::Deleting),
            false => Plan::let_go(),
        };
    };
    let host = &claim.value.host;
    match seen.removal {
        Removal::NotAsked => {
            let release = release(seen, host, key(seen.me), claim.epoch);
            let txn = Txn::new(format!("vm {}: release on {host}", seen.me))
                .unchanged(keys::vm(claim.value.vm), claim.revision)
                .put(keys::release(host, &key(seen.me)), &release);
            Plan {
                uncarry: vec![(host.clone(), key(seen.me))],
                ..Plan::claim(txn)
            }
        }
        Removal::Pending => Plan::found(match seen.index.host(host).map(|h| h.presence) {
            Some(Presence::Silent | Presence::Never) => home::silent(seen, host),
            Some(Presence::Connected) | None => Fact::Deleting,
        }),
        Removal::Done => give_back(seen, claim),
    }
}

/// The host has confirmed: everything the machine held is free, and its grants are to be deleted.
fn give_back(seen: &Seen<'_>, claim: &Claimed<VmClaim>) -> Plan {
    let vm = claim.value.vm;
    let mut txn = Txn::new(format!("vm {}: give back", seen.me))
        .unchanged(keys::vm(vm), claim.revision)
        .delete(keys::vm(vm));
    for held in held_keys(&claim.value) {
        txn = txn.delete(held);
    }
    let mut uncarry = vec![(claim.value.host.clone(), key(seen.me))];
    for &volume in &claim.value.volumes {
        let (next, dropped) = detach(txn, seen, vm, volume);
        txn = next;
        uncarry.extend(dropped);
    }
    Plan {
        uncarry,
        ..Plan::claim(txn)
    }
}

/// Adds the end of one attachment: its claim goes, its grant is to be deleted, and those of the place
/// that the volume is moved to. Nothing is added
/// when somebody else holds the volume by now.
pub(super) fn detach(
    txn: Txn,
    seen: &Seen<'_>,
    vm: InstanceId,
    volume: InstanceId,
) -> (Txn, Vec<(HostName, ItemKey)>) {
    let Some(held) = Held::find(seen, volume).filter(|held| held.attach.value.vm == vm) else {
        return (txn, Vec::new());
    };
    let of = (held.storage_host(), held.place());
    let (txn, gone) = moving::give_back(txn, seen, of, held.attach);
    let (txn, second) = moving::detach(txn, seen, volume);
    (txn, [gone].into_iter().chain(second).collect())
}

fn release(seen: &Seen<'_>, host: &HostName, key: ItemKey, epoch: Epoch) -> PendingRelease {
    PendingRelease {
        host: host.clone(),
        release: Release {
            key,
            epoch,
            object: seen.me.clone(),
            disposition: Disposition::Remove,
        },
    }
}
