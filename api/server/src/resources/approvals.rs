//! Answers to requests, by their leaders and by the operator of the centre. They are never changed
//! or deleted.
//!
//! Nobody names them: the name is made from who answers what and how, so that an answer sent twice
//! is one.

use dc_crds::request::{self, Approval, ApprovalSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::requests::Requests;
use super::{Also, Create, Facts, Kind, named, view};
use crate::app::App;
use crate::door::Caller;
use crate::problem::{Fault, Problem};
use crate::rights::{Person, Resource, Verb};
use dc_audit::chain::hex;

pub struct Approvals;

/// One person's answer to one request as it stood. Whether it counts is said by `ready`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Approval)]
pub struct ApprovalView {
    #[serde(flatten)]
    pub meta: view::Meta,
    pub request: String,
    pub request_uid: String,
    /// Of the content that was read.
    pub hash: String,
    pub role: DecisionRole,
    pub verdict: Verdict,
    /// The user who answered.
    pub approver: String,
    pub reason: String,
}

/// As whom somebody decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum DecisionRole {
    /// The department's leader.
    Leader,
    /// The operator of the centre.
    Centre,
}

impl DecisionRole {
    #[must_use]
    pub fn of(role: request::DecisionRole) -> Self {
        match role {
            request::DecisionRole::Leader => Self::Leader,
            request::DecisionRole::Centre => Self::Centre,
        }
    }

    fn spec(self) -> request::DecisionRole {
        match self {
            Self::Leader => request::DecisionRole::Leader,
            Self::Centre => request::DecisionRole::Centre,
        }
    }

    /// The right to answer so, of requests.
    #[must_use]
    pub fn verb(self) -> Verb {
        match self {
            Self::Leader => Verb::Approve,
            Self::Centre => Verb::Grant,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ApprovalVerdict)]
pub enum Verdict {
    Approve,
    Reject,
}

/// An answer to be given.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewApproval {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub request: String,
    /// `uid` of the request that was read.
    #[schema(pattern = "^[0-9a-f-]{36}$", max_length = 36)]
    pub request_uid: String,
    /// `hash` of the request that was read.
    #[schema(pattern = "^[0-9a-f]{64}$", max_length = 64)]
    pub hash: String,
    pub role: DecisionRole,
    pub verdict: Verdict,
    /// For the department and for the record.
    #[serde(default)]
    #[schema(max_length = 4096)]
    pub reason: String,
}

impl Kind for Approvals {
    type Object = Approval;
    type View = ApprovalView;
    const RESOURCE: Resource = Resource {
        group: dc_crds::GROUP,
        plural: "approvals",
    };

    fn view(object: &Approval) -> ApprovalView {
        let ApprovalSpec {
            request,
            request_uid,
            hash,
            role,
            verdict,
            approver,
            reason,
        } = &object.spec;
        ApprovalView {
            meta: Self::meta(object),
            request: request.clone(),
            request_uid: request_uid.clone(),
            hash: hash.clone(),
            role: DecisionRole::of(*role),
            verdict: match verdict {
                request::Verdict::Approve => Verdict::Approve,
                request::Verdict::Reject => Verdict::Reject,
            },
            approver: approver.clone(),
            reason: reason.clone(),
        }
    }

    fn meta(object: &Approval) -> view::Meta {
        let status = object.status.as_ref();
        view::meta(
            &object.metadata,
            status.map_or(&[], |status| &status.conditions),
        )
    }

    fn facts(object: &Approval) -> Facts<'_> {
        Facts {
            system: None,
            state: Some(match object.spec.verdict {
                request::Verdict::Approve => "Approve",
                request::Verdict::Reject => "Reject",
            }),
            virtual_machine: None,
        }
    }
}

impl Create for Approvals {
    type New = NewApproval;

    const REFUSED_AS: Verb = Verb::Approve;

    fn name(new: &NewApproval, person: &Person) -> String {
        let NewApproval {
            request,
            request_uid,
            hash,
            role,
            verdict,
            reason: _,
        } = new;
        let who = json!([person.user, request, request_uid, hash, role, verdict]).to_string();
        let digest = hex(&Sha256::digest(who));
        let beginning: String = request.chars().take(40).collect();
        let beginning = beginning.trim_end_matches('-');
        format!("{beginning}-{}", &digest[..16])
    }

    fn object(department: &str, name: &str, new: NewApproval) -> Approval {
        let NewApproval {
            request,
            request_uid,
            hash,
            role,
            verdict,
            reason,
        } = new;
        let spec = ApprovalSpec {
            request,
            request_uid,
            hash,
            role: role.spec(),
            verdict: match verdict {
                Verdict::Approve => request::Verdict::Approve,
                Verdict::Reject => request::Verdict::Reject,
            },
            // The API server puts it there.
            approver: String::new(),
            reason,
        };
        let mut approval = Approval::new("", spec);
        approval.metadata = named(department, name);
        approval
    }

    fn audited(new: &NewApproval) -> Value {
        json!(new)
    }

    fn also(new: &NewApproval) -> Option<Also> {
        Some(Also {
            verb: new.role.verb(),
            resource: Requests::RESOURCE,
            name: new.request.clone(),
        })
    }

    /// Authors of a request are only ever added to, so what our cache shows of them stays true. Its
    /// content may be newer than our cache: that is the API server's to judge.
    fn judge(new: &NewApproval, app: &App, caller: &Caller, at: &str) -> Result<(), Problem> {
        let there = app.kinds.of::<Requests>().get(at, &new.request);
        let Some(there) = there else {
            let fault = Fault::new("request", "the department has no request of this name");
            return Err(Problem::Invalid(vec![fault]));
        };
        let same = there.metadata.uid.as_ref() == Some(&new.request_uid);
        let own = same && there.spec.authors.contains(&caller.person.user);
        match own {
            true => Err(Problem::OwnRequest),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::is_name;

    fn new(request: &str, verdict: Verdict) -> NewApproval {
        NewApproval {
            request: request.to_owned(),
            request_uid: "u".to_owned(),
            hash: "h".to_owned(),
            role: DecisionRole::Leader,
            verdict,
            reason: "as agreed".to_owned(),
        }
    }

    fn person(user: &str) -> Person {
        Person {
            user: user.to_owned(),
            groups: Vec::new().into(),
        }
    }

    #[test]
    fn an_answer_has_one_name_and_another_answer_another() {
        let name = |new: &NewApproval, user| Approvals::name(new, &person(user));
        let yes = new("portal", Verdict::Approve);
        let mut later = yes.clone();
        later.reason = "as agreed again".to_owned();
        assert_eq!(name(&yes, "a"), name(&later, "a"));
        assert_ne!(name(&yes, "a"), name(&yes, "b"));
        assert_ne!(name(&yes, "a"), name(&new("portal", Verdict::Reject), "a"));
        for long in ["a".repeat(63), format!("{}-b", "a".repeat(39))] {
            assert!(is_name(&name(&new(&long, Verdict::Approve), "a")), "{long}");
        }
    }
}
