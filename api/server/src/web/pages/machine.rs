//! Machines: the list, and one of them with its state, addresses and conditions, and its power.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect};
use dc_crds::{Condition, ConditionStatus, VirtualMachine};
use maud::{Markup, html};

use super::super::Web;
use super::super::door::{Page, Visit};
use super::super::form::{self, ONCE};
use super::super::frame::{self, Of, Tab, mark, marked, time, token};
use super::super::words::{self, Tone};
use super::{Refused, list_place, object_place, of, offers, rows, snapshot, why};
use crate::door::body;
use crate::identity::code::random;
use crate::language::Language;
use crate::problem::{Fault, Problem};
use crate::resources::Kind;
use crate::resources::machines::{
    InterfaceView, MachineView, Machines, Power, VirtualMachineChange,
};
use crate::resources::snapshots::Snapshots;
use crate::resources::view::Phase;
use crate::rights::Verb;
use crate::serve::deed::Deed;
use crate::serve::read::{Nothing, get};
use crate::serve::{Answered, Place};

pub async fn list(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = list_place(path)?;
    let (of, _) = of(&web, &visit, &place, Tab::Machines).await?;
    let rows = rows::<Machines>(&web, &visit, &place, &uri).await?;
    let language = visit.language();
    let title = language.pick("Máy ảo", "Machines");
    let content = html! {
        h1 { (title) }
        section {
            (table(language, &of, &rows.objects))
            (rows.more(language))
        }
    };
    Ok(frame::page(&visit, title, Some(&of), &content).into_response())
}

/// Machines, one in a row.
pub fn table(language: Language, of: &Of, machines: &[Arc<VirtualMachine>]) -> Markup {
    let (state, system) = (
        language.pick("Trạng thái", "State"),
        language.pick("Hệ thống", "System"),
    );
    let (class, addresses) = (
        language.pick("Cấu hình", "Class"),
        language.pick("Địa chỉ", "Addresses"),
    );
    html! {
        @if machines.is_empty() {
            p.quiet { (language.pick("Chưa có máy ảo.", "No machines yet.")) }
        } @else {
            table.cards {
                thead { tr {
                    th scope="col" { (language.pick("Máy ảo", "Machine")) }
                    th scope="col" { (state) }
                    th scope="col" { (system) }
                    th scope="col" { (class) }
                    th scope="col" { (addresses) }
                } }
                tbody { @for machine in machines {
                    @let view = Machines::view(machine);
                    @let name = &view.meta.name;
                    tr {
                        th scope="row" { a href=(of.path(&format!("/machines/{name}"))) { (name) } }
                        td data-label=(state) { (standing(language, &view)) }
                        td data-label=(system) { (view.system) }
                        td data-label=(class) { (view.class) }
                        td data-label=(addresses) { (address_text(&view.interfaces)) }
                    }
                } }
            }
        }
    }
}

fn standing(language: Language, view: &MachineView) -> Markup {
    match view.meta.phase {
        Phase::Deleting => marked(Tone::Moving, language.pick("Đang xóa", "Being deleted")),
        Phase::Present => mark(language, &view.state),
    }
}

fn address_text(interfaces: &[InterfaceView]) -> String {
    let addresses = interfaces.iter().filter_map(|one| one.ipv4.as_deref());
    let addresses: Vec<&str> = addresses.collect();
    match addresses.is_empty() {
        true => "–".to_owned(),
        false => addresses.join(", "),
    }
}

pub async fn page(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = object_place(path)?;
    let Nothing {} = body::query(&uri)?;
    Ok(shown(&web, &visit, &place, None).await?.into_response())
}

pub async fn shown(
    web: &Web,
    visit: &Visit,
    place: &Place,
    refused: Option<&Refused<'_>>,
) -> Result<Page, Problem> {
    let caller = &visit.caller;
    let machine = get::<Machines>(&web.app, caller, place).await?;
    let (of, _) = of(web, visit, place, Tab::Machines).await?;
    let changes = offers::<Machines>(web, caller, Verb::Patch, place).await?;
    let here = Place::list(place.department.clone())?;
    let takes = offers::<Snapshots>(web, caller, Verb::Create, &here).await?;
    let language = visit.language();
    let view = Machines::view(&machine);
    let conditions = machine.status.as_ref().map(|status| &status.conditions);
    let at = of.path(&format!("/machines/{}", view.meta.name));
    let hint = language.pick(
        "Mọi ổ đĩa của máy ở cùng một thời điểm. Máy dừng ghi trong chốc lát rồi chạy tiếp.",
        "All its disks at one instant. The machine writes nothing for a moment and goes on.",
    );
    let content = html! {
        @if let Some(refused) = refused { (frame::refusal(language, refused.problem)) }
        div.live {
            div.head { h1 { (view.meta.name) } (standing(language, &view)) }
            (why(language, &view.meta.ready))
        }
        @if changes && view.meta.phase == Phase::Present {
            (buttons(visit, &of, &view, &random()?))
        }
        div.live {
            (facts(language, &view))
            (interfaces(language, &view))
            (disks(language, &of, &view))
        }
        section {
            h2 { (language.pick("Sao lưu", "Backups")) }
            p { a href=(of.path(&format!("/backups?machine={}", view.meta.name))) {
                (language.pick("Các bản sao lưu của máy này", "Backups of this machine"))
            } }
        }
        @if takes && view.meta.phase == Phase::Present {
            (snapshot::take_form(visit, &at, hint, refused)?)
        }
        div.live {
            (conditions_table(language, conditions.map_or(&[], Vec::as_slice)))
        }
    };
    Ok(frame::page(visit, &view.meta.name, Some(&of), &content))
}

/// Start, stop and restart, as far as each makes sense now. `once` is new for each page: a restart
/// that is sent twice from one page is one.
fn buttons(visit: &Visit, of: &Of, view: &MachineView, once: &str) -> Markup {
    let language = visit.language();
    let at = of.path(&format!("/machines/{}/power", view.meta.name));
    html! {
        form.actions method="post" action=(at) data-once="" {
            (token(visit))
            input type="hidden" name=(ONCE) value=(once);
            @match view.power {
                Power::Stopped => {
                    button type="submit" name="to" value="start" { (language.pick("Khởi động", "Start")) }
                }
                Power::Running => {
                    button type="submit" name="to" value="stop" { (language.pick("Dừng", "Stop")) }
                    button type="submit" name="to" value="restart" {
                        (language.pick("Khởi động lại", "Restart"))
                    }
                }
            }
        }
    }
}

fn facts(language: Language, view: &MachineView) -> Markup {
    let wanted = match view.power {
        Power::Running => language.pick("chạy", "running"),
        Power::Stopped => language.pick("dừng", "stopped"),
    };
    html! {
        dl.facts {
            dt { (language.pick("Hệ thống", "System")) } dd { (view.system) }
            dt { (language.pick("Cấu hình", "Class")) } dd { (view.class) }
            dt { (language.pick("Mong muốn", "Wanted")) } dd { (wanted) }
            @if let Some(at) = &view.started_at {
                dt { (language.pick("Chạy từ", "Running since")) } dd { (time(language, at)) }
            }
            @if let Some(at) = &view.lease_until {
                dt { (language.pick("Thời hạn đến", "Lease until")) } dd { (time(language, at)) }
            }
            @if let Some(at) = &view.meta.created {
                dt { (language.pick("Tạo lúc", "Made")) } dd { (time(language, at)) }
            }
        }
    }
}

fn interfaces(language: Language, view: &MachineView) -> Markup {
    let (subnet, published) = (
        language.pick("Mạng con", "Subnet"),
        language.pick("Công bố ra ngoài", "Published"),
    );
    html! {
        section {
            h2 { (language.pick("Địa chỉ", "Addresses")) }
            table.cards {
                thead { tr {
                    th scope="col" { (subnet) }
                    th scope="col" { "IPv4" } th scope="col" { "IPv6" } th scope="col" { "MAC" }
                    th scope="col" { (published) }
                } }
                tbody { @for one in &view.interfaces { tr {
                    th scope="row" { (one.subnet) }
                    td data-label="IPv4" { (one.ipv4.as_deref().unwrap_or("–")) }
                    td data-label="IPv6" { (one.ipv6.as_deref().unwrap_or("–")) }
                    td data-label="MAC" { (one.mac.as_deref().unwrap_or("–")) }
                    td data-label=(published) {
                        @if one.publish.is_empty() { "–" } @else { (one.publish.join(", ")) }
                    }
                } } }
            }
        }
    }
}

fn disks(language: Language, of: &Of, view: &MachineView) -> Markup {
    html! {
        section {
            h2 { (language.pick("Ổ đĩa", "Disks")) }
            ul.plain { @for disk in &view.disks { li {
                (disk.name) ": "
                a href=(of.path(&format!("/volumes/{}", disk.volume))) { (disk.volume) }
            } } }
        }
    }
}

/// Every condition, as the operator judged it.
pub fn conditions_table(language: Language, conditions: &[Condition]) -> Markup {
    let (about, stands) = (
        language.pick("Điều kiện", "Condition"),
        language.pick("Hiện tại", "Now"),
    );
    let (why, since) = (language.pick("Vì sao", "Why"), language.pick("Từ", "Since"));
    html! {
        section {
            h2 { (language.pick("Tình trạng chi tiết", "In detail")) }
            @if conditions.is_empty() {
                p.quiet { (language.pick("Chưa được xem xét.", "Not judged yet.")) }
            } @else {
                table.cards {
                    thead { tr {
                        th scope="col" { (about) } th scope="col" { (stands) }
                        th scope="col" { (why) } th scope="col" { (since) }
                    } }
                    tbody { @for one in conditions { tr {
                        th scope="row" { (words::condition(language, &one.type_)) }
                        td data-label=(stands) { (stand(language, one)) }
                        td data-label=(why) { (words::message(language, &one.message)) }
                        td data-label=(since) { (time(language, &one.last_transition_time)) }
                    } } }
                }
            }
        }
    }
}

fn stand(language: Language, condition: &Condition) -> Markup {
    // Of most conditions True is good; of a restart that is needed it is a hint.
    let tone = match (condition.status, condition.type_.as_str()) {
        (ConditionStatus::True, "RestartNeeded") => Tone::Moving,
        (ConditionStatus::False, "RestartNeeded") => Tone::Quiet,
        (ConditionStatus::False, "Usual") => Tone::Bad,
        (ConditionStatus::False, "Kept") => Tone::Quiet,
        (ConditionStatus::True, _) => Tone::Good,
        (ConditionStatus::False, _) => Tone::Moving,
        (ConditionStatus::Unknown, _) => Tone::Quiet,
    };
    let word = match condition.status {
        ConditionStatus::True => language.pick("Đúng", "True"),
        ConditionStatus::False if ["Usual", "Kept"].contains(&condition.type_.as_str()) => {
            language.pick("Không", "No")
        }
        ConditionStatus::False => language.pick("Chưa", "Not yet"),
        ConditionStatus::Unknown => language.pick("Không rõ", "Unknown"),
    };
    marked(tone, word)
}

pub async fn power(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let place: Place = object_place(path)?;
    let form = form::read(&web, &visit, &headers, body).await?;
    let change = match form.get("to") {
        "start" => VirtualMachineChange {
            power: Some(Power::Running),
            ..VirtualMachineChange::default()
        },
        "stop" => VirtualMachineChange {
            power: Some(Power::Stopped),
            ..VirtualMachineChange::default()
        },
        "restart" => VirtualMachineChange {
            restart: Some(form.get(ONCE).to_owned()),
            ..VirtualMachineChange::default()
        },
        _ => {
            let fault = Fault::new("to", "start, stop or restart");
            return Err(Problem::Invalid(vec![fault]));
        }
    };
    let deed = Deed::change::<Machines>(&web.app, &visit.caller, &place).await?;
    let deed = deed.of_change::<Machines>(change).await?;
    deed.patch::<Machines>(None).await?;
    let name = place.name.as_deref().unwrap_or_default();
    let back = frame::department_path(&place.department, &format!("/machines/{name}"));
    Ok(Redirect::to(&back).into_response())
}
