//! What the system of a machine with a pool provides: a reflink file system, and on a storage machine
//! an empty tgtd.
//!
//! The file system is XFS in a sparse file of the machine's folder, so that thin volumes may be
//! far larger than this computer; it is mounted in the machine alone. A compute machine may have one
//! too, for a directory pool. tgtd listens on the storage
//! network, with its control socket in the machine's private /run, where `tgtadm` finds it without
//! being told. Volumes, targets and grants are the agent's: nothing here makes or knows one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::address::Network;
use crate::journal::Made;
use crate::lab::Lab;
use crate::machine::Machine;
use crate::process::{self, Ensured};
use crate::progress;
use crate::wait::{self, Look};

/// Where targets listen, on the storage address: the port registered for iSCSI.
pub const PORTAL_PORT: u16 = 3260;

const DAEMON: &str = "tgtd";
/// tgtd's folder for its control socket and lock.
const CONTROL_DIR: &str = "/run/tgtd";
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SanSpec {
    /// Size of the file system. The file is sparse: only what is written takes place.
    pub size_gib: u64,
}

impl Default for SanSpec {
    /// Four TiB: the first wave's volumes (the largest, land, states 1,350 GB) with room to spare.
    fn default() -> Self {
        Self { size_gib: 4096 }
    }
}

impl SanSpec {
    /// A compute host's own disk: half a TiB beside the SAN.
    pub const FOLDER: Self = Self { size_gib: 512 };
}

/// Where the pool lies, inside the machine.
pub fn pool_folder(lab: &Lab, machine: &str) -> PathBuf {
    machine_folder(lab, machine).join("pool")
}

fn backing_file(lab: &Lab, machine: &str) -> PathBuf {
    machine_folder(lab, machine).join("pool.xfs")
}

fn machine_folder(lab: &Lab, machine: &str) -> PathBuf {
    lab.folder().join("machines").join(machine)
}

/// The pool's file system, made if it is not there, and mounted.
pub(crate) async fn ensure_pool(machine: &Machine, spec: &SanSpec) -> Result<()> {
    ensure_mounted(machine, spec)
        .await
        .context("cannot bring up the pool")
}

async fn ensure_mounted(machine: &Machine, spec: &SanSpec) -> Result<()> {
    let lab = machine.lab();
    let file = backing_file(lab, machine.name());
    let pool = pool_folder(lab, machine.name());
    fs::create_dir_all(&pool)?;
    if is_mounted(machine, &pool) {
        return Ok(());
    }
    if !file.exists() {
        make_file_system(&file, spec)?;
    }
    // After a power cut the kernel takes a moment to let go of the former mount.
    wait_until_detached(lab, machine.name()).await?;
    lab.journal()
        .will_make(&Made::LoopDevice { file: file.clone() })?;
    // The loop device belongs to this mount: it goes by itself with the mount, and the mount with
    // the machine's namespace.
    let mut mount = machine.command("mount");
    mount
        .args(["-t", "xfs", "-o", "loop,noatime,discard"])
        .arg(&file)
        .arg(&pool);
    progress::run(&mut mount).map(drop)
}

fn is_mounted(machine: &Machine, pool: &Path) -> bool {
    let table = fs::read_to_string(format!("/proc/{}/mounts", machine.pid())).unwrap_or_default();
    let wanted = pool.display().to_string();
    table
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(&wanted))
}

/// Made beside its place: a file system that exists is whole.
fn make_file_system(file: &Path, spec: &SanSpec) -> Result<()> {
    let bench = file.with_extension("making");
    File::create(&bench)?.set_len(spec.size_gib << 30)?;
    // A small log: by default it would grow with the size and be written out in full.
    let mut mkfs = Command::new("mkfs.xfs");
    mkfs.args(["-q", "-f", "-K", "-m", "reflink=1", "-l", "size=64m"])
        .arg(&bench);
    progress::run(&mut mkfs)?;
    fs::rename(&bench, file).with_context(|| format!("cannot make {}", file.display()))
}

/// Waits until no loop device holds the machine's pool.
pub(crate) async fn wait_until_detached(lab: &Lab, machine: &str) -> Result<()> {
    let file = backing_file(lab, machine);
    wait::until(
        "the former mount of the pool to be gone",
        DEADLINE,
        async || match progress::run(Command::new("losetup").arg("--associated").arg(&file)) {
            Ok(listed) if listed.trim().is_empty() => Look::Holds(()),
            Ok(listed) => Look::NotYet(listed),
            Err(error) => Look::Never(error),
        },
    )
    .await
}

pub(crate) fn unmount(machine: &Machine) -> Result<()> {
    let pool = pool_folder(machine.lab(), machine.name());
    if is_mounted(machine, &pool) {
        progress::run(machine.command("umount").arg(&pool))?;
    }
    Ok(())
}

/// tgtd, as systemd would start it: with no target in it.
pub(crate) async fn ensure_tgtd(machine: &Machine) -> Result<Ensured> {
    let name = machine.daemon(DAEMON, "").name;
    if process::running(machine.lab(), &name)?.is_none() {
        // What a killed one has left would stop the next.
        let dir = machine.path(CONTROL_DIR);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
    }
    let portal = format!("portal={}:{PORTAL_PORT}", machine.address(Network::Storage));
    let spec = machine
        .daemon(DAEMON, "/usr/sbin/tgtd")
        .args(["-f", "--iscsi", &portal]);
    let ensured = process::ensure(machine.lab(), &spec)?;
    wait::until(
        &format!("tgtd on {}", machine.name()),
        DEADLINE,
        async || {
            let asked = progress::run(
                machine
                    .command("tgtadm")
                    .args(["--lld", "iscsi", "--op", "show", "--mode", "sys"]),
            );
            match (asked, process::running(machine.lab(), &name)) {
                (Ok(_), _) => Look::Holds(()),
                (Err(_), Ok(None)) => Look::Never(anyhow!(
                    "it has ended: {}",
                    process::tail(machine.lab(), &name)
                )),
                (Err(error), _) => Look::NotYet(format!("{error:#}")),
            }
        },
    )
    .await?;
    Ok(ensured)
}

/// Ends tgtd without warning; it forgets all targets.
pub(crate) fn kill_tgtd(machine: &Machine) -> Result<()> {
    process::kill(machine.lab(), &machine.daemon(DAEMON, "").name)
}
