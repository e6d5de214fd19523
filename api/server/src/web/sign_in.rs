//! Signing in and out.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::door::{Visit, now};
use super::session::{SESSION, SIGN_IN, cookie, keep};
use super::{Web, form, frame};
use crate::door::body;
use crate::identity::{claims, code};
use crate::problem::{Problem, TokenFault};
use crate::serve::Answered;

/// How long somebody may be at the provider.
const AWAY_S: u64 = 15 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    next: Option<String>,
}

pub async fn begin(State(web): State<Web>, uri: Uri) -> Answered {
    let Asked { next } = body::query(&uri)?;
    let next = next.filter(|next| frame::is_local(next));
    let begun = code::Begun::new(next.unwrap_or_else(|| "/".to_owned()))?;
    let at = code::authorize(&web.app.provider, &web.client, &begun)?;
    let kept = keep(SIGN_IN, &begun.text(), AWAY_S)?;
    Ok(([(header::SET_COOKIE, kept)], Redirect::to(&at)).into_response())
}

/// What the provider sends a browser back with; more is no concern of ours.
#[derive(Deserialize)]
struct Came {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

pub async fn end(State(web): State<Web>, headers: HeaderMap, uri: Uri) -> Answered {
    let invalid = || Problem::NotSignedIn(TokenFault::Invalid);
    let Came { state, code, error } = body::query(&uri)?;
    let begun = cookie(&headers, SIGN_IN).and_then(code::Begun::parse);
    let begun = begun.ok_or_else(invalid)?;
    if !begun.is_answered_by(&state.unwrap_or_default()) {
        return Err(invalid());
    }
    if let Some(error) = error {
        let error: String = error.chars().take(64).collect();
        tracing::info!(error, "the identity provider let nobody in");
        return Err(invalid());
    }
    let code = code.ok_or_else(invalid)?;
    let app = &web.app;
    let token = code::redeem(&app.provider, &web.client, &begun, &code).await?;
    let people = app.roll.now();
    let person = claims::person(&token.claims, &app.rules, &people);
    let person = person.map_err(Problem::NotSignedIn)?;
    // A session that was there before is another's, or over.
    if let Some(before) = cookie(&headers, SESSION) {
        web.sessions.end(before);
    }
    let now = now();
    let id = web
        .sessions
        .begin(&person.user, token.claims, token.expires, now)?;
    let ends = web.sessions.find(&id, now).map_or(now, |begun| begun.ends);
    let next = match frame::is_local(&begun.next) {
        true => begun.next.as_str(),
        false => "/",
    };
    let mut answer = Redirect::to(next).into_response();
    let cookies = answer.headers_mut();
    cookies.append(header::SET_COOKIE, keep(SESSION, &id, ends - now)?);
    cookies.append(header::SET_COOKIE, keep(SIGN_IN, "", 0)?);
    Ok(answer)
}

pub async fn leave(
    State(web): State<Web>,
    visit: Option<Extension<Visit>>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    if let Some(Extension(visit)) = visit {
        form::read(&web, &visit, &headers, body).await?;
        if let Some(id) = cookie(&headers, SESSION) {
            web.sessions.end(id);
        }
    }
    let gone = keep(SESSION, "", 0)?;
    let answer: Response = Redirect::to("/").into_response();
    Ok(([(header::SET_COOKIE, gone)], answer).into_response())
}
