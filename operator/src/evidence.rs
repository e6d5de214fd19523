//! The key that certificates of erasure are signed with, and how anybody checks one.
//!
//! The private key lies in Secret `dc-evidence-key`. The public one is published in ConfigMap
//! `dc-evidence` under its id, beside those of before: a certificate outlives the key it was signed
//! with. Ed25519 (RFC 8032) signs the same text the same way each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dc_crds::certificate::{KeyEvidence, Signature};
use dc_crds::proof::ProofEvidence;
use dc_crds::{ErasureCertificate, RestoreProof};
use dc_operator_core::proof::signed_text as proof_text;
use dc_operator_core::volume::erasure::{Unsigned, signed_text};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::json;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Where the public keys are.
const NAME: &str = "dc-evidence";
const ALGORITHM: &str = "Ed25519";

#[derive(Debug, Error)]
pub enum EvidenceError {
    #[error(
        "Secret dc-evidence-key does not hold an Ed25519 key: restore it from a backup, or delete \
         it to have another made; certificates of before stay as they are"
    )]
    Key,
    #[error("no key could be made: the system gives no random numbers")]
    NotMade,
    #[error("ConfigMap {namespace}/{NAME} cannot be read or written")]
    Api {
        namespace: String,
        #[source]
        source: kube::Error,
    },
}

/// What is signed.
pub enum Evidence {
    Erasure(Box<ErasureCertificate>),
    Proof(Box<RestoreProof>),
}

/// Evidence that was kept as YAML or JSON.
pub fn parse(text: &str) -> Result<Evidence, ParseError> {
    // JSON is YAML as well.
    let object: serde_json::Value = serde_norway::from_str(text).map_err(ParseError::Text)?;
    let read = match object["kind"].as_str() {
        Some("RestoreProof") => {
            serde_json::from_value(object).map(|proof| Evidence::Proof(Box::new(proof)))
        }
        _ => serde_json::from_value(object).map(|found| Evidence::Erasure(Box::new(found))),
    };
    read.map_err(ParseError::Object)
}

#[derive(Debug, Error)]
pub enum ParseError {
    #[error("it is neither YAML nor JSON")]
    Text(#[source] serde_norway::Error),
    #[error("it is neither an ErasureCertificate nor a RestoreProof")]
    Object(#[source] serde_json::Error),
}

/// What a certificate says of a destroyed key.
#[must_use]
pub fn of_key(key: &KeyEvidence) -> String {
    let members = |of: &[String]| match of {
        [] => "none".to_owned(),
        of => of.join(", "),
    };
    format!(
        "Its key was deleted at {}. Members of the ledger that have it no more: {}. Members that did not \
         say so: {}. {}",
        key.destroyed_at,
        members(&key.compacted),
        members(&key.silent),
        key.remains,
    )
}

/// Why a certificate is not believed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum VerifyError {
    #[error("it was signed by {found:?}, which this version does not know")]
    Algorithm { found: String },
    #[error("no public key {key_id} is known: name one that was kept, with --public-key")]
    UnknownKey { key_id: String },
    #[error("its signature or the public key is not base64")]
    NotBase64,
    #[error("the signature is not of this text: it was changed, or signed by another key")]
    Forged,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct EvidenceKey {
    pair: Arc<Ed25519KeyPair>,
}

impl EvidenceKey {
    /// A new one, in the form that [`from_text`](Self::from_text) reads: PKCS #8 in base64.
    pub fn generate() -> Result<String, EvidenceError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let document = document.map_err(|_| EvidenceError::NotMade)?;
        Ok(STANDARD.encode(document.as_ref()))
    }

    pub fn from_text(text: &str) -> Result<Self, EvidenceError> {
        let bytes = STANDARD
            .decode(text.trim())
            .map_err(|_| EvidenceError::Key)?;
        let pair = Ed25519KeyPair::from_pkcs8(&bytes).map_err(|_| EvidenceError::Key)?;
        Ok(Self {
            pair: Arc::new(pair),
        })
    }

    #[must_use]
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.pair.public_key().as_ref())
    }

    #[must_use]
    pub fn id(&self) -> String {
        key_id(self.pair.public_key().as_ref())
    }

    /// The certificate as it is put into the API.
    #[must_use]
    pub fn sign(&self, unsigned: &Unsigned) -> ErasureCertificate {
        let Unsigned { name, spec } = unsigned;
        let text = signed_text(name, spec);
        let mut certificate = ErasureCertificate::new(name, spec.clone());
        certificate.spec.signature = self.signature(&text);
        certificate
    }

    /// Signs what a proof has shown.
    pub fn sign_proof(&self, namespace: &str, name: &str, evidence: &mut ProofEvidence) {
        let text = proof_text(namespace, name, evidence);
        evidence.signature = self.signature(&text);
    }

    fn signature(&self, text: &str) -> Signature {
        Signature {
            algorithm: ALGORITHM.to_owned(),
            key_id: self.id(),
            value: STANDARD.encode(self.pair.sign(text.as_bytes()).as_ref()),
        }
    }

    /// Puts the public key beside those of before.
    pub async fn publish(&self, client: &Client, namespace: &str) -> Result<(), EvidenceError> {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": NAME, "namespace": namespace },
            "data": { self.id(): self.public_key() },
        });
        // One manager for each key: what another one put stays.
        let manager = format!("dc-operator-{}", self.id());
        let ours = PatchParams::apply(&manager).force();
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let patched = maps.patch(NAME, &ours, &Patch::Apply(&map)).await;
        patched.map(drop).map_err(|source| EvidenceError::Api {
            namespace: namespace.to_owned(),
            source,
        })
    }
}

/// The public keys that were published, by their id.
pub async fn published(
    client: &Client,
    namespace: &str,
) -> Result<BTreeMap<String, String>, EvidenceError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = maps.get_opt(NAME).await;
    let found = found.map_err(|source| EvidenceError::Api {
        namespace: namespace.to_owned(),
        source,
    })?;
    Ok(found.and_then(|map| map.data).unwrap_or_default())
}

/// The id of a public key in base64; `None` when it is not base64.
#[must_use]
pub fn id_of(public_key: &str) -> Option<String> {
    let bytes = STANDARD.decode(public_key.trim()).ok()?;
    Some(key_id(&bytes))
}

fn key_id(public_key: &[u8]) -> String {
    let digest = Sha256::digest(public_key);
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether a certificate is what was signed.
pub fn verify(
    certificate: &ErasureCertificate,
    public_keys: &BTreeMap<String, String>,
) -> Result<(), VerifyError> {
    let text = signed_text(&certificate.name_any(), &certificate.spec);
    verify_text(&certificate.spec.signature, &text, public_keys)
}

/// Whether the evidence of a proof is what was signed; `None` when it has none yet.
pub fn verify_proof(
    proof: &RestoreProof,
    public_keys: &BTreeMap<String, String>,
) -> Option<Result<(), VerifyError>> {
    let evidence = proof.status.as_ref()?.evidence.as_ref()?;
    let namespace = proof.namespace().unwrap_or_default();
    let text = proof_text(&namespace, &proof.name_any(), evidence);
    Some(verify_text(&evidence.signature, &text, public_keys))
}

fn verify_text(
    signature: &Signature,
    text: &str,
    public_keys: &BTreeMap<String, String>,
) -> Result<(), VerifyError> {
    let Signature {
        algorithm,
        key_id,
        value,
    } = signature;
    if algorithm != ALGORITHM {
        return Err(VerifyError::Algorithm {
            found: algorithm.clone(),
        });
    }
    let key = public_keys
        .get(key_id)
        .ok_or_else(|| VerifyError::UnknownKey {
            key_id: key_id.clone(),
        })?;
    let decode = |text: &str| {
        STANDARD
            .decode(text.trim())
            .map_err(|_| VerifyError::NotBase64)
    };
    UnparsedPublicKey::new(&ED25519, decode(key)?)
        .verify(text.as_bytes(), &decode(value)?)
        .map_err(|_| VerifyError::Forged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_crds::certificate::{ErasedBy, ErasureCertificateSpec, ErasureResult};

    fn unsigned() -> Unsigned {
        Unsigned {
            name: "so-nnmt.data.1".into(),
            spec: ErasureCertificateSpec {
                department: "so-nnmt".into(),
                system: "portal".into(),
                volume: "data".into(),
                volume_uid: "1".into(),
                instance_id: "1".into(),
                pool: "san".into(),
                host: "s1".into(),
                size: 1 << 30,
                method: ErasedBy::Zero,
                key: None,
                began_at: None,
                ended_at: Some("2026-11-25T10:00:00Z".into()),
                extents: 3,
                bytes: 4096,
                verified_bytes: 1 << 30,
                result: ErasureResult::Verified,
                ordered_by: Some("an@sonla.gov.vn".into()),
                deleted_at: None,
                signature: Signature {
                    algorithm: String::new(),
                    key_id: String::new(),
                    value: String::new(),
                },
            },
        }
    }

    fn key() -> (EvidenceKey, BTreeMap<String, String>) {
        let key = EvidenceKey::from_text(&EvidenceKey::generate().unwrap()).unwrap();
        let known = BTreeMap::from([(key.id(), key.public_key())]);
        (key, known)
    }

    #[test]
    fn what_was_signed_is_believed_and_whatever_was_changed_is_not() {
        let (key, known) = key();
        let certificate = key.sign(&unsigned());
        assert_eq!(verify(&certificate, &known), Ok(()));
        assert_eq!(
            key.sign(&unsigned()).spec,
            certificate.spec,
            "the same each time"
        );
        let changes: [fn(&mut ErasureCertificate); 4] = [
            |c| c.spec.ordered_by = Some("binh@sonla.gov.vn".into()),
            |c| c.spec.result = ErasureResult::Unproven,
            |c| c.spec.verified_bytes += 1,
            |c| c.metadata.name = Some("so-nnmt.other.2".into()),
        ];
        for change in changes {
            let mut forged = certificate.clone();
            change(&mut forged);
            assert_eq!(verify(&forged, &known), Err(VerifyError::Forged));
        }
    }

    #[test]
    fn a_key_that_is_not_known_is_named() {
        let (key, _) = key();
        let certificate = key.sign(&unsigned());
        let error = verify(&certificate, &BTreeMap::new()).unwrap_err();
        assert_eq!(error, VerifyError::UnknownKey { key_id: key.id() });
        let (_, other) = self::key();
        let stolen = other.values().next().unwrap().clone();
        let wrong = BTreeMap::from([(key.id(), stolen)]);
        assert_eq!(verify(&certificate, &wrong), Err(VerifyError::Forged));
        assert!(EvidenceKey::from_text("no key").is_err());
    }
}
