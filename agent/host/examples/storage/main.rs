//! What the storage drivers cost beside the tools that do the least: `cargo xtask bench storage`.
//!
//! Runs as root in namespaces of its own. Each line is a verb of a driver and, in turn with it, what
//! the plain tool takes for the same volume; the ratio of the medians is what counts, whatever the
//! machine is.

mod ceph;
mod files;
mod verbs;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dc_agent_core::storage::Extent;
use dc_host::drivers::Driver;
use dc_types::plan::GrantAccess;
use dc_types::{Bytes, Epoch, InstanceId, SnapshotId};

pub type Outcome<T> = Result<T, Box<dyn Error>>;

const GIB: u64 = 1 << 30;

/// What a plain tool took, and what it is.
pub type Floor = (&'static str, Duration);

/// A driver on the real thing, and the same by hand.
pub trait Place {
    fn name(&self) -> &'static str;
    fn driver(&self) -> &Arc<dyn Driver>;

    fn create(&self, size: Bytes) -> Outcome<Floor>;
    fn clone(&self, volume: InstanceId) -> Outcome<Floor>;
    fn snapshot(&self, volume: InstanceId) -> Outcome<Floor>;
    /// `None` where no tool tells it.
    fn changed(
        &self,
        volume: InstanceId,
        from: SnapshotId,
        to: SnapshotId,
    ) -> Outcome<Option<Floor>>;
    /// Into a raw file.
    fn read(&self, volume: InstanceId, snapshot: SnapshotId) -> Outcome<Floor>;

    /// How the holder of a grant is let in, and qemu-io's arguments for it; `None` when it cannot be
    /// cut off.
    fn holder(&self, volume: InstanceId, epoch: Epoch) -> Option<(GrantAccess, Vec<String>)>;
}

/// What a volume holds.
#[derive(Clone, Copy)]
enum Filling {
    /// So many pieces of 4 KiB, 8 KiB from each other.
    Pieces(u64),
    /// So many MiB from the start on.
    Dense(u64),
}

const CASES: [(u64, Filling); 5] = [
    (1, Filling::Pieces(1_000)),
    (10, Filling::Pieces(1_000)),
    (100, Filling::Pieces(1_000)),
    (10, Filling::Pieces(100_000)),
    (1, Filling::Dense(512)),
];

impl Filling {
    fn extents(self) -> Vec<Extent> {
        match self {
            Self::Pieces(count) => (0..count).map(|at| Extent::new(at * 8192, 4096)).collect(),
            Self::Dense(mib) => vec![Extent::new(0, mib << 20)],
        }
    }

    /// A hundredth of it.
    fn changed(self) -> Vec<Extent> {
        match self {
            Self::Pieces(count) => Self::Pieces(count / 100).extents(),
            Self::Dense(mib) => Self::Dense(mib.div_ceil(100)).extents(),
        }
    }

    fn label(self) -> String {
        match self {
            Self::Pieces(count) => format!("{count} pieces"),
            Self::Dense(mib) => format!("{mib} MiB"),
        }
    }
}

fn main() -> Outcome<()> {
    let mut args = std::env::args_os().skip(1);
    let folder = PathBuf::from(args.next().ok_or("name a folder to work in")?);
    let only = args.next().map(|name| name.to_string_lossy().into_owned());
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(measure(&folder, only.as_deref()))
}

async fn measure(folder: &Path, only: Option<&str>) -> Outcome<()> {
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    println!("| driver | size | holds | verb | driver | floor | ratio |");
    println!("|---|---|---|---|---|---|---|");
    for name in ["directory", "iscsi"] {
        if wanted(name) {
            let place = files::Files::start(folder, name).await?;
            measure_one(&place).await?;
        }
    }
    if wanted("rbd") {
        let place = ceph::Rbd::start(folder).await?;
        measure_one(&place).await?;
    }
    Ok(())
}

async fn measure_one(place: &dyn Place) -> Outcome<()> {
    for (gib, filling) in CASES {
        verbs::measure(place, gib, filling).await?;
    }
    verbs::fence(place).await
}

fn run(command: &mut Command) -> Outcome<()> {
    let output = command.stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(format!("{command:?}: {}: {said}", output.status).into())
        }
    }
}
