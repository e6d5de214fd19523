//! What people read of a volume.

use dc_crds::VolumeStatus;
use dc_types::report::{Detail, DiskUse};
use dc_types::{Bytes, InstanceId};

use super::moving::told;
use super::qos::{describe, validate_qos};
use super::{Seen, id};
use crate::conditions::{Draft, Judged, merge};
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::words::size::human;
use crate::words::{Fact, Standing, all_words};

/// What its machine's host has measured of it.
fn used(seen: &Seen<'_>, id: InstanceId) -> Option<String> {
    let Detail::Vm { used, .. } = &seen.holder_said?.detail else {
        return None;
    };
    let DiskUse {
        iops, bandwidth, ..
    } = used.iter().find(|of| of.volume == id)?;
    Some(format!("{iops} IOPS, {}/s", human(bandwidth.0)))
}

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, judged: &Judged<'_>) -> VolumeStatus {
    let id = id(seen.me);
    let claim = seen.claims.volumes.get(&id);
    let attached = seen.claims.attachment_of(id).map(|attached| {
        let vm = seen.claims.vms.get(&attached.value.vm);
        vm.map_or(attached.value.vm.to_string(), |vm| {
            vm.value.owner.name.clone()
        })
    });
    let words = all_words(&plan.found).unwrap_or_else(|| match &attached {
        Some(vm) => Fact::VolumeAttached { vm: vm.clone() }.words(),
        None => Fact::Ready.words(),
    });
    let ready = words.standing == Standing::Settled;
    let old = seen.volume.status.as_ref();
    let state = match (object::life(&seen.volume.metadata), claim, ready, &attached) {
        (Life::Deleting, ..) => "Releasing",
        (Life::Wanted, None, ..) => "Pending",
        (Life::Wanted, Some(_), true, Some(_)) => "Attached",
        (Life::Wanted, Some(_), true, None) => "Available",
        (Life::Wanted, Some(_), false, _) => match seen.said.map(|said| &said.detail) {
            Some(Detail::Volume { size, .. }) if size.0 > 0 => match &attached {
                Some(_) => "Attached",
                None => "Available",
            },
            _ => "Creating",
        },
    };
    let restored = seen.said.and_then(|said| match &said.detail {
        Detail::Volume { restored, .. } => restored.clone(),
        Detail::None
        | Detail::Image { .. }
        | Detail::Snapshot { .. }
        | Detail::Backup { .. }
        | Detail::Restore { .. }
        | Detail::Manifest { .. }
        | Detail::Vm { .. } => None,
    });
    let qos = validate_qos(seen.volume.spec.qos.as_ref()).ok();
    let there = seen.said.and_then(|said| match &said.detail {
        Detail::Volume { size, .. } => {
            let header = claim.map_or(Bytes(0), |claim| claim.value.cipher.header());
            Some(Bytes(size.0.saturating_sub(header.0)).to_string())
        }
        Detail::None
        | Detail::Image { .. }
        | Detail::Snapshot { .. }
        | Detail::Backup { .. }
        | Detail::Restore { .. }
        | Detail::Manifest { .. }
        | Detail::Vm { .. } => None,
    });
    let conditions = old.map_or(&[][..], |old| &old.conditions);
    let drafts = [Draft::ready(words)].into_iter();
    let drafts = drafts.chain(told::condition(seen, plan));
    VolumeStatus {
        conditions: merge(conditions, drafts.collect(), judged),
        state: state.to_owned(),
        instance_id: claim.map(|_| id.to_string()),
        size: there.or_else(|| old.and_then(|old| old.size.clone())),
        attached_to: attached,
        pool: claim.map(|claim| claim.value.pool.to_string()),
        host: claim.map(|claim| claim.value.host.to_string()),
        moving: told::moving(seen),
        restored: restored
            .or_else(|| claim.and_then(|claim| claim.value.restored.clone()))
            .or_else(|| old.and_then(|old| old.restored.clone())),
        qos: qos.as_ref().and_then(describe),
        used: used(seen, id),
        snapshots: i64::try_from(seen.claims.snapshots_of(id).count()).unwrap_or(i64::MAX),
    }
}
