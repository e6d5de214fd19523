//! Words for departments, hosts and what is said of every kind.

use super::Standing::{Moving, Settled, Troubled, Unseen};
use super::host::vietnamese;
use super::{Fact, Words};

pub(super) fn words(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::Ready => Words::new(Settled, "Ready", "as asked", "đúng như yêu cầu"),
        Fact::Creating => Words::new(Moving, "Creating", "being made", "đang được tạo"),
        Fact::Deleting => Words::new(
            Moving,
            "Releasing",
            "being given back on the hosts that hold it",
            "đang được thu hồi trên các máy chủ đang giữ",
        ),
        Fact::HostSays {
            host,
            standing,
            reason,
            message,
        } => {
            let vi = vietnamese(reason).unwrap_or("hãy xem chi tiết trong phần tiếng Anh");
            Words::new(
                *standing,
                reason,
                format!("host {host}: {message}"),
                format!("máy chủ {host}: {vi}"),
            )
        }
        Fact::HostSilent { host } => Words::new(
            Unseen,
            "HostSilent",
            format!(
                "host {host} does not answer, how this stands is not known; look at the host and \
                 its agent. Nothing is started elsewhere"
            ),
            format!(
                "máy chủ {host} không trả lời, chưa rõ tình trạng; hãy kiểm tra máy chủ và agent. \
                 Không khởi động ở nơi khác"
            ),
        ),
        Fact::HostNeverSeen { host } => Words::new(
            Unseen,
            "HostNeverSeen",
            format!("host {host} has not joined yet; start its agent with the token of its Secret"),
            format!("máy chủ {host} chưa tham gia; hãy chạy agent với mã trong Secret của nó"),
        ),
        Fact::SystemMissing { system } => Words::new(
            Troubled,
            "SystemMissing",
            format!(
                "system: there is no InformationSystem {system} in this namespace; create it, or \
                 name one that `kubectl get system` lists"
            ),
            format!(
                "system: không có InformationSystem {system} trong namespace này; hãy tạo hoặc \
                 chọn tên trong danh sách `kubectl get system`"
            ),
        ),
        Fact::ClaimOfAnother { what, uid } => Words::new(
            Troubled,
            "ClaimOfAnother",
            format!(
                "the ledger still holds {what} for an older object of this name (uid {uid}); \
                 nothing of it is touched. A platform administrator has to release it"
            ),
            format!(
                "sổ cái vẫn giữ {what} cho đối tượng cũ cùng tên (uid {uid}); không động tới. \
                 Quản trị nền tảng cần thu hồi"
            ),
        ),
        Fact::StillUsed { by } => Words::new(
            Troubled,
            "StillUsed",
            format!(
                "deletion waits: still in use by {}; delete these first",
                list(by)
            ),
            format!(
                "chưa thể xóa: còn được dùng bởi {}; hãy xóa chúng trước",
                list(&by.iter().map(|one| named(one)).collect::<Vec<_>>())
            ),
        ),
        Fact::NothingOwned => Words::new(
            Settled,
            "NothingOwned",
            "nothing keeps it from being deleted",
            "không còn gì cản trở việc xóa",
        ),
        Fact::NamespaceForeign { namespace } => Words::new(
            Troubled,
            "NamespaceForeign",
            format!(
                "the namespace {namespace} is there and is not this department's; label it \
                 dc.sonla.gov.vn/department={namespace} to hand it over, or rename the Department"
            ),
            format!(
                "namespace {namespace} đã có và không thuộc cơ quan này; hãy gắn nhãn \
                 dc.sonla.gov.vn/department={namespace} để bàn giao, hoặc đổi tên Department"
            ),
        ),
        Fact::NamespaceDeleting { namespace } => Words::new(
            Moving,
            "NamespaceDeleting",
            format!("waiting for the namespace {namespace} to be gone"),
            format!("đang chờ namespace {namespace} được xóa xong"),
        ),
        Fact::Carries { roles } => Words::new(
            Settled,
            "Connected",
            format!("joined and answering, as {roles}"),
            format!("đã tham gia và đang trả lời, vai trò {roles}"),
        ),
        Fact::Maintenance => Words::new(
            Settled,
            "Maintenance",
            "joined and answering; in maintenance, so no new machine is placed here",
            "đã tham gia và đang trả lời; đang bảo trì nên không nhận máy ảo mới",
        ),
        Fact::ObjectRefused { what, why } => Words::new(
            Troubled,
            "ObjectRefused",
            format!("the API server does not take {what}: {why}; see the operator's rights"),
            format!("API từ chối {what}: {why}; hãy kiểm tra quyền của operator"),
        ),
        Fact::MachinesNotReady { ready, wanted } => Words::new(
            Moving,
            "MachinesNotReady",
            format!("{ready} of {wanted} machines run; `kubectl get vm` says why"),
            format!("{ready}/{wanted} máy ảo đang chạy; xem lý do bằng `kubectl get vm`"),
        ),
        Fact::RolesDiffer { asked, found } => Words::new(
            Troubled,
            "RolesDiffer",
            format!(
                "roles: asked for {asked}, the agent is set up for {found}; correct one of the two"
            ),
            format!("roles: yêu cầu {asked}, agent được cấu hình {found}; hãy sửa một trong hai"),
        ),
        _ => return None,
    })
}

/// `machine so-nnmt/web` in Vietnamese; kinds that are called the same in both stay.
fn named(one: &str) -> String {
    match one.split_once(' ') {
        Some(("machine", name)) => format!("máy ảo {name}"),
        Some(("image", name)) => format!("ảnh {name}"),
        Some(("host", name)) => format!("máy chủ {name}"),
        Some(("system", name)) => format!("hệ thống {name}"),
        Some(("subnet", name)) => format!("mạng con {name}"),
        Some(("snapshot", name)) => format!("bản chụp {name}"),
        Some(("pool", name)) => format!("vùng lưu trữ {name}"),
        _ => one.to_owned(),
    }
}

/// As [`list`], with a word for an empty one.
pub(super) fn list_or(items: &[String], none: &str) -> String {
    match items.is_empty() {
        true => none.to_owned(),
        false => list(items),
    }
}

/// A list in a sentence; long ones are cut, the count stays true.
pub(crate) fn list(items: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = items.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    match items.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} (+{more})", shown.join(", ")),
    }
}
