//! Images, volumes, snapshots and grants in the pools of a host: what is to be done, and how it
//! stands.
//!
//! A pool is whatever its driver makes of it (`dc_host::drivers`): a folder on a SAN node, a Ceph
//! pool. A volume is a disk in it, an image is one that volumes are cloned from, a snapshot is a
//! volume as it stood at one moment, and a grant lets one holder open one volume.
//!
//! What always holds:
//! - An image is there before volumes are cloned from it, a volume before it is granted, and no grant
//!   is left of a volume whose bytes are restored, retained or erased.
//! - **A grant is never changed, only taken away and made anew.** Taking it away is the fence, and its
//!   success the proof. It happens before the grant of a newer epoch is made.
//! - Each volume carries a watermark: the highest epoch ever granted, and whether it was fenced
//!   since. It is written down before the fence and before the grant. Nothing below it is ever
//!   granted again, because a holder that comes back replays its old writes; it lies beside the
//!   volume, so that an agent that has lost its memory keeps to it too.
//! - Bytes that should be there and are not, of a volume or a snapshot, are never made anew: that
//!   would hide the loss.
//! - A volume goes when its snapshots have gone.
//! - What nobody asked for is left alone, and shown ([`orphans`]).
//!
//! What each item and release asks is decided in one place (`judge`), from which both [`plan`]
//! and [`status`] are read, so that what is called ready is exactly what needs no step.

mod extents;
mod judge;
mod known;
mod orphans;
mod plan;
mod record;
mod seen;
mod status;
mod step;
#[cfg(test)]
mod tests;
mod trouble;
mod validate;

pub use extents::{Extent, Mapped, Place, changed, clip, merge, pieces, total};
pub use orphans::orphans;
pub use plan::plan;
pub use record::{
    FenceProof, Filled, Gone, Making, Note, SnapshotRecord, VolumeRecord, Watermark, WatermarkState,
};
pub use seen::{
    Admits, Contents, GrantForm, GrantSeen, GrantsSeen, ImageProgress, ImageSeen, PoolSeen, Seen,
    SnapshotSeen, VolumeBytes, VolumeSeen,
};
pub use status::{next_look, pool_facts, status};
pub use step::{EraseMethod, Expose, Removal, Step};
pub use trouble::StorageTrouble;
pub use validate::{MAX_VOLUME, file_size, validate_grant, validate_image, validate_volume};
