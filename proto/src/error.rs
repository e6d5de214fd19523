//! Why a message cannot be understood, and where in it.

use std::fmt::Display;

use thiserror::Error;

/// `at` is the path of the field, such as `vm.disks[0].portal.address`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{at}: {what}")]
pub struct WireError {
    pub at: String,
    pub what: String,
}

impl WireError {
    pub(crate) fn new(at: &str, what: impl Display) -> Self {
        Self {
            at: at.to_owned(),
            what: what.to_string(),
        }
    }

    /// The same, seen from the message around it.
    pub(crate) fn inside(mut self, field: &str) -> Self {
        self.at = if self.at.is_empty() {
            field.to_owned()
        } else {
            format!("{field}.{}", self.at)
        };
        self
    }
}
