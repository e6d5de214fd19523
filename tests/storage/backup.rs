//! Backups of real volumes: the driver says what changed, the archiver reads that alone, and what is
//! restored is the snapshot, byte for byte.

use std::path::Path;
use std::sync::Arc;

use dc_agent_core::storage::Extent;
use dc_backup::archive::{Archived, Job, Limits, Outcome, Volume, archive};
use dc_backup::blocks::{self, BLOCK};
use dc_backup::manifest::Origin;
use dc_backup::store::LocalStore;
use dc_backup::target::Writing;
use dc_backup::{Access, BackupError, Control, Password, Repository, SnapshotId as Backup};
use dc_host::backup::{Snapshot, VolumeTarget, open_snapshot};
use dc_host::drivers::Driver;
use dc_types::plan::VolumeSource;
use dc_types::{Bytes, InstanceId, SnapshotId};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::conformance::bytes::all_are;
use crate::inside::inside;
use crate::site::{MIB, POOL_FOLDER, PoolConfig, XFS, attach, host_with, mount_pool, pool, volume};

fn repository() -> Repository {
    let store = Arc::new(LocalStore::new("/mnt/repository"));
    Repository::ensure(store, &Password::new("mật khẩu")).unwrap()
}

/// Archives a snapshot on a thread that may block, as an agent would.
async fn back_up(
    run: &str,
    volume: InstanceId,
    id: SnapshotId,
    snapshot: Snapshot,
    parent: Option<Backup>,
) -> Archived {
    let run = run.to_owned();
    let archived = spawn_blocking(move || {
        let job = Job {
            machine: "db-1".to_owned(),
            run,
            tags: Vec::new(),
            time: "2026-11-26T01:00:00+07:00".parse().unwrap(),
            description: serde_json::json!({ "name": "db-1" }),
            volumes: vec![Volume {
                file: "root.raw".to_owned(),
                origin: Origin {
                    volume: volume.to_string(),
                    snapshot: id.to_string(),
                },
                source: &snapshot.source,
                since: snapshot.since,
                allocated: snapshot.allocated,
            }],
            parent,
        };
        archive(&repository(), &job, Limits::default(), &Control::default())
    });
    match archived.await.unwrap().unwrap() {
        Outcome::Done(archived) => archived,
        Outcome::DoneBefore(backup) => panic!("done before, as {backup}"),
    }
}

async fn write(driver: &dyn Driver, volume: InstanceId, writes: &[(u64, usize)]) {
    let opened = driver.open_volume(volume).await.unwrap();
    for (start, length) in writes {
        // Different at each place, and no zeros.
        let bytes = (*start..).take(*length).map(|at| (at % 251) as u8 | 1);
        opened.write(*start, bytes.collect()).await.unwrap();
    }
    opened.flush().await.unwrap();
}

async fn restore(driver: &dyn Driver, backup: Backup, to: InstanceId) -> Result<u64, BackupError> {
    let target = VolumeTarget::open(driver, to).await.unwrap();
    let restored = spawn_blocking(move || {
        repository().restore_volume(
            Access::Locked,
            backup,
            "root.raw",
            &target,
            Writing::with(3),
            &Control::default(),
        )
    });
    restored.await.unwrap()
}

/// The bytes of a volume's file, once nobody has it open.
fn file(volume: InstanceId) -> Vec<u8> {
    std::fs::read(format!("{POOL_FOLDER}/volumes/{volume}.raw")).unwrap()
}

fn snapshot_file(volume: InstanceId, id: SnapshotId) -> Vec<u8> {
    std::fs::read(format!("{POOL_FOLDER}/snapshots/{volume}/{id}.raw")).unwrap()
}

#[test]
fn a_snapshot_of_a_real_volume_is_archived_by_what_changed_and_restored() {
    let name = "backup::a_snapshot_of_a_real_volume_is_archived_by_what_changed_and_restored";
    inside(name, || async {
        let _disk = mount_pool(XFS);
        let folder = POOL_FOLDER.into();
        let tools = attach(&Arc::new(host_with(PoolConfig::Directory { folder }))).await;
        let driver = tools.drivers.of(&pool()).unwrap().clone();
        driver.ensure_pool().await;
        let (origin, copy, small) = (volume(1), volume(2), volume(3));
        let blank = VolumeSource::Blank;
        let (first, second) = (
            SnapshotId(Uuid::from_u128(11)),
            SnapshotId(Uuid::from_u128(12)),
        );
        driver
            .create_volume(origin, Bytes(90 * MIB + 4096), &blank)
            .await
            .unwrap();

        // In full: the holes are known, and not read.
        write(&*driver, origin, &[(0, 5 << 20), (50 << 20, 8192)]).await;
        driver.create_snapshot(origin, first).await.unwrap();
        let opened = open_snapshot(&*driver, origin, None, first).await.unwrap();
        let full = back_up("run-1", origin, first, opened, None).await;
        let counts = &full.volumes[0];
        assert_eq!(
            (counts.blocks_read, counts.blocks_zero),
            (3, 20),
            "{counts:?}"
        );

        // It grows, and is written to in two places, one of them new.
        driver.grow_volume(origin, Bytes(120 * MIB)).await.unwrap();
        write(&*driver, origin, &[(MIB, 4096), (110 << 20, 4096)]).await;
        driver.create_snapshot(origin, second).await.unwrap();
        let changed = driver
            .changed_extents(origin, Some(first), second)
            .await
            .unwrap();
        let size = 120 * MIB;
        let mut touched: Vec<u64> = changed
            .iter()
            .flat_map(|extent: &Extent| blocks::touched(*extent, size))
            .collect();
        // The block that was the last one ends elsewhere now.
        touched.push(22);
        touched.sort_unstable();
        touched.dedup();
        let opened = open_snapshot(&*driver, origin, Some(first), second)
            .await
            .unwrap();
        let next = back_up("run-2", origin, second, opened, Some(full.backup)).await;
        let counts = &next.volumes[0];
        assert_eq!(counts.full, None);
        assert_eq!(
            counts.bytes_read,
            touched.len() as u64 * BLOCK,
            "{changed:?}"
        );
        assert!(touched.len() <= 4, "{touched:?}");

        // Onto a volume that held something else and is larger; the rest of it reads as zero.
        driver
            .create_volume(copy, Bytes(130 * MIB), &blank)
            .await
            .unwrap();
        write(&*driver, copy, &[(20 << 20, 1 << 20), (125 << 20, 1 << 20)]).await;
        for (backup, id) in [
            (full.backup, first),
            (next.backup, second),
            (next.backup, second),
        ] {
            restore(&*driver, backup, copy).await.unwrap();
            let (restored, taken) = (file(copy), snapshot_file(origin, id));
            assert!(restored[..taken.len()] == taken[..], "{id}");
            assert!(all_are(&restored[taken.len()..], 0), "{id}");
        }
        driver
            .create_volume(small, Bytes(MIB), &blank)
            .await
            .unwrap();
        let refused = restore(&*driver, next.backup, small).await.unwrap_err();
        assert!(
            matches!(refused, BackupError::Impossible { .. }),
            "{refused}"
        );

        // The base is gone: in full, without writing anything again.
        driver.delete_snapshot(origin, first).await.unwrap();
        let third = SnapshotId(Uuid::from_u128(13));
        driver.create_snapshot(origin, third).await.unwrap();
        let opened = open_snapshot(&*driver, origin, Some(first), third)
            .await
            .unwrap();
        assert!(opened.since.is_none());
        let full = back_up("run-3", origin, third, opened, Some(next.backup)).await;
        let counts = &full.volumes[0];
        assert!(
            counts.full.is_some() && counts.blocks_new == 0,
            "{counts:?}"
        );
        assert!(
            !Path::new("/mnt/repository/locks")
                .read_dir()
                .unwrap()
                .any(|_| true)
        );
    });
}
