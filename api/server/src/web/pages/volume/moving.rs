//! A volume goes to another pool while its guest goes on: the form that asks for it, and how far it is.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::super::super::Web;
use super::super::super::door::Visit;
use super::super::super::form;
use super::super::super::frame::{Of, token};
use super::super::super::wizard::name_fault;
use super::super::object_place;
use super::acts::{again, back_to};
use crate::language::Language;
use crate::problem::Problem;
use crate::resources::volumes::{MovingView, VolumeChange, VolumeView, Volumes};
use crate::serve::Answered;
use crate::serve::deed::Deed;

const POOL: &str = "pool";

pub fn standing(language: Language, moving: &MovingView) -> Markup {
    let how = match moving.phase.as_str() {
        "Leaving" => language.pick(
            "đã sang, đang thu hồi chỗ cũ ở ",
            "gone over, giving back its place in ",
        ),
        "Recalled" | "Ending" => language.pick(
            "đang hủy, thu hồi chỗ mới ở ",
            "taken back, giving back its place in ",
        ),
        _ => language.pick("đang chuyển, đầu kia là ", "on its way; the other pool is "),
    };
    html! {
        (how) (moving.other)
        @if let Some(percent) = moving.percent {
            " " progress max="100" value=(percent) aria-label=(language.pick("Tiến độ", "Progress")) {}
            " " (percent) " %"
        }
    }
}

pub fn form(visit: &Visit, of: &Of, view: &VolumeView, pools: &[String]) -> Markup {
    let language = visit.language();
    let at = of.path(&format!("/volumes/{}/pool", view.meta.name));
    let others: Vec<&String> = pools.iter().filter(|pool| **pool != view.pool).collect();
    html! {
        @if !others.is_empty() {
            section {
                h2 { (language.pick("Chuyển vùng lưu trữ", "Move to another pool")) }
                p.hint { (language.pick(
                    "Máy ảo vẫn chạy. Trong lúc chuyển, cả hai chỗ đều tính vào hạn mức; chọn lại vùng cũ thì hủy, trước khi đã sang.",
                    "Its guest goes on. Both places are charged to the quota meanwhile; choosing the pool it was in takes the move back, until it has gone over.")) }
                form.narrow method="post" action=(at) data-once="" {
                    (token(visit))
                    div.field {
                        label for=(POOL) { (language.pick("Vùng lưu trữ mới", "New pool")) }
                        select id=(POOL) name=(POOL) {
                            @for pool in others { option value=(pool) { (pool) } }
                        }
                    }
                    button type="submit" { (language.pick("Chuyển", "Move")) }
                }
            }
        }
    }
}

pub async fn go(
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
        let pool = form.get(POOL).to_owned();
        let title = ("Vùng lưu trữ mới", "New pool");
        if let Some(fault) = name_fault(visit.language(), &pool, title) {
            return Err(Problem::Invalid(vec![fault]));
        }
        let change = VolumeChange {
            size: None,
            pool: Some(pool),
        };
        let deed = deed.of_change::<Volumes>(change).await?;
        deed.patch::<Volumes>(None).await
    };
    match tried.await {
        Ok(_) => Ok(back_to(&place, true).into_response()),
        Err(problem) => again(&web, &visit, &place, &form, problem).await,
    }
}
