//! Whether one answer counts for a request, and what people read of it.

use dc_crds::request::Approval;
use dc_crds::{ApprovalStatus, ResourceRequest};

use super::content::hash;
use crate::conditions::{Draft, Judged, merge};
use crate::words::Fact;

/// Why an answer does not count, as a fact to tell; `Ok` when it does.
pub fn counts(approval: &Approval, request: Option<&ResourceRequest>) -> Result<(), Fact> {
    let name = approval.spec.request.clone();
    let named = request.filter(|request| {
        let meta = &request.metadata;
        meta.name.as_ref() == Some(&name) && meta.uid.as_ref() == Some(&approval.spec.request_uid)
    });
    let Some(request) = named else {
        return Err(Fact::ApprovalOfNothing { request: name });
    };
    let approver = &approval.spec.approver;
    if approver.is_empty() || request.spec.authors.contains(approver) {
        return Err(Fact::ApprovalByAuthor {
            request: name,
            approver: approver.clone(),
        });
    }
    match approval.spec.hash == hash(&request.spec) {
        true => Ok(()),
        false => Err(Fact::ApprovalOfOther { request: name }),
    }
}

#[must_use]
pub fn status(
    approval: &Approval,
    request: Option<&ResourceRequest>,
    judged: &Judged<'_>,
) -> ApprovalStatus {
    let fact = counts(approval, request)
        .err()
        .unwrap_or(Fact::ApprovalCounts);
    let old = approval.status.as_ref();
    ApprovalStatus {
        conditions: merge(
            old.map_or(&[], |old| &old.conditions),
            vec![Draft::ready(fact.words())],
            judged,
        ),
    }
}
