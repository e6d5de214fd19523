//! Events of a department: what happened, newest kept for an hour by the API server.
//!
//! They are many and soon gone, so they are not cached here: the API server is asked as the caller,
//! and its own RBAC decides.

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use k8s_openapi::api::events::v1::Event;
use kube::Resource as _;
use kube::api::{ListParams, ObjectList, Request};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::door::{Caller, body};
use crate::page::{DEFAULT_LIMIT, LARGEST_LIMIT};
use crate::problem::Problem;
use crate::rights::{Resource, Verb, is_name};
use crate::serve::read::{List, see};
use crate::serve::write::send;
use crate::serve::{Answered, Place, list_path};

pub const RESOURCE: Resource = Resource {
    group: "events.k8s.io",
    plural: "events",
};

/// Something that happened to an object.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub struct EventView {
    /// The kind and the name of what it happened to.
    pub kind: String,
    pub name: String,
    /// Normal or Warning.
    pub severity: String,
    /// For programs.
    pub reason: String,
    /// What happened, for people.
    pub message: String,
    /// RFC 3339, UTC: when it was last seen.
    pub at: Option<String>,
    pub count: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    limit: Option<usize>,
    #[serde(rename = "continue")]
    token: Option<String>,
    /// The name of an object.
    object: Option<String>,
}

pub fn routes(app: &App) -> Router {
    Router::new()
        .route(&list_path("events"), get(list))
        .with_state(app.clone())
}

async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let Path(department) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::list(department)?;
    let params = params(body::query(&uri)?)?;
    see(&app, &caller, Verb::List, RESOURCE, &place).await?;
    let with_token = params.continue_token.is_some();
    let requests = Request::new(Event::url_path(&(), Some(&place.department)));
    let request = requests.list(&params).map_err(|_| Problem::Internal)?;
    let listed = send(&app.client, &caller.person, Verb::List, request).await;
    let events: ObjectList<Event> = listed.map_err(|problem| match problem {
        // Tokens are the API server's own, and end after some minutes.
        Problem::Invalid(_) | Problem::Unavailable(_) if with_token => {
            Problem::unreadable("continue", "it is none, or too old: begin anew")
        }
        // Whoever may see it has passed already.
        Problem::Forbidden(_) => Problem::NotFound,
        other => other,
    })?;
    let token = events.metadata.continue_.filter(|token| !token.is_empty());
    let items = events.items.iter().map(view).collect();
    Ok(Json(List { items, token }).into_response())
}

fn params(asked: Asked) -> Result<ListParams, Problem> {
    let Asked {
        limit,
        token,
        object,
    } = asked;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        let wrong = format!("from 1 to {LARGEST_LIMIT}");
        return Err(Problem::unreadable("limit", wrong));
    }
    let mut params = ListParams::default().limit(u32::try_from(limit).unwrap_or(u32::MAX));
    if let Some(object) = object {
        // It becomes part of a selector.
        if !is_name(&object) {
            return Err(Problem::unreadable("object", "the name of an object"));
        }
        params = params.fields(&format!("regarding.name={object}"));
    }
    if let Some(token) = token {
        params = params.continue_token(&token);
    }
    Ok(params)
}

fn view(event: &Event) -> EventView {
    let regarding = event.regarding.clone().unwrap_or_default();
    let series = event.series.as_ref();
    let at = series.map(|series| series.last_observed_time.0);
    let at = at.or_else(|| event.event_time.as_ref().map(|at| at.0));
    let at = at.or_else(|| event.deprecated_last_timestamp.as_ref().map(|at| at.0));
    EventView {
        kind: regarding.kind.unwrap_or_default(),
        name: regarding.name.unwrap_or_default(),
        severity: event.type_.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.note.clone().unwrap_or_default(),
        at: at.map(|at| at.to_string()),
        count: series.map_or(1, |series| series.count),
    }
}
