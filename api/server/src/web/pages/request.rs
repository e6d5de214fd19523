//! One request: where it is, with whom, since when and why; its content; what may be done with it.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect};
use maud::{Markup, html};
use serde_json::Value;

use super::super::Web;
use super::super::door::Visit;
use super::super::form;
use super::super::frame::{self, Of, Tab, mark, time, token};
use super::super::words;
use super::{object_place, of, offers, why};
use crate::door::body;
use crate::etag::Condition;
use crate::language::Language;
use crate::problem::{Fault, Problem};
use crate::resources::Kind;
use crate::resources::approvals::{Approvals, DecisionRole, NewApproval, Verdict};
use crate::resources::requests::{
    RequestView, Requests, ResourceRequestChange, Step, Wanted, Wish, WishKind,
};
use crate::rights::Verb;
use crate::serve::deed::Deed;
use crate::serve::read::{Nothing, get};
use crate::serve::{Answered, Place};

pub async fn page(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = object_place(path)?;
    let Nothing {} = body::query(&uri)?;
    let request = get::<Requests>(&web.app, &visit.caller, &place).await?;
    let (of, _) = of(&web, &visit, &place, Tab::Requests).await?;
    let view = Requests::view(&request);
    let writes = offers::<Requests>(&web, &visit.caller, Verb::Patch, &place).await?;
    let role = role(&web, &visit, &place, &view).await?;
    let language = visit.language();
    let content = html! {
        div.live {
            div.head { h1 { (view.meta.name) } (mark(language, &view.state)) }
            (standing(language, &view))
            // While it waits for somebody, that says it all.
            @if !matches!(view.state.as_str(), "Submitted" | "Approved") {
                (why(language, &view.meta.ready))
            }
        }
        @if let Some(role) = role { (answers(&visit, &of, &view, role)) }
        @if writes { (wishes(&visit, &of, &view)) }
        (facts(language, &view))
        (objects(language, &view.objects))
        (changes(language, &view.changes))
        div.live { (history(language, &view.history)) }
    };
    Ok(frame::page(&visit, &view.meta.name, Some(&of), &content).into_response())
}

/// As whom the visitor may answer it now.
async fn role(
    web: &Web,
    visit: &Visit,
    place: &Place,
    view: &RequestView,
) -> Result<Option<DecisionRole>, Problem> {
    let role = match view.state.as_str() {
        "Submitted" => DecisionRole::Leader,
        "Approved" => DecisionRole::Centre,
        _ => return Ok(None),
    };
    let may = offers::<Requests>(web, &visit.caller, role.verb(), place).await?;
    Ok(may.then_some(role))
}

fn standing(language: Language, view: &RequestView) -> Markup {
    html! {
        @if !view.waits_for.is_empty() {
            p.standing {
                (language.pick("Đang chờ ", "Waiting for "))
                strong { (words::waits_for(language, &view.waits_for)) }
                @if let Some(since) = &view.since {
                    (language.pick(" từ ", " since ")) (time(language, since))
                }
                "."
            }
        }
    }
}

/// The answer, or why the visitor cannot give it. What was read goes with it: it counts for nothing
/// else.
fn answers(visit: &Visit, of: &Of, view: &RequestView, role: DecisionRole) -> Markup {
    let language = visit.language();
    let at = of.path(&format!("/requests/{}/answer", view.meta.name));
    let named = match role {
        DecisionRole::Leader => "Leader",
        DecisionRole::Centre => "Centre",
    };
    html! {
        section.decision aria-labelledby="decision" {
            h2 #decision { (language.pick("Trả lời của bạn", "Your answer")) }
            @if view.authors.contains(&visit.caller.person.user) {
                p { (language.pick(
                    "Bạn đã soạn hoặc sửa yêu cầu này; không ai tự duyệt yêu cầu của mình.",
                    "You wrote in this request; nobody answers his own request.")) }
            } @else if view.hash.is_empty() {
                p { (language.pick("Hệ thống đang đọc yêu cầu.", "The system is reading the request.")) }
            } @else {
                form method="post" action=(at) data-once="" {
                    (token(visit))
                    input type="hidden" name="uid" value=(view.meta.uid);
                    input type="hidden" name="hash" value=(view.hash);
                    input type="hidden" name="role" value=(named);
                    p { (language.pick("Với vai trò: ", "As: ")) (words::role(language, named)) }
                    label for="why" { (language.pick("Ý kiến, lý do", "Remarks, reason")) }
                    textarea #why name="reason" rows="3" maxlength="4096" {}
                    div.actions {
                        button type="submit" name="verdict" value="Approve" {
                            (language.pick("Duyệt", "Approve"))
                        }
                        button.danger type="submit" name="verdict" value="Reject" {
                            (language.pick("Từ chối", "Reject"))
                        }
                    }
                }
            }
        }
    }
}

/// What its authors may still want of it.
fn wishes(visit: &Visit, of: &Of, view: &RequestView) -> Markup {
    let language = visit.language();
    let submit = language.pick("Gửi", "Submit");
    let back = language.pick("Lấy lại để sửa", "Take back to draft");
    let withdraw = language.pick("Rút yêu cầu", "Withdraw");
    let offered: &[(&str, &str)] = match view.state.as_str() {
        "Draft" if view.wanted == Wanted::Draft => {
            &[("Submitted", submit), ("Withdrawn", withdraw)]
        }
        "Draft" => &[("Withdrawn", withdraw)],
        "Submitted" => &[("Draft", back), ("Withdrawn", withdraw)],
        "Approved" => &[("Withdrawn", withdraw)],
        _ => &[],
    };
    let at = of.path(&format!("/requests/{}/wanted", view.meta.name));
    html! {
        @if !offered.is_empty() {
            form.actions method="post" action=(at) data-once="" {
                (token(visit))
                input type="hidden" name="etag" value=(view.meta.etag);
                @for (wanted, label) in offered {
                    button class=[(*wanted != "Submitted").then_some("second")]
                        type="submit" name="wanted" value=(wanted) { (label) }
                }
            }
        }
    }
}

fn facts(language: Language, view: &RequestView) -> Markup {
    html! {
        dl.facts {
            dt { (language.pick("Lý do", "Reason")) } dd.long { (view.reason) }
            @if let Some(document) = &view.document {
                dt { (language.pick("Văn bản", "Document")) }
                dd { (document.number) ", " (words::day(&document.date)) ", " (document.issuer) }
            }
            @if let Some(day) = &view.needed_by {
                dt { (language.pick("Cần trước ngày", "Needed by")) } dd { (words::day(day)) }
            }
            @if let Some(at) = &view.lease_until {
                dt { (language.pick("Thời hạn đến", "Lease until")) } dd { (time(language, at)) }
            }
            dt { (language.pick("Người soạn", "Authors")) } dd { (view.authors.join(", ")) }
            @if !view.needs.is_empty() {
                dt { (language.pick("Cần duyệt bởi", "Needs the approval of")) }
                dd { @for (at, role) in view.needs.iter().enumerate() {
                    @if at > 0 { ", " }
                    (words::role(language, match role {
                        DecisionRole::Leader => "Leader",
                        DecisionRole::Centre => "Centre",
                    }))
                } }
            }
        }
    }
}

fn objects(language: Language, objects: &[Wish]) -> Markup {
    let (name, content) = (
        language.pick("Tên", "Name"),
        language.pick("Nội dung", "Content"),
    );
    html! {
        section {
            h2 { (language.pick("Nội dung yêu cầu", "What is asked for")) }
            table.cards {
                thead { tr {
                    th scope="col" { (name) }
                    th scope="col" { (language.pick("Loại", "Kind")) }
                    th scope="col" { (content) }
                } }
                tbody { @for one in objects {
                    tr {
                        th scope="row" { (one.name) }
                        td data-label=(language.pick("Loại", "Kind")) {
                            (words::kind(language, kind_name(one.kind)))
                        }
                        td data-label=(content) {
                            (short(language, one))
                            details {
                                summary { (language.pick("Toàn văn", "In full")) }
                                pre { (serde_json::to_string_pretty(&one.spec).unwrap_or_default()) }
                            }
                        }
                    }
                } }
            }
        }
    }
}

fn kind_name(kind: WishKind) -> &'static str {
    match kind {
        WishKind::InformationSystem => "InformationSystem",
        WishKind::Subnet => "Subnet",
        WishKind::Volume => "Volume",
        WishKind::VirtualMachine => "VirtualMachine",
    }
}

/// What of it people look for first.
fn short(language: Language, wish: &Wish) -> String {
    let spec = &wish.spec;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("?").to_owned();
    match wish.kind {
        WishKind::InformationSystem => {
            let title = spec.get("displayName");
            let title = title.and_then(|title| title.get(language.tag()));
            text(title)
        }
        WishKind::Subnet => text(spec.get("zone")),
        WishKind::Volume => format!("{}, {}", text(spec.get("size")), text(spec.get("pool"))),
        WishKind::VirtualMachine => {
            let list = |name: &str| spec.get(name).and_then(Value::as_array).cloned();
            let disks = list("disks").unwrap_or_default();
            let sizes = disks.iter().filter_map(|disk| {
                let size = disk.get("template")?.get("size")?;
                size.as_str().map(str::to_owned)
            });
            let cards = list("interfaces").unwrap_or_default();
            let subnets = cards.iter().map(|card| text(card.get("subnet")));
            let parts = std::iter::once(text(spec.get("class")));
            let parts: Vec<String> = parts.chain(sizes).chain(subnets).collect();
            parts.join(", ")
        }
    }
}

fn changes(language: Language, changes: &[String]) -> Markup {
    html! {
        @if !changes.is_empty() {
            section {
                h2 { (language.pick("Thay đổi so với hiện tại", "What would be otherwise than it is")) }
                ul.plain.changes { @for line in changes { li { (line) } } }
            }
        }
    }
}

fn history(language: Language, history: &[Step]) -> Markup {
    html! {
        section {
            h2 { (language.pick("Quá trình", "History")) }
            @if history.is_empty() {
                p.quiet { (language.pick("Chưa có bước nào.", "No steps yet.")) }
            } @else {
                ol.history { @for step in history { li {
                    (mark(language, &step.state)) " "
                    (time(language, &step.at)) ", " (step.by)
                    @if !step.why.is_empty() { p.long { (step.why) } }
                } } }
            }
        }
    }
}

/// Back to the page of the request.
fn back(place: &Place) -> Redirect {
    let name = place.name.as_deref().unwrap_or_default();
    let path = frame::department_path(&place.department, &format!("/requests/{name}"));
    Redirect::to(&path)
}

pub async fn wanted(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let place = object_place(path)?;
    let form = form::read(&web, &visit, &headers, body).await?;
    let wanted = match form.get("wanted") {
        "Draft" => Wanted::Draft,
        "Submitted" => Wanted::Submitted,
        "Withdrawn" => Wanted::Withdrawn,
        _ => {
            let fault = Fault::new("wanted", "Draft, Submitted or Withdrawn");
            return Err(Problem::Invalid(vec![fault]));
        }
    };
    let change = ResourceRequestChange {
        wanted: Some(wanted),
        ..ResourceRequestChange::default()
    };
    // What is handed in is what was seen; to withdraw it, it need not be.
    let condition = match wanted {
        Wanted::Submitted => Condition::if_match(Some(form.get("etag")))?,
        Wanted::Draft | Wanted::Withdrawn => None,
    };
    let deed = Deed::change::<Requests>(&web.app, &visit.caller, &place).await?;
    let deed = deed.of_change::<Requests>(change).await?;
    deed.patch::<Requests>(condition).await?;
    Ok(back(&place).into_response())
}

pub async fn answer(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let place = object_place(path)?;
    let form = form::read(&web, &visit, &headers, body).await?;
    let wrong = |field: &str| Problem::Invalid(vec![Fault::new(field, "take it from the page")]);
    let new = NewApproval {
        request: place.name.clone().unwrap_or_default(),
        request_uid: form.get("uid").to_owned(),
        hash: form.get("hash").to_owned(),
        role: match form.get("role") {
            "Leader" => DecisionRole::Leader,
            "Centre" => DecisionRole::Centre,
            _ => return Err(wrong("role")),
        },
        verdict: match form.get("verdict") {
            "Approve" => Verdict::Approve,
            "Reject" => Verdict::Reject,
            _ => return Err(wrong("verdict")),
        },
        reason: form.get("reason").to_owned(),
    };
    let list = Place::list(place.department.clone())?;
    let deed = Deed::creation::<Approvals>(&web.app, &visit.caller, &list).await?;
    let deed = deed.of_new::<Approvals>(&new).await?;
    match deed.create::<Approvals>(new, None).await {
        // It was given: the form was sent twice.
        Ok(_) | Err(Problem::Exists) => Ok(back(&place).into_response()),
        Err(other) => Err(other),
    }
}
