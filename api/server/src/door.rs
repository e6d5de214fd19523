//! The door: every request passes it, in and out.
//!
//! In: it gets an id, is signed in, is counted against its client's rate. Out: a problem gets its
//! body in the caller's language, every answer its id; it is logged and measured. Nothing that a
//! client sends reaches Kubernetes as a header.

pub mod body;

use std::net::{IpAddr, SocketAddr};
use std::sync::PoisonError;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use crate::app::App;
use crate::identity::claims;
use crate::language::Language;
use crate::problem::{Problem, TokenFault};
use crate::rights::Person;

/// Who asks, as handlers see them.
#[derive(Clone, Debug)]
pub struct Caller {
    pub person: Person,
    /// When the token ends, in seconds of the Unix epoch.
    pub expires: u64,
    pub from: IpAddr,
    pub request: String,
}

/// The peer of the connection, set by the listener.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What everybody may read.
const OPEN: &str = "/api/v1/openapi.json";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub async fn pass(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let came = Came::new(&request);
    let language = Language::accepted(text(request.headers(), &header::ACCEPT_LANGUAGE));
    let mut user = String::new();
    let answer = if came.route == OPEN {
        next.run(request).await
    } else {
        match sign_in(&app, request.headers(), came.from).await {
            Ok((person, expires)) => {
                user.clone_from(&person.user);
                request.extensions_mut().insert(Caller {
                    person,
                    expires,
                    from: came.from,
                    request: came.id.clone(),
                });
                next.run(request).await
            }
            Err(problem) => problem.into_response(),
        }
    };
    let (answer, problem) = dress(answer, language, &came.id);
    came.tell(&app, &user, &answer, problem);
    answer
}

/// A request as it came to a door.
pub struct Came {
    start: Instant,
    pub id: String,
    pub from: IpAddr,
    pub route: String,
    method: &'static str,
}

impl Came {
    #[must_use]
    pub fn new(request: &Request) -> Self {
        let from = request.extensions().get::<Peer>();
        let route = request.extensions().get::<MatchedPath>();
        Self {
            start: Instant::now(),
            id: request_id(request.headers()),
            // Only requests made inside this process have no peer.
            from: from.map_or(IpAddr::from([127, 0, 0, 1]), |peer| peer.0.ip()),
            route: route.map_or("unmatched", MatchedPath::as_str).to_owned(),
            method: method_label(request.method()),
        }
    }

    /// Logs and measures what became of it.
    pub fn tell(self, app: &App, user: &str, answer: &Response, problem: Option<&'static str>) {
        let Self {
            start,
            id,
            from,
            route,
            method,
        } = self;
        let (status, took) = (answer.status().as_u16(), start.elapsed());
        app.metrics.request(method, &route, status, took);
        tracing::info!(
            request = id,
            user,
            %from,
            method,
            route,
            status,
            problem,
            ms = took.as_millis() as u64,
            "answered"
        );
    }
}

async fn sign_in(app: &App, headers: &HeaderMap, from: IpAddr) -> Result<(Person, u64), Problem> {
    let signed_in = match bearer(headers) {
        Ok(token) => believe(app, token).await,
        Err(fault) => Err(Problem::NotSignedIn(fault)),
    };
    count(app, signed_in.as_ref().ok().map(|(person, _)| person), from)?;
    signed_in
}

/// Counts a request against the rate of its user, or of the address of who has not signed in.
pub fn count(app: &App, person: Option<&Person>, from: IpAddr) -> Result<(), Problem> {
    let now = Instant::now();
    let allowed = match person {
        Some(person) => {
            let mut users = app.users.lock().unwrap_or_else(PoisonError::into_inner);
            users.take(person.user.clone(), now)
        }
        None => {
            let mut strangers = app.strangers.lock().unwrap_or_else(PoisonError::into_inner);
            strangers.take(from, now)
        }
    };
    allowed.map_err(|retry_after_s| Problem::TooMany { retry_after_s })
}

async fn believe(app: &App, token: &str) -> Result<(Person, u64), Problem> {
    let token = app.provider.check(token).await?;
    let people = app.roll.now();
    let person = claims::person(&token.claims, &app.rules, &people);
    Ok((person.map_err(Problem::NotSignedIn)?, token.expires))
}

/// One header, one scheme, one token: anything else is a trick or a mistake.
fn bearer(headers: &HeaderMap) -> Result<&str, TokenFault> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (only, more) = (all.next(), all.next());
    let only = only.ok_or(TokenFault::Missing)?;
    let text = only.to_str().map_err(|_| TokenFault::Invalid)?;
    let (scheme, token) = text.split_once(' ').ok_or(TokenFault::Invalid)?;
    let right = scheme.eq_ignore_ascii_case("bearer") && more.is_none();
    right.then_some(token).ok_or(TokenFault::Invalid)
}

/// The client's own id where it is a harmless one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = text(headers, &REQUEST_ID).unwrap_or_default();
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&given.len()) && given.chars().all(simple) {
        return given.to_owned();
    }
    Uuid::new_v4().to_string()
}

fn dress(answer: Response, language: Language, id: &str) -> (Response, Option<&'static str>) {
    let (mut head, body) = answer.into_parts();
    let problem = head.extensions.remove::<Problem>();
    let code = problem.as_ref().map(Problem::code);
    let headers = &mut head.headers;
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    let Some(problem) = problem else {
        return (Response::from_parts(head, body), code);
    };
    let json = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(
        header::CONTENT_LANGUAGE,
        HeaderValue::from_static(language.tag()),
    );
    headers.remove(header::CONTENT_LENGTH);
    match &problem {
        Problem::NotSignedIn(_) => {
            let how = HeaderValue::from_static("Bearer realm=\"dc-api\"");
            headers.insert(header::WWW_AUTHENTICATE, how);
        }
        Problem::TooMany { retry_after_s } => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_s));
        }
        _ => {}
    }
    let text = serde_json::to_vec(&problem.body(language, id)).unwrap_or_default();
    (Response::from_parts(head, text.into()), code)
}

/// A header as text, when there is exactly one of them.
pub fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    }
}

/// From a closed set: clients may invent methods.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn one_bearer_token_is_taken_and_nothing_else() {
        let good = headers(&[("authorization", "Bearer t")]);
        assert_eq!(bearer(&good), Ok("t"));
        assert_eq!(bearer(&headers(&[])), Err(TokenFault::Missing));
        let two = headers(&[("authorization", "Bearer t"), ("authorization", "Bearer u")]);
        assert_eq!(bearer(&two), Err(TokenFault::Invalid));
        let basic = headers(&[("authorization", "Basic dDp0")]);
        assert_eq!(bearer(&basic), Err(TokenFault::Invalid));
    }

    #[test]
    fn a_request_id_that_could_confuse_a_log_is_replaced() {
        let kept = headers(&[("x-request-id", "abc-1")]);
        assert_eq!(request_id(&kept), "abc-1");
        for bad in ["", "a b", "a\"}", "a;b"] {
            let given = headers(&[("x-request-id", bad)]);
            assert_ne!(request_id(&given), bad);
        }
    }
}
