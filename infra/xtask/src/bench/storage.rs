//! The storage drivers beside the tools that do the least. The measuring is an example of `dc-host`;
//! it runs in namespaces of its own, so that its file systems and daemons go with it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dc_lab::cargo;
use dc_lab::lab::work_tree;

/// All drivers, or the one that is named.
pub fn run(driver: Option<&str>) -> Result<()> {
    let build = [
        "build",
        "--release",
        "-p",
        "dc-host",
        "--example",
        "storage",
    ];
    let built = cargo::command().args(build).status();
    let built = built.context("cannot start cargo")?;
    ensure!(built.success(), "the bench does not build");
    // On the disk, not in memory: a pool lies on one.
    let target = work_tree().join("target");
    let folder = tempfile::Builder::new()
        .prefix("bench-storage-")
        .tempdir_in(&target)?;
    let program = target.join("release/examples/storage");
    let ended = inside(&program, folder.path())
        .args(driver)
        .status()
        .context("cannot start unshare of util-linux")?;
    ensure!(ended.success(), "the bench ended with {ended}");
    Ok(())
}

fn inside(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "--net", "--pid"])
        .args(["--fork", "--kill-child", "--mount-proc", "--"])
        .arg(program)
        .arg(folder);
    command
}
