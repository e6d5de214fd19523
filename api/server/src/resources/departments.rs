//! Departments: those in which the caller may see systems.

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use dc_crds::Department;
use dc_crds::quota::QuotaLine;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::systems::Systems;
use super::{Kind, view};
use crate::app::App;
use crate::door::{Caller, body};
use crate::page::{Page, token_after};
use crate::problem::Problem;
use crate::rights::reviews::Answer;
use crate::rights::{Question, Verb};
use crate::serve::read::{List, Nothing, see};
use crate::serve::{Answered, Place, ROOT};

/// A body of the province that owns resources.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Department)]
pub struct DepartmentView {
    pub name: String,
    pub title_vi: String,
    pub title_en: String,
    pub domain: Option<String>,
    pub systems: i64,
    pub virtual_machines: i64,
    pub volumes: i64,
    pub ready: view::Ready,
    /// What it holds, waits for and may hold.
    pub usage: Vec<Usage>,
}

/// One thing that a department holds, waits for, or may hold.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Such as virtualMachines, vcpus, memory, subnets, or storage/ with its class.
    pub resource: String,
    pub used: String,
    /// Wanted, and not held yet.
    pub reserved: String,
    /// Absent: unlimited.
    pub limit: Option<String>,
    pub free: Option<String>,
}

fn usage(line: &QuotaLine) -> Usage {
    let QuotaLine {
        resource,
        used,
        reserved,
        limit,
        free,
    } = line.clone();
    Usage {
        resource,
        used,
        reserved,
        limit,
        free,
    }
}

fn view(department: &Department) -> DepartmentView {
    let status = department.status.clone().unwrap_or_default();
    let meta = view::meta(&department.metadata, &status.conditions);
    DepartmentView {
        name: meta.name,
        title_vi: department.spec.display_name.vi.clone(),
        title_en: department.spec.display_name.en.clone(),
        domain: department.spec.domain.clone(),
        systems: status.systems,
        virtual_machines: status.virtual_machines,
        volumes: status.volumes,
        ready: meta.ready,
        usage: status.quota.iter().map(usage).collect(),
    }
}

pub fn routes(app: &App) -> Router {
    Router::new()
        .route(&format!("{ROOT}/departments"), get(list))
        .route(&format!("{ROOT}/departments/{{department}}"), get(one))
        .with_state(app.clone())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    limit: Option<usize>,
    #[serde(rename = "continue")]
    token: Option<String>,
}

async fn list(State(app): State<App>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let Asked { limit, token } = body::query(&uri)?;
    let page = Page::parse(limit, token.as_deref())?;
    let own = own(&app, &caller, page.after.as_deref()).await?;
    let more = own.len() > page.limit;
    let own = &own[..own.len().min(page.limit)];
    let last = own.last().filter(|_| more);
    let token = last.map(|department| token_after(name(department)));
    let items = own.iter().map(|department| view(department)).collect();
    Ok(Json(List { items, token }).into_response())
}

async fn one(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let Path(department) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::list(department)?;
    let Nothing {} = body::query(&uri)?;
    Ok(Json(get_one(&app, &caller, &place).await?).into_response())
}

/// The department, if the caller may list its systems.
pub async fn get_one(app: &App, caller: &Caller, place: &Place) -> Result<DepartmentView, Problem> {
    see(app, caller, Verb::List, Systems::RESOURCE, place).await?;
    let department = app.departments.get("", &place.department);
    Ok(view(&*department.ok_or(Problem::NotFound)?))
}

/// All departments in which the caller may list systems.
pub async fn get_own(app: &App, caller: &Caller) -> Result<Vec<DepartmentView>, Problem> {
    let own = own(app, caller, None).await?;
    Ok(own.iter().map(|department| view(department)).collect())
}

/// All after a name in which the caller may list systems. Who may everywhere is not asked about
/// each.
async fn own(
    app: &App,
    caller: &Caller,
    after: Option<&str>,
) -> Result<Vec<std::sync::Arc<Department>>, Problem> {
    let question = |department: Option<String>| Question {
        verb: Verb::List,
        resource: Systems::RESOURCE,
        department,
        name: None,
    };
    let (all, _) = app.departments.page("", after, usize::MAX - 1, |_| true);
    let everywhere = app.reviews.ask(&caller.person, question(None)).await?;
    if everywhere == Answer::Yes {
        return Ok(all);
    }
    let asked = all.into_iter().map(|department| {
        let question = question(Some(name(&department).to_owned()));
        (department, question)
    });
    app.reviews.ask_each(&caller.person, asked.collect()).await
}

fn name(department: &Department) -> &str {
    department.metadata.name.as_deref().unwrap_or_default()
}
