//! What people read of a snapshot.

use dc_crds::VolumeSnapshotStatus;
use dc_crds::snapshot::{ConsistencyReached, SnapshotVolume};
use dc_types::claim::{HoldPhase, SnapshotClaim, SnapshotState};
use dc_types::report::Consistency;
use k8s_openapi::jiff::Timestamp;

use super::validate::asked_for;
use super::{Seen, Target};
use crate::claims::Claimed;
use crate::conditions::{Draft, Judged, merge};
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::words::{Fact, all_words};

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, judged: &Judged<'_>) -> VolumeSnapshotStatus {
    let mine: Vec<_> = seen.claims.snapshots_by(seen.me.uid).collect();
    let old = seen.snapshot.status.as_ref();
    let level = mine.first().and_then(|claim| match claim.value.state {
        SnapshotState::Taken { level, taken_at: _ } => Some(level),
        SnapshotState::Taking | SnapshotState::Broken => None,
    });
    let words = all_words(&plan.found).unwrap_or_else(|| match level {
        Some(level) => Fact::SnapshotTaken { level }.words(),
        None => Fact::Creating.words(),
    });
    let last = mine.iter().filter_map(|claim| taken_at(claim)).max();
    let of = match mine.len() {
        0 => asked_for(seen),
        1 => format!("{}, 1 volume", asked_for(seen)),
        more => format!("{}, {more} volumes", asked_for(seen)),
    };
    let conditions = old.map_or(&[][..], |old| &old.conditions);
    VolumeSnapshotStatus {
        conditions: merge(conditions, vec![Draft::ready(words)], judged),
        state: state(seen, &mine).to_owned(),
        of,
        consistency: level.map(reached),
        taken_at: last.map(told_time),
        volumes: mine.iter().map(|claim| volume(seen, claim)).collect(),
    }
}

/// As the API writes it.
#[must_use]
pub fn reached(level: Consistency) -> ConsistencyReached {
    match level {
        Consistency::Crash => ConsistencyReached::Crash,
        Consistency::FileSystem => ConsistencyReached::FileSystem,
        Consistency::Application => ConsistencyReached::Application,
    }
}

fn taken_at(claim: &Claimed<SnapshotClaim>) -> Option<i64> {
    match claim.value.state {
        SnapshotState::Taken { level: _, taken_at } => Some(taken_at),
        SnapshotState::Taking | SnapshotState::Broken => None,
    }
}

fn told_time(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| String::new(), |at| at.to_string())
}

fn state(seen: &Seen<'_>, mine: &[&Claimed<SnapshotClaim>]) -> &'static str {
    if object::life(&seen.snapshot.metadata) == Life::Deleting {
        return "Releasing";
    }
    let Some(first) = mine.first() else {
        return "Pending";
    };
    match first.value.state {
        SnapshotState::Taken { .. } => "Taken",
        SnapshotState::Broken => "Pending",
        SnapshotState::Taking => {
            let hold = first.value.held.and_then(|vm| seen.claims.holds.get(&vm));
            let begun = seen.members.values().any(|member| member.said.is_some());
            match hold.map(|hold| hold.value.phase) {
                Some(HoldPhase::Lifted) => "Verifying",
                Some(HoldPhase::Asked) if !begun => "Holding",
                Some(HoldPhase::Asked) | None => "Taking",
            }
        }
    }
}

fn volume(seen: &Seen<'_>, claim: &Claimed<SnapshotClaim>) -> SnapshotVolume {
    let of = claim.value.volume.to_string();
    let targets = match seen.target {
        Target::Volumes(targets) => targets,
        Target::Absent => &[],
    };
    // A volume with snapshots does not go, but its machine may come to name others.
    let named = targets.iter().find(|target| {
        let uid = target.volume.and_then(|v| v.metadata.uid.as_deref());
        uid == Some(of.as_str())
    });
    let before = seen.snapshot.status.as_ref().and_then(|status| {
        let mut volumes = status.volumes.iter();
        volumes.find(|volume| volume.instance_id == of)
    });
    let name = named.map(|target| target.name.clone());
    SnapshotVolume {
        volume: name
            .or_else(|| before.map(|before| before.volume.clone()))
            .unwrap_or_default(),
        instance_id: of,
        snapshot_id: claim.value.snapshot.to_string(),
        size: claim.value.size.to_string(),
        taken_at: taken_at(claim).map(told_time),
    }
}
