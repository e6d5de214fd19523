//! ErasureCertificate: the evidence that a volume was erased, kept after the volume is gone.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Evidence that the bytes of a volume were erased: what, by whose order, how, and with what
/// result. Written once by the operator, signed, never changed.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "ErasureCertificate",
    status = "ErasureCertificateStatus",
    shortname = "erasure",
    category = "dc",
    printcolumn = r#"{"name":"Department","type":"string","jsonPath":".spec.department"}"#,
    printcolumn = r#"{"name":"Volume","type":"string","jsonPath":".spec.volume"}"#,
    printcolumn = r#"{"name":"Method","type":"string","jsonPath":".spec.method"}"#,
    printcolumn = r#"{"name":"Result","type":"string","jsonPath":".spec.result"}"#,
    printcolumn = r#"{"name":"Bytes","type":"integer","jsonPath":".spec.bytes"}"#,
    printcolumn = r#"{"name":"Ordered by","type":"string","jsonPath":".spec.orderedBy"}"#,
    printcolumn = r#"{"name":"Ended","type":"date","jsonPath":".spec.endedAt"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: evidence is never changed"))]
pub struct ErasureCertificateSpec {
    /// The namespace that the volume was in.
    #[schemars(length(max = 63))]
    pub department: String,
    /// The InformationSystem that the volume was of.
    #[schemars(length(max = 63))]
    pub system: String,
    /// The Volume's name.
    #[schemars(length(max = 63))]
    pub volume: String,
    /// The uid of the Volume object.
    #[schemars(length(max = 36))]
    pub volume_uid: String,
    /// The volume's id in the pool.
    #[schemars(length(max = 36))]
    pub instance_id: String,
    /// The StoragePool that held it.
    #[schemars(length(max = 63))]
    pub pool: String,
    /// The storage host that erased it, and says so.
    #[schemars(length(max = 63))]
    pub host: String,
    /// What the volume could hold, in bytes.
    #[schemars(range(min = 0))]
    pub size: i64,
    /// How it was erased.
    pub method: ErasedBy,
    /// What is known of the destroyed key; only by KeyDestruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyEvidence>,
    /// When the host began, RFC 3339 in UTC; absent when it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub began_at: Option<String>,
    /// When the host had ended, RFC 3339 in UTC; absent when it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub ended_at: Option<String>,
    /// Runs of blocks that held something.
    #[schemars(range(min = 0))]
    pub extents: i64,
    /// Their length in all.
    #[schemars(range(min = 0))]
    pub bytes: i64,
    /// Bytes that were read back afterwards and held nothing.
    #[schemars(range(min = 0))]
    pub verified_bytes: i64,
    pub result: ErasureResult,
    /// Who set the volume to be erased, as the API server knows them; absent when that was not
    /// recorded. Who deleted the object is in the API server's audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub ordered_by: Option<String>,
    /// When the Volume's deletion was asked for, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub deleted_at: Option<String>,
    pub signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ErasedBy {
    /// All blocks were given back to the pool.
    Discard,
    /// All blocks were written with zeros.
    Zero,
    /// All blocks were written with random bytes, then with zeros.
    Random,
    /// The key of the encrypted volume was destroyed, then all blocks were given back to the pool.
    KeyDestruction,
}

/// The destruction of a volume's key: what was seen of it, and what it does not reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyEvidence {
    /// The ids of all master keys that ever wrapped it, the last one last.
    #[schemars(length(max = 64), inner(length(max = 255)))]
    pub master_keys: Vec<String>,
    /// When it was deleted from the ledger, RFC 3339 in UTC.
    #[schemars(length(max = 32))]
    pub destroyed_at: String,
    /// The ledger's incarnation, under which the revision counts.
    #[schemars(range(min = 0))]
    pub incarnation: i64,
    /// The ledger's revision that deleted it; the ledger was compacted there.
    #[schemars(range(min = 0))]
    pub revision: i64,
    /// Members of the ledger that were read at an older revision and answered that it is compacted.
    #[schemars(length(max = 64), inner(length(max = 255)))]
    pub compacted: Vec<String>,
    /// Members that did not answer so: they may still hold the wrapped key.
    #[schemars(length(max = 64), inner(length(max = 255)))]
    pub silent: Vec<String>,
    /// What the destruction does not reach, and who must exclude that too does what.
    #[schemars(length(max = 4096))]
    pub remains: String,
}

/// What the host's own reading back shows, and of a destroyed key the answers of the ledger's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ErasureResult {
    /// Every byte of the volume was read back and held nothing. By KeyDestruction: every block that held
    /// something was, and every member of the ledger has answered that it has the key no more.
    Verified,
    /// The host says that it is erased, and that fewer bytes were read back than the volume had. By
    /// KeyDestruction also: a member of the ledger has not answered; see `key.silent`.
    PartlyVerified,
    /// The host says that nothing is left, and not how: a host of before, or one that had already
    /// forgotten.
    Unproven,
}

/// By the operator's evidence key: `dc-operator certificate verify` checks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// Ed25519.
    #[schemars(length(max = 16))]
    pub algorithm: String,
    /// The first 16 hexadecimal digits of the public key's SHA-256.
    #[schemars(length(max = 16))]
    pub key_id: String,
    /// In base64, over the certificate's name and all other fields of the spec as JSON with sorted
    /// keys and no spaces.
    #[schemars(length(max = 128))]
    pub value: String,
}

/// Nothing of it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErasureCertificateStatus {}
