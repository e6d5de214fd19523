//! What is brought back: at what speed, out of which damage, and by which version.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use dc_agent_core::storage::Extent;
use dc_backup::archive::{Limits, Outcome, archive};
use dc_backup::blocks::BLOCK;
use dc_backup::source::Source;
use dc_backup::target::{Target, Writing};
use dc_backup::{Access, BackupError, Control, Repository, SnapshotId};
use tempfile::tempdir;

use crate::faults::files;
use crate::restic::Restic;
use crate::site::{Disk, PASSWORD, ensure, job, limits, local, noise, password, run};

/// A volume in memory.
struct Volume(Mutex<Vec<u8>>);

impl Volume {
    /// With something in it.
    fn new(size: u64) -> Self {
        Self(Mutex::new(vec![9; usize::try_from(size).unwrap()]))
    }

    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Volume {
    fn size(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        bytes.copy_from_slice(&self.bytes()[at..at + bytes.len()]);
        Ok(())
    }
}

impl Target for Volume {
    fn size(&self) -> u64 {
        Source::size(self)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        self.bytes()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn zero(&self, extent: Extent) -> io::Result<()> {
        let at = usize::try_from(extent.start).unwrap();
        let end = usize::try_from(extent.end()).unwrap();
        self.bytes()[at..end].fill(0);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// As a restore that is to be compared does it.
fn bring_back(
    repository: &Repository,
    backup: SnapshotId,
    volume: &Volume,
) -> Result<(), BackupError> {
    let control = Control::default();
    let how = Writing::with(2);
    repository.restore_volume(Access::ReadOnly, backup, "root.raw", volume, how, &control)?;
    repository.verify_volume(Access::ReadOnly, backup, "root.raw", volume, &control)?;
    Ok(())
}

#[test]
fn whichever_pack_is_damaged_a_restore_that_is_compared_fails_also_of_the_block_of_zeros() {
    let place = tempdir().unwrap();
    let repository = ensure(&local(place.path()));
    let mut disk = Disk::new(noise(3 * BLOCK));
    let zeros = usize::try_from(BLOCK).unwrap();
    disk.bytes[zeros..2 * zeros].fill(0);
    // Each blob in a pack of its own.
    let small = Limits {
        pack_bytes: 1,
        ..limits()
    };
    let done = archive(
        &repository,
        &job(0, &[("root", &disk)], None),
        small,
        &Control::default(),
    );
    let Outcome::Done(done) = done.unwrap() else {
        panic!("it was done before");
    };
    let volume = Volume::new(3 * BLOCK);
    bring_back(&repository, done.backup, &volume).unwrap();
    assert!(*volume.bytes() == disk.bytes);

    let packs = files(&place.path().join("data"));
    // Two blocks of noise, the block of zeros, the manifest, the tree.
    assert_eq!(packs.len(), 5, "{packs:?}");
    let mut unharmed = Vec::new();
    for pack in &packs {
        let file = File::options().read(true).write(true).open(pack).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 20).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 20).unwrap();
        let opened = Repository::open(local(place.path()), &password()).unwrap();
        let volume = Volume::new(3 * BLOCK);
        match bring_back(&opened, done.backup, &volume) {
            Ok(()) => unharmed.push(pack),
            Err(BackupError::Corrupt { .. }) => {}
            Err(error) => panic!("{}: {error}", pack.display()),
        }
        if unharmed.last() == Some(&pack) {
            opened.manifest(Access::ReadOnly, done.backup).unwrap_err();
        }
        file.write_all_at(&byte, 20).unwrap();
    }
    assert_eq!(
        unharmed.len(),
        1,
        "only what stands beside the volume: {unharmed:?}"
    );
    Restic::folder(place.path(), PASSWORD).check();
}

#[test]
fn a_restore_that_is_limited_waits_between_blocks_and_heeds_its_end_while_it_does() {
    let place = tempdir().unwrap();
    let repository = ensure(&local(place.path()));
    let disk = Disk::new(noise(4 * BLOCK));
    let backup = run(&repository, &job(0, &[("root", &disk)], None))
        .unwrap()
        .backup;
    let volume = Volume::new(4 * BLOCK);
    let control = Control::default();
    // The second block would have its turn in weeks.
    let how = Writing {
        writers: 4,
        bytes_per_second: NonZeroU64::new(1),
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            repository.restore_volume(Access::Locked, backup, "root.raw", &volume, how, &control)
        });
        let written = || control.progress().is_some_and(|(done, _)| done > 0);
        while !written() && !running.is_finished() {
            std::thread::yield_now();
        }
        control.stop();
        let ended = running.join().unwrap();
        assert!(matches!(ended, Err(BackupError::Stopped)), "{ended:?}");
    });
    assert_eq!(control.progress(), Some((BLOCK, 4 * BLOCK)));
    // Without a limit it is whole when it is repeated.
    bring_back(&repository, backup, &volume).unwrap();
    assert!(*volume.bytes() == disk.bytes);
}

#[test]
fn what_another_version_has_written_is_refused_by_its_number_and_its_volumes_come_back() {
    let (place, from) = (tempdir().unwrap(), tempdir().unwrap());
    let repository = ensure(&local(place.path()));
    let bytes = noise(BLOCK);
    fs::write(from.path().join("root.raw"), &bytes).unwrap();
    let manifest = r#"{"format":2,"guest":{"shape":"not known here"}}"#;
    fs::write(from.path().join("manifest.json"), manifest).unwrap();
    let restic = Restic::folder(place.path(), PASSWORD);
    let mut command = restic.command(&["backup", "root.raw", "manifest.json"]);
    assert!(command.current_dir(from.path()).status().unwrap().success());
    let backups = repository.backups().unwrap();
    let backup = backups[0].id;
    let refused = repository.manifest(Access::Locked, backup).unwrap_err();
    let numbers = match &refused {
        BackupError::OtherFormat {
            found, understood, ..
        } => (*found, *understood),
        other => panic!("{other}"),
    };
    assert_eq!(numbers, (2, 1));
    let volume = Volume::new(BLOCK);
    bring_back(&repository, backup, &volume).unwrap();
    assert!(*volume.bytes() == bytes);
}
