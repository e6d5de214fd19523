//! Carrying a request out once, however often it is sent.

use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};

use super::Answered;
use crate::app::App;
use crate::door::{self, Caller};
use crate::problem::Problem;
use crate::replay::{Begun, Saved};
use dc_audit::chain::hex;

pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that the answer is the one of the first time.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Headers of an answer that belong to it.
const KEPT: [HeaderName; 3] = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];

/// A request that may be sent again.
pub struct Request<'a> {
    pub method: Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// The digests of a key (of this user) and of all that its request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub key: String,
    pub request: String,
}

impl Mark {
    /// As an annotation of what was created says it.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}.{}", self.key, self.request)
    }
}

impl Request<'_> {
    fn key(&self) -> Result<Option<&str>, Problem> {
        if !self.headers.contains_key(&KEY) {
            return Ok(None);
        }
        let key = door::text(self.headers, &KEY).unwrap_or_default();
        let fits = (1..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
        let wrong = "once, with 1 to 128 printable ASCII characters and no spaces";
        fits.then_some(Some(key))
            .ok_or_else(|| Problem::unreadable("Idempotency-Key", wrong))
    }

    fn digest(&self) -> String {
        let condition = self.headers.get(header::IF_MATCH);
        let condition = condition.map_or(&b""[..], HeaderValue::as_bytes);
        let uri = self.uri.to_string();
        digest(&[
            self.method.as_str().as_bytes(),
            uri.as_bytes(),
            condition,
            self.body,
        ])
    }
}

/// Of several parts, in this order.
#[must_use]
pub fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length first, so that ("ab", "c") and ("a", "bc") differ.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Does it, or gives the answer of the time before. `work` is told how to mark what it makes.
pub async fn once(
    app: &App,
    caller: &Caller,
    request: Request<'_>,
    work: impl AsyncFnOnce(Option<Mark>) -> Answered,
) -> Answered {
    let Some(key) = request.key()? else {
        return work(None).await;
    };
    once_for(app, caller, key, request.digest(), work).await
}

/// The same, for a key from elsewhere. `request` is the digest of all that is asked for.
pub async fn once_for(
    app: &App,
    caller: &Caller,
    key: &str,
    request: String,
    work: impl AsyncFnOnce(Option<Mark>) -> Answered,
) -> Answered {
    let user = &caller.person.user;
    let mark = Mark {
        key: digest(&[user.as_bytes(), key.as_bytes()]),
        request,
    };
    let begun = app
        .replays
        .begin(user, key, mark.request.clone(), Instant::now());
    let ticket = match begun {
        Begun::First(ticket) => ticket,
        Begun::Again(saved) => return again(&saved),
        Begun::InProgress => return Err(Problem::InProgress),
        Begun::OtherRequest => return Err(Problem::KeyReused),
    };
    // Only successes are kept: what was refused may be right next time.
    let answer = work(Some(mark)).await?;
    let (head, body) = answer.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|_| Problem::Internal)?
        .to_bytes();
    let headers = KEPT.iter().filter_map(|name| {
        let value = head.headers.get(name)?.to_str().ok()?;
        Some((name.clone(), value.to_owned()))
    });
    let saved = Saved {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: body.to_vec(),
    };
    ticket.finish(saved, Instant::now());
    Ok(Response::from_parts(head, Body::from(body)))
}

fn again(saved: &Saved) -> Answered {
    let Saved {
        status,
        headers,
        body,
    } = saved;
    let mut answer = Response::new(Body::from(body.clone()));
    *answer.status_mut() = StatusCode::from_u16(*status).map_err(|_| Problem::Internal)?;
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).map_err(|_| Problem::Internal)?;
        answer.headers_mut().insert(name.clone(), value);
    }
    let replayed = HeaderValue::from_static("true");
    answer.headers_mut().insert(REPLAYED, replayed);
    Ok(answer)
}
