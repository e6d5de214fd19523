//! The one-time token by which a host's agent first shows that it is that host.

use dc_proto::join::JoinFile;
use dc_types::HostName;
use dc_types::plan::Secret;
use dc_types::report::Role;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

/// How long a token waits to be used: a machine is set up within days, and a forgotten file should
/// not open a door next year. A deleted Secret is made again with a new one.
pub const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The value of `join.json` in Secret `join-<host>`: what the agent reads, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    #[serde(flatten)]
    pub file: JoinFile,
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

/// A text that nobody guesses: two random UUIDs hold 244 random bits.
#[must_use]
pub fn random_text() -> Secret {
    let (a, b) = (Uuid::new_v4().simple(), Uuid::new_v4().simple());
    Secret(format!("{a}{b}"))
}

impl Token {
    #[must_use]
    pub fn new(
        host: HostName,
        roles: Vec<Role>,
        ca: String,
        operator: String,
        now: Timestamp,
    ) -> Self {
        Self {
            file: JoinFile {
                host,
                token: random_text(),
                ca,
                operator,
                roles,
            },
            expires: now + TOKEN_LIFE,
        }
    }

    /// Whether `token` is this one, and still valid.
    pub fn check(&self, token: &str, now: Timestamp) -> Result<(), TokenError> {
        let host = self.file.host.clone();
        // Of digests, so that the time it takes says nothing of the token.
        if Sha256::digest(&self.file.token.0) != Sha256::digest(token) {
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

    fn token(now: Timestamp) -> Token {
        let host = HostName::new("h1").unwrap();
        Token::new(host, vec![], "ca".into(), "operator:7443".into(), now)
    }

    #[test]
    fn a_token_is_valid_for_its_host_until_it_expires() {
        let now = Timestamp::now();
        let token = token(now);
        let text = token.file.token.0.as_str();
        assert_eq!(token.check(text, now), Ok(()));
        assert!(matches!(
            token.check("another", now),
            Err(TokenError::Wrong { .. })
        ));
        let late = token.check(text, now + TOKEN_LIFE);
        assert!(late.unwrap_err().to_string().contains("Secret join-h1"));
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let now = Timestamp::now();
        assert_ne!(token(now).file.token, token(now).file.token);
    }

    #[test]
    fn an_agent_reads_it_as_its_join_file() {
        let token = token(Timestamp::now());
        let json = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<JoinFile>(&json).unwrap(), token.file);
        assert_eq!(serde_json::from_str::<Token>(&json).unwrap(), token);
    }
}
