//! Installing what a fresh Debian 12 lacks. Silent and quick when nothing is missing.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress;

/// What a lab with a control plane alone needs, and what the project's crates link.
const CORE: &[&str] = &[
    "ca-certificates",
    "curl",
    "gcc",
    "iproute2",
    // gcc only recommends it, and linking needs it.
    "libc6-dev",
    // What etcd's protocol is compiled with, when etcd-client is built.
    "libprotobuf-dev",
    "libvirt-dev",
    "pkg-config",
    "procps",
    "protobuf-compiler",
    // In which the tests of the API install what compares it with its document.
    "python3-venv",
];

/// What the machines of a lab run, and what their images are built with.
const MACHINES: &[&str] = &[
    "busybox-static",
    "conntrack",
    "cpio",
    "dnsmasq-base",
    "dosfstools",
    "e2fsprogs",
    "fdisk",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "iputils-ping",
    "kmod",
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "mmdebstrap",
    "mount",
    "mtools",
    "nftables",
    "ovmf",
    "qemu-block-extra",
    "qemu-system-x86",
    "qemu-utils",
    // With which the tests of backups read what we write, and write what we read.
    "restic",
    "socat",
    "syslinux",
    "syslinux-common",
    "tgt",
    "util-linux",
    "xfsprogs",
    "zstd",
];

/// What a storage machine with Ceph runs beside that: 220 MB that most labs do without.
const CEPH: &[&str] = &["ceph-common", "ceph-mgr", "ceph-mon", "ceph-osd"];

/// In which the pages for people are tested: 350 MB that nothing else needs.
const BROWSER: &[&str] = &["chromium", "chromium-driver", "fonts-dejavu-core"];

/// How much of the list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages {
    Core,
    All,
    AllWithCeph,
    /// Beside any of the others.
    Browser,
}

impl Packages {
    pub fn names(self) -> Vec<&'static str> {
        match self {
            Self::Core => CORE.to_vec(),
            Self::All => CORE.iter().chain(MACHINES).copied().collect(),
            Self::AllWithCeph => [CORE, MACHINES, CEPH].concat(),
            Self::Browser => BROWSER.to_vec(),
        }
    }
}

/// Installs what is missing.
pub fn ensure(packages: Packages) -> Result<()> {
    let missing = missing(&packages.names())?;
    if missing.is_empty() {
        return Ok(());
    }
    // Only apt needs root here, so a user who lacks nothing is not asked for it.
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "these packages are missing and only root can install them: {}",
            missing.join(" ")
        );
    }
    progress::note(format!("missing packages: {}", missing.join(" ")));
    let step = progress::step(format!("installing {} packages with apt", missing.len()));
    if install(&missing).is_err() {
        // The lists may be absent or so old that the server no longer has what they name.
        progress::run(&mut apt_get(&["update"]))?;
        install(&missing)?;
    }
    keep_daemons_off()?;
    step.done("installed");
    Ok(())
}

fn missing(wanted: &[&'static str]) -> Result<Vec<&'static str>> {
    // dpkg-query fails when any name is unknown to it, and lists the others all the same.
    let output = Command::new("dpkg-query")
        .args([
            "--show",
            "--showformat",
            "${db:Status-Abbrev}\t${Package}\n",
        ])
        .args(wanted)
        .output()
        .context("dpkg-query is missing: the lab is made for Debian")?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let installed: BTreeSet<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("ii "))
        .map(str::trim)
        .collect();
    Ok(wanted
        .iter()
        .copied()
        .filter(|name| !installed.contains(name))
        .collect())
}

fn install(missing: &[&str]) -> Result<()> {
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"]);
    progress::run(command.args(missing)).map(drop)
}

fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["--option", "DPkg::Lock::Timeout=300", "--quiet", "--quiet"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C");
    command
}

/// Debian starts tgt when it is installed, and a watcher of Ceph's crashes; a lab runs daemons of its own, in its own namespaces, and
/// one in the root namespace would only be in the way. Where no systemd runs, none was started.
fn keep_daemons_off() -> Result<()> {
    if Path::new("/run/systemd/system").is_dir() {
        for service in ["tgt.service", "ceph-crash.service"] {
            // Fails for one that is not installed.
            let _ = progress::run(Command::new("systemctl").args(["disable", "--now", service]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_does_not_exist_is_missing_and_one_that_is_there_is_not() {
        assert_eq!(
            missing(&["dpkg", "no-such-package"]).unwrap(),
            ["no-such-package"]
        );
    }

    #[test]
    fn no_package_is_listed_twice() {
        let all = Packages::AllWithCeph.names();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
