//! What waits for a decision in a department: with whom, since when, and whether the visitor is one
//! of them.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use dc_crds::ResourceRequest;
use maud::html;

use super::super::Web;
use super::super::door::Visit;
use super::super::frame::{self, Tab};
use super::{list_place, of, offers, requests, some};
use crate::door::body;
use crate::page::LARGEST_LIMIT;
use crate::resources::requests::Requests;
use crate::rights::Verb;
use crate::serve::Answered;
use crate::serve::read::{Filter, Nothing};

pub async fn page(
    State(web): State<Web>,
    Extension(visit): Extension<Visit>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let place = list_place(path)?;
    let Nothing {} = body::query(&uri)?;
    let (of, _) = of(&web, &visit, &place, Tab::Approvals).await?;
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    for (state, verb) in [("Submitted", Verb::Approve), ("Approved", Verb::Grant)] {
        let filter = Filter {
            state: Some(state.to_owned()),
            ..Filter::default()
        };
        let answers = offers::<Requests>(&web, &visit.caller, verb, &place).await?;
        let found = some::<Requests>(&web, &visit.caller, &place, LARGEST_LIMIT, &filter).await?;
        let wrote =
            |one: &Arc<ResourceRequest>| one.spec.authors.contains(&visit.caller.person.user);
        let (own, foreign): (Vec<_>, Vec<_>) = found.into_iter().partition(wrote);
        others.extend(own);
        match answers {
            true => mine.extend(foreign),
            false => others.extend(foreign),
        }
    }
    let language = visit.language();
    let title = language.pick("Chờ quyết định", "To decide");
    let content = html! {
        h1 { (title) }
        section {
            h2 { (language.pick("Chờ bạn trả lời", "Waiting for your answer")) }
            @if mine.is_empty() {
                p.quiet { (language.pick(
                    "Không có yêu cầu nào chờ bạn.",
                    "No request waits for you.")) }
            } @else {
                (requests::table(language, &of, &mine))
            }
        }
        @if !others.is_empty() {
            section {
                h2 { (language.pick("Chờ người khác", "Waiting for others")) }
                (requests::table(language, &of, &others))
            }
        }
    };
    Ok(frame::page(&visit, title, Some(&of), &content).into_response())
}
