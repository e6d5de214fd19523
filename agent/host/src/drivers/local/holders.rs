//! Who has a file open, by the kernel's own count.
//!
//! A write lease is granted only on a file that nobody else has open (fcntl(2), "Leases"): that it
//! is granted is the proof, whatever process, namespace or container the others are in. Who they are
//! is then looked up among the processes that can be seen, for people.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

use crate::drivers::folder::layout::open_ours;

/// `F_SETSIG` of linux/fcntl.h.
const SET_SIGNAL: libc::c_int = 10;

/// Those who have the file open, apart from this process; empty only when it is proved that nobody
/// has.
pub fn of(path: &Path) -> io::Result<Vec<String>> {
    let file = open_ours(path, false)?;
    let number = file.as_raw_fd();
    // Whoever opens the file in the instant of the lease makes the kernel signal us; the default
    // signal would end this process, and this one is ignored by default.
    // SAFETY: the descriptor is open, and these calls take numbers alone.
    Errno::result(unsafe { libc::fcntl(number, SET_SIGNAL, libc::SIGURG) })?;
    // SAFETY: as above.
    match Errno::result(unsafe { libc::fcntl(number, libc::F_SETLEASE, libc::F_WRLCK) }) {
        Ok(_) => {
            // SAFETY: as above.
            Errno::result(unsafe { libc::fcntl(number, libc::F_SETLEASE, libc::F_UNLCK) })?;
            Ok(Vec::new())
        }
        Err(Errno::EAGAIN) => {
            let metadata = file.metadata()?;
            drop(file);
            Ok(name(metadata.dev(), metadata.ino()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The processes that have an inode open. Somebody has: when it is none that can be seen, that is
/// what is said, unless it is this process itself that reads it.
fn name(device: u64, inode: u64) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut is_own = false;
    let mut found = Vec::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let id = process.file_name().to_string_lossy().into_owned();
        let open = fs::read_dir(process.path().join("fd"));
        let mut open = open.into_iter().flatten().flatten();
        let has = open.any(|entry| {
            // Through the link, to the file itself.
            let of = fs::metadata(entry.path());
            of.is_ok_and(|of| (of.dev(), of.ino()) == (device, inode))
        });
        if has && id == own {
            is_own = true;
        } else if has {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(format!("process {id} ({})", command.trim()));
        }
    }
    if found.is_empty() && !is_own {
        found.push("a process that cannot be seen from here".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_file_that_a_process_has_open_has_a_holder_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.raw");
        fs::write(&path, "x").unwrap();
        assert_eq!(of(&path).unwrap(), [""; 0]);
        let mut holder = Command::new("cat")
            .stdin(fs::File::open(&path).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // It ends at once, and keeps nothing open; the next one waits for its input.
        holder.wait().unwrap();
        assert_eq!(of(&path).unwrap(), [""; 0]);
        let mut holder = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(fs::File::options().append(true).open(&path).unwrap())
            .spawn()
            .unwrap();
        let held = of(&path).unwrap();
        assert_eq!(held.len(), 1, "{held:?}");
        assert!(held[0].contains(&holder.id().to_string()), "{held:?}");
        drop(holder.stdin.take());
        holder.wait().unwrap();
        assert_eq!(of(&path).unwrap(), [""; 0]);
    }
}
