//! Reading `/proc`: who is alive since when, and who belongs to a lab.

use std::fs;
use std::os::unix::fs::MetadataExt;

use uuid::Uuid;

use super::{Identity, MARKER};

pub(super) struct Stat {
    pub start_ticks: u64,
    pub is_zombie: bool,
}

pub(super) fn read_stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command in parentheses may itself hold spaces and parentheses: fields are counted from the
/// last closing one. State is field 3, start time field 22 (proc(5)).
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let state = *fields.first()?;
    Some(Stat {
        start_ticks: fields.get(22 - 3)?.parse().ok()?,
        is_zombie: matches!(state, "Z" | "X"),
    })
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What the process has started and not yet waited for.
pub(super) fn children(parent: Identity) -> Vec<Identity> {
    let pid = parent.pid;
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = listed.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(Identity::of)
        .filter(Identity::is_alive)
        .collect()
}

/// All processes that carry the lab's marker in their environment, recorded or not.
pub fn find_marked(lab: Uuid) -> Vec<Identity> {
    let marker = format!("{MARKER}={lab}").into_bytes();
    pids()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| {
                env.split(|byte| *byte == 0)
                    .any(|variable| variable == marker)
            })
        })
        .filter_map(Identity::of)
        .filter(Identity::is_alive)
        .collect()
}

/// All processes in the mount namespace of `pid`, itself included. libvirt starts QEMU with a
/// cleaned environment, so a machine's guests are found this way and not by the marker.
/// Nothing is found when that namespace is our own.
pub fn find_sharing_mount_namespace(pid: u32) -> Vec<Identity> {
    let namespace = |pid: u32| {
        fs::metadata(format!("/proc/{pid}/ns/mnt"))
            .map(|ns| ns.ino())
            .ok()
    };
    let Some(wanted) = namespace(pid) else {
        return Vec::new();
    };
    if namespace(std::process::id()) == Some(wanted) {
        return Vec::new();
    }
    pids()
        .filter(|pid| namespace(*pid) == Some(wanted))
        .filter_map(Identity::of)
        .filter(Identity::is_alive)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.start_ticks, stat.is_zombie), (777, false));
    }

    #[test]
    fn the_own_mount_namespace_is_never_swept() {
        assert!(find_sharing_mount_namespace(std::process::id()).is_empty());
    }
}
