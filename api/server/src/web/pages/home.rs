//! The first page: for nobody the way in, for one department its own page, for more a list.

use axum::extract::{Extension, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect};
use maud::html;

use super::super::Web;
use super::super::door::{Reader, Visit};
use super::super::frame::{self, department_path, sign_in_path};
use crate::door::body;
use crate::resources::departments;
use crate::serve::Answered;
use crate::serve::read::Nothing;

pub async fn page(
    State(web): State<Web>,
    Extension(reader): Extension<Reader>,
    visit: Option<Extension<Visit>>,
    uri: Uri,
) -> Answered {
    let Nothing {} = body::query(&uri)?;
    let Some(Extension(visit)) = visit else {
        return Ok(way_in(&reader).into_response());
    };
    let own = departments::get_own(&web.app, &visit.caller).await?;
    if let [only] = own.as_slice() {
        let path = department_path(&only.name, "");
        return Ok(Redirect::to(&path).into_response());
    }
    let language = visit.language();
    let title = language.pick("Các đơn vị", "Departments");
    let content = html! {
        h1 { (title) }
        @if own.is_empty() {
            p { (language.pick(
                "Tài khoản này chưa có quyền ở đơn vị nào. Hãy liên hệ quản trị của đơn vị.",
                "This account has no rights in any department yet. Ask your department's administrators.")) }
        } @else {
            table.cards {
                thead { tr {
                    th scope="col" { (language.pick("Đơn vị", "Department")) }
                    th scope="col" { (language.pick("Hệ thống", "Systems")) }
                    th scope="col" { (language.pick("Máy ảo", "Machines")) }
                    th scope="col" { (language.pick("Ổ đĩa", "Volumes")) }
                    th scope="col" { (language.pick("Chờ quyết định", "To decide")) }
                } }
                tbody { @for one in &own { tr {
                    th scope="row" {
                        a href=(department_path(&one.name, "")) {
                            (language.pick(&one.title_vi, &one.title_en))
                        }
                    }
                    td data-label=(language.pick("Hệ thống", "Systems")) { (one.systems) }
                    td data-label=(language.pick("Máy ảo", "Machines")) { (one.virtual_machines) }
                    td data-label=(language.pick("Ổ đĩa", "Volumes")) { (one.volumes) }
                    td data-label=(language.pick("Chờ quyết định", "To decide")) {
                        a href=(department_path(&one.name, "/approvals")) {
                            (language.pick("Xem", "Look"))
                        }
                    }
                } } }
            }
        }
    };
    Ok(frame::page(&visit, title, None, &content).into_response())
}

fn way_in(reader: &Reader) -> impl IntoResponse + use<> {
    let language = reader.language;
    let title = language.pick("Đăng nhập", "Sign in");
    let content = html! {
        section.welcome {
            h1 { (language.pick("Tài nguyên của đơn vị", "Your department's resources")) }
            p { (language.pick(
                "Xem máy ảo, ổ đĩa và hạn mức của đơn vị, gửi yêu cầu và theo dõi đến khi hoàn tất.",
                "See your department's machines, volumes and quota, ask for more, and follow it until it runs.")) }
            p { a.button href=(sign_in_path("/")) { (title) } }
            p.quiet { (language.pick(
                "Bằng tài khoản đăng nhập một lần của tỉnh.",
                "With the province's single sign-on.")) }
        }
    };
    frame::open(reader, title, &content)
}
