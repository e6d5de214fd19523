//! What the folder drivers cost beside the tools that do the least: `cargo xtask bench storage`.
//!
//! Runs as root in a mount namespace of its own. Each line is a verb of the driver and, in turn with
//! it, what `cp --reflink` or `qemu-img convert` takes for the same file; the ratio of the medians is
//! what counts, whatever the machine is.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dc_agent_core::storage::{Extent, Note, pieces};
use dc_agent_core::wanted::{Folders, HostAddresses, HostView, PoolConfig};
use dc_host::drivers::{Driver, ReadExtents};
use dc_host::{Tools, ToolsConfig};
use dc_types::plan::VolumeSource;
use dc_types::report::{Accelerator, Role};
use dc_types::{Bytes, Epoch, HostName, InstanceId, ObjectRef, ObjectUid, PoolName, SnapshotId};
use futures::stream::{StreamExt, TryStreamExt, iter};
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

const GIB: u64 = 1 << 30;
const ROUNDS: usize = 5;
/// Bytes read at once, and how many reads at a time.
const PIECE: u64 = 1 << 20;
const STREAMS: usize = 4;

fn main() -> Outcome<()> {
    let folder = std::env::args_os().nth(1);
    let folder = PathBuf::from(folder.ok_or("name a folder to work in")?);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(measure(&folder))
}

async fn measure(folder: &Path) -> Outcome<()> {
    let root = mount(folder)?;
    let driver = attach(folder, &root).await?;
    println!("| size | extents | verb | driver | floor | ratio |\n|---|---|---|---|---|---|");
    for (gib, extents) in [(1, 1_000), (10, 1_000), (100, 1_000), (10, 100_000)] {
        let bench = Bench {
            driver: driver.clone(),
            root: root.clone(),
            label: format!("| {gib} GiB | {extents} |"),
        };
        bench.run(Bytes(gib * GIB), extents).await?;
    }
    Ok(())
}

/// A file system with reflinks in a sparse file.
fn mount(folder: &Path) -> Outcome<PathBuf> {
    let (disk, root) = (folder.join("disk"), folder.join("pool"));
    File::create(&disk)?.set_len(64 * GIB)?;
    fs::create_dir(&root)?;
    let mut mkfs = Command::new("mkfs.xfs");
    run(mkfs.args(["-q", "-K", "-m", "reflink=1"]).arg(&disk))?;
    let mut mount = Command::new("mount");
    run(mount.args(["-o", "loop"]).arg(&disk).arg(&root))?;
    Ok(root)
}

fn run(command: &mut Command) -> Outcome<()> {
    let status = command.stdout(Stdio::null()).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {status}").into()),
    }
}

async fn attach(folder: &Path, root: &Path) -> Outcome<Arc<dyn Driver>> {
    let (pool, address) = (PoolName::new("p1")?, [127, 0, 0, 1].into());
    let config = PoolConfig::Directory {
        folder: root.to_owned(),
    };
    let at = |name: &str| folder.join(name);
    let host = HostView {
        name: HostName::new("h1")?,
        roles: vec![Role::Compute],
        accelerator: Accelerator::Tcg,
        addresses: HostAddresses {
            management: address,
            storage: address,
            overlay: address,
        },
        portal: None,
        pools: BTreeMap::from([(pool.clone(), config)]),
        edge: None,
        folders: Folders {
            state: at("state"),
            images: at("images"),
            seeds: at("seeds"),
            consoles: at("consoles"),
        },
        boot_id: "boot".into(),
    };
    let config = ToolsConfig {
        host: Arc::new(host),
        libvirt_uri: None,
        tgt: None,
    };
    let driver = Tools::real(&config).await?.drivers.of(&pool)?.clone();
    match driver.ensure_pool().await.fault {
        None => Ok(driver),
        Some(fault) => Err(fault.into()),
    }
}

struct Bench {
    driver: Arc<dyn Driver>,
    root: PathBuf,
    label: String,
}

fn median(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64()
}

impl Bench {
    async fn run(&self, size: Bytes, extents: u64) -> Outcome<()> {
        let volume = self.volume(size).await?;
        self.scatter(volume, extents)?;
        let first = SnapshotId(Uuid::new_v4());
        self.driver.create_snapshot(volume, first).await?;
        self.create(size).await?;
        self.clone(volume, size).await?;
        self.snapshot(volume).await?;
        self.changed(volume, first, extents).await?;
        self.read(volume, first).await
    }

    async fn volume(&self, size: Bytes) -> Outcome<InstanceId> {
        let volume = InstanceId(Uuid::new_v4());
        let owner = ObjectRef {
            namespace: "bench".into(),
            name: "bench".into(),
            uid: ObjectUid(volume.0),
        };
        let epoch = Epoch::default();
        let note = Note::Owner { owner, epoch };
        self.driver.note_volume(volume, &note).await?;
        let blank = VolumeSource::Blank;
        self.driver.create_volume(volume, size, &blank).await?;
        Ok(volume)
    }

    fn path(&self, volume: InstanceId) -> PathBuf {
        self.root.join(format!("volumes/{volume}.raw"))
    }

    /// Every second block of a region: as many extents as asked, each of 4 KiB.
    fn scatter(&self, volume: InstanceId, extents: u64) -> Outcome<()> {
        let file = File::options().write(true).open(self.path(volume))?;
        for at in 0..extents {
            file.write_all_at(&[7; 4096], at * 8192)?;
        }
        file.sync_all()?;
        Ok(())
    }

    fn tell(&self, verb: &str, ours: Vec<Duration>, floor: Option<(&str, Vec<Duration>)>) {
        let (label, ours) = (&self.label, median(ours));
        match floor {
            Some((name, floor)) => {
                let floor = median(floor);
                let ratio = ours / floor;
                println!("{label} {verb} | {ours:.3} s | {name} {floor:.3} s | {ratio:.2} |");
            }
            None => println!("{label} {verb} | {ours:.3} s | | |"),
        }
    }

    async fn create(&self, size: Bytes) -> Outcome<()> {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            self.volume(size).await?;
            ours.push(began.elapsed());
            let path = self.root.join("made-by-hand");
            let began = Instant::now();
            let file = File::create(&path)?;
            file.set_len(size.0)?;
            file.sync_all()?;
            floor.push(began.elapsed());
            fs::remove_file(path)?;
        }
        self.tell("create", ours, Some(("truncate, fsync", floor)));
        Ok(())
    }

    /// What `cp --reflink=always` and an fsync take for a volume's file.
    fn copy(&self, volume: InstanceId) -> Outcome<Duration> {
        let to = self.root.join("copied-by-hand");
        let began = Instant::now();
        let mut cp = Command::new("cp");
        run(cp.arg("--reflink=always").arg(self.path(volume)).arg(&to))?;
        File::open(&to)?.sync_all()?;
        let took = began.elapsed();
        fs::remove_file(to)?;
        Ok(took)
    }

    async fn clone(&self, volume: InstanceId, size: Bytes) -> Outcome<()> {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let clone = InstanceId(Uuid::new_v4());
            let source = VolumeSource::Volume(volume);
            let began = Instant::now();
            self.driver.create_volume(clone, size, &source).await?;
            ours.push(began.elapsed());
            floor.push(self.copy(volume)?);
        }
        self.tell("clone", ours, Some(("cp --reflink, fsync", floor)));
        Ok(())
    }

    async fn snapshot(&self, volume: InstanceId) -> Outcome<()> {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let snapshot = SnapshotId(Uuid::new_v4());
            let began = Instant::now();
            self.driver.create_snapshot(volume, snapshot).await?;
            ours.push(began.elapsed());
            floor.push(self.copy(volume)?);
            self.driver.delete_snapshot(volume, snapshot).await?;
        }
        self.tell("snapshot", ours, Some(("cp --reflink, fsync", floor)));
        Ok(())
    }

    /// A hundredth of the extents has changed.
    async fn changed(&self, volume: InstanceId, first: SnapshotId, extents: u64) -> Outcome<()> {
        self.scatter(volume, extents / 100)?;
        let next = SnapshotId(Uuid::new_v4());
        self.driver.create_snapshot(volume, next).await?;
        let mut ours = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let changed = self.driver.changed_extents(volume, Some(first), next);
            let found = changed.await?.len();
            ours.push(began.elapsed());
            if found == 0 {
                return Err("nothing has changed".into());
            }
        }
        self.tell("changed_extents", ours, None);
        Ok(())
    }

    async fn read(&self, volume: InstanceId, snapshot: SnapshotId) -> Outcome<()> {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        let file = format!("snapshots/{volume}/{snapshot}.raw");
        let (file, to) = (self.root.join(file), self.root.join("converted"));
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let extents = self.driver.changed_extents(volume, None, snapshot).await?;
            let open = self.driver.open_snapshot(volume, snapshot).await?;
            read_all(&*open, &extents).await?;
            ours.push(began.elapsed());
            let began = Instant::now();
            let mut convert = Command::new("qemu-img");
            convert.args(["convert", "-f", "raw", "-O", "raw"]);
            run(convert.arg(&file).arg(&to))?;
            floor.push(began.elapsed());
            fs::remove_file(&to)?;
        }
        let floor = Some(("qemu-img convert", floor));
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
