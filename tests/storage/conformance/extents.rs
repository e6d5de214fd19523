//! Changed extents against the bytes themselves, whatever was done in between.

use dc_agent_core::storage::{Extent, clip, merge, pieces, total};
use dc_types::report::Verb;
use dc_types::{Bytes, InstanceId, SnapshotId};

use super::bench::{Bench, MIB, SIZE};
use super::bytes::{assert_same, blocks_that_differ};
use super::rig::Rig;

/// Between two snapshots so many things happen.
const CHANGES: u64 = 24;
const ROUNDS: usize = 10;

/// A volume, what it must hold, and its snapshots with what they must hold.
struct Twin {
    volume: InstanceId,
    bytes: Vec<u8>,
    taken: Vec<(SnapshotId, Vec<u8>)>,
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
            bench.write(twin.volume, extent.start, &new).await;
            twin.bytes[within].copy_from_slice(&new);
        }
        60..68 => {
            let zeros = vec![0; extent.length as usize];
            bench.write(twin.volume, extent.start, &zeros).await;
            twin.bytes[within].fill(0);
        }
        68..90 => {
            let open = bench.driver.open_volume(twin.volume).await.unwrap();
            open.discard(extent).await.unwrap();
            open.flush().await.unwrap();
            twin.bytes[within].fill(0);
        }
        90..95 if size < 2 * SIZE => {
            let size = size + 512 * bench.random.below(4096);
            bench
                .driver
                .grow_volume(twin.volume, Bytes(size))
                .await
                .unwrap();
            twin.bytes.resize(size as usize, 0);
        }
        95..98 if !twin.taken.is_empty() => {
            let at = bench.random.below(twin.taken.len() as u64) as usize;
            let (snapshot, held) = twin.taken[at].clone();
            bench
                .driver
                .restore_volume(twin.volume, snapshot)
                .await
                .unwrap();
            twin.bytes = held;
            twin.bytes.resize(size as usize, 0);
        }
        98.. if twin.taken.len() > 2 => {
            let at = bench.random.below(twin.taken.len() as u64) as usize;
            let (snapshot, _) = twin.taken.remove(at);
            bench.drop_snapshot(twin.volume, snapshot).await;
        }
        _ => {}
    }
}

/// Every byte that differs lies in an extent; with them, the older one becomes the newer.
async fn compare<R: Rig>(
    bench: &Bench<R>,
    twin: &Twin,
    from: Option<&(SnapshotId, Vec<u8>)>,
    (to, held): &(SnapshotId, Vec<u8>),
) -> (u64, u64) {
    let older = from.map(|(snapshot, _)| *snapshot);
    let extents = bench.driver.changed_extents(twin.volume, older, *to);
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
    let mut copy = from.map(|(_, held)| held.clone()).unwrap_or_default();
    let changed = blocks_that_differ(&copy, held) * 4096;
    copy.resize(held.len(), 0);
    let open = bench.driver.open_snapshot(twin.volume, *to).await.unwrap();
    for piece in pieces(&extents, MIB) {
        let bytes = open.read(piece).await.unwrap();
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
    };
    let (mut changed, mut given, mut pairs) = (0, 0, 0);
    for _ in 0..ROUNDS {
        for _ in 0..CHANGES {
            change(bench, &mut twin).await;
        }
        let snapshot = bench.snapshot(twin.volume).await;
        let held = bench.read_snapshot(twin.volume, snapshot).await;
        assert_same(&held, &twin.bytes, "the snapshot");
        twin.taken.push((snapshot, held));
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
    for (snapshot, _) in std::mem::take(&mut twin.taken) {
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
