//! What people read of a restore of a machine. Once it tells how that ended it is the record of it.

use dc_crds::{MachineRestore, MachineRestoreStatus};

use super::Seen;
use super::plan::{Course, Ended, read};
use crate::conditions::{Draft, Judged, merge};
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::restore::status::{DONE, STOPPED};
use crate::words::{Fact, MachineRestoreFact, all_words};

/// How it ended, as its status tells; `None` while it has not.
#[must_use]
pub fn ended(restore: &MachineRestore) -> Option<&str> {
    let state = restore.status.as_ref()?.state.as_str();
    [DONE, STOPPED].contains(&state).then_some(state)
}

#[must_use]
pub fn status(
    seen: &Seen<'_>,
    plan: &Plan,
    course: &Course,
    judged: &Judged<'_>,
) -> MachineRestoreStatus {
    let mut status = seen.restore.status.clone().unwrap_or_default();
    if let Some((machine, volumes)) = &course.begun {
        status.machine = Some(machine.clone());
        status.volumes = volumes.clone();
    }
    if let Some(Ended::Done(id)) = &course.ended {
        status.instance_id = Some(id.clone());
    }
    let done = status.volumes.iter().filter(|volume| volume.done).count();
    status.progress = match status.volumes.len() {
        0 => None,
        all => Some(format!("{done} of {all}")),
    };
    status.from = from(seen);
    let all_done = done == status.volumes.len() && done > 0;
    let before = ended(seen.restore);
    status.state = match (object::life(&seen.restore.metadata), &course.ended) {
        (Life::Deleting, _) => "Releasing",
        (Life::Wanted, Some(Ended::Done(_))) => DONE,
        (Life::Wanted, Some(Ended::Stopped(_))) => STOPPED,
        (Life::Wanted, None) => match before {
            Some(DONE) => DONE,
            Some(_) => STOPPED,
            None if all_done => "Building",
            None if !status.volumes.is_empty() => "Writing",
            None if seen.claims.manifests.contains_key(&seen.me.uid) && read(seen).is_none() => {
                "Reading"
            }
            None => "Pending",
        },
    }
    .to_owned();
    let machine = status.machine.clone().unwrap_or_default();
    let ended = match (&course.ended, status.state.as_str()) {
        (Some(Ended::Stopped(volume)), _) => Some(MachineRestoreFact::Stopped {
            volume: volume.clone(),
        }),
        (_, DONE) => Some(MachineRestoreFact::Restored { machine }),
        (_, _) => None,
    };
    let words = all_words(&plan.found).or(ended.map(|fact| Fact::MachineRestore(fact).words()));
    // What was said when it was stopped stays.
    if words.is_some() || status.conditions.is_empty() {
        let words = words.unwrap_or_else(|| Fact::Creating.words());
        status.conditions = merge(&status.conditions, vec![Draft::ready(words)], judged);
    }
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
