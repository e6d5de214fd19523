//! What people read of a request: where it is, with whom it waits and since when, what it would
//! change, and every step.

use dc_crds::ResourceRequestStatus;
use dc_crds::request::{DecisionRole, Phase};

use super::Seen;
use super::build::{Progress, changes, progress, strayed};
use super::judge::Judgement;
use crate::conditions::{Draft, Judged, merge};
use crate::words::{Fact, all_words};

/// The list of steps stays of a size that a person reads; the oldest of a long to and fro go.
const STEPS: usize = 100;

/// How the request stands, the most important first.
#[must_use]
pub fn found(seen: &Seen<'_>, judgement: &Judgement) -> Vec<Fact> {
    if judgement.phase == Phase::Draft && !judgement.wrong.is_empty() {
        return judgement.wrong.clone();
    }
    let old = seen.request.status.as_ref();
    let history = old.map_or(&[][..], |old| &old.history);
    let last = judgement.steps.last().or(history.last());
    let by = last.map(|last| last.by.clone()).unwrap_or_default();
    let why = last.map(|last| last.why.clone()).unwrap_or_default();
    vec![match judgement.phase {
        Phase::Draft => Fact::RequestDraft,
        Phase::Submitted => Fact::RequestWaits {
            role: DecisionRole::Leader,
            name: seen.me.name.clone(),
            hash: judgement.hash.clone(),
        },
        Phase::Approved => Fact::RequestWaits {
            role: DecisionRole::Centre,
            name: seen.me.name.clone(),
            hash: judgement.hash.clone(),
        },
        Phase::Rejected => Fact::RequestRejected { by, why },
        Phase::Withdrawn => Fact::RequestWithdrawn { by },
        Phase::Granted if !judgement.may_build() => Fact::RequestChanged,
        Phase::Granted => match progress(seen, judgement) {
            Progress::Built => Fact::RequestProvisioned,
            Progress::Waiting { objects } => Fact::RequestBuilding { waiting: objects },
        },
        Phase::Provisioned => {
            let lines = strayed(seen, judgement);
            match lines.is_empty() {
                true => Fact::RequestProvisioned,
                false => Fact::RequestStrayed { lines },
            }
        }
    }]
}

#[must_use]
pub fn status(
    seen: &Seen<'_>,
    judgement: &Judgement,
    found: &[Fact],
    judged: &Judged<'_>,
) -> ResourceRequestStatus {
    let old = seen.request.status.clone().unwrap_or_default();
    let mut history = old.history;
    history.extend(judgement.steps.iter().cloned());
    history.drain(..history.len().saturating_sub(STEPS));
    let drafts = all_words(found).map(Draft::ready);
    let open = matches!(
        judgement.phase,
        Phase::Draft | Phase::Submitted | Phase::Approved
    );
    ResourceRequestStatus {
        conditions: merge(&old.conditions, drafts.into_iter().collect(), judged),
        phase: judgement.phase,
        hash: judgement.hash.clone(),
        approved_hash: judgement.approved_hash.clone(),
        needs: judgement.needs.roles.iter().copied().collect(),
        waits_for: match judgement.phase {
            Phase::Draft => "authors",
            Phase::Submitted => "leader",
            Phase::Approved => "centre",
            Phase::Granted => "operator",
            Phase::Rejected | Phase::Withdrawn | Phase::Provisioned => "",
        }
        .to_owned(),
        since: history.last().map(|step| step.at.clone()),
        // What was decided on stays as it was shown to those who decided.
        changes: match open {
            true => changes(seen),
            false => old.changes,
        },
        history,
    }
}
