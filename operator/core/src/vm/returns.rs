//! Volumes that are restored in place: their machine is kept off, and lets go of them until they are
//! whole again.

use dc_types::InstanceId;
use dc_types::claim::{RestoreState, VmClaim};
use dc_types::plan::Power;
use dc_types::report::{Detail, Guest};

use super::plan::{carry, let_go_of};
use super::{DiskSeen, Seen, ValidVm, key};
use crate::claims::Claimed;
use crate::place::Presence;
use crate::plan::Plan;
use crate::sight::{self, Sight};
use crate::words::{BackupFact, Fact};

/// Those of its volumes, and the restore of the first of them.
pub(super) struct Returning {
    volumes: Vec<InstanceId>,
    fact: Fact,
}

/// `None`: none of them is restored in place.
pub(super) fn find(seen: &Seen<'_>, valid: &ValidVm, volumes: &[InstanceId]) -> Option<Returning> {
    // One that is written is nobody's by then, and is waited for as any that is not whole.
    let by = |volume: &InstanceId| {
        let mut restores = seen.claims.restores_of(*volume);
        restores.find(|restore| restore.value.state == RestoreState::Waits)
    };
    let first = volumes.iter().find_map(by)?;
    let at = volumes
        .iter()
        .position(|volume| *volume == first.value.volume)?;
    Some(Returning {
        volumes: volumes
            .iter()
            .filter(|volume| by(volume).is_some())
            .copied()
            .collect(),
        fact: Fact::Backup(BackupFact::VolumeReturns {
            volume: valid.disks.get(at)?.volume_name.clone(),
            restore: first.value.owner.name.clone(),
        }),
    })
}

/// Its guest is stopped; once its host says that it is off, the volumes are given back.
pub(super) fn plan(
    seen: &Seen<'_>,
    valid: &ValidVm,
    old: Option<&Claimed<VmClaim>>,
    volumes: &[InstanceId],
    returning: Returning,
) -> Plan {
    let Returning { volumes: all, fact } = returning;
    let Some(old) = old else {
        return Plan::found(fact);
    };
    let held: Vec<InstanceId> = all
        .iter()
        .filter(|of| old.value.volumes.contains(of))
        .copied()
        .collect();
    if held.is_empty() {
        // It is off, and is told nothing before all of them are there.
        return Plan::found(fact);
    }
    // Of what was given back before it has nothing any more.
    let there = |at: &usize| old.value.volumes.contains(&volumes[*at]);
    let kept: Vec<usize> = (0..volumes.len()).filter(there).collect();
    let disks: Vec<DiskSeen<'_>> = kept.iter().map(|at| seen.disks[*at].clone()).collect();
    let named = kept.iter().map(|at| valid.disks[*at].clone());
    let off = ValidVm {
        power: Power::Off,
        disks: named.collect(),
        ..valid.clone()
    };
    let reduced = Seen {
        disks: &disks,
        ..*seen
    };
    let volumes: Vec<InstanceId> = kept.iter().map(|at| volumes[*at]).collect();
    let plan = carry(&reduced, &off, old, &volumes, Some(fact));
    let machine = plan.carry.iter().find(|(_, item)| item.key == key(seen.me));
    let is_off = machine.is_some_and(|(host, item)| {
        let presence = seen
            .index
            .host(host)
            .map_or(Presence::Never, |h| h.presence);
        let sight = sight::of_item(host, presence, item, seen.said);
        matches!(
            sight,
            Sight::AsAsked(Detail::Vm {
                guest: Guest::Absent | Guest::Stopped | Guest::Crashed,
                ..
            })
        )
    });
    match is_off {
        true => let_go_of(seen, old, &held).unwrap_or(plan),
        false => plan,
    }
}
