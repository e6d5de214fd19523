//! Proofs: whether a backup comes back, tried. Departments read them; who may make them RBAC says, and
//! by itself it says the platform's administrators alone.

use dc_crds::RestoreProof;
use dc_crds::proof::{
    BOOT_SECONDS, Probes, ProofReason, ProofResult, ProofStep, RESTORE_SECONDS, RestoreProofSpec,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Create, Facts, Kind, named, view};
use crate::rights::{Person, Resource};

pub struct Proofs;

/// A trial of a backup: restored into a sandbox, compared, booted, probed, erased.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RestoreProof)]
pub struct ProofView {
    #[serde(flatten)]
    pub meta: view::Meta,
    pub backup: String,
    /// The machine that was backed up; absent until the trial begins.
    pub virtual_machine: Option<String>,
    pub why: Why,
    /// Pending, Restoring, Booting, Probing, Erasing, Proven, Failed or Releasing.
    pub state: String,
    pub probes: ProbesView,
    /// So far. The last one goes on while it has no end.
    pub steps: Vec<StepView>,
    /// Once it is decided.
    pub verdict: Option<VerdictView>,
    /// Once nothing of the sandbox is left. It is signed, and never changed.
    pub evidence: Option<EvidenceView>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProofReason)]
pub enum Why {
    /// A person wants to know.
    Asked,
    /// It was the machine's last backup, and its policy's time had come.
    Latest,
    /// It was drawn among the older ones.
    Sample,
}

/// What had to be shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Probes)]
pub struct ProbesView {
    /// A text on the serial console.
    pub console: Option<String>,
    /// Whether the guest agent had to answer.
    pub guest_agent: bool,
    /// A command that had to end with 0; empty when none.
    pub command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProofStep)]
pub enum Step {
    Restore,
    Boot,
    Probe,
    Erase,
}

/// When a step began and ended, RFC 3339.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProofStepTime)]
pub struct StepView {
    pub step: Step,
    pub began_at: String,
    pub ended_at: Option<String>,
}

/// How it ended, and why.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProofVerdict)]
pub struct VerdictView {
    pub result: Outcome,
    pub failed_at: Option<Step>,
    /// For programs.
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProofResult)]
pub enum Outcome {
    /// It came back byte for byte, and showed all that was asked for.
    Proven,
    Failed,
}

/// What is signed. `dc-operator certificate verify` checks the whole of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProofEvidence)]
pub struct EvidenceView {
    pub repository: String,
    /// restic's id of the backup.
    pub snapshot_id: String,
    /// RFC 3339: the instant that the backup is of.
    pub taken_at: Option<String>,
    pub pool: String,
    pub class: String,
    pub volumes: Vec<TriedVolumeView>,
    /// The first 16 hexadecimal digits of the public key's SHA-256.
    pub key_id: String,
    pub algorithm: String,
    /// In base64.
    pub signature: String,
}

/// One volume that was tried.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TriedVolume)]
pub struct TriedVolumeView {
    pub volume: String,
    pub size: String,
    /// Of its bytes as they were read back: `restic dump <snapshotId> <file> | sha256sum` says the
    /// same.
    pub sha256: Option<String>,
    pub file: String,
}

/// A trial to be made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRestoreProof {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub name: String,
    /// The backup that is tried.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub backup: String,
    /// Where it is restored to. Absent: the pool of the machine's first disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub pool: Option<String>,
    /// What shows that it has come up. Absent: a console that shows `login:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<NewProbes>,
}

/// All that is named must be shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewProbes {
    /// A text that its serial console shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub console: Option<String>,
    /// Its guest agent answers.
    #[serde(default)]
    pub guest_agent: bool,
    /// A program and its arguments, which its guest agent runs, and which must end with 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 32)]
    pub command: Vec<String>,
}

fn step(step: ProofStep) -> Step {
    match step {
        ProofStep::Restore => Step::Restore,
        ProofStep::Boot => Step::Boot,
        ProofStep::Probe => Step::Probe,
        ProofStep::Erase => Step::Erase,
    }
}

fn evidence(evidence: &dc_crds::proof::ProofEvidence) -> EvidenceView {
    let (trial, signature) = (&evidence.trial, &evidence.signature);
    let volumes = trial.volumes.iter().map(|one| TriedVolumeView {
        volume: one.volume.clone(),
        size: one.size.clone(),
        sha256: one.sha256.clone(),
        file: one.file.clone(),
    });
    EvidenceView {
        repository: trial.repository.clone(),
        snapshot_id: trial.snapshot_id.clone(),
        taken_at: trial.taken_at.clone(),
        pool: trial.pool.clone(),
        class: trial.class.clone(),
        volumes: volumes.collect(),
        key_id: signature.key_id.clone(),
        algorithm: signature.algorithm.clone(),
        signature: signature.value.clone(),
    }
}

impl Kind for Proofs {
    type Object = RestoreProof;
    type View = ProofView;
    const RESOURCE: Resource = Resource {
        group: dc_crds::GROUP,
        plural: "restoreproofs",
    };

    fn view(object: &RestoreProof) -> ProofView {
        let spec = &object.spec;
        let status = object.status.clone().unwrap_or_default();
        let Probes {
            console,
            guest_agent,
            command,
        } = spec.probes.clone();
        let steps = status.steps.into_iter().map(|time| StepView {
            step: step(time.step),
            began_at: time.began_at,
            ended_at: time.ended_at,
        });
        ProofView {
            meta: Self::meta(object),
            backup: spec.backup.clone(),
            virtual_machine: (!status.machine.is_empty()).then_some(status.machine),
            why: match spec.why {
                ProofReason::Asked => Why::Asked,
                ProofReason::Latest => Why::Latest,
                ProofReason::Sample => Why::Sample,
            },
            state: status.state,
            probes: ProbesView {
                console,
                guest_agent,
                command,
            },
            steps: steps.collect(),
            verdict: status.verdict.map(|verdict| VerdictView {
                result: match verdict.result {
                    ProofResult::Proven => Outcome::Proven,
                    ProofResult::Failed => Outcome::Failed,
                },
                failed_at: verdict.failed_at.map(step),
                reason: verdict.reason,
                message: verdict.message,
            }),
            evidence: status.evidence.as_ref().map(evidence),
        }
    }

    fn meta(object: &RestoreProof) -> view::Meta {
        let status = object.status.as_ref();
        view::meta(
            &object.metadata,
            status.map_or(&[], |status| &status.conditions),
        )
    }

    fn facts(object: &RestoreProof) -> Facts<'_> {
        let status = object.status.as_ref();
        Facts {
            state: status.map(|status| status.state.as_str()),
            virtual_machine: status.map(|status| status.machine.as_str()),
            ..Facts::default()
        }
    }
}

impl Create for Proofs {
    type New = NewRestoreProof;

    fn name(new: &NewRestoreProof, _: &Person) -> String {
        new.name.clone()
    }

    fn object(department: &str, name: &str, new: NewRestoreProof) -> RestoreProof {
        let NewRestoreProof {
            name: _,
            backup,
            pool,
            probes,
        } = new;
        let probes = probes.map(|probes| {
            let NewProbes {
                console,
                guest_agent,
                command,
            } = probes;
            Probes {
                console,
                guest_agent,
                command,
            }
        });
        let spec = RestoreProofSpec {
            backup,
            pool,
            class: None,
            firmware: None,
            probes: probes.unwrap_or_default(),
            restore_seconds: RESTORE_SECONDS,
            boot_seconds: BOOT_SECONDS,
            why: ProofReason::Asked,
        };
        let mut proof = RestoreProof::new("", spec);
        proof.metadata = named(department, name);
        proof
    }

    fn audited(new: &NewRestoreProof) -> Value {
        json!(new)
    }
}
