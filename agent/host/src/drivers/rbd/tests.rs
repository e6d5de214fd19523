//! The driver over a cluster that remembers: what each call leaves when it is cut off anywhere,
//! and who is let in and cut off.

use std::path::PathBuf;

use dc_agent_core::storage::{GrantForm, Making, VolumeBytes};
use dc_types::plan::{Cephx, GrantAccess, Secret};
use dc_types::{ObjectRef, ObjectUid};
use uuid::Uuid;

use super::*;
use crate::knobs::{Knobs, Rule};
use crate::rbd::{ClientAddress, FakeCeph};

struct Site {
    knobs: Knobs,
    ceph: FakeCeph,
    state: tempfile::TempDir,
    driver: RbdDriver,
}

fn volume(n: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(n))
}

fn snapshot(n: u128) -> SnapshotId {
    SnapshotId(Uuid::from_u128(500 + n))
}

fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

fn owner(namespace: &str) -> ObjectRef {
    ObjectRef {
        namespace: namespace.into(),
        name: "data".into(),
        uid: ObjectUid(Uuid::from_u128(9)),
    }
}

fn driver(ceph: &FakeCeph, state: &std::path::Path) -> RbdDriver {
    let tools = CephTools {
        rbd: Arc::new(ceph.clone()),
        cluster: Arc::new(ceph.clone()),
        blocks: Arc::new(ceph.clone()),
    };
    RbdDriver::new(
        PoolName::new("p1").unwrap(),
        "rbd".into(),
        tools,
        Remembered::new(state),
        Arc::new(Fetcher::new(PathBuf::from("/nowhere"))),
        state.join("scratch"),
    )
}

impl Site {
    fn new() -> Self {
        let knobs = Knobs::new();
        let ceph = FakeCeph::new(knobs.clone());
        let state = tempfile::tempdir().unwrap();
        Self {
            driver: driver(&ceph, state.path()),
            knobs,
            ceph,
            state,
        }
    }

    /// Another process takes the agent's place.
    fn restart(&mut self) {
        self.knobs.revive();
        self.driver = driver(&self.ceph, self.state.path());
    }

    async fn own(&self, n: u128, namespace: &str) {
        let note = Note::Owner {
            owner: owner(namespace),
            epoch: epoch(5),
        };
        self.driver.note_volume(volume(n), &note).await.unwrap();
    }

    async fn make(&self, n: u128, source: &VolumeSource) {
        self.own(n, "so-nnmt").await;
        let made = self.driver.create_volume(volume(n), Bytes(8192), source);
        made.await.unwrap();
    }

    async fn write(&self, n: u128, at: u64, byte: u8) {
        let open = self.driver.open_volume(volume(n)).await.unwrap();
        open.write(at, vec![byte; 512]).await.unwrap();
        open.flush().await.unwrap();
    }

    async fn read(&self, n: u128, at: u64) -> u8 {
        let open = self.driver.open_volume(volume(n)).await.unwrap();
        open.read(Extent::new(at, 1)).await.unwrap()[0]
    }

    fn order(&self, n: u128, revision: u64) -> Expose {
        Expose {
            pool: PoolName::new("p1").unwrap(),
            volume: volume(n),
            epoch: epoch(revision),
            initiator: "h1".into(),
            access: GrantAccess::Rbd {
                cephx: Cephx {
                    user: Cephx::user_name(volume(n), epoch(revision)),
                    key: Secret("AQ==".into()),
                    namespace: names::HOME.to_owned(),
                },
            },
        }
    }

    async fn open_epoch(&self, n: u128, revision: u64) {
        let note = Note::Watermark(Watermark::open(epoch(revision)));
        self.driver.note_volume(volume(n), &note).await.unwrap();
    }

    fn removal(&self, n: u128) -> Removal {
        Removal {
            pool: PoolName::new("p1").unwrap(),
            volume: volume(n),
            epoch: epoch(8),
            owner: owner("so-nnmt"),
        }
    }
}

/// Does `work` on a fresh site, cut off before its first, second, third … call, and again in
/// another process; `see` looks at the end.
async fn cut_everywhere(
    prepare: impl AsyncFn(&Site),
    work: impl AsyncFn(&RbdDriver) -> Result<(), DriverError>,
    see: impl AsyncFn(&Site),
) {
    for calls in 0.. {
        let mut site = Site::new();
        site.driver.ensure_pool().await;
        prepare(&site).await;
        site.knobs.set("*", Rule::cut_off_after(calls));
        let cut = work(&site.driver).await;
        let was_cut = site.knobs.is_cut_off();
        assert_eq!(cut.is_err(), was_cut, "at call {calls}: {cut:?}");
        site.restart();
        for again in 0..2 {
            let done = work(&site.driver).await;
            assert!(done.is_ok(), "cut at {calls}, again {again}: {done:?}");
        }
        see(&site).await;
        if !was_cut {
            return;
        }
    }
}

#[tokio::test]
async fn a_volume_that_was_cut_off_anywhere_is_made_whole() {
    cut_everywhere(
        async |site| site.own(1, "so-nnmt").await,
        async |driver| {
            let source = VolumeSource::Blank;
            driver.create_volume(volume(1), Bytes(8192), &source).await
        },
        async |site| {
            let seen = site.driver.list().await.unwrap();
            let bytes = seen.volumes[&volume(1)].bytes;
            let expected = VolumeBytes::Present {
                size: Bytes(8192),
                allocated: Bytes(0),
            };
            assert_eq!(bytes, expected);
            assert_eq!(site.ceph.images(), [volume(1).to_string()]);
        },
    )
    .await;
}

#[tokio::test]
async fn a_clone_of_a_volume_is_one_moment_of_it_and_leaves_no_snapshot() {
    cut_everywhere(
        async |site| {
            site.make(1, &VolumeSource::Blank).await;
            site.write(1, 512, 7).await;
            site.own(2, "so-nnmt").await;
        },
        async |driver| {
            let source = VolumeSource::Volume(volume(1));
            driver.create_volume(volume(2), Bytes(8192), &source).await
        },
        async |site| {
            assert_eq!(site.read(2, 512).await, 7);
            let image = names::volume(volume(1));
            assert_eq!(site.ceph.list_snapshots(&image).await.unwrap(), []);
        },
    )
    .await;
}

#[tokio::test]
async fn an_erased_volume_is_gone_and_its_clones_keep_their_bytes() {
    for method in [EraseMethod::Discard, EraseMethod::Zero, EraseMethod::Random] {
        cut_everywhere(
            async |site| {
                site.make(1, &VolumeSource::Blank).await;
                site.write(1, 512, 7).await;
                site.make(2, &VolumeSource::Volume(volume(1))).await;
            },
            async |driver| {
                let order = Removal {
                    pool: PoolName::new("p1").unwrap(),
                    volume: volume(1),
                    epoch: epoch(8),
                    owner: owner("so-nnmt"),
                };
                driver.erase_volume(&order, method).await.map(drop)
            },
            async |site| {
                assert_eq!(site.read(2, 512).await, 7);
                let seen = site.driver.list().await.unwrap();
                let gone = &seen.volumes[&volume(1)];
                assert_eq!(gone.bytes, VolumeBytes::Absent);
                assert!(gone.record.as_ref().unwrap().gone.is_some());
                assert_eq!(seen.strays, []);
            },
        )
        .await;
    }
}

#[tokio::test]
async fn an_erasure_tells_what_it_erased() {
    let site = Site::new();
    site.make(1, &VolumeSource::Blank).await;
    site.write(1, 512, 7).await;
    site.write(1, 4096, 7).await;
    let order = site.removal(1);
    let erased = site.driver.erase_volume(&order, EraseMethod::Random).await;
    let erasure = erased.unwrap().unwrap();
    assert_eq!((erasure.extents, erasure.bytes), (2, Bytes(1024)));
    assert_eq!(erasure.verified, Bytes(1024));
}

#[tokio::test]
async fn a_volume_with_a_snapshot_is_not_erased() {
    let site = Site::new();
    site.make(1, &VolumeSource::Blank).await;
    let taken = site.driver.create_snapshot(volume(1), snapshot(1));
    taken.await.unwrap();
    let order = site.removal(1);
    let refused = site.driver.erase_volume(&order, EraseMethod::Zero).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, DriverError::InUse { .. }), "{refused:?}");
    let gone = site.driver.delete_snapshot(volume(1), snapshot(1));
    gone.await.unwrap();
    let erased = site.driver.erase_volume(&order, EraseMethod::Zero).await;
    erased.unwrap();
}

#[tokio::test]
async fn a_retained_volume_is_shown_as_nobodys() {
    cut_everywhere(
        async |site| site.make(1, &VolumeSource::Blank).await,
        async |driver| {
            let order = Removal {
                pool: PoolName::new("p1").unwrap(),
                volume: volume(1),
                epoch: epoch(8),
                owner: owner("so-nnmt"),
            };
            driver.retain_volume(&order).await
        },
        async |site| {
            let seen = site.driver.list().await.unwrap();
            let names: Vec<_> = seen.strays.iter().map(|stray| &stray.name).collect();
            assert_eq!(names, [&format!("retained-{}-1.8", volume(1))]);
        },
    )
    .await;
}

#[tokio::test]
async fn a_restored_volume_keeps_its_size() {
    let site = Site::new();
    site.make(1, &VolumeSource::Blank).await;
    site.write(1, 0, 1).await;
    let driver = &site.driver;
    driver
        .create_snapshot(volume(1), snapshot(1))
        .await
        .unwrap();
    driver.grow_volume(volume(1), Bytes(16384)).await.unwrap();
    site.write(1, 0, 2).await;
    site.write(1, 12288, 2).await;
    driver.restore_volume(volume(1), snapshot(1)).await.unwrap();
    assert_eq!(site.read(1, 0).await, 1);
    assert_eq!(site.read(1, 12288).await, 0, "beyond the snapshot");
}

#[tokio::test]
async fn another_departments_volume_is_copied_and_not_shared() {
    let site = Site::new();
    site.make(1, &VolumeSource::Blank).await;
    site.write(1, 512, 7).await;
    site.own(2, "so-khcn").await;
    let source = VolumeSource::Volume(volume(1));
    let made = site.driver.create_volume(volume(2), Bytes(8192), &source);
    made.await.unwrap();
    let image = names::volume(volume(2));
    let info = site.ceph.read_image(&image).await.unwrap().unwrap();
    assert_eq!(info.parent, None);
    assert_eq!(site.read(2, 512).await, 7);
}

#[tokio::test]
async fn a_grant_reaches_its_image_and_what_that_was_cloned_from() {
    let site = Site::new();
    site.make(1, &VolumeSource::Blank).await;
    site.make(2, &VolumeSource::Volume(volume(1))).await;
    site.open_epoch(2, 6).await;
    site.driver.grant(&site.order(2, 6)).await.unwrap();
    let users = site.ceph.users();
    let reach = rights::Reach::parse(&users[0].osd).unwrap();
    assert_eq!(reach.name, volume(2).to_string());
    assert_eq!(reach.parents.len(), 1);
    let seen = site.driver.list_grants().await.unwrap();
    assert!(matches!(seen[0].form, GrantForm::Whole(_)), "{seen:?}");
    let refused = site.driver.open_volume(volume(2)).await.err().unwrap();
    assert!(matches!(refused, DriverError::InUse { .. }), "{refused:?}");
}

#[tokio::test]
async fn an_epoch_that_is_not_open_is_not_granted() {
    let site = Site::new();
    site.make(1, &VolumeSource::Blank).await;
    site.open_epoch(1, 6).await;
    let fenced = Note::Watermark(Watermark::fenced(epoch(6)));
    site.driver.note_volume(volume(1), &fenced).await.unwrap();
    for revision in [5, 6, 7] {
        let refused = site.driver.grant(&site.order(1, revision)).await;
        let stale = matches!(refused, Err(DriverError::StaleEpoch { .. }));
        assert!(stale, "{revision}: {refused:?}");
    }
    assert_eq!(site.ceph.users(), []);
}

#[tokio::test]
async fn a_grant_for_another_namespace_or_user_is_refused() {
    let site = Site::new();
    site.make(1, &VolumeSource::Blank).await;
    site.open_epoch(1, 6).await;
    for (user, namespace) in [("admin", ""), ("", "so-khcn")] {
        let mut order = site.order(1, 6);
        if let GrantAccess::Rbd { cephx } = &mut order.access {
            cephx.namespace = namespace.into();
            if !user.is_empty() {
                cephx.user = user.into();
            }
        }
        let refused = site.driver.grant(&order).await.unwrap_err();
        assert!(matches!(refused, DriverError::Corrupt { .. }), "{refused}");
    }
    assert_eq!(site.ceph.users(), []);
}

#[tokio::test]
async fn a_fence_cut_off_anywhere_leaves_nobody_once_it_is_done() {
    cut_everywhere(
        async |site| {
            site.make(1, &VolumeSource::Blank).await;
            site.open_epoch(1, 6).await;
            site.driver.grant(&site.order(1, 6)).await.unwrap();
            let image = names::volume(volume(1));
            let user = fence::user_name(volume(1), epoch(6));
            site.ceph.connect(&user, "10.0.0.1:0/1", Some(&image));
            // Another one has shown its key and opened nothing yet.
            site.ceph.connect(&user, "10.0.0.1:0/2", None);
            site.ceph.connect("client.other", "10.0.0.1:0/3", None);
            // A backup that reads a snapshot of it.
            site.ceph.watch("client.agent", "10.0.0.9:0/4", &image);
        },
        async |driver| {
            let grant = GrantSeen {
                pool: PoolName::new("p1").unwrap(),
                volume: volume(1),
                epoch: epoch(6),
                handle: fence::user_name(volume(1), epoch(6)),
                form: GrantForm::Broken("as an old look saw it".into()),
                holders: Vec::new(),
            };
            let proof = driver.revoke(&grant).await?;
            assert_eq!(proof.epoch, epoch(6));
            assert!(!proof.deleted.is_empty());
            Ok(())
        },
        async |site| {
            assert_eq!(site.ceph.users(), []);
            let blocked = site.ceph.list_blocked().await.unwrap();
            let blocked: Vec<_> = blocked.iter().map(|address| &address.0).collect();
            assert_eq!(blocked, ["10.0.0.1:0/1", "10.0.0.1:0/2"]);
            let image = names::volume(volume(1));
            assert_eq!(site.ceph.list_locks(&image).await.unwrap(), []);
            let left = site.ceph.list_watchers(&image).await.unwrap();
            assert_eq!(left, [ClientAddress("10.0.0.9:0/4".into())]);
            assert_eq!(site.driver.list_grants().await.unwrap(), []);
        },
    )
    .await;
}

#[tokio::test]
async fn a_user_whose_rights_were_widened_is_not_whole() {
    let site = Site::new();
    site.make(1, &VolumeSource::Blank).await;
    site.open_epoch(1, 6).await;
    site.driver.grant(&site.order(1, 6)).await.unwrap();
    let mut user = site.ceph.users().remove(0);
    user.osd = "allow *".into();
    site.ceph.ensure_user(&user).await.unwrap();
    let seen = site.driver.list_grants().await.unwrap();
    assert!(matches!(seen[0].form, GrantForm::Broken(_)), "{seen:?}");
}

#[tokio::test]
async fn a_pool_that_was_made_anew_is_not_written_to() {
    let mut site = Site::new();
    site.make(1, &VolumeSource::Blank).await;
    site.ceph.forget();
    site.restart();
    let fault = site.driver.ensure_pool().await.fault.unwrap();
    assert!(fault.contains("has lost its id"), "{fault}");
    let note = Note::Made;
    let refused = site.driver.note_volume(volume(1), &note).await;
    let unusable = matches!(refused, Err(DriverError::PoolUnusable { .. }));
    assert!(unusable, "{refused:?}");
}

#[tokio::test]
async fn a_full_pool_is_said_before_anything_waits() {
    let site = Site::new();
    site.own(1, "so-nnmt").await;
    site.ceph.set_full(true);
    let source = VolumeSource::Blank;
    let made = site.driver.create_volume(volume(1), Bytes(8192), &source);
    let refused = made.await.unwrap_err();
    assert!(matches!(refused, DriverError::PoolFull { .. }), "{refused}");
}

#[tokio::test]
async fn a_source_that_is_not_there_is_named_and_one_that_is_larger_too() {
    let site = Site::new();
    site.make(1, &VolumeSource::Blank).await;
    site.own(2, "so-nnmt").await;
    let missing = VolumeSource::Volume(volume(7));
    let refused = site.driver.create_volume(volume(2), Bytes(8192), &missing);
    let refused = refused.await.unwrap_err();
    let named = matches!(refused, DriverError::SourceMissing { .. });
    assert!(named, "{refused}");
    let larger = VolumeSource::Volume(volume(1));
    let refused = site.driver.create_volume(volume(2), Bytes(512), &larger);
    let refused = refused.await.unwrap_err();
    let too_small = matches!(refused, DriverError::SizeBelowSource { .. });
    assert!(too_small, "{refused}");
}

#[tokio::test]
async fn what_changed_is_found_between_snapshots_and_from_nothing() {
    let site = Site::new();
    site.make(1, &VolumeSource::Blank).await;
    site.write(1, 0, 1).await;
    let driver = &site.driver;
    driver
        .create_snapshot(volume(1), snapshot(1))
        .await
        .unwrap();
    site.write(1, 1024, 1).await;
    driver
        .create_snapshot(volume(1), snapshot(2))
        .await
        .unwrap();
    let since = driver.changed_extents(volume(1), Some(snapshot(1)), snapshot(2));
    assert_eq!(since.await.unwrap(), [Extent::new(1024, 512)]);
    let all = driver.changed_extents(volume(1), None, snapshot(2));
    let expected = [Extent::new(0, 512), Extent::new(1024, 512)];
    assert_eq!(all.await.unwrap(), expected);
    let record = driver.read_record(volume(1)).await.unwrap().unwrap();
    assert_eq!(record.making, Making::Begun);
}
