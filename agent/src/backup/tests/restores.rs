//! Restores: onto a volume that nobody holds, once.

use dc_agent_core::storage::{Expose, Watermark};
use dc_host::Rule;
use dc_types::plan::{Chap, GrantAccess, GrantItem};

use dc_types::report::{ManifestFile, ManifestRead, Sha256};
use sha2::Digest;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_volume_holds_the_backup_and_is_never_written_again() {
    let (mut bench, done) = Bench::with_backup().await;
    // Larger, and with something else in it.
    bench.make_volume(2, SIZE + MIB).await;
    bench.write(2, 0, bytes(5, SIZE + MIB)).await;
    let compared = RestoreItem {
        verify: true,
        ..restoring(1, &done, 2)
    };
    let key = bench.put_restore(compared);
    let restored = bench.restore(key).await;
    assert_eq!(restored.written, Bytes(SIZE));
    let sum = sha2::Sha256::digest(bytes(3, SIZE)).into();
    assert_eq!(restored.verified, Some(Sha256(sum)));
    let read = bench.read(2).await;
    assert!(read[..SIZE as usize] == bytes(3, SIZE));
    assert!(read[SIZE as usize..].iter().all(|byte| *byte == 0));

    // A guest writes; neither this process nor the next takes it back.
    bench.write(2, 0, vec![7; 4096]).await;
    bench.restart();
    assert_eq!(bench.restore(key).await, restored);
    assert!(bench.read(2).await[..4096] == [7; 4096]);

    // Another run is another restore. Two that are wanted at once would undo each other's.
    bench.release(key);
    bench.until_released(key).await;
    let again = bench.put_restore(restoring(2, &done, 2));
    bench.restore(again).await;
    assert!(bench.read(2).await[..SIZE as usize] == bytes(3, SIZE));
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_anywhere_and_repeated_the_volume_is_whole() {
    let (mut bench, done) = Bench::with_backup().await;
    let mut n = 10;
    for call in [
        "repository.read",
        "pool.open_volume",
        "pool.write",
        "pool.note_volume",
    ] {
        for calls in 0.. {
            n += 1;
            bench.make_volume(n, SIZE).await;
            let key = bench.put_restore(restoring(n, &done, n));
            bench.fakes.knobs.set(call, Rule::cut_off_after(calls));
            let ended = |status: &Status| {
                let state = observed(status, key).state;
                bench.fakes.knobs.is_cut_off() || state == ItemState::Ready
            };
            bench.until("it ends", ended).await;
            let was_cut = bench.fakes.knobs.is_cut_off();
            bench.restart();
            bench.restore(key).await;
            assert!(
                bench.read(n).await == bytes(3, SIZE),
                "after {calls} of {call}"
            );
            bench.release(key);
            bench.until_released(key).await;
            if !was_cut || calls > 4 {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_granted_is_not_written() {
    let (mut bench, done) = Bench::with_backup().await;
    bench.make_volume(2, SIZE).await;
    let host = HostName::new("c1").unwrap();
    let expose = Expose {
        pool: pool(),
        volume: volume(2),
        epoch: epoch(4),
        initiator: GrantItem::initiator_name(&host, volume(9)),
        access: GrantAccess::Iscsi {
            chap: Chap {
                user: "vm-9".into(),
                secret: Secret("abcdefghijkl".into()),
            },
        },
    };
    let driver = bench.driver();
    let open = Note::Watermark(Watermark::open(epoch(4)));
    driver.note_volume(volume(2), &open).await.unwrap();
    driver.grant(&expose).await.unwrap();
    let key = bench.put_restore(restoring(1, &done, 2));
    assert_eq!(bench.until_failed(key).await.reason, "VolumeInUse");
    for grant in driver.list_grants().await.unwrap() {
        driver.revoke(&grant).await.unwrap();
    }
    bench.restore(key).await;
    assert!(bench.read(2).await == bytes(3, SIZE));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_word() {
    let (mut bench, done) = Bench::with_backup().await;
    bench.make_volume(2, MIB).await;
    bench.make_volume(3, SIZE).await;
    let mut absent = restoring(2, &done, 3);
    absent.backup = "a".repeat(64);
    let mut file = restoring(3, &done, 3);
    file.file = "data.raw".into();
    for (item, reason) in [
        (restoring(1, &done, 2), "VolumeTooSmall"),
        (absent, "BackupMissing"),
        (file, "BackupMissing"),
    ] {
        let key = bench.put_restore(item);
        assert_eq!(bench.until_failed(key).await.reason, reason);
        bench.release(key);
        bench.until_released(key).await;
    }
    assert_eq!(bench.count(Kind::Lock), 0);
    assert!(bench.read(3).await.iter().all(|byte| *byte == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_stops_a_restore_between_two_blocks() {
    // More blocks than are written at once.
    const LARGE: u64 = 64 * MIB;
    let mut bench = Bench::new();
    bench.make_volume(1, LARGE).await;
    bench.write(1, 0, bytes(3, LARGE)).await;
    bench.take(1, 1).await;
    let of_large = bench.put_backup(first(1));
    let done = bench.back_up(of_large).await;
    bench.make_volume(2, LARGE).await;
    bench.fakes.knobs.set("pool.write", Rule::hang());
    let restore = RestoreItem {
        size: Bytes(LARGE),
        ..restoring(1, &done, 2)
    };
    let key = bench.put_restore(restore);
    let knobs = bench.fakes.knobs.clone();
    // What is backed up was written too.
    let before = knobs.count("pool.write");
    let writes = |_: &Status| knobs.count("pool.write") > before;
    bench.until("it writes", writes).await;
    bench.release(key);
    let epoch = bench.releases[&key].epoch;
    {
        // One poll tells it to stop while its write hangs; it ends when the write does.
        let mut end = std::pin::pin!(bench.tools.runs.end(key, epoch));
        assert!(futures::poll!(&mut end).is_pending());
        bench.fakes.knobs.clear("pool.write");
        end.await.unwrap();
    }
    bench.until_released(key).await;
    assert_eq!(bench.count(Kind::Lock), 0);
    let record = bench.driver().read_record(volume(2)).await.unwrap();
    assert_eq!(record.unwrap().filled, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_beside_the_volumes_is_read_by_each_process_until_it_is_released() {
    let (mut bench, done) = Bench::with_backup().await;
    let key = bench.put_manifest(1, &done.backup);
    let read = ManifestRead {
        machine: r#"{"name":"db-1"}"#.into(),
        files: vec![ManifestFile {
            file: "root.raw".into(),
            size: Bytes(SIZE),
        }],
    };
    let read = Detail::Manifest {
        read: Some(Box::new(read)),
    };
    assert_eq!(bench.until_ready(key).await, read);
    bench.restart();
    assert_eq!(bench.until_ready(key).await, read);
    bench.release(key);
    bench.until_released(key).await;
    assert!(!bench.seen().await.runs.contains_key(&key));
    let absent = bench.put_manifest(2, &"a".repeat(64));
    assert_eq!(bench.until_failed(absent).await.reason, "BackupMissing");
    assert_eq!(bench.count(Kind::Lock), 0);
}
