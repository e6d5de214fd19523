//! Volumes: the list, and one of them with its snapshots. What is done to it is in [`acts`].

pub mod acts;
pub mod moving;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use dc_crds::{Volume, VolumeSnapshot};
use kube::ResourceExt;
use maud::{Markup, html};

use super::super::Web;
use super::super::door::{Page, Visit};
use super::super::frame::{self, Of, Tab, mark, marked, time};
use super::super::words::Tone;
use super::{Refused, list_place, machine, object_place, of, offers, rows, snapshot, some, why};
use crate::door::body;
use crate::language::Language;
use crate::page::LARGEST_LIMIT;
use crate::problem::Problem;
use crate::resources::Kind;
use crate::resources::catalogue;
use crate::resources::snapshots::Snapshots;
use crate::resources::view::Phase;
use crate::resources::volumes::{ReclaimRule, VolumeView, Volumes};
use crate::rights::Verb;
use crate::serve::read::{Filter, Nothing, get};
use crate::serve::{Answered, Place};

pub async fn list(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = list_place(path)?;
    let (of, _) = of(&web, &visit, &place, Tab::Volumes).await?;
    let rows = rows::<Volumes>(&web, &visit, &place, &uri).await?;
    let language = visit.language();
    let title = language.pick("Ổ đĩa", "Volumes");
    let content = html! {
        h1 { (title) }
        section {
            (table(language, &of, &rows.objects))
            (rows.more(language))
        }
    };
    Ok(frame::page(&visit, title, Some(&of), &content).into_response())
}

/// Volumes, one in a row.
pub fn table(language: Language, of: &Of, volumes: &[Arc<Volume>]) -> Markup {
    let (state, size) = (
        language.pick("Trạng thái", "State"),
        language.pick("Dung lượng", "Size"),
    );
    let (pool, held) = (
        language.pick("Vùng lưu trữ", "Pool"),
        language.pick("Máy đang dùng", "Used by"),
    );
    html! {
        @if volumes.is_empty() {
            p.quiet { (language.pick("Chưa có ổ đĩa.", "No volumes yet.")) }
        } @else {
            table.cards {
                thead { tr {
                    th scope="col" { (language.pick("Ổ đĩa", "Volume")) }
                    th scope="col" { (state) }
                    th scope="col" { (size) }
                    th scope="col" { (pool) }
                    th scope="col" { (held) }
                } }
                tbody { @for volume in volumes {
                    @let view = Volumes::view(volume);
                    @let name = &view.meta.name;
                    tr {
                        th scope="row" { a href=(of.path(&format!("/volumes/{name}"))) { (name) } }
                        td data-label=(state) { (standing(language, &view)) }
                        td data-label=(size) { (view.size) }
                        td data-label=(pool) { (view.pool) }
                        td data-label=(held) { (holder(of, &view)) }
                    }
                } }
            }
        }
    }
}

fn standing(language: Language, view: &VolumeView) -> Markup {
    match view.meta.phase {
        Phase::Deleting => marked(Tone::Moving, language.pick("Đang xóa", "Being deleted")),
        Phase::Present => mark(language, &view.state),
    }
}

fn holder(of: &Of, view: &VolumeView) -> Markup {
    html! {
        @match view.attached_to.as_deref() {
            Some(machine) => a href=(of.path(&format!("/machines/{machine}"))) { (machine) },
            None => "–",
        }
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
    let volume = get::<Volumes>(&web.app, caller, place).await?;
    let (of, _) = of(web, visit, place, Tab::Volumes).await?;
    let all = Filter::default();
    let taken = some::<Snapshots>(web, caller, place, LARGEST_LIMIT, &all).await?;
    let name = volume.name_any();
    let taken: Vec<_> = taken.into_iter().filter(|one| is_of(one, &name)).collect();
    let language = visit.language();
    let view = Volumes::view(&volume);
    let conditions = volume.status.as_ref().map(|status| &status.conditions);
    let present = view.meta.phase == Phase::Present;
    let here = Place::list(place.department.clone())?;
    let takes = present && offers::<Snapshots>(web, caller, Verb::Create, &here).await?;
    let changes = present && offers::<Volumes>(web, caller, Verb::Patch, place).await?;
    let deletes = present && offers::<Volumes>(web, caller, Verb::Delete, place).await?;
    let pools = match changes {
        true => catalogue::see(&web.app, caller).await?.pools,
        false => Vec::new(),
    };
    let pools: Vec<String> = pools.into_iter().map(|pool| pool.name).collect();
    let hint = language.pick(
        "Ổ đĩa như đang có lúc này. Máy đang dùng nó dừng ghi trong chốc lát.",
        "The volume as it stands now. The machine that uses it writes nothing for a moment.",
    );
    let at = of.path(&format!("/volumes/{name}"));
    let content = html! {
        @if let Some(refused) = refused { (frame::refusal(language, refused.problem)) }
        div.live {
            div.head { h1 { (name) } (standing(language, &view)) }
            (why(language, &view.meta.ready))
            (facts(language, &of, &view))
            (snapshots(language, &of, &taken))
        }
        @if takes { (snapshot::take_form(visit, &at, hint, refused)?) }
        @if changes { (acts::growth(visit, &of, &view, refused)) }
        @if changes { (moving::form(visit, &of, &view, &pools)) }
        @if deletes { (acts::deletion(visit, &of, &view, taken.len(), refused)) }
        div.live {
            (machine::conditions_table(language, conditions.map_or(&[], Vec::as_slice)))
        }
    };
    Ok(frame::page(visit, &name, Some(&of), &content))
}

/// By its own name, or as one of a machine's.
fn is_of(snapshot: &VolumeSnapshot, volume: &str) -> bool {
    let status = snapshot.status.as_ref();
    snapshot.spec.volume.as_deref() == Some(volume)
        || status.is_some_and(|status| status.volumes.iter().any(|one| one.volume == volume))
}

/// What becomes of its bytes when it is deleted.
fn kept(language: Language, reclaim: ReclaimRule) -> &'static str {
    match reclaim {
        ReclaimRule::Retain => language.pick("giữ lại dữ liệu", "its data is kept"),
        ReclaimRule::Discard => language.pick("thu hồi các khối", "its blocks are given back"),
        ReclaimRule::Zero => language.pick("ghi đè bằng số không", "it is overwritten with zeros"),
        ReclaimRule::Random => language.pick(
            "ghi đè ngẫu nhiên rồi bằng số không",
            "it is overwritten with random bytes, then with zeros",
        ),
        ReclaimRule::KeyDestruction => language.pick(
            "hủy khóa mã hóa rồi thu hồi các khối",
            "its key is destroyed, then its blocks are given back",
        ),
    }
}

fn facts(language: Language, of: &Of, view: &VolumeView) -> Markup {
    let kept = kept(language, view.reclaim);
    let source = &view.source;
    let from = [&source.image, &source.volume, &source.snapshot];
    let from = from.into_iter().flatten().next();
    html! {
        dl.facts {
            dt { (language.pick("Hệ thống", "System")) } dd { (view.system) }
            dt { (language.pick("Vùng lưu trữ", "Pool")) } dd { (view.pool) }
            @if let Some(moving) = &view.moving {
                dt { (language.pick("Chuyển vùng lưu trữ", "Move")) }
                dd { (moving::standing(language, moving)) }
            }
            dt { (language.pick("Dung lượng mong muốn", "Size wanted")) } dd { (view.size) }
            dt { (language.pick("Dung lượng hiện có", "Size there")) }
            dd { (view.actual_size.as_deref().unwrap_or("–")) }
            dt { (language.pick("Máy đang dùng", "Used by")) } dd { (holder(of, view)) }
            @if let Some(from) = from {
                dt { (language.pick("Tạo từ", "Made from")) } dd { (from) }
            }
            @if view.encrypted {
                dt { (language.pick("Mã hóa", "Encryption")) }
                dd { (language.pick("mã hóa khi lưu, khóa riêng", "encrypted at rest, by a key of its own")) }
            }
            dt { (language.pick("Khi xóa", "When deleted")) } dd { (kept) }
            @if let Some(at) = &view.meta.created {
                dt { (language.pick("Tạo lúc", "Made")) } dd { (time(language, at)) }
            }
        }
    }
}

fn snapshots(language: Language, of: &Of, taken: &[Arc<VolumeSnapshot>]) -> Markup {
    let (state, at) = (
        language.pick("Trạng thái", "State"),
        language.pick("Chụp lúc", "Taken"),
    );
    html! {
        section {
            h2 { (language.pick("Bản chụp", "Snapshots")) }
            @if taken.is_empty() {
                p.quiet { (language.pick("Chưa có bản chụp.", "No snapshots.")) }
            } @else {
                table.cards {
                    thead { tr {
                        th scope="col" { (language.pick("Bản chụp", "Snapshot")) }
                        th scope="col" { (state) }
                        th scope="col" { (at) }
                    } }
                    tbody { @for one in taken {
                        @let view = Snapshots::view(one);
                        tr {
                            @let at = of.path(&format!("/snapshots/{}", view.meta.name));
                            th scope="row" { a href=(at) { (view.meta.name) } }
                            td data-label=(state) { (snapshot::standing(language, &view)) }
                            td data-label=(at) {
                                @match &view.taken_at {
                                    Some(at) => (time(language, at)),
                                    None => "–",
                                }
                            }
                        }
                    } }
                }
            }
        }
    }
}
