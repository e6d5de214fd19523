//! Runs over a store in memory. That stock restic agrees is tried in `tests/backup`.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rand::Rng;
use serde_json::json;

use super::*;
use crate::blocks::BLOCK;
use crate::check::Finding;
use crate::control::Control;
use crate::repository::{Access, Password};
use crate::store::{CutAt, CutStore, MemoryStore, Store};

/// A source that counts what is read of it.
struct Counted {
    bytes: Vec<u8>,
    read: AtomicU64,
}

impl Counted {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            read: AtomicU64::new(0),
        }
    }
}

impl Source for Counted {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        self.bytes.read_at(offset, bytes)
    }
}

fn password() -> Password {
    Password::new("mật khẩu của Sở")
}

fn noise(blocks: f64) -> Vec<u8> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let mut bytes = vec![0; (blocks * BLOCK as f64) as usize];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

struct Site {
    store: Arc<dyn Store>,
    repository: Repository,
}

/// Made once: it takes scrypt's time, which is long by intent.
fn empty() -> &'static (MemoryStore, Repository) {
    static EMPTY: OnceLock<(MemoryStore, Repository)> = OnceLock::new();
    EMPTY.get_or_init(|| {
        let store = Arc::new(MemoryStore::default());
        let repository = Repository::ensure(Arc::clone(&store) as Arc<dyn Store>, &password());
        (store.copy(), repository.unwrap())
    })
}

impl Site {
    fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(empty().0.copy());
        let repository = Self::opened(&store);
        Self { store, repository }
    }

    fn opened(store: &Arc<dyn Store>) -> Repository {
        Repository {
            store: Arc::clone(store),
            ..empty().1.clone()
        }
    }

    fn run(&self, job: &Job<'_>) -> Archived {
        done(archive(&self.repository, job, few(), &Control::default()).unwrap())
    }

    fn restored(&self, backup: SnapshotId, file: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        self.repository
            .restore(Access::ReadOnly, backup, folder.path())
            .unwrap();
        std::fs::read(folder.path().join(file)).unwrap()
    }

    fn damage(&self) -> Vec<Finding> {
        let mut found = self.repository.check(Access::ReadOnly, true).unwrap();
        found.retain(|finding| matches!(finding, Finding::Damage(_)));
        found
    }

    fn count(&self, kind: Kind) -> usize {
        self.store.list(kind).unwrap().len()
    }
}

fn few() -> Limits {
    Limits {
        readers: 2,
        uploads: 1,
        pack_bytes: 1,
        packs_per_index: 1,
        bytes_per_second: None,
    }
}

fn done(outcome: Outcome) -> Archived {
    match outcome {
        Outcome::Done(archived) => archived,
        Outcome::DoneBefore(backup) => panic!("it was done before, as {backup}"),
    }
}

fn origin(snapshot: &str) -> Origin {
    Origin {
        volume: "volume-1".to_owned(),
        snapshot: snapshot.to_owned(),
    }
}

fn first<'a>(source: &'a dyn Source) -> Job<'a> {
    Job {
        machine: "db-1".to_owned(),
        run: "run-1".to_owned(),
        tags: vec!["so-y-te".to_owned()],
        time: Timestamp::from_second(1_800_000_000).unwrap(),
        description: json!({ "name": "db-1" }),
        volumes: vec![Volume {
            file: "root.raw".to_owned(),
            origin: origin("snap-1"),
            source,
            since: None,
            allocated: None,
        }],
        parent: None,
    }
}

fn second<'a>(source: &'a dyn Source, parent: SnapshotId, extents: Vec<Extent>) -> Job<'a> {
    let mut job = first(source);
    job.run = "run-2".to_owned();
    job.parent = Some(parent);
    job.volumes[0].origin = origin("snap-2");
    job.volumes[0].since = Some(Since {
        snapshot: "snap-1".to_owned(),
        extents,
    });
    job
}

#[test]
fn a_full_backup_is_restored_and_its_manifest_is_beside_it() {
    let site = Site::new();
    let bytes = noise(5.3);
    let archived = site.run(&first(&bytes));
    let [volume] = &archived.volumes[..] else {
        panic!("{archived:?}")
    };
    assert_eq!(volume.full, Some(WhyFull::First));
    assert_eq!((volume.blocks_read, volume.blocks_new), (6, 6));
    assert_eq!(volume.bytes_read, bytes.len() as u64);
    assert_eq!(site.restored(archived.backup, "root.raw"), bytes);
    let manifest = site.repository.manifest(Access::Locked, archived.backup);
    let manifest = manifest.unwrap();
    assert_eq!(manifest.machine, json!({ "name": "db-1" }));
    assert_eq!(manifest.volumes[0].origin, origin("snap-1"));
    assert_eq!(site.damage(), []);
    assert_eq!(site.count(Kind::Lock), 0);
}

#[test]
fn only_blocks_that_changed_are_read_after_that() {
    let site = Site::new();
    let mut bytes = noise(6.0);
    let parent = site.run(&first(&bytes)).backup;
    bytes[usize::try_from(2 * BLOCK).unwrap() + 17] ^= 1;
    bytes.extend(vec![0; usize::try_from(3 * BLOCK).unwrap()]);
    bytes.extend(noise(0.25));
    let source = Counted::new(bytes);
    let grown = Extent::new(9 * BLOCK, BLOCK / 4);
    let extents = vec![Extent::new(2 * BLOCK + 17, 1), grown];
    let archived = site.run(&second(&source, parent, extents));
    let volume = &archived.volumes[0];
    assert_eq!(volume.full, None);
    let (kept, zero, read) = (volume.blocks_kept, volume.blocks_zero, volume.blocks_read);
    assert_eq!((kept, zero, read), (5, 3, 2));
    assert_eq!(source.read.load(Ordering::SeqCst), BLOCK + BLOCK / 4);
    assert_eq!(site.restored(archived.backup, "root.raw"), source.bytes);
    assert_eq!(site.damage(), []);
}

#[test]
fn zeros_cost_one_blob_read_or_not() {
    let site = Site::new();
    let bytes = vec![0; usize::try_from(7 * BLOCK).unwrap()];
    let archived = site.run(&first(&bytes));
    assert_eq!(archived.volumes[0].blocks_new, 1);
    assert!(archived.bytes_written < 4000, "{}", archived.bytes_written);
    let mut job = first(&bytes);
    job.run = "another".to_owned();
    job.volumes[0].allocated = Some(Vec::new());
    let archived = site.run(&job);
    assert_eq!(
        (
            archived.volumes[0].blocks_zero,
            archived.volumes[0].bytes_read
        ),
        (7, 0)
    );
    assert_eq!(site.restored(archived.backup, "root.raw"), bytes);
}

#[test]
fn whatever_is_in_doubt_about_the_backup_before_is_read_and_said() {
    let site = Site::new();
    let bytes = noise(2.0);
    let parent = site.run(&first(&bytes)).backup;
    let gone = SnapshotId::from(Id::new([9; 32]));
    let no_changes = Vec::new;
    type Change = fn(&mut Job<'_>);
    type Expected = fn(&WhyFull) -> bool;
    let cases: [(Change, Expected); 6] = [
        (|job| job.parent = None, |why| *why == WhyFull::First),
        (
            |job| job.volumes[0].since = None,
            |why| *why == WhyFull::NoChanges,
        ),
        (
            |job| job.volumes[0].since.as_mut().unwrap().snapshot = "snap-0".to_owned(),
            |why| *why == WhyFull::OtherSnapshot("snap-1".to_owned()),
        ),
        (
            |job| job.volumes[0].origin.volume = "volume-2".to_owned(),
            |why| *why == WhyFull::OtherVolume("volume-1".to_owned()),
        ),
        (
            |job| job.volumes[0].file = "data.raw".to_owned(),
            |why| *why == WhyFull::NotInParent,
        ),
        (|_| (), |why| matches!(why, WhyFull::Unreadable(_))),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let before = if number == 5 { gone } else { parent };
        let mut job = second(&bytes, before, no_changes());
        job.run = format!("case-{number}");
        change(&mut job);
        let archived = site.run(&job);
        let volume = &archived.volumes[0];
        let why = volume.full.as_ref().unwrap();
        assert!(expected(why), "{number}: {why}");
        // All of it is read, and none of it is written again.
        assert_eq!((volume.blocks_read, volume.blocks_new), (2, 0));
    }
}

#[test]
fn a_block_that_the_repository_has_lost_is_read_again() {
    let site = Site::new();
    let bytes = noise(3.0);
    let parent = site.run(&first(&bytes)).backup;
    let packs = site.store.list(Kind::Pack).unwrap().into_iter();
    let (pack, _) = packs.max_by_key(|(_, size)| *size).unwrap();
    site.store.remove(Kind::Pack, pack).unwrap();
    assert_ne!(site.damage(), []);
    let archived = site.run(&second(&bytes, parent, Vec::new()));
    let volume = &archived.volumes[0];
    assert_eq!(volume.full, None);
    assert_eq!((volume.blocks_read, volume.blocks_new), (1, 1));
    assert_eq!(site.restored(archived.backup, "root.raw"), bytes);
}

#[test]
fn a_run_that_is_repeated_is_done_once() {
    let site = Site::new();
    let bytes = noise(1.0);
    let backup = site.run(&first(&bytes)).backup;
    let again = archive(&site.repository, &first(&bytes), few(), &Control::default());
    assert_eq!(again.unwrap(), Outcome::DoneBefore(backup));
    assert_eq!(site.count(Kind::Snapshot), 1);
    assert_eq!(site.count(Kind::Lock), 0);
}

/// Before and after each effect: sound, and the next run goes on with what is indexed.
#[test]
fn cut_off_anywhere_the_repository_is_sound_and_the_next_run_goes_on() {
    let bytes = noise(1.1);
    let effects = {
        let site = Site::new();
        let counted = Arc::new(CutStore::new(Arc::clone(&site.store), CutAt::Never));
        let repository = Site::opened(&(Arc::clone(&counted) as Arc<dyn Store>));
        archive(&repository, &first(&bytes), few(), &Control::default()).unwrap();
        counted.effects()
    };
    // Lock; manifest and two blocks, a pack and an index for each; tree, index, snapshot; lock.
    assert!(effects == 11, "{effects}");
    for at in (0..effects).flat_map(|at| [CutAt::Before(at), CutAt::After(at)]) {
        let site = Site::new();
        let cut: Arc<dyn Store> = Arc::new(CutStore::new(Arc::clone(&site.store), at));
        let repository = Site::opened(&cut);
        let outcome = archive(&repository, &first(&bytes), few(), &Control::default());
        // Only the removal of the lock comes after the backup is there.
        let is_last = matches!(at, CutAt::Before(n) | CutAt::After(n) if n == effects - 1);
        assert_eq!(outcome.is_ok(), is_last, "{at:?}");
        assert_eq!(site.damage(), [], "{at:?}");
        let again = archive(&site.repository, &first(&bytes), few(), &Control::default());
        let backup = match again.unwrap() {
            Outcome::Done(archived) => archived.backup,
            Outcome::DoneBefore(backup) => backup,
        };
        assert_eq!(site.count(Kind::Snapshot), 1, "{at:?}");
        assert_eq!(site.restored(backup, "root.raw"), bytes, "{at:?}");
        assert_eq!(site.damage(), [], "{at:?}");
    }
}

#[test]
fn a_repository_that_is_cut_off_while_it_is_made_is_made_the_next_time() {
    let bytes = noise(1.0);
    for at in [0, 1]
        .into_iter()
        .flat_map(|n| [CutAt::Before(n), CutAt::After(n)])
    {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let cut: Arc<dyn Store> = Arc::new(CutStore::new(Arc::clone(&store), at));
        Repository::ensure(cut, &password()).unwrap_err();
        let repository = Repository::ensure(Arc::clone(&store), &password()).unwrap();
        let opened = Repository::open(Arc::clone(&store), &password()).unwrap();
        let site = Site { store, repository };
        let backup = site.run(&first(&bytes)).backup;
        assert_eq!(opened.backups().unwrap().len(), 1, "{at:?}");
        assert_eq!(site.restored(backup, "root.raw"), bytes, "{at:?}");
    }
}

#[test]
fn a_volume_that_cannot_be_read_fails_with_its_place_and_leaves_no_lock() {
    struct Broken;
    impl Source for Broken {
        fn size(&self) -> u64 {
            20 * BLOCK
        }
        fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            rand::rng().fill_bytes(bytes);
            match offset {
                offset if offset == 11 * BLOCK => Err(io::Error::other("the disk is gone")),
                _ => Ok(()),
            }
        }
    }
    let site = Site::new();
    let failed = archive(
        &site.repository,
        &first(&Broken),
        few(),
        &Control::default(),
    );
    match failed.unwrap_err() {
        BackupError::Source { volume, at, .. } => {
            assert_eq!((volume.as_str(), at), ("root.raw", 11 * BLOCK));
        }
        other => panic!("{other}"),
    }
    assert_eq!((site.count(Kind::Snapshot), site.count(Kind::Lock)), (0, 0));
    assert_eq!(site.damage(), []);
}

#[test]
fn a_run_is_stopped_from_outside() {
    let site = Site::new();
    let stop = Control::default();
    stop.stop();
    let stopped = archive(&site.repository, &first(&noise(2.0)), few(), &stop);
    assert!(matches!(stopped, Err(BackupError::Stopped)));
    assert_eq!((site.count(Kind::Snapshot), site.count(Kind::Lock)), (0, 0));
}

#[test]
fn how_far_a_run_is_can_be_told_from_outside() {
    let site = Site::new();
    let control = Control::default();
    assert_eq!(control.progress(), None);
    archive(&site.repository, &first(&noise(2.5)), few(), &control).unwrap();
    let size = BLOCK * 5 / 2;
    assert_eq!(control.progress(), Some((size, size)));
}

#[test]
fn a_run_that_waits_for_its_turn_to_read_heeds_a_stop() {
    /// Stops the run as soon as something is read.
    struct Stopper(Vec<u8>, Control);
    impl Source for Stopper {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            self.1.stop();
            self.0.read_at(offset, bytes)
        }
    }
    let site = Site::new();
    let control = Control::default();
    let source = Stopper(noise(3.0), control.clone());
    // A block in 49 days.
    let slow = Limits {
        bytes_per_second: NonZeroU64::new(1),
        ..few()
    };
    let stopped = archive(&site.repository, &first(&source), slow, &control);
    assert!(matches!(stopped, Err(BackupError::Stopped)));
    assert_eq!((site.count(Kind::Snapshot), site.count(Kind::Lock)), (0, 0));
}

#[test]
fn runs_of_several_machines_at_once_into_one_repository_are_all_whole() {
    let site = Site::new();
    // Half of it is the same in all of them: each may write it, and none may rely on it too early.
    let same = noise(2.0);
    let machines: Vec<Vec<u8>> = (0..4)
        .map(|_| [same.clone(), noise(1.5)].concat())
        .collect();
    let backups: Vec<SnapshotId> = std::thread::scope(|scope| {
        let runs = machines.iter().enumerate().map(|(number, bytes)| {
            let site = &site;
            scope.spawn(move || {
                let mut job = first(bytes);
                job.machine = format!("db-{number}");
                job.run = format!("run-{number}");
                site.run(&job).backup
            })
        });
        let runs: Vec<_> = runs.collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(site.damage(), []);
    let counted = (site.count(Kind::Snapshot), site.count(Kind::Lock));
    assert_eq!(counted, (4, 0));
    for (backup, bytes) in backups.into_iter().zip(&machines) {
        let folder = tempfile::tempdir().unwrap();
        let restored = site
            .repository
            .restore(Access::Locked, backup, folder.path());
        restored.unwrap();
        let file = std::fs::read(folder.path().join("root.raw")).unwrap();
        assert!(file == *bytes, "{backup}");
    }
}

#[test]
fn names_that_are_none_are_refused_before_anything_is_written() {
    let site = Site::new();
    let bytes = noise(0.1);
    for name in ["", "..", "a/b", "manifest.json", &"x".repeat(256)] {
        let mut job = first(&bytes);
        job.volumes[0].file = name.to_owned();
        let refused = archive(&site.repository, &job, few(), &Control::default());
        assert!(
            matches!(refused, Err(BackupError::Impossible { .. })),
            "{name}"
        );
    }
    let mut twice = first(&bytes);
    twice.volumes.extend(first(&bytes).volumes);
    archive(&site.repository, &twice, few(), &Control::default()).unwrap_err();
    assert_eq!(site.count(Kind::Pack), 0);
}

#[test]
fn what_no_backup_needs_is_pruned_and_the_rest_stays() {
    let site = Site::new();
    let mut bytes = noise(3.0);
    let old = site.run(&first(&bytes)).backup;
    bytes[0] ^= 1;
    let new = site
        .run(&second(&bytes, old, vec![Extent::new(0, 1)]))
        .backup;
    let size = || -> u64 {
        let packs = site.store.list(Kind::Pack).unwrap();
        packs.into_iter().map(|(_, size)| size).sum()
    };
    let before = size();
    site.repository.forget(&[old]).unwrap();
    site.repository.prune().unwrap();
    assert!(size() + BLOCK / 2 < before, "{before} to {}", size());
    assert_eq!(site.restored(new, "root.raw"), bytes);
    assert_eq!(site.damage(), []);
    assert_eq!(site.count(Kind::Lock), 0);
}

#[test]
fn a_copy_has_another_password_and_the_same_bytes_and_is_made_once() {
    let (site, other) = (Site::new(), Site::new());
    let bytes = noise(2.5);
    let backup = site.run(&first(&bytes)).backup;
    for _ in 0..2 {
        site.repository
            .copy_to(&other.repository, &[backup])
            .unwrap();
    }
    let copies = other.repository.backups().unwrap();
    assert_eq!(copies.len(), 1);
    assert_eq!(other.restored(copies[0].id, "root.raw"), bytes);
    assert_eq!(other.damage(), []);
    assert_eq!((site.count(Kind::Lock), other.count(Kind::Lock)), (0, 0));
}

#[test]
fn a_wrong_password_and_a_place_without_a_repository_are_told_apart() {
    let site = Site::new();
    let wrong = Repository::open(Arc::clone(&site.store), &Password::new("khác"));
    assert!(matches!(wrong, Err(BackupError::WrongPassword { .. })));
    let ensured = Repository::ensure(Arc::clone(&site.store), &Password::new("khác"));
    assert!(matches!(ensured, Err(BackupError::WrongPassword { .. })));
    site.repository
        .add_password(&Password::new("khác"))
        .unwrap();
    Repository::open(Arc::clone(&site.store), &Password::new("khác")).unwrap();
    let empty: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let none = Repository::open(empty, &password());
    assert!(matches!(none, Err(BackupError::NoRepository { .. })));
    assert!(!Path::new("memory").exists());
}

#[test]
fn a_volume_that_was_written_is_compared_block_by_block() {
    use sha2::{Digest, Sha256};
    let site = Site::new();
    let mut bytes = noise(2.5);
    bytes.extend(vec![0; usize::try_from(2 * BLOCK).unwrap()]);
    let backup = site.run(&first(&bytes)).backup;
    let verify = |volume: &Vec<u8>| {
        let control = Control::default();
        let repository = &site.repository;
        repository.verify_volume(Access::Locked, backup, "root.raw", volume, &control)
    };
    let sum: [u8; 32] = Sha256::digest(&bytes).into();
    assert_eq!(verify(&bytes).unwrap(), sum);
    let longer = [&bytes[..], &[1; 7]].concat();
    assert_eq!(
        verify(&longer).unwrap(),
        sum,
        "what lies beyond is not the backup's"
    );
    let place = |volume: &Vec<u8>| match verify(volume) {
        Err(BackupError::Differs { at, .. }) => at,
        other => panic!("{other:?}"),
    };
    for (byte, block) in [(0, 0), (BLOCK + 9, BLOCK), (4 * BLOCK - 1, 3 * BLOCK)] {
        let mut other = bytes.clone();
        other[usize::try_from(byte).unwrap()] ^= 1;
        assert_eq!(place(&other), block);
    }
    let shorter = bytes[..bytes.len() - 1].to_vec();
    assert_eq!(place(&shorter), shorter.len() as u64);
    assert_eq!(site.count(Kind::Lock), 0);
}
