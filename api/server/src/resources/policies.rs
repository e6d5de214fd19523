//! Backup policies, as a department sees them: those that are for machines of its own, and how these
//! stand. A policy is the platform's and may be for many departments: what it says of others is not
//! shown, and how the department's own machines stand is judged anew, by the operator's own rules.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use dc_crds::backup_policy::{KeepRules, Prove, Schedule, Watch};
use dc_crds::{Backup, BackupPolicy, InformationSystem, RestoreProof, VirtualMachine};
use dc_operator_core::backup_policy::{self, Progress, Repository, selects};
use jiff::Timestamp;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Kind;
use super::backups::Backups;
use super::machines::Machines;
use super::proofs::Proofs;
use super::systems::Systems;
use crate::app::App;
use crate::door::{Caller, body};
use crate::page::{Page, token_after};
use crate::problem::Problem;
use crate::rights::reviews::Answer;
use crate::rights::{Question, Resource, Verb};
use crate::serve::read::{List, Nothing, see};
use crate::serve::{Answered, Place, list_path, object_path};

pub const RESOURCE: Resource = Resource {
    group: dc_crds::GROUP,
    plural: "backuppolicies",
};

/// Backups of machines of the department, by a schedule.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BackupPolicy)]
pub struct PolicyView {
    pub name: String,
    /// Where its backups go.
    pub repository: String,
    pub schedule: ScheduleView,
    pub keep: KeepView,
    pub prove: ProveView,
    pub watch: WatchView,
    /// It begins nothing at present.
    pub suspended: bool,
    /// RFC 3339: its next time. Each machine begins some minutes later, always the same ones. Absent
    /// when it begins nothing.
    pub next: Option<String>,
    /// Machines of the department that it is for.
    pub virtual_machines: Vec<String>,
    /// How many of them have a backup by it.
    pub backed_up: u64,
    /// Backups of them that are not done.
    pub running: u64,
    /// Those of them whose time has passed without a backup, or whose backup of it is not done.
    pub late: Vec<String>,
    /// Those whose last backup has failed, or does not get on.
    pub failing: Vec<String>,
    /// Those whose backups were not shown to come back lately.
    pub unproven: Vec<String>,
    /// Backups that are unlike those before them, at which nobody has looked.
    pub unusual: Vec<String>,
}

/// When.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BackupSchedule)]
pub struct ScheduleView {
    /// Minute, hour, day of the month, month, day of the week.
    pub cron: String,
    pub time_zone: String,
    pub jitter_minutes: u32,
    /// For how many minutes after its time a backup may still be begun. Absent: until the next time.
    pub window_minutes: Option<u32>,
}

/// A backup is kept if any rule keeps it: so many of the last, and one for each of the last so many days,
/// weeks, months and years.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = KeepRules)]
pub struct KeepView {
    pub last: u32,
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
    pub yearly: u32,
}

/// How its backups are tried.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProveRules)]
pub struct ProveView {
    pub suspended: bool,
    /// How often the last backup of each machine is tried.
    pub every_days: u32,
    /// How many of all others are tried in that time.
    pub sample: u32,
}

/// When a run is so unlike those before it that somebody should look.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WatchRules)]
pub struct WatchView {
    pub suspended: bool,
    pub runs: u32,
    pub least: u32,
    pub changed_times: u32,
    pub least_change: String,
    pub stored_percent: u32,
}

pub fn routes(app: &App) -> Router {
    let plural = RESOURCE.plural;
    Router::new()
        .route(&list_path(plural), get(list))
        .route(&object_path(plural), get(one))
        .with_state(app.clone())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    limit: Option<usize>,
    #[serde(rename = "continue")]
    token: Option<String>,
}

async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let Path(department) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::list(department)?;
    let Asked { limit, token } = body::query(&uri)?;
    let page = Page::parse(limit, token.as_deref())?;
    let mut items = find(&app, &caller, &place).await?;
    let after = page.after.as_deref().unwrap_or_default();
    items.retain(|policy| policy.name.as_str() > after);
    let more = items.len() > page.limit;
    items.truncate(page.limit);
    let last = items.last().filter(|_| more);
    let token = last.map(|policy| token_after(&policy.name));
    Ok(Json(List { items, token }).into_response())
}

async fn one(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Answered {
    let Path(path) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::object(path)?;
    let Nothing {} = body::query(&uri)?;
    let mut all = find(&app, &caller, &place).await?.into_iter();
    let found = all.find(|policy| Some(&policy.name) == place.name.as_ref());
    Ok(Json(found.ok_or(Problem::NotFound)?).into_response())
}

/// Those that are for machines of the department, in the order of their names, if the caller may see
/// policies, and the department's machines and backups.
pub async fn find(app: &App, caller: &Caller, place: &Place) -> Result<Vec<PolicyView>, Problem> {
    let place = Place::list(place.department.clone())?;
    for resource in [Machines::RESOURCE, Backups::RESOURCE] {
        see(app, caller, Verb::List, resource, &place).await?;
    }
    if !may_read(app, caller).await? {
        return Err(Problem::NotFound);
    }
    let own = Own::new(app, &place.department);
    let policies = all(app);
    let views = policies.iter().filter_map(|policy| own.view(policy));
    Ok(views.collect())
}

/// Whether somebody may read the province's policies at all.
async fn may_read(app: &App, caller: &Caller) -> Result<bool, Problem> {
    let question = Question {
        verb: Verb::List,
        resource: RESOURCE,
        department: None,
        name: None,
    };
    Ok(app.reviews.ask(&caller.person, question).await? == Answer::Yes)
}

/// They are platform administrators' own, and few.
pub fn all(app: &App) -> Vec<Arc<BackupPolicy>> {
    let most = usize::MAX - 1;
    app.catalogue.policies.page("", None, most, |_| true).0
}

/// Machines of a department, each with its system.
pub fn machines(
    app: &App,
    department: &str,
) -> Vec<(Arc<VirtualMachine>, Option<Arc<InformationSystem>>)> {
    let (machines, systems) = (app.kinds.of::<Machines>(), app.kinds.of::<Systems>());
    let found = machines.page(department, None, usize::MAX - 1, |_| true).0;
    let found = found.into_iter().map(|vm| {
        let system = systems.get(department, &vm.spec.system);
        (vm, system)
    });
    found.collect()
}

/// What a department has of its own.
struct Own {
    machines: Vec<(Arc<VirtualMachine>, Option<Arc<InformationSystem>>)>,
    backups: Vec<Arc<Backup>>,
    proofs: Vec<Arc<RestoreProof>>,
}

impl Own {
    fn new(app: &App, department: &str) -> Self {
        let most = usize::MAX - 1;
        let (backups, proofs) = (app.kinds.of::<Backups>(), app.kinds.of::<Proofs>());
        Self {
            machines: machines(app, department),
            backups: backups.page(department, None, most, |_| true).0,
            proofs: proofs.page(department, None, most, |_| true).0,
        }
    }

    /// `None` of one that is for none of the department's machines.
    fn view(&self, policy: &BackupPolicy) -> Option<PolicyView> {
        let machines = self.machines.iter();
        let machines: Vec<_> = machines
            .map(|(vm, system)| (&**vm, system.as_deref()))
            .filter(|(vm, system)| selects(policy, vm, *system))
            .collect();
        if machines.is_empty() {
            return None;
        }
        let name = policy.name_any();
        let backups = self.backups.iter().map(|backup| &**backup);
        let backups = backups.filter(|backup| backup.spec.policy.as_ref() == Some(&name));
        let backups: Vec<&Backup> = backups.collect();
        let proofs: Vec<&RestoreProof> = self.proofs.iter().map(|proof| &**proof).collect();
        let (_, progress) = backup_policy::plan(&backup_policy::Seen {
            policy,
            machines: &machines,
            backups: &backups,
            proofs: &proofs,
            repository: Repository::There,
            now: Timestamp::now().as_second(),
        });
        let names = machines.iter().map(|(vm, _)| vm.name_any());
        Some(view(policy, &progress, names.collect()))
    }
}

fn view(policy: &BackupPolicy, progress: &Progress, virtual_machines: Vec<String>) -> PolicyView {
    let spec = policy.spec.clone();
    let Progress {
        machines: _,
        backed_up,
        running,
        late,
        unproven,
        failing,
        unusual,
        last: _,
        next,
    } = progress;
    let next = next.filter(|_| !spec.suspend);
    let next = next.and_then(|at| Timestamp::from_second(at).ok());
    PolicyView {
        name: policy.name_any(),
        repository: spec.repository,
        schedule: schedule(spec.schedule),
        keep: keep(&spec.keep),
        prove: prove(spec.prove.unwrap_or_default()),
        watch: watch(spec.watch.unwrap_or_default()),
        suspended: spec.suspend,
        next: next.map(|at| at.to_string()),
        virtual_machines,
        backed_up: *backed_up,
        running: *running,
        late: within(late),
        failing: within(failing),
        unproven: within(unproven),
        unusual: within(unusual),
    }
}

/// The operator says `department/name`.
fn within(names: &[String]) -> Vec<String> {
    let names = names.iter().filter_map(|name| name.split_once('/'));
    names.map(|(_, name)| name.to_owned()).collect()
}

fn schedule(schedule: Schedule) -> ScheduleView {
    let Schedule {
        cron,
        time_zone,
        jitter_minutes,
        window_minutes,
    } = schedule;
    ScheduleView {
        cron,
        time_zone,
        jitter_minutes,
        window_minutes,
    }
}

fn keep(keep: &KeepRules) -> KeepView {
    let KeepRules {
        last,
        daily,
        weekly,
        monthly,
        yearly,
    } = *keep;
    KeepView {
        last,
        daily,
        weekly,
        monthly,
        yearly,
    }
}

fn prove(prove: Prove) -> ProveView {
    ProveView {
        suspended: prove.suspend,
        every_days: prove.every_days,
        sample: prove.sample,
    }
}

fn watch(watch: Watch) -> WatchView {
    let Watch {
        suspend,
        runs,
        least,
        changed_times,
        least_change,
        stored_percent,
    } = watch;
    WatchView {
        suspended: suspend,
        runs,
        least,
        changed_times,
        least_change,
        stored_percent,
    }
}
