//! Words for what the people who watch over backups look for: runs that are unlike those before them,
//! and volumes that nothing backs up.

use super::Standing::{Resting, Settled, Troubled};
use super::platform::list;
use super::size::human;
use super::{BackupFact, Fact, Words};

/// Named after its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchFact {
    // Of a backup's run.
    Usual(Compared),
    /// So few runs to compare with.
    TooFew {
        least: u32,
        have: usize,
    },
    ReadInFull,
    /// What the run did is not known.
    NotKnown,
    LooksEncrypted(Compared),
    MuchChanged(Compared),
    LittleCompressed(Compared),
    /// It holds less than the backup before.
    Shrunken {
        /// Now and before, when it is less.
        sizes: Option<(u64, u64)>,
        /// Volumes that it has no more.
        gone: Vec<String>,
        last: String,
    },
    /// One of those, and somebody has looked.
    LookedAt {
        says: String,
    },

    // Of a policy.
    Unusual {
        backups: Vec<String>,
        all: usize,
    },
    Failing {
        machines: Vec<String>,
        all: usize,
    },

    // Of a volume: why nothing backs it up.
    NoMachine {
        volume: String,
    },
    NoPolicy {
        machine: String,
    },
    PolicyIdle {
        machine: String,
        policies: Vec<String>,
    },
}

/// A run's figures, and the medians of those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    pub read: u64,
    /// For as long a time.
    pub usual_read: u64,
    /// Of what was read, what the repository has grown by.
    pub stored_percent: Option<u64>,
    pub usual_stored_percent: Option<u64>,
    /// How many were compared, and the last of them.
    pub runs: usize,
    pub last: String,
}

impl WatchFact {
    /// Whether somebody has to look.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        match self {
            Self::LooksEncrypted(_)
            | Self::MuchChanged(_)
            | Self::LittleCompressed(_)
            | Self::Shrunken { .. } => true,
            Self::Usual(_)
            | Self::TooFew { .. }
            | Self::ReadInFull
            | Self::NotKnown
            | Self::LookedAt { .. }
            | Self::Unusual { .. }
            | Self::Failing { .. }
            | Self::NoMachine { .. }
            | Self::NoPolicy { .. }
            | Self::PolicyIdle { .. } => false,
        }
    }
}

impl From<WatchFact> for Fact {
    fn from(fact: WatchFact) -> Self {
        Self::Backup(BackupFact::Watch(fact))
    }
}

pub(super) fn words(fact: &Fact) -> Option<Words> {
    let Fact::Backup(BackupFact::Watch(fact)) = fact else {
        return None;
    };
    of_run(fact)
        .or_else(|| alarm(fact))
        .or_else(|| of_policy(fact))
        .or_else(|| of_volume(fact))
}

fn of_run(fact: &WatchFact) -> Option<Words> {
    Some(match fact {
        WatchFact::Usual(told) => {
            let (en, vi) = figures(told);
            Words::new(Settled, "Usual", en, vi)
        }
        // Nothing is known against it.
        WatchFact::TooFew { least, have } => Words::new(
            Settled,
            "TooFewRuns",
            format!(
                "not compared: there are {have} runs like it before it, and {least} are needed"
            ),
            format!("chưa so sánh: trước đó mới có {have} lần tương tự, cần {least} lần"),
        ),
        WatchFact::ReadInFull => Words::new(
            Settled,
            "ReadInFull",
            "not compared: all was read, not only what had changed",
            "không so sánh: lần này đọc toàn bộ, không chỉ phần thay đổi",
        ),
        WatchFact::NotKnown => Words::new(
            Settled,
            "FiguresNotKnown",
            "not compared: the answer of the run was lost, so what it read is not known",
            "không so sánh: mất trả lời của lần chạy nên không biết đã đọc bao nhiêu",
        ),
        WatchFact::LookedAt { says } => Words::new(
            Settled,
            "LookedAt",
            format!("unlike those before it; somebody has looked: {says}"),
            format!("khác các lần trước; đã có người xem: {says}"),
        ),
        _ => return None,
    })
}

/// What was read and kept, beside what is usual.
fn figures(told: &Compared) -> (String, String) {
    let Compared {
        read,
        usual_read,
        stored_percent,
        usual_stored_percent,
        runs,
        last: _,
    } = told;
    let (read, usual) = (human(*read), human(*usual_read));
    let percent =
        |share: &Option<u64>| share.map_or("–".to_owned(), |share| format!("{share} %"));
    let (stored, before) = (percent(stored_percent), percent(usual_stored_percent));
    (
        format!(
            "{read} had changed, {usual} in the median of {runs} runs; the repository grew by {stored} \
             of it, {before} before"
        ),
        format!(
            "thay đổi {read}, trung vị của {runs} lần trước là {usual}; kho tăng {stored} của phần đó, \
             trước đây {before}"
        ),
    )
}

fn alarm(fact: &WatchFact) -> Option<Words> {
    let alarm = |reason, told: &Compared, (seems_en, seems_vi): (&str, &str)| {
        let (en, vi) = figures(told);
        let last = &told.last;
        Words::new(
            Troubled,
            reason,
            format!(
                "{seems_en}: {en}. Look into the machine now; {last} is the last one before. If it is \
                 as it should be, say so with `kubectl annotate bak … dc.sonla.gov.vn/looked-at=<what \
                 it was>`"
            ),
            format!(
                "{seems_vi}: {vi}. Hãy kiểm tra máy ảo ngay; {last} là bản gần nhất trước đó. Nếu bình \
                 thường, ghi nhận bằng `kubectl annotate bak … dc.sonla.gov.vn/looked-at=<lý do>`"
            ),
        )
    };
    Some(match fact {
        WatchFact::LooksEncrypted(told) => alarm(
            "LooksEncrypted",
            told,
            (
                "much has changed and hardly compresses, as when files are encrypted by an attacker",
                "thay đổi nhiều và hầu như không nén được, giống như tệp bị mã hóa tống tiền",
            ),
        ),
        WatchFact::MuchChanged(told) => alarm(
            "MuchChanged",
            told,
            (
                "much more has changed than usual",
                "thay đổi nhiều hơn hẳn bình thường",
            ),
        ),
        WatchFact::LittleCompressed(told) => alarm(
            "LittleCompressed",
            told,
            (
                "what has changed compresses much less than usual",
                "phần thay đổi nén được ít hơn hẳn bình thường",
            ),
        ),
        WatchFact::Shrunken { sizes, gone, last } => shrunken(*sizes, gone, last),
        _ => return None,
    })
}

fn shrunken(sizes: Option<(u64, u64)>, gone: &[String], last: &str) -> Words {
    let (mut en, mut vi) = (Vec::new(), Vec::new());
    if let Some((now, before)) = sizes {
        let (now, before) = (human(now), human(before));
        en.push(format!("it holds {now}, {last} held {before}"));
        vi.push(format!("bản này có {now}, {last} có {before}"));
    }
    if !gone.is_empty() {
        let gone = list(gone);
        en.push(format!("it has no more of {gone}, which {last} has"));
        vi.push(format!("không còn {gone} mà {last} có"));
    }
    Words::new(
        Troubled,
        "Shrunken",
        format!(
            "{}. See whether the machine's volumes were taken away on purpose; if so, say it with \
             `kubectl annotate bak … dc.sonla.gov.vn/looked-at=<what it was>`",
            en.join("; ")
        ),
        format!(
            "{}. Hãy xem các volume của máy có bị gỡ chủ ý không; nếu có, ghi nhận bằng `kubectl \
             annotate bak … dc.sonla.gov.vn/looked-at=<lý do>`",
            vi.join("; ")
        ),
    )
}

fn of_policy(fact: &WatchFact) -> Option<Words> {
    Some(match fact {
        WatchFact::Unusual { backups, all } => Words::new(
            Troubled,
            "Unusual",
            format!(
                "backups of {all} machines are unlike those before them, each says how: {}",
                list(backups)
            ),
            format!(
                "bản sao lưu của {all} máy ảo khác hẳn các lần trước, lý do có trong từng bản: {}",
                list(backups)
            ),
        ),
        WatchFact::Failing { machines, all } => Words::new(
            Troubled,
            "Failing",
            format!(
                "backups of {all} machines fail or do not get on, each says why: {}",
                list(machines)
            ),
            format!(
                "sao lưu {all} máy ảo bị lỗi hoặc không tiến triển, lý do có trong từng bản: {}",
                list(machines)
            ),
        ),
        _ => return None,
    })
}

fn of_volume(fact: &WatchFact) -> Option<Words> {
    Some(match fact {
        WatchFact::NoMachine { volume } => Words::new(
            Resting,
            "NoMachine",
            format!(
                "no machine has volume {volume}; volumes are backed up with their machine. Attach it, \
                 or delete it when nobody needs it"
            ),
            format!(
                "không máy ảo nào dùng volume {volume}; volume được sao lưu cùng máy ảo. Hãy gắn vào \
                 máy, hoặc xóa nếu không cần"
            ),
        ),
        WatchFact::NoPolicy { machine } => Words::new(
            Troubled,
            "NoPolicy",
            format!(
                "no BackupPolicy is for machine {machine}; ask the platform's administrators for one \
                 that selects its department, system, level or labels"
            ),
            format!(
                "không BackupPolicy nào áp dụng cho máy ảo {machine}; đề nghị quản trị nền tảng đặt \
                 chính sách theo đơn vị, hệ thống, cấp độ hoặc nhãn của máy"
            ),
        ),
        WatchFact::PolicyIdle { machine, policies } => Words::new(
            Troubled,
            "PolicyIdle",
            format!(
                "only {} would back up machine {machine}, which is suspended or whose schedule does \
                 not read",
                list(policies)
            ),
            format!(
                "chỉ có {} áp dụng cho máy ảo {machine}, nhưng đang tạm dừng hoặc lịch không hợp lệ",
                list(policies)
            ),
        ),
        _ => return None,
    })
}
