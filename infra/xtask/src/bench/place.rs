//! The pure placement, in a program of its own built for release.

use anyhow::{Result, bail};
use dc_lab::cargo;

pub fn run() -> Result<()> {
    let status = cargo::command()
        .args([
            "run",
            "--release",
            "--quiet",
            "--package",
            "dc-operator-core",
            "--example",
            "place",
        ])
        .status()?;
    if !status.success() {
        bail!("the placement bench failed");
    }
    Ok(())
}
