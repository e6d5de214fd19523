//! How a move begins: room for a second place is taken, and once that is made the machine may open it.

use dc_crds::pool::DriverKind;
use dc_types::claim::{
    AttachClaim, MoveClaim, MovePhase, SnapshotPurpose, SnapshotState, VmClaim, VolumeClaim, keys,
};
use dc_types::report::Guest;
use dc_types::{HostName, InstanceId, PoolName};
use uuid::Uuid;

use super::{guest, item};
use crate::claims::{Claimed, Rebuilt};
use crate::place::Presence;
use crate::plan::Plan;
use crate::quota::{Amounts, Asker};
use crate::sight::{self, Sight};
use crate::txn::Txn;
use crate::vm;
use crate::volume::plan::room;
use crate::volume::validate::takes;
use crate::volume::{PoolSeen, Seen, id, pending_restore};
use crate::words::{Fact, MoveFact};

/// A new place: of this volume, and of no other claim of it that there ever was.
fn new_place(seen: &Seen<'_>, volume: &Claimed<VolumeClaim>) -> InstanceId {
    let epoch = seen.claims.epoch_of(volume.revision);
    InstanceId(Uuid::new_v5(
        &volume.value.volume.0,
        format!("place {epoch}").as_bytes(),
    ))
}

/// Takes room for a second place, or says why not.
pub(super) fn reserve(seen: &Seen<'_>, volume: &Claimed<VolumeClaim>) -> Result<Txn, Fact> {
    let asked = &seen.volume.spec.pool;
    let target = seen.moving.target;
    let (pool, host) = takes(seen, target.as_ref(), asked)?;
    stands_still(seen, volume)?;
    let (_, vm) = machine(seen)?;
    reaches(&vm.value, target.as_ref(), &pool, &host)?;
    runs(seen, vm)?;
    let size = volume.value.size;
    if let Some(thing) = seen.allowance.storage(asked) {
        let asker = Asker::volume(seen.me, seen.volume);
        let asks = Amounts::of([(thing, size.0)]);
        seen.allowance.check(seen.claims, asker, &asks)?;
    }
    room(seen.claims, (&pool, &host), target, size.0)?;
    let second = MoveClaim {
        volume: volume.value.volume,
        owner: seen.me.clone(),
        place: new_place(seen, volume),
        pool,
        host,
        size,
        phase: MovePhase::Reserved,
    };
    // The volume is written too, as it stands: no later move finds it at the same revision.
    let again = Rebuilt {
        value: volume.value.clone(),
        kept_epoch: volume.epoch,
    };
    let why = format!("volume {}: move to {}", seen.me, second.pool);
    Ok(Txn::new(why)
        .unchanged(keys::volume(second.volume), volume.revision)
        .put(keys::volume(second.volume), &again)
        .claim(keys::second(second.volume), &second))
}

/// Whether nothing goes on that is of the one place: its bytes are whole and no snapshot shares them.
/// Those of backups do not count: they are the platform's, and the next one reads in full.
fn stands_still(seen: &Seen<'_>, volume: &Claimed<VolumeClaim>) -> Result<(), Fact> {
    let claim = &volume.value;
    if !claim.cipher.is_plain() {
        return Err(Fact::Move(MoveFact::Encrypted));
    }
    if !claim.contents.is_whole() || pending_restore(claim, seen.said).is_some() {
        return Err(Fact::Move(MoveFact::AfterRestore));
    }
    if claim.grows_from.is_some() {
        return Err(Fact::Move(MoveFact::AfterGrowth));
    }
    let mut theirs = Vec::new();
    for snapshot in seen.claims.snapshots_of(claim.volume) {
        let SnapshotState::Taken { .. } = snapshot.value.state else {
            let by = snapshot.value.owner.name.clone();
            return Err(Fact::Move(MoveFact::AfterSnapshot { by }));
        };
        if snapshot.value.purpose == SnapshotPurpose::Department {
            theirs.push(snapshot.value.owner.name.clone());
        }
    }
    match theirs.is_empty() {
        true => Ok(()),
        false => Err(Fact::Move(MoveFact::HasSnapshots { snapshots: theirs })),
    }
}

/// The machine that has the volume, and is to keep it.
pub(super) fn machine<'a>(
    seen: &Seen<'a>,
) -> Result<(&'a Claimed<AttachClaim>, &'a Claimed<VmClaim>), Fact> {
    let me = id(seen.me);
    let attached = seen.claims.attachment_of(me);
    let vm = attached.and_then(|attached| seen.claims.vms.get(&attached.value.vm));
    let (Some(attached), Some(vm)) = (attached, vm) else {
        return Err(Fact::Move(MoveFact::NoMachine {
            volume: seen.me.name.clone(),
        }));
    };
    let release = (vm.value.host.clone(), vm::key(&vm.value.owner));
    if seen.claims.releases.contains_key(&release) {
        return Err(Fact::Move(MoveFact::MachineGoes {
            vm: vm.value.owner.name.clone(),
        }));
    }
    Ok((attached, vm))
}

/// A folder of one host is opened by machines of that host alone.
fn reaches(
    vm: &VmClaim,
    target: Option<&PoolSeen<'_>>,
    pool: &PoolName,
    host: &HostName,
) -> Result<(), Fact> {
    let folder = target.is_none_or(|target| {
        // What is not known to be reached by all is not reached.
        match target.pool.spec.driver.kind() {
            DriverKind::Directory => true,
            DriverKind::Iscsi | DriverKind::Rbd => false,
        }
    });
    match folder && vm.host != *host {
        false => Ok(()),
        true => Err(Fact::Move(MoveFact::Unreachable {
            pool: pool.to_string(),
            host: host.to_string(),
            vm: vm.owner.name.clone(),
            vm_host: vm.host.to_string(),
        })),
    }
}

pub(super) fn runs(seen: &Seen<'_>, vm: &Claimed<VmClaim>) -> Result<(), Fact> {
    if seen.moving.holder_presence != Presence::Connected {
        return Err(Fact::HostSilent {
            host: vm.value.host.to_string(),
        });
    }
    match guest(seen) {
        Some(Guest::Running) => Ok(()),
        _ => Err(Fact::Move(MoveFact::MachineOff {
            vm: vm.value.owner.name.clone(),
        })),
    }
}

/// Lets the machine open the second place, once that is there.
pub(super) fn open(seen: &Seen<'_>, second: &Claimed<MoveClaim>) -> Result<Plan, Fact> {
    let claim = &second.value;
    let preparing = || {
        Fact::Move(MoveFact::Preparing {
            to: claim.pool.to_string(),
        })
    };
    let item = item(seen, second);
    match sight::of_item(&claim.host, seen.moving.presence, &item, seen.moving.said) {
        Sight::AsAsked(_) => {}
        Sight::OnTheWay(_) => return Err(preparing()),
        Sight::Told(fact) => return Err(fact),
    }
    let (attached, vm) = machine(seen)?;
    reaches(
        &vm.value,
        seen.moving.target.as_ref(),
        &claim.pool,
        &claim.host,
    )?;
    runs(seen, vm)?;
    let opened = AttachClaim {
        volume: claim.volume,
        vm: vm.value.vm,
        host: vm.value.host.clone(),
    };
    let first = seen.claims.place_of(claim.volume);
    let release = keys::release(&vm.value.host, &vm::key(&vm.value.owner));
    let txn = Txn::new(format!("volume {}: open in {}", seen.me, claim.pool))
        .unchanged(keys::second(claim.volume), second.revision)
        .unchanged(keys::attach(first), attached.revision)
        .unchanged(keys::vm(vm.value.vm), vm.revision)
        .absent(release)
        .claim(keys::attach(claim.place), &opened);
    Ok(Plan::claim(txn))
}
