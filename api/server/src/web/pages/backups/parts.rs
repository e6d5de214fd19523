//! Tables of the pages about backups.

use std::sync::Arc;

use dc_crds::{Backup, VirtualMachine};
use kube::ResourceExt;
use maud::{Markup, html};

use super::super::super::frame::{Of, mark, marked, time};
use super::super::super::words::{self, Tone};
use crate::language::Language;
use crate::resources::Kind;
use crate::resources::backups::{BackupView, Backups};
use crate::resources::policies::PolicyView;
use crate::resources::protection::ProtectionView;
use crate::resources::view::{Phase, Verdict};

pub fn standing(language: Language, view: &BackupView) -> Markup {
    match (view.meta.phase, &view.progress) {
        (Phase::Deleting, _) => marked(Tone::Moving, language.pick("Đang xóa", "Being deleted")),
        (Phase::Present, _) => mark(language, &view.state),
    }
}

/// Whether it was shown to come back.
pub fn proven(language: Language, view: &BackupView) -> Markup {
    let told = &view.proven;
    match (told.status, &told.failed, &told.at) {
        (Verdict::True, _, at) => html! {
            (marked(Tone::Good, language.pick("Đã chứng minh", "Proven")))
            @if let Some(at) = at { " " (time(language, at)) }
        },
        (_, Some(_), _) => marked(
            Tone::Bad,
            language.pick("Thử không đạt", "The trial failed"),
        ),
        (Verdict::False, None, _) => marked(Tone::Quiet, language.pick("Chưa thử", "Not tried")),
        (Verdict::Unknown, None, _) => html! { "–" },
    }
}

/// Volumes that nothing backs up, and why.
pub fn unprotected(language: Language, of: &Of, volumes: &[ProtectionView]) -> Markup {
    let bare = volumes.iter().filter(|one| !one.protected);
    let bare: Vec<&ProtectionView> = bare.collect();
    let (machine, last) = (
        language.pick("Máy ảo", "Machine"),
        language.pick("Bản gần nhất", "Last backup"),
    );
    let why = language.pick("Vì sao, cần làm gì", "Why, and what to do");
    html! {
        section {
            h2 { (language.pick("Chưa có lịch sao lưu", "Without scheduled backups")) " (" (bare.len()) ")" }
            @if bare.is_empty() {
                p.quiet { (language.pick(
                    "Mọi ổ đĩa đều có chính sách sao lưu.",
                    "A policy backs up every volume.")) }
            } @else {
                table.cards {
                    thead { tr {
                        th scope="col" { (language.pick("Ổ đĩa", "Volume")) }
                        th scope="col" { (machine) }
                        th scope="col" { (why) }
                        th scope="col" { (last) }
                    } }
                    tbody { @for one in bare { tr {
                        th scope="row" {
                            a href=(of.path(&format!("/volumes/{}", one.volume))) { (one.volume) }
                        }
                        td data-label=(machine) { (one.virtual_machine.as_deref().unwrap_or("–")) }
                        td data-label=(why) {
                            (words::message(language, one.message.as_deref().unwrap_or_default()))
                        }
                        td data-label=(last) {
                            @match &one.last_backup {
                                Some(last) => a href=(of.path(&format!("/backups/{}", last.name))) {
                                    (time(language, &last.taken_at))
                                },
                                None => (language.pick("không có", "none")),
                            }
                        }
                    } } }
                }
            }
        }
    }
}

/// One machine that is there, or of which there are backups.
struct Row<'a> {
    machine: String,
    is_there: bool,
    last: Option<BackupView>,
    running: Option<BackupView>,
    count: usize,
    /// One of its backups is unlike those before it.
    unusual: bool,
    policies: Vec<&'a PolicyView>,
}

fn rows<'a>(
    machines: &[Arc<VirtualMachine>],
    backups: &[Arc<Backup>],
    policies: &'a [PolicyView],
) -> Vec<Row<'a>> {
    let there: Vec<String> = machines.iter().map(|vm| vm.name_any()).collect();
    let mut names = there.clone();
    names.extend(backups.iter().map(|backup| backup.spec.vm.clone()));
    names.sort();
    names.dedup();
    let row = |machine: String| {
        let mine = backups.iter().filter(|backup| backup.spec.vm == machine);
        let mine: Vec<BackupView> = mine.map(|backup| Backups::view(backup)).collect();
        let count = mine.iter().filter(|one| one.snapshot_id.is_some()).count();
        let unusual = mine.iter().any(is_unusual);
        let mut last = None;
        let mut running = None;
        // The youngest first.
        for one in mine {
            let done = one.snapshot_id.is_some();
            let place = if done { &mut last } else { &mut running };
            place.get_or_insert(one);
        }
        let of = policies.iter();
        let of =
            of.filter(|policy| !policy.suspended && policy.virtual_machines.contains(&machine));
        Row {
            is_there: there.contains(&machine),
            policies: of.collect(),
            machine,
            last,
            running,
            count,
            unusual,
        }
    };
    names.into_iter().map(row).collect()
}

/// How each machine stands.
pub fn machines(
    language: Language,
    of: &Of,
    machines: &[Arc<VirtualMachine>],
    backups: &[Arc<Backup>],
    policies: &[PolicyView],
) -> Markup {
    let rows = rows(machines, backups, policies);
    let (last, tried) = (
        language.pick("Bản gần nhất", "Last backup"),
        language.pick("Khôi phục được", "Comes back"),
    );
    let (now, count) = (
        language.pick("Hiện nay", "Now"),
        language.pick("Số bản", "Backups"),
    );
    let by = language.pick("Chính sách", "Policy");
    html! {
        section {
            h2 { (language.pick("Theo máy ảo", "By machine")) }
            @if rows.is_empty() {
                p.quiet { (language.pick("Chưa có máy ảo.", "No machines yet.")) }
            } @else {
                table.cards {
                    thead { tr {
                        th scope="col" { (language.pick("Máy ảo", "Machine")) }
                        th scope="col" { (last) } th scope="col" { (tried) }
                        th scope="col" { (now) } th scope="col" { (by) } th scope="col" { (count) }
                    } }
                    tbody { @for row in &rows { tr {
                        th scope="row" {
                            a href=(of.path(&format!("/backups?machine={}", row.machine))) { (row.machine) }
                            @if !row.is_there { " " span.quiet { "(" (language.pick("không còn", "gone")) ")" } }
                        }
                        td data-label=(last) { (taken(language, of, row.last.as_ref())) }
                        td data-label=(tried) {
                            @match &row.last { Some(last) => (proven(language, last)), None => "–" }
                        }
                        td data-label=(now) { (at_present(language, row)) }
                        td data-label=(by) {
                            @if row.policies.is_empty() { "–" }
                            @else { (row.policies.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")) }
                        }
                        td data-label=(count) { (row.count) }
                    } } }
                }
            }
        }
    }
}

/// Somebody should look at it.
pub fn is_unusual(view: &BackupView) -> bool {
    let usual = view.usual.as_ref();
    usual.is_some_and(|usual| usual.status == Verdict::False)
}

fn taken(language: Language, of: &Of, last: Option<&BackupView>) -> Markup {
    html! {
        @match last {
            Some(last) => a href=(of.path(&format!("/backups/{}", last.meta.name))) {
                (time(language, last.taken_at.as_deref().unwrap_or("–")))
            },
            None => (marked(Tone::Bad, language.pick("Chưa có", "None"))),
        }
    }
}

/// What is wrong with its backups, or what goes on.
fn at_present(language: Language, row: &Row<'_>) -> Markup {
    let named = |names: fn(&PolicyView) -> &Vec<String>| {
        let mut policies = row.policies.iter();
        policies.any(|policy| names(policy).contains(&row.machine))
    };
    html! {
        @if row.unusual { (marked(Tone::Bad, language.pick("Bất thường", "Unusual"))) " " }
        @if named(|policy| &policy.failing) {
            (marked(Tone::Bad, language.pick("Bị lỗi", "Failing"))) " "
        }
        @if named(|policy| &policy.late) {
            (marked(Tone::Bad, language.pick("Trễ lịch", "Late"))) " "
        }
        @match &row.running {
            Some(running) => (standing(language, running)),
            None => "–",
        }
    }
}

/// Backups of one machine.
pub fn table(language: Language, of: &Of, backups: &[Arc<Backup>]) -> Markup {
    let (state, taken) = (
        language.pick("Trạng thái", "State"),
        language.pick("Thời điểm", "Taken"),
    );
    let (size, added) = (
        language.pick("Dung lượng", "Size"),
        language.pick("Thêm vào kho", "Added"),
    );
    let (tried, by) = (
        language.pick("Khôi phục được", "Comes back"),
        language.pick("Chính sách", "Policy"),
    );
    html! {
        section {
            h2 { (language.pick("Các bản sao lưu", "Backups")) }
            @if backups.is_empty() {
                p.quiet { (language.pick("Chưa có bản sao lưu nào.", "No backups yet.")) }
            } @else {
                table.cards {
                    thead { tr {
                        th scope="col" { (language.pick("Bản sao lưu", "Backup")) }
                        th scope="col" { (taken) } th scope="col" { (state) }
                        th scope="col" { (tried) } th scope="col" { (size) }
                        th scope="col" { (added) } th scope="col" { (by) }
                    } }
                    tbody { @for backup in backups {
                        @let view = Backups::view(backup);
                        tr {
                            th scope="row" {
                                a href=(of.path(&format!("/backups/{}", view.meta.name))) { (view.meta.name) }
                            }
                            td data-label=(taken) {
                                @match &view.taken_at { Some(at) => (time(language, at)), None => "–" }
                            }
                            td data-label=(state) {
                                (standing(language, &view))
                                @if is_unusual(&view) {
                                    " " (marked(Tone::Bad, language.pick("Bất thường", "Unusual")))
                                }
                            }
                            td data-label=(tried) { (proven(language, &view)) }
                            td data-label=(size) { (view.size.as_deref().unwrap_or("–")) }
                            td data-label=(added) { (view.added.as_deref().unwrap_or("–")) }
                            td data-label=(by) {
                                (view.policy.as_deref().unwrap_or(language.pick("không", "none")))
                            }
                        }
                    } }
                }
            }
        }
    }
}

pub fn policies(language: Language, policies: &[PolicyView]) -> Markup {
    let (when, next) = (
        language.pick("Lịch", "Schedule"),
        language.pick("Lần tới", "Next"),
    );
    let (keeps, proves) = (
        language.pick("Giữ lại", "Keeps"),
        language.pick("Thử khôi phục", "Tries"),
    );
    let of = language.pick("Số máy ảo", "Machines");
    html! {
        section {
            h2 { (language.pick("Chính sách", "Policies")) }
            @if policies.is_empty() {
                p.quiet { (language.pick(
                    "Chưa có chính sách nào cho máy ảo của đơn vị.",
                    "No policy is for machines of the department.")) }
            } @else {
                table.cards {
                    thead { tr {
                        th scope="col" { (language.pick("Chính sách", "Policy")) }
                        th scope="col" { (when) } th scope="col" { (next) }
                        th scope="col" { (keeps) } th scope="col" { (proves) }
                        th scope="col" { (of) }
                    } }
                    tbody { @for policy in policies { tr {
                        th scope="row" { (policy.name) }
                        td data-label=(when) { code { (policy.schedule.cron) } " " (policy.schedule.time_zone) }
                        td data-label=(next) {
                            @match &policy.next {
                                Some(at) => (time(language, at)),
                                None => (language.pick("đang tạm dừng", "suspended")),
                            }
                        }
                        td data-label=(keeps) { (kept(language, policy)) }
                        td data-label=(proves) {
                            @if policy.prove.suspended { (language.pick("không", "no")) }
                            @else {
                                (language.pick("mỗi ", "every ")) (policy.prove.every_days)
                                (language.pick(" ngày", " days"))
                            }
                        }
                        td data-label=(of) { (policy.virtual_machines.len()) }
                    } } }
                }
            }
        }
    }
}

fn kept(language: Language, policy: &PolicyView) -> String {
    let keep = policy.keep;
    let parts = [
        (keep.last, "bản cuối", "last"),
        (keep.daily, "ngày", "days"),
        (keep.weekly, "tuần", "weeks"),
        (keep.monthly, "tháng", "months"),
        (keep.yearly, "năm", "years"),
    ];
    let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
    let parts: Vec<String> = parts
        .map(|(count, vi, en)| format!("{count} {}", language.pick(vi, en)))
        .collect();
    parts.join(", ")
}
