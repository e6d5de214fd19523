//! RestoreProof: whether a backup comes back, tried.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;
use crate::certificate::Signature;
use crate::vm::FirmwareKind;
use crate::volume::EraseMethod;

/// A trial of a backup: it is restored into a sandbox that reaches nothing, compared with what was
/// backed up, booted and probed, and erased. The result is signed, and stays.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "RestoreProof",
    namespaced,
    status = "RestoreProofStatus",
    shortname = "proof",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.evidence) || (has(self.status) && has(self.status.evidence) && self.status.evidence == oldSelf.status.evidence)").message("status.evidence: evidence is never changed"),
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Result","type":"string","jsonPath":".status.evidence.result"}"#,
    printcolumn = r#"{"name":"Backup","type":"string","jsonPath":".spec.backup"}"#,
    printcolumn = r#"{"name":"VM","type":"string","jsonPath":".status.machine"}"#,
    printcolumn = r#"{"name":"Failed at","type":"string","jsonPath":".status.verdict.failedAt"}"#,
    printcolumn = r#"{"name":"Why","type":"string","jsonPath":".spec.why"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: a proof is made once and cannot change; make another"))]
pub struct RestoreProofSpec {
    /// The Backup of the same namespace that is tried.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub backup: String,
    /// The StoragePool that it is restored to. Absent: that of the machine's first disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub pool: Option<String>,
    /// The MachineClass that it is booted with. Absent: the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub class: Option<String>,
    /// How it boots. Absent: as the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareKind>,
    /// What shows that it has come up.
    #[serde(default)]
    pub probes: Probes,
    /// How long the restore may take, with the reading back. Default: a day.
    #[serde(default = "default_restore_seconds")]
    #[schemars(range(min = 10, max = 2_592_000))]
    pub restore_seconds: u32,
    /// How long the guest may take to show all that is asked for. Default: half an hour.
    #[serde(default = "default_boot_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub boot_seconds: u32,
    /// Why it is made.
    #[serde(default)]
    pub why: ProofReason,
}

pub const RESTORE_SECONDS: u32 = 86_400;
pub const BOOT_SECONDS: u32 = 1_800;

fn default_restore_seconds() -> u32 {
    RESTORE_SECONDS
}

fn default_boot_seconds() -> u32 {
    BOOT_SECONDS
}

/// All that is asked for must be shown. The sandbox has no network: a service is probed by a command
/// in the guest, such as `curl --fail http://localhost/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.console) || self.guestAgent || (has(self.command) && self.command.size() > 0)").message("probes: name at least one of console, guestAgent and command"))]
pub struct Probes {
    /// A text that its serial console shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub console: Option<String>,
    /// Its guest agent answers.
    #[serde(default)]
    pub guest_agent: bool,
    /// A program and its arguments, which its guest agent runs, perhaps more than once, and which must
    /// end with 0. What it prints is not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 1024)))]
    pub command: Vec<String>,
}

/// What a Linux that has come up shows.
pub const LOGIN: &str = "login:";

impl Default for Probes {
    fn default() -> Self {
        Self {
            console: Some(LOGIN.to_owned()),
            guest_agent: false,
            command: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProofReason {
    /// A person wants to know.
    #[default]
    Asked,
    /// It is the machine's last backup, and its policy's time has come.
    Latest,
    /// It was drawn among the older ones.
    Sample,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreProofStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Pending, Restoring, Booting, Probing, Erasing, Proven, Failed or Releasing.
    #[serde(default)]
    pub state: String,
    /// The machine that was backed up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// What was tried, as it was when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// The steps so far. The last one goes on while it has no end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepTime>,
    /// Once it is decided: then the sandbox is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Once nothing of the sandbox is left. `dc-operator certificate verify` checks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<ProofEvidence>,
}

/// What is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    pub backup_uid: String,
    pub repository: String,
    /// restic's id.
    pub snapshot_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<String>,
    /// The machine's name in the sandbox; its volumes' begin with it.
    pub sandbox: String,
    pub pool: String,
    pub class: String,
    pub firmware: FirmwareKind,
    /// In boot order.
    pub volumes: Vec<TriedVolume>,
    /// The host that booted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// One volume of the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TriedVolume {
    /// As it was called.
    pub volume: String,
    pub file: String,
    pub size: String,
    /// How it is erased: as the machine's own.
    #[serde(default)]
    pub erase_method: EraseMethod,
    /// Of its bytes as they were read back from the storage, each block the same as in the backup.
    /// `restic dump <snapshot> <file> | sha256sum` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProofStep {
    /// The volumes are written, read back and compared.
    Restore,
    /// A host is found, and the guest started.
    Boot,
    /// The guest runs, and has not shown all that is asked for.
    Probe,
    /// The machine is stopped and its volumes erased.
    Erase,
}

/// When a step began and ended, RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepTime {
    pub step: ProofStep,
    pub began_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProofResult {
    /// It came back byte for byte, and showed all that was asked for.
    Proven,
    Failed,
}

/// How it ended, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    pub result: ProofResult,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<ProofStep>,
    /// A fact in PascalCase.
    pub reason: String,
    pub message: String,
}

/// What is signed, and never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProofEvidence {
    pub department: String,
    pub machine: String,
    pub backup: String,
    pub trial: Trial,
    pub probes: Probes,
    pub result: ProofResult,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<ProofStep>,
    pub reason: String,
    pub message: String,
    pub steps: Vec<StepTime>,
    /// Over `<namespace>/<name>` of the proof as `name` and all other fields of this as JSON, with
    /// sorted keys and no spaces.
    pub signature: Signature,
}
