//! The body of a request: bounded in size and in time, then parsed once.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;

use crate::problem::{Fault, Problem};

/// cloud-init's user data is at most 64 KiB, and JSON may double it; the rest is small.
pub const LIMIT: usize = 256 * 1024;

/// The whole body, or why not.
pub async fn read(headers: &HeaderMap, body: Body, deadline: Duration) -> Result<Bytes, Problem> {
    let too_large = Problem::TooLarge { limit_bytes: LIMIT };
    let told = headers.get(header::CONTENT_LENGTH);
    let told = told.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|length| length > LIMIT as u64) {
        return Err(too_large);
    }
    let whole = Limited::new(body, LIMIT).collect();
    match tokio::time::timeout(deadline, whole).await {
        Err(_) => Err(Problem::TooSlow),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large),
        Ok(Err(_)) => Err(Problem::unreadable("body", "it was cut off")),
    }
}

/// JSON of exactly this shape. Nesting is bounded by the parser.
pub fn json<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Result<T, Problem> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Problem::NotJson);
    }
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut parser);
    let value = parsed.map_err(|error| {
        let field = match error.path().to_string().as_str() {
            "." => "body".to_owned(),
            path => path.to_owned(),
        };
        let inner = error.into_inner();
        let fault = Fault::new(field, inner.to_string());
        match inner.is_data() {
            true => Problem::Invalid(vec![fault]),
            false => Problem::Unreadable(fault),
        }
    })?;
    let end = parser.end();
    end.map_err(|error| Problem::unreadable("body", error.to_string()))?;
    Ok(value)
}

/// The parameters of a query; unknown ones are refused, so that a misspelt filter does not show
/// everything.
pub fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let parsed = axum::extract::Query::try_from_uri(uri);
    let wrong = |error: axum::extract::rejection::QueryRejection| {
        let why = std::error::Error::source(&error);
        let why = why.map_or_else(|| error.body_text(), ToString::to_string);
        Problem::unreadable("query", why)
    };
    parsed.map(|query| query.0).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Small {
        #[serde(rename = "a")]
        _a: u8,
    }

    fn parse(text: &str) -> Result<Small, Problem> {
        let kind = HeaderValue::from_static("application/json; charset=utf-8");
        json(
            &HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]),
            text.as_bytes(),
        )
    }

    #[test]
    fn json_that_cannot_be_read_and_json_that_is_wrong_are_told_apart() {
        for broken in ["", "{", "{\"a\":1}x", "\u{0}"] {
            assert!(
                matches!(parse(broken), Err(Problem::Unreadable(_))),
                "{broken:?}"
            );
        }
        for wrong in ["{\"a\":\"x\"}", "{\"a\":1,\"b\":2}", "{}", "[]"] {
            assert!(
                matches!(parse(wrong), Err(Problem::Invalid(_))),
                "{wrong:?}"
            );
        }
        assert!(parse("{\"a\":1}").is_ok());
        assert!(matches!(
            json::<Small>(&HeaderMap::new(), b"{}"),
            Err(Problem::NotJson)
        ));
    }

    #[test]
    fn deep_nesting_ends_in_an_answer_rather_than_in_the_stack() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(&deep).is_err());
        let inside = format!("{{\"a\":{deep}}}");
        assert!(parse(&inside).is_err());
    }

    #[tokio::test]
    async fn a_body_is_bounded_whether_or_not_it_tells_its_length() {
        let large = || Body::from(vec![b' '; LIMIT + 1]);
        let wait = Duration::from_secs(60);
        let read_without = read(&HeaderMap::new(), large(), wait).await;
        assert_eq!(read_without, Err(Problem::TooLarge { limit_bytes: LIMIT }));
        let length = HeaderValue::from(LIMIT + 1);
        let told = HeaderMap::from_iter([(header::CONTENT_LENGTH, length)]);
        let read_with = read(&told, large(), wait).await;
        assert_eq!(read_with, Err(Problem::TooLarge { limit_bytes: LIMIT }));
    }
}
