//! Snapshots as what a volume is made from, or brought back to.

use dc_crds::VolumeSnapshot;
use dc_crds::condition::types;
use dc_crds::snapshot::SnapshotVolume;
use dc_types::claim::{Contents, SnapshotClaim, SnapshotState, VolumeClaim, keys};
use dc_types::plan::RestoreOrder;

use super::{Seen, id, moving, pending_restore};
use crate::claims::{Claimed, Rebuilt};
use crate::conditions::find;
use crate::object;
use crate::sight::Removal;
use crate::txn::Txn;
use crate::words::{BackupFact, Fact};

/// The one snapshot of a VolumeSnapshot that is meant, if it stands and is what was taken.
pub(super) fn find_snapshot<'a>(
    seen: &Seen<'a>,
    object: Option<&VolumeSnapshot>,
    name: &str,
    meant: impl Fn(&SnapshotVolume) -> bool,
) -> Result<&'a SnapshotClaim, Fact> {
    let snapshot = name.to_owned();
    let Some(object) = object else {
        return Err(Fact::SnapshotMissing { snapshot });
    };
    let status = object.status.clone().unwrap_or_default();
    let ready = find(&status.conditions, types::READY);
    let replaced = Fact::SnapshotReplaced {
        snapshot: String::new(),
    };
    let is_replaced = ready.is_some_and(|ready| ready.reason == replaced.words().reason);
    let uid = object::uid(&object.metadata);
    let mine = uid.map(|uid| seen.claims.snapshots_by(uid).collect::<Vec<_>>());
    let mine = mine.unwrap_or_default();
    let taken =
        |claim: &&Claimed<SnapshotClaim>| matches!(claim.value.state, SnapshotState::Taken { .. });
    if is_replaced || mine.is_empty() || !mine.iter().all(taken) {
        return Err(Fact::SnapshotNotTaken { snapshot });
    }
    let of = |claim: &Claimed<SnapshotClaim>| {
        let id = claim.value.volume.to_string();
        let mut volumes = status.volumes.iter();
        volumes
            .find(|volume| volume.instance_id == id && meant(volume))
            .is_some()
    };
    let mut found = mine.iter().filter(|claim| of(claim));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(&one.value),
        (None, _) => Err(Fact::SnapshotWithoutVolume { snapshot }),
        (Some(_), Some(_)) => Err(Fact::SnapshotNeedsVolume {
            snapshot,
            volumes: status.volumes.iter().map(|v| v.volume.clone()).collect(),
        }),
    }
}

/// The claim of a new order to bring the volume back; nothing when the last one is what is asked.
pub(super) fn order(seen: &Seen<'_>, old: &Claimed<VolumeClaim>) -> Result<Option<Txn>, Fact> {
    let Some(asked) = &seen.volume.spec.restore else {
        return Ok(None);
    };
    let last = old.value.restore.as_ref().map(|last| &last.order);
    if last.or(old.value.restored.as_ref()) == Some(&asked.order) {
        return Ok(None);
    }
    moving::may_change(seen)?;
    let me = id(seen.me);
    if let Some(other) = seen.claims.restores_of(me).next() {
        return Err(Fact::Backup(BackupFact::RestoreRuns {
            volume: seen.me.name.clone(),
            by: other.value.owner.name.clone(),
        }));
    }
    let found = find_snapshot(seen, seen.restore, &asked.snapshot, |of| {
        of.instance_id == me.to_string()
    })?;
    if let Some(attached) = seen.claims.attachment_of(me) {
        let vm = seen.claims.vms.get(&attached.value.vm);
        return Err(Fact::RestoreWaits {
            vm: vm.map_or(attached.value.vm.to_string(), |vm| {
                vm.value.owner.name.clone()
            }),
        });
    }
    if seen.grant_removal == Removal::Pending {
        return Err(Fact::RestoreWaitsForGrant);
    }
    let claim = VolumeClaim {
        restore: Some(RestoreOrder {
            snapshot: found.snapshot,
            order: asked.order.clone(),
        }),
        contents: match old.value.contents {
            Contents::Whole => Contents::Whole,
            Contents::AwaitRestore | Contents::TakesBack => Contents::TakesBack,
        },
        ..old.value.clone()
    };
    Ok(Some(
        Txn::new(format!("volume {}: restore {}", seen.me, asked.snapshot))
            .unchanged(keys::volume(me), old.revision)
            .absent(keys::attach(old.value.place()))
            .put(keys::volume(me), &claim),
    ))
}

/// What was half written from a backup is whole once it is as its snapshot again.
pub(super) fn taken_back(seen: &Seen<'_>, old: &Claimed<VolumeClaim>) -> Option<Txn> {
    let is_done = pending_restore(&old.value, seen.said).is_none();
    (old.value.contents == Contents::TakesBack && is_done).then(|| {
        let key = keys::volume(old.value.volume);
        let whole = VolumeClaim {
            contents: Contents::Whole,
            ..old.value.clone()
        };
        Txn::new(format!("volume {}: taken back", seen.me))
            .unchanged(key.clone(), old.revision)
            .put(
                key,
                &Rebuilt {
                    value: whole,
                    kept_epoch: old.epoch,
                },
            )
    })
}
