//! A guest whose disk is an image of a real Ceph, from the image it is cloned from to its fence.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dc_agent_core::storage::{Expose, Note, Watermark};
use dc_host::drivers::{Driver, RbdDriver, Remembered};
use dc_host::images::Fetcher;
use dc_host::rbd::RbdPlace;
use dc_lab::apt::{self, Packages};
use dc_lab::cache::Cache;
use dc_lab::ceph::{AGENT_USER, Ceph, CephSpec, Daemon, POOL};
use dc_lab::images::{DiskFormat, GuestImage};
use dc_lab::progress::run;
use dc_lab::wait::{self, Look};
use dc_types::plan::{
    Cephx, DiskItem, DiskSource, Formatted, GrantAccess, ImageFormat, ImageItem, ImageSource,
    LUKS_HEADER, RbdCluster, Secret, VolumeSource,
};
use dc_types::report::{Guest, PoolPlace};
use dc_types::{Bytes, Epoch, ImageUid, InstanceId, ObjectRef, ObjectUid, PoolName};
use uuid::Uuid;

use crate::carrier::Carrier;
use crate::vm::carrier;
use crate::vm::growth::{GROWN, WRITER};
use crate::vm::luks::{KEY as VOLUME_KEY, contains, luks};
use crate::vm::moves::Desk;
use crate::vm::order::Order;
use crate::vm::plugs::{TELLER, has, is_as_asked};

const DEADLINE: Duration = Duration::from_secs(600);
const SIZE: u64 = 512 << 20;
/// Where the guest writes without end: behind all that it boots from.
const TAIL: u64 = 480 << 20;

/// A key of Ceph's, the same for each user of this test.
const KEY: &str = "AQBAAAAAAAAAABAAMDEyMzQ1Njc4OWFiY2RlZg==";

fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

fn owner() -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: "web-1-system".into(),
        uid: ObjectUid(Uuid::from_u128(7)),
    }
}

/// A pool of the cluster, and the volume of the order's disk. Whoever speaks to the cluster does so
/// from inside the machine.
struct Bench {
    driver: RbdDriver,
    pool: PoolName,
    volume: InstanceId,
    cluster: RbdCluster,
    ceph: Ceph,
}

impl Bench {
    /// A volume that is made from an image a guest boots from.
    async fn new(ceph: Ceph, state: PathBuf, volume: InstanceId) -> Result<Self> {
        let image = GuestImage::Tiny.ensure(&Cache::from_env()?)?;
        let bench = Self::open(ceph, state, volume).await?;
        let name = image.path.file_name().context("it has a name")?;
        bench
            .make(Path::new(name), &image.sha256, image.format)
            .await?;
        Ok(bench)
    }

    /// A blank one.
    async fn blank(ceph: Ceph, state: PathBuf, volume: InstanceId, size: Bytes) -> Result<Self> {
        let bench = Self::open(ceph, state, volume).await?;
        bench.make_from(&VolumeSource::Blank, size).await?;
        Ok(bench)
    }

    async fn open(ceph: Ceph, state: PathBuf, volume: InstanceId) -> Result<Self> {
        let place = RbdPlace {
            conf: ceph.configuration(),
            user: AGENT_USER.to_owned(),
            pool: POOL.to_owned(),
        };
        let image = GuestImage::Tiny.ensure(&Cache::from_env()?)?;
        let images = image.path.parent().context("it lies in a folder")?;
        let fetcher = Arc::new(Fetcher::new(images.to_owned()));
        let pool = PoolName::new("ceph-1")?;
        let remembered = Remembered::new(&state);
        let driver = RbdDriver::of_cluster(pool.clone(), &place, &state, remembered, fetcher);
        let facts = driver.ensure_pool().await;
        ensure!(facts.fault.is_none(), "{facts:?}");
        let PoolPlace::Rbd(cluster) = facts.place else {
            anyhow::bail!("{:?}", facts.place);
        };
        Ok(Self {
            driver,
            pool,
            volume,
            cluster,
            ceph,
        })
    }

    async fn make(&self, file: &Path, sha256: &str, format: DiskFormat) -> Result<()> {
        let image = ImageUid(Uuid::from_u128(3));
        let item = ImageItem {
            image,
            pool: self.pool.clone(),
            source: ImageSource::File(file.display().to_string()),
            sha256: sha256.to_owned(),
            format: match format {
                DiskFormat::Raw => ImageFormat::Raw,
                DiskFormat::Qcow2 => ImageFormat::Qcow2,
            },
            max_download: Bytes(1 << 30),
            max_virtual: Bytes(SIZE),
        };
        self.driver.fetch_image(&item, epoch(2)).await?;
        self.make_from(&VolumeSource::Image(image), Bytes(SIZE))
            .await
    }

    async fn make_from(&self, source: &VolumeSource, size: Bytes) -> Result<()> {
        let note = Note::Owner {
            owner: owner(),
            epoch: epoch(5),
        };
        self.driver.note_volume(self.volume, &note).await?;
        self.driver.create_volume(self.volume, size, source).await?;
        self.driver.note_volume(self.volume, &Note::Made).await?;
        Ok(())
    }

    fn cephx(&self, revision: u64) -> Cephx {
        Cephx {
            user: Cephx::user_name(self.volume, epoch(revision)),
            key: Secret(KEY.to_owned()),
            namespace: String::new(),
        }
    }

    async fn grant(&self, revision: u64) -> Result<()> {
        let note = Note::Watermark(Watermark::open(epoch(revision)));
        self.driver.note_volume(self.volume, &note).await?;
        let order = Expose {
            pool: self.pool.clone(),
            volume: self.volume,
            epoch: epoch(revision),
            initiator: "h1".into(),
            access: GrantAccess::Rbd {
                cephx: self.cephx(revision),
            },
        };
        Ok(self.driver.grant(&order).await?)
    }

    async fn fence(&self, revision: u64) -> Result<()> {
        let note = Note::Watermark(Watermark::fenced(epoch(revision)));
        self.driver.note_volume(self.volume, &note).await?;
        let grants = self.driver.list_grants().await?;
        let grant = grants.first().context("there is a grant")?;
        ensure!(!grant.holders.is_empty(), "the guest is seen: {grant:?}");
        let proof = self.driver.revoke(grant).await?;
        println!("fenced in {} ms: {:?}", proof.took_ms, proof.deleted);
        Ok(())
    }

    /// The next holder, with a key of its own.
    fn write_as(&self, revision: u64, commands: &[&str]) -> Result<String> {
        let user = self.cephx(revision).user;
        let keyring = self
            .ceph
            .configuration()
            .with_file_name(format!("client.{user}.keyring"));
        std::fs::write(&keyring, format!("[client.{user}]\n\tkey = {KEY}\n"))?;
        let image = format!(
            "rbd:{POOL}/{}:id={user}:conf={}",
            self.volume,
            self.ceph.configuration().display()
        );
        let mut command = self.ceph.command("qemu-io");
        command.args(["-f", "raw"]);
        for line in commands {
            command.args(["-c", line]);
        }
        let said = run(command.arg(image))?;
        ensure!(!said.contains("verification failed"), "{said}");
        Ok(said)
    }
}

/// Works with the pool from inside the machine.
async fn inside<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
    carrier: &Carrier,
    bench: &Arc<Bench>,
    work: impl FnOnce(Arc<Bench>) -> F,
) -> Result<T> {
    carrier.inside(work(bench.clone())).await
}

#[tokio::test]
async fn a_guest_boots_from_ceph_and_once_fenced_writes_no_more() -> Result<()> {
    apt::ensure(Packages::AllWithCeph)?;
    let carrier = Carrier::new("ceph").await?;
    let mut order = Order::new(&carrier);
    carrier.run(&order.network_script())?;
    let ceph = Ceph::ensure(&carrier.machine, &CephSpec { size_gib: 20 }).await?;
    let state = carrier.machine.folder("rbd-state")?;
    let volume = order.vm.disks[0].volume;
    let bench = carrier.inside(Bench::new(ceph, state, volume)).await?;
    let bench = Arc::new(bench);
    inside(
        &carrier,
        &bench,
        |bench| async move { bench.grant(6).await },
    )
    .await?;
    order.vm.disks[0].size = Bytes(SIZE);
    order.vm.disks[0].source = DiskSource::Rbd {
        cluster: bench.cluster.clone(),
        image: bench.volume.to_string(),
        cephx: bench.cephx(6),
    };
    let seek = TAIL >> 16;
    order.vm.seed.user_data = Secret(format!(
        "#!/bin/sh\n(while :; do dd if=/dev/urandom of=/dev/vda bs=64k seek={seek} count=64 \
         conv=fsync; done) >/dev/null 2>&1 &\necho writing now\n"
    ));
    let tools = carrier.tools().await?;
    order
        .settle(&carrier, &tools, "the guest runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    order.console_says(&carrier, 1, "writing now").await?;
    wait_until_it_writes(&bench).await?;

    inside(&carrier, &bench, |bench| async move {
        bench.fence(6).await?;
        bench.grant(9).await
    })
    .await?;
    let (pattern, check) = (
        format!("write -P 9 {TAIL} 4M"),
        format!("read -P 9 {TAIL} 4M"),
    );
    bench.write_as(9, &[&pattern, "flush"])?;
    // The guest finds out by its next write, and is stopped by it.
    wait::until("the guest to stop", DEADLINE, async || {
        match order.look(&carrier, &tools).await {
            Ok(seen) if seen.guest == Guest::Paused => Look::Holds(()),
            Ok(seen) => Look::NotYet(format!("{:?}", seen.guest)),
            Err(error) => Look::NotYet(format!("{error:#}")),
        }
    })
    .await?;
    bench.write_as(9, &[&check])?;
    // Not even when somebody lets it go on.
    carrier.run("virsh -q list --name | xargs -r -n1 virsh -q resume")?;
    for _ in 0..8 {
        bench.write_as(9, &[&check])?;
    }

    order.release();
    order
        .settle(&carrier, &tools, "it is released", |seen| seen.released)
        .await?;
    bench.write_as(9, &[&check])?;
    let secrets = carrier.run("virsh -q secret-list")?;
    ensure!(secrets.trim().is_empty(), "{secrets}");
    Ok(())
}

#[tokio::test]
async fn a_disk_moves_to_ceph_and_back_under_a_guest_that_writes() -> Result<()> {
    apt::ensure(Packages::AllWithCeph)?;
    let mut desk = Desk::new("toceph").await?;
    let ceph = Ceph::ensure(&desk.carrier.machine, &CephSpec { size_gib: 20 }).await?;
    let state = desk.carrier.machine.folder("rbd-state")?;
    let place = InstanceId(Uuid::from_u128(77));
    let bench = Bench::blank(ceph, state, place, desk.first.size);
    let bench = Arc::new(desk.carrier.inside(bench).await?);
    inside(&desk.carrier, &bench, |bench| async move {
        bench.grant(20).await
    })
    .await?;
    let to = DiskItem {
        volume: place,
        grant: epoch(20),
        source: DiskSource::Rbd {
            cluster: bench.cluster.clone(),
            image: place.to_string(),
            cephx: bench.cephx(20),
        },
        ..desk.first.clone()
    };
    desk.go_over(to.clone()).await?;
    desk.carrier.fence(2, &desk.first)?;
    let before = desk.last_written()?;
    desk.wrote(1, before + 20).await?;
    // What serves it dies under the guest, which waits and loses nothing.
    for daemon in [Daemon::Osd, Daemon::Monitor] {
        bench.ceph.kill_daemon(daemon)?;
        bench.ceph.ensure_daemon(daemon).await?;
        let before = desk.last_written()?;
        desk.wrote(1, before + 20).await?;
    }

    // Back, to a target that was never used, and nobody has the image open any more.
    let back = desk.target(4)?;
    desk.go_over(back).await?;
    inside(&desk.carrier, &bench, |bench| async move {
        let note = Note::Watermark(Watermark::fenced(epoch(20)));
        bench.driver.note_volume(bench.volume, &note).await?;
        let grants = bench.driver.list_grants().await?;
        let grant = grants.first().context("there is a grant")?;
        ensure!(grant.holders.is_empty(), "it is open: {grant:?}");
        bench.driver.revoke(grant).await?;
        Ok(())
    })
    .await?;
    let before = desk.last_written()?;
    desk.wrote(1, before + 20).await?;
    let written = desk.last_written()?;
    let read = desk.read_back(2).await?;
    ensure!(read >= written, "{read} of {written} records are there");
    Ok(())
}

#[tokio::test]
async fn a_disk_of_ceph_grows_under_a_guest_that_writes() -> Result<()> {
    apt::ensure(Packages::AllWithCeph)?;
    let mut desk = Desk::writing("grow-rbd", WRITER, |_, _| Ok(())).await?;
    let ceph = Ceph::ensure(&desk.carrier.machine, &CephSpec { size_gib: 20 }).await?;
    let state = desk.carrier.machine.folder("rbd-state")?;
    let place = InstanceId(Uuid::from_u128(78));
    let bench = Bench::blank(ceph, state, place, desk.first.size);
    let bench = Arc::new(desk.carrier.inside(bench).await?);
    inside(&desk.carrier, &bench, |bench| async move {
        bench.grant(20).await
    })
    .await?;
    let to = DiskItem {
        volume: place,
        grant: epoch(20),
        source: DiskSource::Rbd {
            cluster: bench.cluster.clone(),
            image: place.to_string(),
            cephx: bench.cephx(20),
        },
        ..desk.first.clone()
    };
    desk.go_over(to).await?;
    desk.sees(desk.first.size).await?;
    let qemu = desk.qemu()?;
    // The guest's own client has the image's lock, and is asked by the cluster.
    inside(&desk.carrier, &bench, |bench| async move {
        bench.driver.grow_volume(bench.volume, GROWN).await?;
        bench.driver.grow_volume(bench.volume, GROWN).await?;
        let grants = bench.driver.list_grants().await?;
        ensure!(
            grants.len() == 1 && !grants[0].holders.is_empty(),
            "{grants:?}"
        );
        Ok(())
    })
    .await?;
    desk.tell(GROWN).await?;
    desk.sees(GROWN).await?;
    ensure!(desk.qemu()? == qemu, "another QEMU runs");
    desk.keeps().await
}

#[tokio::test]
async fn an_image_of_ceph_comes_to_a_running_guest_and_goes_and_nobody_has_it_open() -> Result<()> {
    apt::ensure(Packages::AllWithCeph)?;
    let (carrier, mut order) = carrier("plug-rbd").await?;
    let tools = carrier.tools().await?;
    order.vm.seed.user_data = Secret(TELLER.into());
    order
        .settle(&carrier, &tools, "the guest runs", is_as_asked)
        .await?;
    let ceph = Ceph::ensure(&carrier.machine, &CephSpec { size_gib: 20 }).await?;
    let state = carrier.machine.folder("rbd-state")?;
    let volume = InstanceId(Uuid::from_u64_pair(79, 0));
    let bench = Bench::blank(ceph, state, volume, Bytes(64 << 20));
    let bench = Arc::new(carrier.inside(bench).await?);
    let first = order.vm.disks[0].clone();
    let disk = DiskItem {
        volume,
        grant: epoch(20),
        source: DiskSource::Rbd {
            cluster: bench.cluster.clone(),
            image: volume.to_string(),
            cephx: bench.cephx(20),
        },
        size: Bytes(64 << 20),
        ..first.clone()
    };
    order.vm.disks.push(disk.clone());
    // The cluster does not know its user yet.
    for step in order.plan(&carrier, &tools).await? {
        let (what, done) = (step.name(), order.apply(&carrier, &tools, step).await);
        ensure!(done.is_err() == (what == "plug"), "{what}: {done:?}");
    }
    inside(
        &carrier,
        &bench,
        |bench| async move { bench.grant(20).await },
    )
    .await?;
    order
        .settle(&carrier, &tools, "the disk is there", is_as_asked)
        .await?;
    has(&carrier, &order, &[&first, &disk]).await?;

    order.vm.disks.pop();
    order
        .settle(&carrier, &tools, "the guest has let go", is_as_asked)
        .await?;
    has(&carrier, &order, &[&first]).await?;
    inside(&carrier, &bench, |bench| async move {
        let note = Note::Watermark(Watermark::fenced(epoch(20)));
        bench.driver.note_volume(bench.volume, &note).await?;
        let grants = bench.driver.list_grants().await?;
        let grant = grants.first().context("there is a grant")?;
        ensure!(grant.holders.is_empty(), "it is open: {grant:?}");
        bench.driver.revoke(grant).await?;
        Ok(())
    })
    .await
}

/// Until a snapshot shows what the guest has written.
async fn wait_until_it_writes(bench: &Bench) -> Result<()> {
    wait::until("the guest to write", DEADLINE, async || {
        let image = format!("{POOL}/{}", bench.volume);
        let mut diff = bench.ceph.command("rbd");
        let said = run(diff.args(["diff", "--format", "json", &image]));
        let written = said.as_ref().is_ok_and(|text| {
            let extents: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
            let mut ends = extents.iter().map(|extent| extent["offset"].as_u64());
            ends.any(|offset| offset >= Some(TAIL))
        });
        match written {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{said:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn an_encrypted_image_of_ceph_is_formatted_written_to_and_grown_and_shows_nothing()
-> Result<()> {
    apt::ensure(Packages::AllWithCeph)?;
    let (carrier, mut order) = carrier("luks-rbd").await?;
    let tools = carrier.tools().await?;
    let ceph = Ceph::ensure(&carrier.machine, &CephSpec { size_gib: 20 }).await?;
    let state = carrier.machine.folder("rbd-state")?;
    let volume = InstanceId(Uuid::from_u64_pair(80, 0));
    let size = Bytes(64 << 20);
    let bench = Bench::blank(ceph, state, volume, Bytes(size.0 + LUKS_HEADER.0));
    let bench = Arc::new(carrier.inside(bench).await?);
    inside(
        &carrier,
        &bench,
        |bench| async move { bench.grant(20).await },
    )
    .await?;
    let first = order.vm.disks[0].clone();
    let mut disk = DiskItem {
        volume,
        name: "data".into(),
        grant: epoch(20),
        source: DiskSource::Rbd {
            cluster: bench.cluster.clone(),
            image: volume.to_string(),
            cephx: bench.cephx(20),
        },
        size,
        luks: luks(VOLUME_KEY, Formatted::Never),
        ..first.clone()
    };
    order.vm.disks.push(disk.clone());
    order.vm.seed.user_data = Secret(TELLER.into());
    let began = std::time::Instant::now();
    order
        .settle(&carrier, &tools, "it is formatted", |looked| {
            looked.formatted == [volume]
        })
        .await?;
    println!("{size} over rbd were formatted in {:?}", began.elapsed());
    disk.luks = luks(VOLUME_KEY, Formatted::Done);
    order.vm.disks[1] = disk.clone();
    order
        .settle(&carrier, &tools, "the guest runs", is_as_asked)
        .await?;
    has(&carrier, &order, &[&first, &disk]).await?;

    // It grows behind its header, under its guest.
    let grown = Bytes(96 << 20);
    inside(&carrier, &bench, move |bench| async move {
        let whole = Bytes(grown.0 + LUKS_HEADER.0);
        Ok(bench.driver.grow_volume(bench.volume, whole).await?)
    })
    .await?;
    order.vm.disks[1].size = grown;
    order
        .settle(&carrier, &tools, "the guest is told", is_as_asked)
        .await?;
    let looked = order.look(&carrier, &tools).await?;
    let mut domains = looked.seen.domains.values();
    let mut disks = domains.next().context("no domain")?.disks.values();
    let live = disks.find(|disk| disk.device == "vdb").context("no disk")?;
    ensure!(live.size == Some(grown), "{live:?}");

    // Off, so that all of it has been written.
    order.release();
    order
        .settle(&carrier, &tools, "it is released", |seen| seen.released)
        .await?;
    let copy = carrier.machine.folder("volumes")?.join("exported");
    let image = format!(
        "rbd:{POOL}/{volume}:id={AGENT_USER}:conf={}",
        bench.ceph.configuration().display()
    );
    let mut export = bench.ceph.command("qemu-img");
    export
        .args(["convert", "-f", "raw", "-O", "raw", &image])
        .arg(&copy);
    run(&mut export)?;
    let bytes = std::fs::read(&copy)?;
    ensure!(
        bytes.len() as u64 == grown.0 + LUKS_HEADER.0,
        "{}",
        bytes.len()
    );
    ensure!(bytes.starts_with(b"LUKS"), "no header");
    ensure!(!contains(&bytes, "marked by"), "it is in clear");
    let behind = usize::try_from(LUKS_HEADER.0)?;
    let formatted = &bytes[behind..behind + usize::try_from(size.0)?];
    ensure!(!contains(formatted, &"\0".repeat(4096)), "a hole is left");
    Ok(())
}
