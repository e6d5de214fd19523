//! Words for restores of machines.

use super::Standing::{Moving, Resting, Settled, Troubled};
use super::{Fact, Words, list};

/// What is found of restores of machines. Named after its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineRestoreFact {
    /// No Backup and no pool says which storage host could read.
    NoReader,
    Reading {
        host: String,
    },
    ManifestBroken {
        error: String,
    },
    OfAnother,
    /// The manifest names a volume that the backup has not.
    Incomplete {
        volume: String,
    },
    /// The order changes what the backup has not.
    NotInBackup {
        field: &'static str,
        name: String,
        has: Vec<String>,
    },
    VolumeTwice {
        volume: String,
    },
    /// What the machine needs is not there any more.
    NoLonger {
        what: &'static str,
        name: String,
        field: &'static str,
    },
    MachineTaken {
        machine: String,
    },
    /// The machine that is to be built again is still there.
    MachineRemains {
        machine: String,
    },
    VolumeTaken {
        was: String,
        volume: String,
    },
    /// A MAC or an address.
    AddressTaken {
        what: String,
        by: Option<String>,
    },
    /// So many volumes of so many.
    Writing {
        done: usize,
        of: usize,
        says: Option<String>,
    },
    Building {
        machine: String,
    },
    Restored {
        machine: String,
    },
    Stopped {
        volume: String,
    },
}

pub(super) fn words(fact: &Fact) -> Option<Words> {
    let Fact::MachineRestore(fact) = fact else {
        return None;
    };
    Some(refused(fact).unwrap_or_else(|| goes_on(fact)))
}

fn refused(fact: &MachineRestoreFact) -> Option<Words> {
    Some(match fact {
        MachineRestoreFact::NoReader => Words::new(
            Troubled,
            "NoReader",
            "pool: the backup does not say which storage host has made it; name a pool, whose host reads it",
            "pool: bản sao lưu không cho biết máy chủ lưu trữ đã tạo nó; hãy nêu vùng lưu trữ, máy chủ của vùng đó sẽ đọc",
        ),
        MachineRestoreFact::ManifestBroken { error } => Words::new(
            Troubled,
            "ManifestBroken",
            format!(
                "what the backup says of its machine does not read: {error}. Restore its volumes one by \
                 one, and make the machine by hand"
            ),
            format!(
                "không đọc được mô tả máy ảo trong bản sao lưu: {error}. Hãy khôi phục từng volume rồi \
                 tạo máy ảo bằng tay"
            ),
        ),
        MachineRestoreFact::OfAnother => Words::new(
            Troubled,
            "OfAnother",
            "the backup is not this department's; nothing of it is restored here",
            "bản sao lưu không thuộc đơn vị này; không khôi phục gì tại đây",
        ),
        MachineRestoreFact::Incomplete { volume } => Words::new(
            Troubled,
            "BackupIncomplete",
            format!(
                "the machine had a volume {volume}, and the backup has not all that is known of it; \
                 restore the volumes it has one by one"
            ),
            format!(
                "máy ảo có volume {volume} nhưng bản sao lưu không đủ thông tin về nó; hãy khôi phục \
                 từng volume đang có"
            ),
        ),
        MachineRestoreFact::NotInBackup { field, name, has } => Words::new(
            Troubled,
            "NotInBackup",
            format!("{field}: the machine had no {name}; it had {}", list(has)),
            format!("{field}: máy ảo không có {name}; chỉ có {}", list(has)),
        ),
        MachineRestoreFact::VolumeTwice { volume } => Words::new(
            Troubled,
            "VolumeTwice",
            format!("volumes.name: two volumes would be called {volume}; name each otherwise"),
            format!("volumes.name: hai volume cùng tên {volume}; hãy đặt tên khác nhau"),
        ),
        MachineRestoreFact::NoLonger { what, name, field } => Words::new(
            Troubled,
            "NoLongerThere",
            format!(
                "the machine had the {what} {name}, which is not there; make it, or another order that \
                 names another one in {field}"
            ),
            format!(
                "máy ảo dùng {what} {name} nhưng nay không còn; hãy tạo lại, hoặc tạo yêu cầu khác nêu \
                 {field} thay thế"
            ),
        ),
        MachineRestoreFact::MachineTaken { machine } => Words::new(
            Troubled,
            "NameTaken",
            format!("name: there is a VirtualMachine {machine} already; choose another name"),
            format!("name: đã có máy ảo {machine}; hãy chọn tên khác"),
        ),
        MachineRestoreFact::MachineRemains { machine } => Words::new(
            Troubled,
            "MachineRemains",
            format!(
                "identity: VirtualMachine {machine} is still there, and there is only one of it; delete \
                 it first, or restore a copy beside it"
            ),
            format!(
                "identity: máy ảo {machine} vẫn còn và chỉ có thể có một; hãy xóa nó trước, hoặc khôi \
                 phục thành bản sao bên cạnh"
            ),
        ),
        MachineRestoreFact::VolumeTaken { was, volume } => Words::new(
            Troubled,
            "NameTaken",
            format!(
                "volumes: there is a Volume {volume} already, which is not touched; give {was} another \
                 name, or delete that one"
            ),
            format!(
                "volumes: đã có Volume {volume} và nó được giữ nguyên; hãy đặt tên khác cho {was}, \
                 hoặc xóa volume đó"
            ),
        ),
        MachineRestoreFact::AddressTaken { what, by } => {
            let by = by.clone().unwrap_or_else(|| "…".to_owned());
            Words::new(
                Troubled,
                "AddressTaken",
                format!(
                    "identity: {what} is {by}'s by now; free it, or name another subnet in subnets, or \
                     restore a copy"
                ),
                format!(
                    "identity: {what} nay thuộc {by}; hãy giải phóng, nêu mạng con khác trong subnets, \
                     hoặc khôi phục thành bản sao"
                ),
            )
        }
        _ => return None,
    })
}

fn goes_on(fact: &MachineRestoreFact) -> Words {
    match fact {
        MachineRestoreFact::Reading { host } => Words::new(
            Moving,
            "Reading",
            format!("{host} reads what stands beside the backup's volumes"),
            format!("{host} đang đọc mô tả kèm theo bản sao lưu"),
        ),
        MachineRestoreFact::Writing { done, of, says } => {
            let more = says.as_ref().map(|says| format!("; {says}"));
            let more = more.unwrap_or_default();
            Words::new(
                Moving,
                "Writing",
                format!("{done} of {of} volumes are written{more}"),
                format!("đã ghi {done}/{of} volume{more}"),
            )
        }
        MachineRestoreFact::Building { machine } => Words::new(
            Moving,
            "Building",
            format!("all volumes are written; VirtualMachine {machine} is being made"),
            format!("mọi volume đã ghi xong; đang tạo máy ảo {machine}"),
        ),
        MachineRestoreFact::Restored { machine } => Words::new(
            Settled,
            "Restored",
            format!("VirtualMachine {machine} is there, with what the backup held"),
            format!("máy ảo {machine} đã được tạo với dữ liệu của bản sao lưu"),
        ),
        MachineRestoreFact::Stopped { volume } => Words::new(
            Resting,
            "Stopped",
            format!(
                "Volume {volume} was deleted before all of it was written, and no machine was made; \
                 make another order. The volumes that are there stay"
            ),
            format!(
                "Volume {volume} đã bị xóa trước khi ghi xong, chưa tạo máy ảo; hãy tạo yêu cầu khác. \
                 Các volume đã có vẫn giữ nguyên"
            ),
        ),
        _ => Words::new(Troubled, "Unknown", "", ""),
    }
}
