//! Secrets of the system namespace that the operator makes once and keeps for ever.
//!
//! Two operators that start at once make one: the second finds the first's.

use std::collections::BTreeMap;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use thiserror::Error;

use super::authority::{Authority, AuthorityError};
use super::token::random_text;
use crate::evidence::{EvidenceError, EvidenceKey};

pub const AUTHORITY_SECRET: &str = "dc-agent-ca";
pub const LEDGER_KEY_SECRET: &str = "dc-ledger-key";
pub const EVIDENCE_KEY_SECRET: &str = "dc-evidence-key";
const LEDGER_KEY: &str = "key";
const EVIDENCE_KEY: &str = "key";

#[derive(Debug, Error)]
pub enum SecretError {
    #[error("Secret {namespace}/{name} cannot be read or made")]
    Api {
        namespace: String,
        name: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error(
        "Secret {namespace}/{name} has no text under {key:?}: restore it from a backup; a new one \
         would cut off every host"
    )]
    Lacks {
        namespace: String,
        name: &'static str,
        key: &'static str,
    },
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// The agents' authority, made when there is none.
pub async fn ensure_authority(
    client: &Client,
    namespace: &str,
    cluster: &str,
) -> Result<Authority, SecretError> {
    let secret = ensure(client, namespace, AUTHORITY_SECRET, || {
        let (certificate, key) = Authority::generate(cluster, SystemTime::now())?;
        Ok(BTreeMap::from([("tls.crt", certificate), ("tls.key", key)]))
    })
    .await?;
    let certificate = text(&secret, namespace, AUTHORITY_SECRET, "tls.crt")?;
    let key = text(&secret, namespace, AUTHORITY_SECRET, "tls.key")?;
    Ok(Authority::from_pem(&certificate, &key)?)
}

/// The key from which the CHAP secrets of grants are made.
pub async fn ensure_ledger_key(
    client: &Client,
    namespace: &str,
) -> Result<dc_types::plan::Secret, SecretError> {
    let secret = ensure(client, namespace, LEDGER_KEY_SECRET, || {
        Ok(BTreeMap::from([(LEDGER_KEY, random_text().0)]))
    })
    .await?;
    let key = text(&secret, namespace, LEDGER_KEY_SECRET, LEDGER_KEY)?;
    Ok(dc_types::plan::Secret(key))
}

/// The key that certificates of erasure are signed with, with its public half published.
pub async fn ensure_evidence_key(
    client: &Client,
    namespace: &str,
) -> Result<EvidenceKey, SecretError> {
    let secret = ensure(client, namespace, EVIDENCE_KEY_SECRET, || {
        Ok(BTreeMap::from([(EVIDENCE_KEY, EvidenceKey::generate()?)]))
    })
    .await?;
    let text = text(&secret, namespace, EVIDENCE_KEY_SECRET, EVIDENCE_KEY)?;
    let key = EvidenceKey::from_text(&text)?;
    key.publish(client, namespace).await?;
    Ok(key)
}

async fn ensure(
    client: &Client,
    namespace: &str,
    name: &'static str,
    make: impl FnOnce() -> Result<BTreeMap<&'static str, String>, SecretError>,
) -> Result<Secret, SecretError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let failed = |source| SecretError::Api {
        namespace: namespace.to_owned(),
        name,
        source,
    };
    if let Some(there) = api.get_opt(name).await.map_err(failed)? {
        return Ok(there);
    }
    let new = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(
            make()?
                .into_iter()
                .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
                .collect(),
        ),
        ..Secret::default()
    };
    match api.create(&PostParams::default(), &new).await {
        Ok(made) => {
            tracing::info!(namespace, name, "made a secret");
            Ok(made)
        }
        Err(kube::Error::Api(status)) if status.code == 409 => api.get(name).await.map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn text(
    secret: &Secret,
    namespace: &str,
    name: &'static str,
    key: &'static str,
) -> Result<String, SecretError> {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let value = value.and_then(|value| String::from_utf8(value.0.clone()).ok());
    value.ok_or_else(|| SecretError::Lacks {
        namespace: namespace.to_owned(),
        name,
        key,
    })
}
