//! Signing in by browser: authorization code with PKCE (RFC 6749, 4.1; RFC 7636; OpenID Connect
//! Core, 3.1).
//!
//! What ties an answer of the provider to the browser that asked is kept by that browser alone, in
//! a cookie that lasts minutes: nothing is remembered here, so strangers cannot fill a memory.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::provider::{Provider, Token};
use crate::problem::{Part, Problem, TokenFault};

/// Who we are to the provider.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    /// Absent for a public client, whose codes PKCE alone protects.
    pub secret: Option<String>,
    /// Where the provider sends browsers back to.
    pub redirect: String,
    /// Such as `openid email`.
    pub scopes: String,
}

/// What a browser keeps while its user is at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    state: String,
    nonce: String,
    verifier: String,
    /// Where to go afterwards: a path of ours.
    pub next: String,
}

/// 256 bits that nobody guesses, in characters that fit everywhere.
pub fn random() -> Result<String, Problem> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Problem::Internal)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

impl Begun {
    pub fn new(next: String) -> Result<Self, Problem> {
        Ok(Self {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            next,
        })
    }

    /// As the value of a cookie.
    #[must_use]
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Whether an answer belongs to this asking.
    #[must_use]
    pub fn is_answered_by(&self, state: &str) -> bool {
        !self.state.is_empty() && self.state == state
    }
}

/// Where to send the browser.
pub fn authorize(provider: &Provider, client: &Client, begun: &Begun) -> Result<String, Problem> {
    let at = provider.endpoints()?.authorization;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&begun.verifier));
    let query = form(&[
        ("response_type", "code"),
        ("client_id", &client.id),
        ("redirect_uri", &client.redirect),
        ("scope", &client.scopes),
        ("state", &begun.state),
        ("nonce", &begun.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    let joint = if at.contains('?') { '&' } else { '?' };
    Ok(format!("{at}{joint}{query}"))
}

/// The token for a code, checked as every token, and as the answer to this asking.
pub async fn redeem(
    provider: &Provider,
    client: &Client,
    begun: &Begun,
    code: &str,
) -> Result<Token, Problem> {
    let at = provider.endpoints()?.token;
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", client.redirect.as_str()),
        ("code_verifier", begun.verifier.as_str()),
    ];
    let authorization = client.secret.as_ref().map(|secret| {
        let encode =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(&client.id), encode(secret));
        format!("Basic {}", STANDARD.encode(pair))
    });
    if authorization.is_none() {
        fields.push(("client_id", client.id.as_str()));
    }
    let answer = provider.post(&at, form(&fields), authorization).await;
    let answer = answer.map_err(|error| {
        tracing::warn!(%error, "a code was not redeemed");
        Problem::Unavailable(Part::Identity)
    })?;
    let Some(token) = answer["id_token"].as_str() else {
        tracing::warn!(error = %answer["error"], "the identity provider gives no token for a code");
        return Err(Problem::NotSignedIn(TokenFault::Invalid));
    };
    let token = provider.check(token).await?;
    let same = token.claims["nonce"].as_str() == Some(begun.nonce.as_str());
    same.then_some(token)
        .ok_or(Problem::NotSignedIn(TokenFault::Invalid))
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        form.append_pair(name, value);
    }
    form.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_keeps_is_read_back_and_nothing_else_is() {
        let begun = Begun::new("/departments/x".to_owned()).unwrap();
        let read = Begun::parse(&begun.text()).unwrap();
        assert_eq!(read, begun);
        assert!(read.is_answered_by(&begun.state));
        assert!(!read.is_answered_by("") && !read.is_answered_by("other"));
        for bad in ["", "x", "e30", &URL_SAFE_NO_PAD.encode("{\"state\":1}")] {
            assert_eq!(Begun::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn each_asking_is_another() {
        let (a, b) = (Begun::new(String::new()), Begun::new(String::new()));
        assert_ne!(a.unwrap(), b.unwrap());
    }
}
