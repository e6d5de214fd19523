//! Snapshots, what is made from them, and volumes that are brought back to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dc_agent_core::storage::EraseMethod;
use dc_host::drivers::DriverError;
use dc_lab::wait::{Look, until};
use dc_types::Bytes;
use dc_types::plan::VolumeSource;
use dc_types::report::Verb;

use super::bench::{Bench, MIB, SIZE, epoch};
use super::bytes::{all_are, assert_same};
use super::rig::Rig;
use crate::site::DEADLINE;

pub async fn a_snapshot_keeps_what_was_there_whatever_comes_after<R: Rig>(bench: &mut Bench<R>) {
    if bench.lacks(Verb::Snapshot).await {
        return;
    }
    let volume = bench.blank().await;
    let bytes = bench.random.bytes(4 * MIB);
    bench.write(volume, 2 * MIB, &bytes).await;
    let before = bench.read(volume).await;
    let snapshot = bench.snapshot(volume).await;
    bench.write(volume, 3 * MIB, &[1; 8192]).await;
    bench
        .driver
        .grow_volume(volume, Bytes(SIZE + MIB))
        .await
        .unwrap();
    // Once more: it is not taken anew.
    bench
        .driver
        .create_snapshot(volume, snapshot)
        .await
        .unwrap();
    bench.restart().await;
    assert_same(
        &bench.read_snapshot(volume, snapshot).await,
        &before,
        "the snapshot",
    );
    let seen = bench.seen(volume).await.unwrap();
    let there = &seen.snapshots[&snapshot];
    assert_eq!((there.size, &there.fault), (Bytes(SIZE), &None));
    for _ in 0..2 {
        bench.drop_snapshot(volume, snapshot).await;
        assert!(bench.seen(volume).await.unwrap().snapshots.is_empty());
    }
    let mut expected = before;
    expected[3 << 20..(3 << 20) + 8192].fill(1);
    expected.resize((SIZE + MIB) as usize, 0);
    assert_same(&bench.read(volume).await, &expected, "the volume");
}

pub async fn a_volume_is_cloned_from_a_snapshot_that_then_goes<R: Rig>(bench: &mut Bench<R>) {
    if bench.lacks(Verb::Snapshot).await {
        return;
    }
    let volume = bench.blank().await;
    let bytes = bench.random.bytes(2 * MIB);
    bench.write(volume, MIB, &bytes).await;
    let before = bench.read(volume).await;
    let snapshot = bench.snapshot(volume).await;
    bench.write(volume, MIB, &[1; 4096]).await;
    let source = VolumeSource::Snapshot { volume, snapshot };
    let clone = bench.make(SIZE, &source).await;
    bench.drop_snapshot(volume, snapshot).await;
    let order = bench.removal(volume);
    let erased = bench.driver.erase_volume(&order, EraseMethod::Zero).await;
    erased.unwrap();
    assert_same(
        &bench.read(clone).await,
        &before,
        "the clone of a snapshot that is gone",
    );
}

pub async fn a_volume_is_brought_back_to_a_snapshot_and_keeps_its_size<R: Rig>(
    bench: &mut Bench<R>,
) {
    if bench.lacks(Verb::Snapshot).await {
        return;
    }
    let volume = bench.blank().await;
    let bytes = bench.random.bytes(2 * MIB);
    bench.write(volume, MIB, &bytes).await;
    let mut before = bench.read(volume).await;
    let snapshot = bench.snapshot(volume).await;
    bench
        .driver
        .grow_volume(volume, Bytes(SIZE + MIB))
        .await
        .unwrap();
    let other = bench.random.bytes(SIZE + MIB);
    bench.write(volume, 0, &other).await;
    before.resize((SIZE + MIB) as usize, 0);
    for _ in 0..2 {
        bench.driver.restore_volume(volume, snapshot).await.unwrap();
        assert_same(&bench.read(volume).await, &before, "the restored volume");
    }
    // It goes its own way again, and the snapshot stays what it was.
    bench.write(volume, MIB, &[7; 4096]).await;
    before.truncate(SIZE as usize);
    assert_same(
        &bench.read_snapshot(volume, snapshot).await,
        &before,
        "the snapshot",
    );
}

pub async fn a_volume_with_snapshots_is_not_erased<R: Rig>(bench: &mut Bench<R>) {
    if bench.lacks(Verb::Snapshot).await {
        return;
    }
    let volume = bench.blank().await;
    bench.write(volume, 0, &[3; 4096]).await;
    let snapshot = bench.snapshot(volume).await;
    let order = bench.removal(volume);
    let erased = bench.driver.erase_volume(&order, EraseMethod::Zero).await;
    assert!(
        matches!(erased, Err(DriverError::InUse { .. })),
        "{erased:?}"
    );
    assert_eq!(bench.read(volume).await[0], 3, "it has its bytes");
    bench.drop_snapshot(volume, snapshot).await;
    let erased = bench.driver.erase_volume(&order, EraseMethod::Zero).await;
    assert!(erased.unwrap().is_some());
}

pub async fn what_is_not_there_is_told<R: Rig>(bench: &mut Bench<R>) {
    let (volume, snapshot) = (bench.new_volume(), bench.new_snapshot());
    let driver = bench.driver.clone();
    let told = |done: Result<(), DriverError>| {
        let ok = matches!(
            done,
            Err(DriverError::NotThere { .. } | DriverError::Unsupported { .. })
        );
        assert!(ok, "{done:?}");
    };
    told(driver.open_volume(volume).await.map(drop));
    told(driver.open_snapshot(volume, snapshot).await.map(drop));
    told(driver.create_snapshot(volume, snapshot).await);
    told(driver.restore_volume(volume, snapshot).await);
    told(
        driver
            .changed_extents(volume, None, snapshot)
            .await
            .map(drop),
    );
    driver.delete_snapshot(volume, snapshot).await.unwrap();
    if bench.lacks(Verb::Snapshot).await {
        return;
    }
    let volume = bench.blank().await;
    let there = bench.snapshot(volume).await;
    let changed = driver.changed_extents(volume, Some(snapshot), there).await;
    told(changed.map(drop));
}

pub async fn a_snapshot_that_was_changed_by_hand_is_not_used<R: Rig>(bench: &mut Bench<R>) {
    if bench.lacks(Verb::Snapshot).await {
        return;
    }
    let volume = bench.blank().await;
    bench.write(volume, 0, &[1; 4096]).await;
    let (good, bad) = (bench.snapshot(volume).await, bench.snapshot(volume).await);
    if !bench.rig.spoil(volume, bad) {
        bench.drop_snapshot(volume, good).await;
        return bench.drop_snapshot(volume, bad).await;
    }
    let seen = bench.seen(volume).await.unwrap();
    assert!(seen.snapshots[&bad].fault.is_some(), "{seen:?}");
    assert_eq!(seen.snapshots[&good].fault, None);
    let driver = &bench.driver;
    let told = |done: Result<(), DriverError>| {
        assert!(matches!(done, Err(DriverError::Corrupt { .. })), "{done:?}");
    };
    told(driver.open_snapshot(volume, bad).await.map(drop));
    told(driver.restore_volume(volume, bad).await);
    told(
        driver
            .changed_extents(volume, Some(good), bad)
            .await
            .map(drop),
    );
    told(
        driver
            .changed_extents(volume, Some(bad), good)
            .await
            .map(drop),
    );
    let source = VolumeSource::Snapshot {
        volume,
        snapshot: bad,
    };
    let clone = bench.new_volume();
    bench.own(clone).await;
    told(driver.create_volume(clone, Bytes(SIZE), &source).await);
    assert_eq!(bench.read(volume).await[0], 1, "the volume is as it was");
    bench.drop_snapshot(volume, bad).await;
    bench.drop_snapshot(volume, good).await;
}

/// Blocks that the counter writes, in an order that no file system would choose.
const BLOCKS: u64 = SIZE / 4096;

fn place_of(count: u64) -> u64 {
    // 1021 and the number of blocks have no divisor in common: every block has its turn.
    (count * 1021) % BLOCKS * 4096
}

pub async fn a_counter_written_meanwhile_has_no_gap_in_any_snapshot<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    let Some(holder) = R::holder(volume, epoch(6)) else {
        return;
    };
    if bench.lacks(Verb::Snapshot).await {
        return;
    }
    bench.grant(volume, 6).await.unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let mut writer = holder.go_on(move || {
        let count = counter.fetch_add(1, Ordering::SeqCst);
        // Each is answered before the next is read; after the last there is something to read still,
        // or the last would not be looked at.
        Some(match count < BLOCKS {
            true => format!("write -q -P {} {} 4k\n", count % 250 + 1, place_of(count)),
            false => "sleep 20\n".to_owned(),
        })
    });
    let mut last = 0;
    let mut snapshots = Vec::new();
    for _ in 0..8 {
        let taken = until("the counter to go on", DEADLINE, async || {
            let snapshot = bench.snapshot(volume).await;
            let bytes = bench.read_snapshot(volume, snapshot).await;
            let written = |count: &u64| bytes[place_of(*count) as usize] != 0;
            let count = (0..BLOCKS).take_while(written).count() as u64;
            let beyond = (count..BLOCKS).filter(|count| written(count)).count();
            assert_eq!(
                beyond, 0,
                "{beyond} blocks are there without those before them"
            );
            for at in 0..count {
                let block = &bytes[place_of(at) as usize..][..4096];
                let expected = (at % 250 + 1) as u8;
                assert!(all_are(block, expected), "block {at} is torn");
            }
            assert!(count >= last, "a snapshot forgot what an older one had");
            match count >= (last + 64).min(BLOCKS) {
                true => {
                    last = count;
                    Look::Holds(snapshot)
                }
                false => {
                    bench.drop_snapshot(volume, snapshot).await;
                    Look::NotYet(format!("{count} blocks"))
                }
            }
        });
        snapshots.push(taken.await.unwrap());
    }
    println!("snapshots ended at block {last} of {BLOCKS}");
    assert!(writer.is_alive());
    drop(writer);
    bench.wait_until_free(volume).await;
    bench.fence(volume).await;
    for snapshot in snapshots {
        bench.drop_snapshot(volume, snapshot).await;
    }
}
