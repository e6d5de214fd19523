//! Changed extents against the bytes themselves, whatever was done in between.

use std::sync::Arc;

use dc_agent_core::storage::{Extent, clip, merge, pieces, total};
use dc_host::drivers::{ReadExtents, WriteExtents};
use dc_types::report::Verb;
use dc_types::{Bytes, InstanceId, SnapshotId};

use super::bench::{Bench, MIB, SIZE, read_all};
use super::bytes::{assert_same, blocks_that_differ};
use super::rig::Rig;

/// Between two snapshots so many things happen.
const CHANGES: u64 = 24;
const ROUNDS: usize = 10;

/// A volume, what it must hold, and its snapshots.
struct Twin {
    volume: InstanceId,
    bytes: Vec<u8>,
    taken: Vec<Taken>,
    /// While it is written to.
    open: Option<Arc<dyn WriteExtents>>,
}

/// A snapshot, opened once, and what it must hold.
struct Taken {
    snapshot: SnapshotId,
    held: Vec<u8>,
    open: Arc<dyn ReadExtents>,
}

impl Twin {
    async fn opened<R: Rig>(&mut self, bench: &Bench<R>) -> Arc<dyn WriteExtents> {
        if let Some(open) = &self.open {
            return Arc::clone(open);
        }
        let open = bench.driver.open_volume(self.volume).await.unwrap();
        self.open = Some(Arc::clone(&open));
        open
    }
}

/// One change of the volume and of what it must hold.
async fn change<R: Rig>(bench: &mut Bench<R>, twin: &mut Twin) {
    let size = twin.bytes.len() as u64;
    let random = &mut bench.random;
    let (kind, start) = (random.below(100), random.below(size));
    // From single bytes to megabytes, aligned or not.
    let most = 1 << random.below(21);
    let mut extent = Extent::new(start, 1 + random.below(most));
    if random.below(2) == 0 {
        extent = Extent::new(start / 4096 * 4096, extent.length.div_ceil(4096) * 4096);
    }
    extent.length = extent.length.min(size - extent.start);
    let within = extent.start as usize..extent.end() as usize;
    match kind {
        0..60 => {
            let new = bench.random.bytes(extent.length);
            let open = twin.opened(bench).await;
            open.write(extent.start, new.clone()).await.unwrap();
            open.flush().await.unwrap();
            twin.bytes[within].copy_from_slice(&new);
        }
        60..68 => {
            let zeros = vec![0; extent.length as usize];
            let open = twin.opened(bench).await;
            open.write(extent.start, zeros).await.unwrap();
            open.flush().await.unwrap();
            twin.bytes[within].fill(0);
        }
        68..90 => {
            let open = twin.opened(bench).await;
            open.discard(extent).await.unwrap();
            open.flush().await.unwrap();
            twin.bytes[within].fill(0);
        }
        90..95 if size < 2 * SIZE => {
            let size = size + 512 * bench.random.below(4096);
            twin.open = None;
            bench
                .driver
                .grow_volume(twin.volume, Bytes(size))
                .await
                .unwrap();
            twin.bytes.resize(size as usize, 0);
        }
        95..98 if !twin.taken.is_empty() => {
            let at = bench.random.below(twin.taken.len() as u64) as usize;
            twin.open = None;
            let Taken { snapshot, held, .. } = &twin.taken[at];
            bench
                .driver
                .restore_volume(twin.volume, *snapshot)
                .await
                .unwrap();
            twin.bytes = held.clone();
            twin.bytes.resize(size as usize, 0);
        }
        98.. if twin.taken.len() > 2 => {
            let at = bench.random.below(twin.taken.len() as u64) as usize;
            let Taken { snapshot, open, .. } = twin.taken.remove(at);
            drop(open);
            bench.drop_snapshot(twin.volume, snapshot).await;
        }
        _ => {}
    }
}

/// Every byte that differs lies in an extent; with them, the older one becomes the newer.
async fn compare<R: Rig>(
    bench: &Bench<R>,
    twin: &Twin,
    from: Option<&Taken>,
    to: &Taken,
) -> (u64, u64) {
    let (older, held) = (from.map(|from| from.snapshot), &to.held);
    let extents = bench
        .driver
        .changed_extents(twin.volume, older, to.snapshot);
    let extents = extents.await.unwrap();
    assert_eq!(
        merge(extents.clone()),
        extents,
        "they are merged and in order"
    );
    assert_eq!(
        clip(extents.clone(), held.len() as u64),
        extents,
        "they lie within"
    );
    let mut copy = from.map(|from| from.held.clone()).unwrap_or_default();
    let changed = blocks_that_differ(&copy, held) * 4096;
    copy.resize(held.len(), 0);
    for piece in pieces(&extents, MIB) {
        let bytes = to.open.read(piece).await.unwrap();
        copy[piece.start as usize..piece.end() as usize].copy_from_slice(&bytes);
    }
    assert_same(&copy, held, "the older one with the changed extents copied");
    (changed, total(&extents))
}

pub async fn no_changed_byte_is_missed_whatever_was_written<R: Rig>(bench: &mut Bench<R>) {
    if bench.lacks(Verb::ChangedExtents).await {
        return;
    }
    let mut twin = Twin {
        volume: bench.blank().await,
        bytes: vec![0; SIZE as usize],
        taken: Vec::new(),
        open: None,
    };
    let (mut changed, mut given, mut pairs) = (0, 0, 0);
    for _ in 0..ROUNDS {
        for _ in 0..CHANGES {
            change(bench, &mut twin).await;
        }
        twin.open = None;
        let snapshot = bench.snapshot(twin.volume).await;
        let open = bench.driver.open_snapshot(twin.volume, snapshot).await;
        let open = open.unwrap();
        let held = read_all(&*open).await;
        assert_same(&held, &twin.bytes, "the snapshot");
        twin.taken.push(Taken {
            snapshot,
            held,
            open,
        });
        let newest = twin.taken.last().unwrap();
        compare(bench, &twin, None, newest).await;
        for older in &twin.taken {
            // Backwards too: a restore makes the past the newest.
            for (from, to) in [(older, newest), (newest, older)] {
                let (is, told) = compare(bench, &twin, Some(from), to).await;
                (changed, given, pairs) = (changed + is, given + told, pairs + 1);
            }
        }
    }
    println!("{pairs} pairs: blocks of {changed} bytes differ, {given} bytes were given");
    for Taken { snapshot, open, .. } in std::mem::take(&mut twin.taken) {
        drop(open);
        bench.drop_snapshot(twin.volume, snapshot).await;
    }
}

pub async fn what_did_not_change_is_not_copied<R: Rig>(bench: &mut Bench<R>) {
    if bench.lacks(Verb::ChangedExtents).await {
        return;
    }
    let volume = bench.blank().await;
    let bytes = bench.random.bytes(8 * MIB);
    bench.write(volume, 4 * MIB, &bytes).await;
    let first = bench.snapshot(volume).await;
    let same = bench.snapshot(volume).await;
    let of = async |from, to| {
        let changed = bench.driver.changed_extents(volume, from, to);
        total(&changed.await.unwrap())
    };
    assert_eq!(of(Some(first), same).await, 0, "nothing was written");
    assert!(
        of(None, first).await <= 8 * MIB + 2 * MIB,
        "holes are copied"
    );
    bench.write(volume, 6 * MIB, &[1; 4096]).await;
    let next = bench.snapshot(volume).await;
    let told = of(Some(same), next).await;
    // A driver may keep what is written in pieces of a few MiB.
    assert!((4096..=4 * MIB).contains(&told), "{told} bytes for 4096");
    for snapshot in [first, same, next] {
        bench.drop_snapshot(volume, snapshot).await;
    }
}
