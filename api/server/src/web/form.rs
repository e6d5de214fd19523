//! Forms: read whole and bounded, and believed only when they are of our own pages.
//!
//! Three things have to agree: the browser's word about where the form was (Sec-Fetch-Site and
//! Origin, where it gives one), the session's cookie, and the session's token in the form, which no
//! other site can read.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, header};
use sha2::{Digest, Sha256};

use super::Web;
use super::door::Visit;
use crate::door::{body, text};
use crate::problem::Problem;

/// The field of the session's token.
pub const CSRF: &str = "csrf";
/// The field of a form's own key: sent twice, it is done once.
pub const ONCE: &str = "once";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The fields of a form, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let fields = form_urlencoded::parse(bytes);
        Self {
            fields: fields.into_owned().collect(),
        }
    }

    /// What was entered, without space around it; empty when nothing was.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.trim())
    }

    /// Whether a box was ticked.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }
}

/// The form that a visitor sends.
pub async fn read(
    web: &Web,
    visit: &Visit,
    headers: &HeaderMap,
    body: Body,
) -> Result<Form, Problem> {
    if !is_of_us(headers, &web.origin) {
        return Err(Problem::ForeignForm);
    }
    let kind = text(headers, &header::CONTENT_TYPE).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Problem::ForeignForm);
    }
    let bytes = body::read(headers, body, web.app.settings.body_deadline).await?;
    let form = Form::parse(&bytes);
    // Digests: how long their comparison takes tells nothing of the token.
    let same = Sha256::digest(form.get(CSRF)) == Sha256::digest(&visit.csrf);
    same.then_some(form).ok_or(Problem::ForeignForm)
}

/// Whether the browser says nothing against it.
fn is_of_us(headers: &HeaderMap, origin: &str) -> bool {
    let site = headers.get(&FETCH_SITE);
    let from = headers.get(header::ORIGIN);
    site.is_none_or(|site| site == "same-origin") && from.is_none_or(|from| from == origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_form_of_another_site_is_known_by_what_the_browser_says() {
        let ours = "https://api.example.vn";
        let headers = |pairs: &[(HeaderName, &'static str)]| {
            let pairs = pairs.iter().cloned();
            HeaderMap::from_iter(pairs.map(|(name, value)| (name, HeaderValue::from_static(value))))
        };
        let good = headers(&[(FETCH_SITE, "same-origin"), (header::ORIGIN, ours)]);
        assert!(is_of_us(&good, ours));
        assert!(is_of_us(&HeaderMap::new(), ours));
        for (name, value) in [
            (FETCH_SITE, "cross-site"),
            (FETCH_SITE, "same-site"),
            (FETCH_SITE, "none"),
            (header::ORIGIN, "null"),
            (header::ORIGIN, "https://api.example.vn.evil.vn"),
        ] {
            assert!(!is_of_us(&headers(&[(name, value)]), ours), "{value}");
        }
    }

    #[test]
    fn fields_are_read_as_they_were_entered() {
        let form = Form::parse("a=%3Cscript%3E+&b=&a=2".as_bytes());
        assert_eq!(form.get("a"), "<script>");
        assert_eq!((form.get("b"), form.get("c")), ("", ""));
    }
}
