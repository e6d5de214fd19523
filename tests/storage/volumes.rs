//! Files of volumes on XFS: shared blocks, cut-offs, a full pool, a pool that is gone.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use dc_agent::storage::apply;
use dc_types::plan::{Disposition, ItemKind, VolumeSource};

use crate::conformance::bytes::all_are;
use crate::images;
use crate::inside::{inside, run};
use crate::site::{MIB, Site, image, initiator, key, pool, volume, volume_path};

async fn used(site: &Site) -> u64 {
    // The facts are in steps; this is not.
    assert!(site.seen().await.pools[&pool()].facts.reflink);
    run(&["sync", "-f", "/mnt/pool"]);
    let kib = run(&["df", "--output=used", "-k", "/mnt/pool"]);
    kib.lines().last().unwrap().trim().parse::<u64>().unwrap() << 10
}

fn noise(length: u64) -> Vec<u8> {
    // Any bytes that do not repeat will do.
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = vec![0; length as usize];
    for word in bytes.chunks_exact_mut(8) {
        word.copy_from_slice(&next());
    }
    bytes
}

#[test]
fn clones_share_blocks_and_no_longer_follow_their_source() {
    inside(
        "volumes::clones_share_blocks_and_no_longer_follow_their_source",
        async || {
            let mut site = Site::new().await;
            site.put_volume(1, 64 * MIB, VolumeSource::Blank);
            site.settle().await;
            let source = File::options().write(true).open(volume_path(1)).unwrap();
            let bytes = noise(48 * MIB);
            source.write_all_at(&bytes, 0).unwrap();
            let before = used(&site).await;
            for n in 2..10 {
                site.put_volume(
                    n,
                    64 * MIB + n as u64 * MIB,
                    VolumeSource::Volume(volume(1)),
                );
            }
            site.settle().await;
            site.expect_ready().await;
            let grown = used(&site).await.saturating_sub(before);
            assert!(grown < 4 * MIB, "8 clones of 48 MiB take {grown} bytes");
            source.write_all_at(&[0; 4096], 0).unwrap();
            let clone = fs::read(volume_path(5)).unwrap();
            assert_eq!(clone.len() as u64, 69 * MIB);
            assert!(clone[..bytes.len()] == bytes, "the clone is another");
            assert!(all_are(&clone[bytes.len()..], 0));
        },
    );
}

#[test]
fn scattered_writes_make_few_extents() {
    inside("volumes::scattered_writes_make_few_extents", async || {
        let mut site = Site::new().await;
        let small = images::raw("small.raw", &noise(MIB));
        site.put_image(small.item(1));
        site.put_volume(1, 256 * MIB, VolumeSource::Image(image(1)));
        site.put_grant(1, 6);
        site.settle().await;
        let initiator = initiator(1, 6);
        // Every fourth block of 16 MiB, backwards: without the hint an extent each.
        let lines: Vec<String> = (0..1024)
            .rev()
            .map(|at| format!("aio_write -q {} 4k", 16 * MIB + at * 16384))
            .collect();
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        lines.push("aio_flush");
        initiator.act(&lines);
        run(&["sync", "-f", "/mnt/pool"]);
        let path = volume_path(1);
        // Without the hint there were 1009. `PATH: COUNT extents found`.
        let told = run(&["filefrag", path.to_str().unwrap()]);
        let count = told.rsplit(": ").next().unwrap().split(' ').next().unwrap();
        assert!(count.parse::<u32>().unwrap() <= 64, "{told}");
    });
}

#[test]
fn an_agent_that_dies_after_any_step_is_followed_by_one_that_goes_on() {
    inside(
        "volumes::an_agent_that_dies_after_any_step_is_followed_by_one_that_goes_on",
        async || {
            let mut site = Site::new().await;
            let disk = images::raw("base.raw", &noise(4 * MIB));
            for after in 0.. {
                let n = after + 1;
                let mut left = after;
                site.put_image(disk.item(n));
                site.put_volume(n, 8 * MIB, VolumeSource::Image(image(n)));
                site.put_grant(n, 6);
                cut_off(&mut site, &mut left).await;
                site.expect_ready().await;
                initiator(n, 6).act(&["write -P 3 6M 64k", "read -P 3 6M 64k"]);
                site.put_grant(n, 9);
                site.put_volume(n, 16 * MIB, VolumeSource::Image(image(n)));
                cut_off(&mut site, &mut left).await;
                site.expect_ready().await;
                initiator(n, 9).act(&["read -P 3 6M 64k", "read -P 0 12M 64k"]);
                site.release(ItemKind::Grant, n, 9, Disposition::Remove);
                site.release(ItemKind::Volume, n, 5, Disposition::EraseZero);
                site.release(ItemKind::Image, n, 2, Disposition::Remove);
                cut_off(&mut site, &mut left).await;
                assert_eq!(site.status().await.released.len(), 3);
                assert!(!volume_path(n).exists());
                let left_over = fs::read_dir("/mnt/pool/tmp").unwrap().count();
                assert_eq!(left_over, 0);
                site.items.clear();
                site.releases.clear();
                if left > 0 {
                    assert!(after > 12, "there were hardly any steps");
                    break;
                }
            }
        },
    );
}

/// Does `left` more steps, then lets another agent do the rest.
async fn cut_off(site: &mut Site, left: &mut u128) {
    loop {
        let steps = site.plan().await;
        if steps.is_empty() {
            return;
        }
        for step in steps {
            if *left == 0 {
                site.restart_agent().await;
                return site.settle().await;
            }
            *left -= 1;
            apply(&site.tools, &step).await.unwrap();
            if *left == 0 {
                site.restart_agent().await;
                return site.settle().await;
            }
        }
    }
}

#[test]
fn a_full_pool_is_told_and_goes_on_when_there_is_room() {
    inside(
        "volumes::a_full_pool_is_told_and_goes_on_when_there_is_room",
        async || {
            let mut site = Site::new().await;
            site.put_volume(1, 64 * MIB, VolumeSource::Blank);
            site.put_grant(1, 6);
            site.settle().await;
            let disk = images::raw("big.raw", &noise(64 * MIB));
            let free = run(&["df", "--output=avail", "-k", "/mnt/pool"]);
            let free: u64 = free.lines().last().unwrap().trim().parse().unwrap();
            let filler = format!("{}K", free - 20 * 1024);
            run(&["fallocate", "-l", &filler, "/mnt/pool/filler"]);
            site.put_image(disk.item(1));
            site.round().await;
            let told = site.stand(key(ItemKind::Image, 1)).await;
            assert!(told.starts_with("PoolFull: pool p1 is full"), "{told}");
            assert_eq!(fs::read_dir("/mnt/pool/tmp").unwrap().count(), 0);
            let guest = initiator(1, 6).attempt(&["write -P 1 0 40M"]);
            assert!(guest.is_err(), "there was room for the guest");
            fs::remove_file("/mnt/pool/filler").unwrap();
            site.settle().await;
            site.expect_ready().await;
            initiator(1, 6).act(&["write -P 1 0 40M", "read -P 1 0 40M"]);
        },
    );
}

#[test]
fn a_pool_whose_disk_is_gone_is_not_written_to() {
    inside(
        "volumes::a_pool_whose_disk_is_gone_is_not_written_to",
        async || {
            let mut site = Site::new().await;
            site.put_volume(1, 64 * MIB, VolumeSource::Blank);
            site.settle().await;
            run(&["umount", "-l", "/mnt/pool"]);
            site.put_volume(2, 64 * MIB, VolumeSource::Blank);
            site.release(ItemKind::Volume, 1, 5, Disposition::EraseZero);
            site.restart_agent().await;
            assert_eq!(site.plan().await, []);
            let told = site.stand(key(ItemKind::Volume, 2)).await;
            assert!(
                told.starts_with("PoolUnusable") && told.contains("mounted"),
                "{told}"
            );
            assert_eq!(site.released(key(ItemKind::Volume, 1)).await, None);
            assert_eq!(fs::read_dir("/mnt/pool").unwrap().count(), 0);
        },
    );
}
