//! What people read of a backup. Once it tells how the backup ended it is the record of it, and is
//! kept when nothing else knows of it any more.

use dc_crds::backup::{BackupVolume, RunFigures};
use dc_crds::{BackupStatus, RestoreProof};
use dc_types::claim::{BackedUp, BackupClaim, BackupState, HoldPhase, SnapshotState};
use dc_types::report::{BackupDone, Detail};
use k8s_openapi::jiff::Timestamp;

use super::{Seen, file, is_recorded, proven};
use crate::claims::Claimed;
use crate::conditions::{Draft, Judged, merge};
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::snapshot::status::reached;
use crate::words::size::human;
use crate::words::{BackupFact, Fact, all_words};

pub const DONE: &str = "Done";
pub const FAILED: &str = "Failed";

/// What is known of a backup that is done beside its own claim and record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Whether the rules of its policy keep it; `None` while it is not done.
    pub kept: Option<&'a Fact>,
    /// Whether its run was like those before it; `None` where that is not watched.
    pub usual: Option<&'a Fact>,
    /// Proofs that name it.
    pub proofs: &'a [&'a RestoreProof],
}

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, known: Known<'_>, judged: &Judged<'_>) -> BackupStatus {
    let Known {
        kept,
        usual,
        proofs,
    } = known;
    let old = seen.backup.status.clone().unwrap_or_default();
    let claim = seen.claims.backups.get(&seen.me.uid);
    let mut status = told(seen, claim, old);
    let words = all_words(&plan.found).or_else(|| {
        let snapshot_id = status.snapshot_id.clone();
        snapshot_id.map(|snapshot_id| Fact::Backup(BackupFact::BackedUp { snapshot_id }).words())
    });
    let mut drafts = Vec::new();
    match words {
        Some(words) => drafts.push(Draft::ready(words)),
        // It failed for good: what was said then stays said.
        None if status.state == FAILED => return status,
        None => drafts.push(Draft::ready(Fact::Creating.words())),
    }
    if let Some(kept) = kept.filter(|_| status.snapshot_id.is_some()) {
        drafts.push(Draft {
            type_: dc_crds::condition::types::KEPT,
            ..Draft::ready(kept.words())
        });
    }
    if status.snapshot_id.is_some() {
        drafts.push(Draft {
            type_: dc_crds::condition::types::PROVEN,
            ..Draft::ready(proven::tell(&mut status, seen.me, proofs).words())
        });
    }
    if let Some(usual) = usual.filter(|_| status.snapshot_id.is_some()) {
        drafts.push(Draft {
            type_: dc_crds::condition::types::USUAL,
            ..Draft::ready(usual.words())
        });
    }
    status.conditions = merge(&status.conditions, drafts, judged);
    status
}

/// All but the conditions.
fn told(
    seen: &Seen<'_>,
    claim: Option<&Claimed<BackupClaim>>,
    mut status: BackupStatus,
) -> BackupStatus {
    if let Some(claim) = claim {
        status.host = Some(claim.value.host.to_string());
        if let BackupState::Done(done) = &claim.value.state {
            record(seen, &mut status, &claim.value, done);
        }
    }
    status.progress = progress(seen, claim);
    status.state = state(seen, claim).to_owned();
    status
}

fn record(seen: &Seen<'_>, status: &mut BackupStatus, claim: &BackupClaim, done: &BackedUp) {
    let BackedUp {
        level,
        taken_at,
        done,
    } = done;
    let BackupDone {
        backup,
        size,
        began_at,
        ended_at,
        counts,
    } = done;
    status.snapshot_id = Some(backup.clone());
    status.consistency = Some(reached(*level));
    status.taken_at = Some(time(*taken_at));
    status.began_at = Some(time(*began_at));
    status.ended_at = Some(time(*ended_at));
    status.size = Some(human(size.0));
    // When a repetition found it, it is not known what was read and what was new.
    let counts = counts.as_ref();
    status.read = counts.map(|counts| human(counts.read.0));
    status.added = counts.map(|counts| human(counts.added.0));
    status.figures = counts.map(|counts| RunFigures {
        size_bytes: signed(size.0),
        read_bytes: signed(counts.read.0),
        added_bytes: signed(counts.added.0),
    });
    let volumes = claim.volumes.iter().map(|volume| {
        let file = file(&volume.name);
        let told = counts.and_then(|counts| counts.volumes.iter().find(|told| told.file == file));
        let mut snapshots = seen.claims.snapshots_by(claim.owner.uid);
        let of = snapshots.find(|of| of.value.volume == volume.volume);
        BackupVolume {
            volume: volume.name.clone(),
            file,
            size: of.map(|of| of.value.size.to_string()).unwrap_or_default(),
            incremental: told.is_some_and(|told| told.full.is_none()),
            why_full: told.and_then(|told| Some(told.full.as_ref()?.message.clone())),
        }
    });
    // Once its snapshots are let go their sizes stand nowhere else.
    if status.volumes.is_empty() {
        status.volumes = volumes.collect();
    }
}

/// More than 8 EiB is no volume.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// As `3.4 GiB of 20 GiB`, only while it runs.
fn progress(seen: &Seen<'_>, claim: Option<&Claimed<BackupClaim>>) -> Option<String> {
    if claim?.value.state != BackupState::Running {
        return None;
    }
    let Detail::Backup {
        progress: Some(progress),
        ..
    } = &seen.said?.detail
    else {
        return None;
    };
    let (done, of) = (human(progress.done.0), human(progress.of.0));
    Some(format!("{done} of {of}"))
}

pub(crate) fn time(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| String::new(), |at| at.to_string())
}

fn state(seen: &Seen<'_>, claim: Option<&Claimed<BackupClaim>>) -> &'static str {
    if object::life(&seen.backup.metadata) == Life::Deleting {
        return "Releasing";
    }
    let Some(claim) = claim else {
        let failed = || {
            seen.backup
                .status
                .as_ref()
                .is_some_and(|s| s.state == FAILED)
        };
        return match is_recorded(seen.backup) {
            true if failed() => FAILED,
            true => DONE,
            false => "Pending",
        };
    };
    match &claim.value.state {
        BackupState::Done(_) => DONE,
        BackupState::Failed { .. } => FAILED,
        BackupState::Running => {
            let mut mine = seen.claims.snapshots_by(seen.me.uid);
            match mine.all(|snapshot| matches!(snapshot.value.state, SnapshotState::Taken { .. })) {
                true => "Copying",
                false => taking(seen),
            }
        }
    }
}

fn taking(seen: &Seen<'_>) -> &'static str {
    let mut mine = seen.claims.snapshots_by(seen.me.uid);
    let held = mine.find_map(|snapshot| snapshot.value.held);
    let hold = held.and_then(|vm| seen.claims.holds.get(&vm));
    let begun = seen.members.values().any(|member| member.said.is_some());
    match hold.map(|hold| hold.value.phase) {
        Some(HoldPhase::Lifted) => "Verifying",
        Some(HoldPhase::Asked) if !begun => "Holding",
        Some(HoldPhase::Asked) | None => "Taking",
    }
}
