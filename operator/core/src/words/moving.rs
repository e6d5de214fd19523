//! Words for volumes that move to another pool.

use super::Standing::{Moving, Troubled};
use super::platform::list;
use super::{Fact, Words};

/// What is found of a move. Named after its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveFact {
    /// The second place is being made, and opened for the machine.
    Preparing {
        to: String,
    },
    Copying {
        from: String,
        to: String,
        percent: u32,
        /// How often it was begun.
        tries: u32,
    },
    /// Nothing is copied at the moment, though the guest runs.
    CopyWaits {
        to: String,
        tries: u32,
    },
    /// It is copied under a guest that runs, and this one does not.
    MachineOff {
        vm: String,
    },
    NoMachine {
        volume: String,
    },
    GoingOver {
        vm: String,
        to: String,
    },
    /// The machine went off before it went over; its host is asked where the bytes are.
    AsksHost {
        vm: String,
        host: String,
    },
    TakenBack {
        to: String,
    },
    /// What is left where nobody reads it any more.
    LeftBehind {
        pool: String,
    },
    /// Snapshots of backups share their blocks with it.
    LeftForBackup {
        pool: String,
        by: Vec<String>,
    },
    /// Another move waits for the last one to be cleared away.
    AfterLast {
        pool: String,
    },

    // Why it is not begun.
    /// QEMU would copy what the guest sees, not what lies in the pool.
    Encrypted,
    HasSnapshots {
        snapshots: Vec<String>,
    },
    AfterRestore,
    AfterGrowth,
    AfterSnapshot {
        by: String,
    },
    Unreachable {
        pool: String,
        host: String,
        vm: String,
        vm_host: String,
    },
    MachineGoes {
        vm: String,
    },

    // What else waits for it.
    First {
        volume: String,
        to: String,
    },
    /// A machine is neither deleted nor changed while only its host knows where a disk's bytes are.
    DiskGoesOver {
        volume: String,
    },
}

pub(super) fn words(fact: &Fact) -> Option<Words> {
    let Fact::Move(fact) = fact else {
        return None;
    };
    Some(match fact {
        MoveFact::Preparing { .. }
        | MoveFact::Copying { .. }
        | MoveFact::CopyWaits { .. }
        | MoveFact::GoingOver { .. }
        | MoveFact::AsksHost { .. } => on_its_way(fact)?,
        MoveFact::MachineOff { .. }
        | MoveFact::NoMachine { .. }
        | MoveFact::MachineGoes { .. }
        | MoveFact::AfterRestore
        | MoveFact::AfterGrowth
        | MoveFact::AfterSnapshot { .. }
        | MoveFact::AfterLast { .. } => waits(fact)?,
        MoveFact::TakenBack { .. }
        | MoveFact::LeftBehind { .. }
        | MoveFact::LeftForBackup { .. } => leaves(fact)?,
        MoveFact::Encrypted => Words::new(
            Troubled,
            "Encrypted",
            "pool: an encrypted volume stays in its pool; put the pool back",
            "pool: volume đã mã hóa phải ở lại vùng của nó; hãy ghi lại vùng cũ",
        ),
        MoveFact::HasSnapshots { snapshots } => Words::new(
            Troubled,
            "HasSnapshots",
            format!(
                "pool: a volume with snapshots stays where their blocks are: delete {}, or put the \
                 pool back",
                list(snapshots)
            ),
            format!(
                "pool: volume có bản chụp phải ở lại nơi chứa dữ liệu của chúng: hãy xóa {}, hoặc \
                 ghi lại vùng cũ",
                list(snapshots)
            ),
        ),
        MoveFact::Unreachable {
            pool,
            host,
            vm,
            vm_host,
        } => Words::new(
            Troubled,
            "PoolUnreachable",
            format!(
                "pool: {pool} is a folder of {host} that machines of {host} alone can open, and \
                 {vm} is on {vm_host}; name a pool that {vm_host} reaches"
            ),
            format!(
                "pool: {pool} là thư mục mà chỉ máy ảo trên {host} mở được, còn {vm} ở {vm_host}; \
                 hãy chọn vùng mà {vm_host} truy cập được"
            ),
        ),
        MoveFact::First { volume, to } => Words::new(
            Moving,
            "VolumeMoves",
            format!(
                "Volume {volume} is being moved to pool {to}: this waits until it is there; \
                 `kubectl describe vol {volume}` says how far it is"
            ),
            format!(
                "Volume {volume} đang được chuyển sang vùng {to}: việc này chờ đến khi chuyển \
                 xong; xem tiến độ bằng `kubectl describe vol {volume}`"
            ),
        ),
        MoveFact::DiskGoesOver { volume } => Words::new(
            Moving,
            "DiskGoesOver",
            format!(
                "Volume {volume} is going over to another pool, and only the machine's host knows \
                 in which one its bytes are: the machine is not deleted, nor the disk taken off, \
                 before the host has said so"
            ),
            format!(
                "Volume {volume} đang chuyển hẳn sang vùng khác, chỉ máy chủ của máy ảo biết dữ \
                 liệu đang ở vùng nào: chưa xóa máy ảo hay gỡ đĩa cho đến khi máy chủ báo lại"
            ),
        ),
    })
}

fn on_its_way(fact: &MoveFact) -> Option<Words> {
    Some(match fact {
        MoveFact::Preparing { to } => Words::new(
            Moving,
            "Preparing",
            format!("a place is being made in pool {to}, and opened for its machine"),
            format!("đang chuẩn bị chỗ trong vùng {to} và mở cho máy ảo"),
        ),
        MoveFact::Copying {
            from,
            to,
            percent,
            tries,
        } => Words::new(
            Moving,
            "Copying",
            format!(
                "being copied from pool {from} to {to} under its running guest: {percent} %{}; put \
                 the pool back to {from} to cancel",
                tries_en(*tries)
            ),
            format!(
                "đang sao chép từ vùng {from} sang {to} trong khi máy ảo vẫn chạy: {percent} %{}; \
                 ghi lại vùng {from} để hủy",
                tries_vi(*tries)
            ),
        ),
        MoveFact::CopyWaits { to, tries } => Words::new(
            Moving,
            "CopyWaits",
            format!(
                "nothing is being copied to pool {to} at the moment{}: a copy that broke off is \
                 begun again after half a minute, then later and later; the guest is not held up",
                tries_en(*tries)
            ),
            format!(
                "hiện không sao chép sang vùng {to}{}: bản sao bị đứt sẽ được làm lại sau nửa \
                 phút, rồi thưa dần; máy ảo không bị ảnh hưởng",
                tries_vi(*tries)
            ),
        ),
        MoveFact::GoingOver { vm, to } => Words::new(
            Moving,
            "GoingOver",
            format!(
                "the copy is whole, and {vm} is going over to pool {to}: its guest stands still \
                 for a moment. It cannot be taken back any more"
            ),
            format!(
                "đã sao chép xong, {vm} đang chuyển hẳn sang vùng {to}: máy ảo dừng trong chốc \
                 lát. Không thể hủy được nữa"
            ),
        ),
        MoveFact::AsksHost { vm, host } => Words::new(
            Moving,
            "AsksHost",
            format!(
                "{vm} went off while it was to go over: waiting for its host {host} to say in \
                 which pool the bytes are"
            ),
            format!(
                "{vm} đã tắt khi đang chuyển hẳn: chờ máy chủ {host} báo dữ liệu đang ở vùng nào"
            ),
        ),
        _ => return None,
    })
}

fn waits(fact: &MoveFact) -> Option<Words> {
    Some(match fact {
        MoveFact::MachineOff { vm } => Words::new(
            Moving,
            "MachineOff",
            format!(
                "a volume moves under a running guest, and {vm} does not run: the move waits until \
                 it does; start it, or put the pool back"
            ),
            format!(
                "volume chỉ được chuyển khi máy ảo đang chạy, mà {vm} đang tắt: việc chuyển chờ \
                 đến khi máy chạy; hãy bật máy, hoặc ghi lại vùng cũ"
            ),
        ),
        MoveFact::NoMachine { volume } => Words::new(
            Moving,
            "NoMachine",
            format!(
                "a volume moves under a running guest, and no machine has {volume}: the move waits \
                 until one does; to have it elsewhere now, put the pool back, make a Volume there \
                 and copy it in a guest"
            ),
            format!(
                "volume chỉ được chuyển khi máy ảo đang chạy, mà chưa máy nào gắn {volume}: việc \
                 chuyển chờ đến khi có; nếu cần ngay, hãy ghi lại vùng cũ, tạo Volume mới ở vùng \
                 kia và sao chép trong máy ảo"
            ),
        ),
        MoveFact::MachineGoes { vm } => Words::new(
            Moving,
            "MachineGoes",
            format!("machine {vm} is being deleted: the move waits for the next machine"),
            format!("máy ảo {vm} đang bị xóa: việc chuyển chờ máy ảo tiếp theo"),
        ),
        MoveFact::AfterRestore => Words::new(
            Moving,
            "AfterRestore",
            "the volume is being restored: it moves after that",
            "volume đang được phục hồi: sẽ chuyển sau khi xong",
        ),
        MoveFact::AfterGrowth => Words::new(
            Moving,
            "AfterGrowth",
            "the volume is growing: it moves after that",
            "volume đang được tăng dung lượng: sẽ chuyển sau khi xong",
        ),
        MoveFact::AfterSnapshot { by } => Words::new(
            Moving,
            "AfterSnapshot",
            format!("the volume is being taken for {by}: it moves after that"),
            format!("volume đang được chụp cho {by}: sẽ chuyển sau khi xong"),
        ),
        MoveFact::AfterLast { pool } => Words::new(
            Moving,
            "AfterLastMove",
            format!("what the last move left behind in pool {pool} is erased first"),
            format!("phần còn lại của lần chuyển trước trong vùng {pool} được xóa trước"),
        ),
        _ => return None,
    })
}

fn leaves(fact: &MoveFact) -> Option<Words> {
    Some(match fact {
        MoveFact::TakenBack { to } => Words::new(
            Moving,
            "TakenBack",
            format!(
                "the move to pool {to} was taken back: waiting for the machine's host to let go of \
                 the copy"
            ),
            format!("đã hủy việc chuyển sang vùng {to}: đang chờ máy chủ ngừng sao chép"),
        ),
        MoveFact::LeftBehind { pool } => Words::new(
            Moving,
            "LeftBehind",
            format!("what is left of it in pool {pool} is being closed and erased"),
            format!("phần còn lại trong vùng {pool} đang được đóng và xóa"),
        ),
        MoveFact::LeftForBackup { pool, by } => Words::new(
            Moving,
            "LeftForBackup",
            format!(
                "what is left of it in pool {pool} is erased when snapshots of {} are gone",
                list(by)
            ),
            format!(
                "phần còn lại trong vùng {pool} được xóa khi không còn bản chụp của {}",
                list(by)
            ),
        ),
        _ => return None,
    })
}

fn tries_en(tries: u32) -> String {
    match tries {
        0 | 1 => String::new(),
        more => format!(", try {more}"),
    }
}

fn tries_vi(tries: u32) -> String {
    match tries {
        0 | 1 => String::new(),
        more => format!(", lần thứ {more}"),
    }
}
