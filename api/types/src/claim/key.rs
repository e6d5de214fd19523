//! The keys of encrypted volumes, and what is left of one that was destroyed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::InstanceId;
use crate::plan::{Formatted, Secret};

/// The key of one volume, wrapped by a master key that is in no store. Made once, with the volume's
/// claim; one that is deleted is made by nobody again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeKey {
    pub volume: InstanceId,
    /// The id of the master key.
    pub master: String,
    /// AES-256-GCM's, 12 bytes in hexadecimal.
    pub nonce: String,
    /// The key and its tag, 48 bytes in hexadecimal.
    pub wrapped: Secret,
    /// Whether the volume has its header. Written when a host has said so, never taken back.
    #[serde(default)]
    pub formatted: Formatted,
    /// The ids of the master keys that wrapped it before: a snapshot of the ledger from then has it
    /// under one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<String>,
}

/// A key that is deleted, and what was seen since of its not being there: written in the transaction
/// that deletes it, kept until the certificate stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroyedKey {
    pub volume: InstanceId,
    /// The ids of all master keys that ever wrapped it, the last one last.
    pub masters: Vec<String>,
    /// When it was deleted, seconds since 1970.
    pub at: i64,
    /// The ledger's, under which `revision` counts.
    pub incarnation: u64,
    /// Of the transaction that deleted it. `None` is written by that transaction itself: the revision of
    /// this entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What each member of the ledger said of what was before, by its name and id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<String, MemberSaid>,
    /// Nobody is asked any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

/// What a member of the ledger's etcd says of the revisions before a key was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberSaid {
    /// It has them no more.
    Compacted,
    /// It did not say so yet.
    Silent,
}
