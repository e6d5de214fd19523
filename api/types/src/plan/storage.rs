//! Images, volumes, snapshots and grants, and how machines reach their disks.

use serde::{Deserialize, Serialize};

use super::{Portal, Secret};
use crate::{Bytes, Epoch, HostName, ImageUid, InstanceId, PoolName, SnapshotId};

/// On a storage host: an image kept in a pool, ready to be cloned. Key: the Image object's uid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageItem {
    pub image: ImageUid,
    pub pool: PoolName,
    pub source: ImageSource,
    /// SHA-256 of the source as fetched, lower-case hexadecimal.
    pub sha256: String,
    pub format: ImageFormat,
    /// Reading stops with an error past this many bytes of source.
    pub max_download: Bytes,
    /// An image whose virtual size is larger is refused.
    pub max_virtual: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageSource {
    /// A file on the storage host, below its configured images folder.
    File(String),
    Http(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageFormat {
    Raw,
    Qcow2,
}

/// On a storage host: the bytes of one volume. Key: the volume's instance id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeItem {
    pub volume: InstanceId,
    pub pool: PoolName,
    /// Grows, never shrinks.
    pub size: Bytes,
    /// What it is made from when it does not exist yet; ignored once it does.
    pub source: VolumeSource,
    /// Bring the bytes back to those of a snapshot, once, while nobody holds the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreOrder>,
}

/// An order to bring a volume back to a snapshot of its own, in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreOrder {
    pub snapshot: SnapshotId,
    /// Another text than the one of the last restore asks for one more; it is written down beside
    /// the volume when the restore is done, so that it is never done twice.
    pub order: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    Blank,
    /// An image of the same pool.
    Image(ImageUid),
    /// Another volume of the same pool, as it stands at the moment of cloning.
    Volume(InstanceId),
    /// A snapshot of a volume of the same pool.
    Snapshot {
        volume: InstanceId,
        snapshot: SnapshotId,
    },
}

/// On a storage host: a volume as it stood at one moment, never changed again. Key: the snapshot's
/// id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotItem {
    pub snapshot: SnapshotId,
    pub volume: InstanceId,
    pub pool: PoolName,
}

/// On a storage host: one holder may open one volume. Key: the volume's instance id.
///
/// A grant of a newer epoch takes the place of an older one: the older one is taken away (the
/// fence), and only when that has succeeded the new one is made. An old epoch never comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantItem {
    pub volume: InstanceId,
    pub pool: PoolName,
    /// Names the one holder: it carries host and machine, and over iSCSI it is the initiator's name.
    pub initiator: String,
    #[serde(flatten)]
    pub access: GrantAccess,
}

/// How the holder of a grant is let in; the pool's driver says which of them it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum GrantAccess {
    /// The initiator logs in by CHAP.
    Iscsi { chap: Chap },
    /// The one cephx user that may open the image.
    Rbd { cephx: Cephx },
    /// The one host, which is the storage host itself, whose machines may open the file.
    File { local: HostName },
}

impl GrantAccess {
    /// The login of an iSCSI grant.
    #[must_use]
    pub fn chap(&self) -> Option<&Chap> {
        match self {
            Self::Iscsi { chap } => Some(chap),
            Self::Rbd { .. } | Self::File { .. } => None,
        }
    }
}

/// A cephx user of one volume and epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cephx {
    /// Without the leading `client.`.
    pub user: String,
    /// In base64, as in a keyring.
    pub key: Secret,
    /// The RBD namespace of the image; empty for the pool's own.
    pub namespace: String,
}

impl Cephx {
    /// The user of a grant: it carries volume and epoch, and is never used twice.
    #[must_use]
    pub fn user_name(volume: InstanceId, epoch: Epoch) -> String {
        format!("dc.{volume}.{epoch}")
    }
}

impl GrantItem {
    /// The target's name: it carries volume and epoch, and is never used twice.
    #[must_use]
    pub fn target_name(volume: InstanceId, epoch: Epoch) -> String {
        format!("iqn.2025-06.vn.gov.sonla.dc:{}:{}", volume, epoch)
    }

    /// Where the holder of a grant in a directory pool finds the bytes: a name below the pool's folder
    /// that carries volume and epoch, and is never used twice.
    #[must_use]
    pub fn file_name(volume: InstanceId, epoch: Epoch) -> String {
        format!("grants/{volume}.{epoch}.raw")
    }

    /// The initiator name of a machine on a host.
    #[must_use]
    pub fn initiator_name(host: &HostName, vm: InstanceId) -> String {
        format!("iqn.2025-06.vn.gov.sonla.dc:host:{host}:{vm}")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chap {
    pub user: String,
    pub secret: Secret,
}

/// A disk that QEMU opens itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskItem {
    pub volume: InstanceId,
    /// The disk's name in the object.
    pub name: String,
    /// Epoch of the grant: with the volume it makes the target's name.
    pub grant: Epoch,
    /// The holder's name, as in the grant.
    pub initiator: String,
    #[serde(flatten)]
    pub source: DiskSource,
    pub size: Bytes,
    #[serde(default, skip_serializing_if = "Qos::is_unlimited")]
    pub qos: Qos,
    /// The id under which its storage has the bytes, once they have been moved; else the volume's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<InstanceId>,
    /// Another place that its bytes are to be in, while the guest runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Box<Mirror>>,
    /// The bytes are encrypted by QEMU; `size` is what the guest sees, and its storage has
    /// [`LUKS_HEADER`] more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub luks: Option<Luks>,
}

/// What a volume that is encrypted has in front of the guest's bytes: QEMU's LUKS header with a key of
/// 512 bits and eight slots [measured, QEMU 7.2].
pub const LUKS_HEADER: Bytes = Bytes(2_068_480);

/// How an encrypted disk is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Luks {
    /// 64 hexadecimal digits. `None` where it is not known: in what a host keeps on disk, and while an
    /// operator has not the master key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    pub formatted: Formatted,
}

/// Whether a volume has its LUKS header, as the ledger has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Formatted {
    /// No machine was ever started with it.
    #[default]
    Never,
    Done,
}

/// A second place of a disk's bytes, opened for the same machine under a grant of its own. The guest
/// writes to the first one until the host has switched; what reaches this one is its copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// The id under which that storage has the bytes: another one for each move.
    pub place: InstanceId,
    pub grant: Epoch,
    #[serde(flatten)]
    pub source: DiskSource,
    pub order: MirrorOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MirrorOrder {
    /// Copy, and keep the copy up with what the guest writes.
    Copy,
    /// Go over to it as soon as it is the same, and say so. Cannot be taken back.
    Switch,
}

impl DiskItem {
    /// The id under which its storage has the bytes.
    #[must_use]
    pub fn place(&self) -> InstanceId {
        self.stored.unwrap_or(self.volume)
    }

    /// The disk as it is opened once its bytes are in their second place.
    #[must_use]
    pub fn switched(&self) -> Option<Self> {
        let Mirror {
            place,
            grant,
            source,
            order: _,
        } = self.mirror.as_deref()?;
        Some(Self {
            grant: *grant,
            source: source.clone(),
            stored: Some(*place),
            mirror: None,
            ..self.clone()
        })
    }
}

/// How QEMU reaches the bytes of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DiskSource {
    Iscsi {
        portal: Portal,
        chap: Chap,
    },
    Rbd {
        cluster: RbdCluster,
        image: String,
        cephx: Cephx,
    },
    /// A file of the same host.
    File {
        path: String,
    },
}

impl DiskSource {
    /// The login of a disk over iSCSI.
    #[must_use]
    pub fn chap(&self) -> Option<&Chap> {
        match self {
            Self::Iscsi { chap, .. } => Some(chap),
            Self::Rbd { .. } | Self::File { .. } => None,
        }
    }
}

/// Where a Ceph cluster's monitors listen, and the pool in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RbdCluster {
    pub monitors: Vec<Portal>,
    pub pool: String,
}

/// Limits of a disk, 0 for none. A burst may last for `burst_s` seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qos {
    /// Reads and writes a second.
    pub iops: u64,
    pub iops_burst: u64,
    /// Bytes a second, read and written together.
    pub bandwidth: Bytes,
    pub bandwidth_burst: Bytes,
    pub burst_s: u32,
}

impl Qos {
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}
