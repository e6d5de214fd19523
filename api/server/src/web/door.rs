//! The door of the pages: who asks is said by a session instead of a token; the rest is as at the
//! API's door, which it shares.
//!
//! Every answer carries the policy that lets a browser run nothing but our own script and style. A
//! problem becomes a page in the reader's language; who has not signed in is sent to do so.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::session::{LANGUAGE, SESSION, Session, cookie};
use super::{CALLBACK, STATIC, Web, frame};
use crate::door::{Caller, Came, count};
use crate::identity::claims;
use crate::language::Language;
use crate::problem::{Problem, TokenFault};

/// Nothing inline, nothing of others, in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const SECURITY: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Who reads, and how: for every page, also for those of nobody.
#[derive(Clone, Debug)]
pub struct Reader {
    pub language: Language,
    /// Path and query of the page, to come back to.
    pub here: String,
    pub session: Option<Arc<Session>>,
}

/// Somebody who has signed in, on a page.
#[derive(Clone, Debug)]
pub struct Visit {
    pub caller: Caller,
    pub reader: Reader,
    pub csrf: String,
}

impl Visit {
    #[must_use]
    pub fn language(&self) -> Language {
        self.reader.language
    }
}

pub async fn pass(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let came = Came::new(&request);
    let headers = request.headers();
    let language = match cookie(headers, LANGUAGE) {
        Some("en") => Language::English,
        _ => Language::Vietnamese,
    };
    let here = request.uri().path_and_query();
    let here = here.map_or("/", |here| here.as_str()).to_owned();
    let visits = request.method() == Method::GET;
    let is_open = came.route.starts_with(STATIC);
    let mut reader = Reader {
        language,
        here,
        session: None,
    };
    let mut user = String::new();
    let answer = if is_open {
        next.run(request).await
    } else {
        match admit(&web, headers, &came) {
            Ok((caller, session)) => {
                user.clone_from(&caller.person.user);
                reader.session = Some(session.clone());
                request.extensions_mut().insert(Visit {
                    caller,
                    reader: reader.clone(),
                    csrf: session.csrf.clone(),
                });
                request.extensions_mut().insert(reader.clone());
                next.run(request).await
            }
            // These are for those who have not signed in as well.
            Err(Problem::NotSignedIn(_)) if is_for_all(&came.route) => {
                request.extensions_mut().insert(reader.clone());
                next.run(request).await
            }
            Err(Problem::NotSignedIn(TokenFault::Missing)) if visits => {
                Redirect::to(&frame::sign_in_path(&reader.here)).into_response()
            }
            Err(problem) => problem.into_response(),
        }
    };
    let (answer, problem) = dress(answer, &reader, &came.id, is_open);
    came.tell(&web.app, &user, &answer, problem);
    answer
}

fn is_for_all(route: &str) -> bool {
    ["/", "/auth/login", CALLBACK, "/auth/logout", "/language"].contains(&route)
}

fn admit(web: &Web, headers: &HeaderMap, came: &Came) -> Result<(Caller, Arc<Session>), Problem> {
    let admitted = believe(web, headers, came);
    let person = admitted.as_ref().ok().map(|(caller, _)| &caller.person);
    count(&web.app, person, came.from)?;
    admitted
}

fn believe(web: &Web, headers: &HeaderMap, came: &Came) -> Result<(Caller, Arc<Session>), Problem> {
    let missing = Problem::NotSignedIn(TokenFault::Missing);
    let id = cookie(headers, SESSION).ok_or(missing.clone())?;
    let session = web.sessions.find(id, now()).ok_or(missing)?;
    let people = web.app.roll.now();
    let person = claims::person(&session.claims, &web.app.rules, &people);
    let caller = Caller {
        person: person.map_err(Problem::NotSignedIn)?,
        expires: session.ends,
        from: came.from,
        request: came.id.clone(),
    };
    Ok((caller, session))
}

/// Seconds of the Unix epoch.
#[must_use]
pub fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

fn dress(
    mut answer: Response,
    reader: &Reader,
    id: &str,
    is_open: bool,
) -> (Response, Option<&'static str>) {
    let problem = answer.extensions_mut().remove::<Problem>();
    let code = problem.as_ref().map(Problem::code);
    if let Some(problem) = problem {
        let status = answer.status();
        let page = frame::problem(reader, &problem, id);
        let mut shown = (status, page).into_response();
        if let Some(allowed) = answer.headers().get(header::ALLOW) {
            shown.headers_mut().insert(header::ALLOW, allowed.clone());
        }
        if let Problem::TooMany { retry_after_s } = problem {
            let after = HeaderValue::from(retry_after_s);
            shown.headers_mut().insert(header::RETRY_AFTER, after);
        }
        answer = shown;
    }
    let headers = answer.headers_mut();
    for (name, value) in SECURITY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let kept = match is_open {
        true => "public, max-age=300",
        false => "no-store",
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    (answer, code)
}

/// A page as an answer.
pub struct Page(pub maud::Markup);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (StatusCode::OK, kind, self.0.into_string()).into_response()
    }
}
