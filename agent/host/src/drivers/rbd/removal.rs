//! How the bytes of a volume go: kept where people find them, or erased and read back.
//!
//! ```text
//! retain: VOLUME ──▶ retained-VOLUME-EPOCH ── noted
//! erase:  VOLUME ──▶ erasing-VOLUME ── its clones get their own copies ── overwritten if asked
//!         ── cut down to nothing and made as long as before: every object is given back
//!         ── read back ── logged ── noted ──▶ removed
//! ```
//! Each goes on from wherever it was cut off; what was erased before is not counted again.
//!
//! What a pass of zeros or random bytes reaches is what Ceph shows under these addresses. An OSD
//! writes anew beside what was there, and gives the old place back to its disk: who has to be sure
//! of the disk itself encrypts it, or destroys the key of the volume.

use std::sync::Arc;

use dc_agent_core::storage::{EraseMethod, Extent, Gone, Removal, merge, pieces, total};
use dc_types::Bytes;
use dc_types::plan::Disposition;
use dc_types::report::Erasure;
use futures::future::try_join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::names::Moment;
use super::pool::Pool;
use super::{names, records};
use crate::drivers::DriverError;
use crate::drivers::compare::first_difference;
use crate::drivers::cutoff::effect;
use crate::rbd::{Blocks, ImageName, Opening, Shrink};

/// Written and read at once, and how many of them side by side.
const CHUNK: u64 = 1 << 20;
const AT_ONCE: usize = 8;

pub async fn retain(pool: &Pool, order: &Removal) -> Result<Gone, DriverError> {
    records::expect(pool, order.volume).await?;
    let kept = names::retained(order.volume, order.epoch);
    let erasing = names::erasing(order.volume);
    let in_use = names::volume(order.volume);
    let mut note = format!("retained as image {}/{kept}", pool.ceph_name);
    if pool.read_image(&in_use).await?.is_some() {
        rename(pool, &in_use, &kept).await?;
    } else if pool.read_image(&erasing).await?.is_some() {
        rename(pool, &erasing, &kept).await?;
        note.push_str("; its erasure had begun, so that parts of it may be zero");
    } else if pool.read_image(&kept).await?.is_none() {
        note = "it had no bytes".to_owned();
    }
    Ok(Gone {
        epoch: order.epoch,
        disposition: Disposition::Retain,
        note,
        erasure: None,
    })
}

async fn rename(pool: &Pool, from: &ImageName, to: &ImageName) -> Result<(), DriverError> {
    let renamed = pool.rbd.rename_image(from, &to.name).await;
    renamed.map_err(|error| pool.told(error))
}

/// Erases the bytes and logs it. What is left is the empty image that [`finish`] removes.
pub async fn erase(pool: &Pool, order: &Removal, method: EraseMethod) -> Result<Gone, DriverError> {
    records::expect(pool, order.volume).await?;
    let in_use = names::volume(order.volume);
    let image = names::erasing(order.volume);
    if pool.read_image(&in_use).await?.is_some() {
        rename(pool, &in_use, &image).await?;
    }
    let (disposition, name) = match method {
        EraseMethod::Discard => (Disposition::EraseDiscard, "discard"),
        EraseMethod::Zero => (Disposition::EraseZero, "zero"),
        EraseMethod::Random => (Disposition::EraseRandom, "random"),
    };
    let gone = |note, erasure| Gone {
        epoch: order.epoch,
        disposition,
        note,
        erasure,
    };
    let Some(info) = pool.read_image(&image).await? else {
        return Ok(gone("it had no bytes".to_owned(), None));
    };
    let began_at = jiff::Timestamp::now().as_second();
    detach_clones(pool, &image).await?;
    // Cut down to nothing by an earlier try, it holds nothing; and Ceph 16 dies of being asked what.
    let extents = match info.size {
        Bytes(0) => Vec::new(),
        _ => list_extents(pool, &image).await?,
    };
    match method {
        EraseMethod::Discard => {}
        EraseMethod::Zero => overwrite(pool, &image, &extents, Pattern::Zeros).await?,
        EraseMethod::Random => {
            let seed = rand::random();
            overwrite(pool, &image, &extents, Pattern::Random(seed)).await?;
            overwrite(pool, &image, &extents, Pattern::Zeros).await?;
        }
    }
    if info.size > Bytes(0) {
        give_back(pool, &image, info.size).await?;
        let left = list_extents(pool, &image).await?;
        if let Some(first) = left.first() {
            return Err(not_erased(&image, first.start));
        }
        read_back(pool, &image, &extents, Pattern::Zeros).await?;
    }
    let erasure = Erasure {
        method: disposition,
        extents: extents.len() as u64,
        bytes: Bytes(total(&extents)),
        verified: Bytes(total(&extents)),
        began_at,
        ended_at: jiff::Timestamp::now().as_second(),
    };
    let line = serde_json::json!({
        "volume": order.volume,
        "owner": order.owner,
        "epoch": order.epoch,
        "size": info.size,
        "erasure": erasure,
    });
    records::log_erased(pool, order, &line).await?;
    let note = format!(
        "erased by {name}: {} bytes in {} extents, read back as zero",
        erasure.bytes.0, erasure.extents
    );
    Ok(gone(note, Some(erasure)))
}

/// Removes what [`erase`] has left.
pub async fn finish(pool: &Pool, order: &Removal) -> Result<(), DriverError> {
    let image = names::erasing(order.volume);
    match pool.remove_image(&image).await {
        Err(error) if error.has_clones() => forget_moments(pool, &image).await?,
        other => return other.map_err(|error| pool.told(error)),
    }
    match pool.remove_image(&image).await {
        Err(error) if error.has_clones() => Err(DriverError::InUse {
            what: format!("image {image}"),
            by: "a clone that was begun while it was taken out of use".to_owned(),
        }),
        other => other.map_err(|error| pool.told(error)),
    }
}

/// A clone that was begun when the volume was taken out of use has left the moment it was to be made
/// from. It is made no more: it looks for that moment under the volume's name.
async fn forget_moments(pool: &Pool, image: &ImageName) -> Result<(), DriverError> {
    let told = |error| pool.told(error);
    for one in pool.rbd.list_snapshots(image).await.map_err(told)? {
        if names::moment(&one.name) == Moment::Clone {
            let removed = pool.rbd.remove_snapshot(image, &one.name).await;
            removed.map_err(told)?;
        }
    }
    Ok(())
}

/// Clones read what they share from the volume itself: before it goes, each gets its own copy. The
/// snapshots that were kept for them go with the last.
async fn detach_clones(pool: &Pool, image: &ImageName) -> Result<(), DriverError> {
    let told = |error| pool.told(error);
    for clone in pool.rbd.list_clones(image).await.map_err(told)? {
        // The copying is done by whoever has the clone's lock, and a machine may not change the
        // image that it was cloned from.
        if !pool
            .rbd
            .list_watchers(&clone)
            .await
            .map_err(told)?
            .is_empty()
        {
            return Err(DriverError::InUse {
                what: format!("image {image}"),
                by: format!(
                    "its clone {clone}, which is open: stop the machine that has it, and what they \
                     share is copied to the clone"
                ),
            });
        }
        pool.rbd.flatten_image(&clone).await.map_err(told)?;
    }
    Ok(())
}

/// What the image shows, what it has from its parent included.
async fn list_extents(pool: &Pool, image: &ImageName) -> Result<Vec<Extent>, DriverError> {
    let listed = pool.rbd.read_differences(image, None, None).await;
    let listed = listed.map_err(|error| pool.told(error))?.into_iter();
    Ok(merge(listed.map(|one| Extent::new(one.offset, one.length))))
}

/// A byte past the old end cannot be read, and an object past the end does not exist.
async fn give_back(pool: &Pool, image: &ImageName, size: Bytes) -> Result<(), DriverError> {
    for size in [Bytes(0), size] {
        let cut = pool.rbd.resize_image(image, size, Shrink::Allowed).await;
        cut.map_err(|error| pool.told(error))?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Pattern {
    Zeros,
    /// Bytes that nobody knows before and that can be made again: for each piece, the stream that
    /// this and its place begin.
    Random(u64),
}

impl Pattern {
    fn bytes(self, extent: Extent) -> Vec<u8> {
        let length = usize::try_from(extent.length).expect("a piece fits into memory");
        let mut bytes = vec![0; length];
        match self {
            Self::Zeros => {}
            Self::Random(seed) => {
                let of_piece = seed ^ extent.start.rotate_left(17);
                StdRng::seed_from_u64(of_piece).fill_bytes(&mut bytes);
            }
        }
        bytes
    }
}

async fn overwrite(
    pool: &Pool,
    image: &ImageName,
    extents: &[Extent],
    pattern: Pattern,
) -> Result<(), DriverError> {
    {
        let open = open(pool, image).await?;
        effect();
        for several in together(extents) {
            let writes = several
                .iter()
                .map(|&piece| write(pool, &open, piece, pattern));
            try_join_all(writes.collect::<Vec<_>>()).await?;
        }
        open.flush().await.map_err(|error| pool.told(error))?;
    }
    read_back(pool, image, extents, pattern).await
}

async fn write(
    pool: &Pool,
    open: &Arc<dyn Blocks>,
    piece: Extent,
    pattern: Pattern,
) -> Result<(), DriverError> {
    match open.write(piece.start, &pattern.bytes(piece)).await {
        Ok(()) => Ok(()),
        Err(error) => Err(pool.told_after_writing("erasing", error).await),
    }
}

/// By another opening: what was written is in no cache of it.
async fn read_back(
    pool: &Pool,
    image: &ImageName,
    extents: &[Extent],
    pattern: Pattern,
) -> Result<(), DriverError> {
    let open = open(pool, image).await?;
    for several in together(extents) {
        let reads = several
            .iter()
            .map(|&piece| see(pool, &open, piece, pattern));
        let differs = try_join_all(reads.collect::<Vec<_>>()).await?;
        if let Some(at) = differs.into_iter().flatten().next() {
            return Err(not_erased(image, at));
        }
    }
    Ok(())
}

/// The first byte of a piece that is not as it should be.
async fn see(
    pool: &Pool,
    open: &Arc<dyn Blocks>,
    piece: Extent,
    pattern: Pattern,
) -> Result<Option<u64>, DriverError> {
    let length = u32::try_from(piece.length).expect("a piece is short");
    let found = open.read(piece.start, length).await;
    let found = found.map_err(|error| pool.told(error))?;
    let expected = pattern.bytes(piece);
    let differs = first_difference(&found, &expected);
    Ok(differs.map(|offset| piece.start + offset as u64))
}

/// The pieces that are worked on side by side.
fn together(extents: &[Extent]) -> Vec<Vec<Extent>> {
    let all: Vec<Extent> = pieces(extents, CHUNK).collect();
    all.chunks(AT_ONCE).map(<[Extent]>::to_vec).collect()
}

async fn open(pool: &Pool, image: &ImageName) -> Result<Arc<dyn Blocks>, DriverError> {
    let opened = pool.blocks.open(image, Opening::Volume).await;
    opened.map_err(|error| pool.told(error))
}

fn not_erased(image: &ImageName, at: u64) -> DriverError {
    DriverError::NotErased {
        what: format!("image {image}"),
        at,
    }
}
