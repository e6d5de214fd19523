//! One restore: how far it is, and how it is stopped.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect};
use maud::{Markup, html};

use super::super::Web;
use super::super::door::Visit;
use super::super::form;
use super::super::frame::{self, Of, Tab, mark, marked, time, token};
use super::super::words::{self, Tone};
use super::{machine, object_place, of, offers, why};
use crate::door::body;
use crate::language::Language;
use crate::resources::Kind;
use crate::resources::restores::{RestoreView, Restores};
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
    let restore = get::<Restores>(&web.app, &visit.caller, &place).await?;
    let (of, _) = of(&web, &visit, &place, Tab::Backups).await?;
    let deletes = offers::<Restores>(&web, &visit.caller, Verb::Delete, &place).await?;
    let language = visit.language();
    let view = Restores::view(&restore);
    let conditions = restore.status.as_ref().map(|status| &status.conditions);
    let content = html! {
        div.live {
            div.head { h1 { (view.meta.name) } (standing(language, &view)) }
            (why(language, &view.meta.ready))
            @if let Some(text) = &view.progress {
                section {
                    h2 { (language.pick("Tiến độ", "Progress")) }
                    p { (words::progress(language, text)) }
                }
            }
            (facts(language, &of, &view))
        }
        @if deletes && !has_ended(&view) && view.meta.phase == Phase::Present {
            (stop(&visit, &of, &view))
        }
        div.live {
            (machine::conditions_table(language, conditions.map_or(&[], Vec::as_slice)))
        }
    };
    Ok(frame::page(&visit, &view.meta.name, Some(&of), &content).into_response())
}

/// For good.
fn has_ended(view: &RestoreView) -> bool {
    matches!(view.state.as_str(), "Done" | "Stopped")
}

fn standing(language: Language, view: &RestoreView) -> Markup {
    match view.meta.phase {
        Phase::Deleting => marked(Tone::Moving, language.pick("Đang dừng", "Being stopped")),
        Phase::Present => mark(language, &view.state),
    }
}

fn facts(language: Language, of: &Of, view: &RestoreView) -> Markup {
    let (of_backup, volume) = match (&view.to.new_volume, &view.to.in_place) {
        (Some(new), _) => (new.of.as_str(), new.name.as_str()),
        (None, Some(over)) => (over.of.as_str(), over.volume.as_str()),
        (None, None) => ("–", "–"),
    };
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
            dt { (language.pick("Ổ đĩa trong bản đó", "Volume of it")) } dd { (of_backup) }
            dt { (match view.to.in_place.is_some() {
                true => language.pick("Ghi đè lên ổ đĩa", "Written over the volume"),
                false => language.pick("Ổ đĩa mới", "New volume"),
            }) }
            dd { a href=(of.path(&format!("/volumes/{volume}"))) { (volume) } }
            @if let Some(new) = &view.to.new_volume {
                dt { (language.pick("Hệ thống", "System")) } dd { (new.system) }
                dt { (language.pick("Vùng lưu trữ", "Pool")) } dd { (new.pool) }
            }
            @if let Some(before) = &view.before {
                dt { (language.pick("Bản chụp trước khi ghi đè", "Snapshot of what was there before")) }
                dd { a href=(of.path(&format!("/snapshots/{before}"))) { (before) } }
            }
            @if let Some(written) = &view.written {
                dt { (language.pick("Đã ghi", "Written")) } dd { (written) }
            }
            @if let Some(at) = &view.began_at {
                dt { (language.pick("Bắt đầu lúc", "Began")) } dd { (time(language, at)) }
            }
            @if let Some(at) = &view.ended_at {
                dt { (language.pick("Xong lúc", "Ended")) } dd { (time(language, at)) }
            }
            @if let Some(digest) = &view.sha256 {
                dt { (language.pick("Đã đọc lại, khớp từng khối", "Read back: each block is the same")) }
                dd { "SHA-256 " code { (digest) } }
            }
        }
    }
}

fn stop(visit: &Visit, of: &Of, view: &RestoreView) -> Markup {
    let language = visit.language();
    let at = of.path(&format!("/restores/{}/stop", view.meta.name));
    html! {
        section {
            details {
                summary { (language.pick("Dừng khôi phục…", "Stop the restore…")) }
                p { (what_stays(language, view)) }
                form method="post" action=(at) data-once="" {
                    (token(visit))
                    button.danger type="submit" { (language.pick("Dừng khôi phục", "Stop the restore")) }
                }
            }
        }
    }
}

/// When it is stopped before it is done.
fn what_stays(language: Language, view: &RestoreView) -> &'static str {
    match view.to.in_place.is_some() {
        false => language.pick(
            "Phần đã ghi không dùng được: ổ đĩa mới không máy nào gắn được, hãy xóa nó, hoặc khôi phục lại với cùng tên. Bản sao lưu vẫn giữ nguyên.",
            "What is written is of no use: no machine gets the new volume; delete it, or make the restore again by the same name. The backup stays as it is.",
        ),
        true => language.pick(
            "Nếu chưa bắt đầu ghi thì ổ đĩa vẫn như cũ. Nếu đã ghi dở thì không máy nào gắn được ổ đĩa cho đến khi được đưa về bản chụp trước khi ghi đè, hoặc được khôi phục đè lần nữa. Đừng xóa ổ đĩa. Bản sao lưu vẫn giữ nguyên.",
            "If nothing is written yet the volume is as it was. If it is half written no machine gets it until it is brought back to the snapshot of what was there before, or is restored over once more. Do not delete it. The backup stays as it is.",
        ),
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
    let deed = Deed::deletion::<Restores>(&web.app, &visit.caller, &place).await?;
    deed.delete::<Restores>(None).await?;
    let back = frame::department_path(&place.department, "/backups");
    Ok(Redirect::to(&back).into_response())
}
