//! What people read of a proof; and what is signed of it.

use dc_crds::RestoreProofStatus;
use dc_crds::certificate::Signature;
use dc_crds::proof::{ProofEvidence, ProofResult, ProofStep, StepTime, Trial, Verdict};

use super::{Course, Seen};
use crate::conditions::{Draft, Judged, merge};
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::words::{Fact, ProofFact, all_words};

/// `sign` puts the signature into evidence that is whole otherwise.
#[must_use]
pub fn status(
    seen: &Seen<'_>,
    plan: &Plan,
    course: &Course,
    judged: &Judged<'_>,
    sign: impl FnOnce(&mut ProofEvidence),
) -> RestoreProofStatus {
    let mut status = seen.proof.status.clone().unwrap_or_default();
    if let Some(backup) = seen.backup
        && status.machine.is_empty()
    {
        status.machine = backup.spec.vm.clone();
    }
    let Course {
        trial,
        step,
        verdict,
        is_over,
    } = course;
    // Decided once: what is known of it grows, and what is written down stays.
    status.trial = trial.clone().or(status.trial);
    status.verdict = status.verdict.or_else(|| verdict.clone());
    if let Some(step) = step {
        advance(&mut status.steps, *step, judged.now);
    }
    if *is_over
        && status.evidence.is_none()
        && let (Some(trial), Some(verdict)) = (&status.trial, &status.verdict)
    {
        for time in &mut status.steps {
            time.ended_at.get_or_insert_with(|| judged.now.to_owned());
        }
        let steps = status.steps.clone();
        let mut evidence = evidence(seen, &status.machine, trial, verdict, steps);
        sign(&mut evidence);
        status.evidence = Some(evidence);
    }
    status.state = state(seen, &status).to_owned();
    let ended = ended(&status);
    let words = ended
        .map(|fact| Fact::Proof(fact).words())
        .or_else(|| all_words(&plan.found));
    let words = words.unwrap_or_else(|| Fact::Creating.words());
    status.conditions = merge(&status.conditions, vec![Draft::ready(words)], judged);
    status
}

/// One step ends where the next begins. A step is never gone back to.
fn advance(steps: &mut Vec<StepTime>, to: ProofStep, now: &str) {
    if steps.iter().any(|time| time.step == to) {
        return;
    }
    if let Some(last) = steps.last_mut() {
        last.ended_at = Some(now.to_owned());
    }
    steps.push(StepTime {
        step: to,
        began_at: now.to_owned(),
        ended_at: None,
    });
}

fn evidence(
    seen: &Seen<'_>,
    machine: &str,
    trial: &Trial,
    verdict: &Verdict,
    steps: Vec<StepTime>,
) -> ProofEvidence {
    let Verdict {
        result,
        failed_at,
        reason,
        message,
    } = verdict.clone();
    ProofEvidence {
        department: seen.me.namespace.clone(),
        machine: machine.to_owned(),
        backup: seen.proof.spec.backup.clone(),
        trial: trial.clone(),
        probes: seen.proof.spec.probes.clone(),
        result,
        failed_at,
        reason,
        message,
        steps,
        signature: Signature {
            algorithm: String::new(),
            key_id: String::new(),
            value: String::new(),
        },
    }
}

/// What is signed: the name, and the evidence without its signature, as JSON with sorted keys and no
/// spaces.
#[must_use]
pub fn signed_text(namespace: &str, name: &str, evidence: &ProofEvidence) -> String {
    crate::volume::erasure::signed_json(&format!("{namespace}/{name}"), evidence)
}

/// Of one that has ended.
#[must_use]
pub fn ended(status: &RestoreProofStatus) -> Option<ProofFact> {
    let evidence = status.evidence.as_ref()?;
    Some(match evidence.result {
        ProofResult::Proven => ProofFact::Proven,
        ProofResult::Failed => ProofFact::Failed {
            reason: evidence.reason.clone(),
            message: evidence.message.clone(),
        },
    })
}

fn state(seen: &Seen<'_>, status: &RestoreProofStatus) -> &'static str {
    if object::life(&seen.proof.metadata) == Life::Deleting {
        return "Releasing";
    }
    if let Some(evidence) = &status.evidence {
        return match evidence.result {
            ProofResult::Proven => "Proven",
            ProofResult::Failed => "Failed",
        };
    }
    if status.verdict.is_some() {
        return "Erasing";
    }
    match status.steps.last().map(|time| time.step) {
        None => "Pending",
        Some(ProofStep::Restore) => "Restoring",
        Some(ProofStep::Boot) => "Booting",
        Some(ProofStep::Probe) => "Probing",
        Some(ProofStep::Erase) => "Erasing",
    }
}
