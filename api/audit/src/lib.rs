//! The audit log: who asked for what, from where, for which department, and what became of it.
//!
//! [`chain`] (pure) makes lines and follows them; [`verify`] reads a whole log and names the first
//! wrong line. The API writes what these make, and `dcctl` verifies it without the API.
//!
//! A change has two lines: one before it is made, which is on disk first, and one with its outcome.
//! If the server dies in between, the first one says that something was asked, and the API server's
//! own audit says whether it was done.

pub mod chain;
pub mod verify;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// From 1, without gaps.
    pub sequence: u64,
    /// RFC 3339, UTC.
    pub time: String,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub stage: Stage,
    pub request: String,
    pub user: String,
    pub groups: Vec<String>,
    /// The address of the client.
    pub from: String,
    pub department: String,
    pub verb: String,
    pub resource: String,
    pub name: String,
    /// What was asked for, without secrets.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub change: Value,
    /// Of the outcome: the HTTP status and the problem's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// It is about to be done.
    Asked,
    /// It was done.
    Done,
    /// It was not allowed.
    Denied,
    /// It was allowed and did not succeed.
    Failed,
    /// What a crash left of a line was cut off; `change` says how much.
    Recovered,
}
