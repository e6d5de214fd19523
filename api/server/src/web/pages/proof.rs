//! One proof: what was tried, step by step, what came of it, and the evidence.

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::super::Web;
use super::super::door::Visit;
use super::super::frame::{self, Of, Tab, mark, time};
use super::super::words;
use super::{machine, object_place, of, why};
use crate::door::body;
use crate::language::Language;
use crate::resources::Kind;
use crate::resources::proofs::{EvidenceView, ProbesView, ProofView, Proofs, Step, Why};
use crate::serve::Answered;
use crate::serve::read::{Nothing, get};

pub async fn page(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = object_place(path)?;
    let Nothing {} = body::query(&uri)?;
    let proof = get::<Proofs>(&web.app, &visit.caller, &place).await?;
    let (of, _) = of(&web, &visit, &place, Tab::Backups).await?;
    let language = visit.language();
    let view = Proofs::view(&proof);
    let conditions = proof.status.as_ref().map(|status| &status.conditions);
    let content = html! {
        div.live {
            div.head { h1 { (view.meta.name) } (mark(language, &view.state)) }
            (why(language, &view.meta.ready))
            (facts(language, &of, &view))
            (steps(language, &view))
            @if let Some(evidence) = &view.evidence { (signed(language, evidence)) }
            (machine::conditions_table(language, conditions.map_or(&[], Vec::as_slice)))
        }
    };
    Ok(frame::page(&visit, &view.meta.name, Some(&of), &content).into_response())
}

fn facts(language: Language, of: &Of, view: &ProofView) -> Markup {
    let made = match view.why {
        Why::Asked => language.pick("có người yêu cầu", "somebody asked for it"),
        Why::Latest => language.pick(
            "bản gần nhất của máy, theo chính sách",
            "the machine's last backup, by its policy",
        ),
        Why::Sample => language.pick("rút thăm trong các bản cũ", "drawn among the older ones"),
    };
    html! {
        dl.facts {
            dt { (language.pick("Thử bản sao lưu", "Of the backup")) }
            dd { a href=(of.path(&format!("/backups/{}", view.backup))) { (view.backup) } }
            dt { (language.pick("Của máy ảo", "Of the machine")) }
            dd { (view.virtual_machine.as_deref().unwrap_or("–")) }
            dt { (language.pick("Vì sao thử", "Why it is tried")) } dd { (made) }
            dt { (language.pick("Phải đạt", "What had to be shown")) }
            dd { (probes(language, &view.probes)) }
            @if let Some(verdict) = &view.verdict {
                dt { (language.pick("Kết luận", "Verdict")) }
                dd { (words::message(language, &verdict.message)) }
            }
        }
    }
}

fn probes(language: Language, probes: &ProbesView) -> Markup {
    let ProbesView {
        console,
        guest_agent,
        command,
    } = probes;
    html! {
        ul.plain {
            @if let Some(text) = console {
                li { (language.pick("màn hình nối tiếp hiện ", "the console shows ")) code { (text) } }
            }
            @if *guest_agent {
                li { (language.pick("guest agent trả lời", "the guest agent answers")) }
            }
            @if !command.is_empty() {
                li { (language.pick("lệnh kết thúc với 0: ", "a command ends with 0: "))
                    code { (command.join(" ")) } }
            }
        }
    }
}

fn name(language: Language, step: Step) -> &'static str {
    match step {
        Step::Restore => language.pick("Khôi phục và đối chiếu", "Restored and compared"),
        Step::Boot => language.pick("Khởi động", "Booted"),
        Step::Probe => language.pick("Thử", "Probed"),
        Step::Erase => language.pick("Xóa bản thử", "The sandbox erased"),
    }
}

fn steps(language: Language, view: &ProofView) -> Markup {
    let (began, ended) = (
        language.pick("Bắt đầu", "Began"),
        language.pick("Kết thúc", "Ended"),
    );
    html! {
        @if !view.steps.is_empty() {
            section {
                h2 { (language.pick("Các bước", "Steps")) }
                table.cards {
                    thead { tr {
                        th scope="col" { (language.pick("Bước", "Step")) }
                        th scope="col" { (began) } th scope="col" { (ended) }
                    } }
                    tbody { @for one in &view.steps { tr {
                        th scope="row" { (name(language, one.step)) }
                        td data-label=(began) { (time(language, &one.began_at)) }
                        td data-label=(ended) {
                            @match &one.ended_at {
                                Some(at) => (time(language, at)),
                                None => (language.pick("đang làm", "it goes on")),
                            }
                        }
                    } } }
                }
            }
        }
    }
}

fn signed(language: Language, evidence: &EvidenceView) -> Markup {
    html! {
        section {
            h2 { (language.pick("Bằng chứng đã ký", "Signed evidence")) }
            dl.facts {
                dt { (language.pick("Kho sao lưu", "Repository")) } dd { (evidence.repository) }
                dt { (language.pick("Mã trong kho (restic)", "Snapshot (restic)")) }
                dd { code { (evidence.snapshot_id) } }
                @for one in &evidence.volumes {
                    dt { (one.volume) " (" (one.size) ")" }
                    dd { @match &one.sha256 {
                        Some(digest) => { "SHA-256 " code { (digest) } },
                        None => "–",
                    } }
                }
                dt { (language.pick("Khóa ký", "Signing key")) }
                dd { (evidence.algorithm) " " code { (evidence.key_id) } }
                dt { (language.pick("Chữ ký", "Signature")) } dd { code { (evidence.signature) } }
            }
            p.hint { (language.pick(
                "Ai cũng kiểm tra được bằng `dc-operator certificate verify`, không cần hệ thống này.",
                "Anybody can check it with `dc-operator certificate verify`, without this system.")) }
        }
    }
}
