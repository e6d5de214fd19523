//! Words for proofs of backups.

use super::Standing::{Moving, Resting, Settled, Troubled};
use super::text::SEPARATOR;
use super::{Fact, Words, list};

/// What is found of proofs. Named after its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofFact {
    /// The machine is gone, and with it what would be taken from it.
    MachineGone {
        vm: String,
        field: String,
    },
    WaitsForTurn,
    Restoring {
        says: Option<String>,
    },
    Booting {
        says: Option<String>,
    },
    Probing {
        host: String,
        missing: Vec<String>,
    },
    Erasing,
    Proven,

    // Why one failed.
    Failed {
        reason: String,
        message: String,
    },
    NotRestored {
        volume: String,
        reason: String,
        says: String,
    },
    /// Its host did not read it back.
    NotCompared {
        volume: String,
    },
    /// Somebody took away what it needs.
    Disturbed {
        what: String,
    },
    Crashed {
        host: String,
    },
    StoppedByItself {
        host: String,
    },
    /// What it was at, in both languages.
    TooLong {
        seconds: u32,
        en: String,
        vi: String,
    },

    // Of a Backup.
    ProvenBy {
        proof: String,
        at: String,
    },
    ProofFailed {
        proof: String,
    },
    NeverProven,
    /// Of a Backup: no rule keeps it, and it is the last that was shown to come back.
    KeptAsProven {
        policy: String,
    },
    /// Of a BackupPolicy.
    Unproven {
        machines: Vec<String>,
        all: usize,
    },
}

pub(super) fn words(fact: &Fact) -> Option<Words> {
    let Fact::Proof(fact) = fact else {
        return None;
    };
    course(fact)
        .or_else(|| failure(fact))
        .or_else(|| of_others(fact))
}

/// What something else says, in English and in Vietnamese.
fn with(says: Option<&String>) -> (String, String) {
    let Some(says) = says else {
        return (String::new(), String::new());
    };
    let (en, vi) = says.split_once(SEPARATOR).unwrap_or((says, says));
    (format!(": {en}"), format!(": {vi}"))
}

fn course(fact: &ProofFact) -> Option<Words> {
    Some(match fact {
        ProofFact::MachineGone { vm, field } => Words::new(
            Troubled,
            "MachineGone",
            format!("{field}: machine {vm} is not there any more to take it from; name it"),
            format!("{field}: máy ảo {vm} không còn nên không biết giá trị này; hãy ghi rõ"),
        ),
        ProofFact::WaitsForTurn => Words::new(
            Moving,
            "WaitsForTurn",
            "other proofs go on; it begins when one of them ends",
            "đang chờ các lần thử khôi phục khác kết thúc",
        ),
        ProofFact::Restoring { says } => {
            let (en, vi) = with(says.as_ref());
            Words::new(
                Moving,
                "Restoring",
                format!("its volumes are restored into the sandbox{en}"),
                format!("đang khôi phục các volume vào vùng thử{vi}"),
            )
        }
        ProofFact::Booting { says } => {
            let (en, vi) = with(says.as_ref());
            Words::new(
                Moving,
                "Booting",
                format!("the restored machine is being started{en}"),
                format!("đang khởi động máy đã khôi phục{vi}"),
            )
        }
        ProofFact::Probing { host, missing } => Words::new(
            Moving,
            "Probing",
            format!(
                "the restored machine runs on {host} and has not shown {}",
                list(missing)
            ),
            format!(
                "máy đã khôi phục đang chạy trên {host}, chưa thấy {}",
                list(missing)
            ),
        ),
        ProofFact::Erasing => Words::new(
            Moving,
            "Erasing",
            "the sandbox is being erased",
            "đang xóa vùng thử",
        ),
        ProofFact::Proven => Words::new(
            Settled,
            "Proven",
            "it came back byte for byte, booted, and showed all that was asked for",
            "đã khôi phục đúng từng byte, khởi động được và đạt mọi phép thử",
        ),
        _ => return None,
    })
}

fn failure(fact: &ProofFact) -> Option<Words> {
    Some(match fact {
        ProofFact::Failed { reason, message } => Words {
            standing: Resting,
            reason: reason.clone(),
            en: message.clone(),
            vi: String::new(),
        },
        ProofFact::NotRestored {
            volume,
            reason,
            says,
        } => Words::new(
            Resting,
            reason,
            format!("volume {volume} does not come back: {says}"),
            format!("không khôi phục được volume {volume}: {says}"),
        ),
        ProofFact::NotCompared { volume } => Words::new(
            Resting,
            "NotCompared",
            format!(
                "volume {volume} was not read back: its storage host has an older agent; update it, \
                 and make another proof"
            ),
            format!(
                "volume {volume} chưa được đọc lại: máy chủ lưu trữ dùng agent cũ; hãy cập nhật rồi \
                 tạo lần thử khác"
            ),
        ),
        ProofFact::Disturbed { what } => Words::new(
            Resting,
            "Disturbed",
            format!("{what} of its sandbox was taken away meanwhile; make another proof"),
            format!("{what} của vùng thử đã bị xóa giữa chừng; hãy tạo lần thử khác"),
        ),
        ProofFact::Crashed { host } => Words::new(
            Resting,
            "Crashed",
            format!("the restored machine crashed on {host}"),
            format!("máy đã khôi phục bị sập trên {host}"),
        ),
        ProofFact::StoppedByItself { host } => Words::new(
            Resting,
            "StoppedByItself",
            format!("the restored machine powered itself off on {host} before it had shown all"),
            format!("máy đã khôi phục tự tắt trên {host} trước khi đạt mọi phép thử"),
        ),
        ProofFact::TooLong { seconds, en, vi } => Words::new(
            Resting,
            "TooLong",
            format!("after {seconds} s: {en}"),
            format!("sau {seconds} giây: {vi}"),
        ),
        _ => return None,
    })
}

fn of_others(fact: &ProofFact) -> Option<Words> {
    Some(match fact {
        ProofFact::ProvenBy { proof, at } => Words::new(
            Settled,
            "Proven",
            format!("RestoreProof {proof} showed at {at} that it comes back"),
            format!("RestoreProof {proof} lúc {at} cho thấy khôi phục được"),
        ),
        ProofFact::ProofFailed { proof } => Words::new(
            Troubled,
            "ProofFailed",
            format!("RestoreProof {proof} failed; it says at which step and why"),
            format!("RestoreProof {proof} không đạt; xem bước và lý do trong đó"),
        ),
        ProofFact::NeverProven => Words::new(
            Resting,
            "NeverProven",
            "nobody has tried yet whether it comes back",
            "chưa thử khôi phục lần nào",
        ),
        ProofFact::KeptAsProven { policy } => Words::new(
            Settled,
            "KeptAsProven",
            format!(
                "no rule of BackupPolicy {policy} keeps it; it stays as the machine's last backup that \
                 was shown to come back"
            ),
            format!(
                "không còn quy tắc nào của BackupPolicy {policy} giữ, nhưng đây là bản gần nhất của máy \
                 đã thử khôi phục đạt nên vẫn được giữ"
            ),
        ),
        ProofFact::Unproven { machines, all } => Words::new(
            Troubled,
            "Unproven",
            format!(
                "{all} machines have backups of which none was shown to come back lately: {}",
                list(machines)
            ),
            format!(
                "{all} máy ảo có bản sao lưu nhưng gần đây chưa thử khôi phục đạt: {}",
                list(machines)
            ),
        ),
        _ => return None,
    })
}
