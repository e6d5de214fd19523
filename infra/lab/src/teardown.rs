//! Taking a lab away: all that its journal names, then its folder, then its place.
//!
//! May be called at any time, also for a lab that is half made or half taken away, and by someone
//! else than who made it. It goes on after a failure and reports all of them at the end; the
//! folder stays as long as something else could not be removed, so that the next try finds it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::journal::Made;
use crate::lab::{Lab, LabName, Owner};
use crate::machine::inhabitants;
use crate::process::{self, Identity};
use crate::registry::Registry;

/// What holds no record of its own (children of daemons) gets this long after SIGTERM.
const SWEEP_GRACE: Duration = Duration::from_secs(3);

/// Takes the lab away. Guests and machines should have been stopped in their own order before;
/// what is still there is ended here without asking.
pub fn remove(lab: &Lab) -> Result<()> {
    let mut failures = Vec::new();
    let mut attempt = |what: String, result: Result<()>| {
        if let Err(error) = result {
            failures.push(format!("{what}: {error:#}"));
        }
    };
    attempt("processes".to_owned(), sweep_processes(lab));
    for made in lab.journal().read()?.iter().rev() {
        attempt(format!("{made:?}"), remove_one(lab, made));
    }
    if !failures.is_empty() {
        bail!(
            "the lab {} could not be removed whole:\n  {}",
            lab.name(),
            failures.join("\n  ")
        );
    }
    fs::remove_dir_all(lab.folder())
        .with_context(|| format!("cannot remove {}", lab.folder().display()))?;
    if let Some(labs) = lab.folder().parent() {
        // Fails while another lab is in it, as it should.
        let _ = fs::remove_dir(labs);
    }
    Registry::of_this_machine().release(lab.folder())
}

/// Takes the lab of this name away, if there is one.
pub fn remove_by_name(name: &LabName) -> Result<()> {
    match Lab::open(name)? {
        Some(lab) => remove(&lab),
        None => Ok(()),
    }
}

/// Takes away the labs of tests whose process is gone (killed before it could clean up).
pub fn remove_orphans() -> Result<()> {
    for lab in Lab::list()? {
        if let Owner::Test(owner) = lab.owner()
            && !owner.is_alive()
            // Whoever holds the lock is taking it away already.
            && let Ok(_lock) = lab.lock()
        {
            remove(&lab)?;
        }
    }
    Ok(())
}

/// Ends every process of the lab, round after round until a round finds none, since each may have
/// started another.
fn sweep_processes(lab: &Lab) -> Result<()> {
    const ROUNDS: usize = 10;
    for _ in 0..ROUNDS {
        let found = processes_of(lab);
        if found.is_empty() {
            return Ok(());
        }
        process::stop_all(&found, SWEEP_GRACE)?;
    }
    Err(anyhow!(
        "processes of the lab keep coming back: {:?}",
        processes_of(lab)
    ))
}

/// All processes that belong to the lab, ours excluded.
pub fn processes_of(lab: &Lab) -> Vec<Identity> {
    let mut marked = process::find_marked(lab.id());
    marked.extend(inhabitants::of_lab(lab));
    let mut found: BTreeSet<(u32, u64)> = BTreeSet::new();
    for process in &marked {
        let mates = process::find_sharing_mount_namespace(process.pid);
        found.extend(
            mates
                .iter()
                .chain([process])
                .map(|id| (id.pid, id.start_ticks)),
        );
    }
    let own = std::process::id();
    let others = found.into_iter().filter(|(pid, _)| *pid != own);
    others
        .map(|(pid, start_ticks)| Identity { pid, start_ticks })
        .collect()
}

/// Removes one thing; that it is not there is no error.
fn remove_one(lab: &Lab, made: &Made) -> Result<()> {
    match made {
        Made::Process { name } => process::stop(lab, name),
        Made::NetNamespace { name } => remove_net_namespace(name),
        Made::Link { name } => {
            if Path::new("/sys/class/net").join(name).exists() {
                run(Command::new("ip").args(["link", "delete", name]))?;
            }
            Ok(())
        }
        Made::Mount { path } => unmount_all_under(path),
        Made::LoopDevice { file } => detach_loops(file),
        Made::NftTable { family, name } => {
            let listed = quiet(Command::new("nft").args(["list", "table", family, name]));
            if listed {
                run(Command::new("nft").args(["delete", "table", family, name]))?;
            }
            Ok(())
        }
        Made::Folder { path } => match fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        },
    }
}

fn remove_net_namespace(name: &str) -> Result<()> {
    let handle = Path::new("/run/netns").join(name);
    if !handle.exists() {
        return Ok(());
    }
    if quiet(Command::new("ip").args(["netns", "delete", name])) {
        return Ok(());
    }
    // A crash between making the handle and mounting the namespace on it leaves a plain file.
    fs::remove_file(&handle).with_context(|| format!("cannot remove {}", handle.display()))
}

/// Unmounts what is mounted at `path` or below, the last mounted first.
fn unmount_all_under(path: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mounts")?;
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(unescape_octal);
    let mut inside: Vec<String> = points
        .filter(|at| Path::new(at).starts_with(path))
        .collect();
    inside.reverse();
    for point in inside {
        nix::mount::umount2(point.as_str(), nix::mount::MntFlags::empty())
            .or_else(|_| nix::mount::umount2(point.as_str(), nix::mount::MntFlags::MNT_DETACH))
            .with_context(|| format!("cannot unmount {point}"))?;
    }
    Ok(())
}

/// The kernel writes space, tab, newline and backslash in a mount point as `\ooo` (proc(5)).
fn unescape_octal(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = match (first, tail.get(..3)) {
            (b'\\', Some(digits)) => std::str::from_utf8(digits)
                .ok()
                .and_then(|code| u8::from_str_radix(code, 8).ok()),
            _ => None,
        };
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[derive(Deserialize)]
struct Loops {
    loopdevices: Vec<Loop>,
}

#[derive(Deserialize)]
struct Loop {
    name: String,
    #[serde(rename = "back-file")]
    back_file: Option<String>,
}

fn detach_loops(file: &Path) -> Result<()> {
    let listed = run(Command::new("losetup").args(["--list", "--json"]))?;
    if listed.trim().is_empty() {
        return Ok(());
    }
    let loops: Loops = serde_json::from_str(&listed).context("losetup answers oddly")?;
    for device in loops.loopdevices {
        let of_file = device
            .back_file
            .is_some_and(|back| Path::new(back.trim_end_matches(" (deleted)")) == file);
        if of_file {
            run(Command::new("losetup").args(["--detach", &device.name]))?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<String> {
    crate::progress::run(command)
}

fn quiet(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_with_spaces_is_read_right() {
        assert_eq!(unescape_octal(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape_octal(r"/tail\04"), r"/tail\04");
    }
}
