//! The verbs, each in turn with its floor.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dc_agent_core::storage::{EraseMethod, Expose, Extent, Note, Removal, Watermark, pieces};
use dc_host::drivers::ReadExtents;
use dc_types::plan::{GrantItem, VolumeSource};
use dc_types::{Bytes, Epoch, HostName, InstanceId, ObjectRef, ObjectUid, PoolName, SnapshotId};
use futures::stream::{StreamExt, TryStreamExt, iter};
use uuid::Uuid;

use super::{Filling, Floor, GIB, Outcome, Place};

const ROUNDS: usize = 5;
/// Bytes read or written at once, and how many of these at a time.
const PIECE: u64 = 1 << 20;
const STREAMS: usize = 8;

struct Bench<'a> {
    place: &'a dyn Place,
    label: String,
}

fn median(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64() * 1000.0
}

fn owner() -> ObjectRef {
    ObjectRef {
        namespace: "bench".into(),
        name: "bench".into(),
        uid: ObjectUid(Uuid::from_u128(1)),
    }
}

fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

pub async fn measure(place: &dyn Place, gib: u64, filling: Filling) -> Outcome<()> {
    let bench = Bench {
        place,
        label: format!("| {} | {gib} GiB | {} |", place.name(), filling.label()),
    };
    let size = Bytes(gib * GIB);
    let volume = bench.volume(size).await?;
    bench.fill(volume, &filling.extents()).await?;
    let first = bench.take(volume).await?;
    bench.create(size).await?;
    bench.clone(volume, size).await?;
    bench.snapshot(volume).await?;
    bench.fill(volume, &filling.changed()).await?;
    let next = bench.take(volume).await?;
    bench.changed(volume, first, next).await?;
    bench.read(volume, first).await?;
    for snapshot in [first, next] {
        place.driver().delete_snapshot(volume, snapshot).await?;
    }
    bench.erase(volume).await
}

impl Bench<'_> {
    async fn volume(&self, size: Bytes) -> Outcome<InstanceId> {
        let volume = InstanceId(Uuid::new_v4());
        self.own(volume).await?;
        let blank = VolumeSource::Blank;
        let driver = self.place.driver();
        driver.create_volume(volume, size, &blank).await?;
        Ok(volume)
    }

    async fn own(&self, volume: InstanceId) -> Outcome<()> {
        let note = Note::Owner {
            owner: owner(),
            epoch: epoch(1),
        };
        Ok(self.place.driver().note_volume(volume, &note).await?)
    }

    async fn erase(&self, volume: InstanceId) -> Outcome<()> {
        let order = Removal {
            pool: PoolName::new("p1")?,
            volume,
            epoch: epoch(9),
            owner: owner(),
        };
        let method = EraseMethod::Discard;
        self.place.driver().erase_volume(&order, method).await?;
        Ok(())
    }

    async fn fill(&self, volume: InstanceId, extents: &[Extent]) -> Outcome<()> {
        let open = self.place.driver().open_volume(volume).await?;
        let writes = iter(pieces(extents, PIECE)).map(|piece| {
            let length = usize::try_from(piece.length).expect("a piece is short");
            open.write(piece.start, vec![7; length])
        });
        let mut writes = writes.buffer_unordered(STREAMS);
        while writes.try_next().await?.is_some() {}
        drop(writes);
        Ok(open.flush().await?)
    }

    async fn take(&self, volume: InstanceId) -> Outcome<SnapshotId> {
        let snapshot = SnapshotId(Uuid::new_v4());
        let driver = self.place.driver();
        driver.create_snapshot(volume, snapshot).await?;
        Ok(snapshot)
    }

    fn tell(&self, verb: &str, ours: Vec<Duration>, floors: Vec<Floor>) {
        let (label, ours) = (&self.label, median(ours));
        match floors.first().copied() {
            Some((name, _)) => {
                let floor = median(floors.into_iter().map(|(_, took)| took).collect());
                let ratio = ours / floor;
                println!("{label} {verb} | {ours:.1} ms | {name} {floor:.1} ms | {ratio:.2} |");
            }
            None => println!("{label} {verb} | {ours:.1} ms | | |"),
        }
    }

    async fn create(&self, size: Bytes) -> Outcome<()> {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            // Whose it is, is written down before; that is not the making.
            let volume = InstanceId(Uuid::new_v4());
            self.own(volume).await?;
            let (driver, blank) = (self.place.driver(), VolumeSource::Blank);
            let began = Instant::now();
            driver.create_volume(volume, size, &blank).await?;
            ours.push(began.elapsed());
            floor.push(self.place.create(size)?);
            self.erase(volume).await?;
        }
        self.tell("create", ours, floor);
        Ok(())
    }

    async fn clone(&self, volume: InstanceId, size: Bytes) -> Outcome<()> {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let clone = InstanceId(Uuid::new_v4());
            self.own(clone).await?;
            let source = VolumeSource::Volume(volume);
            let driver = self.place.driver();
            let began = Instant::now();
            driver.create_volume(clone, size, &source).await?;
            ours.push(began.elapsed());
            floor.push(self.place.clone(volume)?);
            self.erase(clone).await?;
        }
        self.tell("clone", ours, floor);
        Ok(())
    }

    async fn snapshot(&self, volume: InstanceId) -> Outcome<()> {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let snapshot = self.take(volume).await?;
            ours.push(began.elapsed());
            floor.push(self.place.snapshot(volume)?);
            let driver = self.place.driver();
            driver.delete_snapshot(volume, snapshot).await?;
        }
        self.tell("snapshot", ours, floor);
        Ok(())
    }

    async fn changed(&self, volume: InstanceId, from: SnapshotId, to: SnapshotId) -> Outcome<()> {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let driver = self.place.driver();
            let began = Instant::now();
            let changed = driver.changed_extents(volume, Some(from), to).await?;
            ours.push(began.elapsed());
            if changed.is_empty() {
                return Err("nothing has changed".into());
            }
            floor.extend(self.place.changed(volume, from, to)?);
        }
        self.tell("changed_extents", ours, floor);
        Ok(())
    }

    async fn read(&self, volume: InstanceId, snapshot: SnapshotId) -> Outcome<()> {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let driver = self.place.driver();
            let began = Instant::now();
            let extents = driver.changed_extents(volume, None, snapshot).await?;
            let open = driver.open_snapshot(volume, snapshot).await?;
            read_all(&*open, &extents).await?;
            ours.push(began.elapsed());
            drop(open);
            floor.push(self.place.read(volume, snapshot)?);
        }
        self.tell("read all that is there", ours, floor);
        Ok(())
    }
}

async fn read_all(open: &dyn ReadExtents, extents: &[Extent]) -> Outcome<()> {
    let reads = iter(pieces(extents, PIECE)).map(|piece| open.read(piece));
    let mut reads = reads.buffer_unordered(STREAMS);
    while reads.try_next().await?.is_some() {}
    Ok(())
}

/// How long it takes until a holder that writes can write no more.
pub async fn fence(place: &dyn Place) -> Outcome<()> {
    let bench = Bench {
        place,
        label: format!("| {} | 1 GiB | a writer |", place.name()),
    };
    let mut took = Vec::new();
    for revision in 2..2 + ROUNDS as u64 {
        let volume = bench.volume(Bytes(GIB)).await?;
        let Some((access, arguments)) = place.holder(volume, epoch(revision)) else {
            return Ok(());
        };
        let order = Expose {
            pool: PoolName::new("p1")?,
            volume,
            epoch: epoch(revision),
            initiator: GrantItem::initiator_name(&HostName::new("h1")?, volume),
            access,
        };
        let driver = place.driver();
        let mark = Note::Watermark(Watermark::open(order.epoch));
        driver.note_volume(volume, &mark).await?;
        driver.grant(&order).await?;
        let mut writer = Command::new("qemu-io")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = writer.stdin.take().ok_or("its input is ours")?;
        // Ends with the program.
        std::thread::spawn(move || while lines.write_all(b"write -q -P 5 0 64k\n").is_ok() {});
        let grant = loop {
            let grants = driver.list_grants().await?;
            let mut held = grants.into_iter().filter(|grant| !grant.holders.is_empty());
            if let Some(grant) = held.find(|grant| grant.volume == volume) {
                break grant;
            }
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mark = Note::Watermark(Watermark::fenced(order.epoch));
        driver.note_volume(volume, &mark).await?;
        let began = Instant::now();
        driver.revoke(&grant).await?;
        took.push(began.elapsed());
        writer.kill()?;
        writer.wait()?;
        bench.erase(volume).await?;
    }
    bench.tell("fence", took, Vec::new());
    Ok(())
}
