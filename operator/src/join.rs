//! How a host gets its certificate: once by a token, then by the certificate it has.
//!
//! A token is used up by deleting its Secret, on the condition that it is still the one that was
//! read; so of two that come with the same token, one joins. The fingerprint of the new certificate
//! is then recorded in the ledger, and from there on no earlier one is believed. Renewing keeps the
//! one before valid until the new one is first used, because the answer may be lost.
//!
//! Tokens are made and taken away in [`tokens`]; who signs is [`authority`].

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use dc_operator_core::claims::{HostIdentity, host_key};
use dc_operator_core::txn::Txn;
use dc_proto::join::JOIN_KEY;
use dc_types::HostName;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use thiserror::Error;

use crate::ledger::{Commit, Ledger, LedgerError};
use crate::operator::Parts;

pub mod authority;
pub mod secrets;
pub mod token;
pub mod tokens;

use authority::{Authority, AuthorityError, Issued};
use token::{Token, TokenError};

/// An annotation of a Host: any text that was not there before makes a new token.
pub const REJOIN: &str = "dc.sonla.gov.vn/rejoin";

#[derive(Debug, Error)]
pub enum JoinError {
    #[error(
        "host {host} has joined already, and a token works once: to join it again, set the \
         annotation dc.sonla.gov.vn/rejoin of Host {host} to a new text and take the new join.json"
    )]
    Joined { host: HostName },
    #[error("there is no token for host {host}: apply a Host of that name and take its join.json")]
    NoToken { host: HostName },
    #[error("the token of host {host} has just been used by another")]
    Raced { host: HostName },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("Secret join-{host} does not read: delete it, and a new one is made")]
    File { host: HostName },
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("this certificate is not the latest of host {host}: join the host again")]
    NotLatest { host: HostName },
    #[error("host {host} is joining at this moment")]
    Busy { host: HostName },
    #[error("this operator does not lead")]
    NotLeader,
    #[error("the Kubernetes API does not answer as it should")]
    Api(#[source] kube::Error),
    #[error("the ledger does not take the new certificate")]
    Ledger(#[from] LedgerError),
}

impl JoinError {
    /// For the counter: a closed set.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            JoinError::Joined { .. } => "already_joined",
            JoinError::NoToken { .. } => "no_token",
            JoinError::Raced { .. } => "raced",
            JoinError::Token(TokenError::Wrong { .. }) => "wrong_token",
            JoinError::Token(TokenError::Expired { .. }) => "expired_token",
            JoinError::File { .. } => "unreadable_token",
            JoinError::Authority(_) => "bad_request",
            JoinError::NotLatest { .. } => "not_latest",
            JoinError::Busy { .. } => "busy",
            JoinError::NotLeader => "not_leader",
            JoinError::Api(_) => "api",
            JoinError::Ledger(_) => "ledger",
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Joins {
    client: Client,
    namespace: String,
    ledger: Ledger,
    authority: Arc<Authority>,
    /// How long a host's certificate lives.
    life: Duration,
    /// Where agents reach the operators, for the join files.
    advertise: String,
    /// Hosts whose token is used but whose certificate is not recorded yet: no new token for them.
    joining: Arc<Mutex<BTreeSet<HostName>>>,
}

/// Until it is dropped, a host is joining.
struct Joining<'a> {
    joins: &'a Joins,
    host: &'a HostName,
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        self.joins.joining().remove(self.host);
    }
}

impl Joins {
    #[must_use]
    pub fn new(parts: &Parts, authority: Arc<Authority>, life: Duration, advertise: &str) -> Self {
        Self {
            client: parts.client.clone(),
            namespace: parts.namespace.clone(),
            ledger: parts.ledger.clone(),
            authority,
            life,
            advertise: advertise.to_owned(),
            joining: Arc::default(),
        }
    }

    /// What hosts and operators verify each other against.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    #[must_use]
    pub fn advertise(&self) -> &str {
        &self.advertise
    }

    /// Uses up a token.
    pub async fn join(
        &self,
        host: &HostName,
        token: &str,
        request_pem: &str,
    ) -> Result<Issued, JoinError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = secret_name(host);
        let found = secrets.get_opt(&name).await.map_err(JoinError::Api)?;
        let Some(secret) = found else {
            return Err(self.no_token(host));
        };
        let found = read_token(&secret).filter(|found| found.file.host == *host);
        let found = found.ok_or_else(|| JoinError::File { host: host.clone() })?;
        found.check(token, Timestamp::now())?;
        // Signed before the token is gone, so that a bad request does not use it up.
        let now = SystemTime::now();
        let issued = self
            .authority
            .sign_host(host, request_pem, now, self.life)?;

        let _joining = self.begin_joining(host)?;
        let same = DeleteParams {
            preconditions: Some(Preconditions {
                uid: secret.uid(),
                resource_version: secret.resource_version(),
            }),
            ..DeleteParams::default()
        };
        match secrets.delete(&name, &same).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                return Err(JoinError::Raced { host: host.clone() });
            }
            Err(error) => return Err(JoinError::Api(error)),
        }
        let rejoin = secret.annotations().get(REJOIN).cloned();
        self.record(host, &issued, None, rejoin).await?;
        tracing::info!(%host, "a host has joined");
        Ok(issued)
    }

    /// A fresh certificate for a host that showed its latest one.
    pub async fn renew(
        &self,
        host: &HostName,
        fingerprint: &str,
        request_pem: &str,
    ) -> Result<Issued, JoinError> {
        self.check(host, fingerprint)?;
        let now = SystemTime::now();
        let issued = self
            .authority
            .sign_host(host, request_pem, now, self.life)?;
        let identity = self.identity(host);
        let rejoin = identity.and_then(|(identity, _)| identity.rejoin);
        self.record(host, &issued, Some(fingerprint), rejoin)
            .await?;
        tracing::info!(%host, "a host's certificate was renewed");
        Ok(issued)
    }

    /// Whether a certificate is the host's latest, or the one before a renewal.
    pub fn check(&self, host: &HostName, fingerprint: &str) -> Result<(), JoinError> {
        let known = self.identity(host).is_some_and(|(identity, _)| {
            identity.fingerprint == fingerprint || identity.previous.as_deref() == Some(fingerprint)
        });
        match known {
            true => Ok(()),
            false => Err(JoinError::NotLatest { host: host.clone() }),
        }
    }

    /// The host has used this certificate: the one before it is believed no longer.
    pub async fn used(&self, host: &HostName, fingerprint: &str) -> Result<(), JoinError> {
        match self.identity(host) {
            Some((identity, revision))
                if identity.fingerprint == fingerprint && identity.previous.is_some() =>
            {
                let identity = HostIdentity {
                    previous: None,
                    ..identity
                };
                let key = host_key(host);
                let txn = Txn::new(format!("host {host}: its new certificate is in use"))
                    .unchanged(&key, revision)
                    .put(&key, &identity);
                // Whoever changed it meanwhile knows better.
                self.ledger.commit(&txn).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn joining(&self) -> MutexGuard<'_, BTreeSet<HostName>> {
        self.joining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_joining<'a>(&'a self, host: &'a HostName) -> Result<Joining<'a>, JoinError> {
        match self.joining().insert(host.clone()) {
            true => Ok(Joining { joins: self, host }),
            false => Err(JoinError::Busy { host: host.clone() }),
        }
    }

    fn is_joining(&self, host: &HostName) -> bool {
        self.joining().contains(host)
    }

    fn identity(&self, host: &HostName) -> Option<(HostIdentity, u64)> {
        self.ledger.with_claims(|claims| {
            let claimed = claims.hosts.get(host)?;
            Some((claimed.value.clone(), claimed.revision))
        })
    }

    async fn record(
        &self,
        host: &HostName,
        issued: &Issued,
        previous: Option<&str>,
        rejoin: Option<String>,
    ) -> Result<(), JoinError> {
        let identity = HostIdentity {
            fingerprint: issued.fingerprint.clone(),
            previous: previous.map(ToOwned::to_owned),
            not_after: issued.not_after,
            rejoin,
        };
        // Unguarded: the token, or the certificate shown, was the proof, and the latest wins.
        let txn =
            Txn::new(format!("host {host}: a new certificate")).put(host_key(host), &identity);
        match self.ledger.commit(&txn).await? {
            Commit::Done { .. } => Ok(()),
            Commit::NotLeader | Commit::Conflict => Err(JoinError::NotLeader),
        }
    }

    fn no_token(&self, host: &HostName) -> JoinError {
        let host = host.clone();
        match self.identity(&host) {
            Some(_) => JoinError::Joined { host },
            None => JoinError::NoToken { host },
        }
    }
}

fn secret_name(host: &HostName) -> String {
    format!("join-{host}")
}

fn read_token(secret: &Secret) -> Option<Token> {
    let json = secret.data.as_ref()?.get(JOIN_KEY)?;
    serde_json::from_slice(&json.0).ok()
}
