//! Volumes: made, cloned, grown, written in pieces, retained, erased; and images.

use std::time::Duration;

use dc_agent_core::storage::{
    EraseMethod, Extent, Note, VolumeBytes, Watermark, WatermarkState, pieces,
};
use dc_host::drivers::DriverError;
use dc_types::Bytes;
use dc_types::plan::{Disposition, VolumeSource};

use super::bench::{Bench, MIB, SIZE, epoch, owner};
use super::bytes::{all_are, assert_same};
use super::rig::Rig;

pub async fn a_blank_volume_is_thin_and_reads_as_zero<R: Rig>(bench: &mut Bench<R>) {
    let before = bench.facts().await.used;
    // More than the pool has: nothing of it is taken.
    let volume = bench.make(10_000 * MIB, &VolumeSource::Blank).await;
    let seen = bench.seen(volume).await.unwrap();
    let VolumeBytes::Present { size, .. } = seen.bytes else {
        panic!("{seen:?}");
    };
    assert_eq!(size, Bytes(10_000 * MIB));
    let used = bench.facts().await.used;
    assert!(used.0 <= before.0 + 1000 * MIB, "{used} after {before}");
    let open = bench.driver.open_volume(volume).await.unwrap();
    assert_eq!(open.size(), size);
    for start in [0, 5000 * MIB, 10_000 * MIB - 4096] {
        let bytes = open.read(Extent::new(start, 4096)).await.unwrap();
        assert!(all_are(&bytes, 0));
    }
    let beyond = open.read(Extent::new(10_000 * MIB - 1, 2)).await;
    assert!(beyond.is_err(), "it reads beyond its end");
    let beyond = open.write(10_000 * MIB - 1, vec![1; 2]).await;
    assert!(beyond.is_err(), "it is written beyond its end");
}

pub async fn sizes_that_cannot_be_leave_nothing_behind<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.new_volume();
    bench.own(volume).await;
    for size in [0, u64::MAX, 1 << 63] {
        let made = bench
            .driver
            .create_volume(volume, Bytes(size), &VolumeSource::Blank);
        let error = made.await.unwrap_err();
        assert!(
            matches!(error, DriverError::SizeImpossible { .. }),
            "{error}"
        );
        assert_eq!(bench.size(volume).await, None);
    }
    let odd = bench
        .driver
        .create_volume(volume, Bytes(1), &VolumeSource::Blank);
    odd.await.unwrap();
    assert_eq!(bench.size(volume).await, Some(512), "whole sectors");
    let absurd = bench.driver.grow_volume(volume, Bytes(u64::MAX)).await;
    assert!(matches!(absurd, Err(DriverError::SizeImpossible { .. })));
    assert_eq!(bench.size(volume).await, Some(512));
}

pub async fn a_clone_has_its_sources_bytes_and_no_longer_follows_it<R: Rig>(bench: &mut Bench<R>) {
    let source = bench.blank().await;
    let bytes = bench.random.bytes(3 * MIB);
    bench.write(source, 5 * MIB, &bytes).await;
    let before = bench.read(source).await;
    let clone = bench.make(SIZE + MIB, &VolumeSource::Volume(source)).await;
    bench.write(source, 5 * MIB, &[9; 4096]).await;
    bench.write(clone, 0, &[8; 4096]).await;
    let mut expected = before.clone();
    expected.resize((SIZE + MIB) as usize, 0);
    expected[..4096].fill(8);
    assert_same(&bench.read(clone).await, &expected, "the clone");
    let mut expected = before;
    expected[5 << 20..(5 << 20) + 4096].fill(9);
    assert_same(&bench.read(source).await, &expected, "the source");
}

pub async fn a_source_that_is_erased_while_it_is_cloned_leaves_a_whole_clone_or_none<R: Rig>(
    bench: &mut Bench<R>,
) {
    let bytes = bench.random.bytes(SIZE);
    for round in 0..12 {
        let source = bench.blank().await;
        bench.write(source, 0, &bytes).await;
        let clone = bench.new_volume();
        bench.own(clone).await;
        let from = VolumeSource::Volume(source);
        let order = bench.removal(source);
        // Each begins first in turn; the later one begins a little later each time.
        let later = |is_later: bool| {
            let pause = if is_later { round * 200 } else { 0 };
            tokio::time::sleep(Duration::from_micros(pause))
        };
        let erase_first = round % 2 == 0;
        let making = async {
            later(erase_first).await;
            bench.driver.create_volume(clone, Bytes(SIZE), &from).await
        };
        let erasing = async {
            later(!erase_first).await;
            bench.driver.erase_volume(&order, EraseMethod::Zero).await
        };
        let (made, erased) = tokio::join!(making, erasing);
        match made {
            Ok(()) => assert_same(&bench.read(clone).await, &bytes, "the clone"),
            Err(DriverError::SourceMissing { .. } | DriverError::InUse { .. }) => {
                assert_eq!(bench.size(clone).await, None, "a part of a clone is left");
            }
            Err(other) => panic!("{other:?}"),
        }
        // Whoever copies it may be waited for.
        if let Err(error) = erased {
            assert!(matches!(error, DriverError::InUse { .. }), "{error:?}");
            let again = bench.driver.erase_volume(&order, EraseMethod::Zero);
            again.await.unwrap();
        }
        assert_eq!(bench.size(source).await, None);
    }
}

pub async fn a_source_that_is_missing_or_larger_is_told<R: Rig>(bench: &mut Bench<R>) {
    let source = bench.blank().await;
    let volume = bench.new_volume();
    bench.own(volume).await;
    let missing = VolumeSource::Volume(bench.new_volume());
    let no_image = VolumeSource::Image(bench.new_image());
    let no_snapshot = VolumeSource::Snapshot {
        volume: source,
        snapshot: bench.new_snapshot(),
    };
    for source in [missing, no_image, no_snapshot] {
        let made = bench.driver.create_volume(volume, Bytes(SIZE), &source);
        let error = made.await.unwrap_err();
        assert!(
            matches!(error, DriverError::SourceMissing { .. }),
            "{error}"
        );
    }
    let source = VolumeSource::Volume(source);
    let made = bench.driver.create_volume(volume, Bytes(MIB), &source);
    let error = made.await.unwrap_err();
    assert!(
        matches!(error, DriverError::SizeBelowSource { .. }),
        "{error}"
    );
    assert_eq!(bench.size(volume).await, None);
}

pub async fn a_volume_grows_keeps_its_bytes_and_never_shrinks<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    let bytes = bench.random.bytes(SIZE);
    bench.write(volume, 0, &bytes).await;
    for size in [SIZE + 3 * MIB, MIB] {
        bench.driver.grow_volume(volume, Bytes(size)).await.unwrap();
        assert_eq!(bench.size(volume).await, Some(SIZE + 3 * MIB));
    }
    let mut expected = bytes;
    expected.resize((SIZE + 3 * MIB) as usize, 0);
    assert_same(&bench.read(volume).await, &expected, "the grown volume");
    let nothing = bench
        .driver
        .grow_volume(bench.new_volume(), Bytes(SIZE))
        .await;
    assert!(
        matches!(nothing, Err(DriverError::NotThere { .. })),
        "{nothing:?}"
    );
}

pub async fn a_record_outlives_the_process_and_a_watermark_never_falls<R: Rig>(
    bench: &mut Bench<R>,
) {
    let volume = bench.blank().await;
    for mark in [Watermark::fenced(epoch(9)), Watermark::open(epoch(8))] {
        let note = Note::Watermark(mark);
        bench.driver.note_volume(volume, &note).await.unwrap();
    }
    bench.restart().await;
    let record = bench.driver.read_record(volume).await.unwrap().unwrap();
    let mark = record.grants.unwrap();
    assert_eq!((mark.epoch, mark.state), (epoch(9), WatermarkState::Fenced));
    assert_eq!(record.owner, owner());
    let unknown = bench.new_volume();
    let noted = bench.driver.note_volume(unknown, &Note::Made).await;
    assert!(
        matches!(noted, Err(DriverError::NoRecord { .. })),
        "{noted:?}"
    );
    assert_eq!(bench.driver.read_record(unknown).await.unwrap(), None);
}

pub async fn every_way_of_erasing_is_read_back_and_told<R: Rig>(bench: &mut Bench<R>) {
    for (method, told) in [
        (EraseMethod::Discard, Disposition::EraseDiscard),
        (EraseMethod::Zero, Disposition::EraseZero),
        (EraseMethod::Random, Disposition::EraseRandom),
    ] {
        let volume = bench.blank().await;
        for start in [0, 5 * MIB, SIZE - 4096] {
            let bytes = bench.random.bytes(4096);
            bench.write(volume, start, &bytes).await;
        }
        let order = bench.removal(volume);
        let erasure = bench.driver.erase_volume(&order, method).await.unwrap();
        let erasure = erasure.expect("it had bytes");
        assert_eq!(erasure.method, told);
        assert!(
            erasure.extents > 0 && erasure.bytes.0 >= 3 * 4096,
            "{erasure:?}"
        );
        assert_eq!(erasure.verified, erasure.bytes, "all of it is read back");
        assert!(erasure.began_at <= erasure.ended_at);
        let seen = bench.seen(volume).await.unwrap();
        assert_eq!(seen.bytes, VolumeBytes::Absent);
        let gone = seen.record.unwrap().gone.unwrap();
        assert_eq!((gone.disposition, gone.epoch), (told, order.epoch));
        assert_eq!(gone.erasure, Some(erasure));
        // Once more, by another process: there is nothing left, and what is known stays.
        bench.restart().await;
        let again = bench.driver.erase_volume(&order, method).await.unwrap();
        assert_eq!(again, None);
    }
}

pub async fn retained_bytes_are_out_of_use_and_told<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    bench.write(volume, 0, &[5; 4096]).await;
    let order = bench.removal(volume);
    for _ in 0..2 {
        bench.driver.retain_volume(&order).await.unwrap();
        let seen = bench.seen(volume).await.unwrap();
        assert_eq!(seen.bytes, VolumeBytes::Absent);
        let gone = seen.record.unwrap().gone.unwrap();
        assert_eq!(gone.disposition, Disposition::Retain);
        assert_eq!(gone.erasure, None);
    }
    let open = bench.driver.open_volume(volume).await;
    assert!(matches!(open, Err(DriverError::NotThere { .. })));
}

pub async fn a_volume_that_was_never_made_is_gone_when_it_is_taken_away<R: Rig>(
    bench: &mut Bench<R>,
) {
    for retains in [true, false] {
        let volume = bench.new_volume();
        bench.own(volume).await;
        let order = bench.removal(volume);
        for _ in 0..2 {
            if retains {
                bench.driver.retain_volume(&order).await.unwrap();
            } else {
                let erased = bench.driver.erase_volume(&order, EraseMethod::Zero);
                assert_eq!(erased.await.unwrap(), None, "something was erased");
            }
            let seen = bench.seen(volume).await.unwrap();
            assert_eq!(seen.bytes, VolumeBytes::Absent);
            let gone = seen.record.unwrap().gone.unwrap();
            assert_eq!(gone.epoch, order.epoch);
        }
    }
}

pub async fn many_write_and_read_one_volume_at_a_time<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    let bytes = bench.random.bytes(SIZE);
    let open = bench.driver.open_volume(volume).await.unwrap();
    let all: Vec<Extent> = pieces(&[Extent::new(0, SIZE)], 3 * MIB / 2).collect();
    let of = |extent: &Extent| bytes[extent.start as usize..extent.end() as usize].to_vec();
    let writes = all
        .iter()
        .map(|extent| open.write(extent.start, of(extent)));
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    open.flush().await.unwrap();
    let reads = all.iter().map(|extent| open.read(*extent));
    let mut found = Vec::new();
    for read in futures::future::join_all(reads).await {
        found.extend(read.unwrap());
    }
    assert_same(&found, &bytes, "what many wrote");
    let hole = Extent::new(MIB + 100, 2 * MIB);
    open.discard(hole).await.unwrap();
    let mut expected = bytes;
    expected[hole.start as usize..hole.end() as usize].fill(0);
    drop(open);
    assert_same(&bench.read(volume).await, &expected, "what was discarded");
}

pub async fn an_image_is_fetched_cloned_and_removed<R: Rig>(bench: &mut Bench<R>) {
    let mut bytes = bench.random.bytes(2 * MIB);
    bytes.resize(4 << 20, 0);
    let Some(item) = bench.rig.image(&bytes) else {
        return;
    };
    for _ in 0..2 {
        bench.driver.fetch_image(&item, epoch(2)).await.unwrap();
        let images = bench.driver.list().await.unwrap().images;
        let seen = &images[&item.image];
        assert_eq!((seen.virtual_size, seen.epoch), (Bytes(4 * MIB), epoch(2)));
    }
    let volume = bench.make(SIZE, &VolumeSource::Image(item.image)).await;
    for _ in 0..2 {
        bench.driver.remove_image(item.image).await.unwrap();
        assert!(bench.driver.list().await.unwrap().images.is_empty());
    }
    bytes.resize(SIZE as usize, 0);
    assert_same(&bench.read(volume).await, &bytes, "the clone of an image");
    let mut wrong = item;
    wrong.sha256 = "0".repeat(64);
    let fetched = bench.driver.fetch_image(&wrong, epoch(3)).await;
    assert!(matches!(fetched, Err(DriverError::Image(_))), "{fetched:?}");
    assert!(bench.driver.list().await.unwrap().images.is_empty());
}
