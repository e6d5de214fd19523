//! Writing to the API server, as the caller.
//!
//! Requests are made here from nothing but what was parsed, and carry the caller's name and groups
//! as impersonation, so that RBAC and the API server's audit see the person. Our own account may do
//! nothing to departments' objects by itself.

use axum::http::{HeaderName, HeaderValue, Request};
use kube::core::Status;
use kube::{Client, Error};
use serde::de::DeserializeOwned;

use crate::problem::{Fault, Part, Problem};
use crate::rights::{Person, Verb};

/// Who our changes are by, to server-side apply's eyes.
pub const FIELD_MANAGER: &str = "dc-api";

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");

/// Sends a request as this person.
pub async fn send<T: DeserializeOwned>(
    client: &Client,
    person: &Person,
    verb: Verb,
    mut request: Request<Vec<u8>>,
) -> Result<T, Problem> {
    let Person { user, groups } = person;
    // Names that cannot be headers were refused with the token.
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Problem::Internal);
    request.headers_mut().insert(USER, value(user)?);
    for group in groups.iter() {
        request.headers_mut().append(GROUP, value(group)?);
    }
    let sent = client.request(request).await;
    sent.map_err(|error| problem(verb, &error))
}

/// What an answer of the API server is to the caller.
fn problem(verb: Verb, error: &Error) -> Problem {
    let Error::Api(status) = error else {
        tracing::warn!(%error, "the API server cannot be reached");
        return Problem::Unavailable(Part::Kubernetes);
    };
    match (status.code, status.reason.as_str()) {
        (404, _) => Problem::NotFound,
        (409, "AlreadyExists") => Problem::Exists,
        (409, _) => Problem::Changed,
        (403 | 422, _) if ruled(&status.message).is_some() => {
            ruled(&status.message).unwrap_or(Problem::Internal)
        }
        // A policy's refusal of what was sent comes with the status of a missing right.
        (403, _) if status.message.contains("AdmissionPolicy") => invalid(status),
        (403, _) => Problem::Forbidden(verb),
        (400 | 422, _) => invalid(status),
        (code, reason) => {
            tracing::warn!(
                code,
                reason,
                message = status.message,
                "the API server refuses"
            );
            Problem::Unavailable(Part::Kubernetes)
        }
    }
}

/// Rules of the chart's policies that people meet in daily work: by the policy, and by the fields
/// that its sentence begins with.
const RULES: [(&str, &str, Problem); 4] = [
    (
        "dc-approval-of-request",
        "spec.request:",
        Problem::OwnRequest,
    ),
    (
        "dc-approval-of-request",
        "spec.requestUid, spec.hash:",
        Problem::OtherContent,
    ),
    ("dc-request", "spec:", Problem::Decided),
    ("dc-granted", "spec:", Problem::Granted),
];

fn ruled(message: &str) -> Option<Problem> {
    let mut rules = RULES.into_iter();
    let found = rules.find(|(policy, fields, _)| {
        message.contains(&format!("ValidatingAdmissionPolicy '{policy}'"))
            && message.contains(&format!("denied request: {fields}"))
    });
    found.map(|(_, _, problem)| problem)
}

fn invalid(status: &Status) -> Problem {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    // A policy's refusal is of the whole object.
    let field = |field: &str| if field.is_empty() { "body" } else { field }.to_owned();
    let faults = causes.map(|cause| Fault::new(field(&cause.field), cause.message.clone()));
    let mut faults: Vec<Fault> = faults.collect();
    if faults.is_empty() {
        faults.push(Fault::new("body", status.message.clone()));
    }
    Problem::Invalid(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, reason: &str, message: &str) -> Problem {
        let status = Status {
            code,
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..Status::default()
        };
        problem(Verb::Create, &Error::Api(Box::new(status)))
    }

    #[test]
    fn each_refusal_of_the_api_server_is_a_problem_of_its_own() {
        assert_eq!(of(404, "NotFound", ""), Problem::NotFound);
        assert_eq!(of(409, "AlreadyExists", ""), Problem::Exists);
        assert_eq!(of(409, "Conflict", ""), Problem::Changed);
        assert_eq!(of(403, "Forbidden", "no"), Problem::Forbidden(Verb::Create));
        assert!(matches!(
            of(422, "Invalid", "spec.size"),
            Problem::Invalid(_)
        ));
        let policy = "ValidatingAdmissionPolicy 'x' denied request";
        assert!(matches!(of(403, "Forbidden", policy), Problem::Invalid(_)));
        let ruled = |policy: &str, text: &str| {
            format!(
                "x is forbidden: ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {text}"
            )
        };
        let own = ruled("dc-approval-of-request", "spec.request: nobody decides");
        assert_eq!(of(403, "Forbidden", &own), Problem::OwnRequest);
        let other = ruled("dc-approval-of-request", "spec.requestUid, spec.hash: not");
        assert_eq!(of(422, "Invalid", &other), Problem::OtherContent);
        let decided = ruled("dc-request", "spec: it was decided on");
        assert_eq!(of(403, "Forbidden", &decided), Problem::Decided);
        let authors = ruled("dc-request", "spec.authors: the API server writes them");
        assert!(matches!(
            of(403, "Forbidden", &authors),
            Problem::Invalid(_)
        ));
        assert_eq!(of(500, "", ""), Problem::Unavailable(Part::Kubernetes));
    }
}
