//! What is made, changed and deleted.
//!
//! Of each effect: the audit log has the line before the API server is asked, so a crash between
//! the two leaves a line and no change, and never a change without a line. What is created carries
//! the digest of its idempotency key, so that the same request, sent again after we died with the
//! answer, finds its own object and gets it as the answer. A change of power or size sent twice asks
//! for the same state; a restart is one for each text. The acts themselves are in [`super::deed`].

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::IntoResponse;

use super::deed::Deed;
use super::once::{self, once};
use super::read::Nothing;
use super::{Answered, Place, shown};
use crate::app::App;
use crate::door::{self, Caller, body};
use crate::etag::Condition;
use crate::problem::Problem;
use crate::resources::{Change, Create, Kind};

pub async fn create<K: Create>(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let Path(department) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::list(department)?;
    let Nothing {} = body::query(&uri)?;
    let bytes = body::read(&headers, body, app.settings.body_deadline).await?;
    let deed = Deed::creation::<K>(&app, &caller, &place).await?;
    let new: K::New = body::json(&headers, &bytes)?;
    let request = once::Request {
        method: Method::POST,
        uri: &uri,
        headers: &headers,
        body: &bytes,
    };
    once(&app, &caller, request, async |mark| {
        let deed = deed.of_new::<K>(&new).await?;
        let made = deed.create::<K>(new, mark.as_ref()).await?;
        let location = format!("{}/{}", uri.path(), deed.name());
        let answer = shown::<K>(StatusCode::CREATED, &made);
        Ok(([(header::LOCATION, location)], answer).into_response())
    })
    .await
}

pub async fn change<K: Change>(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let Path(path) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::object(path)?;
    let Nothing {} = body::query(&uri)?;
    let bytes = body::read(&headers, body, app.settings.body_deadline).await?;
    let deed = Deed::change::<K>(&app, &caller, &place).await?;
    let condition = Condition::if_match(door::text(&headers, &header::IF_MATCH))?;
    let deed = deed.of_change::<K>(body::json(&headers, &bytes)?).await?;
    let request = once::Request {
        method: Method::PATCH,
        uri: &uri,
        headers: &headers,
        body: &bytes,
    };
    once(&app, &caller, request, async |_| {
        let changed = deed.patch::<K>(condition).await?;
        Ok(shown::<K>(StatusCode::OK, &changed))
    })
    .await
}

pub async fn delete<K: Kind>(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Answered {
    let Path(path) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::object(path)?;
    let Nothing {} = body::query(&uri)?;
    let deed = Deed::deletion::<K>(&app, &caller, &place).await?;
    let condition = Condition::if_match(door::text(&headers, &header::IF_MATCH))?;
    let request = once::Request {
        method: Method::DELETE,
        uri: &uri,
        headers: &headers,
        body: &[],
    };
    once(&app, &caller, request, async |_| {
        deed.delete::<K>(condition).await?;
        Ok(StatusCode::ACCEPTED.into_response())
    })
    .await
}
