//! Requests: whose answer each needs, how far it is, and what is built of it.
//!
//! ```text
//!            submit             approve              grant              build
//! Draft ───────────▶ Submitted ───────▶ Approved ───────▶ Granted ───────▶ Provisioned
//!   ▲ ◀── reopen ──────┘ │  ▲ ◀─ change ──┘ │
//!   │                    │  reject, of both │
//!   │                    └────▶ Rejected ◀──┘       Draft, Submitted, Approved ── withdraw ─▶ Withdrawn
//! ```
//! What always holds:
//! - The steps are [`step`]'s and no others; each is kept in the status with who, when and why.
//! - An answer counts for the very content that was read: it names the hash and the request's uid.
//!   Nobody's answer counts for a request in which he wrote himself.
//! - What is built is what was approved: nothing is, unless the content still has the approved hash.
//! - An object that was built and is otherwise now is told of, not put back.
//!
//! Who wrote and who answered is put into the objects by the API server's own policies
//! (`charts/datacenter/templates/policies.yaml`); here it is taken as true.

use dc_crds::request::{Approval, Phase, TemplateKind};
use dc_crds::{RequestPolicy, ResourceRequest};
use dc_types::ObjectRef;
use serde_json::Value;

use crate::quota::wish::ClassSizes;
use crate::quota::{Amounts, Limits, PoolClasses};

pub mod approval;
pub mod build;
pub mod content;
pub mod judge;
pub mod policy;
pub mod status;

pub use judge::{Judgement, judge};
pub use status::status;

/// What was read for one request.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub request: &'a ResourceRequest,
    pub me: &'a ObjectRef,
    /// Those of its namespace that name it.
    pub approvals: &'a [&'a Approval],
    pub policies: &'a [&'a RequestPolicy],
    /// An object of its namespace as it is.
    pub live: &'a dyn Fn(TemplateKind, &str) -> Option<Live>,
    /// What the department holds or waits for, without this request.
    pub taken: &'a Amounts,
    pub limits: &'a Limits,
    pub sizes: &'a ClassSizes,
    pub classes: &'a PoolClasses,
    /// RFC 3339 in UTC.
    pub now: &'a str,
}

/// An object that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The grant it was built for, if any.
    pub grant: Option<String>,
    pub spec: Value,
    pub readiness: Readiness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    Waiting,
}

/// What moves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Submit,
    Reopen,
    Withdraw,
    Approve,
    Reject,
    /// The content is no longer what was approved.
    Change,
    Grant,
    Build,
}

/// The one table of steps; `None`: no such step.
#[must_use]
pub fn step(from: Phase, by: Move) -> Option<Phase> {
    match (from, by) {
        (Phase::Draft, Move::Submit) | (Phase::Approved, Move::Change) => Some(Phase::Submitted),
        (Phase::Submitted, Move::Reopen) => Some(Phase::Draft),
        (Phase::Submitted, Move::Approve) => Some(Phase::Approved),
        (Phase::Submitted | Phase::Approved, Move::Reject) => Some(Phase::Rejected),
        (Phase::Draft | Phase::Submitted | Phase::Approved, Move::Withdraw) => {
            Some(Phase::Withdrawn)
        }
        (Phase::Approved, Move::Grant) => Some(Phase::Granted),
        (Phase::Granted, Move::Build) => Some(Phase::Provisioned),
        _ => None,
    }
}

/// What an object that was built for a request is marked with: the request's name, its uid, and the
/// beginning of the hash.
#[must_use]
pub fn grant(me: &ObjectRef, hash: &str) -> String {
    format!("{}.{}.{}", me.name, me.uid, &hash[..hash.len().min(16)])
}

#[cfg(test)]
mod tests;
