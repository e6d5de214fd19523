//! Whoever is fenced writes no more: not with what it has in flight, not with a login that it had
//! begun, not when it comes back.

use std::time::{Duration, Instant};

use dc_host::targets::{FENCE_LIMIT, Targets, TargetsError, fence};
use dc_lab::wait::{Look, until};
use dc_types::plan::{Disposition, ItemKind, VolumeSource};

use crate::conformance::bytes::all_are;
use crate::inside::{inside, run};
use crate::login::{Answer, HalfLogin};
use crate::site::{DEADLINE, MIB, Site, initiator, key, volume_path};

async fn granted() -> Site {
    let mut site = Site::new().await;
    site.put_volume(1, 64 * MIB, VolumeSource::Blank);
    site.put_grant(1, 6);
    site.settle().await;
    site.expect_ready().await;
    site
}

async fn wait_for_first_byte() {
    let written = until("the guest to write", DEADLINE, async || {
        let bytes = std::fs::read(volume_path(1)).unwrap();
        match bytes[0] {
            0 => Look::NotYet("nothing was written".to_owned()),
            _ => Look::Holds(()),
        }
    });
    written.await.unwrap();
}

#[test]
fn a_writing_guest_is_fenced_and_what_the_next_one_writes_stays() {
    inside(
        "fences::a_writing_guest_is_fenced_and_what_the_next_one_writes_stays",
        async || {
            let mut site = granted().await;
            let lines = concat!(
                "aio_write -q -P 5 0 64k\naio_write -q -P 5 1M 64k\naio_write -q -P 5 2M 64k\n",
                "aio_write -q -P 5 3M 64k\naio_flush\n"
            );
            let mut guest = initiator(1, 6).write_on(lines);
            wait_for_first_byte().await;
            site.put_grant(1, 9);
            let began = Instant::now();
            site.settle().await;
            println!("fenced and granted anew in {:?}", began.elapsed());
            site.expect_ready().await;
            let next = initiator(1, 9);
            next.act(&["write -P 9 0 4M", "flush"]);
            // The old one tries to come back all the while.
            for _ in 0..30 {
                next.act(&["read -P 9 0 4M"]);
            }
            assert!(guest.is_alive(), "QEMU waits for a fenced disk");
            let told = initiator(1, 6).attempt(&["read 0 512"]).unwrap_err();
            assert!(told.contains("Target not found"), "{told}");
            // An old plan comes back, to a new agent.
            site.restart_agent().await;
            site.put_grant(1, 6);
            site.settle().await;
            let told = site.stand(key(ItemKind::Grant, 1)).await;
            assert!(told.starts_with("StaleEpoch"), "{told}");
            assert!(initiator(1, 6).attempt(&["read 0 512"]).is_err());
            next.act(&["read -P 9 0 4M"]);
        },
    );
}

#[test]
fn a_released_epoch_stays_out_also_after_the_daemon_forgot() {
    inside(
        "fences::a_released_epoch_stays_out_also_after_the_daemon_forgot",
        async || {
            let mut site = granted().await;
            site.release(ItemKind::Grant, 1, 6, Disposition::Remove);
            site.settle().await;
            assert!(site.released(key(ItemKind::Grant, 1)).await.is_some());
            site.releases.clear();
            site.kill_tgtd();
            site.start_tgtd().await;
            site.restart_agent().await;
            site.settle().await;
            assert!(initiator(1, 6).attempt(&["read 0 512"]).is_err());
            site.put_grant(1, 7);
            site.settle().await;
            initiator(1, 7).act(&["read 0 512"]);
        },
    );
}

#[test]
fn a_login_that_had_begun_goes_nowhere_after_the_fence() {
    inside(
        "fences::a_login_that_had_begun_goes_nowhere_after_the_fence",
        async || {
            let mut site = granted().await;
            let old = initiator(1, 6);
            // Without a fence such a login comes to its end.
            let (control, answer) = HalfLogin::begin(&old);
            assert!(matches!(answer, Answer::Goes(_)), "{answer:?}");
            let answer = control.finish(&old);
            assert!(matches!(answer, Answer::Goes(_)), "{answer:?}");
            // It goes with its connection.
            let gone = until("the session to end", DEADLINE, async || {
                match site.target(1).await.sessions.is_empty() {
                    true => Look::Holds(()),
                    false => Look::NotYet("it is there".to_owned()),
                }
            });
            gone.await.unwrap();
            let (half, answer) = HalfLogin::begin(&old);
            assert!(matches!(answer, Answer::Goes(_)), "{answer:?}");
            let tid = site.target(1).await.tid;
            let listed = site.targets.list_connections(tid).await.unwrap();
            assert_eq!(listed, [], "the daemon does not show it");
            site.put_grant(1, 9);
            site.settle().await;
            site.expect_ready().await;
            let answer = half.finish(&old);
            assert!(!matches!(answer, Answer::Goes(_)), "{answer:?}");
            initiator(1, 9).act(&["read 0 512"]);
        },
    );
}

/// Thaws the pool whatever happens: a frozen file system outlives its namespace.
struct Frozen;

impl Frozen {
    fn pool() -> Self {
        run(&["fsfreeze", "-f", "/mnt/pool"]);
        Self
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        run(&["fsfreeze", "-u", "/mnt/pool"]);
    }
}

#[test]
fn a_fence_waits_for_a_write_in_flight_and_says_when_it_is_slow() {
    inside(
        "fences::a_fence_waits_for_a_write_in_flight_and_says_when_it_is_slow",
        async || {
            let site = granted().await;
            let target = site.target(1).await;
            let targets = &site.targets;
            let frozen = Frozen::pool();
            let guest = initiator(1, 6).write_on("write -q -P 5 0 64k\n");
            site.wait_until_tgtd_is_stuck().await;
            let limit = Duration::from_millis(300);
            let slow = fence(targets, target.tid, &target.name, limit).await;
            assert!(
                matches!(slow, Err(TargetsError::FenceSlow { .. })),
                "{slow:?}"
            );
            assert_eq!(
                site.target(1).await.acl,
                Vec::<String>::new(),
                "the door is shut meanwhile"
            );
            drop(frozen);
            let done = fence(targets, target.tid, &target.name, FENCE_LIMIT).await;
            done.unwrap();
            // What was in flight has landed before the fence was done, and nothing does after it.
            let landed = std::fs::read(volume_path(1)).unwrap();
            assert_eq!(landed[0], 5);
            std::fs::write(volume_path(1), vec![9; 1 << 20]).unwrap();
            // A daemon without any target closes the connection; with others it says "not found".
            assert!(initiator(1, 6).attempt(&["read 0 512"]).is_err());
            let bytes = std::fs::read(volume_path(1)).unwrap();
            assert!(all_are(&bytes, 9));
            drop(guest);
        },
    );
}
