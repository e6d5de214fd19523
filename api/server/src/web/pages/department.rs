//! The overview of a department: what waits, with whom, since when; what it has, uses and may still
//! use.

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use dc_crds::ResourceRequest;
use maud::{Markup, html};
use std::sync::Arc;

use super::super::Web;
use super::super::door::Visit;
use super::super::frame::{self, Of, Tab};
use super::super::words;
use super::{list_place, machine, of, offers, requests, some, volume};
use crate::door::{Caller, body};
use crate::language::Language;
use crate::problem::Problem;
use crate::resources::departments::{DepartmentView, Usage};
use crate::resources::machines::Machines;
use crate::resources::requests::Requests;
use crate::resources::volumes::Volumes;
use crate::rights::Verb;
use crate::serve::read::{Filter, Nothing};
use crate::serve::{Answered, Place};

/// Machines and volumes that the overview shows; the rest is one link away.
const SOME: usize = 8;
/// Requests of each state that wait.
const WAITING: usize = 50;

pub async fn page(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = list_place(path)?;
    let Nothing {} = body::query(&uri)?;
    let (of, view) = of(&web, &visit, &place, Tab::Overview).await?;
    let (caller, language) = (&visit.caller, visit.language());
    let waiting = waiting(&web, caller, &place).await?;
    let asks = offers::<Requests>(&web, caller, Verb::Create, &place).await?;
    let all = Filter::default();
    let machines = some::<Machines>(&web, caller, &place, SOME, &all).await?;
    let volumes = some::<Volumes>(&web, caller, &place, SOME, &all).await?;
    let content = html! {
        div.head {
            h1 { (of.title) }
            @if asks {
                a.button href=(of.path("/requests/new")) {
                    (language.pick("Lập yêu cầu", "Ask for something"))
                }
            }
        }
        section {
            h2 { (language.pick("Đang chờ", "What waits")) }
            @if waiting.is_empty() {
                p.quiet { (language.pick("Không có yêu cầu nào đang chờ.", "No request waits.")) }
            } @else {
                (requests::table(language, &of, &waiting))
            }
        }
        (quota(language, &view))
        section {
            h2 { (language.pick("Máy ảo", "Machines")) " (" (view.virtual_machines) ")" }
            (machine::table(language, &of, &machines))
            (rest(language, &of, "/machines", view.virtual_machines))
        }
        section {
            h2 { (language.pick("Ổ đĩa", "Volumes")) " (" (view.volumes) ")" }
            (volume::table(language, &of, &volumes))
            (rest(language, &of, "/volumes", view.volumes))
        }
    };
    Ok(frame::page(&visit, &of.title, Some(&of), &content).into_response())
}

fn rest(language: Language, of: &Of, path: &str, count: i64) -> Markup {
    html! {
        @if usize::try_from(count).is_ok_and(|count| count > SOME) {
            p { a href=(of.path(path)) { (language.pick("Xem tất cả", "See all")) } }
        }
    }
}

/// Requests that somebody has yet to do something about.
pub async fn waiting(
    web: &Web,
    caller: &Caller,
    place: &Place,
) -> Result<Vec<Arc<ResourceRequest>>, Problem> {
    let mut waiting = Vec::new();
    for state in ["Submitted", "Approved", "Granted", "Draft"] {
        let filter = Filter {
            state: Some(state.to_owned()),
            ..Filter::default()
        };
        waiting.extend(some::<Requests>(web, caller, place, WAITING, &filter).await?);
    }
    Ok(waiting)
}

fn quota(language: Language, view: &DepartmentView) -> Markup {
    let (used, reserved) = (
        language.pick("Đã dùng", "Used"),
        language.pick("Đang chờ cấp", "Reserved"),
    );
    let (limit, free) = (
        language.pick("Hạn mức", "Limit"),
        language.pick("Còn lại", "Free"),
    );
    html! {
        section {
            h2 { (language.pick("Hạn mức", "Quota")) }
            @if view.usage.is_empty() {
                p.quiet { (language.pick("Chưa có số liệu.", "No figures yet.")) }
            } @else {
                table.cards {
                    thead { tr {
                        th scope="col" { (language.pick("Tài nguyên", "Resource")) }
                        th scope="col" { (used) }
                        th scope="col" { (reserved) }
                        th scope="col" { (limit) }
                        th scope="col" { (free) }
                        th scope="col" { span.unseen { (language.pick("Tỷ lệ", "Share")) } }
                    } }
                    tbody { @for line in &view.usage {
                        @let Usage { resource, used: holds, reserved: wants, limit: most, free: left } = line;
                        @let name = words::resource(language, resource);
                        tr {
                            th scope="row" { (name) }
                            td data-label=(used) { (holds) }
                            td data-label=(reserved) { (wants) }
                            td data-label=(limit) { (most.as_deref().unwrap_or(unlimited(language))) }
                            td data-label=(free) { (left.as_deref().unwrap_or(unlimited(language))) }
                            td { (share(&name, holds, most.as_deref())) }
                        }
                    } }
                }
            }
        }
    }
}

fn unlimited(language: Language) -> &'static str {
    language.pick("không giới hạn", "unlimited")
}

fn share(name: &str, used: &str, limit: Option<&str>) -> Markup {
    let amounts = (words::amount(used), limit.and_then(words::amount));
    html! {
        @if let (Some(used), Some(limit)) = amounts {
            @if limit > 0.0 {
                meter aria-label=(name) min="0" max="100" high="80" low="80" optimum="0"
                    value=(format!("{:.0}", (used / limit * 100.0).min(100.0))) {}
            }
        }
    }
}
