//! What one VolumeSnapshot asks, checked against the volumes it names.

use std::collections::BTreeMap;

use dc_types::report::Verb;
use dc_types::{Bytes, HostName, InstanceId, PoolName};

use super::{Seen, Target, TargetSeen};
use crate::object::{self, Life};
use crate::place::Presence;
use crate::pool::lacks;
use crate::volume::moving;
use crate::volume::plan::room;
use crate::volume::validate::is_made;
use crate::volume::{self, Named};
use crate::words::Fact;
use crate::words::size::human;

/// Volumes that can be taken now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidSnapshot {
    pub members: Vec<Member>,
    /// The machine whose guest must be held meanwhile.
    pub held: Option<InstanceId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub volume: InstanceId,
    pub pool: PoolName,
    pub host: HostName,
    pub size: Bytes,
    /// The place of its bytes, where that is not its id.
    pub stored: Option<InstanceId>,
    /// Of the volume's claim: it must still stand when the snapshot is claimed.
    pub revision: u64,
}

/// All that is wrong, or waits, before a snapshot is begun.
pub fn validate(seen: &Seen<'_>) -> Result<ValidSnapshot, Vec<Fact>> {
    let mut wrong = Vec::new();
    if seen.system == Named::Absent {
        wrong.push(Fact::SystemMissing {
            system: seen.snapshot.spec.system.clone(),
        });
    }
    let targets = match seen.target {
        Target::Volumes(targets) => targets,
        Target::Absent => {
            wrong.push(Fact::SnapshotTargetMissing {
                what: asked_for(seen),
            });
            &[]
        }
    };
    let mut members = Vec::new();
    for target in targets {
        match validate_target(seen, target) {
            Ok(member) => members.push(member),
            Err(fact) => wrong.push(fact),
        }
    }
    wrong.extend(room_for(seen, targets, &members).err());
    wrong.extend(holdable(seen).err());
    match wrong.is_empty() {
        true => Ok(ValidSnapshot {
            members,
            held: seen.machine.map(|machine| machine.vm),
        }),
        false => Err(wrong),
    }
}

/// What the object names, as people write it.
#[must_use]
pub fn asked_for(seen: &Seen<'_>) -> String {
    let spec = &seen.snapshot.spec;
    match (&spec.vm, &spec.volume) {
        (Some(vm), _) => format!("vm/{vm}"),
        (None, volume) => format!("volume/{}", volume.as_deref().unwrap_or_default()),
    }
}

fn validate_target(seen: &Seen<'_>, target: &TargetSeen<'_>) -> Result<Member, Fact> {
    let name = &target.name;
    let not_ready = || Fact::SnapshotTargetNotReady {
        volume: name.clone(),
    };
    let volume = target.volume.ok_or_else(|| Fact::SnapshotTargetMissing {
        what: format!("volume/{name}"),
    })?;
    if object::life(&volume.metadata) == Life::Deleting {
        return Err(Fact::SnapshotTargetDeleting {
            volume: name.clone(),
        });
    }
    let uid = object::uid(&volume.metadata).ok_or_else(not_ready)?;
    let id = InstanceId(uid.0);
    let claim = seen.claims.volumes.get(&id).ok_or_else(not_ready)?;
    // What a backup has not brought back yet is nothing to keep.
    if !is_made(target.said.as_ref()) || !claim.value.contents.is_whole() {
        return Err(not_ready());
    }
    if let Some(restore) = volume::pending_restore(&claim.value, target.said.as_ref()) {
        return Err(Fact::Restoring {
            volume: name.clone(),
            order: restore.order.clone(),
        });
    }
    if let Some(second) = moving::in_progress(seen.claims.moves.get(&id)) {
        return Err(moving::first(name, second));
    }
    if let Some(pool) = target.pool
        && let Some(why) = lacks(pool.facts, Verb::Snapshot)
    {
        return Err(Fact::PoolLacks {
            pool: claim.value.pool.to_string(),
            verb: Verb::Snapshot,
            why: why.to_owned(),
        });
    }
    Ok(Member {
        volume: id,
        pool: claim.value.pool.clone(),
        host: claim.value.host.clone(),
        size: claim.value.size,
        stored: claim.value.stored,
        revision: claim.revision,
    })
}

/// Each pool must have room for what all of them together may come to take.
fn room_for(seen: &Seen<'_>, targets: &[TargetSeen<'_>], members: &[Member]) -> Result<(), Fact> {
    let mut asked: BTreeMap<&PoolName, u64> = BTreeMap::new();
    for member in members {
        *asked.entry(&member.pool).or_default() += member.size.0;
    }
    for (pool, bytes) in asked {
        let of_pool = |target: &&TargetSeen<'_>| {
            let object = target.pool.map(|found| &found.pool.metadata);
            object.and_then(|meta| meta.name.as_deref()) == Some(pool.as_str())
        };
        let found = targets.iter().find(of_pool).and_then(|target| target.pool);
        let host = members.iter().find(|member| member.pool == *pool);
        let Some(host) = host.map(|member| &member.host) else {
            continue;
        };
        room(seen.claims, (pool, host), found, bytes).map_err(|fact| match fact {
            Fact::PoolFull {
                pool, left, limit, ..
            } => Fact::SnapshotPoolFull {
                pool,
                need: human(bytes),
                left,
                limit,
            },
            other => other,
        })?;
    }
    Ok(())
}

/// A guest is held for one group at a time, by a host that answers.
fn holdable(seen: &Seen<'_>) -> Result<(), Fact> {
    let Some(machine) = seen.machine else {
        return Ok(());
    };
    if machine.presence != Presence::Connected {
        return Err(Fact::HostSilent {
            host: machine.host.to_string(),
        });
    }
    match seen.claims.holds.get(&machine.vm) {
        Some(hold) if hold.value.owner.uid != seen.me.uid => Err(Fact::HoldTaken {
            vm: machine.name.clone(),
            by: hold.value.owner.name.clone(),
        }),
        _ => Ok(()),
    }
}
