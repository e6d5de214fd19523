//! Words for backups and restores.

use super::Standing::{Moving, Resting, Settled, Troubled};
use super::platform::list;
use super::size::human;
use super::{Fact, WatchFact, Words, in_place};

/// What is found of backups, repositories, policies and restores. Named after its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupFact {
    RepositoryMissing {
        repository: String,
    },
    RecoveryKeyMissing {
        key: String,
        known: Vec<String>,
    },
    LoginSecretMissing {
        secret: String,
    },
    LoginMissing {
        secret: String,
        department: String,
    },
    /// The repository is kept: these write to it.
    RepositoryUsed {
        by: Vec<String>,
    },
    MachineDeleting {
        vm: String,
    },
    /// Its volumes lie on several storage hosts.
    HostsApart {
        hosts: Vec<String>,
    },
    /// In so many attempts its volumes were never of one instant.
    NotOneInstant {
        attempts: u32,
    },
    /// Another backup of the machine runs.
    Waits {
        by: String,
    },
    /// Another backup makes the department's repository.
    RepositoryBegins {
        by: String,
    },
    /// Bytes read, of so many.
    Copying {
        done: u64,
        of: u64,
    },
    BackedUp {
        snapshot_id: String,
    },
    /// Another backup that runs tells changes from its snapshots.
    Base {
        by: String,
    },

    // Restores.
    BackupMissing {
        backup: String,
    },
    BackupNotDone {
        backup: String,
    },
    BackupWithoutVolume {
        backup: String,
        volume: String,
        has: Vec<String>,
    },
    /// It names another department's repository.
    OfAnother {
        department: String,
    },
    TooSmall {
        size: String,
        need: String,
    },
    NameTaken {
        volume: String,
    },
    VolumeWaits {
        volume: String,
        says: Option<String>,
    },
    Writing {
        done: u64,
        of: u64,
    },
    Restored {
        volume: String,
    },
    Stopped {
        volume: String,
    },
    // In place.
    InPlaceMissing {
        volume: String,
    },
    InPlaceOther {
        volume: String,
        system: String,
        pool: String,
    },
    InPlaceEncrypted {
        volume: String,
    },
    RestoreRuns {
        volume: String,
        by: String,
    },
    MachineRuns {
        vm: String,
    },
    MachineLetsGo {
        vm: String,
    },
    SnapshotFirst {
        snapshot: String,
        says: Option<String>,
    },
    /// Of a machine: one of its volumes is restored in place.
    VolumeReturns {
        volume: String,
        restore: String,
    },
    /// Of a Volume: what was written over it was given up in the middle.
    HalfRestored,
    /// Of a Volume: its Restore has not written all of it.
    AwaitsRestore {
        restore: String,
    },

    // Policies.
    CronInvalid {
        cron: String,
        error: String,
    },
    ZoneUnknown {
        zone: String,
    },
    Suspended,
    Scheduled {
        machines: u64,
        next: String,
    },
    Late {
        machines: Vec<String>,
        all: usize,
    },
    /// Of a Backup: the rules of its policy keep it.
    Kept {
        policy: String,
    },
    NotScheduled,
    MayGo {
        policy: String,
    },

    /// What those who watch look for: [`super::watch`].
    Watch(WatchFact),
}

pub(super) fn words(fact: &Fact) -> Option<Words> {
    let Fact::Backup(fact) = fact else {
        return None;
    };
    repository(fact)
        .or_else(|| run(fact))
        .or_else(|| restore(fact))
        .or_else(|| in_place::words(fact))
        .or_else(|| policy(fact))
}

fn repository(fact: &BackupFact) -> Option<Words> {
    Some(match fact {
        BackupFact::RepositoryMissing { repository } => Words::new(
            Troubled,
            "RepositoryMissing",
            format!(
                "repository: there is no BackupRepository {repository}; `kubectl get brepo` lists them"
            ),
            format!("repository: không có BackupRepository {repository}; xem `kubectl get brepo`"),
        ),
        BackupFact::RecoveryKeyMissing { key, known } => {
            let (en, vi) = match known.is_empty() {
                true => (
                    "it was given none".to_owned(),
                    "chưa có khóa nào".to_owned(),
                ),
                false => (
                    format!("it has {}", list(known)),
                    format!("đang có {}", list(known)),
                ),
            };
            Words::new(
                Troubled,
                "RecoveryKeyMissing",
                format!(
                    "recoveryKey: the operator was given no recovery key {key} ({en}); put it into the \
                     folder that --recovery-keys names and start the operator anew"
                ),
                format!(
                    "recoveryKey: operator không có khóa khôi phục {key} ({vi}); hãy đặt khóa vào thư \
                     mục của --recovery-keys rồi khởi động lại operator"
                ),
            )
        }
        BackupFact::LoginSecretMissing { secret } => Words::new(
            Troubled,
            "LoginSecretMissing",
            format!("rest.loginSecret: there is no Secret {secret} in the operator's namespace"),
            format!("rest.loginSecret: không có Secret {secret} trong namespace của operator"),
        ),
        BackupFact::LoginMissing { secret, department } => Words::new(
            Troubled,
            "LoginMissing",
            format!(
                "the Secret {secret} has no key {department}; a platform administrator adds it, with \
                 the password that the server knows"
            ),
            format!(
                "Secret {secret} không có khóa {department}; đề nghị quản trị nền tảng thêm mật khẩu \
                 mà máy chủ sao lưu biết"
            ),
        ),
        BackupFact::RepositoryUsed { by } => Words::new(
            Moving,
            "StillUsed",
            format!("waiting for {} to end", list(by)),
            format!("đang chờ {} kết thúc", list(by)),
        ),
        _ => return None,
    })
}

fn run(fact: &BackupFact) -> Option<Words> {
    Some(match fact {
        BackupFact::MachineDeleting { vm } => Words::new(
            Troubled,
            "MachineDeleting",
            format!("machine {vm} is being deleted; no backup of it can be begun any more"),
            format!("máy ảo {vm} đang bị xóa; không thể bắt đầu sao lưu nữa"),
        ),
        BackupFact::HostsApart { hosts } => Words::new(
            Troubled,
            "HostsApart",
            format!(
                "the machine's volumes lie on the storage hosts {}; they are backed up together only \
                 when they lie on one. Move them together",
                list(hosts)
            ),
            format!(
                "các volume của máy ảo nằm trên các máy chủ lưu trữ {}; chỉ sao lưu được khi cùng nằm \
                 trên một máy chủ. Hãy chuyển về cùng một nơi",
                list(hosts)
            ),
        ),
        BackupFact::NotOneInstant { attempts } => Words::new(
            Troubled,
            "NotOneInstant",
            format!(
                "in {attempts} attempts the volumes could not all be taken while the machine was held; \
                 see that its host and storage answer quickly, then make another backup"
            ),
            format!(
                "qua {attempts} lần, không chụp được mọi volume trong lúc máy ảo bị tạm giữ; hãy kiểm \
                 tra máy chủ và vùng lưu trữ, rồi tạo bản sao lưu khác"
            ),
        ),
        BackupFact::Waits { by } => Words::new(
            Moving,
            "Waits",
            format!("waiting for the backup {by} of the same machine to end"),
            format!("đang chờ bản sao lưu {by} của cùng máy ảo hoàn tất"),
        ),
        BackupFact::RepositoryBegins { by } => Words::new(
            Moving,
            "RepositoryBegins",
            format!("waiting for the backup {by}, which makes the department's repository"),
            format!("đang chờ bản sao lưu {by} tạo kho sao lưu của đơn vị"),
        ),
        BackupFact::Copying { done, of } => Words::new(
            Moving,
            "Copying",
            match of {
                0 => "waiting for the storage host to begin".to_owned(),
                _ => format!("{} of {} are read", human(*done), human(*of)),
            },
            match of {
                0 => "đang chờ máy chủ lưu trữ bắt đầu".to_owned(),
                _ => format!("đã đọc {}/{}", human(*done), human(*of)),
            },
        ),
        BackupFact::BackedUp { snapshot_id } => Words::new(
            Settled,
            "BackedUp",
            format!("it lies in the repository as {snapshot_id}"),
            format!("đã lưu trong kho với mã {snapshot_id}"),
        ),
        BackupFact::Base { by } => Words::new(
            Moving,
            "StillUsed",
            format!(
                "waiting for the backup {by}, which reads only what has changed since this one"
            ),
            format!("đang chờ bản sao lưu {by}, vốn chỉ đọc phần thay đổi kể từ bản này"),
        ),
        _ => return None,
    })
}

fn restore(fact: &BackupFact) -> Option<Words> {
    Some(match fact {
        BackupFact::BackupMissing { backup } => Words::new(
            Troubled,
            "BackupMissing",
            format!(
                "backup: there is no Backup {backup} in this namespace; `kubectl get bak` lists them. \
                 Name a snapshot of the repository if its record was deleted"
            ),
            format!(
                "backup: không có Backup {backup} trong namespace này; xem `kubectl get bak`. Nếu bản \
                 ghi đã bị xóa, hãy nêu snapshot trong kho"
            ),
        ),
        BackupFact::BackupNotDone { backup } => Words::new(
            Moving,
            "BackupNotDone",
            format!("waiting for Backup {backup} to be done; it says how far it is"),
            format!("đang chờ Backup {backup} hoàn tất; xem tình trạng của nó"),
        ),
        BackupFact::BackupWithoutVolume {
            backup,
            volume,
            has,
        } => Words::new(
            Troubled,
            "BackupWithoutVolume",
            format!(
                "volume: Backup {backup} has no {volume}; it has {}",
                list(has)
            ),
            format!(
                "volume: Backup {backup} không có {volume}; chỉ có {}",
                list(has)
            ),
        ),
        BackupFact::OfAnother { department } => Words::new(
            Troubled,
            "OfAnother",
            format!(
                "department: what is {department}'s is restored there, by {department}; leave it out"
            ),
            format!(
                "department: dữ liệu của {department} chỉ được khôi phục tại {department}; hãy bỏ \
                 trường này"
            ),
        ),
        BackupFact::TooSmall { size, need } => Words::new(
            Troubled,
            "TooSmall",
            format!("to.size: {size} is less than the volume had, {need}; ask for more"),
            format!("to.size: {size} nhỏ hơn dung lượng của volume, {need}; hãy tăng dung lượng"),
        ),
        BackupFact::NameTaken { volume } => Words::new(
            Troubled,
            "NameTaken",
            format!("to.name: there is a Volume {volume} already; choose another name"),
            format!("to.name: đã có Volume {volume}; hãy chọn tên khác"),
        ),
        BackupFact::VolumeWaits { volume, says } => {
            let more = says.as_ref().map(|says| format!(": {says}"));
            let more = more.unwrap_or_default();
            Words::new(
                Moving,
                "VolumeWaits",
                format!("waiting for Volume {volume} to be made{more}"),
                format!("đang chờ Volume {volume} được tạo{more}"),
            )
        }
        BackupFact::Writing { done, of } => Words::new(
            Moving,
            "Writing",
            match of {
                0 => "waiting for the storage host to begin".to_owned(),
                _ => format!("{} of {} are written", human(*done), human(*of)),
            },
            match of {
                0 => "đang chờ máy chủ lưu trữ bắt đầu".to_owned(),
                _ => format!("đã ghi {}/{}", human(*done), human(*of)),
            },
        ),
        BackupFact::Restored { volume } => Words::new(
            Settled,
            "Restored",
            format!("Volume {volume} holds what the backup held"),
            format!("Volume {volume} đã có đủ dữ liệu của bản sao lưu"),
        ),
        BackupFact::Stopped { volume } => Words::new(
            Resting,
            "Stopped",
            format!(
                "Volume {volume} was deleted before all of it was written; make another Restore"
            ),
            format!("Volume {volume} đã bị xóa trước khi ghi xong; hãy tạo Restore khác"),
        ),
        BackupFact::AwaitsRestore { restore } => Words::new(
            Moving,
            "AwaitsRestore",
            format!(
                "waiting for Restore {restore} to write it; that says how far it is. If there is no \
                 such Restore, make it or delete this volume"
            ),
            format!(
                "đang chờ Restore {restore} ghi dữ liệu; xem tình trạng của nó. Nếu không có Restore \
                 đó, hãy tạo nó hoặc xóa volume này"
            ),
        ),
        _ => return None,
    })
}

fn policy(fact: &BackupFact) -> Option<Words> {
    Some(match fact {
        BackupFact::CronInvalid { cron, error } => Words::new(
            Troubled,
            "CronInvalid",
            format!(
                "schedule.cron: {cron:?} does not read: {error}. It is minute, hour, day of the month, \
                 month, day of the week"
            ),
            format!(
                "schedule.cron: không hiểu {cron:?}: {error}. Thứ tự là phút, giờ, ngày trong tháng, \
                 tháng, thứ"
            ),
        ),
        BackupFact::ZoneUnknown { zone } => Words::new(
            Troubled,
            "ZoneUnknown",
            format!("schedule.timeZone: there is no time zone {zone}; such as Asia/Ho_Chi_Minh"),
            format!("schedule.timeZone: không có múi giờ {zone}; ví dụ Asia/Ho_Chi_Minh"),
        ),
        BackupFact::Suspended => Words::new(
            Resting,
            "Suspended",
            "suspended: it begins no backups",
            "đang tạm dừng: không bắt đầu bản sao lưu nào",
        ),
        BackupFact::Scheduled { machines, next } => Words::new(
            Settled,
            "Scheduled",
            format!("{machines} machines are backed up next at {next}"),
            format!("{machines} máy ảo sẽ được sao lưu vào {next}"),
        ),
        BackupFact::Late { machines, all } => Words::new(
            Troubled,
            "Late",
            format!(
                "{all} machines have missed their backup: {}",
                list(machines)
            ),
            format!("{all} máy ảo bị lỡ lịch sao lưu: {}", list(machines)),
        ),
        BackupFact::Kept { policy } => Words::new(
            Settled,
            "Kept",
            format!("the rules of BackupPolicy {policy} keep it"),
            format!("được giữ theo quy tắc của BackupPolicy {policy}"),
        ),
        BackupFact::NotScheduled => Words::new(
            Settled,
            "NotScheduled",
            "made by a person, or its policy is gone: it is kept until a person removes it",
            "do người dùng tạo, hoặc chính sách không còn: được giữ đến khi có người xóa",
        ),
        BackupFact::MayGo { policy } => Words::new(
            Resting,
            "MayGo",
            format!("no rule of BackupPolicy {policy} keeps it any more: it may be removed"),
            format!("không còn quy tắc nào của BackupPolicy {policy} giữ: có thể xóa"),
        ),
        _ => return None,
    })
}
