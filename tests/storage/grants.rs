//! Who may open a volume, what it opens, and what survives the daemon.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use dc_host::targets::Targets;
use dc_lab::wait::{Look, until};
use dc_types::plan::{Disposition, ItemKind, VolumeSource};

use tokio::sync::Notify;

use crate::inside::{inside, run};
use crate::site::{DEADLINE, MIB, Site, initiator, key, pool, volume_path};

async fn granted(size: u64) -> Site {
    let mut site = Site::new().await;
    site.put_volume(1, size, VolumeSource::Blank);
    site.put_grant(1, 6);
    site.settle().await;
    site.expect_ready().await;
    site
}

#[test]
fn a_grant_opens_for_its_initiator_and_secret_alone() {
    inside(
        "grants::a_grant_opens_for_its_initiator_and_secret_alone",
        async || {
            let _site = granted(64 * MIB).await;
            let right = initiator(1, 6);
            right.act(&[
                "write -P 7 0 1M",
                "flush",
                "read -P 7 0 1M",
                "read -P 0 1M 1M",
            ]);
            let mut wrong_name = right.clone();
            wrong_name.name.push('x');
            let mut wrong_secret = right.clone();
            wrong_secret.secret.push('x');
            let mut no_secret = right.clone();
            no_secret.user = None;
            let mut other_user = right.clone();
            other_user.user = Some("dc".into());
            for (wrong, why) in [
                (wrong_name, "Target not found"),
                (wrong_secret, "Authentication failure"),
                (no_secret, "Authentication failure"),
                (other_user, "Authentication failure"),
            ] {
                let told = wrong.attempt(&["read 0 512"]).unwrap_err();
                assert!(told.contains(why), "{wrong:?}: {told}");
            }
        },
    );
}

#[test]
fn what_the_guest_discards_goes_back_to_the_pool() {
    inside(
        "grants::what_the_guest_discards_goes_back_to_the_pool",
        async || {
            let _site = granted(64 * MIB).await;
            let initiator = initiator(1, 6);
            initiator.act(&["write -P 7 0 16M", "flush"]);
            let allocated = || volume_path(1).metadata().unwrap().blocks() * 512;
            assert!(allocated() >= 16 * MIB);
            initiator.act(&[
                "discard 0 12M",
                "flush",
                "read -P 0 0 12M",
                "read -P 7 12M 4M",
            ]);
            assert!(allocated() <= 5 * MIB, "{}", allocated());
        },
    );
}

#[test]
fn a_killed_daemon_gets_the_same_target_back_under_a_writing_guest() {
    inside(
        "grants::a_killed_daemon_gets_the_same_target_back_under_a_writing_guest",
        async || {
            let mut site = granted(64 * MIB).await;
            let mut guest = initiator(1, 6).write_on("aio_write -q -P 5 32M 64k\naio_flush\n");
            written().await;
            let before = site.target(1).await.tid;
            site.kill_tgtd();
            assert!(
                site.stand(key(ItemKind::Grant, 1))
                    .await
                    .starts_with("GrantsUnknown"),
            );
            assert_eq!(site.plan().await, []);
            site.start_tgtd().await;
            site.settle().await;
            site.expect_ready().await;
            assert_ne!(site.target(1).await.tid, before, "the number is a new one");
            written().await;
            assert!(guest.is_alive(), "the guest's disk has failed");
        },
    );
}

#[test]
fn a_volume_grows_under_a_writing_guest_and_the_next_login_sees_it() {
    inside(
        "grants::a_volume_grows_under_a_writing_guest_and_the_next_login_sees_it",
        async || {
            let mut site = granted(64 * MIB).await;
            let initiator = initiator(1, 6);
            let length = || initiator.act(&["length"]);
            assert_eq!(length().trim(), "64 MiB");
            // Several are in flight at a time.
            let mut guest = initiator.write_on(concat!(
                "aio_write -q -P 5 0 64k\naio_write -q -P 5 1M 64k\naio_write -q -P 5 2M 64k\n",
                "aio_flush\n"
            ));
            logged_in(&site).await;
            let before = site.target(1).await.tid;
            site.put_volume(1, 96 * MIB, VolumeSource::Blank);
            site.settle().await;
            site.expect_ready().await;
            let after = site.target(1).await;
            assert_ne!(after.tid, before, "its target does not show its size");
            assert_eq!(length().trim(), "96 MiB");
            // It comes back by itself, and writes on.
            logged_in(&site).await;
            written().await;
            assert!(guest.is_alive(), "the guest's disk has failed");
            drop(guest);
            initiator.act(&["read -P 5 0 64k", "write -P 9 95M 1M", "read -P 9 95M 1M"]);
        },
    );
}

#[test]
fn an_agent_or_a_daemon_that_dies_while_a_volume_grows_is_followed_by_one_that_ends_it() {
    inside(
        "grants::an_agent_or_a_daemon_that_dies_while_a_volume_grows_is_followed_by_one_that_ends_it",
        async || {
            let mut site = granted(64 * MIB).await;
            let initiator = initiator(1, 6);
            let mut guest = initiator.write_on("aio_write -q -P 5 0 64k\naio_flush\n");
            for (cut, size) in [(1, 72), (2, 80), (3, 88)] {
                logged_in(&site).await;
                site.put_volume(1, size * MIB, VolumeSource::Blank);
                // Grown; its target taken away; that made anew.
                for _ in 0..cut {
                    site.first_step().await;
                }
                site.restart_agent().await;
                if cut == 1 {
                    site.kill_tgtd();
                    site.start_tgtd().await;
                }
                site.settle().await;
                site.expect_ready().await;
                let length = initiator.act(&["length"]);
                assert_eq!(length.trim(), format!("{size} MiB"), "cut after {cut}");
                logged_in(&site).await;
                written().await;
                assert!(guest.is_alive(), "the guest's disk has failed");
            }
        },
    );
}

async fn written() {
    let path = volume_path(1);
    let now = || path.metadata().unwrap().mtime_nsec();
    let before = now();
    let changed = until("the guest to write", DEADLINE, async || {
        match now() == before {
            false => Look::Holds(()),
            true => Look::NotYet("nothing was written".to_owned()),
        }
    });
    changed.await.unwrap();
}

async fn logged_in(site: &Site) {
    let logged_in = until("the guest to log in", DEADLINE, async || {
        let targets = site.targets.list_targets().await;
        let sessions = targets.iter().flatten().any(|of| !of.sessions.is_empty());
        match sessions {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{targets:?}")),
        }
    });
    logged_in.await.unwrap();
}

#[test]
fn two_hundred_grants_are_listed_and_none_has_anothers_file() {
    inside(
        "grants::two_hundred_grants_are_listed_and_none_has_anothers_file",
        async || {
            let mut site = Site::new().await;
            for n in 1..=200 {
                site.put_volume(n, MIB, VolumeSource::Blank);
                site.put_grant(n, 6);
            }
            site.settle().await;
            site.expect_ready().await;
            for n in [1, 77, 200] {
                let byte = format!("write -P {n} 0 4k");
                initiator(n, 6).act(&[&byte]);
            }
            for n in [1, 77, 200] {
                let byte = format!("read -P {n} 0 4k");
                initiator(n, 6).act(&[&byte]);
            }
            for n in 1..=200 {
                site.release(ItemKind::Grant, n, 6, Disposition::Remove);
            }
            site.settle().await;
            assert_eq!(site.status().await.released.len(), 200);
        },
    );
}

#[test]
fn a_secret_is_in_no_file_of_the_host() {
    inside("grants::a_secret_is_in_no_file_of_the_host", async || {
        let _site = granted(MIB).await;
        // The daemon knows it, and no tool is started that would be told it.
        initiator(1, 6).act(&["read 0 512"]);
        run(&["sh", "-c", "rm /mnt/secret-*"]);
        let found = run(&["sh", "-c", "grep -rl secret0000000 /mnt || true"]);
        assert_eq!(found, "");
    });
}

#[test]
fn the_end_and_the_beginning_of_the_daemon_are_noticed_at_once() {
    inside(
        "grants::the_end_and_the_beginning_of_the_daemon_are_noticed_at_once",
        async || {
            let mut site = granted(MIB).await;
            let driver = site.tools.drivers.of(&pool()).unwrap().clone();
            let changed = Arc::new(Notify::new());
            let told = Arc::clone(&changed);
            let following = tokio::spawn(async move { driver.follow(&told).await });
            let noticed = async |what: &str| {
                let noticed = tokio::time::timeout(DEADLINE, changed.notified()).await;
                noticed.unwrap_or_else(|_| panic!("nobody noticed {what}"));
            };
            noticed("that it runs").await;
            site.kill_tgtd();
            noticed("its end").await;
            site.start_tgtd().await;
            noticed("its beginning").await;
            site.settle().await;
            initiator(1, 6).act(&["read 0 512"]);
            following.abort();
        },
    );
}
