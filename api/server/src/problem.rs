//! What goes wrong, as values; they become problem+json (RFC 9457) at the door, in the caller's
//! language.
//!
//! [`Problem::NotFound`] is one value for what is not there and for what the caller may not know
//! of, so that the two answers cannot differ.

mod words;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::language::Language;
use crate::rights::Verb;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No token, or one that is not believed.
    NotSignedIn(TokenFault),
    /// The caller sees it, and may not do that with it.
    Forbidden(Verb),
    NotFound,
    MethodNotAllowed,
    /// An object of that name is there.
    Exists,
    /// The same request is being carried out.
    InProgress,
    /// It has changed since the caller read it.
    Changed,
    /// A form that is not one of our pages, as they are now.
    ForeignForm,
    /// The caller wrote in the request that he answers.
    OwnRequest,
    /// The answer is to another text than the request has now.
    OtherContent,
    /// The request was decided on, and is what it was.
    Decided,
    /// It was granted by a request, and only another one changes it.
    Granted,
    TooLarge {
        limit_bytes: usize,
    },
    NotJson,
    /// The request did not come in time.
    TooSlow,
    /// The request itself cannot be read: a parameter, a header, JSON that is none.
    Unreadable(Fault),
    /// The request was read, and what it asks for is wrong.
    Invalid(Vec<Fault>),
    /// The idempotency key was used for another request.
    KeyReused,
    TooMany {
        retry_after_s: u64,
    },
    Unavailable(Part),
    /// A mistake of ours.
    Internal,
}

/// Why a token is not believed. What exactly is wrong with a signature is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    Missing,
    Invalid,
    Expired,
    NotYetValid,
    OtherAudience,
    /// The claim that names the user is missing or unverified.
    NoUser,
    /// The user was removed.
    Removed,
}

/// What we wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Identity,
    Kubernetes,
    Audit,
    /// More changes are followed than one client, or the server, may.
    Streams,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// The field, parameter or header.
    pub field: String,
    /// What is wrong with it, in English as the rule itself says it.
    pub message: String,
}

impl Fault {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody {
    /// A URN that ends in `code`.
    #[serde(rename = "type")]
    pub type_: String,
    /// What is wrong, in the caller's language.
    pub title: String,
    pub status: u16,
    /// What to do, in the caller's language.
    pub detail: String,
    /// The same in every language, for programs.
    pub code: String,
    /// Name it when you ask for help.
    pub request_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

impl Problem {
    /// Whether a form that was filled in otherwise, or a moment later, might be taken.
    #[must_use]
    pub fn is_of_form(&self) -> bool {
        matches!(
            self,
            Self::Invalid(_) | Self::Exists | Self::KeyReused | Self::Granted | Self::Changed
        )
    }

    #[must_use]
    pub fn unreadable(field: &str, message: impl Into<String>) -> Self {
        Self::Unreadable(Fault::new(field, message))
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotSignedIn(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::OwnRequest | Self::ForeignForm => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Exists
            | Self::InProgress
            | Self::OtherContent
            | Self::Decided
            | Self::Granted => StatusCode::CONFLICT,
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unreadable(_) => StatusCode::BAD_REQUEST,
            Self::Invalid(_) | Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// For programs; also the label of metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSignedIn(fault) => match fault {
                TokenFault::Missing => "not-signed-in",
                TokenFault::Invalid => "token-invalid",
                TokenFault::Expired => "token-expired",
                TokenFault::NotYetValid => "token-not-yet-valid",
                TokenFault::OtherAudience => "token-of-another-audience",
                TokenFault::NoUser => "token-without-user",
                TokenFault::Removed => "user-removed",
            },
            Self::Forbidden(_) => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Exists => "exists",
            Self::InProgress => "in-progress",
            Self::Changed => "changed",
            Self::ForeignForm => "foreign-form",
            Self::OwnRequest => "own-request",
            Self::OtherContent => "request-changed",
            Self::Decided => "decided",
            Self::Granted => "granted",
            Self::TooLarge { .. } => "too-large",
            Self::NotJson => "not-json",
            Self::TooSlow => "too-slow",
            Self::Unreadable(_) => "unreadable",
            Self::Invalid(_) => "invalid",
            Self::KeyReused => "key-reused",
            Self::TooMany { .. } => "too-many",
            Self::Unavailable(_) => "unavailable",
            Self::Internal => "internal",
        }
    }

    #[must_use]
    pub fn body(&self, language: Language, request_id: &str) -> ProblemBody {
        let words::Words { title, detail } = words::of(self);
        ProblemBody {
            type_: format!("urn:dc:problem:{}", self.code()),
            title: title.in_language(language),
            status: self.status().as_u16(),
            detail: detail.in_language(language),
            code: self.code().to_owned(),
            request_id: request_id.to_owned(),
            errors: match self {
                Self::Unreadable(fault) => vec![fault.clone()],
                Self::Invalid(faults) => faults.clone(),
                _ => Vec::new(),
            },
        }
    }
}

/// The door finds the problem in the answer and writes its body: it knows language and request.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_the_callers_language_and_keeps_its_code() {
        let problem = Problem::TooMany { retry_after_s: 3 };
        let vi = problem.body(Language::Vietnamese, "r1");
        let en = problem.body(Language::English, "r1");
        assert_eq!(vi.code, en.code);
        assert_ne!(vi.title, en.title);
        assert!(en.detail.contains("3 s"), "{}", en.detail);
        assert!(vi.detail.contains("3 giây"), "{}", vi.detail);
    }

    #[test]
    fn faults_are_named_with_their_fields() {
        let problem = Problem::Invalid(vec![Fault::new("spec.size", "may grow, never shrink")]);
        let body = serde_json::to_value(problem.body(Language::English, "r1")).unwrap();
        assert_eq!(body["errors"][0]["field"], "spec.size");
        assert_eq!(body["status"], 422);
        assert_eq!(body["type"], "urn:dc:problem:invalid");
    }
}
