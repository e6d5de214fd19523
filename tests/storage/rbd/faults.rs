//! Parts of the cluster die, fill or go away under a writing client.

use std::time::Duration;

use dc_host::drivers::DriverError;
use dc_lab::ceph::{Daemon, POOL};
use dc_lab::wait::{Look, until};
use dc_types::plan::VolumeSource;
use dc_types::{Bytes, SnapshotId};
use uuid::Uuid;

use super::{Bench, Client};
use crate::lent::with_ceph;
use crate::site::{MIB, volume};

/// What a pool that has just become full is asked waits a minute before it gives up.
const FULL_DEADLINE: Duration = Duration::from_secs(600);

/// Every write that was acknowledged is there, whatever died meanwhile.
async fn writes_go_on_when_it_dies(daemon: Daemon) {
    let bench = Bench::new().await;
    bench.make(1, &VolumeSource::Blank).await;
    bench.grant(1, 6).await.unwrap();
    let client = Client::of(1, 6);
    client.act(&["write -P 1 0 1M", "flush"]);
    let writer = std::thread::spawn(move || {
        let lines: Vec<String> = (0..32)
            .flat_map(|at| [format!("write -P {} {at}M 1M", at + 1), "flush".to_owned()])
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        client.act(&lines);
    });
    bench.cluster.kill(daemon).await;
    writer.join().unwrap();
    let client = Client::of(1, 6);
    let lines: Vec<String> = (0..32)
        .map(|at| format!("read -P {} {at}M 1M", at + 1))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    client.act(&lines);
    assert_eq!(bench.driver.ensure_pool().await.fault, None);
}

#[test]
fn a_client_goes_on_writing_when_the_osd_was_killed_and_is_back() {
    with_ceph(
        "rbd::faults::a_client_goes_on_writing_when_the_osd_was_killed_and_is_back",
        async || writes_go_on_when_it_dies(Daemon::Osd).await,
    );
}

#[test]
fn a_client_goes_on_writing_when_the_monitor_was_killed_and_is_back() {
    with_ceph(
        "rbd::faults::a_client_goes_on_writing_when_the_monitor_was_killed_and_is_back",
        async || writes_go_on_when_it_dies(Daemon::Monitor).await,
    );
}

#[test]
fn a_full_pool_is_told_and_a_writer_waits_until_there_is_room() {
    with_ceph(
        "rbd::faults::a_full_pool_is_told_and_a_writer_waits_until_there_is_room",
        async || {
            let bench = Bench::new().await;
            bench.make(1, &VolumeSource::Blank).await;
            bench.grant(1, 6).await.unwrap();
            Client::of(1, 6).act(&["write -P 3 0 8M", "flush"]);
            let quota = |bytes: u64| {
                let bytes = bytes.to_string();
                bench
                    .cluster
                    .ask(&["osd", "pool", "set-quota", POOL, "max_bytes", &bytes]);
            };
            bench.make(2, &VolumeSource::Blank).await;
            quota(MIB);
            let full = until("the pool to be full", FULL_DEADLINE, async || {
                let snapshot = SnapshotId(Uuid::new_v4());
                match bench.driver.create_snapshot(volume(2), snapshot).await {
                    Err(DriverError::PoolFull { .. }) => Look::Holds(()),
                    other => Look::NotYet(format!("{other:?}")),
                }
            });
            full.await.unwrap();
            // Looking still works, and the pool is not faulty.
            assert_eq!(bench.driver.ensure_pool().await.fault, None);
            let mut waiting = Client::of(1, 6).begin(&["write -q -P 4 8M 8M", "flush"]);
            assert!(waiting.child.try_wait().unwrap().is_none());
            quota(0);
            let gone_on = until("the writer to go on", FULL_DEADLINE, async || match waiting
                .child
                .try_wait()
                .unwrap()
            {
                Some(ended) => Look::Holds(ended),
                None => Look::NotYet("it waits".to_owned()),
            });
            let ended = gone_on.await.unwrap();
            assert!(ended.success(), "the writer {ended}");
            Client::of(1, 6).act(&["read -P 3 0 8M", "read -P 4 8M 8M"]);
        },
    );
}

#[test]
fn a_pool_that_is_gone_is_told_and_nothing_is_made_in_its_place() {
    with_ceph(
        "rbd::faults::a_pool_that_is_gone_is_told_and_nothing_is_made_in_its_place",
        async || {
            let bench = Bench::new().await;
            bench.make(1, &VolumeSource::Blank).await;
            bench.cluster.ask(&["osd", "pool", "rename", POOL, "away"]);
            let driver = crate::cluster::attach();
            let fault = driver.ensure_pool().await.fault.unwrap();
            assert!(fault.contains("No such file"), "{fault}");
            let made = driver.create_volume(volume(2), Bytes(MIB), &VolumeSource::Blank);
            let refused = made.await;
            let unusable = matches!(refused, Err(DriverError::PoolUnusable { .. }));
            assert!(unusable, "{refused:?}");
            // Another pool of that name is not it.
            bench
                .cluster
                .ask(&["osd", "pool", "create", POOL, "8", "8"]);
            let driver = crate::cluster::attach();
            let fault = driver.ensure_pool().await.fault.unwrap();
            assert!(fault.contains("has lost its id"), "{fault}");
            bench.cluster.ask(&["osd", "pool", "rename", POOL, "other"]);
            bench.cluster.ask(&["osd", "pool", "rename", "away", POOL]);
            assert_eq!(driver.ensure_pool().await.fault, None);
            assert_eq!(bench.read(1).await.len(), super::SIZE as usize);
        },
    );
}
