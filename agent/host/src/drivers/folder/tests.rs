//! The real files, in a folder of any file system: what needs no root and no reflinks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dc_agent_core::storage::{EraseMethod, Note, Removal, VolumeBytes, VolumeSeen, Watermark};
use dc_types::plan::VolumeSource;
use dc_types::{Bytes, Epoch, InstanceId, ObjectRef, ObjectUid, PoolName};
use tempfile::TempDir;
use uuid::Uuid;

use super::layout::open_ours;
use super::{FolderDriver, Remembered};
use crate::drivers::san::SanGrants;
use crate::drivers::{Driver, DriverError};
use crate::images::Fetcher;
use crate::knobs::Knobs;
use crate::targets::FakeTargets;

const MIB: u64 = 1 << 20;

struct Host {
    folder: TempDir,
    volumes: FolderDriver,
}

fn pool() -> PoolName {
    PoolName::new("p1").unwrap()
}

fn id(n: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(n))
}

fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

fn owner() -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: "data".into(),
        uid: ObjectUid(Uuid::from_u128(7)),
    }
}

/// A driver as another process has it; nobody is granted anything.
fn process(folder: &Path) -> FolderDriver {
    let root = folder.join("p1");
    let roots = Arc::new(BTreeMap::from([(pool(), root.clone())]));
    let targets = Arc::new(FakeTargets::new(Knobs::new()));
    FolderDriver::new(
        pool(),
        root,
        Remembered::new(&folder.join("state")),
        Arc::new(SanGrants::new(pool(), roots, targets)),
        Arc::new(Fetcher::new(folder.join("images"))),
    )
}

impl Host {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("p1")).unwrap();
        let volumes = process(folder.path());
        assert_eq!(volumes.ensure_pool().await.fault, None);
        Self { folder, volumes }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("p1")
    }

    async fn fault(&self) -> String {
        let facts = self.volumes.ensure_pool().await;
        facts.fault.expect("the pool has a fault")
    }

    async fn make(&self, n: u128, source: VolumeSource) -> PathBuf {
        let note = Note::Owner {
            owner: owner(),
            epoch: epoch(5),
        };
        self.note(n, note).await;
        self.volumes
            .create_volume(id(n), Bytes(8 * MIB), &source)
            .await
            .unwrap();
        self.note(n, Note::Made).await;
        self.root().join(format!("volumes/{}.raw", id(n)))
    }

    async fn note(&self, n: u128, note: Note) {
        let noted = self.volumes.note_volume(id(n), &note);
        noted.await.unwrap();
    }

    async fn seen(&self, n: u128) -> Option<VolumeSeen> {
        let mut all = self.volumes.list().await.unwrap().volumes;
        all.remove(&id(n))
    }

    fn removal(&self, n: u128) -> Removal {
        Removal {
            pool: pool(),
            volume: id(n),
            epoch: epoch(6),
            owner: owner(),
        }
    }

    fn in_tmp(&self) -> usize {
        fs::read_dir(self.root().join("tmp")).unwrap().count()
    }
}

fn fill(path: &Path, at: u64, byte: u8) {
    let file = open_ours(path, true).unwrap();
    file.write_all_at(&vec![byte; MIB as usize], at).unwrap();
    file.sync_all().unwrap();
}

#[tokio::test]
async fn a_blank_volume_is_thin_whole_and_made_once() {
    let host = Host::new().await;
    let path = host.make(1, VolumeSource::Blank).await;
    fill(&path, 0, 7);
    host.make(1, VolumeSource::Blank).await;
    let seen = host.seen(1).await.unwrap();
    assert_eq!(seen.place, path.display().to_string());
    let VolumeBytes::Present { size, allocated } = seen.bytes else {
        panic!("{seen:?}");
    };
    assert_eq!(size, Bytes(8 * MIB));
    assert!((MIB..8 * MIB).contains(&allocated.0), "{allocated}");
    assert_eq!(fs::read(&path).unwrap()[0], 7, "it was made anew");
    assert_eq!(host.in_tmp(), 0);
}

#[tokio::test]
async fn a_clone_has_the_bytes_of_its_source_and_its_own_size() {
    let host = Host::new().await;
    let source = host.make(1, VolumeSource::Blank).await;
    fill(&source, 3 * MIB, 9);
    let clone = host.make(2, VolumeSource::Volume(id(1))).await;
    fill(&source, 3 * MIB, 1);
    let bytes = fs::read(clone).unwrap();
    assert_eq!(bytes.len() as u64, 8 * MIB);
    assert!(bytes[..3 << 20].iter().all(|&b| b == 0));
    assert!(bytes[3 << 20..4 << 20].iter().all(|&b| b == 9));
}

#[tokio::test]
async fn a_source_that_is_missing_or_too_large_leaves_nothing_behind() {
    let host = Host::new().await;
    host.make(1, VolumeSource::Blank).await;
    let missing = VolumeSource::Volume(id(9));
    let made = host.volumes.create_volume(id(2), Bytes(8 * MIB), &missing);
    assert!(matches!(
        made.await.unwrap_err(),
        DriverError::SourceMissing { .. }
    ));
    let large = VolumeSource::Volume(id(1));
    let made = host.volumes.create_volume(id(2), Bytes(MIB), &large);
    assert!(matches!(
        made.await.unwrap_err(),
        DriverError::SizeBelowSource { .. }
    ));
    assert_eq!(host.seen(2).await, None);
    assert_eq!(host.in_tmp(), 0);
}

#[tokio::test]
async fn a_volume_grows_and_never_shrinks() {
    let host = Host::new().await;
    let path = host.make(1, VolumeSource::Blank).await;
    for size in [20 * MIB, 4 * MIB] {
        let grown = host.volumes.grow_volume(id(1), Bytes(size));
        grown.await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 20 * MIB);
    }
}

#[tokio::test]
async fn what_is_kept_beside_a_volume_outlives_the_process_and_a_watermark_never_falls() {
    let host = Host::new().await;
    host.make(1, VolumeSource::Blank).await;
    host.note(1, Note::Watermark(Watermark::fenced(epoch(9))))
        .await;
    host.note(1, Note::Watermark(Watermark::open(epoch(8))))
        .await;
    let next = process(host.folder.path());
    assert_eq!(next.ensure_pool().await.fault, None);
    let record = next.read_record(id(1)).await.unwrap().unwrap();
    assert_eq!(record.grants, Some(Watermark::fenced(epoch(9))));
    assert_eq!(record.owner, owner());
    let unknown = Note::Watermark(Watermark::open(epoch(1)));
    let noted = next.note_volume(id(2), &unknown).await;
    assert!(matches!(noted, Err(DriverError::NoRecord { .. })));
}

#[tokio::test]
async fn retained_bytes_lie_where_the_note_says_with_their_owner() {
    let host = Host::new().await;
    let path = host.make(1, VolumeSource::Blank).await;
    fill(&path, MIB, 5);
    let removal = host.removal(1);
    for _ in 0..2 {
        host.volumes.retain_volume(&removal).await.unwrap();
        let seen = host.seen(1).await.unwrap();
        assert_eq!(seen.bytes, VolumeBytes::Absent);
        let note = seen.record.unwrap().gone.unwrap().note;
        let kept = note.strip_prefix("retained as ").unwrap().to_owned();
        assert_eq!(fs::read(&kept).unwrap()[1 << 20], 5);
        let beside = fs::read_to_string(format!("{kept}.json")).unwrap();
        assert!(beside.contains("so-nnmt"), "{beside}");
    }
}

#[tokio::test]
async fn erased_bytes_are_gone_logged_and_the_file_is_removed() {
    for method in [EraseMethod::Discard, EraseMethod::Zero, EraseMethod::Random] {
        let host = Host::new().await;
        let path = host.make(1, VolumeSource::Blank).await;
        fill(&path, MIB, 0xff);
        // A second name keeps the blocks in sight after the file's own name is gone.
        let witness = host.folder.path().join("witness");
        fs::hard_link(&path, &witness).unwrap();
        let removal = host.removal(1);
        for _ in 0..2 {
            host.volumes.erase_volume(&removal, method).await.unwrap();
        }
        assert!(fs::read(&witness).unwrap().iter().all(|&byte| byte == 0));
        let seen = host.seen(1).await.unwrap();
        assert_eq!(seen.bytes, VolumeBytes::Absent);
        assert!(seen.record.unwrap().gone.is_some());
        let log = fs::read_to_string(host.root().join("erased.jsonl")).unwrap();
        assert_eq!(log.lines().count(), 1, "{log}");
        let line: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
        assert_eq!(line["bytes"], MIB);
        assert_eq!(line["verified"], true);
        assert_eq!(line["owner"]["name"], "data");
    }
}

#[tokio::test]
async fn an_erasure_that_was_cut_off_is_seen_and_goes_on() {
    let host = Host::new().await;
    let path = host.make(1, VolumeSource::Blank).await;
    fill(&path, 0, 3);
    let erasing = host.root().join(format!("erasing/{}.raw", id(1)));
    fs::rename(&path, &erasing).unwrap();
    assert_eq!(host.seen(1).await.unwrap().bytes, VolumeBytes::Erasing);
    let removal = host.removal(1);
    let erased = host.volumes.erase_volume(&removal, EraseMethod::Discard);
    erased.await.unwrap();
    assert!(!erasing.exists());
    assert_eq!(host.seen(1).await.unwrap().bytes, VolumeBytes::Absent);
}

#[tokio::test]
async fn what_a_crash_left_is_swept_and_nothing_else() {
    let host = Host::new().await;
    let tmp = host.root().join("tmp");
    let left = tmp.join(format!("{}.volume.{}", Uuid::new_v4(), Uuid::new_v4()));
    let foreign = tmp.join("notes.txt");
    for path in [&left, &foreign] {
        fs::write(path, "x").unwrap();
    }
    let next = process(host.folder.path());
    assert_eq!(next.ensure_pool().await.fault, None);
    assert!(!left.exists());
    assert!(foreign.exists());
}

#[tokio::test]
async fn a_folder_that_lost_its_disk_is_not_a_pool() {
    let host = Host::new().await;
    host.make(1, VolumeSource::Blank).await;
    let away = host.folder.path().join("away");
    fs::rename(host.root(), &away).unwrap();
    fs::create_dir(host.root()).unwrap();
    let fault = host.fault().await;
    assert!(fault.contains("mounted"), "{fault}");
    assert_eq!(fs::read_dir(host.root()).unwrap().count(), 0);
    let note = Note::Made;
    assert!(host.volumes.note_volume(id(1), &note).await.is_err());
    // Another pool's disk in its place.
    let other = TempDir::new().unwrap();
    let other_process = process_of(other.path(), "p1");
    assert_eq!(other_process.ensure_pool().await.fault, None);
    fs::remove_dir(host.root()).unwrap();
    copy_marker(&other.path().join("p1"), &host.root());
    let fault = host.fault().await;
    assert!(fault.contains("another pool"), "{fault}");
    // The disk is back.
    fs::remove_dir_all(host.root()).unwrap();
    fs::rename(away, host.root()).unwrap();
    assert_eq!(host.volumes.ensure_pool().await.fault, None);
    assert!(host.seen(1).await.is_some());
}

#[tokio::test]
async fn a_disk_that_goes_and_comes_back_within_a_verb_is_the_one_that_was_worked_on() {
    let host = Host::new().await;
    let file = host.make(1, VolumeSource::Blank).await;
    let (root, away) = (host.root(), host.folder.path().join("away"));
    let names = (root.clone(), away.clone());
    let read = host.volumes.with(move |inner| {
        fs::rename(&names.0, &names.1).unwrap();
        fs::create_dir(&names.0).unwrap();
        // By the name nothing is found now.
        assert!(!file.exists());
        let done = super::files::list(&inner.folder);
        fs::remove_dir(&names.0).expect("something was made in its place");
        fs::rename(&names.1, &names.0).unwrap();
        done
    });
    let read = read.await.unwrap();
    let seen = &read[&id(1)];
    assert!(
        matches!(seen.bytes, VolumeBytes::Present { .. }),
        "{seen:?}"
    );
    assert!(seen.place.starts_with(root.to_str().unwrap()), "{seen:?}");
    // It does not come back: whatever was done, it is not told as done.
    let names = (root.clone(), away.clone());
    let gone = host.volumes.with(move |_| {
        fs::rename(&names.0, &names.1).unwrap();
        fs::create_dir(&names.0).unwrap();
        Ok(())
    });
    let fault = gone.await.unwrap_err().to_string();
    assert!(fault.contains("another folder"), "{fault}");
    assert!(fault.contains(root.to_str().unwrap()), "{fault}");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

fn process_of(folder: &Path, name: &str) -> FolderDriver {
    fs::create_dir(folder.join(name)).unwrap();
    process(folder)
}

fn copy_marker(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::copy(from.join("pool.json"), to.join("pool.json")).unwrap();
}

#[tokio::test]
async fn a_folder_with_other_things_in_it_does_not_become_a_pool() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("p1");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("thesis.odt"), "x").unwrap();
    let volumes = process(folder.path());
    let fault = volumes.ensure_pool().await.fault.unwrap();
    assert!(fault.contains("thesis.odt"), "{fault}");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_a_fault_of_its_volume_alone() {
    let host = Host::new().await;
    host.make(1, VolumeSource::Blank).await;
    host.make(2, VolumeSource::Blank).await;
    let record = host.root().join(format!("records/{}.json", id(1)));
    fs::write(&record, "{").unwrap();
    assert!(host.seen(1).await.unwrap().fault.is_some());
    assert_eq!(host.seen(2).await.unwrap().fault, None);
    fs::write(&record, r#"{"format":99}"#).unwrap();
    assert!(host.seen(1).await.unwrap().fault.is_some());
}
