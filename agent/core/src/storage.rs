//! Images, volumes and grants on a storage host: what is to be done, and how it stands.
//!
//! A pool is a folder. A volume is a sparse raw file in it, an image is one that volumes are cloned
//! from, and a grant is an iSCSI target that lets one initiator open one volume.
//!
//! What always holds:
//! - An image is there before volumes are cloned from it, a volume before it is granted, and no
//!   target is left of a volume whose bytes are retained or erased.
//! - **A target is never changed, only deleted and made anew.** Deleting it is the fence, and its
//!   success the proof. It happens before the target of a newer epoch is made.
//! - Each volume carries a watermark: the highest epoch ever granted, and whether it was fenced
//!   since. It is written down before the fence and before the target. Nothing below it is ever
//!   granted again, because an initiator that comes back replays its old writes; it lies beside
//!   the volume, so that an agent that has lost its memory keeps to it too.
//! - A file that should be there and is not is never made anew: that would hide the loss.
//! - Targets and files that nobody asked for are left alone.
//!
//! What each item and release asks is decided in one place (`judge`), from which both [`plan`]
//! and [`status`] are read, so that what is called ready is exactly what needs no step.

mod extents;
mod judge;
mod known;
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
pub use plan::plan;
pub use record::{
    FenceProof, Gone, Making, Note, SnapshotRecord, VolumeRecord, Watermark, WatermarkState,
};
pub use seen::{
    Admits, Contents, GrantForm, GrantSeen, GrantsSeen, ImageProgress, ImageSeen, PoolSeen, Seen,
    SnapshotSeen, VolumeBytes, VolumeSeen,
};
pub use status::{next_look, pool_facts, status};
pub use step::{EraseMethod, Expose, Removal, Step};
pub use trouble::StorageTrouble;
pub use validate::{MAX_VOLUME, file_size, validate_grant, validate_image, validate_volume};
