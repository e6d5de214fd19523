//! Requests: the list, and the form to ask for something.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect};
use dc_crds::ResourceRequest;
use kube::ResourceExt;
use maud::{Markup, html};

use super::super::Web;
use super::super::door::{Page, Visit};
use super::super::form::{self, Form, ONCE};
use super::super::frame::{self, Of, Tab, mark, time, token};
use super::super::wizard::{self, MACHINES, NEW_SUBNET, VOLUMES, field};
use super::super::words;
use super::{list_place, of, offers, rows, some};
use crate::door::body;
use crate::identity::code::random;
use crate::language::Language;
use crate::page::LARGEST_LIMIT;
use crate::problem::Problem;
use crate::resources::Kind;
use crate::resources::catalogue::{self, CatalogueView};
use crate::resources::requests::Requests;
use crate::resources::subnets::Subnets;
use crate::resources::systems::Systems;
use crate::rights::Verb;
use crate::serve::deed::Deed;
use crate::serve::once::{digest, once_for};
use crate::serve::read::{Filter, Nothing};
use crate::serve::{Answered, Place};

pub async fn list(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = list_place(path)?;
    let (of, _) = of(&web, &visit, &place, Tab::Requests).await?;
    let rows = rows::<Requests>(&web, &visit, &place, &uri).await?;
    let asks = offers::<Requests>(&web, &visit.caller, Verb::Create, &place).await?;
    let language = visit.language();
    let title = language.pick("Yêu cầu", "Requests");
    let content = html! {
        div.head {
            h1 { (title) }
            @if asks {
                a.button href=(of.path("/requests/new")) {
                    (language.pick("Lập yêu cầu", "Ask for something"))
                }
            }
        }
        section {
            @if rows.objects.is_empty() {
                p.quiet { (language.pick("Chưa có yêu cầu nào.", "No requests yet.")) }
            } @else {
                (table(language, &of, &rows.objects))
            }
            (rows.more(language))
        }
    };
    Ok(frame::page(&visit, title, Some(&of), &content).into_response())
}

/// Requests, one in a row: where it is, with whom, since when.
pub fn table(language: Language, of: &Of, requests: &[Arc<ResourceRequest>]) -> Markup {
    let (state, whom) = (
        language.pick("Trạng thái", "State"),
        language.pick("Đang chờ", "Waits for"),
    );
    let (since, reason) = (
        language.pick("Từ", "Since"),
        language.pick("Lý do", "Reason"),
    );
    html! {
        table.cards {
            thead { tr {
                th scope="col" { (language.pick("Yêu cầu", "Request")) }
                th scope="col" { (state) }
                th scope="col" { (whom) }
                th scope="col" { (since) }
                th scope="col" { (reason) }
            } }
            tbody { @for request in requests {
                @let view = Requests::view(request);
                @let name = &view.meta.name;
                tr {
                    th scope="row" { a href=(of.path(&format!("/requests/{name}"))) { (name) } }
                    td data-label=(state) { (mark(language, &view.state)) }
                    td data-label=(whom) { (words::waits_for(language, &view.waits_for)) }
                    td data-label=(since) {
                        @match &view.since { Some(at) => (time(language, at)), None => "–" }
                    }
                    td.long data-label=(reason) { (beginning(&view.reason)) }
                }
            } }
        }
    }
}

/// As much as fits a row.
fn beginning(text: &str) -> String {
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What the form offers to choose from.
struct Choices {
    systems: Vec<(String, String)>,
    subnets: Vec<(String, String)>,
    catalogue: CatalogueView,
}

async fn choices(web: &Web, visit: &Visit, place: &Place) -> Result<Choices, Problem> {
    let (caller, language, all) = (&visit.caller, visit.language(), Filter::default());
    let systems = some::<Systems>(web, caller, place, LARGEST_LIMIT, &all).await?;
    let systems = systems.iter().map(|system| {
        let view = Systems::view(system);
        let title = language.pick(&view.title_vi, &view.title_en);
        let label = format!("{} – {title}", view.meta.name);
        (view.meta.name, label)
    });
    let catalogue = catalogue::see(&web.app, caller).await?;
    let subnets = some::<Subnets>(web, caller, place, LARGEST_LIMIT, &all).await?;
    let there = subnets.iter().map(|subnet| {
        let name = subnet.name_any();
        let label = format!("{name} ({})", subnet.spec.zone);
        (name, label)
    });
    let new = language.pick("mạng con mới trong", "a new subnet in");
    let made = catalogue.zones.iter().map(|zone| {
        let name = &zone.name;
        (format!("{NEW_SUBNET}{name}"), format!("{new} {name}"))
    });
    Ok(Choices {
        systems: systems.collect(),
        subnets: there.chain(made).collect(),
        catalogue,
    })
}

pub async fn blank(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = list_place(path)?;
    let Nothing {} = body::query(&uri)?;
    let (of, _) = of(&web, &visit, &place, Tab::Requests).await?;
    if !offers::<Requests>(&web, &visit.caller, Verb::Create, &place).await? {
        return Err(Problem::Forbidden(Verb::Create));
    }
    let choices = choices(&web, &visit, &place).await?;
    let key = random()?;
    let page = shown(&visit, &of, &choices, &Form::default(), &key, None);
    Ok(page.into_response())
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
    let (app, caller) = (&web.app, &visit.caller);
    let deed = Deed::creation::<Requests>(app, caller, &place).await?;
    let tried = match wizard::read(visit.language(), &form) {
        Err(faults) => Err(Problem::Invalid(faults)),
        Ok(new) => {
            let at = frame::department_path(&place.department, &format!("/requests/{}", new.name));
            let asked = serde_json::to_vec(&new).map_err(|_| Problem::Internal)?;
            let asked = digest(&[b"page", place.department.as_bytes(), &asked]);
            let key = form.get(ONCE);
            once_for(app, caller, key, asked, async |mark| {
                let deed = deed.of_new::<Requests>(&new).await?;
                deed.create::<Requests>(new, mark.as_ref()).await?;
                Ok(Redirect::to(&at).into_response())
            })
            .await
        }
    };
    let problem = match tried {
        Err(problem @ (Problem::Invalid(_) | Problem::Exists | Problem::KeyReused)) => problem,
        other => return other,
    };
    let (of, _) = of(&web, &visit, &place, Tab::Requests).await?;
    let choices = choices(&web, &visit, &place).await?;
    let page = shown(&visit, &of, &choices, &form, &random()?, Some(&problem));
    Ok((problem.status(), page).into_response())
}

fn shown(
    visit: &Visit,
    of: &Of,
    choices: &Choices,
    form: &Form,
    key: &str,
    problem: Option<&Problem>,
) -> Page {
    let language = visit.language();
    let title = language.pick("Lập yêu cầu", "Ask for something");
    let sheet = Sheet {
        language,
        form,
        choices,
    };
    let content = html! {
        h1 { (title) }
        @if let Some(problem) = problem { (frame::refusal(language, problem)) }
        form.sheet method="post" action=(of.path("/requests")) data-once="" {
            (token(visit))
            input type="hidden" name=(ONCE) value=(key);
            (sheet.purpose())
            (sheet.system())
            (sheet.machines())
            (sheet.volumes())
            div.actions {
                button type="submit" name="wanted" value="Submitted" {
                    (language.pick("Gửi yêu cầu", "Submit"))
                }
                button.second type="submit" name="wanted" value="Draft" {
                    (language.pick("Lưu bản nháp", "Save as a draft"))
                }
            }
        }
    };
    frame::page(visit, title, Some(of), &content)
}

/// The parts of the form, filled with what was entered.
struct Sheet<'a> {
    language: Language,
    form: &'a Form,
    choices: &'a Choices,
}

impl Sheet<'_> {
    fn say(&self, vi: &'static str, en: &'static str) -> &'static str {
        self.language.pick(vi, en)
    }

    fn input(&self, name: &str, label: &str, kind: &str, hint: &str) -> Markup {
        html! {
            div.field {
                label for=(name) { (label) }
                input id=(name) name=(name) type=(kind) value=(self.form.get(name))
                    placeholder=[(!hint.is_empty()).then_some(hint)]
                    min=[(kind == "number").then_some("1")];
            }
        }
    }

    fn choose<'c>(
        &self,
        name: &str,
        label: &str,
        first: Option<&str>,
        options: impl Iterator<Item = (&'c str, String)>,
    ) -> Markup {
        let chosen = self.form.get(name);
        html! {
            div.field {
                label for=(name) { (label) }
                select id=(name) name=(name) {
                    @if let Some(first) = first { option value="" { (first) } }
                    @for (value, text) in options {
                        option value=(value) selected[value == chosen] { (text) }
                    }
                }
            }
        }
    }

    fn purpose(&self) -> Markup {
        html! {
            fieldset {
                legend { (self.say("Mục đích", "Purpose")) }
                (self.input("name", self.say("Tên yêu cầu (chữ thường không dấu)",
                    "Name of the request (lower-case)"), "text", "cong-dat-dai"))
                div.field.wide {
                    label for="reason" { (self.say("Lý do", "Reason")) }
                    textarea id="reason" name="reason" rows="3" maxlength="4096" {
                        (self.form.get("reason"))
                    }
                }
                div.grid {
                    (self.input("document-number", self.say("Số văn bản", "Document number"),
                        "text", "12/TTr-SNNMT"))
                    (self.input("document-date", self.say("Ngày văn bản", "Its date"), "date", ""))
                    (self.input("document-issuer", self.say("Cơ quan ban hành", "Issued by"), "text", ""))
                    (self.input("needed-by", self.say("Cần trước ngày", "Needed by"), "date", ""))
                    (self.input("lease-until", self.say("Dùng đến ngày", "To be used until"), "date", ""))
                }
            }
        }
    }

    fn system(&self) -> Markup {
        let systems = self.choices.systems.iter();
        let systems = systems.map(|(name, label)| (name.as_str(), label.clone()));
        html! {
            fieldset {
                legend { (self.say("Hệ thống thông tin", "Information system")) }
                (self.choose("system", self.say("Thuộc hệ thống", "Part of the system"),
                    Some(self.say("– hệ thống mới –", "– a new system –")), systems))
                div.grid data-when="system" {
                    (self.input("system-name", self.say("Mã hệ thống mới", "Name of the new system"), "text", "cong-dat-dai"))
                    (self.input("system-vi", self.say("Tên tiếng Việt", "Vietnamese title"), "text", ""))
                    (self.input("system-en", self.say("Tên tiếng Anh", "English title"), "text", ""))
                    (self.choose("system-level", self.say("Cấp độ an toàn", "Security level"),
                        Some(self.say("chưa xác định", "not determined")),
                        ["1", "2", "3", "4", "5"].into_iter().map(|level| (level, level.to_owned()))))
                }
            }
        }
    }

    fn machines(&self) -> Markup {
        html! {
            fieldset data-rows=(self.say("Thêm máy ảo", "Add machines")) {
                legend { (self.say("Máy ảo", "Machines")) }
                p.hint { (self.say(
                    "Ví dụ: hai máy web trong DMZ, một máy ứng dụng, một máy cơ sở dữ liệu 200 GiB. Dòng không có tên được bỏ qua.",
                    "Such as two web machines in the DMZ, one for the application, one for the database with 200 GiB. A row without a name is left out.")) }
                @for at in 0..MACHINES { (self.machine(at)) }
            }
        }
    }

    fn machine(&self, at: usize) -> Markup {
        let catalogue = &self.choices.catalogue;
        let classes = catalogue.classes.iter().map(|class| {
            let text = format!("{} ({} vCPU, {})", class.name, class.vcpus, class.memory);
            (class.name.as_str(), text)
        });
        let images = catalogue.images.iter();
        let images = images.map(|image| (image.name.as_str(), image.name.clone()));
        let subnets = self.choices.subnets.iter();
        let subnets = subnets.map(|(name, label)| (name.as_str(), label.clone()));
        let id = |what: &str| field("m", at, what);
        html! {
            div.row role="group" aria-label=(format!("{} {}", self.say("Dòng", "Row"), at + 1)) {
                (self.input(&id("name"), self.say("Tên", "Name"), "text", "web"))
                (self.input(&id("count"), self.say("Số lượng", "How many"), "number", "1"))
                (self.choose(&id("class"), self.say("Cấu hình", "Class"), None, classes))
                (self.choose(&id("image"), self.say("Hệ điều hành", "Image"), None, images))
                (self.choose(&id("subnet"), self.say("Mạng con", "Subnet"), None, subnets))
                (self.choose(&id("pool"), self.say("Vùng lưu trữ", "Pool"), None, self.pools()))
                (self.input(&id("root"), self.say("Ổ hệ thống (GiB)", "System disk (GiB)"), "number", "20"))
                (self.input(&id("data"), self.say("Ổ dữ liệu (GiB)", "Data disk (GiB)"), "number", ""))
                (self.input(&id("publish"), self.say("Công bố ra ngoài", "Published services"), "text", "http, https"))
            }
        }
    }

    fn pools(&self) -> impl Iterator<Item = (&str, String)> {
        self.choices.catalogue.pools.iter().map(|pool| {
            let text = format!("{} ({})", pool.name, pool.class);
            (pool.name.as_str(), text)
        })
    }

    fn volumes(&self) -> Markup {
        html! {
            fieldset data-rows=(self.say("Thêm ổ đĩa", "Add volumes")) {
                legend { (self.say("Ổ đĩa riêng", "Volumes of their own")) }
                @for at in 0..VOLUMES {
                    div.row role="group" aria-label=(format!("{} {}", self.say("Dòng", "Row"), at + 1)) {
                        (self.input(&field("v", at, "name"), self.say("Tên", "Name"), "text", ""))
                        (self.input(&field("v", at, "size"), self.say("Dung lượng (GiB)", "Size (GiB)"), "number", ""))
                        (self.choose(&field("v", at, "pool"), self.say("Vùng lưu trữ", "Pool"), None, self.pools()))
                    }
                }
            }
        }
    }
}
