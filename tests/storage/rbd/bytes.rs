//! Bytes: what changed between snapshots, whatever was written, discarded, restored or grown, and
//! who holds the image meanwhile.

use dc_agent_core::storage::{EraseMethod, Extent, Removal};
use dc_types::plan::VolumeSource;
use dc_types::{Bytes, ObjectRef, ObjectUid, SnapshotId};
use uuid::Uuid;

use super::{Bench, Client, SIZE};
use crate::conformance::bytes::all_are;
use crate::lent::with_ceph;
use crate::site::{MIB, epoch, pool, volume};

const BLOCK: usize = 4096;

/// SplitMix64, from a seed that is told.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }

    /// Whole sectors somewhere below `size`.
    fn extent(&mut self, size: u64) -> Extent {
        let start = self.below(size / 512);
        let most = (size / 512 - start).min(4096);
        Extent::new(start * 512, (1 + self.below(most)) * 512)
    }
}

impl Bench {
    async fn read_snapshot(&self, snapshot: SnapshotId) -> Vec<u8> {
        let open = self
            .driver
            .open_snapshot(volume(1), snapshot)
            .await
            .unwrap();
        open.read(Extent::new(0, open.size().0)).await.unwrap()
    }

    /// No byte that differs is missing, and nothing lies beyond the end.
    async fn see_changes(&self, from: Option<SnapshotId>, to: SnapshotId) {
        let extents = self.driver.changed_extents(volume(1), from, to);
        let extents = extents.await.unwrap();
        let newer = self.read_snapshot(to).await;
        let older = match from {
            Some(from) => self.read_snapshot(from).await,
            None => Vec::new(),
        };
        let mut told = vec![false; newer.len()];
        for extent in &extents {
            assert!(
                extent.end() <= newer.len() as u64,
                "{extent:?} past the end"
            );
            told[extent.start as usize..extent.end() as usize].fill(true);
        }
        let mut older = older;
        older.resize(newer.len(), 0);
        // Most blocks are the same, and compared as a whole.
        let blocks = (0..newer.len()).step_by(BLOCK);
        for at in blocks.map(|start| start..(start + BLOCK).min(newer.len())) {
            if newer[at.clone()] == older[at.clone()] {
                continue;
            }
            for at in at {
                let (was, byte) = (older[at], newer[at]);
                assert!(
                    byte == was || told[at],
                    "byte {at} changed from {was} to {byte}"
                );
            }
        }
    }
}

#[test]
fn no_changed_byte_is_missed_whatever_was_written() {
    with_ceph(
        "rbd::bytes::no_changed_byte_is_missed_whatever_was_written",
        async || {
            let bench = Bench::new().await;
            let seed = u64::from(std::process::id()) ^ Uuid::new_v4().as_u64_pair().0;
            println!("seed {seed}");
            let mut random = Random(seed);
            bench.make(2, &VolumeSource::Blank).await;
            let open = bench.driver.open_volume(volume(2)).await.unwrap();
            open.write(5 * MIB, vec![3; MIB as usize]).await.unwrap();
            open.flush().await.unwrap();
            drop(open);
            // A clone: what it has from its source is its own too.
            bench.make(1, &VolumeSource::Volume(volume(2))).await;
            let mut taken: Vec<SnapshotId> = Vec::new();
            let mut size = SIZE;
            for round in 0..6 {
                let open = bench.driver.open_volume(volume(1)).await.unwrap();
                for _ in 0..24 {
                    let extent = random.extent(size);
                    match random.below(3) {
                        0 => open.discard(extent).await.unwrap(),
                        byte => {
                            let bytes = vec![(round * 3 + byte) as u8; extent.length as usize];
                            open.write(extent.start, bytes).await.unwrap();
                        }
                    }
                }
                open.flush().await.unwrap();
                drop(open);
                let snapshot = bench.snapshot(1, 100 + u128::from(round)).await;
                bench.see_changes(None, snapshot).await;
                for earlier in &taken {
                    bench.see_changes(Some(*earlier), snapshot).await;
                }
                taken.push(snapshot);
                match round {
                    2 => {
                        size += 8 * MIB;
                        let grown = bench.driver.grow_volume(volume(1), Bytes(size));
                        grown.await.unwrap();
                    }
                    3 => {
                        // Taken before it had grown.
                        let restored = bench.driver.restore_volume(volume(1), taken[1]);
                        restored.await.unwrap();
                        let now = bench.read(1).await;
                        assert_eq!(now.len() as u64, size, "it keeps its size");
                        let then = bench.read_snapshot(taken[1]).await;
                        assert!(now[..then.len()] == then, "it is not what it was");
                        assert!(all_are(&now[then.len()..], 0));
                    }
                    _ => {}
                }
            }
        },
    );
}

#[test]
fn a_snapshot_is_taken_while_a_client_with_few_rights_holds_the_image() {
    with_ceph(
        "rbd::bytes::a_snapshot_is_taken_while_a_client_with_few_rights_holds_the_image",
        async || {
            let bench = Bench::new().await;
            bench.make(1, &VolumeSource::Blank).await;
            bench.grant(1, 6).await.unwrap();
            Client::of(1, 6).act(&["write -P 1 0 4M", "flush"]);
            let mut client = Client::of(1, 6).stay();
            client.tell("write -f -q -P 2 4M 4M");
            let snapshot = bench.snapshot(1, 100).await;
            for at in 0..8 {
                client.tell(&format!("write -q -P 3 {at}M 1M"));
            }
            client.tell("flush");
            let next = bench.snapshot(1, 101).await;
            let was = bench.read_snapshot(snapshot).await;
            assert!(all_are(&was[..4 * MIB as usize], 1));
            bench.see_changes(Some(snapshot), next).await;
            for taken in [snapshot, next] {
                let gone = bench.driver.delete_snapshot(volume(1), taken);
                gone.await.unwrap();
            }
        },
    );
}

#[test]
fn an_erased_volume_is_read_back_and_what_was_cloned_from_it_stays() {
    with_ceph(
        "rbd::bytes::an_erased_volume_is_read_back_and_what_was_cloned_from_it_stays",
        async || {
            let bench = Bench::new().await;
            for (n, method) in [
                (1, EraseMethod::Discard),
                (3, EraseMethod::Zero),
                (5, EraseMethod::Random),
            ] {
                bench.make(n, &VolumeSource::Blank).await;
                let open = bench.driver.open_volume(volume(n)).await.unwrap();
                open.write(3 * MIB, vec![7; MIB as usize]).await.unwrap();
                open.flush().await.unwrap();
                drop(open);
                bench.make(n + 1, &VolumeSource::Volume(volume(n))).await;
                let order = Removal {
                    pool: pool(),
                    volume: volume(n),
                    epoch: epoch(8),
                    owner: ObjectRef {
                        namespace: "so-nnmt".into(),
                        name: "data".into(),
                        uid: ObjectUid(Uuid::from_u128(n)),
                    },
                };
                let erased = bench.driver.erase_volume(&order, method).await.unwrap();
                let erasure = erased.unwrap();
                assert!(erasure.bytes >= Bytes(MIB), "{erasure:?}");
                assert_eq!(erasure.verified, erasure.bytes);
                let clone = bench.read(n + 1).await;
                assert!(all_are(&clone[3 * MIB as usize..4 * MIB as usize], 7));
                let again = bench.driver.erase_volume(&order, method).await.unwrap();
                assert_eq!(again, None, "there is nothing left");
            }
            let strays = bench.driver.list().await.unwrap().strays;
            assert_eq!(strays, []);
        },
    );
}
