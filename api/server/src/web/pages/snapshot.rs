//! Snapshots: one of them, and how they are taken, of a volume or of a machine, and deleted.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect};
use maud::{Markup, html};

use super::super::Web;
use super::super::door::Visit;
use super::super::form::{self, Form, ONCE};
use super::super::frame::{self, Of, Tab, mark, marked, time, token};
use super::super::wizard::name_fault;
use super::super::words::{self, Tone};
use super::{Refused, machine, object_place, of, offers, volume, why};
use crate::door::body;
use crate::identity::code::random;
use crate::language::Language;
use crate::problem::Problem;
use crate::resources::Kind;
use crate::resources::machines::Machines;
use crate::resources::snapshots::{Consistency, NewVolumeSnapshot, SnapshotView, Snapshots};
use crate::resources::view::Phase;
use crate::resources::volumes::Volumes;
use crate::rights::Verb;
use crate::serve::deed::Deed;
use crate::serve::once::{digest, once_for};
use crate::serve::read::{Nothing, get};
use crate::serve::{Answered, Place};

/// The field of a new snapshot's name.
const NAME: &str = "snapshot";

/// Asks for a snapshot; `at` is the page of what it is of. The name is proposed, and may be another.
pub fn take_form(visit: &Visit, at: &str, hint: &str, refused: Option<&Refused<'_>>) -> Answer {
    let language = visit.language();
    let name = match refused {
        Some(refused) => refused.form.get(NAME).to_owned(),
        None => proposed(at, jiff::Timestamp::now()),
    };
    let once = random()?;
    Ok(html! {
        section {
            h2 { (language.pick("Chụp ngay", "Take a snapshot")) }
            p.hint { (hint) }
            form.narrow method="post" action=(format!("{at}/snapshots")) data-once="" {
                (token(visit))
                input type="hidden" name=(ONCE) value=(once);
                div.field {
                    label for=(NAME) { (language.pick("Tên bản chụp", "Name of the snapshot")) }
                    input id=(NAME) name=(NAME) type="text" maxlength="63" required value=(name);
                }
                button type="submit" { (language.pick("Chụp", "Take it")) }
            }
        }
    })
}

type Answer = Result<Markup, Problem>;

fn proposed(at: &str, now: jiff::Timestamp) -> String {
    words::named_now(at.rsplit('/').next().unwrap_or_default(), now)
}

pub async fn of_volume(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let place = object_place(path)?;
    let form = form::read(&web, &visit, &headers, body).await?;
    let volume = get::<Volumes>(&web.app, &visit.caller, &place).await?;
    let new = |name| NewVolumeSnapshot {
        name,
        system: volume.spec.system.clone(),
        volume: place.name.clone(),
        virtual_machine: None,
    };
    match take(&web, &visit, &place, &form, new).await {
        Err(problem) if problem.is_of_form() => {
            let refused = Refused {
                problem: &problem,
                form: &form,
            };
            let page = volume::shown(&web, &visit, &place, Some(&refused)).await?;
            Ok((problem.status(), page).into_response())
        }
        other => other,
    }
}

pub async fn of_machine(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let place = object_place(path)?;
    let form = form::read(&web, &visit, &headers, body).await?;
    let machine = get::<Machines>(&web.app, &visit.caller, &place).await?;
    let new = |name| NewVolumeSnapshot {
        name,
        system: machine.spec.system.clone(),
        volume: None,
        virtual_machine: place.name.clone(),
    };
    match take(&web, &visit, &place, &form, new).await {
        Err(problem) if problem.is_of_form() => {
            let refused = Refused {
                problem: &problem,
                form: &form,
            };
            let page = machine::shown(&web, &visit, &place, Some(&refused)).await?;
            Ok((problem.status(), page).into_response())
        }
        other => other,
    }
}

async fn take(
    web: &Web,
    visit: &Visit,
    place: &Place,
    form: &Form,
    new: impl FnOnce(String) -> NewVolumeSnapshot,
) -> Answered {
    let (app, caller) = (&web.app, &visit.caller);
    let list = Place::list(place.department.clone())?;
    let deed = Deed::creation::<Snapshots>(app, caller, &list).await?;
    let name = form.get(NAME).to_owned();
    if let Some(fault) = name_fault(visit.language(), &name, ("Tên bản chụp", "Name")) {
        return Err(Problem::Invalid(vec![fault]));
    }
    let at = frame::department_path(&place.department, &format!("/snapshots/{name}"));
    let new = new(name);
    let asked = serde_json::to_vec(&new).map_err(|_| Problem::Internal)?;
    let asked = digest(&[b"snapshot", place.department.as_bytes(), &asked]);
    once_for(app, caller, form.get(ONCE), asked, async |mark| {
        let deed = deed.of_new::<Snapshots>(&new).await?;
        deed.create::<Snapshots>(new, mark.as_ref()).await?;
        Ok(Redirect::to(&at).into_response())
    })
    .await
}

pub async fn page(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = object_place(path)?;
    let Nothing {} = body::query(&uri)?;
    let snapshot = get::<Snapshots>(&web.app, &visit.caller, &place).await?;
    let (of, _) = of(&web, &visit, &place, Tab::Volumes).await?;
    let deletes = offers::<Snapshots>(&web, &visit.caller, Verb::Delete, &place).await?;
    let language = visit.language();
    let view = Snapshots::view(&snapshot);
    let conditions = snapshot.status.as_ref().map(|status| &status.conditions);
    let content = html! {
        div.live {
            div.head { h1 { (view.meta.name) } (standing(language, &view)) }
            (why(language, &view.meta.ready))
            (facts(language, &of, &view))
            (volumes(language, &of, &view))
        }
        @if deletes && view.meta.phase == Phase::Present { (deletion(&visit, &of, &view)) }
        div.live {
            (machine::conditions_table(language, conditions.map_or(&[], Vec::as_slice)))
        }
    };
    Ok(frame::page(&visit, &view.meta.name, Some(&of), &content).into_response())
}

pub fn standing(language: Language, view: &SnapshotView) -> Markup {
    match view.meta.phase {
        Phase::Deleting => marked(Tone::Moving, language.pick("Đang xóa", "Being deleted")),
        Phase::Present => mark(language, &view.state),
    }
}

/// What a guest that starts from it finds.
pub fn reached(language: Language, consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Crash => language.pick("như sau khi mất điện", "as after a power cut"),
        Consistency::FileSystem => language.pick(
            "hệ thống tệp đã ghi hết xuống ổ đĩa",
            "file systems were written out",
        ),
        Consistency::Application => language.pick(
            "ứng dụng cũng đã ghi hết xuống ổ đĩa",
            "applications had written their data out too",
        ),
    }
}

fn facts(language: Language, of: &Of, view: &SnapshotView) -> Markup {
    let reached = view.consistency.map(|one| reached(language, one));
    html! {
        dl.facts {
            @if let Some(machine) = &view.virtual_machine {
                dt { (language.pick("Của máy ảo", "Of the machine")) }
                dd { a href=(of.path(&format!("/machines/{machine}"))) { (machine) } }
            }
            @if let Some(volume) = &view.volume {
                dt { (language.pick("Của ổ đĩa", "Of the volume")) }
                dd { a href=(of.path(&format!("/volumes/{volume}"))) { (volume) } }
            }
            dt { (language.pick("Hệ thống", "System")) } dd { (view.system) }
            dt { (language.pick("Chụp lúc", "Taken")) }
            dd { @match &view.taken_at { Some(at) => (time(language, at)), None => "–" } }
            dt { (language.pick("Dữ liệu khi chụp", "What its data is like")) }
            dd { (reached.unwrap_or("–")) }
            @if let Some(at) = &view.meta.created {
                dt { (language.pick("Yêu cầu lúc", "Asked for")) } dd { (time(language, at)) }
            }
        }
    }
}

fn volumes(language: Language, of: &Of, view: &SnapshotView) -> Markup {
    let size = language.pick("Dung lượng", "Size");
    html! {
        @if !view.volumes.is_empty() {
            section {
                h2 { (language.pick("Các ổ đĩa", "Volumes")) }
                table.cards {
                    thead { tr {
                        th scope="col" { (language.pick("Ổ đĩa", "Volume")) }
                        th scope="col" { (size) }
                    } }
                    tbody { @for one in &view.volumes { tr {
                        th scope="row" {
                            a href=(of.path(&format!("/volumes/{}", one.volume))) { (one.volume) }
                        }
                        td data-label=(size) { (one.size) }
                    } } }
                }
            }
        }
    }
}

fn deletion(visit: &Visit, of: &Of, view: &SnapshotView) -> Markup {
    let language = visit.language();
    let at = of.path(&format!("/snapshots/{}/delete", view.meta.name));
    html! {
        section {
            details {
                summary { (language.pick("Xóa bản chụp…", "Delete the snapshot…")) }
                p { (language.pick(
                    "Không lấy lại được. Ổ đĩa mà nó được chụp từ đó vẫn giữ nguyên.",
                    "It cannot be brought back. The volumes that it is of stay as they are.")) }
                form method="post" action=(at) data-once="" {
                    (token(visit))
                    button.danger type="submit" {
                        (language.pick("Xóa bản chụp", "Delete the snapshot"))
                    }
                }
            }
        }
    }
}

pub async fn remove(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let place = object_place(path)?;
    form::read(&web, &visit, &headers, body).await?;
    let deed = Deed::deletion::<Snapshots>(&web.app, &visit.caller, &place).await?;
    deed.delete::<Snapshots>(None).await?;
    let back = frame::department_path(&place.department, "/volumes");
    Ok(Redirect::to(&back).into_response())
}
