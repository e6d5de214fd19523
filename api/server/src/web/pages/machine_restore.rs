//! One machine that is built anew: how far it is, and how that is stopped.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect};
use maud::{Markup, html};

use super::super::Web;
use super::super::door::Visit;
use super::super::form;
use super::super::frame::{self, Of, Tab, mark, marked, token};
use super::super::words::{self, Tone};
use super::{machine, object_place, of, offers, why};
use crate::door::body;
use crate::language::Language;
use crate::resources::Kind;
use crate::resources::machine_restores::{MachineIdentity, MachineRestoreView, MachineRestores};
use crate::resources::view::Phase;
use crate::rights::Verb;
use crate::serve::Answered;
use crate::serve::deed::Deed;
use crate::serve::read::{Nothing, get};

pub async fn page(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = object_place(path)?;
    let Nothing {} = body::query(&uri)?;
    let restore = get::<MachineRestores>(&web.app, &visit.caller, &place).await?;
    let (of, _) = of(&web, &visit, &place, Tab::Backups).await?;
    let deletes = offers::<MachineRestores>(&web, &visit.caller, Verb::Delete, &place).await?;
    let language = visit.language();
    let view = MachineRestores::view(&restore);
    let conditions = restore.status.as_ref().map(|status| &status.conditions);
    let ended = matches!(view.state.as_str(), "Done" | "Stopped");
    let content = html! {
        div.live {
            div.head { h1 { (view.meta.name) } (standing(language, &view)) }
            (why(language, &view.meta.ready))
            (facts(language, &of, &view))
            (volumes(language, &of, &view))
        }
        @if deletes && !ended && view.meta.phase == Phase::Present {
            (stop(&visit, &of, &view))
        }
        div.live {
            (machine::conditions_table(language, conditions.map_or(&[], Vec::as_slice)))
        }
    };
    Ok(frame::page(&visit, &view.meta.name, Some(&of), &content).into_response())
}

fn standing(language: Language, view: &MachineRestoreView) -> Markup {
    match view.meta.phase {
        Phase::Deleting => marked(Tone::Moving, language.pick("Đang dừng", "Being stopped")),
        Phase::Present => mark(language, &view.state),
    }
}

fn facts(language: Language, of: &Of, view: &MachineRestoreView) -> Markup {
    html! {
        dl.facts {
            dt { (language.pick("Từ bản sao lưu", "From the backup")) }
            dd {
                @match (&view.backup, &view.snapshot) {
                    (Some(backup), _) => a href=(of.path(&format!("/backups/{backup}"))) { (backup) },
                    (None, Some(one)) => { (one.repository) " " code { (one.id) } },
                    (None, None) => "–",
                }
            }
            dt { (match view.identity {
                MachineIdentity::Copy => language.pick("Máy ảo mới", "New machine"),
                MachineIdentity::Same => language.pick("Chính máy ảo", "The machine itself"),
            }) }
            dd {
                @match &view.virtual_machine {
                    // It is there once all its volumes are.
                    Some(name) if view.state == "Done" => {
                        a href=(of.path(&format!("/machines/{name}"))) { (name) }
                    },
                    Some(name) => (name),
                    None => "–",
                }
            }
            dt { (language.pick("Khi xong", "When it is built")) }
            dd { (match view.start {
                true => language.pick("được khởi động", "it is started"),
                false => language.pick("vẫn tắt", "it stays off"),
            }) }
            @if let Some(progress) = &view.progress {
                dt { (language.pick("Ổ đĩa đã xong", "Volumes that are whole")) }
                dd { (words::progress(language, progress)) }
            }
        }
    }
}

fn volumes(language: Language, of: &Of, view: &MachineRestoreView) -> Markup {
    let (becomes, by) = (
        language.pick("Thành ổ đĩa", "Becomes"),
        language.pick("Lần khôi phục", "Restore"),
    );
    let done = language.pick("Đã xong", "Whole");
    html! {
        @if !view.volumes.is_empty() {
            section {
                h2 { (language.pick("Các ổ đĩa", "Volumes")) }
                table.cards {
                    thead { tr {
                        th scope="col" { (language.pick("Ổ đĩa trong bản sao lưu", "Volume of the backup")) }
                        th scope="col" { (becomes) } th scope="col" { (by) } th scope="col" { (done) }
                    } }
                    tbody { @for one in &view.volumes { tr {
                        th scope="row" { (one.was) }
                        td data-label=(becomes) {
                            a href=(of.path(&format!("/volumes/{}", one.volume))) { (one.volume) }
                        }
                        td data-label=(by) {
                            a href=(of.path(&format!("/restores/{}", one.restore))) { (one.restore) }
                        }
                        td data-label=(done) {
                            (match one.done {
                                true => language.pick("rồi", "yes"),
                                false => language.pick("chưa", "not yet"),
                            })
                        }
                    } } }
                }
            }
        }
    }
}

fn stop(visit: &Visit, of: &Of, view: &MachineRestoreView) -> Markup {
    let language = visit.language();
    let at = of.path(&format!("/machine-restores/{}/stop", view.meta.name));
    html! {
        section {
            details {
                summary { (language.pick("Dừng khôi phục…", "Stop the restore…")) }
                p { (language.pick(
                    "Ổ đĩa đã ghi xong vẫn còn; ổ đĩa đang ghi dở không máy nào gắn được, hãy xóa. Bản sao lưu vẫn giữ nguyên.",
                    "Volumes that are whole stay; one that is half written no machine gets: delete it. The backup stays as it is.")) }
                form method="post" action=(at) data-once="" {
                    (token(visit))
                    button.danger type="submit" { (language.pick("Dừng khôi phục", "Stop the restore")) }
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
    let deed = Deed::deletion::<MachineRestores>(&web.app, &visit.caller, &place).await?;
    deed.delete::<MachineRestores>(None).await?;
    let back = frame::department_path(&place.department, "/backups");
    Ok(Redirect::to(&back).into_response())
}
