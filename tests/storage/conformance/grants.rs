//! Grants: one holder for each volume and epoch, growth under it, and fences.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dc_agent_core::storage::{Admits, EraseMethod, GrantForm, GrantSeen, Note, Watermark};
use dc_host::drivers::DriverError;
use dc_lab::wait::{Look, until};
use dc_types::report::Verb;
use dc_types::{Bytes, InstanceId};

use super::bench::{Bench, MIB, SIZE, epoch, initiator};
use super::bytes::all_are;
use super::rig::Rig;
use crate::holder::{Holder, Writer};
use crate::site::DEADLINE;

impl<R: Rig> Bench<R> {
    async fn wait_for_holder(&self, volume: InstanceId) {
        let held = until("the holder to be seen", DEADLINE, async || {
            match self.grants(volume).await[0].holders.is_empty() {
                false => Look::Holds(()),
                true => Look::NotYet("nobody holds it".to_owned()),
            }
        });
        held.await.unwrap();
    }

    /// The handles of grants that do not show how large their volume is.
    async fn outgrown(&self, volume: InstanceId) -> BTreeSet<String> {
        let record = self.driver.read_record(volume).await.unwrap();
        record.map(|record| record.outgrown).unwrap_or_default()
    }

    /// Makes each of them anew, as the agent does.
    async fn renew(&self, volume: InstanceId) {
        let outgrown = self.outgrown(volume).await;
        for grant in self.grants(volume).await {
            if outgrown.contains(&grant.handle) {
                self.driver.revoke(&grant).await.unwrap();
                self.grant(volume, grant.epoch.revision).await.unwrap();
            }
        }
    }

    /// Until nobody holds a volume any more.
    pub async fn wait_until_free(&self, volume: InstanceId) {
        let free = until("the holder to be gone", DEADLINE, async || {
            let grants = self.grants(volume).await;
            match grants.iter().all(|grant| grant.holders.is_empty()) {
                true => Look::Holds(()),
                false => Look::NotYet(format!("{grants:?}")),
            }
        });
        free.await.unwrap();
    }
}

pub async fn a_grant_lets_its_holder_in_until_it_is_revoked<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    bench.grant(volume, 6).await.unwrap();
    bench.restart().await;
    let grants = bench.grants(volume).await;
    let [grant] = &grants[..] else {
        panic!("one grant: {grants:?}");
    };
    assert_eq!((grant.epoch, &grant.holders[..]), (epoch(6), &[][..]));
    let access = R::access(volume, epoch(6));
    let whole = GrantForm::Whole(Admits::of(&initiator(volume), &access));
    assert_eq!(grant.form, whole);
    let holder = R::holder(volume, epoch(6));
    if let Some(holder) = &holder {
        holder.act(&[
            "write -P 7 0 1M",
            "flush",
            "read -P 7 0 1M",
            "read -P 0 1M 1M",
        ]);
        let other = R::holder(volume, epoch(9)).unwrap();
        assert!(
            other.attempt(&["read 0 512"]).is_err(),
            "another epoch got in"
        );
    }
    bench.wait_until_free(volume).await;
    let note = Note::Watermark(Watermark::fenced(epoch(6)));
    bench.driver.note_volume(volume, &note).await.unwrap();
    for _ in 0..2 {
        let proof = bench.driver.revoke(grant).await.unwrap();
        assert_eq!(proof.epoch, epoch(6));
        assert_eq!(bench.grants(volume).await, []);
    }
    if let Some(holder) = &holder {
        assert!(
            holder.attempt(&["read 0 512"]).is_err(),
            "it got in after the fence"
        );
        assert_eq!(bench.read(volume).await[..MIB as usize], [7; MIB as usize]);
    }
}

pub async fn an_epoch_that_is_not_open_is_refused<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    let refused = async |bench: &Bench<R>, revision| {
        let granted = bench.driver.grant(&bench.order(volume, revision)).await;
        assert!(
            matches!(granted, Err(DriverError::StaleEpoch { .. })),
            "{granted:?}"
        );
        assert_eq!(bench.grants(volume).await, []);
    };
    refused(bench, 6).await;
    let note = Note::Watermark(Watermark::open(epoch(9)));
    bench.driver.note_volume(volume, &note).await.unwrap();
    refused(bench, 6).await;
    refused(bench, 10).await;
    bench.restart().await;
    let note = Note::Watermark(Watermark::fenced(epoch(9)));
    bench.driver.note_volume(volume, &note).await.unwrap();
    refused(bench, 9).await;
    bench.grant(volume, 10).await.unwrap();
    bench.fence(volume).await;
}

pub async fn whoever_is_fenced_writes_no_more<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    let Some(holder) = R::holder(volume, epoch(6)) else {
        return;
    };
    bench.grant(volume, 6).await.unwrap();
    let lines = (0..16).map(|at| format!("aio_write -q -P 5 {at}M 64k\n"));
    let lines: String = lines.chain(["aio_flush\n".to_owned()]).collect();
    let mut writer = holder.go_on(move || Some(lines.clone()));
    bench.wait_for_holder(volume).await;
    let note = Note::Watermark(Watermark::fenced(epoch(6)));
    bench.driver.note_volume(volume, &note).await.unwrap();
    let grant = bench.grants(volume).await.remove(0);
    if bench.lacks(Verb::Fence).await {
        // It cannot cut the holder off: it says so, and nobody else gets in.
        let slow = bench.driver.revoke(&grant).await;
        assert!(
            matches!(slow, Err(DriverError::FenceSlow { .. })),
            "{slow:?}"
        );
        assert!(writer.is_alive());
        assert!(
            holder.attempt(&["read 0 512"]).is_err(),
            "somebody else got in"
        );
        let written = bench.driver.open_volume(volume).await;
        assert!(matches!(written, Err(DriverError::InUse { .. })));
        drop(writer);
        bench.driver.revoke(&grant).await.unwrap();
        writer = R::holder(volume, epoch(6)).unwrap().go_on(|| None);
    } else {
        let proof = bench.driver.revoke(&grant).await.unwrap();
        println!("fenced in {} ms: {:?}", proof.took_ms, proof.deleted);
        assert!(!proof.deleted.is_empty());
    }
    // Whatever was in flight has landed: from here on every byte stays what it is.
    bench.write(volume, 0, &vec![9; SIZE as usize]).await;
    bench.grant(volume, 9).await.unwrap();
    let next = R::holder(volume, epoch(9)).unwrap();
    for _ in 0..20 {
        next.act(&[&format!("read -P 9 0 {SIZE}")]);
    }
    assert!(
        holder.attempt(&["read 0 512"]).is_err(),
        "the old epoch came back"
    );
    drop(writer);
    next.act(&[&format!("read -P 9 0 {SIZE}")]);
    bench.wait_until_free(volume).await;
    bench.fence(volume).await;
    let bytes = bench.read(volume).await;
    assert!(all_are(&bytes, 9), "a fenced writer's bytes landed");
}

pub async fn a_volume_that_is_held_is_not_changed_under_its_holder<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    bench.write(volume, 0, &[1; 4096]).await;
    let snapshot = match bench.lacks(Verb::Snapshot).await {
        true => None,
        false => Some(bench.snapshot(volume).await),
    };
    bench.grant(volume, 6).await.unwrap();
    let driver = bench.driver.clone();
    let told = |done: Result<(), DriverError>| {
        assert!(matches!(done, Err(DriverError::InUse { .. })), "{done:?}");
    };
    let order = bench.removal(volume);
    told(
        driver
            .erase_volume(&order, EraseMethod::Zero)
            .await
            .map(drop),
    );
    told(driver.retain_volume(&order).await);
    told(driver.open_volume(volume).await.map(drop));
    if bench.lacks(Verb::GrowOnline).await {
        told(driver.grow_volume(volume, Bytes(2 * SIZE)).await);
    }
    if let Some(snapshot) = snapshot {
        told(driver.restore_volume(volume, snapshot).await);
    }
    assert_eq!(bench.size(volume).await, Some(SIZE));
    bench.fence(volume).await;
    assert_eq!(bench.read(volume).await[0], 1);
    if let Some(snapshot) = snapshot {
        driver.restore_volume(volume, snapshot).await.unwrap();
        bench.drop_snapshot(volume, snapshot).await;
    }
}

pub async fn a_volume_grows_under_its_holder_who_loses_nothing<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    bench.grant(volume, 6).await.unwrap();
    if bench.lacks(Verb::GrowOnline).await {
        let done = bench.driver.grow_volume(volume, Bytes(2 * SIZE)).await;
        assert!(matches!(done, Err(DriverError::InUse { .. })), "{done:?}");
        return;
    }
    let end = format!("truncate {0}\nwrite -q -P 9 {SIZE} 1M\nflush\n", 2 * SIZE);
    let writer = R::holder(volume, epoch(6)).map(|holder| Steady::begin(&holder, end));
    if let Some(writer) = &writer {
        bench.wait_for_holder(volume).await;
        writer.goes_on().await;
    }
    for _ in 0..2 {
        bench
            .driver
            .grow_volume(volume, Bytes(2 * SIZE))
            .await
            .unwrap();
        bench.renew(volume).await;
        assert_eq!(bench.size(volume).await, Some(2 * SIZE));
        let grants = bench.grants(volume).await;
        assert_eq!((grants.len(), grants[0].epoch), (1, epoch(6)));
        let outgrown = bench.outgrown(volume).await;
        assert!(!outgrown.contains(&grants[0].handle), "{outgrown:?}");
    }
    // Another agent sees it as well, and has nothing to make anew.
    bench.restart().await;
    let before = bench.grants(volume).await;
    bench.renew(volume).await;
    let handles = |grants: &[GrantSeen]| -> Vec<String> {
        grants.iter().map(|grant| grant.handle.clone()).collect()
    };
    assert_eq!(handles(&bench.grants(volume).await), handles(&before));
    let Some(writer) = writer else { return };
    let wrote = writer.end().await;
    bench.wait_until_free(volume).await;
    bench.fence(volume).await;
    let bytes = bench.read(volume).await;
    see_steady(&bytes, wrote);
    let beyond = usize::try_from(SIZE).unwrap();
    assert_eq!(
        bytes[beyond..beyond + 4096],
        [9; 4096],
        "beyond the old end"
    );
    assert_eq!(bytes.len() as u64, 2 * SIZE);
}

const BLOCK: u64 = 4096;

/// Lines that may be told and not done: a pipe and a reader's buffer are full of them.
const AHEAD: u64 = 500;

fn pattern(line: u64) -> u8 {
    u8::try_from(line % 250 + 1).unwrap()
}

/// A holder that writes block after block, over and over.
struct Steady {
    writer: Writer,
    lines: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Steady {
    /// It does the lines of `end` last.
    fn begin(holder: &Holder, end: String) -> Self {
        let lines = Arc::new(AtomicU64::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let (count, over) = (Arc::clone(&lines), Arc::clone(&is_over));
        let mut end = Some(end);
        let writer = holder.go_on_and_end(move || {
            if over.load(Ordering::SeqCst) {
                return end.take();
            }
            let line = count.fetch_add(1, Ordering::SeqCst);
            let at = line % (SIZE / BLOCK) * BLOCK;
            Some(format!("write -q -P {} {at} {BLOCK}\n", pattern(line)))
        });
        Self {
            writer,
            lines,
            is_over,
        }
    }

    /// Waits until it has written something that it had not been told before.
    async fn goes_on(&self) {
        let enough = self.lines.load(Ordering::SeqCst) + AHEAD;
        let said = until("the holder to write", DEADLINE, async || {
            match self.lines.load(Ordering::SeqCst) {
                so_far if so_far > enough => Look::Holds(()),
                so_far => Look::NotYet(format!("{so_far} lines, not yet {enough}")),
            }
        });
        said.await.unwrap();
    }

    /// Has it do its last lines and end; how many blocks it wrote before.
    async fn end(mut self) -> u64 {
        self.goes_on().await;
        assert!(self.writer.is_alive(), "it has lost its disk");
        self.is_over.store(true, Ordering::SeqCst);
        let ended = until("the holder to end", DEADLINE, async || {
            match self.writer.is_alive() {
                false => Look::Holds(()),
                true => Look::NotYet("it writes".to_owned()),
            }
        });
        ended.await.unwrap();
        self.lines.load(Ordering::SeqCst)
    }
}

/// Each block is as the last of so many writes has left it.
fn see_steady(bytes: &[u8], wrote: u64) {
    let blocks = SIZE / BLOCK;
    for block in 0..blocks {
        let last = (0..wrote).rev().find(|line| line % blocks == block);
        let expected = last.map_or(0, pattern);
        let at = usize::try_from(block * BLOCK).unwrap();
        let found = &bytes[at..at + BLOCK as usize];
        assert!(
            all_are(found, expected),
            "block {block} of {wrote} writes is not {expected}"
        );
    }
}

pub async fn what_serves_a_volume_dies_under_its_holder_who_loses_nothing<R: Rig>(
    bench: &mut Bench<R>,
) {
    let volume = bench.blank().await;
    bench.grant(volume, 6).await.unwrap();
    let Some(holder) = R::holder(volume, epoch(6)) else {
        return;
    };
    let writer = Steady::begin(&holder, "flush\n".to_owned());
    bench.wait_for_holder(volume).await;
    for nth in 0.. {
        writer.goes_on().await;
        if !bench.rig.kill_server(nth).await {
            break;
        }
        // A daemon that forgets is told again, as by the agent: of the same epoch.
        if bench.grants(volume).await.is_empty() {
            bench.driver.grant(&bench.order(volume, 6)).await.unwrap();
        }
        writer.goes_on().await;
    }
    let wrote = writer.end().await;
    bench.wait_until_free(volume).await;
    bench.fence(volume).await;
    see_steady(&bench.read(volume).await, wrote);
}

pub async fn a_volume_that_is_written_to_is_granted_to_nobody<R: Rig>(bench: &mut Bench<R>) {
    let volume = bench.blank().await;
    let open = bench.driver.open_volume(volume).await.unwrap();
    let granted = bench.grant(volume, 6).await;
    assert!(
        matches!(granted, Err(DriverError::InUse { .. })),
        "{granted:?}"
    );
    let order = bench.removal(volume);
    let retained = bench.driver.retain_volume(&order).await;
    assert!(
        matches!(retained, Err(DriverError::InUse { .. })),
        "{retained:?}"
    );
    open.write(0, vec![4; 512]).await.unwrap();
    drop(open);
    bench.grant(volume, 6).await.unwrap();
    bench.fence(volume).await;
    assert_eq!(bench.read(volume).await[..512], [4; 512]);
}
