//! Words for requests and answers to them.

use dc_crds::request::DecisionRole;

use super::Standing::{Moving, Resting, Settled, Troubled};
use super::platform::list;
use super::{Fact, Words};

pub(super) fn words(fact: &Fact) -> Option<Words> {
    request(fact).or_else(|| approval(fact))
}

fn request(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::RequestTemplate { object, error } => Words::new(
            Troubled,
            "TemplateInvalid",
            format!("objects: {object}: {error}; it cannot be submitted before that is put right"),
            format!("objects: {object} chưa đúng; cần sửa trước khi gửi"),
        ),
        Fact::RequestDraft => Words::new(
            Resting,
            "Draft",
            "a draft; write phase: Submitted to hand it in",
            "bản nháp; ghi phase: Submitted để gửi",
        ),
        Fact::RequestWaits { role, name, hash } => {
            let (en, vi) = match role {
                DecisionRole::Leader => ("the department's leader", "lãnh đạo cơ quan"),
                DecisionRole::Centre => ("the operator of the centre", "đơn vị vận hành trung tâm"),
            };
            Words::new(
                Moving,
                match role {
                    DecisionRole::Leader => "WaitsForLeader",
                    DecisionRole::Centre => "WaitsForCentre",
                },
                format!(
                    "waiting for {en}, who answers by an Approval that names request {name} and \
                     hash {hash}"
                ),
                format!("đang chờ {vi} trả lời bằng Approval cho yêu cầu {name}, mã băm {hash}"),
            )
        }
        Fact::RequestRejected { by, why } => Words::new(
            Troubled,
            "Rejected",
            format!("rejected by {by}: {why}; write another request"),
            format!("{by} đã từ chối: {why}; hãy lập yêu cầu khác"),
        ),
        Fact::RequestWithdrawn { by } => Words::new(
            Resting,
            "Withdrawn",
            format!("withdrawn by {by}"),
            format!("{by} đã rút yêu cầu"),
        ),
        Fact::RequestChanged => Words::new(
            Troubled,
            "ChangedSinceApproval",
            "the content is no longer what was approved, so nothing of it is built; write another \
             request",
            "nội dung khác với bản đã duyệt nên không được thực hiện; hãy lập yêu cầu khác",
        ),
        Fact::RequestBuilding { waiting } => Words::new(
            Moving,
            "Building",
            format!("granted; waiting for {}", list(waiting)),
            format!("đã cấp; đang chờ {}", list(waiting)),
        ),
        Fact::RequestProvisioned => Words::new(
            Settled,
            "Provisioned",
            "all of it is there as granted",
            "đã có đầy đủ đúng như được cấp",
        ),
        Fact::RequestStrayed { lines } => Words::new(
            Troubled,
            "DiffersFromGrant",
            format!(
                "it is there, and otherwise than granted: {}; put it back, or write a request for \
                 the change",
                list(lines)
            ),
            format!(
                "đã có nhưng khác với bản được cấp: {}; hãy khôi phục hoặc lập yêu cầu thay đổi",
                list(lines)
            ),
        ),
        _ => return None,
    })
}

fn approval(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::ApprovalCounts => Words::new(
            Settled,
            "Counts",
            "an answer to the request as it stands",
            "là câu trả lời cho yêu cầu hiện tại",
        ),
        Fact::ApprovalOfNothing { request } => Words::new(
            Troubled,
            "NoSuchRequest",
            format!("does not count: there is no ResourceRequest {request} of this uid"),
            format!("không có hiệu lực: không có ResourceRequest {request} với uid này"),
        ),
        Fact::ApprovalByAuthor { request, approver } => Words::new(
            Troubled,
            "OwnRequest",
            format!(
                "does not count: {approver} wrote in request {request}; nobody decides on his own \
                 request"
            ),
            format!(
                "không có hiệu lực: {approver} là người lập yêu cầu {request}; không ai tự duyệt \
                 yêu cầu của mình"
            ),
        ),
        Fact::ApprovalOfOther { request } => Words::new(
            Troubled,
            "OtherContent",
            format!(
                "does not count: request {request} has another content than the one that was read; \
                 read it again"
            ),
            format!("không có hiệu lực: nội dung yêu cầu {request} đã khác; hãy đọc lại"),
        ),
        _ => return None,
    })
}
