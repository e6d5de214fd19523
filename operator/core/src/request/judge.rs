//! How far a request is: the steps that what is known now makes, one after the other.

use dc_crds::ResourceRequestStatus;
use dc_crds::request::{Approval, DecisionRole, Phase, Step, Verdict, WantedPhase};

use super::build::{Progress, progress};
use super::content::{hash, read};
use super::policy::{Needs, needs};
use super::{Move, Seen, approval, step};
use crate::words::Fact;

/// Where a request is, and how it got there since it was last looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub phase: Phase,
    /// The steps made now.
    pub steps: Vec<Step>,
    pub hash: String,
    pub approved_hash: Option<String>,
    pub needs: Needs,
    /// What keeps it from being submitted.
    pub wrong: Vec<Fact>,
}

impl Judgement {
    /// Whether its content may be built: it was granted, and is what was approved.
    #[must_use]
    pub fn may_build(&self) -> bool {
        let granted = matches!(self.phase, Phase::Granted | Phase::Provisioned);
        granted && self.approved_hash.as_ref() == Some(&self.hash)
    }
}

/// Begins where the status says it was; the API server lets nobody but the operator write that.
#[must_use]
pub fn judge(seen: &Seen<'_>) -> Judgement {
    let old = seen.request.status.clone().unwrap_or_default();
    let ResourceRequestStatus {
        phase,
        approved_hash,
        needs: recorded,
        ..
    } = old;
    let templates = seen.request.spec.objects.iter();
    let mut now = Judgement {
        phase,
        steps: Vec::new(),
        hash: hash(&seen.request.spec),
        approved_hash,
        needs: match phase {
            // What was needed when it was decided stays what was needed.
            Phase::Granted | Phase::Provisioned => Needs {
                roles: recorded.into_iter().collect(),
                policies: Vec::new(),
            },
            Phase::Draft
            | Phase::Submitted
            | Phase::Approved
            | Phase::Rejected
            | Phase::Withdrawn => needs(seen),
        },
        wrong: templates.filter_map(|t| read(t).err()).collect(),
    };
    // Each step leads on or to an end, except draft and submitted, between which the wish decides.
    while let Some((by, who, why)) = next(seen, &now) {
        let Some(phase) = step(now.phase, by) else {
            break;
        };
        now.approved_hash = match by {
            Move::Approve => Some(now.hash.clone()),
            Move::Change => None,
            _ => now.approved_hash,
        };
        now.phase = phase;
        now.steps.push(Step {
            phase,
            by: who,
            at: seen.now.to_owned(),
            why,
        });
    }
    now
}

type Next = (Move, String, String);

fn next(seen: &Seen<'_>, now: &Judgement) -> Option<Next> {
    let spec = &seen.request.spec;
    let authors = || spec.authors.join(", ");
    let reason = || spec.reason.clone();
    match (now.phase, spec.phase) {
        (Phase::Draft | Phase::Submitted | Phase::Approved, WantedPhase::Withdrawn) => {
            Some((Move::Withdraw, authors(), String::new()))
        }
        (Phase::Draft, WantedPhase::Submitted) if now.wrong.is_empty() => {
            Some((Move::Submit, authors(), reason()))
        }
        (Phase::Submitted, WantedPhase::Draft) => Some((Move::Reopen, authors(), String::new())),
        (Phase::Submitted, _) => answer(seen, now, DecisionRole::Leader, Move::Approve),
        (Phase::Approved, _) if now.approved_hash.as_ref() != Some(&now.hash) => Some((
            Move::Change,
            authors(),
            "the content is no longer what was approved".to_owned(),
        )),
        (Phase::Approved, _) => answer(seen, now, DecisionRole::Centre, Move::Grant),
        (Phase::Granted, _) if now.may_build() => match progress(seen, now) {
            Progress::Built => Some((Move::Build, "dc-operator".to_owned(), String::new())),
            Progress::Waiting { .. } => None,
        },
        _ => None,
    }
}

/// A rejection by either, or the consent of `role` where it is needed.
fn answer(seen: &Seen<'_>, now: &Judgement, role: DecisionRole, consent: Move) -> Option<Next> {
    let counted: Vec<&Approval> = seen
        .approvals
        .iter()
        .copied()
        .filter(|approval| approval::counts(approval, Some(seen.request)).is_ok())
        .collect();
    let of = |by: Move, approval: &Approval| {
        let spec = &approval.spec;
        (by, spec.approver.clone(), spec.reason.clone())
    };
    let is_no = |approval: &&&Approval| approval.spec.verdict == Verdict::Reject;
    if let Some(no) = counted.iter().find(is_no) {
        return Some(of(Move::Reject, no));
    }
    if !now.needs.roles.contains(&role) {
        let policies = now.needs.policies.join(", ");
        let why = format!("no answer of the {role:?} is needed");
        return Some((consent, format!("policy {policies}"), why));
    }
    let yes = counted.iter().find(|approval| approval.spec.role == role)?;
    Some(of(consent, yes))
}
