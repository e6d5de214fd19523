//! Places that are damaged, read-only or full, and runs that are cut off: stock restic has the last
//! word.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dc_backup::archive::{Limits, Outcome, archive};
use dc_backup::blocks::BLOCK;
use dc_backup::store::{CutAt, CutStore, Store, StoreError};
use dc_backup::{Access, BackupError, Control, Finding, Password, Repository};
use tempfile::tempdir;

use crate::inside::{inside, run as sh};
use crate::restic::Restic;
use crate::site::{
    Disk, MIB, PASSWORD, assert_same, ensure, hex, job, limits, local, noise, password, run,
};

pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files
}

fn damage(repository: &Repository) -> Vec<Finding> {
    let mut found = repository.check(Access::ReadOnly, true).unwrap();
    found.retain(|finding| matches!(finding, Finding::Damage(_)));
    found
}

#[test]
fn a_wrong_password_opens_nothing() {
    let place = tempdir().unwrap();
    ensure(&local(place.path()));
    let wrong = Repository::open(local(place.path()), &Password::new("x")).unwrap_err();
    assert!(
        matches!(wrong, BackupError::WrongPassword { .. }),
        "{wrong}"
    );
    let none = Repository::open(local(&place.path().join("data")), &password()).unwrap_err();
    assert!(matches!(none, BackupError::NoRepository { .. }), "{none}");
}

#[test]
fn a_corrupt_pack_is_found_and_never_restored_as_if_it_were_whole() {
    let (place, out) = (tempdir().unwrap(), tempdir().unwrap());
    let repository = ensure(&local(place.path()));
    let disk = Disk::new(noise(2 * BLOCK));
    let backup = run(&repository, &job(0, &[("root", &disk)], None))
        .unwrap()
        .backup;
    let packs = files(&place.path().join("data"));
    let largest = packs
        .into_iter()
        .max_by_key(|pack| fs::metadata(pack).unwrap().len());
    let pack = File::options()
        .read(true)
        .write(true)
        .open(largest.unwrap())
        .unwrap();
    let mut byte = [0];
    pack.read_exact_at(&mut byte, BLOCK).unwrap();
    pack.write_all_at(&[byte[0] ^ 1], BLOCK).unwrap();
    let found = damage(&repository);
    assert_eq!(found.len(), 1, "{found:?}");
    let restic = Restic::folder(place.path(), PASSWORD);
    restic.fails(&["check", "--read-data", "--no-lock"]);
    let restored = repository.restore(Access::Locked, backup, out.path());
    let refused = restored.unwrap_err();
    assert!(matches!(refused, BackupError::Corrupt { .. }), "{refused}");
    assert_eq!(fs::read_dir(place.path().join("locks")).unwrap().count(), 0);
}

#[test]
fn an_index_that_is_lost_is_told_and_nothing_relies_on_what_it_named() {
    let (place, out) = (tempdir().unwrap(), tempdir().unwrap());
    let repository = ensure(&local(place.path()));
    let restic = Restic::folder(place.path(), PASSWORD);
    let disk = Disk::new(noise(3 * BLOCK));
    let first = run(&repository, &job(0, &[("root", &disk)], None))
        .unwrap()
        .backup;
    for index in files(&place.path().join("index")) {
        fs::remove_file(index).unwrap();
    }
    assert_ne!(damage(&repository), []);
    let next = job(1, &[("root", &disk)], Some((first, vec![Vec::new()])));
    let second = run(&repository, &next).unwrap();
    let volume = &second.volumes[0];
    assert!(volume.full.is_some());
    assert_eq!((volume.blocks_read, volume.blocks_new), (3, 3));
    // The new one needs nothing of what was lost, and restic brings back the old one.
    restic.restore(&hex(second.backup), out.path());
    assert_same(out.path(), "root.raw", &disk.bytes);
    restic.run(&["rebuild-index"]);
    restic.check();
    assert_eq!(damage(&repository), []);
    let again = out.path().join("first");
    repository.restore(Access::Locked, first, &again).unwrap();
    assert_same(&again, "root.raw", &disk.bytes);
}

/// Right before and right after each of its effects.
#[test]
fn cut_off_at_any_write_restic_finds_it_sound_and_the_next_run_goes_on() {
    let disk = Disk::new(noise(BLOCK + 4096));
    let small = Limits {
        pack_bytes: 1,
        packs_per_index: 1,
        ..limits()
    };
    let pristine = tempdir().unwrap();
    ensure(&local(pristine.path()));
    let mut effects = 0;
    for at in (0..).flat_map(|n| [CutAt::Before(n), CutAt::After(n)]) {
        let (place, out) = (tempdir().unwrap(), tempdir().unwrap());
        let place = place.path().join("repository");
        sh(&[
            "cp",
            "-a",
            pristine.path().to_str().unwrap(),
            place.to_str().unwrap(),
        ]);
        let cut = Arc::new(CutStore::new(local(&place), at));
        let dying = Repository::open(Arc::clone(&cut) as Arc<dyn Store>, &password()).unwrap();
        let disks = [("root", &disk)];
        let job = job(0, &disks, None);
        let died = archive(&dying, &job, small, &Control::default());
        let restic = Restic::folder(&place, PASSWORD);
        restic.check();
        let repository = Repository::open(local(&place), &password()).unwrap();
        let again = archive(&repository, &job, small, &Control::default()).unwrap();
        let backup = match again {
            Outcome::Done(archived) => archived.backup,
            Outcome::DoneBefore(backup) => backup,
        };
        restic.check();
        restic.restore(&hex(backup), out.path());
        assert_same(out.path(), "root.raw", &disk.bytes);
        assert_eq!(fs::read_dir(place.join("snapshots")).unwrap().count(), 1);
        effects += 1;
        // The last effect takes the lock away, and the backup is there.
        if died.is_ok() && matches!(at, CutAt::After(_)) {
            break;
        }
    }
    assert_eq!(effects, 22);
}

#[test]
fn a_full_place_is_told_and_goes_on_when_there_is_room() {
    inside(
        "faults::a_full_place_is_told_and_goes_on_when_there_is_room",
        || async {
            let place = Path::new("/mnt/repository");
            fs::create_dir(place).unwrap();
            sh(&[
                "mount",
                "-t",
                "tmpfs",
                "-o",
                "size=30m",
                "tmpfs",
                "/mnt/repository",
            ]);
            let repository = ensure(&local(place));
            let disk = Disk::new(noise(40 * MIB));
            let full = run(&repository, &job(0, &[("root", &disk)], None)).unwrap_err();
            let is_full = matches!(full, BackupError::Store(StoreError::Full { .. }));
            assert!(is_full, "{full:?}");
            assert_eq!(files(&place.join("locks")), Vec::<PathBuf>::new());
            assert_eq!(files(&place.join("snapshots")), Vec::<PathBuf>::new());
            let restic = Restic::folder(place, PASSWORD);
            restic.check();
            sh(&["mount", "-o", "remount,size=200m", "/mnt/repository"]);
            let backup = run(&repository, &job(0, &[("root", &disk)], None))
                .unwrap()
                .backup;
            restic.check();
            restic.restore(&hex(backup), Path::new("/mnt/out"));
            assert_same(Path::new("/mnt/out"), "root.raw", &disk.bytes);
        },
    );
}

#[test]
fn a_read_only_place_takes_no_backup_and_gives_back_what_it_has() {
    inside(
        "faults::a_read_only_place_takes_no_backup_and_gives_back_what_it_has",
        || async {
            let place = Path::new("/mnt/repository");
            fs::create_dir(place).unwrap();
            sh(&["mount", "-t", "tmpfs", "tmpfs", "/mnt/repository"]);
            let repository = ensure(&local(place));
            let disk = Disk::new(noise(5 * MIB));
            let backup = run(&repository, &job(0, &[("root", &disk)], None))
                .unwrap()
                .backup;
            sh(&["mount", "-o", "remount,ro", "/mnt/repository"]);
            let refused = run(&repository, &job(1, &[("root", &disk)], None)).unwrap_err();
            let is_refused = matches!(refused, BackupError::Store(StoreError::Refused { .. }));
            assert!(is_refused, "{refused:?}");
            assert_eq!(damage(&repository), []);
            let out = Path::new("/mnt/out");
            repository.restore(Access::ReadOnly, backup, out).unwrap();
            assert_same(out, "root.raw", &disk.bytes);
        },
    );
}
