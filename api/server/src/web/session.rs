//! Sessions of browsers: an id that nobody guesses, and behind it what the provider's token said.
//!
//! They are in memory: after a restart people sign in again, which the province's single sign-on
//! makes a moment. The token itself never reaches the browser. Who was removed is refused by the
//! next request, since claims are judged anew each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderValue, header};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::identity::code::random;
use crate::problem::Problem;
use dc_audit::chain::hex;

/// `__Host-`: of this host alone, over TLS alone (RFC 6265bis, 4.1.3.2).
pub const SESSION: &str = "__Host-dc-session";
pub const SIGN_IN: &str = "__Host-dc-sign-in";
pub const LANGUAGE: &str = "__Host-dc-language";

/// The longest session, however long the token lasts: a working day.
const LONGEST_S: u64 = 10 * 3600;
/// More than the province has officers, with some browsers each.
const MOST: usize = 50_000;
/// Browsers of one user at once; the oldest leaves.
const MOST_OF_ONE: usize = 16;

#[derive(Debug)]
pub struct Session {
    pub claims: Value,
    pub user: String,
    /// Seconds of the Unix epoch.
    pub ends: u64,
    begun: u64,
    /// In every form of the session's pages.
    pub csrf: String,
}

#[derive(Default)]
pub struct Sessions {
    /// By the digest of their ids: what is read from here cannot be used.
    all: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    /// Begins one, and gives its id. Times are in seconds of the Unix epoch.
    pub fn begin(
        &self,
        user: &str,
        claims: Value,
        expires: u64,
        now: u64,
    ) -> Result<String, Problem> {
        let id = random()?;
        let session = Session {
            claims,
            user: user.to_owned(),
            ends: expires.min(now + LONGEST_S),
            begun: now,
            csrf: random()?,
        };
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, session| session.ends > now);
        let mut own: Vec<_> = all
            .iter()
            .filter(|(_, session)| session.user == user)
            .map(|(key, session)| (session.begun, key.clone()))
            .collect();
        own.sort();
        for (_, key) in own.iter().rev().skip(MOST_OF_ONE - 1) {
            all.remove(key);
        }
        if all.len() >= MOST {
            let oldest = all.iter().min_by_key(|(_, session)| session.begun);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.map(|key| all.remove(&key));
        }
        all.insert(digest(&id), Arc::new(session));
        Ok(id)
    }

    #[must_use]
    pub fn find(&self, id: &str, now: u64) -> Option<Arc<Session>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let session = all.get(&digest(id))?;
        (session.ends > now).then(|| session.clone())
    }

    pub fn end(&self, id: &str) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&digest(id));
    }
}

fn digest(id: &str) -> String {
    hex(&Sha256::digest(id))
}

/// The value of a cookie, when there is exactly one of the name.
#[must_use]
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter();
    let pairs = all.filter_map(|line| line.to_str().ok());
    let pairs = pairs.flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    });
    match (values.next(), values.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// A cookie to keep for so many seconds; none to keep for 0. Lax: the provider sends the browser
/// here, and links in letters lead here.
pub fn keep(name: &str, value: &str, seconds: u64) -> Result<HeaderValue, Problem> {
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    HeaderValue::from_str(&text).map_err(|_| Problem::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sessions: &Sessions, user: &str, now: u64) -> String {
        sessions.begin(user, Value::Null, now + 100, now).unwrap()
    }

    #[test]
    fn a_session_ends_with_its_token_or_when_it_is_left() {
        let sessions = Sessions::default();
        let id = begin(&sessions, "a", 1000);
        assert!(sessions.find(&id, 1099).is_some());
        assert!(sessions.find(&id, 1100).is_none());
        assert!(sessions.find("another", 1000).is_none());
        sessions.end(&id);
        assert!(sessions.find(&id, 1000).is_none());
        let long = sessions.begin("a", Value::Null, u64::MAX, 1000).unwrap();
        assert!(sessions.find(&long, 1000 + LONGEST_S).is_none());
    }

    #[test]
    fn one_user_has_no_more_than_some_and_leaves_others_alone() {
        let sessions = Sessions::default();
        let other = begin(&sessions, "b", 1000);
        let first = begin(&sessions, "a", 1000);
        let later: Vec<_> = (1..=MOST_OF_ONE as u64)
            .map(|n| begin(&sessions, "a", 1000 + n))
            .collect();
        assert!(sessions.find(&first, 1050).is_none());
        assert!(later.iter().all(|id| sessions.find(id, 1050).is_some()));
        assert!(sessions.find(&other, 1050).is_some());
    }

    #[test]
    fn one_cookie_of_a_name_is_taken_and_not_one_of_two() {
        let headers = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_static(line));
            }
            headers
        };
        assert_eq!(cookie(&headers(&["a=1; b=2"]), "b"), Some("2"));
        assert_eq!(cookie(&headers(&["a=1", "b=2"]), "b"), Some("2"));
        assert_eq!(cookie(&headers(&["b=1; b=2"]), "b"), None);
        assert_eq!(cookie(&headers(&["ab=1"]), "b"), None);
    }
}
