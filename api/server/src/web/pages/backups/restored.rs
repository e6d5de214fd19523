//! The table of what was restored, volumes and machines alike.

use std::sync::Arc;

use dc_crds::{MachineRestore, Restore};
use maud::{Markup, html};

use super::super::super::frame::{Of, mark, time};
use crate::language::Language;
use crate::resources::Kind;
use crate::resources::machine_restores::{MachineIdentity, MachineRestores};
use crate::resources::restores::Restores;

/// One order.
pub struct Row {
    name: String,
    path: String,
    state: String,
    from: String,
    to: String,
    made: Option<String>,
}

impl Row {
    pub fn of_volume(language: Language, restore: &Restore) -> Self {
        let view = Restores::view(restore);
        let to = match (view.to.new_volume, view.to.in_place) {
            (Some(new), _) => format!("{} {}", language.pick("ổ đĩa mới", "new volume"), new.name),
            (None, Some(over)) => {
                format!(
                    "{} {}",
                    language.pick("ghi đè ổ đĩa", "over the volume"),
                    over.volume
                )
            }
            (None, None) => "–".to_owned(),
        };
        Self {
            path: format!("/restores/{}", view.meta.name),
            name: view.meta.name,
            state: view.state,
            from: view.backup.unwrap_or_else(|| "–".to_owned()),
            to,
            made: view.meta.created,
        }
    }

    pub fn of_machine(language: Language, restore: &MachineRestore) -> Self {
        let view = MachineRestores::view(restore);
        let what = match view.identity {
            MachineIdentity::Copy => language.pick("máy ảo mới", "new machine"),
            MachineIdentity::Same => language.pick("chính máy ảo", "the machine itself"),
        };
        let to = format!("{what} {}", view.virtual_machine.as_deref().unwrap_or("–"));
        Self {
            path: format!("/machine-restores/{}", view.meta.name),
            name: view.meta.name,
            state: view.state,
            from: view.backup.unwrap_or_else(|| "–".to_owned()),
            to,
            made: view.meta.created,
        }
    }
}

/// The youngest first, no more than `most`. What a machine's restore has ordered is told on its page.
pub fn rows(
    language: Language,
    volumes: &[Arc<Restore>],
    machines: &[Arc<MachineRestore>],
    most: usize,
) -> Vec<Row> {
    let volumes = volumes.iter().filter(|one| {
        let mut owners = one.metadata.owner_references.iter().flatten();
        !owners.any(|owner| owner.kind == "MachineRestore")
    });
    let volumes = volumes.map(|one| Row::of_volume(language, one));
    let machines = machines.iter().map(|one| Row::of_machine(language, one));
    let mut rows: Vec<Row> = volumes.chain(machines).collect();
    rows.sort_by(|a, b| b.made.cmp(&a.made));
    rows.truncate(most);
    rows
}

pub fn table(language: Language, of: &Of, rows: &[Row]) -> Markup {
    let (state, from) = (
        language.pick("Trạng thái", "State"),
        language.pick("Từ bản", "From"),
    );
    let (to, made) = (
        language.pick("Thành", "Becomes"),
        language.pick("Yêu cầu lúc", "Asked for"),
    );
    html! {
        section {
            h2 { (language.pick("Khôi phục", "Restores")) }
            @if rows.is_empty() {
                p.quiet { (language.pick(
                    "Chưa khôi phục gì. Mở một bản sao lưu để khôi phục từ đó.",
                    "Nothing was restored. Open a backup to restore from it.")) }
            } @else {
                table.cards {
                    thead { tr {
                        th scope="col" { (language.pick("Khôi phục", "Restore")) }
                        th scope="col" { (state) } th scope="col" { (from) }
                        th scope="col" { (to) } th scope="col" { (made) }
                    } }
                    tbody { @for row in rows { tr {
                        th scope="row" { a href=(of.path(&row.path)) { (row.name) } }
                        td data-label=(state) { (mark(language, &row.state)) }
                        td data-label=(from) { (row.from) }
                        td data-label=(to) { (row.to) }
                        td data-label=(made) {
                            @match &row.made { Some(at) => (time(language, at)), None => "–" }
                        }
                    } } }
                }
            }
        }
    }
}
