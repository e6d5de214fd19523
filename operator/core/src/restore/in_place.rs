//! Restores over a volume that is there: its machine lets go of it, its present state is snapshotted,
//! then it is written.
//!
//! ```text
//! valid ─▶ claimed, waits ─ its machine is off and has let go ─▶ snapshot made ─ taken
//!        ─▶ the volume is nobody's, and the claim runs ─▶ as any other
//! ```

use dc_crds::vm::PowerState;
use dc_crds::{VolumeSnapshot, VolumeSnapshotSpec};
use dc_types::claim::{Contents, RestoreClaim, RestoreState, SnapshotState, VolumeClaim, keys};
use dc_types::{InstanceId, ObjectRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Seen;
use super::plan::{put_again, volume_goes};
use super::validate::{Next, Source};
use crate::backup::file;
use crate::claims::{Claimed, Rebuilt};
use crate::conditions::find;
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::proof::sandbox::{New, NewObject};
use crate::txn::Txn;
use crate::vm::grant_key;
use crate::volume::pending_restore;
use crate::words::{BackupFact, Fact};

/// The snapshot of what was there before. No other restore ever has this name.
#[must_use]
pub fn snapshot_name(me: &ObjectRef) -> String {
    format!("before-{}", me.uid.0.simple())
}

/// Who has the volume open, or may have.
pub(super) fn validate<'a>(
    seen: &Seen<'a>,
    source: Source,
    stop_machine: bool,
) -> Result<Next<'a>, Vec<Fact>> {
    let to = &seen.restore.spec.to;
    let one = |fact| vec![Fact::Backup(fact)];
    let name = to.name.clone();
    let volume = seen
        .volume
        .filter(|of| object::life(&of.metadata) == Life::Wanted);
    let volume = volume.ok_or_else(|| {
        one(BackupFact::InPlaceMissing {
            volume: name.clone(),
        })
    })?;
    if (&volume.spec.system, &volume.spec.pool) != (&to.system, &to.pool) {
        return Err(one(BackupFact::InPlaceOther {
            volume: name,
            system: volume.spec.system.clone(),
            pool: volume.spec.pool.clone(),
        }));
    }
    let waits = || {
        one(BackupFact::VolumeWaits {
            volume: name.clone(),
            says: None,
        })
    };
    let id = InstanceId(object::uid(&volume.metadata).ok_or_else(waits)?.0);
    let claim = seen.claims.volumes.get(&id).ok_or_else(waits)?;
    if !claim.value.cipher.is_plain() {
        return Err(one(BackupFact::InPlaceEncrypted { volume: name }));
    }
    if let Some(other) = seen.claims.restores_of(id).next() {
        return Err(one(BackupFact::RestoreRuns {
            volume: name,
            by: other.value.owner.name.clone(),
        }));
    }
    let is_new = volume.spec.source.restore.is_some() && !claim.value.contents.is_whole();
    let moves = seen.claims.moves.contains_key(&id);
    if is_new || moves || pending_restore(&claim.value, seen.volume_said).is_some() {
        return Err(waits());
    }
    if claim.value.size < source.size {
        return Err(one(BackupFact::TooSmall {
            size: claim.value.size.to_string(),
            need: source.size.to_string(),
        }));
    }
    if let Some(vm) = seen.holder
        && vm.spec.power_state == PowerState::Running
        && !stop_machine
    {
        return Err(one(BackupFact::MachineRuns {
            vm: vm.metadata.name.clone().unwrap_or_default(),
        }));
    }
    let VolumeClaim {
        pool, host, size, ..
    } = &claim.value;
    let restore = RestoreClaim {
        owner: seen.me.clone(),
        volume: id,
        place: claim.value.place(),
        pool: pool.clone(),
        host: host.clone(),
        size: *size,
        repository: source.repository,
        snapshot_id: source.snapshot_id,
        file: file(&seen.restore.spec.volume),
        verify: seen.restore.spec.verify,
        state: RestoreState::Waits,
    };
    Ok(Next::Claim(Box::new(restore), claim))
}

/// Nothing is written yet: given up now, the volume is as it was.
pub(super) fn waits(seen: &Seen<'_>, claim: &Claimed<RestoreClaim>) -> Plan {
    let volume = seen.claims.volumes.get(&claim.value.volume);
    let Some(volume) = volume.filter(|_| !volume_goes(seen, claim)) else {
        let txn = Txn::new(format!("restore {}: its volume goes", seen.me));
        return Plan::claim(put_again(txn, claim, RestoreState::Stopped));
    };
    let found = |fact| Plan::found(Fact::Backup(fact));
    if let Some(attached) = seen.claims.attachment_of(claim.value.volume) {
        let vm = seen.claims.vms.get(&attached.value.vm);
        let vm = vm.map(|vm| vm.value.owner.name.clone());
        return found(BackupFact::MachineLetsGo {
            vm: vm.unwrap_or_else(|| attached.value.vm.to_string()),
        });
    }
    let grant = (volume.value.host.clone(), grant_key(volume.value.place()));
    if seen.claims.releases.contains_key(&grant) {
        return Plan::found(Fact::RestoreWaitsForGrant);
    }
    // One that was given up half written has its snapshot already.
    if volume.value.contents.is_whole()
        && let Some(plan) = snapshot(seen, claim.value.volume)
    {
        return plan;
    }
    let key = keys::volume(claim.value.volume);
    let taken = VolumeClaim {
        contents: Contents::AwaitRestore,
        ..volume.value.clone()
    };
    let txn = Txn::new(format!("restore {}: over its volume", seen.me))
        .unchanged(key.clone(), volume.revision)
        .absent(keys::attach(volume.value.place()))
        .put(
            key,
            &Rebuilt {
                value: taken,
                kept_epoch: volume.epoch,
            },
        );
    // The place may have changed before it was told apart.
    let place = RestoreClaim {
        place: volume.value.place(),
        pool: volume.value.pool.clone(),
        host: volume.value.host.clone(),
        size: volume.value.size,
        ..claim.value.clone()
    };
    let claim = Claimed {
        value: place,
        ..claim.clone()
    };
    Plan::claim(put_again(txn, &claim, RestoreState::Running))
}

/// `None` once the present state is taken.
fn snapshot(seen: &Seen<'_>, of: InstanceId) -> Option<Plan> {
    let name = snapshot_name(seen.me);
    let Some(object) = seen.before else {
        let to = &seen.restore.spec.to;
        let new = New {
            meta: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(seen.me.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: VolumeSnapshotSpec {
                system: to.system.clone(),
                volume: Some(to.name.clone()),
                vm: None,
            },
        };
        return Some(Plan {
            try_out: vec![NewObject::Snapshot(Box::new(new))],
            ..first(name, None)
        });
    };
    let uid = object::uid(&object.metadata);
    let mut mine = uid
        .into_iter()
        .flat_map(|uid| seen.claims.snapshots_by(uid))
        .peekable();
    let is_taken = mine.peek().is_some()
        && mine.all(|claim| {
            claim.value.volume == of && matches!(claim.value.state, SnapshotState::Taken { .. })
        });
    match is_taken && object::life(&object.metadata) == Life::Wanted {
        true => None,
        false => Some(first(name, says(object))),
    }
}

fn first(snapshot: String, says: Option<String>) -> Plan {
    Plan::found(Fact::Backup(BackupFact::SnapshotFirst { snapshot, says }))
}

fn says(snapshot: &VolumeSnapshot) -> Option<String> {
    let status = snapshot.status.as_ref()?;
    let ready = find(&status.conditions, dc_crds::condition::types::READY)?;
    Some(ready.message.clone())
}
