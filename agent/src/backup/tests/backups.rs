//! Backups: done once, whatever dies; told as they are; stopped when released.

use dc_backup::archive::find_run;
use dc_backup::lock::Mode;
use dc_host::Rule;
use dc_host::backup::Notes;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_done_once_and_the_next_reads_what_changed() {
    let (mut bench, done) = Bench::with_backup().await;
    let counts = done.counts.as_ref().unwrap();
    assert_eq!(done.size, Bytes(SIZE));
    assert_eq!(counts.read, Bytes(SIZE));
    assert!(counts.added > Bytes(0));
    assert!(done.began_at > 0 && done.began_at <= done.ended_at);
    let why = counts.volumes[0].full.as_ref().unwrap();
    assert_eq!(why.reason, "First");

    // Not looked for again, neither now nor by another process.
    let asked = bench.fakes.knobs.count("repository.list");
    bench.restart();
    let key = ItemKey::new(ItemKind::Backup, first(1).run.0);
    assert_eq!(bench.back_up(key).await, done);
    assert_eq!(bench.fakes.knobs.count("repository.list"), asked);

    // One block of three is written to.
    bench.write(1, 5 * MIB, vec![9; 4096]).await;
    bench.take(1, 2).await;
    let mut next = first(2);
    next.make = false;
    next.parent = Some(done.backup.clone());
    next.volumes[0].snapshot = snapshot(2);
    next.volumes[0].base = Some(snapshot(1));
    let next = bench.put_backup(next);
    let next = bench.back_up(next).await;
    let counts = next.counts.unwrap();
    assert_eq!(counts.volumes[0].full, None);
    assert_eq!(counts.read, Bytes(4 * MIB));
    assert_eq!(
        (bench.count(Kind::Snapshot), bench.count(Kind::Lock)),
        (2, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_forgot_finds_its_backup_by_the_runs_id() {
    let (mut bench, done) = Bench::with_backup().await;
    bench.fakes.notes = Notes::in_memory();
    bench.restart();
    let key = ItemKey::new(ItemKind::Backup, first(1).run.0);
    let found = bench.back_up(key).await;
    assert_eq!((&found.backup, found.size), (&done.backup, done.size));
    assert_eq!(found.counts, None);

    // Also when the snapshot is gone, as when its answer came and only we forgot.
    bench.fakes.notes = Notes::in_memory();
    bench.restart();
    let driver = bench.driver();
    driver
        .delete_snapshot(volume(1), snapshot(1))
        .await
        .unwrap();
    let found = bench.back_up(key).await;
    assert_eq!((found.backup, found.size), (done.backup, done.size));
    assert_eq!(
        (bench.count(Kind::Snapshot), bench.count(Kind::Lock)),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_before_any_write_and_repeated_there_is_one_backup() {
    let mut cuts = 0;
    for writes in 0.. {
        let mut bench = Bench::new();
        bench.make_volume(1, SIZE).await;
        bench.write(1, 0, bytes(3, SIZE)).await;
        bench.take(1, 1).await;
        let key = bench.put_backup(first(1));
        let knobs = &bench.fakes.knobs;
        knobs.set("repository.write", Rule::cut_off_after(writes));
        let ended = |status: &Status| !matches!(observed(status, key).state, ItemState::Pending(_));
        bench.until("it ends", ended).await;
        let was_cut = bench.fakes.knobs.is_cut_off();
        bench.restart();
        let done = bench.back_up(key).await;
        assert_eq!(bench.count(Kind::Snapshot), 1, "after {writes} writes");
        let repository = bench.repository();
        let found = find_run(&repository, "so-nnmt/db-1", &first(1).run.to_string()).unwrap();
        assert_eq!(found.unwrap().to_hex().as_str(), done.backup);
        if !was_cut {
            break;
        }
        cuts += 1;
    }
    // Key, config, lock, pack, tree, index, snapshot.
    assert!(cuts >= 6, "{cuts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_any_write_is_no_second_backup() {
    for lost in 2..8 {
        let mut bench = Bench::new();
        bench.make_volume(1, SIZE).await;
        bench.write(1, 0, bytes(3, SIZE)).await;
        bench.take(1, 1).await;
        let rule = Rule {
            skip: lost,
            ..Rule::lose_answer_once()
        };
        bench.fakes.knobs.set("repository.write", rule);
        let key = bench.put_backup(first(1));
        bench.back_up(key).await;
        assert_eq!(bench.count(Kind::Snapshot), 1, "write {lost}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_stops_a_run_and_is_done_when_nothing_runs() {
    let mut bench = Bench::new();
    bench.make_volume(1, SIZE).await;
    bench.write(1, 0, bytes(3, SIZE)).await;
    bench.take(1, 1).await;
    let slow = BackupItem {
        limit: Some(Bytes(1)),
        ..first(1)
    };
    let key = bench.put_backup(slow);
    let moves = |status: &Status| {
        matches!(
            observed(status, key).detail,
            Detail::Backup {
                progress: Some(_),
                ..
            }
        )
    };
    bench.until("it reads", moves).await;
    assert_eq!(bench.count(Kind::Lock), 1);
    bench.release(key);
    bench.until_released(key).await;
    assert_eq!(
        (bench.count(Kind::Snapshot), bench.count(Kind::Lock)),
        (0, 0)
    );
    assert_eq!(bench.seen().await, Seen::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_forgotten_with_its_release_and_the_backup_stays() {
    let (mut bench, _done) = Bench::with_backup().await;
    let key = ItemKey::new(ItemKind::Backup, first(1).run.0);
    bench.release(key);
    bench.until_released(key).await;
    assert_eq!(bench.seen().await, Seen::default());
    assert_eq!(bench.count(Kind::Snapshot), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_a_process_that_ends_are_stopped() {
    let mut bench = Bench::new();
    bench.make_volume(1, SIZE).await;
    bench.write(1, 0, bytes(3, SIZE)).await;
    bench.take(1, 1).await;
    let slow = BackupItem {
        limit: Some(Bytes(1)),
        ..first(1)
    };
    let key = bench.put_backup(slow);
    let begun = |_: &Status| bench.count(Kind::Lock) == 1;
    bench.until("it has a lock", begun).await;
    bench.tools.runs.stop().await;
    assert_eq!(bench.count(Kind::Lock), 0);
    let seen = bench.seen().await;
    assert!(!seen.runs.contains_key(&key), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_repository_is_told_and_the_run_goes_on_when_it_is_free() {
    let (mut bench, _done) = Bench::with_backup().await;
    let lock = bench.repository().lock(Mode::Exclusive).unwrap();
    let key = bench.put_backup(first(2));
    let trouble = bench.until_failed(key).await;
    assert_eq!(trouble.reason, "RepositoryLocked");
    lock.release().unwrap();
    bench.back_up(key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_of_one_new_repository_both_succeed() {
    let mut bench = Bench::new();
    let mut keys = Vec::new();
    for n in [1, 2] {
        bench.make_volume(n, SIZE).await;
        bench.write(n, 0, bytes(3, SIZE)).await;
        bench.take(n, n).await;
        let mut item = first(n);
        item.machine = format!("so-nnmt/db-{n}");
        item.volumes[0].volume = volume(n);
        item.volumes[0].snapshot = snapshot(n);
        keys.push(bench.put_backup(item));
    }
    for key in keys {
        bench.back_up(key).await;
    }
    assert_eq!(
        (bench.count(Kind::Snapshot), bench.count(Kind::Lock)),
        (2, 0)
    );
    assert_eq!((bench.count(Kind::Config), bench.count(Kind::Key)), (1, 1));
    let findings = bench.repository().check(dc_backup::Access::ReadOnly, true);
    assert_eq!(findings.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_word_and_no_secret() {
    let (mut bench, _done) = Bench::with_backup().await;
    let wrong = "Mật khẩu khác";
    let mut other = first(2);
    other.repository.password = Secret(wrong.into());
    let mut nowhere = first(3);
    nowhere.repository = access(2);
    nowhere.make = false;
    let mut gone = first(4);
    gone.volumes[0].snapshot = snapshot(9);
    bench
        .ready
        .insert(ItemKey::new(ItemKind::Snapshot, snapshot(9).0));
    for (item, reason) in [
        (other, "WrongPassword"),
        (nowhere, "RepositoryMissing"),
        (gone, "SnapshotMissing"),
    ] {
        let key = bench.put_backup(item);
        let trouble = bench.until_failed(key).await;
        assert_eq!(trouble.reason, reason);
        for secret in [PASSWORD, wrong] {
            assert!(!trouble.message.contains(secret), "{}", trouble.message);
        }
        bench.release(key);
        bench.until_released(key).await;
    }
    bench.fakes.knobs.set("repository.*", Rule::fail_always());
    let key = bench.put_backup(first(5));
    assert_eq!(
        bench.until_failed(key).await.reason,
        "RepositoryUnreachable"
    );
    bench.fakes.knobs.clear("repository.*");
    bench.back_up(key).await;
}
