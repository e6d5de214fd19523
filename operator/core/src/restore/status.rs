//! What people read of a restore. Once it tells how the restore ended it is the record of it.

use dc_crds::{Restore, RestoreStatus};
use dc_types::claim::{RestoreClaim, RestoreState};
use dc_types::report::{Detail, RestoreDone};

use super::Seen;
use super::in_place::snapshot_name;
use crate::backup::status::time;
use crate::claims::Claimed;
use crate::conditions::{Draft, Judged, merge};
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::words::size::human;
use crate::words::{BackupFact, Fact, all_words};

pub const DONE: &str = "Done";
pub const STOPPED: &str = "Stopped";

/// How it ended, as its status tells; `None` while it has not.
#[must_use]
pub fn recorded(restore: &Restore) -> Option<&str> {
    let state = restore.status.as_ref()?.state.as_str();
    [DONE, STOPPED].contains(&state).then_some(state)
}

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, judged: &Judged<'_>) -> RestoreStatus {
    let claim = seen.claims.restores.get(&seen.me.uid);
    let old = seen.restore.status.clone().unwrap_or_default();
    let mut status = RestoreStatus {
        state: state(seen, claim).to_owned(),
        from: from(seen),
        progress: progress(seen, claim),
        ..old
    };
    if let Some(claim) = claim {
        status.volume_id = Some(claim.value.volume.to_string());
        if seen.before.is_some() {
            status.before = Some(snapshot_name(seen.me));
        }
        if let RestoreState::Done(RestoreDone {
            written,
            began_at,
            ended_at,
            verified,
        }) = &claim.value.state
        {
            status.written = Some(human(written.0));
            status.began_at = Some(time(*began_at));
            status.ended_at = Some(time(*ended_at));
            status.sha256 = verified.map(|sum| sum.to_string());
        }
    }
    let volume = seen.restore.spec.to.name.clone();
    let ended = match status.state.as_str() {
        DONE => Some(Fact::Backup(BackupFact::Restored { volume }).words()),
        STOPPED => Some(Fact::Backup(BackupFact::Stopped { volume }).words()),
        _ => None,
    };
    let words = all_words(&plan.found).or(ended);
    let words = words.unwrap_or_else(|| Fact::Creating.words());
    status.conditions = merge(&status.conditions, vec![Draft::ready(words)], judged);
    status
}

fn from(seen: &Seen<'_>) -> String {
    let spec = &seen.restore.spec;
    match (&spec.backup, &spec.snapshot) {
        (Some(backup), _) => backup.clone(),
        (None, Some(snapshot)) => {
            // As restic shows it.
            let id = snapshot.id.get(..8).unwrap_or(&snapshot.id);
            format!("{}/{id}", snapshot.repository)
        }
        (None, None) => String::new(),
    }
}

fn progress(seen: &Seen<'_>, claim: Option<&Claimed<RestoreClaim>>) -> Option<String> {
    if claim?.value.state != RestoreState::Running {
        return None;
    }
    let Detail::Restore {
        progress: Some(progress),
        ..
    } = &seen.said?.detail
    else {
        return None;
    };
    let (done, of) = (human(progress.done.0), human(progress.of.0));
    Some(format!("{done} of {of}"))
}

fn state(seen: &Seen<'_>, claim: Option<&Claimed<RestoreClaim>>) -> &'static str {
    if object::life(&seen.restore.metadata) == Life::Deleting {
        return "Releasing";
    }
    match claim.map(|claim| &claim.value.state) {
        Some(RestoreState::Waits) => "Waiting",
        Some(RestoreState::Running) => "Writing",
        Some(RestoreState::Done(_)) => DONE,
        Some(RestoreState::Stopped) => STOPPED,
        None => match recorded(seen.restore) {
            Some(DONE) => DONE,
            Some(_) => STOPPED,
            None => "Pending",
        },
    }
}
