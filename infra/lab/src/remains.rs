//! Looking for what a lab has left behind, without believing its journal.
//!
//! Everything of a lab is recognisable by itself: processes by their marker or their machine,
//! namespaces and devices by their names, mounts and loop devices by where their files lie.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::lab::Lab;
use crate::{progress, teardown};

/// One line for each thing that is still there; empty after a complete teardown.
pub fn find(lab: &Lab) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for process in teardown::processes_of(lab) {
        let command = fs::read_to_string(format!("/proc/{}/comm", process.pid));
        let command = command.unwrap_or_default();
        found.push(format!("process {} ({})", process.pid, command.trim_end()));
    }
    let prefix = lab.addresses().link("");
    for (what, folder) in [
        ("network namespace", "/run/netns"),
        ("device", "/sys/class/net"),
    ] {
        let names = names_in(Path::new(folder));
        let ours = names.iter().filter(|name| name.starts_with(&prefix));
        found.extend(ours.map(|name| format!("{what} {name}")));
    }
    let folder = lab.folder().display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let ours = mounts.lines().filter(|line| line.contains(&folder));
    found.extend(ours.map(|line| format!("mount {line}")));
    let loops = progress::run(Command::new("losetup").args(["--list", "--noheadings"]))?;
    let ours = loops.lines().filter(|line| line.contains(&folder));
    found.extend(ours.map(|line| format!("loop device {line}")));
    if lab.folder().exists() {
        found.push(format!("folder {folder}"));
    }
    Ok(found)
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
