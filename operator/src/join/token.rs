//! The one-time token by which a host's agent first shows that it is that host.

use dc_types::HostName;
use dc_types::plan::Secret;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

/// How long a token waits to be used: a machine is set up within days, and a forgotten file should
/// not open a door next year. A deleted Secret is made again with a new one.
pub const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What an agent needs to join: the value of `join.json` in Secret `join-<host>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinFile {
    pub host: HostName,
    pub token: Secret,
    /// PEM: who signs the operator's certificate.
    pub ca: String,
    /// `host:port` of the operator.
    pub operator: String,
    pub expires: Timestamp,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    #[error("the token is not that of host {host}: copy join.json of Secret join-{host} again")]
    Wrong { host: HostName },
    #[error(
        "the token of host {host} was valid until {expires}: delete Secret join-{host}, and a new \
         one is made"
    )]
    Expired { host: HostName, expires: Timestamp },
}

impl JoinFile {
    #[must_use]
    pub fn new(host: HostName, ca: String, operator: String, now: Timestamp) -> Self {
        // Two random UUIDs hold 244 random bits.
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self {
            host,
            token: Secret(token),
            ca,
            operator,
            expires: now + TOKEN_LIFE,
        }
    }

    /// Whether `token` is the one of this file, and still valid.
    pub fn check(&self, token: &str, now: Timestamp) -> Result<(), TokenError> {
        let host = self.host.clone();
        // Of digests, so that the time it takes says nothing of the token.
        if Sha256::digest(&self.token.0) != Sha256::digest(token) {
            return Err(TokenError::Wrong { host });
        }
        if now >= self.expires {
            let expires = self.expires;
            return Err(TokenError::Expired { host, expires });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(now: Timestamp) -> JoinFile {
        let host = HostName::new("h1").unwrap();
        JoinFile::new(host, "ca".into(), "operator:7443".into(), now)
    }

    #[test]
    fn a_token_is_valid_for_its_host_until_it_expires() {
        let now = Timestamp::now();
        let file = file(now);
        assert_eq!(file.check(&file.token.0, now), Ok(()));
        assert!(matches!(
            file.check("another", now),
            Err(TokenError::Wrong { .. })
        ));
        let late = file.check(&file.token.0, now + TOKEN_LIFE);
        assert!(late.unwrap_err().to_string().contains("Secret join-h1"));
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let now = Timestamp::now();
        assert_ne!(file(now).token, file(now).token);
    }

    #[test]
    fn the_token_is_not_in_the_debug_form() {
        let file = file(Timestamp::now());
        assert!(!format!("{file:?}").contains(&file.token.0));
    }
}
