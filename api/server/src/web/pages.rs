//! The pages, one file each. Each reads as its visitor may, and acts by the same acts as the API.

pub mod approvals;
pub mod backup;
pub mod backups;
pub mod department;
pub mod home;
pub mod machine;
pub mod machine_restore;
pub mod proof;
pub mod request;
pub mod requests;
pub mod restore;
pub mod snapshot;
pub mod usage;
pub mod volume;

use std::sync::Arc;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::Uri;
use maud::{Markup, html};
use serde::Deserialize;

use super::Web;
use super::door::Visit;
use super::form::Form;
use super::frame::{Of, Tab};
use crate::door::{Caller, body};
use crate::language::Language;
use crate::page::Page as Paging;
use crate::problem::Problem;
use crate::resources::departments::{self, DepartmentView};
use crate::resources::{Kind, view};
use crate::rights::Verb;
use crate::rights::reviews::Answer;
use crate::serve::read::{Filter, find};
use crate::serve::{Place, may};

/// Rows of one page of a list.
const ROWS: usize = 50;

/// The place that a path names; what cannot be is not there.
pub fn list_place(path: Result<Path<String>, PathRejection>) -> Result<Place, Problem> {
    let Path(department) = path.map_err(|_| Problem::NotFound)?;
    Place::list(department)
}

pub fn object_place(path: Result<Path<(String, String)>, PathRejection>) -> Result<Place, Problem> {
    let Path(path) = path.map_err(|_| Problem::NotFound)?;
    Place::object(path)
}

/// The department of a page, if its visitor may see it.
pub async fn of(
    web: &Web,
    visit: &Visit,
    place: &Place,
    tab: Tab,
) -> Result<(Of, DepartmentView), Problem> {
    let place = Place::list(place.department.clone())?;
    let view = departments::get_one(&web.app, &visit.caller, &place).await?;
    let title = visit.language().pick(&view.title_vi, &view.title_en);
    let of = Of {
        name: view.name.clone(),
        title: title.to_owned(),
        tab,
    };
    Ok((of, view))
}

/// Whether the visitor may, so that a page does not offer what would be refused.
pub async fn offers<K: Kind>(
    web: &Web,
    caller: &Caller,
    verb: Verb,
    place: &Place,
) -> Result<bool, Problem> {
    let answer = may(&web.app, caller, verb, K::RESOURCE, place).await?;
    Ok(answer == Answer::Yes)
}

/// A form of a page that was not taken: what is wrong with it, and what was entered.
pub struct Refused<'a> {
    pub problem: &'a Problem,
    pub form: &'a Form,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<String>,
}

/// One page of a list, and the address of the next.
pub struct Rows<O> {
    pub objects: Vec<Arc<O>>,
    next: Option<String>,
}

/// What of a kind the visitor may see, page by page.
pub async fn rows<K: Kind>(
    web: &Web,
    visit: &Visit,
    place: &Place,
    uri: &Uri,
) -> Result<Rows<K::Object>, Problem> {
    let Asked { after } = body::query(uri)?;
    let paging = Paging::parse(Some(ROWS), after.as_deref())?;
    let place = Place::list(place.department.clone())?;
    let filter = Filter::default();
    let (objects, token) = find::<K>(&web.app, &visit.caller, &place, &paging, &filter).await?;
    let next = token.map(|token| format!("{}?after={token}", uri.path()));
    Ok(Rows { objects, next })
}

/// The first of a kind in one state; nothing when the visitor may not list them.
pub async fn some<K: Kind>(
    web: &Web,
    caller: &Caller,
    place: &Place,
    limit: usize,
    filter: &Filter,
) -> Result<Vec<Arc<K::Object>>, Problem> {
    let paging = Paging::parse(Some(limit), None)?;
    let place = Place::list(place.department.clone())?;
    match find::<K>(&web.app, caller, &place, &paging, filter).await {
        Ok((objects, _)) => Ok(objects),
        Err(Problem::NotFound) => Ok(Vec::new()),
        Err(other) => Err(other),
    }
}

impl<O> Rows<O> {
    fn more(&self, language: Language) -> Markup {
        html! {
            @if let Some(next) = &self.next {
                p { a href=(next) rel="next" { (language.pick("Trang sau", "Next page")) } }
            }
        }
    }
}

/// Why it stands as it does, when that is not as it should be.
#[must_use]
pub fn why(language: Language, ready: &view::Ready) -> Markup {
    let says = super::words::message(language, &ready.message);
    html! {
        @if ready.status != view::Verdict::True && !says.is_empty() {
            p.why { (says) }
        }
    }
}
