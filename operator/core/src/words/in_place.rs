//! Words for restores over a volume that is there, for it and for its machine.

use super::Standing::{Moving, Troubled};
use super::{BackupFact, Words};

pub(super) fn words(fact: &BackupFact) -> Option<Words> {
    Some(match fact {
        BackupFact::InPlaceMissing { volume } => Words::new(
            Troubled,
            "VolumeMissing",
            format!(
                "to.name: there is no Volume {volume} to write over; leave inPlace out to make one"
            ),
            format!("to.name: không có Volume {volume} để ghi đè; hãy bỏ inPlace để tạo mới"),
        ),
        BackupFact::InPlaceOther {
            volume,
            system,
            pool,
        } => Words::new(
            Troubled,
            "OtherVolume",
            format!("to: Volume {volume} is of the system {system} and lies in {pool}; name these"),
            format!(
                "to: Volume {volume} thuộc hệ thống {system}, nằm tại {pool}; hãy nêu đúng như vậy"
            ),
        ),
        BackupFact::InPlaceEncrypted { volume } => Words::new(
            Troubled,
            "VolumeEncrypted",
            format!("to.name: Volume {volume} is encrypted, and no backup is; restore beside it"),
            format!(
                "to.name: Volume {volume} được mã hóa, bản sao lưu thì không; hãy khôi phục ra volume mới"
            ),
        ),
        BackupFact::RestoreRuns { volume, by } => Words::new(
            Moving,
            "RestoreRuns",
            format!("waiting for Restore {by}, which has Volume {volume}, to end or to be deleted"),
            format!("đang chờ Restore {by} đang giữ Volume {volume} kết thúc hoặc bị xóa"),
        ),
        BackupFact::MachineRuns { vm } => Words::new(
            Troubled,
            "MachineRuns",
            format!(
                "machine {vm} has the volume and is to run; stop it, or make another Restore with inPlace.stopMachine"
            ),
            format!(
                "máy ảo {vm} đang dùng volume và đang chạy; hãy dừng máy, hoặc tạo Restore khác với inPlace.stopMachine"
            ),
        ),
        BackupFact::MachineLetsGo { vm } => Words::new(
            Moving,
            "MachineLetsGo",
            format!("waiting for machine {vm} to be off and to let go of the volume"),
            format!("đang chờ máy ảo {vm} dừng và nhả volume"),
        ),
        BackupFact::SnapshotFirst { snapshot, says } => {
            let more = says.as_ref().map(|says| format!(": {says}"));
            let more = more.unwrap_or_default();
            Words::new(
                Moving,
                "SnapshotFirst",
                format!("what is there is taken first, as VolumeSnapshot {snapshot}{more}"),
                format!(
                    "trước tiên chụp lại trạng thái hiện tại thành VolumeSnapshot {snapshot}{more}"
                ),
            )
        }
        BackupFact::VolumeReturns { volume, restore } => Words::new(
            Moving,
            "VolumeReturns",
            format!("it stays off while Restore {restore} writes over its volume {volume}"),
            format!(
                "máy được giữ ở trạng thái dừng trong khi Restore {restore} ghi đè volume {volume}"
            ),
        ),
        BackupFact::HalfRestored => Words::new(
            Troubled,
            "HalfRestored",
            "what was written over it was given up in the middle, and no machine gets it: bring it back \
             by restore from its snapshot before-…, or make another Restore with inPlace",
            "việc ghi đè đã bị bỏ dở nên không máy nào được dùng volume này: hãy đưa nó về bản chụp \
             before-… bằng trường restore, hoặc tạo Restore khác với inPlace",
        ),
        _ => return None,
    })
}
