//! A repository in a folder, written and read from both sides.

use std::fs;
use std::process::Command;

use dc_agent_core::storage::Extent;
use dc_backup::archive::WhyFull;
use dc_backup::blocks::BLOCK;
use dc_backup::{Access, Finding};
use tempfile::tempdir;

use crate::restic::Restic;
use crate::site::{
    Disk, MIB, PASSWORD, assert_same, ensure, hex, job, local, noise, password, run,
};

#[test]
fn stock_restic_checks_and_restores_what_we_write() {
    let (place, out) = (tempdir().unwrap(), tempdir().unwrap());
    let store = local(place.path());
    let repository = ensure(&store);
    let restic = Restic::folder(place.path(), PASSWORD);
    restic.check();

    // In full, with a hole of twelve blocks and an end within a block.
    let mut root = Disk::mixed(40);
    let data = Disk::new([vec![0; 12 << 22], noise(5 * MIB), vec![0; 12345]].concat());
    let first = run(
        &repository,
        &job(0, &[("root", &root), ("data", &data)], None),
    )
    .unwrap();
    assert_eq!(
        first.volumes[1].blocks_new, 3,
        "two of noise, and the last of noise and zeros"
    );
    restic.check();
    restic.restore(&hex(first.backup), &out.path().join("first"));
    assert_same(&out.path().join("first"), "root.raw", &root.bytes);
    assert_same(&out.path().join("first"), "data.raw", &data.bytes);
    let before = root.bytes.clone();

    // One hundredth of it changes, in one place and in four small ones.
    let changed = vec![
        root.write(9 * BLOCK, root.bytes.len() as u64 / 100),
        root.write(20 * BLOCK + 77, 4096),
        root.write(20 * BLOCK + 999_999, 4096),
        root.write(31 * BLOCK - 2048, 4096),
    ];
    let bytes_changed: u64 = changed.iter().map(|extent| extent.length).sum();
    let touched = [9, 20, 30, 31].len() as u64 * BLOCK;
    root.take_read();
    data.take_read();
    let disks = [("root", &root), ("data", &data)];
    let next = job(1, &disks, Some((first.backup, vec![changed, Vec::new()])));
    let second = run(&repository, &next).unwrap();
    assert_eq!(data.take_read(), 0);
    let read = root.take_read();
    let rounding = touched - bytes_changed;
    assert!(
        read * 100 <= bytes_changed * 105 + rounding * 100,
        "{read} of {bytes_changed}"
    );
    assert_eq!(second.volumes[0].bytes_read, read);
    restic.check();
    restic.restore(&hex(second.backup), &out.path().join("second"));
    assert_same(&out.path().join("second"), "root.raw", &root.bytes);
    assert_same(&out.path().join("second"), "data.raw", &data.bytes);

    // It grows, and most of what is new is a hole.
    root.bytes.extend(vec![0; 8 << 22]);
    root.bytes.extend(noise(700));
    let end = Extent::new(48 * BLOCK, 700);
    let grown = job(
        2,
        &[("root", &root)],
        Some((second.backup, vec![vec![end]])),
    );
    let third = run(&repository, &grown).unwrap();
    assert_eq!(
        (third.volumes[0].full.clone(), root.take_read()),
        (None, 700)
    );
    restic.check();
    for (backup, name, bytes) in [(first, "a", &before), (third, "b", &root.bytes)] {
        restic.restore(&hex(backup.backup), &out.path().join(name));
        assert_same(&out.path().join(name), "root.raw", bytes);
    }
    let listed = restic.run(&["snapshots", "--json", "--no-lock"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!(listed[0]["hostname"], "db-1");
}

#[test]
fn we_list_and_restore_what_restic_writes_and_write_beside_it() {
    let (place, files, out) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let restic = Restic::folder(place.path(), PASSWORD);
    restic.run(&["init", "--repository-version", "2"]);
    let inner = files.path().join("tỉnh Sơn La/xã");
    fs::create_dir_all(&inner).unwrap();
    let (large, text) = (noise(20 * MIB), "một dòng\n".repeat(100_000));
    fs::write(inner.join("large.bin"), &large).unwrap();
    fs::write(inner.join("text"), &text).unwrap();
    fs::write(inner.join("empty"), "").unwrap();
    restic.run(&["backup", inner.to_str().unwrap()]);

    let repository = dc_backup::Repository::open(local(place.path()), &password()).unwrap();
    let theirs = repository.backups().unwrap();
    assert_eq!(theirs.len(), 1);
    assert_eq!(repository.check(Access::Locked, true).unwrap(), []);
    repository
        .restore(Access::Locked, theirs[0].id, out.path())
        .unwrap();
    let restored = out.path().join(inner.strip_prefix("/").unwrap());
    assert_same(&restored, "large.bin", &large);
    assert_same(&restored, "text", text.as_bytes());
    assert_same(&restored, "empty", &[]);

    // Theirs is no backup of a machine, so ours is in full; then restic adds to ours.
    let disk = Disk::mixed(6);
    let ours = job(
        1,
        &[("root", &disk)],
        Some((theirs[0].id, vec![Vec::new()])),
    );
    let ours = run(&repository, &ours).unwrap();
    let why = ours.volumes[0].full.as_ref().unwrap();
    assert!(matches!(why, WhyFull::Unreadable(_)), "{why}");
    fs::write(inner.join("more"), noise(MIB)).unwrap();
    restic.run(&["backup", inner.to_str().unwrap()]);
    restic.check();
    assert_eq!(repository.backups().unwrap().len(), 3);
    assert_eq!(repository.check(Access::Locked, true).unwrap(), []);
}

#[test]
fn each_prunes_what_the_other_forgot_and_a_copy_is_sound() {
    let (place, other, out) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let repository = ensure(&local(place.path()));
    let restic = Restic::folder(place.path(), PASSWORD);
    let mut root = Disk::mixed(10);
    let first = run(&repository, &job(0, &[("root", &root)], None)).unwrap();
    let changed = vec![root.write(0, BLOCK)];
    let second = job(1, &[("root", &root)], Some((first.backup, vec![changed])));
    let second = run(&repository, &second).unwrap().backup;
    restic.run(&["forget", "--prune", "--max-unused", "0", &hex(first.backup)]);
    restic.check();

    // What we kept from the first is in packs that restic has written anew.
    let changed = vec![root.write(BLOCK, 1)];
    let third = job(2, &[("root", &root)], Some((second, vec![changed])));
    let third = run(&repository, &third).unwrap();
    assert_eq!(
        (third.volumes[0].full.clone(), third.volumes[0].blocks_read),
        (None, 1)
    );
    let third = third.backup;
    repository.forget(&[second]).unwrap();
    repository.prune().unwrap();
    restic.check();
    restic.restore(&hex(third), &out.path().join("pruned"));
    assert_same(&out.path().join("pruned"), "root.raw", &root.bytes);

    let copy = ensure(&local(other.path()));
    repository.copy_to(&copy, &[third]).unwrap();
    let copied = copy.backups().unwrap();
    let restic = Restic::folder(other.path(), PASSWORD);
    restic.check();
    restic.restore(&hex(copied[0].id), &out.path().join("copy"));
    assert_same(&out.path().join("copy"), "root.raw", &root.bytes);
    let left = fs::read_dir(other.path().join("locks")).unwrap().count();
    assert_eq!(left, 0);
    let found: Vec<Finding> = copy.check(Access::Locked, true).unwrap();
    assert_eq!(found, []);
    // Nobody but root reads what is in a repository, encrypted though it is.
    let modes = Command::new("find")
        .arg(place.path())
        .args(["-type", "f", "-perm", "/077"])
        .output();
    assert_eq!(String::from_utf8(modes.unwrap().stdout).unwrap(), "");
}
