//! Rights: who asks, and the questions put to the API server.
//!
//! There is one truth, Kubernetes' RBAC. Each call is put as a SubjectAccessReview for the user and
//! groups of the token ([`reviews`]), and what is written is written as that user by impersonation,
//! so that the API server decides again, and its own audit names the person.

pub mod reviews;

use std::sync::Arc;

/// A person or program that has signed in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Person {
    pub user: String,
    /// Sorted, without those that the API server adds itself.
    pub groups: Arc<[String]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    List,
    Create,
    Patch,
    Delete,
    /// Of requests: to answer them as their department's leader.
    Approve,
    /// Of requests: to answer them as the operator of the centre.
    Grant,
}

impl Verb {
    /// As RBAC calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Approve => "approve",
            Self::Grant => "grant",
        }
    }
}

/// Kinds as RBAC names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    pub group: &'static str,
    pub plural: &'static str,
}

/// May somebody do this? An absent department means all of them; an absent name, any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub verb: Verb,
    pub resource: Resource,
    pub department: Option<String>,
    pub name: Option<String>,
}

/// Whether a text can name an object: a DNS label (RFC 1123). What cannot is never there.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(letter)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_labels_are_names() {
        for bad in [
            "",
            "A",
            "a.b",
            "..",
            "a/b",
            "-a",
            "a-",
            "%2e",
            "é",
            &"a".repeat(64),
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_name("so-khcn"));
    }
}
