//! `ip`, as the lab's wiring needs it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::journal::Made;
use crate::lab::Lab;
use crate::progress;

/// Runs `ip` in a named network namespace, or in the root one.
pub(super) fn ip(namespace: Option<&str>, args: &[&str]) -> Result<()> {
    run(namespace, args).map(drop)
}

fn run(namespace: Option<&str>, args: &[&str]) -> Result<String> {
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    progress::run(command.args(args))
}

/// A command in a named network namespace.
pub(super) fn in_namespace(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

pub(super) fn link_exists(namespace: Option<&str>, name: &str) -> Result<bool> {
    let shown = run(namespace, &["-o", "link", "show"])?;
    Ok(names_in(&shown).any(|found| found == name))
}

/// The device names in the output of `ip -o link show`: `7: name@peer: <...>`.
pub(super) fn names_in(shown: &str) -> impl Iterator<Item = &str> {
    shown.lines().filter_map(|line| {
        let name = line.split(": ").nth(1)?;
        Some(name.split('@').next().unwrap_or(name))
    })
}

pub(super) fn ensure_namespace(lab: &Lab, name: &str) -> Result<()> {
    lab.journal().will_make(&Made::NetNamespace {
        name: name.to_owned(),
    })?;
    if !Path::new("/run/netns").join(name).exists() {
        progress::run(Command::new("ip").args(["netns", "add", name]))?;
    }
    ip(Some(name), &["link", "set", "lo", "up"])
}

pub(super) fn ensure_address(namespace: Option<&str>, link: &str, address: &str) -> Result<()> {
    let replace = ["address", "replace", address, "dev", link];
    match address.contains(':') {
        // Duplicate address detection would make the first second after a start a gamble.
        true => ip(namespace, &[&replace[..], &["nodad"]].concat()),
        false => ip(namespace, &replace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_without_its_peer() {
        let shown = "1: lo: <LOOPBACK,UP> mtu 65536 qdisc noqueue\n\
                     7: m11@if2: <BROADCAST,UP> mtu 1500 master management\n";
        assert_eq!(names_in(shown).collect::<Vec<_>>(), ["lo", "m11"]);
    }
}
