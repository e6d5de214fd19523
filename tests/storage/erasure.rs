//! What is left of a volume's bytes: looked for on the disk under the pool.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use dc_types::plan::{Disposition, ItemKind, VolumeSource};

use crate::inside::{inside, run};
use crate::site::{MIB, Site, initiator, key, volume, volume_path};

const MARK: &[u8] = b"the land register of Son La, parcel 4711";

/// How often the mark stands on the disk.
fn marks(site: &Site) -> usize {
    run(&["sync", "-f", "/mnt/pool"]);
    let disk = format!("/proc/{}/fd/{}", std::process::id(), site.disk.as_raw_fd());
    let mark = str::from_utf8(MARK).unwrap();
    let found = run(&["sh", "-c", &format!("grep -aoF '{mark}' {disk} || true")]);
    found.lines().count()
}

async fn marked() -> Site {
    let mut site = Site::new().await;
    site.put_volume(1, 32 * MIB, VolumeSource::Blank);
    site.settle().await;
    let file = File::options().write(true).open(volume_path(1)).unwrap();
    for at in [0, 5 * MIB, 31 * MIB] {
        file.write_all_at(MARK, at).unwrap();
    }
    file.sync_all().unwrap();
    assert_eq!(marks(&site), 3);
    site
}

#[test]
fn after_an_erasure_by_zeros_no_byte_is_on_the_disk() {
    inside(
        "erasure::after_an_erasure_by_zeros_no_byte_is_on_the_disk",
        async || {
            let mut site = marked().await;
            site.release(ItemKind::Volume, 1, 5, Disposition::EraseZero);
            site.settle().await;
            assert_eq!(marks(&site), 0);
            assert!(!volume_path(1).exists());
            let told = site.released(key(ItemKind::Volume, 1)).await.unwrap();
            assert!(told.contains("read back as zero"), "{told}");
            let log = fs::read_to_string("/mnt/pool/erased.jsonl").unwrap();
            let line: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
            assert_eq!(line["method"], "zero");
            assert_eq!(line["volume"], volume(1).to_string());
            assert_eq!(line["owner"]["namespace"], "so-nnmt");
            assert_eq!(line["epoch"]["revision"], 5);
        },
    );
}

#[test]
fn after_an_erasure_by_discard_every_block_is_given_back() {
    inside(
        "erasure::after_an_erasure_by_discard_every_block_is_given_back",
        async || {
            let mut site = marked().await;
            let holds = || {
                run(&["sync", "-f", "/mnt/pool"]);
                let kib = run(&["df", "--output=used", "-k", "/mnt/pool"]);
                kib.lines().last().unwrap().trim().parse::<u64>().unwrap()
            };
            let before = holds();
            site.release(ItemKind::Volume, 1, 5, Disposition::EraseDiscard);
            site.settle().await;
            assert!(site.released(key(ItemKind::Volume, 1)).await.is_some());
            // Three marks, each in an extent of 1 MiB.
            assert!(
                holds() + 2 * 1024 < before,
                "{before} KiB before, {} after",
                holds()
            );
        },
    );
}

#[test]
fn the_erasure_of_a_source_leaves_its_clone_whole() {
    inside(
        "erasure::the_erasure_of_a_source_leaves_its_clone_whole",
        async || {
            let mut site = marked().await;
            site.put_volume(2, 32 * MIB, VolumeSource::Volume(volume(1)));
            site.settle().await;
            let before = fs::read(volume_path(2)).unwrap();
            site.release(ItemKind::Volume, 1, 5, Disposition::EraseZero);
            site.settle().await;
            assert!(fs::read(volume_path(2)).unwrap() == before);
            assert_eq!(marks(&site), 3, "they are the clone's");
            site.release(ItemKind::Volume, 2, 5, Disposition::EraseZero);
            site.settle().await;
            assert_eq!(marks(&site), 0);
        },
    );
}

#[test]
fn retained_bytes_are_all_there_where_the_release_says() {
    inside(
        "erasure::retained_bytes_are_all_there_where_the_release_says",
        async || {
            let mut site = marked().await;
            let before = fs::read(volume_path(1)).unwrap();
            site.release(ItemKind::Volume, 1, 5, Disposition::Retain);
            site.settle().await;
            assert!(!volume_path(1).exists());
            let told = site.released(key(ItemKind::Volume, 1)).await.unwrap();
            let kept = told.strip_prefix("retained as ").unwrap();
            assert!(fs::read(kept).unwrap() == before);
            // It is told again by an agent that remembers nothing, and the claim is over.
            site.restart_agent().await;
            assert_eq!(site.released(key(ItemKind::Volume, 1)).await.unwrap(), told);
            site.releases.clear();
            site.settle().await;
            let told = site.stand(key(ItemKind::Volume, 1)).await;
            assert!(told.starts_with("VolumeGone"), "{told}");
        },
    );
}

#[test]
fn a_clone_that_was_written_to_is_erased_too() {
    inside(
        "erasure::a_clone_that_was_written_to_is_erased_too",
        async || {
            let mut site = Site::new().await;
            site.put_volume(1, 16 * MIB, VolumeSource::Blank);
            site.settle().await;
            let file = File::options().write(true).open(volume_path(1)).unwrap();
            file.write_all_at(&vec![1; 16 << 20], 0).unwrap();
            for (n, disposition) in [(2, Disposition::EraseDiscard), (3, Disposition::EraseZero)] {
                site.put_volume(n, 16 * MIB, VolumeSource::Volume(volume(1)));
                site.put_grant(n, 6);
                site.settle().await;
                // The file system keeps room beside each block that is no longer shared.
                let lines: Vec<String> = (0..64)
                    .map(|at| format!("write -q {}k 4k", at * 200))
                    .collect();
                initiator(n, 6).act(&lines.iter().map(String::as_str).collect::<Vec<_>>());
                site.release(ItemKind::Grant, n, 6, Disposition::Remove);
                site.release(ItemKind::Volume, n, 5, disposition);
                site.settle().await;
                let told = site.released(key(ItemKind::Volume, n)).await;
                assert!(told.is_some(), "{n}");
            }
        },
    );
}
