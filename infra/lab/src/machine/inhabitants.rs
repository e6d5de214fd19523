//! Who lives in a machine: every process that sees its private /run.
//!
//! That mount carries a mark as its source, which no other mount of this computer has. It is seen
//! in the machine's namespace and in each that was copied from it (`ip netns exec`), and it needs
//! no record and no living holder: after any crash, what is left of a machine is found by it.
//! Pids, sessions and environments would not do: libvirt starts QEMU detached and with a cleaned
//! environment.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::lab::Lab;
use crate::process::{self, Identity};

/// The source of the mounts of a machine, as `/proc/PID/mountinfo` shows it.
pub(super) fn mark(lab: &Lab, machine: &str) -> String {
    format!("{}{machine}", lab_mark(lab))
}

fn lab_mark(lab: &Lab) -> String {
    format!("dc-lab-{}-", lab.id().simple())
}

/// All processes in the machine, its holder included.
pub fn of_machine(lab: &Lab, machine: &str) -> Vec<Identity> {
    let wanted = mark(lab, machine);
    find(|source| source == wanted)
}

/// All processes in any machine of the lab.
pub fn of_lab(lab: &Lab) -> Vec<Identity> {
    let wanted = lab_mark(lab);
    find(|source| source.starts_with(&wanted))
}

fn find(wanted: impl Fn(&str) -> bool) -> Vec<Identity> {
    // Many processes share a namespace: each is read once.
    let mut known: HashMap<u64, bool> = HashMap::new();
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let Ok(namespace) = fs::metadata(format!("/proc/{pid}/ns/mnt")) else {
                return false;
            };
            *known
                .entry(namespace.ino())
                .or_insert_with(|| sees(*pid, &wanted))
        })
        .filter_map(Identity::of)
        .filter(Identity::is_alive)
        .collect()
}

fn sees(pid: u32, wanted: &impl Fn(&str) -> bool) -> bool {
    fs::read_to_string(format!("/proc/{pid}/mountinfo"))
        .is_ok_and(|table| table.lines().filter_map(source).any(wanted))
}

/// The source of a mount: the second field after the lone hyphen (proc(5)).
fn source(line: &str) -> Option<&str> {
    let (_, after) = line.split_once(" - ")?;
    after.split(' ').nth(1)
}

/// Ends all that lives in the machine but `spared`, round after round until a round finds none:
/// one that ends may have started another. A grace of zero kills at once.
pub(super) fn end(
    lab: &Lab,
    machine: &str,
    spared: Option<Identity>,
    grace: Duration,
) -> Result<()> {
    const ROUNDS: usize = 10;
    for _ in 0..ROUNDS {
        let mut found = of_machine(lab, machine);
        found.retain(|process| Some(*process) != spared);
        if found.is_empty() {
            return Ok(());
        }
        match grace.is_zero() {
            true => kill_at_once(&found)?,
            false => process::stop_all(&found, grace)?,
        }
    }
    bail!("processes of machine {machine} keep coming back");
}

/// Side by side, as a power cut would: none may see another die and act on it.
fn kill_at_once(processes: &[Identity]) -> Result<()> {
    std::thread::scope(|scope| {
        let kill = |process: &Identity| process::stop_identity(*process, Duration::ZERO);
        let killers: Vec<_> = processes
            .iter()
            .map(|process| scope.spawn(move || kill(process)))
            .collect();
        // All are waited for, also after one has failed: that is what the scope is for.
        killers
            .into_iter()
            .map(|killer| killer.join())
            .try_for_each(|end| end.unwrap_or_else(|_| bail!("a killer panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_of_a_mount_is_found_behind_optional_fields() {
        let line = "63 43 0:39 / /run rw,relatime shared:5 master:1 - tmpfs dc-lab-x rw,mode=755";
        assert_eq!(source(line), Some("dc-lab-x"));
    }

    #[test]
    fn nobody_lives_in_a_machine_that_does_not_exist() {
        assert!(find(|source| source == "dc-lab-none-there").is_empty());
    }
}
