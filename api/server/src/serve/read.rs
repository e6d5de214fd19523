//! Lists and single objects.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse;
use kube::Resource as _;
use serde::{Deserialize, Serialize};

use super::{Answered, Place, may, shown};
use crate::app::App;
use crate::door::{self, Caller, body};
use crate::etag::Condition;
use crate::page::{Page, token_after};
use crate::problem::Problem;
use crate::resources::{Facts, Kind, view};
use crate::rights::reviews::Answer;
use crate::rights::{Resource, Verb, is_name};

/// What a list is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    limit: Option<usize>,
    #[serde(rename = "continue")]
    token: Option<String>,
    system: Option<String>,
    state: Option<String>,
    ready: Option<Readiness>,
    #[serde(rename = "virtualMachine")]
    virtual_machine: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Readiness {
    True,
    False,
    Unknown,
}

/// One page.
#[derive(Serialize)]
pub struct List<V> {
    pub items: Vec<V>,
    /// Ask with it for the next page; absent on the last one.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// What of a list is meant; everything where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub system: Option<String>,
    pub state: Option<String>,
    pub ready: Option<Readiness>,
    pub virtual_machine: Option<String>,
}

pub async fn list<K: Kind>(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let Path(department) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::list(department)?;
    let Asked {
        limit,
        token,
        system,
        state,
        ready,
        virtual_machine,
    } = body::query(&uri)?;
    if system.as_deref().is_some_and(|system| !is_name(system)) {
        return Err(Problem::unreadable("system", "the name of a system"));
    }
    if virtual_machine.as_deref().is_some_and(|vm| !is_name(vm)) {
        let what = "the name of a machine";
        return Err(Problem::unreadable("virtualMachine", what));
    }
    let page = Page::parse(limit, token.as_deref())?;
    let filter = Filter {
        system,
        state,
        ready,
        virtual_machine,
    };
    let (objects, token) = find::<K>(&app, &caller, &place, &page, &filter).await?;
    let items = objects.iter().map(|object| K::view(object)).collect();
    Ok(Json(List { items, token }).into_response())
}

/// A page of what the caller may see, and what leads to the next one.
pub async fn find<K: Kind>(
    app: &App,
    caller: &Caller,
    place: &Place,
    page: &Page,
    filter: &Filter,
) -> Result<(Vec<Arc<K::Object>>, Option<String>), Problem> {
    see(app, caller, Verb::List, K::RESOURCE, place).await?;
    let is_meant = |object: &K::Object| is_meant::<K>(object, filter);
    let after = page.after.as_deref();
    let cache = app.kinds.of::<K>();
    let (objects, more) = cache.page(&place.department, after, page.limit, is_meant);
    let last = objects.last().and_then(|object| object.meta().name.clone());
    let token = last.filter(|_| more).map(|name| token_after(&name));
    Ok((objects, token))
}

pub async fn one<K: Kind>(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Answered {
    let Path(path) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::object(path)?;
    let Nothing {} = body::query(&uri)?;
    let object = get::<K>(&app, &caller, &place).await?;
    let now = view::etag(object.meta());
    if Condition::has_already(door::text(&headers, &header::IF_NONE_MATCH), &now) {
        let tag = [(header::ETAG, now.to_string())];
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    Ok(shown::<K>(StatusCode::OK, &object))
}

/// The object that the place names, if the caller may see it.
pub async fn get<K: Kind>(
    app: &App,
    caller: &Caller,
    place: &Place,
) -> Result<Arc<K::Object>, Problem> {
    see(app, caller, Verb::Get, K::RESOURCE, place).await?;
    let name = place.name.as_deref().unwrap_or_default();
    let object = app.kinds.of::<K>().get(&place.department, name);
    object.ok_or(Problem::NotFound)
}

/// Parameters of what takes none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Lets pass who may see it; to everybody else it is not there. The department has to be there:
/// whoever may see all of them is told of those that are.
pub async fn see(
    app: &App,
    caller: &Caller,
    verb: Verb,
    resource: Resource,
    place: &Place,
) -> Result<(), Problem> {
    let answer = may(app, caller, verb, resource, place).await?;
    let there = app.departments.get("", &place.department).is_some();
    match (answer, there) {
        (Answer::Yes, true) => Ok(()),
        _ => Err(Problem::NotFound),
    }
}

fn is_meant<K: Kind>(object: &K::Object, filter: &Filter) -> bool {
    let Filter {
        system,
        state,
        ready,
        virtual_machine,
    } = filter;
    let facts: Facts<'_> = K::facts(object);
    system
        .as_deref()
        .is_none_or(|system| facts.system == Some(system))
        && state
            .as_deref()
            .is_none_or(|state| facts.state == Some(state))
        && virtual_machine
            .as_deref()
            .is_none_or(|vm| facts.virtual_machine == Some(vm))
        && ready.is_none_or(|ready| readiness::<K>(object) == ready)
}

fn readiness<K: Kind>(object: &K::Object) -> Readiness {
    match K::meta(object).ready.status {
        view::Verdict::True => Readiness::True,
        view::Verdict::False => Readiness::False,
        view::Verdict::Unknown => Readiness::Unknown,
    }
}
