//! What else may be ordered of a backup: one of its volumes over a volume that is there, and the whole
//! machine anew.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect};
use maud::{Markup, html};
use serde::Serialize;

use super::super::super::Web;
use super::super::super::door::Visit;
use super::super::super::form::{self, Form, ONCE};
use super::super::super::frame::{self, Of, token};
use super::super::super::wizard::name_fault;
use super::super::super::words;
use super::super::{Refused, object_place};
use super::shown;
use crate::identity::code::random;
use crate::language::Language;
use crate::problem::{Fault, Problem};
use crate::resources::Create;
use crate::resources::backups::BackupView;
use crate::resources::machine_restores::{MachineIdentity, MachineRestores, NewMachineRestore};
use crate::resources::restores::{NewRestore, RestoreTo, RestoredInPlace, Restores};
use crate::resources::volumes::Volumes;
use crate::serve::deed::Deed;
use crate::serve::once::{digest, once_for};
use crate::serve::{Answered, Place};

/// Fields of a restore over a volume: what it is called (the page says that, so that a form which is sent
/// twice orders once), which volume of the backup, the one that is written over, whether its guest is
/// stopped, and whether it is read back.
const OVER_NAME: &str = "over-name";
const OVER_OF: &str = "over-of";
const OVER: &str = "over";
const STOP: &str = "over-stop";
const OVER_VERIFY: &str = "over-verify";

/// Fields of a machine's restore: its name, whether it is the machine again, where its volumes lie (empty:
/// where they lay), whether its guest is started, and whether it is read back.
const MACHINE: &str = "machine";
const IDENTITY: &str = "machine-identity";
const MACHINE_POOL: &str = "machine-pool";
const START: &str = "machine-start";
const MACHINE_VERIFY: &str = "machine-verify";

const SAME: &str = "same";

/// Of a machine's name, in the name that is proposed for its copy.
const LONGEST: usize = 24;

/// What was entered, when the form was not taken.
fn entered(refused: Option<&Refused<'_>>, field: &str) -> Option<String> {
    refused.map(|refused| refused.form.get(field).to_owned())
}

fn check(field: &str, title: &str, checked: bool) -> Markup {
    html! {
        div.field.check {
            input id=(field) name=(field) type="checkbox" value="yes" checked[checked];
            label for=(field) { (title) }
        }
    }
}

fn is_checked(refused: Option<&Refused<'_>>, field: &str, otherwise: bool) -> bool {
    entered(refused, field).map_or(otherwise, |text| !text.is_empty())
}

fn reads_back(language: Language) -> &'static str {
    language.pick(
        "Đọc lại và đối chiếu từng khối sau khi ghi",
        "Read it back and compare each block when it is written",
    )
}

pub fn over_form(
    visit: &Visit,
    of: &Of,
    view: &BackupView,
    refused: Option<&Refused<'_>>,
) -> Result<Markup, Problem> {
    let language = visit.language();
    let at = of.path(&format!("/backups/{}/over", view.meta.name));
    let chosen = entered(refused, OVER_OF);
    let once = random()?;
    Ok(html! {
        section {
            details open[refused.is_some_and(|refused| !refused.form.get(OVER).is_empty())] {
                summary { (language.pick("Ghi đè lên ổ đĩa đang có…", "Write it over a volume that is there…")) }
                p.hint { (language.pick(
                    "Nội dung hiện nay của ổ đĩa được chụp lại trước (tính vào hạn mức bản chụp), rồi bị ghi đè. Trong lúc đó không máy nào dùng được ổ đĩa: máy ảo phải dừng.",
                    "What the volume holds now is snapshotted first (it counts in the quota of snapshots), then written over. No machine has the volume meanwhile: its machine has to be stopped.")) }
                form.narrow method="post" action=(at) data-once="" {
                    (token(visit))
                    input type="hidden" name=(ONCE) value=(once);
                    input type="hidden" name=(OVER_NAME) value=(words::named_now("over", jiff::Timestamp::now()));
                    div.field {
                        label for=(OVER_OF) { (language.pick("Ổ đĩa trong bản sao lưu", "Volume of the backup")) }
                        select id=(OVER_OF) name=(OVER_OF) {
                            @for one in &view.volumes {
                                option value=(one.volume) selected[chosen.as_ref() == Some(&one.volume)] { (one.volume) }
                            }
                        }
                    }
                    div.field {
                        label for=(OVER) { (language.pick(
                            "Gõ tên ổ đĩa bị ghi đè",
                            "Type the name of the volume that is written over")) }
                        input id=(OVER) name=(OVER) type="text" maxlength="63" required autocomplete="off"
                            value=[entered(refused, OVER)];
                    }
                    (check(STOP, language.pick(
                        "Dừng máy ảo đang dùng ổ đĩa, khởi động lại sau khi xong",
                        "Stop the machine that has it, and start it again afterwards"), is_checked(refused, STOP, false)))
                    (check(OVER_VERIFY, reads_back(language), is_checked(refused, OVER_VERIFY, true)))
                    button.danger type="submit" { (language.pick("Ghi đè", "Write over it")) }
                }
            }
        }
    })
}

pub fn machine_form(
    visit: &Visit,
    of: &Of,
    view: &BackupView,
    pools: &[String],
    refused: Option<&Refused<'_>>,
) -> Result<Markup, Problem> {
    let language = visit.language();
    let at = of.path(&format!("/backups/{}/machine", view.meta.name));
    // With the time it is no longer than a machine's name may be.
    let machine: String = view.virtual_machine.chars().take(LONGEST).collect();
    let proposed = || words::named_now(&machine, jiff::Timestamp::now());
    let name = entered(refused, MACHINE).unwrap_or_else(proposed);
    let (pool, identity) = (entered(refused, MACHINE_POOL), entered(refused, IDENTITY));
    let same = identity.as_deref() == Some(SAME);
    let once = random()?;
    Ok(html! {
        section {
            h2 { (language.pick("Khôi phục cả máy ảo", "Restore the whole machine")) }
            p.hint { (language.pick(
                "Mọi ổ đĩa ở cùng thời điểm đó, rồi máy ảo như khi được sao lưu. Bản sao có tên, địa chỉ và MAC khác và không được công bố; nếu là chính máy ảo đó thì máy cũ phải không còn.",
                "All its volumes as they were at that instant, then the machine as it was. A copy has another name, other addresses and MACs and is published to nobody; for the machine itself the old one must be gone.")) }
            form.narrow method="post" action=(at) data-once="" {
                (token(visit))
                input type="hidden" name=(ONCE) value=(once);
                div.field {
                    label for=(IDENTITY) { (language.pick("Thành", "It becomes")) }
                    select id=(IDENTITY) name=(IDENTITY) {
                        option value="copy" { (language.pick("một bản sao bên cạnh", "a copy beside it")) }
                        option value=(SAME) selected[same] {
                            (language.pick("chính máy ảo ", "the machine ")) (view.virtual_machine)
                            (language.pick("", " itself"))
                        }
                    }
                }
                div.field {
                    label for=(MACHINE) { (language.pick(
                        "Tên bản sao (và tên lần khôi phục)",
                        "Name of the copy, and of this restore")) }
                    input id=(MACHINE) name=(MACHINE) type="text" maxlength="40" required value=(name);
                }
                div.field {
                    label for=(MACHINE_POOL) { (language.pick("Vùng lưu trữ", "Pool")) }
                    select id=(MACHINE_POOL) name=(MACHINE_POOL) {
                        option value="" { (language.pick("như cũ", "as they were")) }
                        @for one in pools {
                            option value=(one) selected[pool.as_ref() == Some(one)] { (one) }
                        }
                    }
                }
                (check(START, language.pick("Khởi động khi xong", "Start it when it is built"), is_checked(refused, START, false)))
                (check(MACHINE_VERIFY, reads_back(language), is_checked(refused, MACHINE_VERIFY, true)))
                button type="submit" { (language.pick("Khôi phục máy ảo", "Restore the machine")) }
            }
        }
    })
}

pub async fn over(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let place = object_place(path)?;
    let form = form::read(&web, &visit, &headers, body).await?;
    let new = read_over(visit.language(), &place, &form);
    let new = new.and_then(|new| of_volume_there(&web, &visit, &place, new));
    let order = order::<Restores>(&web, &visit, &place, &form, "restores", new).await;
    again(&web, &visit, &place, &form, order).await
}

pub async fn machine(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let place = object_place(path)?;
    let form = form::read(&web, &visit, &headers, body).await?;
    let new = read_machine(visit.language(), &place, &form);
    let kind = "machine-restores";
    let order = order::<MachineRestores>(&web, &visit, &place, &form, kind, new).await;
    again(&web, &visit, &place, &form, order).await
}

/// The page with what is wrong with its form.
async fn again(web: &Web, visit: &Visit, place: &Place, form: &Form, order: Answered) -> Answered {
    match order {
        Err(problem) if problem.is_of_form() => {
            let refused = Refused {
                problem: &problem,
                form,
            };
            let page = shown(web, visit, place, Some(&refused)).await?;
            Ok((problem.status(), page).into_response())
        }
        other => other,
    }
}

async fn order<K: Create>(
    web: &Web,
    visit: &Visit,
    place: &Place,
    form: &Form,
    kind: &str,
    new: Result<K::New, Problem>,
) -> Answered
where
    K::New: Serialize,
{
    let (app, caller) = (&web.app, &visit.caller);
    let list = Place::list(place.department.clone())?;
    let deed = Deed::creation::<K>(app, caller, &list).await?;
    let new = new?;
    let name = K::name(&new, &caller.person);
    let at = frame::department_path(&place.department, &format!("/{kind}/{name}"));
    let asked = serde_json::to_vec(&new).map_err(|_| Problem::Internal)?;
    let asked = digest(&[kind.as_bytes(), place.department.as_bytes(), &asked]);
    once_for(app, caller, form.get(ONCE), asked, async |mark| {
        let deed = deed.of_new::<K>(&new).await?;
        deed.create::<K>(new, mark.as_ref()).await?;
        Ok(Redirect::to(&at).into_response())
    })
    .await
}

fn all_right(faults: impl IntoIterator<Item = Option<Fault>>) -> Result<(), Problem> {
    let faults: Vec<Fault> = faults.into_iter().flatten().collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Problem::Invalid(faults)),
    }
}

fn read_over(language: Language, place: &Place, form: &Form) -> Result<NewRestore, Problem> {
    let entered = |field| form.get(field).to_owned();
    let (name, of, volume) = (entered(OVER_NAME), entered(OVER_OF), entered(OVER));
    all_right([
        name_fault(
            language,
            &name,
            ("Tên lần khôi phục", "Name of the restore"),
        ),
        name_fault(
            language,
            &of,
            ("Ổ đĩa trong bản sao lưu", "Volume of the backup"),
        ),
        name_fault(
            language,
            &volume,
            ("Ổ đĩa bị ghi đè", "Volume that is written over"),
        ),
    ])?;
    let (stop, verify) = (form.is_set(STOP), form.is_set(OVER_VERIFY));
    Ok(NewRestore {
        name,
        backup: place.name.clone(),
        snapshot: None,
        to: RestoreTo {
            new_volume: None,
            in_place: Some(RestoredInPlace::new(of, volume, stop, verify)),
        },
    })
}

/// As the API says it of any order, in the reader's language.
fn of_volume_there(
    web: &Web,
    visit: &Visit,
    place: &Place,
    new: NewRestore,
) -> Result<NewRestore, Problem> {
    let volumes = web.app.kinds.of::<Volumes>();
    let is_there = |over: &RestoredInPlace| volumes.get(&place.department, &over.volume).is_some();
    if new.to.in_place.as_ref().is_some_and(is_there) {
        return Ok(new);
    }
    let language = visit.language();
    Err(Problem::Invalid(vec![Fault::new(
        language.pick("Ổ đĩa bị ghi đè", "Volume that is written over"),
        language.pick(
            "đơn vị không có ổ đĩa tên này",
            "the department has no volume of this name",
        ),
    )]))
}

fn read_machine(
    language: Language,
    place: &Place,
    form: &Form,
) -> Result<NewMachineRestore, Problem> {
    let (name, pool) = (form.get(MACHINE).to_owned(), form.get(MACHINE_POOL));
    let of_pool = match pool {
        "" => None,
        pool => name_fault(language, pool, ("Vùng lưu trữ", "Pool")),
    };
    all_right([
        name_fault(language, &name, ("Tên bản sao", "Name of the copy")),
        of_pool,
    ])?;
    let (identity, virtual_machine) = match form.get(IDENTITY) {
        SAME => (MachineIdentity::Same, None),
        _ => (MachineIdentity::Copy, Some(name.clone())),
    };
    Ok(NewMachineRestore {
        name,
        backup: place.name.clone(),
        snapshot: None,
        identity,
        virtual_machine,
        start: form.is_set(START),
        system: None,
        class: None,
        pool: (!pool.is_empty()).then(|| pool.to_owned()),
        subnets: Vec::new(),
        volumes: Vec::new(),
        verify: form.is_set(MACHINE_VERIFY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place::object(("so-khcn".to_owned(), "nightly".to_owned())).unwrap()
    }

    #[test]
    fn a_volume_is_written_over_only_when_it_is_named() {
        let form = Form::parse(b"over-name=over-1&over-of=web-root&over=web-root&over-stop=yes");
        let new = read_over(Language::English, &place(), &form).unwrap();
        let over = new.to.in_place.unwrap();
        assert_eq!(
            (over.of.as_str(), over.volume.as_str()),
            ("web-root", "web-root")
        );
        assert!(over.stop_machine && !over.verify);
        assert_eq!(new.name, "over-1");
        let form = Form::parse(b"over-name=over-1&over-of=web-root&over=");
        let refused = read_over(Language::English, &place(), &form);
        assert!(matches!(refused, Err(Problem::Invalid(faults)) if faults.len() == 1));
    }

    #[test]
    fn a_machine_comes_back_as_itself_without_a_name_of_its_own() {
        let form = Form::parse(b"machine=back&machine-identity=same&machine-pool=");
        let new = read_machine(Language::English, &place(), &form).unwrap();
        assert_eq!(
            (new.identity, new.virtual_machine),
            (MachineIdentity::Same, None)
        );
        assert_eq!(new.pool, None);
        let form = Form::parse(b"machine=web-2&machine-identity=copy&machine-pool=san-1");
        let new = read_machine(Language::English, &place(), &form).unwrap();
        assert_eq!(new.virtual_machine.as_deref(), Some("web-2"));
        assert_eq!(new.pool.as_deref(), Some("san-1"));
    }
}
