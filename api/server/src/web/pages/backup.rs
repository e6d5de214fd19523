//! One backup: whether it was shown to come back, what is in it, and the forms that restore a volume of
//! it, beside or over one that is there, and the whole machine.

mod orders;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect};
use kube::ResourceExt;
use maud::{Markup, html};

use super::super::Web;
use super::super::door::{Page, Visit};
use super::super::form::{self, Form, ONCE};
use super::super::frame::{self, Of, Tab, time, token};
use super::super::wizard::name_fault;
use super::super::words;
use super::{Refused, backups, machine, object_place, of, offers, snapshot, some, why};
use crate::door::body;
use crate::identity::code::random;
use crate::language::Language;
use crate::page::LARGEST_LIMIT;
use crate::problem::{Fault, Problem};
use crate::resources::Kind;
use crate::resources::backups::{BackupView, Backups};
use crate::resources::catalogue;
use crate::resources::machine_restores::MachineRestores;
use crate::resources::restores::{NewRestore, NewRestoredVolume, RestoreTo, Restores};
use crate::resources::systems::Systems;
use crate::resources::view::{Phase, Verdict};
use crate::resources::volumes::ReclaimRule;
use crate::rights::Verb;
use crate::serve::deed::Deed;
use crate::serve::once::{digest, once_for};
use crate::serve::read::{Filter, Nothing, get};
use crate::serve::{Answered, Place};
pub use orders::{machine as order_machine, over};

/// The fields of a restore: which volume, what the new one is called, where it is, and whether it is
/// read back.
const VOLUME: &str = "volume";
const NAME: &str = "name";
const SYSTEM: &str = "system";
const POOL: &str = "pool";
const VERIFY: &str = "verify";

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

async fn shown(
    web: &Web,
    visit: &Visit,
    place: &Place,
    refused: Option<&Refused<'_>>,
) -> Result<Page, Problem> {
    let caller = &visit.caller;
    let backup = get::<Backups>(&web.app, caller, place).await?;
    let (of, _) = of(web, visit, place, Tab::Backups).await?;
    let language = visit.language();
    let view = Backups::view(&backup);
    let conditions = backup.status.as_ref().map(|status| &status.conditions);
    let here = Place::list(place.department.clone())?;
    let restorable = view.snapshot_id.is_some() && view.meta.phase == Phase::Present;
    let restores = restorable && offers::<Restores>(web, caller, Verb::Create, &here).await?;
    let rebuilds =
        restorable && offers::<MachineRestores>(web, caller, Verb::Create, &here).await?;
    let choices = match restores || rebuilds {
        true => Choices::read(web, visit, &of).await?,
        false => Choices::default(),
    };
    let forms = html! {
        @if restores {
            (restore_form(visit, &of, &view, &choices, refused)?)
            (orders::over_form(visit, &of, &view, refused)?)
        }
        @if rebuilds { (orders::machine_form(visit, &of, &view, &choices.pools, refused)?) }
    };
    let content = html! {
        @if let Some(refused) = refused { (frame::refusal(language, refused.problem)) }
        div.live {
            div.head { h1 { (view.meta.name) } (backups::standing(language, &view)) }
            (why(language, &view.meta.ready))
            @if let (true, Some(usual)) = (backups::is_unusual(&view), &view.usual) {
                div.refusal role="alert" {
                    h2 { (language.pick("Bất thường, hãy kiểm tra máy ảo", "Unusual: look into the machine")) }
                    p { (words::message(language, &usual.message)) }
                }
            }
            (facts(language, &of, &view))
            (evidence(language, &of, &view))
            (volumes(language, &view))
        }
        (forms)
        div.live {
            (machine::conditions_table(language, conditions.map_or(&[], Vec::as_slice)))
        }
    };
    Ok(frame::page(visit, &view.meta.name, Some(&of), &content))
}

fn facts(language: Language, of: &Of, view: &BackupView) -> Markup {
    let reached = view.consistency.map(|one| snapshot::reached(language, one));
    let list = of.path(&format!("/backups?machine={}", view.virtual_machine));
    let amounts = [
        (&view.size, "Dung lượng", "Size"),
        (&view.read, "Đã đọc", "Read"),
        (&view.added, "Thêm vào kho", "Added to the repository"),
    ];
    html! {
        dl.facts {
            dt { (language.pick("Của máy ảo", "Of the machine")) }
            dd { a href=(list) { (view.virtual_machine) } }
            dt { (language.pick("Thời điểm của dữ liệu", "The moment that it is of")) }
            dd { @match &view.taken_at { Some(at) => (time(language, at)), None => "–" } }
            dt { (language.pick("Dữ liệu khi chụp", "What its data is like")) }
            dd { (reached.unwrap_or("–")) }
            @if let Some(text) = &view.progress {
                dt { (language.pick("Tiến độ", "Progress")) } dd { (words::progress(language, text)) }
            }
            @for (amount, vi, en) in amounts {
                @if let Some(amount) = amount {
                    dt { (language.pick(vi, en)) } dd { (amount) }
                }
            }
            dt { (language.pick("Kho sao lưu", "Repository")) } dd { (view.repository) }
            dt { (language.pick("Chính sách", "Policy")) }
            dd { (view.policy.as_deref().unwrap_or(language.pick("không, do người dùng tạo", "none: a person made it"))) }
            @if let Some(kept) = &view.kept {
                dt { (language.pick("Thời hạn giữ", "How long it is kept")) }
                dd { (words::message(language, &kept.message)) }
            }
            @if let Some(at) = &view.ended_at {
                dt { (language.pick("Xong lúc", "Whole at")) } dd { (time(language, at)) }
            }
        }
    }
}

/// Whether it was shown to come back, by what, and why not.
fn evidence(language: Language, of: &Of, view: &BackupView) -> Markup {
    let told = &view.proven;
    let proof = match told.status {
        Verdict::True => &told.by,
        Verdict::False | Verdict::Unknown => &told.failed,
    };
    html! {
        @if view.snapshot_id.is_some() {
            section {
                h2 { (language.pick("Khôi phục được không?", "Does it come back?")) }
                p { (backups::proven(language, view)) }
                p { (words::message(language, &told.message)) }
                @if let Some(proof) = proof {
                    p { a href=(of.path(&format!("/proofs/{proof}"))) {
                        (language.pick("Xem bằng chứng", "See the evidence"))
                    } }
                }
            }
        }
    }
}

fn volumes(language: Language, view: &BackupView) -> Markup {
    let (size, how) = (
        language.pick("Dung lượng", "Size"),
        language.pick("Cách đọc", "How it was read"),
    );
    html! {
        @if !view.volumes.is_empty() {
            section {
                h2 { (language.pick("Các ổ đĩa trong bản này", "Volumes in it")) }
                table.cards {
                    thead { tr {
                        th scope="col" { (language.pick("Ổ đĩa", "Volume")) }
                        th scope="col" { (size) } th scope="col" { (how) }
                    } }
                    tbody { @for one in &view.volumes { tr {
                        th scope="row" { (one.volume) }
                        td data-label=(size) { (one.size) }
                        td data-label=(how) {
                            @if one.incremental {
                                (language.pick("chỉ phần thay đổi", "only what had changed"))
                            } @else {
                                (language.pick("toàn bộ", "all of it"))
                                @if let Some(why) = &one.why_full { ": " (words::message(language, why)) }
                            }
                        }
                    } } }
                }
            }
        }
    }
}

/// What may be chosen for what is new.
#[derive(Default)]
struct Choices {
    systems: Vec<String>,
    pools: Vec<String>,
}

impl Choices {
    async fn read(web: &Web, visit: &Visit, of: &Of) -> Result<Self, Problem> {
        let place = Place::list(of.name.clone())?;
        let all = Filter::default();
        let systems = some::<Systems>(web, &visit.caller, &place, LARGEST_LIMIT, &all).await?;
        let offered = catalogue::see(&web.app, &visit.caller).await?;
        Ok(Self {
            systems: systems.iter().map(|system| system.name_any()).collect(),
            pools: offered.pools.into_iter().map(|pool| pool.name).collect(),
        })
    }
}

fn restore_form(
    visit: &Visit,
    of: &Of,
    view: &BackupView,
    choices: &Choices,
    refused: Option<&Refused<'_>>,
) -> Result<Markup, Problem> {
    let language = visit.language();
    let Choices { systems, pools } = choices;
    let at = of.path(&format!("/backups/{}/restores", view.meta.name));
    let entered = |field| refused.map(|refused| refused.form.get(field).to_owned());
    let first = view.volumes.first().map(|one| one.volume.as_str());
    let name = entered(NAME)
        .unwrap_or_else(|| words::named_now(first.unwrap_or("restored"), jiff::Timestamp::now()));
    let verify = refused.is_none_or(|refused| !refused.form.get(VERIFY).is_empty());
    let once = random()?;
    let volumes: Vec<String> = view.volumes.iter().map(|one| one.volume.clone()).collect();
    let choice = |field: &'static str, title: &str, offered: &[String]| {
        let chosen = entered(field);
        html! {
            div.field {
                label for=(field) { (title) }
                select id=(field) name=(field) {
                    @for one in offered {
                        option value=(one) selected[chosen.as_ref() == Some(one)] { (one) }
                    }
                }
            }
        }
    };
    Ok(html! {
        section {
            h2 { (language.pick("Khôi phục ổ đĩa", "Restore a volume")) }
            p.hint { (language.pick(
                "Ghi vào một ổ đĩa mới, bên cạnh ổ đĩa đang dùng; tính vào hạn mức. Máy ảo chỉ dùng được khi đã ghi xong toàn bộ.",
                "It is written into a new volume, beside the one in use, and counts in the quota. No machine gets it before all of it is written.")) }
            form.narrow method="post" action=(at) data-once="" {
                (token(visit))
                input type="hidden" name=(ONCE) value=(once);
                (choice(VOLUME, language.pick("Ổ đĩa trong bản sao lưu", "Volume of the backup"), &volumes))
                div.field {
                    label for=(NAME) { (language.pick("Tên ổ đĩa mới", "Name of the new volume")) }
                    input id=(NAME) name=(NAME) type="text" maxlength="63" required value=(name);
                }
                (choice(SYSTEM, language.pick("Thuộc hệ thống", "System"), systems))
                (choice(POOL, language.pick("Vùng lưu trữ", "Pool"), pools))
                div.field.check {
                    input id=(VERIFY) name=(VERIFY) type="checkbox" value="yes" checked[verify];
                    label for=(VERIFY) { (language.pick(
                        "Đọc lại và đối chiếu từng khối sau khi ghi",
                        "Read it back and compare each block when it is written")) }
                }
                button type="submit" { (language.pick("Khôi phục", "Restore")) }
            }
        }
    })
}

pub async fn restore(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let place = object_place(path)?;
    let form = form::read(&web, &visit, &headers, body).await?;
    match order(&web, &visit, &place, &form).await {
        Err(problem) if problem.is_of_form() => {
            let refused = Refused {
                problem: &problem,
                form: &form,
            };
            let page = shown(&web, &visit, &place, Some(&refused)).await?;
            Ok((problem.status(), page).into_response())
        }
        other => other,
    }
}

async fn order(web: &Web, visit: &Visit, place: &Place, form: &Form) -> Answered {
    let (app, caller) = (&web.app, &visit.caller);
    let list = Place::list(place.department.clone())?;
    let deed = Deed::creation::<Restores>(app, caller, &list).await?;
    let new = read(visit.language(), place, form)?;
    let at = frame::department_path(&place.department, &format!("/restores/{}", new.name));
    let asked = serde_json::to_vec(&new).map_err(|_| Problem::Internal)?;
    let asked = digest(&[b"restore", place.department.as_bytes(), &asked]);
    once_for(app, caller, form.get(ONCE), asked, async |mark| {
        let deed = deed.of_new::<Restores>(&new).await?;
        deed.create::<Restores>(new, mark.as_ref()).await?;
        Ok(Redirect::to(&at).into_response())
    })
    .await
}

/// What is asked for, or all that is wrong with it. The order is called as the volume that it makes.
fn read(language: Language, place: &Place, form: &Form) -> Result<NewRestore, Problem> {
    let fields = [
        (VOLUME, ("Ổ đĩa trong bản sao lưu", "Volume of the backup")),
        (NAME, ("Tên ổ đĩa mới", "Name of the new volume")),
        (SYSTEM, ("Thuộc hệ thống", "System")),
        (POOL, ("Vùng lưu trữ", "Pool")),
    ];
    let faults = fields
        .into_iter()
        .filter_map(|(field, title)| name_fault(language, form.get(field), title));
    let faults: Vec<Fault> = faults.collect();
    if !faults.is_empty() {
        return Err(Problem::Invalid(faults));
    }
    let entered = |field| form.get(field).to_owned();
    Ok(NewRestore {
        name: entered(NAME),
        backup: place.name.clone(),
        snapshot: None,
        to: RestoreTo {
            new_volume: Some(NewRestoredVolume {
                of: entered(VOLUME),
                name: entered(NAME),
                system: entered(SYSTEM),
                pool: entered(POOL),
                size: None,
                reclaim: ReclaimRule::default(),
                verify: form.is_set(VERIFY),
            }),
            in_place: None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_is_read_whole_or_everything_wrong_with_it_is_said() {
        let place = Place::object(("so-khcn".to_owned(), "nightly".to_owned())).unwrap();
        let text = b"volume=web-root&name=web-root-old&system=a01&pool=san-1&verify=yes";
        let new = read(Language::English, &place, &Form::parse(text)).unwrap();
        assert_eq!(new.backup.as_deref(), Some("nightly"));
        let volume = new.to.new_volume.unwrap();
        assert_eq!(
            (new.name.as_str(), volume.of.as_str()),
            ("web-root-old", "web-root")
        );
        assert!(volume.verify);
        let Err(Problem::Invalid(faults)) = read(
            Language::English,
            &place,
            &Form::parse(b"volume=web-root&name=A%20b"),
        ) else {
            panic!("it is taken");
        };
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["Name of the new volume", "System", "Pool"]);
    }
}
