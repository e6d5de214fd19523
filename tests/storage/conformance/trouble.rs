//! What can go wrong with a pool: full, away, littered; and what a driver cannot do.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use dc_agent_core::storage::{EraseMethod, Extent, Note};
use dc_host::drivers::DriverError;
use dc_types::Bytes;
use dc_types::plan::VolumeSource;
use dc_types::report::Verb;

use super::bench::{Bench, MIB, SIZE};
use super::bytes::assert_same;
use super::rig::{POOL_MIB, Rig};

pub async fn a_full_pool_is_told_and_goes_on_when_there_is_room<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.make(POOL_MIB * MIB, &VolumeSource::Blank).await;
    let kept = bench.random.bytes(MIB);
    bench.write(volume, 0, &kept).await;
    if !bench.rig.fill(true) {
        return;
    }
    let open = bench.driver.open_volume(volume).await.unwrap();
    let mut full = None;
    for at in 1..POOL_MIB {
        let written = open.write(at * MIB, vec![7; MIB as usize]).await;
        let flushed = match written {
            Ok(()) => open.flush().await,
            failed => failed,
        };
        if let Err(error) = flushed {
            full = Some(error);
            break;
        }
    }
    let full = full.expect("the pool never gets full");
    assert!(matches!(full, DriverError::PoolFull { .. }), "{full:?}");
    drop(open);
    // What was there is there, and what takes nothing can be done.
    assert_eq!(bench.facts().await.fault, None);
    let open = bench.driver.open_volume(volume).await.unwrap();
    let there = open.read(Extent::new(0, MIB)).await.unwrap();
    assert_same(&there, &kept, "what was written before");
    assert!(bench.rig.fill(false));
    open.write(MIB, kept.clone()).await.unwrap();
    open.flush().await.unwrap();
    let there = open.read(Extent::new(MIB, MIB)).await.unwrap();
    assert_same(&there, &kept, "what was written after");
    drop(open);
    let order = bench.removal(volume);
    bench
        .driver
        .erase_volume(&order, EraseMethod::Discard)
        .await
        .unwrap();
}

pub async fn a_pool_that_is_away_is_told_and_goes_on_when_it_is_back<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    let bytes = bench.random.bytes(MIB);
    bench.write(volume, 0, &bytes).await;
    let (other, snapshot) = (bench.new_volume(), bench.new_snapshot());
    for restarts in [false, true] {
        bench.rig.take_away(true);
        if restarts {
            // As another process finds it.
            bench.driver = R::attach(Some(&bench.rig)).await;
        }
        assert!(bench.facts().await.fault.is_some());
        let driver = &bench.driver;
        let told = |done: Result<(), DriverError>| {
            let ok = matches!(done, Err(DriverError::PoolUnusable { .. }));
            assert!(ok, "{done:?}");
        };
        told(driver.list().await.map(drop));
        let made = driver.create_volume(other, Bytes(SIZE), &VolumeSource::Blank);
        told(made.await);
        told(driver.grow_volume(volume, Bytes(2 * SIZE)).await);
        told(driver.note_volume(volume, &Note::Made).await);
        told(driver.read_record(volume).await.map(drop));
        told(driver.create_snapshot(volume, snapshot).await);
        told(driver.open_volume(volume).await.map(drop));
        let order = bench.removal(volume);
        told(driver.retain_volume(&order).await);
        told(
            driver
                .erase_volume(&order, EraseMethod::Zero)
                .await
                .map(drop),
        );
        driver.list_grants().await.unwrap();
        bench.rig.take_away(false);
        bench.restart().await;
        let read = bench.read(volume).await;
        assert_same(&read[..MIB as usize], &bytes, "what was there before");
        assert_eq!(
            bench.seen(other).await,
            None,
            "something was made meanwhile"
        );
    }
}

pub async fn what_may_not_be_written_is_told_and_goes_on_when_it_may<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    let bytes = bench.random.bytes(MIB);
    bench.write(volume, 0, &bytes).await;
    let (other, order) = (bench.new_volume(), bench.removal(volume));
    let source = VolumeSource::Volume(volume);
    bench.own(other).await;
    if !bench.rig.forbid(true) {
        return;
    }
    let driver = &bench.driver;
    let told = |done: Result<(), DriverError>| {
        let error = done.expect_err("it was done all the same");
        match &error {
            DriverError::Io { path, source, .. } => {
                assert_eq!(source.kind(), ErrorKind::PermissionDenied, "{error:?}");
                assert!(path.is_absolute(), "it does not say where: {error:?}");
            }
            DriverError::Tool { what, said, .. } => {
                assert!(said.contains("not permitted"), "{error:?}");
                let tells = [volume, other].map(|of| what.contains(&of.to_string()));
                assert!(tells.contains(&true), "it does not say where: {error:?}");
            }
            _ => panic!("{error:?}"),
        }
    };
    for _ in 0..2 {
        let made = driver.create_volume(other, Bytes(SIZE), &VolumeSource::Blank);
        told(made.await);
        let copied = driver.create_volume(other, Bytes(SIZE), &source);
        told(copied.await);
        told(driver.retain_volume(&order).await);
        let erased = driver.erase_volume(&order, EraseMethod::Zero);
        told(erased.await.map(drop));
    }
    assert_eq!(bench.size(other).await, None);
    assert!(bench.rig.forbid(false));
    let read = bench.read(volume).await;
    assert_same(&read[..MIB as usize], &bytes, "what was there before");
    let copied = bench.driver.create_volume(other, Bytes(SIZE), &source);
    copied.await.unwrap();
    assert_same(&bench.read(other).await, &read, "the copy");
    let erased = bench.driver.erase_volume(&order, EraseMethod::Zero);
    erased.await.unwrap();
    assert_eq!(bench.size(volume).await, None);
}

pub async fn what_has_no_place_in_a_pool_is_shown_and_left_alone<R: Rig>(bench: &mut Bench<R>) {
    assert_eq!(bench.driver.list().await.unwrap().strays, []);
    let volume = bench.blank().await;
    let expected = bench.rig.litter();
    for _ in 0..2 {
        let contents = bench.driver.list().await.unwrap();
        let of = |strays: &[dc_types::report::Orphan]| -> BTreeSet<_> {
            strays.iter().map(|s| (s.kind, s.name.clone())).collect()
        };
        assert_eq!(of(&contents.strays), of(&expected));
        for stray in &contents.strays {
            assert!(stray.since.is_some(), "{stray:?}");
        }
        assert_eq!(contents.volumes.len(), 1, "{:?}", contents.volumes.keys());
        assert!(contents.volumes.contains_key(&volume));
        bench.restart().await;
    }
}

pub async fn what_the_driver_lacks_it_refuses_with_the_reason_it_gave<R: Rig>(
    bench: &mut Bench<R>,
) {
    let volume = bench.blank().await;
    let snapshot = bench.new_snapshot();
    let lacks = bench.facts().await.lacks;
    let verbs: BTreeSet<Verb> = lacks.iter().map(|lack| lack.verb).collect();
    assert_eq!(verbs.len(), lacks.len(), "{lacks:?}");
    for lack in &lacks {
        let done = match lack.verb {
            Verb::Snapshot => bench.driver.create_snapshot(volume, snapshot).await,
            Verb::ChangedExtents => {
                let changed = bench.driver.changed_extents(volume, None, snapshot).await;
                changed.map(drop)
            }
            // What they mean is in the cases of each.
            Verb::Clone | Verb::GrowOnline | Verb::Fence | Verb::Discard => continue,
        };
        match done {
            Err(DriverError::Unsupported { why, .. }) => assert_eq!(why, lack.why),
            other => panic!("{lack:?}: {other:?}"),
        }
    }
    if !verbs.contains(&Verb::Clone) {
        let room = bench.random.bytes(8 * MIB);
        bench.write(volume, 0, &room).await;
        let before = bench.facts().await.used;
        for _ in 0..20 {
            bench.make(SIZE, &VolumeSource::Volume(volume)).await;
        }
        let used = bench.facts().await.used;
        // Volumes in memory count as a tenth of their size, whatever is in them.
        assert!(
            used.0 < before.0 + 80 * MIB,
            "clones are copies: {used} after {before}"
        );
    }
}
