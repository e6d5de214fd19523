//! What all pages have around them: head, navigation, foot; and the pages of problems.

use axum::extract::{Extension, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Redirect};
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use super::Web;
use super::door::{Page, Reader, Visit};
use super::form::CSRF;
use super::session::{LANGUAGE, keep};
use super::words::{self, Tone};
use crate::door::body;
use crate::language::Language;
use crate::problem::{Fault, Problem};
use crate::serve::Answered;

/// Which part of a department a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Requests,
    Approvals,
    Machines,
    Volumes,
    Backups,
    Usage,
}

/// The department that a page is of.
#[derive(Clone, Debug)]
pub struct Of {
    pub name: String,
    pub title: String,
    pub tab: Tab,
}

impl Of {
    #[must_use]
    pub fn path(&self, rest: &str) -> String {
        department_path(&self.name, rest)
    }
}

/// Names of departments and objects are DNS labels: nothing in them needs to be escaped.
#[must_use]
pub fn department_path(department: &str, rest: &str) -> String {
    format!("/departments/{department}{rest}")
}

/// Where somebody signs in, and comes back to a page of ours.
#[must_use]
pub fn sign_in_path(next: &str) -> String {
    let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    format!("/auth/login?next={next}")
}

/// Whether this is a path of ours: browsers take `//x` and `/\x` for another host.
#[must_use]
pub fn is_local(path: &str) -> bool {
    let mut bytes = path.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && path.len() <= 2048
        && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A page of somebody who has signed in.
pub fn page(visit: &Visit, title: &str, of: Option<&Of>, content: &Markup) -> Page {
    Page(whole(&visit.reader, Some(visit), title, of, content))
}

/// A page that needs nobody.
pub fn open(reader: &Reader, title: &str, content: &Markup) -> Page {
    Page(whole(reader, None, title, None, content))
}

fn whole(
    reader: &Reader,
    visit: Option<&Visit>,
    title: &str,
    of: Option<&Of>,
    content: &Markup,
) -> Markup {
    let language = reader.language;
    html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light";
                title { (title) " · " (product(language)) }
                link rel="stylesheet" href="/static/site.css";
                script src="/static/site.js" defer {}
            }
            body {
                a.skip href="#main" { (language.pick("Đến nội dung chính", "To the main content")) }
                (top(reader, visit))
                @if let Some(of) = of { (tabs(language, of)) }
                main #main tabindex="-1" {
                    (content)
                }
                footer {
                    p { (language.pick(
                        "Trung tâm dữ liệu tỉnh Sơn La",
                        "Data centre of Son La province")) }
                }
            }
        }
    }
}

fn product(language: Language) -> &'static str {
    language.pick("Trung tâm dữ liệu", "Data centre")
}

fn top(reader: &Reader, visit: Option<&Visit>) -> Markup {
    let language = reader.language;
    let (other, name) = match language {
        Language::Vietnamese => ("en", "English"),
        Language::English => ("vi", "Tiếng Việt"),
    };
    let next: String = form_urlencoded::byte_serialize(reader.here.as_bytes()).collect();
    let switch = format!("/language?to={other}&next={next}");
    html! {
        header.top {
            a.brand href="/" { (product(language)) }
            div.who {
                a lang=(other) hreflang=(other) href=(switch) { (name) }
                @if let Some(visit) = visit {
                    span.user { (visit.caller.person.user) }
                    form method="post" action="/auth/logout" {
                        (token(visit))
                        button.link type="submit" { (language.pick("Đăng xuất", "Sign out")) }
                    }
                }
            }
        }
    }
}

fn tabs(language: Language, of: &Of) -> Markup {
    let tabs = [
        (Tab::Overview, "", "Tổng quan", "Overview"),
        (Tab::Requests, "/requests", "Yêu cầu", "Requests"),
        (Tab::Approvals, "/approvals", "Chờ quyết định", "To decide"),
        (Tab::Machines, "/machines", "Máy ảo", "Machines"),
        (Tab::Volumes, "/volumes", "Ổ đĩa", "Volumes"),
        (Tab::Backups, "/backups", "Sao lưu", "Backups"),
        (Tab::Usage, "/usage", "Sử dụng", "Usage"),
    ];
    html! {
        nav.tabs aria-label=(language.pick("Các phần của đơn vị", "Parts of the department")) {
            p.department { (of.title) }
            ul {
                @for (tab, rest, vi, en) in tabs {
                    li {
                        a href=(of.path(rest)) aria-current=[(tab == of.tab).then_some("page")] {
                            (language.pick(vi, en))
                        }
                    }
                }
            }
        }
    }
}

/// The session's token, in every form.
#[must_use]
pub fn token(visit: &Visit) -> Markup {
    html! { input type="hidden" name=(CSRF) value=(visit.csrf); }
}

/// A state as a word with its colour.
#[must_use]
pub fn mark(language: Language, state: &str) -> Markup {
    let (tone, word) = words::state(language, state);
    marked(tone, &word)
}

#[must_use]
pub fn marked(tone: Tone, word: &str) -> Markup {
    html! { span class=(tone.class()) { (word) } }
}

/// A time as people of the province read it.
#[must_use]
pub fn time(language: Language, text: &str) -> Markup {
    let ago = words::ago(language, text, jiff::Timestamp::now());
    html! {
        time datetime=(text) title=[ago] { (words::time(text)) }
    }
}

/// What is wrong with what was asked for, above the form it is about.
#[must_use]
pub fn refusal(language: Language, problem: &Problem) -> Markup {
    let told = problem.body(language, "");
    html! {
        div.refusal role="alert" {
            h2 { (told.title) }
            @if told.errors.is_empty() { p { (told.detail) } }
            (faults(&told.errors))
        }
    }
}

fn faults(faults: &[Fault]) -> Markup {
    html! {
        @if !faults.is_empty() {
            ul { @for Fault { field, message } in faults {
                li { strong { (field) } ": " (message) }
            } }
        }
    }
}

/// The page of a problem, wherever it came from.
#[must_use]
pub fn problem(reader: &Reader, problem: &Problem, id: &str) -> Page {
    let language = reader.language;
    let told = problem.body(language, id);
    let signs_in = matches!(problem, Problem::NotSignedIn(_));
    // A problem of signing in is not solved by coming back to it.
    let next = match reader.here.starts_with("/auth/") {
        true => "/",
        false => reader.here.as_str(),
    };
    let content = html! {
        h1 { (told.title) }
        @if signs_in {
            p { (language.pick(
                "Phiên làm việc đã hết hoặc tài khoản không được vào.",
                "The session is over, or the account is not let in.")) }
            p { a.button href=(sign_in_path(next)) { (language.pick("Đăng nhập", "Sign in")) } }
        } @else {
            @if told.errors.is_empty() { p { (told.detail) } }
            (faults(&told.errors))
            p { a href="/" { (language.pick("Về trang đầu", "To the first page")) } }
        }
        p.quiet { (language.pick("Mã yêu cầu", "Request id")) ": " code { (told.request_id) } }
    };
    open(reader, &told.title, &content)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    to: String,
    next: Option<String>,
}

/// The other language, kept for a year.
pub async fn switch(State(_): State<Web>, _: Extension<Reader>, uri: Uri) -> Answered {
    let Switch { to, next } = body::query(&uri)?;
    let language = match to.as_str() {
        "en" => Language::English,
        _ => Language::Vietnamese,
    };
    let next = next.filter(|next| is_local(next));
    let kept = keep(LANGUAGE, language.tag(), 365 * 86_400)?;
    let back = Redirect::to(next.as_deref().unwrap_or("/"));
    Ok(([(header::SET_COOKIE, kept)], back).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_host() {
        for good in ["/", "/departments/x?a=b", "/a//b"] {
            assert!(is_local(good), "{good}");
        }
        for bad in [
            "",
            "//evil.vn",
            "/\\evil.vn",
            "https://evil.vn",
            "javascript:x",
            "/a\r\nSet-Cookie: x",
            "/a b",
        ] {
            assert!(!is_local(bad), "{bad}");
        }
    }

    #[test]
    fn text_of_others_stays_text() {
        let script = "<script>alert(1)</script>";
        let reader = Reader {
            language: Language::English,
            here: "/?\"><script>".to_owned(),
            session: None,
        };
        let content = html! { p title=(script) { (script) } (time(Language::English, script)) };
        let text = open(&reader, script, &content).0.into_string();
        assert_eq!(text.matches("<script").count(), 1, "{text}");
    }
}
