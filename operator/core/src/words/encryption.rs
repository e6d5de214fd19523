//! Words for volumes that are encrypted.

use super::Standing::{Moving, Troubled};
use super::{Fact, Words};

/// What follows from encryption. Named after its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncryptionFact {
    /// The operator knows no master key at all.
    NoMasterKey,
    /// It does not know the one that a volume's key is wrapped by.
    MasterKeyUnknown { volume: String, id: String },
    /// The key in the ledger does not open by the master key that it names.
    KeyUnreadable { volume: String, id: String },
    /// The ledger has no key for a volume that is encrypted.
    KeyMissing { volume: String },
    /// A clone would have the header of its parent, and its key.
    SourceEncrypted { source: String },
    /// A backup has the bytes as they lie, and would not have the key.
    EncryptedNotBackedUp { volumes: Vec<String> },
    /// A key is to be destroyed of a volume that has none.
    NotEncrypted,
    /// The same of one whose key the ledger has lost.
    NoKeyToDestroy,
    /// The wrapped key is gone from the ledger; its old revisions are being made sure of.
    KeyBeingDestroyed {
        /// Members of the ledger that did not say so, and why.
        silent: Vec<String>,
        /// How long they are waited for.
        until: String,
    },
}

pub(super) fn words(fact: &Fact) -> Option<Words> {
    let Fact::Encryption(fact) = fact else {
        return None;
    };
    Some(match fact {
        EncryptionFact::NoMasterKey => Words::new(
            Troubled,
            "NoMasterKey",
            "encrypted: the operator has no master key; a platform administrator makes one with \
             `dc-operator recovery-key new` and starts the operator with --master-keys",
            "encrypted: operator chưa có khóa chủ; quản trị nền tảng cần tạo bằng `dc-operator \
             recovery-key new` và khởi động operator với --master-keys",
        ),
        EncryptionFact::MasterKeyUnknown { volume, id } => Words::new(
            Troubled,
            "MasterKeyUnknown",
            format!(
                "the key of volume {volume} is wrapped by master key {id}, which this operator does \
                 not have; no machine is started with it. Put the file {id} into the folder of \
                 --master-keys"
            ),
            format!(
                "khóa của volume {volume} được bọc bởi khóa chủ {id} mà operator này không có; máy \
                 ảo dùng volume này không được khởi động. Hãy đặt tệp {id} vào thư mục --master-keys"
            ),
        ),
        EncryptionFact::KeyUnreadable { volume, id } => Words::new(
            Troubled,
            "KeyUnreadable",
            format!(
                "the ledger's key of volume {volume} does not open by master key {id}: one of the two \
                 is not what it was; look whether the file {id} is the right one"
            ),
            format!(
                "khóa của volume {volume} trong sổ cái không mở được bằng khóa chủ {id}: một trong \
                 hai đã bị thay đổi; hãy kiểm tra tệp {id}"
            ),
        ),
        EncryptionFact::KeyMissing { volume } => Words::new(
            Troubled,
            "KeyMissing",
            format!(
                "volume {volume} is encrypted and the ledger has no key for it: bring the ledger back \
                 from a snapshot of etcd that has it; without one its bytes are lost"
            ),
            format!(
                "volume {volume} được mã hóa nhưng sổ cái không có khóa: hãy khôi phục sổ cái từ bản \
                 snapshot của etcd còn khóa này; nếu không có thì dữ liệu đã mất"
            ),
        ),
        EncryptionFact::SourceEncrypted { source } => Words::new(
            Troubled,
            "SourceEncrypted",
            format!(
                "source: {source} is of an encrypted volume, and no volume is made from one: it would \
                 have the same key, which could not be destroyed for one of them alone"
            ),
            format!(
                "source: {source} thuộc volume được mã hóa, không thể tạo volume khác từ đó vì hai \
                 volume sẽ dùng chung một khóa, không thể hủy khóa cho riêng một volume"
            ),
        ),
        EncryptionFact::EncryptedNotBackedUp { volumes } => Words::new(
            Troubled,
            "EncryptedNotBackedUp",
            format!(
                "vm: {} encrypted, and a backup would not have the key: it could not be read back. \
                 Back up from inside the guest",
                match volumes.as_slice() {
                    [one] => format!("Volume {one} is"),
                    several => format!("Volumes {} are", several.join(", ")),
                }
            ),
            format!(
                "vm: volume {} được mã hóa, bản sao lưu sẽ không có khóa nên không đọc lại được; hãy \
                 sao lưu từ bên trong máy ảo",
                volumes.join(", ")
            ),
        ),
        EncryptionFact::NotEncrypted => Words::new(
            Troubled,
            "NotEncrypted",
            "eraseMethod: KeyDestruction is for encrypted volumes alone, and this one is not; set \
             Discard, Zero or Random",
            "eraseMethod: KeyDestruction chỉ dùng cho volume được mã hóa, volume này không mã hóa; hãy \
             đặt Discard, Zero hoặc Random",
        ),
        EncryptionFact::NoKeyToDestroy => Words::new(
            Troubled,
            "NoKeyToDestroy",
            "eraseMethod: KeyDestruction cannot be shown, as the ledger has lost the key of this \
             volume; set Discard, Zero or Random to have its blocks erased",
            "eraseMethod: không thể chứng minh KeyDestruction vì sổ cái đã mất khóa của volume này; hãy \
             đặt Discard, Zero hoặc Random để xóa các khối dữ liệu",
        ),
        EncryptionFact::KeyBeingDestroyed { silent, until } => being_destroyed(silent, until),
    })
}

fn being_destroyed(silent: &[String], until: &str) -> Words {
    let (en, vi) = match silent {
        [] => (String::new(), String::new()),
        silent => {
            let silent = silent.join("; ");
            (
                format!(
                    ". Not said yet by {silent}. Waited for until {until}; then its blocks are given \
                     back, and the certificate names who did not answer"
                ),
                format!(
                    ". Chưa trả lời: {silent}. Chờ đến {until}; sau đó các khối được trả lại và chứng \
                     nhận ghi rõ thành viên nào không trả lời"
                ),
            )
        }
    };
    Words::new(
        Moving,
        "KeyBeingDestroyed",
        format!(
            "its key is deleted, and each member of the ledger is being asked whether it still has \
             it{en}"
        ),
        format!("đã xóa khóa, đang kiểm tra từng thành viên của sổ cái không còn giữ khóa{vi}"),
    )
}
