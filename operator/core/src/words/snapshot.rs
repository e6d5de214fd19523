//! Words for snapshots, and for what is made from or brought back to one.

use dc_types::report::Consistency;

use super::Standing::{Moving, Settled, Troubled};
use super::platform::list;
use super::{Fact, Words};

pub(super) fn words(fact: &Fact) -> Option<Words> {
    asked(fact).or_else(|| taking(fact)).or_else(|| used(fact))
}

/// What keeps one from being begun.
fn asked(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::SnapshotTargetMissing { what } => Words::new(
            Troubled,
            "TargetMissing",
            format!("there is no {what} in this namespace; name one that is there"),
            format!("không có {what} trong namespace này; hãy chọn đối tượng đang có"),
        ),
        Fact::SnapshotTargetNotReady { volume } => Words::new(
            Moving,
            "TargetNotReady",
            format!("waiting for volume {volume} to be made"),
            format!("đang chờ volume {volume} được tạo xong"),
        ),
        Fact::SnapshotTargetDeleting { volume } => Words::new(
            Troubled,
            "TargetDeleting",
            format!("volume {volume} is being deleted; no snapshot can be taken of it any more"),
            format!("volume {volume} đang bị xóa; không thể chụp nữa"),
        ),
        Fact::SnapshotPoolFull {
            pool,
            need,
            left,
            limit,
        } => Words::new(
            Troubled,
            "PoolFull",
            format!(
                "pool {pool} may promise {left} more (limit {limit}); a snapshot may come to take \
                 as much as its volumes, {need}. Delete old snapshots or volumes, or have a \
                 platform administrator add capacity or raise the pool's promisePercent"
            ),
            format!(
                "vùng {pool} chỉ còn cấp được {left} (giới hạn {limit}); bản chụp có thể chiếm tới \
                 {need}. Hãy xóa bản chụp hay volume cũ, hoặc đề nghị quản trị nền tảng mở rộng \
                 hay tăng promisePercent của vùng"
            ),
        ),
        Fact::HoldTaken { vm, by } => Words::new(
            Moving,
            "HoldTaken",
            format!("waiting until snapshot {by} of machine {vm} is taken"),
            format!("đang chờ bản chụp {by} của máy ảo {vm} hoàn tất"),
        ),
        _ => return None,
    })
}

fn taking(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::HoldPending { vm, host } => Words::new(
            Moving,
            "Holding",
            format!("waiting for host {host} to keep machine {vm} from writing for the moment"),
            format!("đang chờ máy chủ {host} tạm giữ máy ảo {vm} không ghi dữ liệu"),
        ),
        Fact::SnapshotTaking { taken, all } => Words::new(
            Moving,
            "Taking",
            format!("{taken} of {all} volumes are taken"),
            format!("đã chụp {taken}/{all} volume"),
        ),
        Fact::SnapshotVerifying { vm } => Words::new(
            Moving,
            "Verifying",
            format!("all are taken; waiting to hear that machine {vm} wrote nothing meanwhile"),
            format!("đã chụp xong; đang chờ xác nhận máy ảo {vm} không ghi gì trong lúc chụp"),
        ),
        Fact::SnapshotAgain { attempts } => Words::new(
            Moving,
            "Again",
            format!(
                "attempt {attempts} was not of one instant and is thrown away; it is taken anew"
            ),
            format!("lần {attempts} không cùng một thời điểm nên bị bỏ; đang chụp lại"),
        ),
        Fact::SnapshotFailed { attempts } => Words::new(
            Troubled,
            "NotOneInstant",
            format!(
                "in {attempts} attempts the volumes could not all be taken while the machine was \
                 held; see that its host and storage answer quickly, then delete this snapshot and \
                 make another"
            ),
            format!(
                "qua {attempts} lần, không chụp được mọi volume trong lúc máy ảo bị tạm giữ; hãy \
                 kiểm tra máy chủ và vùng lưu trữ, rồi xóa bản chụp này và tạo bản khác"
            ),
        ),
        Fact::SnapshotTaken { level } => {
            let (en, vi) = match level {
                Consistency::Crash => (
                    "taken as after a power cut: file systems and databases repair themselves \
                     from their journals",
                    "đã chụp như khi mất điện: hệ thống tệp và cơ sở dữ liệu tự khôi phục từ nhật ký",
                ),
                Consistency::FileSystem => (
                    "taken with all file systems written out",
                    "đã chụp khi mọi hệ thống tệp đã được ghi đầy đủ",
                ),
                Consistency::Application => (
                    "taken with all applications and file systems written out",
                    "đã chụp khi mọi ứng dụng và hệ thống tệp đã được ghi đầy đủ",
                ),
            };
            Words::new(Settled, "Taken", en, vi)
        }
        Fact::SnapshotReplaced { snapshot } => Words::new(
            Troubled,
            "Replaced",
            format!(
                "what lies in the pool as {snapshot} is not what was taken: somebody removed it and \
                 it was made again. Delete this snapshot; nothing is made from it"
            ),
            format!(
                "dữ liệu {snapshot} trong vùng không phải bản đã chụp: đã bị xóa rồi tạo lại. Hãy \
                 xóa bản chụp này; không dùng được nữa"
            ),
        ),
        _ => return None,
    })
}

fn used(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::SnapshotMissing { snapshot } => Words::new(
            Troubled,
            "SnapshotMissing",
            format!("there is no VolumeSnapshot {snapshot}; `kubectl get snap` lists them"),
            format!("không có VolumeSnapshot {snapshot}; xem `kubectl get snap`"),
        ),
        Fact::SnapshotNotTaken { snapshot } => Words::new(
            Moving,
            "SnapshotNotTaken",
            format!("waiting for VolumeSnapshot {snapshot} to be taken; it says how far it is"),
            format!("đang chờ VolumeSnapshot {snapshot} chụp xong; xem tình trạng của nó"),
        ),
        Fact::SnapshotWithoutVolume { snapshot } => Words::new(
            Troubled,
            "SnapshotWithoutVolume",
            format!(
                "VolumeSnapshot {snapshot} does not hold that volume; its status lists what it has"
            ),
            format!("VolumeSnapshot {snapshot} không chứa volume đó; xem danh sách trong status"),
        ),
        Fact::SnapshotNeedsVolume { snapshot, volumes } => Words::new(
            Troubled,
            "SnapshotNeedsVolume",
            format!(
                "source.snapshot.volume: VolumeSnapshot {snapshot} is of several volumes; name one \
                 of {}",
                list(volumes)
            ),
            format!(
                "source.snapshot.volume: VolumeSnapshot {snapshot} gồm nhiều volume; hãy chọn một \
                 trong {}",
                list(volumes)
            ),
        ),
        Fact::SnapshotElsewhere { snapshot, pool } => Words::new(
            Troubled,
            "SnapshotElsewhere",
            format!(
                "source.snapshot: {snapshot} lies in pool {pool}; ask for a volume of that pool"
            ),
            format!("source.snapshot: {snapshot} nằm ở vùng {pool}; hãy tạo volume trong vùng đó"),
        ),
        Fact::SnapshotLarger {
            snapshot,
            source,
            size,
        } => Words::new(
            Troubled,
            "SnapshotLarger",
            format!("size: {size} is less than the {source} of snapshot {snapshot}; ask for more"),
            format!("size: {size} nhỏ hơn {source} của bản chụp {snapshot}; hãy tăng dung lượng"),
        ),
        Fact::RestoreWaits { vm } => Words::new(
            Troubled,
            "RestoreWaits",
            format!(
                "restore: machine {vm} has the volume; take the disk from its spec, or make a new \
                 volume from the snapshot"
            ),
            format!(
                "restore: máy ảo {vm} đang giữ volume; hãy gỡ đĩa khỏi máy ảo, hoặc tạo volume mới \
                 từ bản chụp"
            ),
        ),
        Fact::RestoreWaitsForGrant => Words::new(
            Moving,
            "RestoreWaitsForGrant",
            "restore: waiting for the storage to close the volume to the machine that had it",
            "restore: đang chờ vùng lưu trữ đóng volume với máy ảo đã dùng nó",
        ),
        Fact::Restoring { volume, order } => Words::new(
            Moving,
            "Restoring",
            format!("volume {volume} is being brought back to its snapshot (order {order:?})"),
            format!("volume {volume} đang được khôi phục về bản chụp (lệnh {order:?})"),
        ),
        _ => return None,
    })
}
