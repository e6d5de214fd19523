//! ETags: the state of an object that a caller has seen, as its uid and resource version.
//!
//! A change that is conditional on an ETag is judged by the API server itself, which knows the
//! latest state; our caches are behind it by a moment.

use crate::problem::Problem;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag {
    pub uid: String,
    pub version: String,
}

/// What a header of conditions asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `*`: whatever is there.
    Any,
    /// One of these.
    OneOf(Vec<ETag>),
}

impl ETag {
    #[must_use]
    pub fn new(uid: Option<&str>, version: Option<&str>) -> Self {
        Self {
            uid: uid.unwrap_or_default().to_owned(),
            version: version.unwrap_or_default().to_owned(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('"')?.strip_suffix('"')?;
        let (uid, version) = inner.rsplit_once('.')?;
        let simple = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (inner.len() <= 128 && uid.chars().all(simple) && version.chars().all(simple))
            .then(|| Self::new(Some(uid), Some(version)))
    }
}

impl std::fmt::Display for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}.{}\"", self.uid, self.version)
    }
}

impl Condition {
    /// Reads If-Match, where weak tags never match (RFC 9110, 13.1.1): a header with nothing that
    /// could match has no tags, and so cannot be fulfilled.
    pub fn if_match(header: Option<&str>) -> Result<Option<Self>, Problem> {
        let Some(header) = header else {
            return Ok(None);
        };
        if header.trim() == "*" {
            return Ok(Some(Self::Any));
        }
        let tags: Vec<&str> = header.split(',').map(str::trim).collect();
        if tags.iter().any(|tag| !is_tag(tag)) {
            let wrong = "\"*\", or ETags in quotes, joined by commas";
            return Err(Problem::unreadable("If-Match", wrong));
        }
        let ours = tags.into_iter().filter_map(ETag::parse).collect();
        Ok(Some(Self::OneOf(ours)))
    }

    /// Whether If-None-Match says that the caller has this state already.
    #[must_use]
    pub fn has_already(header: Option<&str>, now: &ETag) -> bool {
        header.unwrap_or_default().split(',').any(|tag| {
            let tag = tag.trim();
            tag == "*" || ETag::parse(tag.trim_start_matches("W/")).as_ref() == Some(now)
        })
    }
}

/// In the form of an ETag, whoever made it.
fn is_tag(text: &str) -> bool {
    let strong = text.strip_prefix("W/").unwrap_or(text);
    let inner = strong.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> ETag {
        ETag::new(Some("7f8e-1"), Some("42"))
    }

    #[test]
    fn a_tag_is_read_back_as_it_was_written() {
        let read = Condition::if_match(Some(&tag().to_string())).unwrap();
        assert_eq!(read, Some(Condition::OneOf(vec![tag()])));
        assert!(Condition::has_already(Some(&tag().to_string()), &tag()));
        assert!(Condition::has_already(
            Some(&format!("W/{}", tag())),
            &tag()
        ));
    }

    #[test]
    fn a_weak_or_foreign_tag_never_fulfils_if_match() {
        for header in [format!("W/{}", tag()), "\"of-somebody-else\"".to_owned()] {
            let read = Condition::if_match(Some(&header)).unwrap();
            assert_eq!(read, Some(Condition::OneOf(Vec::new())));
        }
    }

    #[test]
    fn what_is_no_tag_is_told_instead_of_being_ignored() {
        for header in ["", "abc", "\"a\" \"b\"", "\"a"] {
            assert!(Condition::if_match(Some(header)).is_err(), "{header:?}");
        }
        assert_eq!(Condition::if_match(None).unwrap(), None);
    }
}
