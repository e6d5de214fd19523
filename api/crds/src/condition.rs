//! Conditions: what people read of how an object stands. Unknown is not healthy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// One fact about an object, in the form of Kubernetes' own conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// An adjective, such as Ready or Placed.
    #[serde(rename = "type")]
    pub type_: String,
    pub status: ConditionStatus,
    /// A fact in PascalCase, for programs.
    pub reason: String,
    /// What is so, where, and what to do, for people.
    pub message: String,
    /// The generation of the spec this was judged from.
    pub observed_generation: i64,
    /// When `status` last changed, RFC 3339 in UTC.
    pub last_transition_time: String,
}

/// Condition types, one constant each, so that a misspelt one does not build.
pub mod types {
    pub const READY: &str = "Ready";
    pub const PLACED: &str = "Placed";
    pub const ATTACHED: &str = "Attached";
    pub const BOOTED: &str = "Booted";
    pub const JOINED: &str = "Joined";
    pub const CAPACITY: &str = "CapacityLeft";
    pub const DELETABLE: &str = "Deletable";
    pub const WITHIN_QUOTA: &str = "WithinQuota";
    pub const WITHIN_LEASE: &str = "WithinLease";
    /// Of a volume: it is on its way to another pool; False when it is to go there and does not.
    pub const MOVING: &str = "Moving";
    /// Of a backup: whether the rules of its policy keep it.
    pub const KEPT: &str = "Kept";
    /// Of a backup: whether a trial has shown that it comes back.
    pub const PROVEN: &str = "Proven";
    /// Of a backup: whether its run was like those before it.
    pub const USUAL: &str = "Usual";
    /// Of a machine: it runs, and what was changed since it was started waits for its next start.
    pub const RESTART_NEEDED: &str = "RestartNeeded";
}
