//! The OpenID Connect provider: found by discovery, its keys read and kept up to date.
//!
//! Keys are read again at even intervals, and at once, but not more often than [`AT_MOST_EVERY`],
//! when a token names a key that is not known: so keys may rotate at any time, and invented key
//! ids cannot make us flood the provider. A key that the provider has withdrawn is forgotten with
//! the next reading.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{JwkSet, PublicKeyUse};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::crypto::{self, ALLOWED};
use crate::problem::{Part, Problem, TokenFault};

/// How often keys are read without a reason.
const EVERY: Duration = Duration::from_secs(300);
/// How often they are read for one.
const AT_MOST_EVERY: Duration = Duration::from_secs(5);
/// Clocks may differ by so much.
const LEEWAY_S: u64 = 30;
/// Longer than any header a web server takes.
const LONGEST_TOKEN: usize = 16 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);
/// A key set is a few kilobytes.
const LARGEST_ANSWER: usize = 1024 * 1024;

#[derive(Clone, Debug)]
pub struct Config {
    /// As tokens name it; its discovery document is below it.
    pub issuer: String,
    /// Tokens for one of these are for us.
    pub audiences: Vec<String>,
    /// PEM; the system's when absent.
    pub ca: Option<Vec<u8>>,
}

pub struct Provider {
    config: Config,
    http: reqwest::Client,
    keys: RwLock<Arc<Keys>>,
    /// When keys were last asked for; held while they are.
    asked: Mutex<Option<Instant>>,
}

/// Where people sign in, as the provider tells; both https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// For browsers.
    pub authorization: String,
    /// For us.
    pub token: String,
}

#[derive(Default)]
struct Keys {
    /// Absent where the provider has none that are safe.
    endpoints: Option<Endpoints>,
    by_id: HashMap<String, DecodingKey>,
    nameless: Vec<DecodingKey>,
    read: bool,
}

/// A token that is right in itself.
pub struct Token {
    pub claims: Value,
    /// Seconds of the Unix epoch.
    pub expires: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("the CA of the identity provider cannot be read")]
    Ca(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{url} cannot be read")]
    Http {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} is not what it should be")]
    Malformed {
        url: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the issuer calls itself {said:?} instead of {asked:?}: give --oidc-issuer as it does")]
    OtherIssuer { asked: String, said: String },
    #[error("{url} is not https: keys that anybody on the way can change prove nothing")]
    NotSecure { url: String },
    #[error("{url} answers more than {LARGEST_ANSWER} bytes")]
    TooLarge { url: String },
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
}

impl Discovery {
    fn endpoints(&self) -> Option<Endpoints> {
        let safe = |url: &Option<String>| url.clone().filter(|url| is_secure(url));
        Some(Endpoints {
            authorization: safe(&self.authorization_endpoint)?,
            token: safe(&self.token_endpoint)?,
        })
    }
}

fn is_secure(url: &str) -> bool {
    url.starts_with("https://")
}

impl Provider {
    pub fn new(config: Config) -> Result<Arc<Self>, ProviderError> {
        crypto::install();
        let http = client(config.ca.as_deref())?;
        Ok(Arc::new(Self {
            config,
            http,
            keys: RwLock::default(),
            asked: Mutex::default(),
        }))
    }

    /// Reads the keys at even intervals for as long as the process lives.
    pub fn follow(self: &Arc<Self>) {
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                this.refresh().await;
                let pause = match this.keys().read {
                    true => EVERY,
                    false => AT_MOST_EVERY,
                };
                tokio::time::sleep(pause).await;
            }
        });
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.keys().read
    }

    /// Checks signature, algorithm, issuer, audience and times.
    pub async fn check(&self, token: &str) -> Result<Token, Problem> {
        let invalid = || Problem::NotSignedIn(TokenFault::Invalid);
        if token.len() > LONGEST_TOKEN {
            return Err(invalid());
        }
        let header = decode_header(token).map_err(|_| invalid())?;
        if !ALLOWED.contains(&header.alg) {
            return Err(invalid());
        }
        let key = self.key(header.kid.as_deref()).await?;
        // The algorithms of one family only, or the library refuses the key.
        let mut rules = Validation::new(header.alg);
        rules.leeway = LEEWAY_S;
        rules.validate_nbf = true;
        rules.set_issuer(&[&self.config.issuer]);
        rules.set_audience(&self.config.audiences);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        let decoded = decode::<Value>(token, &key, &rules);
        let claims = decoded.map_err(|error| fault(error.kind()))?.claims;
        let expires = claims["exp"].as_f64().unwrap_or_default() as u64;
        Ok(Token { claims, expires })
    }

    async fn key(&self, id: Option<&str>) -> Result<DecodingKey, Problem> {
        if let Some(key) = self.keys().find(id) {
            return Ok(key);
        }
        self.refresh().await;
        let keys = self.keys();
        if !keys.read {
            return Err(Problem::Unavailable(Part::Identity));
        }
        let unknown = Problem::NotSignedIn(TokenFault::Invalid);
        keys.find(id).ok_or(unknown)
    }

    fn keys(&self) -> Arc<Keys> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    /// Reads the keys, unless that was done a moment ago.
    async fn refresh(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < AT_MOST_EVERY) {
            return;
        }
        *asked = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(error) => {
                let why = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, why, "the identity provider's keys were not read");
            }
        }
    }

    async fn fetch(&self) -> Result<Keys, ProviderError> {
        let issuer = &self.config.issuer;
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let found: Discovery = self.get(&url).await?;
        if found.issuer != *issuer {
            return Err(ProviderError::OtherIssuer {
                asked: issuer.clone(),
                said: found.issuer,
            });
        }
        let set: JwkSet = self.get(&found.jwks_uri).await?;
        Ok(Keys {
            endpoints: found.endpoints(),
            ..Keys::from_set(&set)
        })
    }

    /// Where people sign in.
    pub fn endpoints(&self) -> Result<Endpoints, Problem> {
        let endpoints = self.keys().endpoints.clone();
        endpoints.ok_or(Problem::Unavailable(Part::Identity))
    }

    /// Sends a form to the provider; gives the JSON of its answer, also of a refusal.
    pub async fn post(
        &self,
        url: &str,
        form: String,
        authorization: Option<String>,
    ) -> Result<Value, ProviderError> {
        let mut request = self.http.post(url).body(form);
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let failed = |source| ProviderError::Http {
            url: url.to_owned(),
            source,
        };
        let answer = request.send().await.map_err(failed)?;
        read(url, answer).await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, ProviderError> {
        if !is_secure(url) {
            let url = url.to_owned();
            return Err(ProviderError::NotSecure { url });
        }
        let failed = |source| ProviderError::Http {
            url: url.to_owned(),
            source,
        };
        let answer = self.http.get(url).send().await.map_err(failed)?;
        let answer = answer.error_for_status().map_err(failed)?;
        read(url, answer).await
    }
}

async fn read<T: serde::de::DeserializeOwned>(
    url: &str,
    mut answer: reqwest::Response,
) -> Result<T, ProviderError> {
    let failed = |source| ProviderError::Http {
        url: url.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST_ANSWER {
            let url = url.to_owned();
            return Err(ProviderError::TooLarge { url });
        }
    }
    serde_json::from_slice(&bytes).map_err(|source| ProviderError::Malformed {
        url: url.to_owned(),
        source,
    })
}

impl Keys {
    /// Keys that are for signatures and public; a shared secret in a key set is a mistake, and is
    /// not used.
    fn from_set(set: &JwkSet) -> Self {
        let mut keys = Self {
            read: true,
            ..Self::default()
        };
        for jwk in &set.keys {
            let for_signatures =
                !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
            let Ok(key) = DecodingKey::from_jwk(jwk) else {
                continue;
            };
            if !for_signatures || key.family() == AlgorithmFamily::Hmac {
                continue;
            }
            match &jwk.common.key_id {
                Some(id) => drop(keys.by_id.insert(id.clone(), key)),
                None => keys.nameless.push(key),
            }
        }
        keys
    }

    /// A token without a key's id is of the only key there is.
    fn find(&self, id: Option<&str>) -> Option<DecodingKey> {
        match id {
            Some(id) => self.by_id.get(id).cloned(),
            None => {
                let mut all = self.by_id.values().chain(&self.nameless);
                match (all.next(), all.next()) {
                    (Some(only), None) => Some(only.clone()),
                    _ => None,
                }
            }
        }
    }
}

fn fault(kind: &ErrorKind) -> Problem {
    Problem::NotSignedIn(match kind {
        ErrorKind::ExpiredSignature => TokenFault::Expired,
        ErrorKind::ImmatureSignature => TokenFault::NotYetValid,
        ErrorKind::InvalidAudience => TokenFault::OtherAudience,
        _ => TokenFault::Invalid,
    })
}

fn client(ca: Option<&[u8]>) -> Result<reqwest::Client, ProviderError> {
    let ca_error = |error: reqwest::Error| ProviderError::Ca(Box::new(error));
    let builder = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    let builder = match ca {
        None => builder,
        Some(pem) => {
            let given = reqwest::Certificate::from_pem_bundle(pem).map_err(ca_error)?;
            // On the loopback of a lab, no proxy of the machine is to be asked.
            builder.no_proxy().tls_certs_only(given)
        }
    };
    builder.build().map_err(ca_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys(set: Value) -> Keys {
        Keys::from_set(&serde_json::from_value(set).unwrap())
    }

    #[test]
    fn a_shared_secret_or_a_key_for_encryption_in_the_set_is_not_used() {
        let secret = json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"});
        let other = json!({"kty": "RSA", "kid": "e", "use": "enc", "n": "AQAB", "e": "AQAB"});
        let keys = keys(json!({"keys": [secret, other]}));
        assert!(keys.find(Some("s")).is_none());
        assert!(keys.find(Some("e")).is_none());
    }

    #[test]
    fn a_token_that_names_no_key_is_of_the_only_one() {
        let rsa =
            |id: &str| json!({"kty": "RSA", "kid": id, "use": "sig", "n": "AQAB", "e": "AQAB"});
        let one = keys(json!({"keys": [rsa("a")]}));
        assert!(one.find(None).is_some());
        let two = keys(json!({"keys": [rsa("a"), rsa("b")]}));
        assert!(two.find(None).is_none());
        assert!(two.find(Some("b")).is_some());
        assert!(two.find(Some("c")).is_none());
    }
}
