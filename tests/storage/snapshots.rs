//! The reconciler's snapshots, clones of them and restores, under a guest.

use std::fs;

use dc_lab::wait::{Look, until};
use dc_types::plan::{Disposition, ItemBody, ItemKind, RestoreOrder, SnapshotItem, VolumeSource};
use dc_types::report::Detail;

use crate::inside::inside;
use crate::site::{DEADLINE, MIB, Site, initiator, key, pool, snapshot, volume, volume_path};

impl Site {
    /// Snapshot `n` of volume `of`.
    fn put_snapshot(&mut self, n: u128, of: u128, revision: u64) {
        let body = SnapshotItem {
            snapshot: snapshot(n),
            volume: volume(of),
            pool: pool(),
        };
        let body = ItemBody::Snapshot(body);
        self.put(ItemKind::Snapshot, snapshot(n).0, revision, body);
    }

    /// Asks for volume `n` to be brought back to snapshot `to`.
    fn restore(&mut self, n: u128, to: u128, order: &str) {
        let item = self.items.get_mut(&key(ItemKind::Volume, n)).unwrap();
        let ItemBody::Volume(body) = &mut item.body else {
            panic!("it is a volume");
        };
        body.restore = Some(RestoreOrder {
            snapshot: snapshot(to),
            order: order.to_owned(),
        });
    }
}

async fn granted() -> Site {
    let mut site = Site::new().await;
    site.put_volume(1, 64 * MIB, VolumeSource::Blank);
    site.put_grant(1, 6);
    site.settle().await;
    site.expect_ready().await;
    site
}

#[test]
fn a_guest_gets_back_what_it_had_when_its_volume_is_restored() {
    inside(
        "snapshots::a_guest_gets_back_what_it_had_when_its_volume_is_restored",
        async || {
            let mut site = granted().await;
            let guest = initiator(1, 6);
            guest.act(&["write -P 1 0 8M", "flush"]);
            let open = guest.write_on("aio_write -q -P 2 32M 64k\naio_flush\n");
            site.put_snapshot(1, 1, 7);
            site.settle().await;
            site.expect_ready().await;
            guest.act(&["write -P 3 0 8M", "flush"]);
            site.restore(1, 1, "first");
            let held = until("the guest to hold it", DEADLINE, async || {
                match site.target(1).await.sessions.is_empty() {
                    false => Look::Holds(()),
                    true => Look::NotYet("no session".to_owned()),
                }
            });
            held.await.unwrap();
            assert_eq!(site.plan().await, []);
            let told = site.stand(key(ItemKind::Volume, 1)).await;
            assert!(told.starts_with("RestoreWaits"), "{told}");
            drop(open);
            let free = until("the session to end", DEADLINE, async || {
                match site.target(1).await.sessions.is_empty() {
                    true => Look::Holds(()),
                    false => Look::NotYet("a session".to_owned()),
                }
            });
            free.await.unwrap();
            site.settle().await;
            site.expect_ready().await;
            // Under the same epoch: nothing was taken from the machine.
            guest.act(&["read -P 1 0 8M", "write -P 4 0 1M", "flush"]);
            // The order was carried out once, also for an agent that remembers nothing.
            site.restart_agent().await;
            site.settle().await;
            guest.act(&["read -P 4 0 1M", "read -P 1 1M 7M"]);
            let status = site.status().await;
            let of = |wanted| {
                status
                    .observations
                    .iter()
                    .find(|o| o.key == wanted)
                    .unwrap()
            };
            let Detail::Volume { restored, .. } = &of(key(ItemKind::Volume, 1)).detail else {
                panic!("it is a volume");
            };
            assert_eq!(restored.as_deref(), Some("first"));
        },
    );
}

#[test]
fn a_clone_of_a_snapshot_outlives_it_and_the_volume_goes_last() {
    inside(
        "snapshots::a_clone_of_a_snapshot_outlives_it_and_the_volume_goes_last",
        async || {
            let mut site = granted().await;
            initiator(1, 6).act(&["write -P 1 0 8M", "flush"]);
            site.put_snapshot(1, 1, 7);
            site.settle().await;
            initiator(1, 6).act(&["write -P 2 0 8M", "flush"]);
            let source = VolumeSource::Snapshot {
                volume: volume(1),
                snapshot: snapshot(1),
            };
            site.put_volume(2, 64 * MIB, source);
            site.put_grant(2, 8);
            site.settle().await;
            site.expect_ready().await;
            initiator(2, 8).act(&["read -P 1 0 8M"]);
            site.release(ItemKind::Grant, 1, 6, Disposition::Remove);
            site.release(ItemKind::Volume, 1, 5, Disposition::EraseRandom);
            site.settle().await;
            let fenced = site.released(key(ItemKind::Grant, 1)).await.unwrap();
            assert!(fenced.contains("epoch 1.6 was fenced"), "{fenced}");
            assert_eq!(site.released(key(ItemKind::Volume, 1)).await, None);
            assert!(volume_path(1).exists(), "it has a snapshot yet");
            site.release(ItemKind::Snapshot, 1, 7, Disposition::Remove);
            site.settle().await;
            assert!(site.released(key(ItemKind::Snapshot, 1)).await.is_some());
            let status = site.status().await;
            let mut released = status.released.into_iter();
            let gone = released
                .find(|r| r.key == key(ItemKind::Volume, 1))
                .unwrap();
            let erasure = gone.erasure.expect("what the erasure found is told");
            assert_eq!(erasure.method, Disposition::EraseRandom);
            assert_eq!(erasure.verified, erasure.bytes);
            assert!(erasure.bytes.0 >= 8 * MIB, "{erasure:?}");
            assert!(!volume_path(1).exists());
            let left = fs::read_dir("/mnt/pool/snapshots").unwrap().count();
            assert_eq!(left, 0);
            initiator(2, 8).act(&["read -P 1 0 8M"]);
        },
    );
}
