//! Whoever is fenced writes no more: not one that is writing, not one that is stopped and goes on
//! later, not one that is dead, not one that has shown its key and opened nothing yet.

use std::time::Instant;

use dc_agent_core::storage::{GrantSeen, Note, Watermark};
use dc_host::drivers::DriverError;
use dc_lab::wait::{Look, until};
use dc_types::plan::VolumeSource;
use nix::sys::signal::Signal;

use super::{Bench, Client};
use crate::lent::with_ceph;
use crate::site::{DEADLINE, epoch, volume};

impl Bench {
    /// Granted, and held by a client that has written.
    async fn held(&self, client: &mut super::Staying) -> GrantSeen {
        client.tell("write -f -q -P 5 0 1M");
        let held = until("the client to be seen", DEADLINE, async || {
            let grant = self.grants(1).await.remove(0);
            match grant.holders.is_empty() {
                false => Look::Holds(grant),
                true => Look::NotYet("nobody holds it".to_owned()),
            }
        });
        let grant = held.await.unwrap();
        self.wait_for_lock().await;
        grant
    }

    async fn wait_for_lock(&self) {
        let locked = until("the image to be locked", DEADLINE, async || {
            let image = format!("rbd/{}", volume(1));
            let mut ask = self.cluster.ceph.command("rbd");
            let said = ask.args(["lock", "ls", &image]).output().unwrap();
            match said.stdout.is_empty() {
                false => Look::Holds(()),
                true => Look::NotYet("it has no lock".to_owned()),
            }
        });
        locked.await.unwrap();
    }

    async fn fence(&self, grant: &GrantSeen) {
        let note = Note::Watermark(Watermark::fenced(grant.epoch));
        self.driver.note_volume(volume(1), &note).await.unwrap();
        let began = Instant::now();
        let proof = self.driver.revoke(grant).await.unwrap();
        println!("fenced in {:?}: {:?}", began.elapsed(), proof.deleted);
        assert_eq!(proof.epoch, grant.epoch);
    }
}

#[test]
fn a_writing_client_is_fenced_and_what_the_next_one_writes_stays() {
    with_ceph(
        "rbd::fences::a_writing_client_is_fenced_and_what_the_next_one_writes_stays",
        async || {
            let bench = Bench::new().await;
            bench.make(1, &VolumeSource::Blank).await;
            bench.grant(1, 6).await.unwrap();
            let mut old = Client::of(1, 6).stay();
            let grant = bench.held(&mut old).await;
            for at in 0..16 {
                old.tell(&format!("aio_write -q -P 5 {at}M 1M"));
            }
            bench.fence(&grant).await;
            bench.grant(1, 9).await.unwrap();
            let next = Client::of(1, 9);
            next.act(&["write -P 9 0 32M", "flush"]);
            for at in 0..16 {
                old.tell(&format!("aio_write -q -P 5 {at}M 1M"));
                next.act(&["read -P 9 0 32M"]);
            }
            // Nor does it come in again.
            assert!(Client::of(1, 6).attempt(&["read 0 512"]).is_err());
            let stale = bench.grant(1, 6).await;
            let refused = matches!(stale, Err(DriverError::StaleEpoch { .. }));
            assert!(refused, "{stale:?}");
            next.act(&["read -P 9 0 32M"]);
        },
    );
}

#[test]
fn a_client_that_was_stopped_finds_itself_shut_out_when_it_goes_on() {
    with_ceph(
        "rbd::fences::a_client_that_was_stopped_finds_itself_shut_out_when_it_goes_on",
        async || {
            let bench = Bench::new().await;
            bench.make(1, &VolumeSource::Blank).await;
            bench.grant(1, 6).await.unwrap();
            let mut old = Client::of(1, 6).stay();
            let grant = bench.held(&mut old).await;
            old.signal(Signal::SIGSTOP);
            // Written when it goes on.
            for at in 0..16 {
                old.tell(&format!("write -q -P 5 {at}M 1M"));
            }
            bench.fence(&grant).await;
            bench.grant(1, 9).await.unwrap();
            let next = Client::of(1, 9);
            next.act(&["write -P 9 0 32M", "flush"]);
            old.signal(Signal::SIGCONT);
            for _ in 0..16 {
                next.act(&["read -P 9 0 32M"]);
            }
            drop(old);
            next.act(&["read -P 9 0 32M"]);
        },
    );
}

#[test]
fn the_lock_of_a_dead_client_is_in_nobodys_way_after_the_fence() {
    with_ceph(
        "rbd::fences::the_lock_of_a_dead_client_is_in_nobodys_way_after_the_fence",
        async || {
            let bench = Bench::new().await;
            bench.make(1, &VolumeSource::Blank).await;
            bench.grant(1, 6).await.unwrap();
            let mut old = Client::of(1, 6).stay();
            let grant = bench.held(&mut old).await;
            old.kill();
            bench.wait_for_lock().await;
            bench.fence(&grant).await;
            // Twice, as after a lost answer.
            bench.fence(&grant).await;
            bench.grant(1, 9).await.unwrap();
            Client::of(1, 9).act(&["write -P 9 0 1M", "flush", "read -P 9 0 1M"]);
        },
    );
}

#[test]
fn a_guest_that_is_started_again_takes_over_the_lock_of_its_dead_self() {
    with_ceph(
        "rbd::fences::a_guest_that_is_started_again_takes_over_the_lock_of_its_dead_self",
        async || {
            let bench = Bench::new().await;
            bench.make(1, &VolumeSource::Blank).await;
            bench.grant(1, 6).await.unwrap();
            let mut old = Client::of(1, 6).stay();
            bench.held(&mut old).await;
            old.kill();
            // The same grant: nobody was fenced. It waits until the cluster takes the dead one for
            // dead.
            Client::of(1, 6).act(&["write -P 6 0 1M", "flush", "read -P 6 0 1M"]);
        },
    );
}

#[test]
fn a_client_that_has_only_shown_its_key_is_shut_out_too() {
    with_ceph(
        "rbd::fences::a_client_that_has_only_shown_its_key_is_shut_out_too",
        async || {
            let bench = Bench::new().await;
            bench.make(1, &VolumeSource::Blank).await;
            bench.grant(1, 6).await.unwrap();
            // It reads, so that it watches the image and locks nothing.
            let mut old = Client::of(1, 6).stay();
            old.tell("read 0 512");
            let held = until("the client to be seen", DEADLINE, async || {
                let grant = bench.grants(1).await.remove(0);
                match grant.holders.len() {
                    1 => Look::Holds(grant),
                    other => Look::NotYet(format!("{other} hold it")),
                }
            });
            let grant = held.await.unwrap();
            old.signal(Signal::SIGSTOP);
            bench.fence(&grant).await;
            bench.grant(1, 9).await.unwrap();
            let next = Client::of(1, 9);
            next.act(&["write -P 9 0 1M", "flush"]);
            old.tell("write -q -P 5 0 1M");
            old.signal(Signal::SIGCONT);
            for _ in 0..8 {
                next.act(&["read -P 9 0 1M"]);
            }
            assert_eq!(bench.grants(1).await[0].epoch, epoch(9));
        },
    );
}
