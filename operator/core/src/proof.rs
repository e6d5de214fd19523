//! Proofs: a backup is restored into a sandbox, booted, probed and erased, and what came of it is
//! signed.
//!
//! ```text
//! wanted ─ valid, its turn ─▶ trial written down ─▶ Restores ─ each written and the same as the backup
//!        ─▶ a machine without a card ─ runs ─ has shown all ─▶ verdict written down
//!        ─▶ all of it deleted, its volumes erased ─ nothing is left ─▶ evidence, signed, for good
//! too late, or failed for good, at any of these: the verdict says which and why, and it goes on there
//! ```
//! The sandbox is a few objects in the operator's own namespace, where no department has any right:
//! a Restore and a Volume for each volume, and a VirtualMachine, called by the proof's uid.
//!
//! What always holds:
//! - What the status tells of trial and verdict is decided once. Nothing is made before the trial is
//!   written down, and nothing is made after the verdict is.
//! - There is evidence only when nothing of the sandbox is left: no object, and so no byte.
//! - A machine of a sandbox has no card, and is asked for by its proof alone.
//! - A proof goes only when nothing of its sandbox is left.

use std::collections::BTreeMap;

use dc_crds::proof::Trial;
use dc_crds::{
    Backup, MachineClass, PROOF, Restore, RestoreProof, RestoreProofSpec, StoragePool,
    VirtualMachine, Volume,
};
use dc_types::ObjectRef;
use dc_types::report::Observation;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;

pub mod deletion;
pub mod plan;
pub mod sandbox;
pub mod status;
#[cfg(test)]
mod tests;
pub mod validate;

pub use plan::{Course, plan};
pub use status::{signed_text, status};

/// How many go on at a time in the data centre.
pub const AT_ONCE: usize = 2;

/// What was read for one proof.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub proof: &'a RestoreProof,
    pub me: &'a ObjectRef,
    /// The operator's own namespace.
    pub namespace: &'a str,
    pub backup: Option<&'a Backup>,
    /// The machine that was backed up, as it is today, and its volumes by their names.
    pub vm: Option<&'a VirtualMachine>,
    pub volumes: &'a BTreeMap<String, &'a Volume>,
    pub class: Option<&'a MachineClass>,
    pub pool: Option<&'a StoragePool>,
    /// Whose storage its department uses.
    pub owner_class: dc_crds::pool::OwnerClass,
    pub turn: Turn,
    /// What there is of the sandbox, by name.
    pub sandbox: Sandbox<'a>,
    pub now: Timestamp,
}

/// What there is of a sandbox.
#[derive(Clone, Copy)]
pub struct Sandbox<'a> {
    /// Each with what its storage host says of it.
    pub restores: &'a BTreeMap<String, (&'a Restore, Option<&'a Observation>)>,
    pub volumes: &'a BTreeMap<String, &'a Volume>,
    pub machine: Option<&'a VirtualMachine>,
    /// What its host says of it.
    pub machine_said: Option<&'a Observation>,
    pub host: Option<&'a str>,
    /// Whether the API server has just said that none of its names is there. What was watched may be
    /// older than what a Restore has made meanwhile.
    pub nothing_left: bool,
}

/// Whether it may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Come,
    /// So many go on, or were there before.
    Waits,
}

/// A proof that a policy has due.
#[derive(Clone, Debug, PartialEq)]
pub struct NewProof {
    pub namespace: String,
    pub name: String,
    pub spec: RestoreProofSpec,
    /// The uid of its Backup, which it goes with.
    pub backup_uid: String,
}

impl NewProof {
    #[must_use]
    pub fn object(&self) -> RestoreProof {
        let Self {
            namespace,
            name,
            spec,
            backup_uid,
        } = self;
        let mut proof = RestoreProof::new(name, spec.clone());
        proof.metadata.namespace = Some(namespace.clone());
        proof.metadata.owner_references = Some(vec![OwnerReference {
            api_version: format!("{}/{}", dc_crds::GROUP, dc_crds::VERSION),
            kind: "Backup".to_owned(),
            name: spec.backup.clone(),
            uid: backup_uid.clone(),
            controller: None,
            block_owner_deletion: None,
        }]);
        proof
    }
}

/// The name of a proof's machine, which those of its volumes and restores begin with. No other proof
/// ever has it.
#[must_use]
pub fn sandbox_name(proof: &ObjectRef) -> String {
    format!("p-{}", proof.uid.0.simple())
}

/// The name of the volume with this number, and of its restore.
#[must_use]
pub fn volume_name(sandbox: &str, number: usize) -> String {
    format!("{sandbox}-{number}")
}

/// Names of all volumes of a trial.
pub fn volume_names(trial: &Trial) -> impl Iterator<Item = String> {
    let all = 0..trial.volumes.len();
    all.map(|number| volume_name(&trial.sandbox, number))
}

/// The proof that an object in the operator's namespace is for: its namespace and name.
#[must_use]
pub fn proof_of(meta: &ObjectMeta) -> Option<(String, String)> {
    let annotations = meta.annotations.as_ref()?;
    let (namespace, name) = annotations.get(PROOF)?.split_once('.')?;
    Some((namespace.to_owned(), name.to_owned()))
}

/// Whether it has begun and not ended.
#[must_use]
pub fn goes_on(proof: &RestoreProof) -> bool {
    let status = proof.status.as_ref();
    status.is_some_and(|status| status.trial.is_some() && status.evidence.is_none())
}

#[must_use]
pub fn has_ended(proof: &RestoreProof) -> bool {
    let status = proof.status.as_ref();
    status.is_some_and(|status| status.evidence.is_some())
}
