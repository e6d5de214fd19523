//! Words for quotas and leases.

use super::Standing::{Resting, Settled, Troubled};
use super::{Fact, Words};
use crate::quota::report::amount_text;
use crate::quota::{Over, Thing};

pub(super) fn words(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::DepartmentMissing { department } => Words::new(
            Troubled,
            "DepartmentMissing",
            format!(
                "there is no Department {department} to which this namespace belongs, so nothing \
                 can be charged to it; a platform administrator has to create it"
            ),
            format!(
                "không có Department {department} cho namespace này nên không thể cấp tài nguyên; \
                 quản trị nền tảng cần tạo"
            ),
        ),
        Fact::QuotaExceeded { department, over } => Words::new(
            Troubled,
            "QuotaExceeded",
            format!(
                "quota of {department}: {}. It goes on by itself as soon as there is room, the \
                 oldest first",
                join(over, |over| exceeded_en(department, over))
            ),
            format!(
                "hạn mức của {department}: {}. Sẽ tự tiếp tục khi có chỗ, yêu cầu cũ trước",
                join(over, |over| exceeded_vi(department, over))
            ),
        ),
        Fact::OverQuota { over } => Words::new(
            Troubled,
            "OverQuota",
            format!(
                "more is held than the quota allows: {}. Nothing is taken away, nothing new is \
                 given; give something back, or raise the quota",
                join(over, |over| {
                    let (thing, _) = names(&over.thing);
                    format!("{thing} {} of {}", held(over), limit(over))
                })
            ),
            format!(
                "đang giữ nhiều hơn hạn mức: {}. Không thu hồi nhưng không cấp mới; hãy trả bớt, \
                 hoặc nâng hạn mức",
                join(over, |over| {
                    let (_, thing) = names(&over.thing);
                    format!("{thing} {} trên {}", held(over), limit(over))
                })
            ),
        ),
        Fact::WithinQuota => Words::new(
            Settled,
            "WithinQuota",
            "no more is held than the quota allows",
            "không vượt hạn mức",
        ),
        Fact::NoQuota => Words::new(
            Settled,
            "NoQuota",
            "this department has no quota; nothing is limited",
            "cơ quan này không có hạn mức; không giới hạn",
        ),
        _ => return lease(fact),
    })
}

fn lease(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::LeaseRunning { until } => Words::new(
            Settled,
            "LeaseRunning",
            format!("may run until {until}"),
            format!("được chạy đến {until}"),
        ),
        Fact::LeaseEnding { until, days } => Words::new(
            Settled,
            "LeaseEnding",
            format!(
                "the lease ends on {until}, in {days} days or fewer; then it is stopped, nothing \
                 is deleted. Write a later lease.until to go on"
            ),
            format!(
                "thời hạn kết thúc vào {until}, còn không quá {days} ngày; khi đó máy bị dừng, \
                 không xóa gì. Hãy gia hạn lease.until để tiếp tục"
            ),
        ),
        Fact::LeaseEnded { until } => Words::new(
            Resting,
            "LeaseEnded",
            format!(
                "stopped: the lease ended on {until}; nothing was deleted. Write a later \
                 lease.until and it runs again"
            ),
            format!(
                "đã dừng: thời hạn kết thúc vào {until}; không xóa gì. Gia hạn lease.until thì \
                 chạy lại"
            ),
        ),
        Fact::LeaseInvalid { until } => Words::new(
            Troubled,
            "LeaseInvalid",
            format!("lease.until: {until:?} is not a time such as 2027-12-31T17:00:00Z"),
            format!("lease.until: {until:?} không phải thời điểm, ví dụ đúng 2027-12-31T17:00:00Z"),
        ),
        _ => return None,
    })
}

fn join(over: &[Over], text: impl Fn(&Over) -> String) -> String {
    over.iter().map(text).collect::<Vec<_>>().join("; ")
}

fn held(over: &Over) -> String {
    amount_text(&over.thing, over.used)
}

fn limit(over: &Over) -> String {
    amount_text(&over.thing, over.limit)
}

/// In English and in Vietnamese.
fn names(thing: &Thing) -> (String, String) {
    match thing {
        Thing::VirtualMachines => ("machines".into(), "máy ảo".into()),
        Thing::Vcpus => ("vCPUs".into(), "vCPU".into()),
        Thing::Memory => ("memory".into(), "bộ nhớ".into()),
        Thing::Storage(class) => (
            format!("storage of class {class}"),
            format!("lưu trữ loại {class}"),
        ),
        Thing::Subnets => ("subnets".into(), "mạng con".into()),
        Thing::Snapshots => (
            "snapshots, one for each volume".into(),
            "bản chụp ổ đĩa, mỗi ổ đĩa một".into(),
        ),
        Thing::PublicAddresses => (
            "public addresses, one for each card that publishes something".into(),
            "địa chỉ công khai, mỗi card mạng có công bố dịch vụ một".into(),
        ),
        Thing::PublishedServices => (
            "published services, those of each card".into(),
            "dịch vụ công bố, tính theo từng card mạng".into(),
        ),
    }
}

/// The field of the Department that would have to change.
fn field(thing: &Thing) -> String {
    match thing {
        Thing::VirtualMachines => "spec.quota.virtualMachines".to_owned(),
        Thing::Vcpus => "spec.quota.vcpus".to_owned(),
        Thing::Memory => "spec.quota.memory".to_owned(),
        Thing::Storage(class) => format!("spec.quota.storage[{class}]"),
        Thing::Subnets => "spec.quota.subnets".to_owned(),
        Thing::Snapshots => "spec.quota.snapshots".to_owned(),
        Thing::PublicAddresses => "spec.quota.publicAddresses".to_owned(),
        Thing::PublishedServices => "spec.quota.publishedServices".to_owned(),
    }
}

fn exceeded_en(department: &str, over: &Over) -> String {
    let text = |amount| amount_text(&over.thing, amount);
    let (thing, _) = names(&over.thing);
    let ahead = match over.ahead {
        0 => String::new(),
        ahead => format!(", {} wanted by older wishes", text(ahead)),
    };
    let help = match over.asked > over.limit {
        true => String::new(),
        false => format!("give back {}, or ", text(over.enough() - over.limit)),
    };
    format!(
        "{thing}: {} asked for, {} used{ahead}, limit {}, {} free (smallest change: {help}raise {} \
         of Department {department} to {})",
        text(over.asked),
        text(over.used),
        text(over.limit),
        text(over.free()),
        field(&over.thing),
        text(over.enough()),
    )
}

fn exceeded_vi(department: &str, over: &Over) -> String {
    let text = |amount| amount_text(&over.thing, amount);
    let (_, thing) = names(&over.thing);
    let ahead = match over.ahead {
        0 => String::new(),
        ahead => format!(", yêu cầu trước cần {}", text(ahead)),
    };
    let help = match over.asked > over.limit {
        true => String::new(),
        false => format!("trả lại {}, hoặc ", text(over.enough() - over.limit)),
    };
    format!(
        "{thing}: yêu cầu {}, đã dùng {}{ahead}, hạn mức {}, còn {} (thay đổi nhỏ nhất: {help}nâng \
         {} của Department {department} lên {})",
        text(over.asked),
        text(over.used),
        text(over.limit),
        text(over.free()),
        field(&over.thing),
        text(over.enough()),
    )
}
