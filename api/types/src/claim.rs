//! What the ledger holds: who may use what. Written by the operator's leader alone, in
//! transactions; the epoch of a claim is the mod revision of its key under an incarnation.

mod backup;
mod key;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::plan::{Disposition, LUKS_HEADER, Release, RestoreOrder};
use crate::report::{Consistency, Erasure};
use crate::{
    Bytes, HostName, InstanceId, Mac, MiB, ObjectRef, ObjectUid, PoolName, SnapshotId, SubnetUid,
    Vni,
};

pub use backup::{
    BackedUp, BackupBase, BackupClaim, BackupState, BackupVolumeClaim, Makes, ManifestClaim,
    RestoreClaim, RestoreState,
};
pub use key::{DestroyedKey, MemberSaid, VolumeKey};

/// The one host that may run a machine, and all the machine holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmClaim {
    pub vm: InstanceId,
    /// The one object that owns it now.
    pub owner: ObjectRef,
    pub host: HostName,
    pub vcpus: u32,
    pub memory: MiB,
    /// Pinned at the first start and kept wherever it goes.
    pub machine_type: String,
    /// In the order of the object's disks.
    pub volumes: Vec<InstanceId>,
    pub cards: Vec<CardClaim>,
}

/// One card: its addresses, for life, and what of it is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardClaim {
    pub subnet: SubnetUid,
    pub mac: Mac,
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
    /// Names of its zone's services that may be reached from outside: what its object names and is
    /// not here stays closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
}

/// The pool and host that hold a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeClaim {
    pub volume: InstanceId,
    pub owner: ObjectRef,
    pub pool: PoolName,
    /// The storage host.
    pub host: HostName,
    /// Promised to its owner, whatever is really used.
    pub size: Bytes,
    /// What it had before it began to grow, until its storage has grown and shows it: no machine is
    /// told of more than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grows_from: Option<Bytes>,
    /// The last order to bring it back to a snapshot. No machine gets it before that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreOrder>,
    /// The id under which the storage host has the bytes, once they have been moved; else the
    /// volume's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<InstanceId>,
    /// The order of the last restore that was done where the bytes were before: it is not done again
    /// where they are now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<String>,
    #[serde(default, skip_serializing_if = "Contents::is_whole")]
    pub contents: Contents,
    /// For life. One that is encrypted has a [`VolumeKey`], claimed with it.
    #[serde(default, skip_serializing_if = "Cipher::is_plain")]
    pub cipher: Cipher,
}

/// How a volume's bytes lie at its storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cipher {
    /// As the guest writes them.
    #[default]
    Plain,
    /// Encrypted by QEMU, behind a header of LUKS.
    Luks,
}

impl Cipher {
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }

    /// How much more its storage has than the guest sees.
    #[must_use]
    pub fn header(self) -> Bytes {
        match self {
            Self::Plain => Bytes(0),
            Self::Luks => LUKS_HEADER,
        }
    }
}

/// Whether a volume's bytes are what its owner asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contents {
    #[default]
    Whole,
    /// They come from a backup, and are not all there: nobody gets the volume.
    AwaitRestore,
    /// The same, and it is being brought back to a snapshot: whole once that is done.
    TakesBack,
}

impl Contents {
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}

impl VolumeClaim {
    /// The id under which the storage host has the bytes, and under which they are granted.
    #[must_use]
    pub fn place(&self) -> InstanceId {
        self.stored.unwrap_or(self.volume)
    }

    /// How large it certainly is to whoever opens it.
    #[must_use]
    pub fn shown(&self) -> Bytes {
        self.grows_from.unwrap_or(self.size)
    }

    /// The same as its machine's guest sees it.
    #[must_use]
    pub fn shown_to_guest(&self) -> Bytes {
        Bytes(self.shown().0.saturating_sub(self.cipher.header().0))
    }
}

/// The second place of a volume's bytes, for as long as there is one: first the place that they go
/// to, then the one that they are left behind in. One for each volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveClaim {
    pub volume: InstanceId,
    /// Of the volume.
    pub owner: ObjectRef,
    /// The id under which the storage host has it: another one for each move.
    pub place: InstanceId,
    pub pool: PoolName,
    /// The storage host.
    pub host: HostName,
    /// Of the volume: promised and charged a second time.
    pub size: Bytes,
    pub phase: MovePhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MovePhase {
    /// It is made, and opened for the machine that has the volume.
    Reserved,
    /// The machine's host is told to copy there.
    Copying,
    /// It is told to go over, and may have: only it knows in which place the bytes are.
    Switching,
    /// The machine went off: the host is told not to go over any more, and may have.
    Recalled,
    /// Taken back: the host is told of it no more, and has not said yet that it let go.
    Ending,
    /// Nobody writes to it, and what is in it is to be erased.
    Leaving,
}

impl MovePhase {
    /// Whether the machine's host is told of the second place.
    #[must_use]
    pub fn is_mirrored(self) -> bool {
        match self {
            Self::Copying | Self::Switching | Self::Recalled => true,
            Self::Reserved | Self::Ending | Self::Leaving => false,
        }
    }

    /// Whether only the machine's host knows in which place the bytes are.
    #[must_use]
    pub fn may_have_gone_over(self) -> bool {
        match self {
            Self::Switching | Self::Recalled => true,
            Self::Reserved | Self::Copying | Self::Ending | Self::Leaving => false,
        }
    }
}

/// A snapshot of one volume. Those of a group are written in one transaction, so their epochs are
/// one, and it is the id of the hold that they are taken under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotClaim {
    pub snapshot: SnapshotId,
    pub owner: ObjectRef,
    pub volume: InstanceId,
    pub pool: PoolName,
    /// The storage host.
    pub host: HostName,
    /// Of the volume when it was asked for; the snapshot may come to take as much.
    pub size: Bytes,
    /// The machine whose guest is held meanwhile, when one has the volume.
    pub held: Option<InstanceId>,
    /// How often the group was begun before, counted from 0.
    pub attempt: u32,
    pub state: SnapshotState,
    /// The place of the volume's bytes, where that is not the volume's id. It is the same for as long
    /// as there is a snapshot, which has its blocks in common with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<InstanceId>,
    #[serde(default, skip_serializing_if = "SnapshotPurpose::is_departments")]
    pub purpose: SnapshotPurpose,
}

/// Who a snapshot is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotPurpose {
    /// A VolumeSnapshot: charged to the department.
    #[default]
    Department,
    /// A Backup, which reads it, and the next one tells changes from it: the platform's.
    Backup,
}

impl SnapshotPurpose {
    #[must_use]
    pub fn is_departments(&self) -> bool {
        *self == Self::Department
    }
}

impl SnapshotClaim {
    /// The id under which the storage host has the bytes that it is of.
    #[must_use]
    pub fn place(&self) -> InstanceId {
        self.stored.unwrap_or(self.volume)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotState {
    Taking,
    /// The hold did not last: what was taken goes, and is taken anew.
    Broken,
    Taken {
        level: Consistency,
        /// As the storage host said, seconds since 1970: it tells a snapshot from another one that
        /// somebody made in its place.
        taken_at: i64,
    },
}

/// A guest is held for one group of snapshots at a time. Its epoch is the hold's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldClaim {
    pub vm: InstanceId,
    /// The VolumeSnapshot that it is for.
    pub owner: ObjectRef,
    pub phase: HoldPhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldPhase {
    Asked,
    /// Everything is taken: the host is to let the guest go, and to say whether it was held so long.
    Lifted,
}

/// An erasure that a storage host has confirmed, kept until its certificate stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedVolume {
    pub volume: InstanceId,
    pub owner: ObjectRef,
    pub pool: PoolName,
    pub host: HostName,
    pub size: Bytes,
    pub method: Disposition,
    /// What the host did; `None` when it confirmed without saying.
    pub erasure: Option<Erasure>,
    /// The place that the bytes were in, where that is not the volume's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<InstanceId>,
}

impl ErasedVolume {
    /// The id under which the storage host had the bytes.
    #[must_use]
    pub fn place(&self) -> InstanceId {
        self.stored.unwrap_or(self.volume)
    }
}

/// The one machine that may open an exclusive volume. The key is of the place of its bytes; its epoch
/// is the grant's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachClaim {
    pub volume: InstanceId,
    pub vm: InstanceId,
    pub host: HostName,
}

/// A subnet's prefixes and segment id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetClaim {
    pub subnet: SubnetUid,
    pub owner: ObjectRef,
    pub vni: Vni,
    pub v4: Option<Ipv4Net>,
    pub v6: Option<Ipv6Net>,
}

/// A department's transit network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepartmentClaim {
    pub owner: ObjectRef,
    pub transit: Vni,
}

/// Who holds an address of a subnet, a MAC, a VNI or a prefix: the value of an index key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBy {
    pub holder: ObjectUid,
}

/// Releases that a host has not confirmed yet, one key each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRelease {
    pub host: HostName,
    pub release: Release,
}

/// Keys of the ledger, below `/dc/<cluster>`. Ids and names in keys hold no '/'.
pub mod keys {
    use super::{
        HostName, InstanceId, IpAddr, Mac, ObjectUid, PoolName, SnapshotId, SubnetUid, Vni,
    };
    use crate::plan::ItemKey;

    pub const INCARNATION: &str = "incarnation";
    pub const LEADER: &str = "leader";
    pub const VM: &str = "vm/";
    pub const VOLUME: &str = "volume/";
    pub const MOVE: &str = "move/";
    pub const ATTACH: &str = "attach/";
    pub const KEY: &str = "key/";
    pub const DESTROYED: &str = "destroyed/";
    pub const SNAPSHOT: &str = "snapshot/";
    pub const HOLD: &str = "hold/";
    pub const BACKUP: &str = "backup/";
    pub const RESTORE: &str = "restore/";
    pub const MANIFEST: &str = "manifest/";
    pub const ERASED: &str = "erased/";
    pub const SUBNET: &str = "subnet/";
    pub const DEPARTMENT: &str = "department/";
    pub const RELEASE: &str = "release/";

    #[must_use]
    pub fn vm(id: InstanceId) -> String {
        format!("{VM}{id}")
    }

    #[must_use]
    pub fn volume(id: InstanceId) -> String {
        format!("{VOLUME}{id}")
    }

    /// The second place of a volume.
    #[must_use]
    pub fn second(volume: InstanceId) -> String {
        format!("{MOVE}{volume}")
    }

    #[must_use]
    pub fn attach(place: InstanceId) -> String {
        format!("{ATTACH}{place}")
    }

    /// The wrapped key of a volume.
    #[must_use]
    pub fn key(volume: InstanceId) -> String {
        format!("{KEY}{volume}")
    }

    /// That the key of a volume was destroyed.
    #[must_use]
    pub fn destroyed(volume: InstanceId) -> String {
        format!("{DESTROYED}{volume}")
    }

    #[must_use]
    pub fn snapshot(id: SnapshotId) -> String {
        format!("{SNAPSHOT}{id}")
    }

    /// The hold of a machine's guest.
    #[must_use]
    pub fn hold(vm: InstanceId) -> String {
        format!("{HOLD}{vm}")
    }

    /// Of a Backup, by its uid.
    #[must_use]
    pub fn backup(id: ObjectUid) -> String {
        format!("{BACKUP}{id}")
    }

    /// Of a Restore, by its uid.
    #[must_use]
    pub fn restore(id: ObjectUid) -> String {
        format!("{RESTORE}{id}")
    }

    /// What a MachineRestore reads first, by its uid.
    #[must_use]
    pub fn manifest(id: ObjectUid) -> String {
        format!("{MANIFEST}{id}")
    }

    #[must_use]
    pub fn erased(place: InstanceId) -> String {
        format!("{ERASED}{place}")
    }

    #[must_use]
    pub fn subnet(id: SubnetUid) -> String {
        format!("{SUBNET}{id}")
    }

    #[must_use]
    pub fn address(subnet: SubnetUid, address: IpAddr) -> String {
        format!("address/{subnet}/{address}")
    }

    #[must_use]
    pub fn mac(mac: Mac) -> String {
        format!("mac/{mac}")
    }

    #[must_use]
    pub fn vni(vni: Vni) -> String {
        format!("vni/{vni}")
    }

    /// Prefixes of a zone's pools, so that no two subnets get the same one.
    #[must_use]
    pub fn prefix(zone: &str, net: &str) -> String {
        format!("prefix/{zone}/{}", net.replace('/', "_"))
    }

    #[must_use]
    pub fn pool(pool: &PoolName) -> String {
        format!("pool/{pool}")
    }

    #[must_use]
    pub fn release(host: &HostName, key: &ItemKey) -> String {
        format!("{RELEASE}{host}/{:?}/{}/{}", key.kind, key.id, key.card)
    }
}
