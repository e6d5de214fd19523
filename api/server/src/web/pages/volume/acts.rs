//! What is done to a volume on its page: it grows, and it is deleted.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect};
use maud::{Markup, html};

use super::super::super::Web;
use super::super::super::door::Visit;
use super::super::super::form::{self, Form};
use super::super::super::frame::{self, Of, token};
use super::super::super::wizard::LARGEST;
use super::super::super::words;
use super::super::{Refused, object_place};
use super::{kept, shown};
use crate::language::Language;
use crate::problem::{Fault, Problem};
use crate::resources::volumes::{ReclaimRule, VolumeChange, VolumeView, Volumes};
use crate::serve::deed::Deed;
use crate::serve::read::get;
use crate::serve::{Answered, Place};

const SIZE: &str = "size";
/// The volume's own name, written by whoever means to delete it.
const CONFIRM: &str = "confirm";

pub fn growth(visit: &Visit, of: &Of, view: &VolumeView, refused: Option<&Refused<'_>>) -> Markup {
    let language = visit.language();
    let at = of.path(&format!("/volumes/{}/size", view.meta.name));
    let entered = refused.map(|refused| refused.form.get(SIZE));
    let least = words::amount(&view.size).map(|bytes| (bytes / GIB).floor() + 1.0);
    html! {
        section {
            h2 { (language.pick("Tăng dung lượng", "Grow")) }
            p.hint { (language.pick(
                "Chỉ tăng được, không giảm được. Phần tăng tính vào hạn mức ngay; máy ảo đang chạy thấy dung lượng mới mà không phải dừng, nếu vùng lưu trữ cho phép.",
                "It grows and never shrinks. What it grows by is charged to the quota at once; a machine that runs sees it without a stop, where the pool can do that.")) }
            form.narrow method="post" action=(at) data-once="" {
                (token(visit))
                div.field {
                    label for=(SIZE) { (language.pick("Dung lượng mới (GiB)", "New size (GiB)")) }
                    input id=(SIZE) name=(SIZE) type="number" required min=[least]
                        max=(LARGEST) value=[entered];
                }
                button type="submit" { (language.pick("Tăng", "Grow")) }
            }
        }
    }
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// The size as a manifest writes it. What the API server would refuse in its own words is said here
/// in the reader's.
fn grown(language: Language, form: &Form, now: &str) -> Result<String, Problem> {
    let wrong = |message| {
        Problem::Invalid(vec![Fault::new(
            language.pick("Dung lượng mới", "New size"),
            message,
        )])
    };
    let size = form.get(SIZE).parse::<u64>().ok();
    let Some(size) = size.filter(|size| (1..=LARGEST).contains(size)) else {
        return Err(wrong(
            language.pick("số GiB, từ 1 đến 65536", "GiB, from 1 to 65536"),
        ));
    };
    let text = format!("{size}Gi");
    match (words::amount(&text), words::amount(now)) {
        (Some(new), Some(old)) if new <= old => Err(wrong(language.pick(
            "phải lớn hơn dung lượng hiện nay",
            "has to be larger than it is now",
        ))),
        _ => Ok(text),
    }
}

pub async fn grow(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let place = object_place(path)?;
    let form = form::read(&web, &visit, &headers, body).await?;
    let tried = async {
        let deed = Deed::change::<Volumes>(&web.app, &visit.caller, &place).await?;
        let now = get::<Volumes>(&web.app, &visit.caller, &place).await?;
        let size = grown(visit.language(), &form, &now.spec.size)?;
        let change = VolumeChange {
            size: Some(size),
            pool: None,
        };
        let deed = deed.of_change::<Volumes>(change).await?;
        deed.patch::<Volumes>(None).await
    };
    match tried.await {
        Ok(_) => Ok(back_to(&place, true).into_response()),
        Err(problem) => again(&web, &visit, &place, &form, problem).await,
    }
}

pub fn deletion(
    visit: &Visit,
    of: &Of,
    view: &VolumeView,
    snapshots: usize,
    refused: Option<&Refused<'_>>,
) -> Markup {
    let language = visit.language();
    let name = &view.meta.name;
    let at = of.path(&format!("/volumes/{name}/delete"));
    let open = refused.is_some_and(|refused| !refused.form.get(CONFIRM).is_empty());
    html! {
        section {
            details open[open] {
                summary { (language.pick("Xóa ổ đĩa…", "Delete the volume…")) }
                p { (consequence(language, view.reclaim)) }
                @if let Some(machine) = view.attached_to.as_deref() {
                    p { (language.pick("Máy ảo đang dùng nó: ổ đĩa chỉ mất đi sau khi máy bị xóa hoặc thôi dùng. Máy: ",
                        "A machine uses it: the volume goes only after the machine is deleted or uses it no more. Machine: ")) (machine) }
                }
                @if snapshots > 0 {
                    p { (language.pick("Còn bản chụp: ổ đĩa chỉ mất đi sau khi các bản chụp được xóa. Số bản chụp: ",
                        "It has snapshots: the volume goes only after they are deleted. Snapshots: ")) (snapshots) }
                }
                form.narrow method="post" action=(at) data-once="" {
                    (token(visit))
                    div.field {
                        label for=(CONFIRM) { (language.pick("Viết lại tên ổ đĩa để xác nhận", "Write the volume's name to confirm")) }
                        input id=(CONFIRM) name=(CONFIRM) type="text" autocomplete="off" required;
                    }
                    button.danger type="submit" { (language.pick("Xóa ổ đĩa", "Delete the volume")) }
                }
            }
        }
    }
}

fn consequence(language: Language, reclaim: ReclaimRule) -> Markup {
    html! {
        (language.pick("Khi xóa: ", "When it is deleted, ")) (kept(language, reclaim)) ". "
        @if reclaim == ReclaimRule::Retain {
            (language.pick("Muốn lấy lại dữ liệu, hãy liên hệ đơn vị vận hành trung tâm.",
                "To have it back, ask the operator of the centre."))
        } @else {
            (language.pick("Không lấy lại được dữ liệu.", "The data cannot be brought back."))
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
    let form = form::read(&web, &visit, &headers, body).await?;
    let tried = async {
        let deed = Deed::deletion::<Volumes>(&web.app, &visit.caller, &place).await?;
        if Some(form.get(CONFIRM)) != place.name.as_deref() {
            let language = visit.language();
            let fault = Fault::new(
                language.pick("Tên ổ đĩa", "Volume's name"),
                language.pick(
                    "không giống tên của ổ đĩa này",
                    "is not the name of this volume",
                ),
            );
            return Err(Problem::Invalid(vec![fault]));
        }
        deed.delete::<Volumes>(None).await
    };
    match tried.await {
        Ok(()) => Ok(back_to(&place, false).into_response()),
        Err(problem) => again(&web, &visit, &place, &form, problem).await,
    }
}

/// The volume's page, or their list.
pub fn back_to(place: &Place, itself: bool) -> Redirect {
    let rest = match (itself, &place.name) {
        (true, Some(name)) => format!("/volumes/{name}"),
        _ => "/volumes".to_owned(),
    };
    Redirect::to(&frame::department_path(&place.department, &rest))
}

/// The page once more, with what is wrong and what was entered.
pub async fn again(
    web: &Web,
    visit: &Visit,
    place: &Place,
    form: &Form,
    problem: Problem,
) -> Answered {
    if !problem.is_of_form() {
        return Err(problem);
    }
    let refused = Refused {
        problem: &problem,
        form,
    };
    let page = shown(web, visit, place, Some(&refused)).await?;
    Ok((problem.status(), page).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_larger_than_before_or_refused_in_the_readers_language() {
        let grown = |text: &str| {
            let form = Form::parse(format!("size={text}").as_bytes());
            grown(Language::English, &form, "1536Mi")
        };
        assert_eq!(grown("2"), Ok("2Gi".to_owned()));
        for wrong in ["1", "0", "-2", "2.5", "", "65537", "99999999999999999999"] {
            let Err(Problem::Invalid(faults)) = grown(wrong) else {
                panic!("{wrong:?} is taken");
            };
            assert_eq!(faults[0].field, "New size");
        }
    }
}
