//! Backups of a department: what none is made of, how each machine stands, the policies, what is being
//! restored; and all backups of one machine, with the form that makes one now.

mod parts;
mod restored;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect};
use dc_crds::Backup;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::Web;
use super::super::door::{Page, Visit};
use super::super::form::{self, Form, ONCE};
use super::super::frame::{self, Of, Tab, token};
use super::super::wizard::name_fault;
use super::super::words;
use super::{Refused, list_place, of, offers};
use crate::door::body;
use crate::identity::code::random;
use crate::problem::{Fault, Problem};
use crate::resources::Kind;
use crate::resources::backups::{Backups, NewBackup};
use crate::resources::machine_restores::MachineRestores;
use crate::resources::machines::Machines;
use crate::resources::restores::Restores;
use crate::resources::{catalogue, policies, protection};
use crate::rights::{Verb, is_name};
use crate::serve::deed::Deed;
use crate::serve::once::{digest, once_for};
use crate::serve::read::see;
use crate::serve::{Answered, Place};
pub use parts::{is_unusual, proven, standing};

/// The field of a new backup's name, of the machine and of the repository.
const NAME: &str = "backup";
const MACHINE: &str = "machine";
const REPOSITORY: &str = "repository";

/// Restores that the overview shows, the youngest first.
const RESTORES: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    machine: Option<String>,
}

/// All of a kind in the department, if the visitor may list them.
async fn all<K: Kind>(
    web: &Web,
    visit: &Visit,
    place: &Place,
) -> Result<Vec<Arc<K::Object>>, Problem> {
    see(&web.app, &visit.caller, Verb::List, K::RESOURCE, place).await?;
    let cache = web.app.kinds.of::<K>();
    Ok(cache
        .page(&place.department, None, usize::MAX - 1, |_| true)
        .0)
}

pub async fn list(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = list_place(path)?;
    let Asked { machine } = body::query(&uri)?;
    let page = match machine {
        Some(machine) if is_name(&machine) => {
            of_machine(&web, &visit, &place, &machine, None).await?
        }
        Some(_) => return Err(Problem::NotFound),
        None => overview(&web, &visit, &place).await?,
    };
    Ok(page.into_response())
}

async fn overview(web: &Web, visit: &Visit, place: &Place) -> Result<Page, Problem> {
    let (of, _) = of(web, visit, place, Tab::Backups).await?;
    let (app, caller, language) = (&web.app, &visit.caller, visit.language());
    let volumes = protection::find(app, caller, place).await?;
    let backups = youngest_first(all::<Backups>(web, visit, place).await?);
    let machines = all::<Machines>(web, visit, place).await?;
    // Not everybody may read the province's policies.
    let policies = match policies::find(app, caller, place).await {
        Ok(found) => found,
        Err(Problem::NotFound) => Vec::new(),
        Err(other) => return Err(other),
    };
    let restores = all::<Restores>(web, visit, place).await?;
    let rebuilt = all::<MachineRestores>(web, visit, place).await?;
    let restored = restored::rows(language, &restores, &rebuilt, RESTORES);
    let title = language.pick("Sao lưu", "Backups");
    let content = html! {
        h1 { (title) }
        div.live {
            (parts::unprotected(language, &of, &volumes))
            (parts::machines(language, &of, &machines, &backups, &policies))
            (parts::policies(language, &policies))
            (restored::table(language, &of, &restored))
        }
    };
    Ok(frame::page(visit, title, Some(&of), &content))
}

async fn of_machine(
    web: &Web,
    visit: &Visit,
    place: &Place,
    machine: &str,
    refused: Option<&Refused<'_>>,
) -> Result<Page, Problem> {
    let (of, _) = of(web, visit, place, Tab::Backups).await?;
    let language = visit.language();
    let mut backups = all::<Backups>(web, visit, place).await?;
    backups.retain(|backup| backup.spec.vm == machine);
    let there = all::<Machines>(web, visit, place).await?;
    let there = there
        .iter()
        .any(|vm| vm.metadata.name.as_deref() == Some(machine));
    if backups.is_empty() && !there {
        return Err(Problem::NotFound);
    }
    let makes = there && offers::<Backups>(web, &visit.caller, Verb::Create, place).await?;
    let repositories = match makes {
        true => repositories(web, visit).await?,
        false => Vec::new(),
    };
    let title = format!("{} {machine}", language.pick("Sao lưu của", "Backups of"));
    let content = html! {
        @if let Some(refused) = refused { (frame::refusal(language, refused.problem)) }
        h1 { (title) }
        p {
            a href=(of.path("/backups")) { (language.pick("Mọi máy ảo", "All machines")) }
            @if there {
                " · " a href=(of.path(&format!("/machines/{machine}"))) {
                    (language.pick("Trang của máy ảo", "The machine's page"))
                }
            } @else {
                " · " (language.pick("máy ảo không còn", "the machine is gone"))
            }
        }
        div.live { (parts::table(language, &of, &youngest_first(backups))) }
        @if makes { (make_form(visit, &of, machine, &repositories, refused)?) }
    };
    Ok(frame::page(visit, &title, Some(&of), &content))
}

async fn repositories(web: &Web, visit: &Visit) -> Result<Vec<String>, Problem> {
    let offered = catalogue::see(&web.app, &visit.caller).await?;
    let names = offered.repositories.into_iter().map(|one| one.name);
    Ok(names.collect())
}

/// When it was taken, or is to be: what has no time yet comes first.
fn youngest_first(mut backups: Vec<Arc<Backup>>) -> Vec<Arc<Backup>> {
    let age = |backup: &Backup| {
        let status = backup.status.as_ref();
        let taken = status.and_then(|status| status.taken_at.clone());
        let made = backup.metadata.creation_timestamp.as_ref();
        (
            taken.is_none(),
            taken.or_else(|| made.map(|at| at.0.to_string())),
        )
    };
    backups.sort_by_cached_key(|backup| std::cmp::Reverse(age(backup)));
    backups
}

fn make_form(
    visit: &Visit,
    of: &Of,
    machine: &str,
    repositories: &[String],
    refused: Option<&Refused<'_>>,
) -> Result<Markup, Problem> {
    let language = visit.language();
    let entered = |field| refused.map(|refused| refused.form.get(field).to_owned());
    let proposed = || words::named_now(machine, jiff::Timestamp::now());
    let name = entered(NAME).unwrap_or_else(proposed);
    let chosen = entered(REPOSITORY);
    let once = random()?;
    Ok(html! {
        section {
            h2 { (language.pick("Sao lưu ngay", "Back up now")) }
            @if repositories.is_empty() {
                p.quiet { (language.pick(
                    "Chưa có kho sao lưu nào; đơn vị vận hành trung tâm lập kho.",
                    "There is no repository yet; the operator of the centre makes one.")) }
            } @else {
                p.hint { (language.pick(
                    "Mọi ổ đĩa của máy ở cùng một thời điểm. Máy dừng ghi trong chốc lát rồi chạy tiếp; chỉ phần thay đổi được đọc.",
                    "All its disks at one instant. The machine writes nothing for a moment and goes on; only what has changed is read.")) }
                form.narrow method="post" action=(of.path("/backups")) data-once="" {
                    (token(visit))
                    input type="hidden" name=(ONCE) value=(once);
                    input type="hidden" name=(MACHINE) value=(machine);
                    div.field {
                        label for=(NAME) { (language.pick("Tên bản sao lưu", "Name of the backup")) }
                        input id=(NAME) name=(NAME) type="text" maxlength="63" required value=(name);
                    }
                    div.field {
                        label for=(REPOSITORY) { (language.pick("Kho sao lưu", "Repository")) }
                        select id=(REPOSITORY) name=(REPOSITORY) {
                            @for one in repositories {
                                option value=(one) selected[chosen.as_ref() == Some(one)] { (one) }
                            }
                        }
                    }
                    button type="submit" { (language.pick("Sao lưu", "Back up")) }
                }
            }
        }
    })
}

pub async fn create(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let place = list_place(path)?;
    let form = form::read(&web, &visit, &headers, body).await?;
    match make(&web, &visit, &place, &form).await {
        Err(problem) if problem.is_of_form() && is_name(form.get(MACHINE)) => {
            let refused = Refused {
                problem: &problem,
                form: &form,
            };
            let machine = form.get(MACHINE);
            let page = of_machine(&web, &visit, &place, machine, Some(&refused)).await?;
            Ok((problem.status(), page).into_response())
        }
        other => other,
    }
}

async fn make(web: &Web, visit: &Visit, place: &Place, form: &Form) -> Answered {
    let (app, caller, language) = (&web.app, &visit.caller, visit.language());
    let deed = Deed::creation::<Backups>(app, caller, place).await?;
    let new = NewBackup {
        name: form.get(NAME).to_owned(),
        virtual_machine: form.get(MACHINE).to_owned(),
        repository: form.get(REPOSITORY).to_owned(),
    };
    let name = ("Tên bản sao lưu", "Name of the backup");
    let repository = ("Kho sao lưu", "Repository");
    let faults = [
        name_fault(language, &new.name, name),
        name_fault(language, &new.repository, repository),
    ];
    let faults: Vec<Fault> = faults.into_iter().flatten().collect();
    if !faults.is_empty() {
        return Err(Problem::Invalid(faults));
    }
    let at = frame::department_path(&place.department, &format!("/backups/{}", new.name));
    let asked = serde_json::to_vec(&new).map_err(|_| Problem::Internal)?;
    let asked = digest(&[b"backup", place.department.as_bytes(), &asked]);
    once_for(app, caller, form.get(ONCE), asked, async |mark| {
        let deed = deed.of_new::<Backups>(&new).await?;
        deed.create::<Backups>(new, mark.as_ref()).await?;
        Ok(Redirect::to(&at).into_response())
    })
    .await
}
