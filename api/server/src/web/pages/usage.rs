//! What each system of the department held, over some days, and what that is worth.

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::Web;
use super::super::door::Visit;
use super::super::frame::{self, Of, Tab};
use super::super::words;
use super::{list_place, of};
use crate::door::body;
use crate::language::Language;
use crate::problem::Problem;
use crate::resources::showback::{PricesState, Showback, Total, get_showback};
use crate::serve::{Answered, Place};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: Option<String>,
    to: Option<String>,
}

async fn get(web: &Web, visit: &Visit, place: &Place, uri: &Uri) -> Result<Showback, Problem> {
    let Asked { from, to } = body::query(uri)?;
    // A form sends what was left empty.
    let said = |day: &Option<String>| day.clone().filter(|day| !day.is_empty());
    let (from, to) = (said(&from), said(&to));
    get_showback(
        &web.app,
        &visit.caller,
        place,
        from.as_deref(),
        to.as_deref(),
    )
    .await
}

pub async fn page(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = list_place(path)?;
    let (of, _) = of(&web, &visit, &place, Tab::Usage).await?;
    let language = visit.language();
    let title = language.pick("Tài nguyên đã sử dụng", "Resources used");
    let shown = match get(&web, &visit, &place, &uri).await {
        Ok(shown) => shown,
        Err(problem @ Problem::Unreadable(_)) => {
            let content = html! { h1 { (title) } (frame::refusal(language, &problem)) };
            return Ok(frame::page(&visit, title, Some(&of), &content).into_response());
        }
        Err(problem) => return Err(problem),
    };
    let content = html! {
        h1 { (title) }
        (days(language, &of, &shown))
        (prices(language, &shown))
        (totals(language, &shown.totals))
    };
    Ok(frame::page(&visit, title, Some(&of), &content).into_response())
}

/// The same by day, to be kept.
pub async fn table(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    get(&web, &visit, &list_place(path)?, &uri).await?.table()
}

fn days(language: Language, of: &Of, shown: &Showback) -> Markup {
    let Showback { from, to, .. } = shown;
    let table = of.path(&format!("/usage/table.csv?from={from}&to={to}"));
    html! {
        form.filter method="get" action=(of.path("/usage")) {
            label for="from" { (language.pick("Từ ngày", "From")) }
            input #from name="from" type="date" value=(from);
            label for="to" { (language.pick("đến hết ngày", "to the end of")) }
            input #to name="to" type="date" value=(to);
            button type="submit" { (language.pick("Xem", "Show")) }
            a href=(table) download { (language.pick("Tải bảng theo ngày (CSV)", "By day, as a table (CSV)")) }
        }
        p.quiet {
            (language.pick("Tính đến ", "Told up to ")) (frame::time(language, &shown.until))
            (language.pick(
                ". Tài nguyên được tính từ khi cấp đến khi trả lại, kể cả khi máy tắt.",
                ". What is held counts from when it is given until it is given back, also of a machine that is off."))
        }
    }
}

fn prices(language: Language, shown: &Showback) -> Markup {
    let said = match shown.prices {
        PricesState::Applied => return html! {},
        PricesState::None => {
            language.pick("Tỉnh chưa đặt đơn giá.", "The province has set no prices.")
        }
        PricesState::Unreadable => language.pick(
            "Không đọc được bảng đơn giá; hãy báo trung tâm dữ liệu.",
            "The list of prices cannot be read; please tell the data centre.",
        ),
    };
    html! { p.quiet { (said) } }
}

fn totals(language: Language, totals: &[Total]) -> Markup {
    let resource = language.pick("Tài nguyên", "Resource");
    let amount = language.pick("Lượng dùng", "Amount");
    let cost = language.pick("Giá trị", "Worth");
    html! {
        @if totals.is_empty() {
            p { (language.pick(
                "Không có tài nguyên nào được giữ trong những ngày này.",
                "Nothing was held on these days.")) }
        } @else {
            table.cards {
                thead { tr {
                    th scope="col" { (language.pick("Hệ thống", "System")) }
                    th scope="col" { (resource) }
                    th scope="col" { (amount) }
                    th scope="col" { (cost) }
                } }
                tbody { @for total in totals { tr {
                    th scope="row" { (total.system) }
                    td data-label=(resource) { (words::resource(language, &total.resource)) }
                    td data-label=(amount) { (total.amount) " " (unit(language, total)) }
                    td data-label=(cost) {
                        @match (&total.cost, &total.currency) {
                            (Some(cost), Some(currency)) => { (cost) " " (currency) }
                            _ => "–",
                        }
                    }
                } } }
            }
        }
    }
}

/// vCPU hours are not hours.
fn unit(language: Language, total: &Total) -> String {
    let hours = language.pick("giờ", "h");
    match total.resource.as_str() {
        "vcpus" => format!("vCPU·{hours}"),
        "virtualMachines" => format!("{}·{hours}", language.pick("máy", "machine")),
        "addresses" => format!("{}·{hours}", language.pick("địa chỉ", "address")),
        _ => format!("GiB·{hours}"),
    }
}
