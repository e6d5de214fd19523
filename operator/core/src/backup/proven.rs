//! What proofs have shown of a backup. It stays known when their records are gone.

use dc_crds::proof::{ProofEvidence, ProofResult};
use dc_crds::{BackupStatus, RestoreProof};
use dc_types::ObjectRef;

use crate::words::{Fact, ProofFact};

/// Writes down how it stands, and tells it.
pub(super) fn tell(status: &mut BackupStatus, me: &ObjectRef, proofs: &[&RestoreProof]) -> Fact {
    let uid = me.uid.to_string();
    // When it ended, what came of it, and its name.
    let ended = proofs.iter().filter_map(|proof| {
        let evidence = proof.status.as_ref()?.evidence.as_ref()?;
        let mine = evidence.trial.backup_uid == uid;
        let name = proof.metadata.name.clone()?;
        mine.then(|| (ended_at(evidence), evidence.result, name))
    });
    let mut ended: Vec<_> = ended.collect();
    ended.sort_by(|a, b| (&a.0, &a.2).cmp(&(&b.0, &b.2)));
    for (at, result, name) in ended {
        match result {
            ProofResult::Proven if status.proven_at.as_ref() <= Some(&at) => {
                status.proven_at = Some(at);
                status.proven_by = Some(name);
                status.failed_proof = None;
            }
            ProofResult::Proven => {}
            ProofResult::Failed if status.proven_at.as_ref() <= Some(&at) => {
                status.failed_proof = Some(name);
            }
            ProofResult::Failed => {}
        }
    }
    Fact::Proof(
        match (&status.failed_proof, &status.proven_at, &status.proven_by) {
            (Some(proof), _, _) => ProofFact::ProofFailed {
                proof: proof.clone(),
            },
            (None, Some(at), by) => ProofFact::ProvenBy {
                proof: by.clone().unwrap_or_default(),
                at: at.clone(),
            },
            (None, None, _) => ProofFact::NeverProven,
        },
    )
}

/// RFC 3339 in UTC, to the second: such texts are in the order of their times.
fn ended_at(evidence: &ProofEvidence) -> String {
    let last = evidence.steps.last();
    let ended = last.and_then(|time| time.ended_at.clone());
    ended.unwrap_or_default()
}
