//! What all views have in common.

use dc_crds::condition::types::READY;
use dc_crds::{Condition, ConditionStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use utoipa::ToSchema;

use crate::etag::ETag;

/// What every object has.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    /// The department it belongs to.
    pub department: String,
    pub uid: String,
    /// Send it as If-Match to change only what you have seen.
    pub etag: String,
    /// RFC 3339, UTC.
    pub created: Option<String>,
    pub phase: Phase,
    pub ready: Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum Phase {
    Present,
    /// It is gone once hosts have given back what it holds.
    Deleting,
}

/// How it stands, as the operator judged it from its present spec.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    pub status: Verdict,
    /// For programs.
    pub reason: String,
    /// What is so, where, and what to do.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum Verdict {
    True,
    False,
    /// Also while the operator has not judged the present spec.
    Unknown,
}

#[must_use]
pub fn etag(meta: &ObjectMeta) -> ETag {
    ETag::new(meta.uid.as_deref(), meta.resource_version.as_deref())
}

#[must_use]
pub fn meta(meta: &ObjectMeta, conditions: &[Condition]) -> Meta {
    Meta {
        name: meta.name.clone().unwrap_or_default(),
        department: meta.namespace.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        etag: etag(meta).to_string(),
        created: meta.creation_timestamp.as_ref().map(|at| at.0.to_string()),
        phase: match meta.deletion_timestamp {
            Some(_) => Phase::Deleting,
            None => Phase::Present,
        },
        ready: ready(meta.generation, conditions),
    }
}

/// How it stands in another respect.
#[must_use]
pub fn condition(meta: &ObjectMeta, conditions: &[Condition], type_: &str) -> Ready {
    judged(meta.generation, conditions, type_)
}

fn ready(generation: Option<i64>, conditions: &[Condition]) -> Ready {
    judged(generation, conditions, READY)
}

fn judged(generation: Option<i64>, conditions: &[Condition], type_: &str) -> Ready {
    let judged = conditions.iter().find(|condition| condition.type_ == type_);
    let current = judged.filter(|c| generation.is_none_or(|now| c.observed_generation == now));
    match current {
        Some(condition) => Ready {
            status: match condition.status {
                ConditionStatus::True => Verdict::True,
                ConditionStatus::False => Verdict::False,
                ConditionStatus::Unknown => Verdict::Unknown,
            },
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        },
        None => Ready {
            status: Verdict::Unknown,
            reason: "NotJudged".to_owned(),
            message: String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_on_an_older_spec_is_no_verdict() {
        let condition = Condition {
            type_: READY.to_owned(),
            status: ConditionStatus::True,
            reason: "Running".to_owned(),
            message: String::new(),
            observed_generation: 1,
            last_transition_time: String::new(),
        };
        let conditions = [condition];
        assert_eq!(ready(Some(1), &conditions).status, Verdict::True);
        assert_eq!(ready(Some(2), &conditions).status, Verdict::Unknown);
        assert_eq!(ready(Some(1), &[]).status, Verdict::Unknown);
    }
}
