//! Which volumes of a department are backed up, by which policies and when last; and why the others are
//! not. The rule is the operator's own.

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use dc_crds::{Backup, BackupPolicy, Volume};
use dc_operator_core::protection::{Last, Line, Seen, lines};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Kind;
use super::backups::Backups;
use super::machines::Machines;
use super::policies;
use super::volumes::Volumes;
use crate::app::App;
use crate::door::{Caller, body};
use crate::page::{Page, token_after};
use crate::problem::Problem;
use crate::rights::Verb;
use crate::serve::read::{List, see};
use crate::serve::{Answered, Place, list_path};

/// The last part of its address.
pub const PATH: &str = "protection";

/// How one volume is backed up.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VolumeProtection)]
pub struct ProtectionView {
    pub volume: String,
    pub system: String,
    pub size: String,
    /// The machine that it is backed up with, or would be.
    pub virtual_machine: Option<String>,
    /// Whether a policy that works is for its machine.
    pub protected: bool,
    /// Those policies.
    pub policies: Vec<String>,
    /// Why it is not protected, for programs: NoMachine, NoPolicy or PolicyIdle.
    pub reason: Option<String>,
    /// The same for people, and what to do.
    pub message: Option<String>,
    /// The last backup that holds it, whoever made it.
    pub last_backup: Option<LastBackup>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastBackup {
    pub name: String,
    /// RFC 3339: the instant that it is of.
    pub taken_at: String,
    /// RFC 3339: when a trial last showed that it comes back; absent when none did.
    pub proven_at: Option<String>,
}

pub fn routes(app: &App) -> Router {
    Router::new()
        .route(&list_path(PATH), get(list))
        .with_state(app.clone())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    limit: Option<usize>,
    #[serde(rename = "continue")]
    token: Option<String>,
    protected: Option<bool>,
}

async fn list(
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
        protected,
    } = body::query(&uri)?;
    let page = Page::parse(limit, token.as_deref())?;
    let mut items = find(&app, &caller, &place).await?;
    let after = page.after.as_deref().unwrap_or_default();
    items.retain(|one| {
        one.volume.as_str() > after && protected.is_none_or(|meant| one.protected == meant)
    });
    let more = items.len() > page.limit;
    items.truncate(page.limit);
    let last = items.last().filter(|_| more);
    let token = last.map(|one| token_after(&one.volume));
    Ok(Json(List { items, token }).into_response())
}

/// All volumes of the department, in the order of their names, if the caller may see them, its machines
/// and its backups.
pub async fn find(
    app: &App,
    caller: &Caller,
    place: &Place,
) -> Result<Vec<ProtectionView>, Problem> {
    let place = Place::list(place.department.clone())?;
    for resource in [Volumes::RESOURCE, Machines::RESOURCE, Backups::RESOURCE] {
        see(app, caller, Verb::List, resource, &place).await?;
    }
    let (department, most) = (&place.department, usize::MAX - 1);
    let policies = policies::all(app);
    let policies: Vec<&BackupPolicy> = policies.iter().map(|one| &**one).collect();
    let machines = policies::machines(app, department);
    let machines: Vec<_> = machines
        .iter()
        .map(|(vm, system)| (&**vm, system.as_deref()))
        .collect();
    let volumes = app.kinds.of::<Volumes>();
    let volumes = volumes.page(department, None, most, |_| true).0;
    let volumes: Vec<&Volume> = volumes.iter().map(|one| &**one).collect();
    let backups = app.kinds.of::<Backups>();
    let backups = backups.page(department, None, most, |_| true).0;
    let backups: Vec<&Backup> = backups.iter().map(|one| &**one).collect();
    let lines = lines(&Seen {
        policies: &policies,
        machines: &machines,
        volumes: &volumes,
        backups: &backups,
    });
    Ok(lines.into_iter().map(view).collect())
}

fn view(line: Line) -> ProtectionView {
    let Line {
        volume,
        system,
        size,
        machine,
        policies,
        bare,
        last,
    } = line;
    let words = bare.as_ref().map(dc_operator_core::words::Fact::words);
    let last = last.map(|last| {
        let Last {
            backup,
            taken_at,
            proven_at,
        } = last;
        LastBackup {
            name: backup,
            taken_at,
            proven_at,
        }
    });
    ProtectionView {
        volume,
        system,
        size,
        virtual_machine: machine,
        protected: bare.is_none(),
        policies,
        reason: words.as_ref().map(|words| words.reason.clone()),
        message: words.map(|words| words.message()),
        last_backup: last,
    }
}
