//! Calling cargo from a program that cargo itself has started.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::lab::work_tree;

/// Cargo in the work tree, at the version that started us.
///
/// What the outer cargo has set for its child is taken out of the environment: build scripts that
/// look at such variables (ring does) would be run again, and half of the workspace with them.
pub fn command() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(work_tree());
    for (name, _) in std::env::vars_os() {
        let set_for_child = name.to_str().is_some_and(|name| {
            [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_BIN_",
                "CARGO_CRATE_",
                "CARGO_PRIMARY_",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        });
        if set_for_child {
            command.env_remove(name);
        }
    }
    command
}

/// The project's own programs, as cargo built them.
#[derive(Debug, Clone)]
pub struct Programs {
    pub operator: PathBuf,
    pub agent: PathBuf,
    pub api: PathBuf,
    pub dcctl: PathBuf,
}

/// Builds operator, agent, API and dcctl if they are not current. Cargo shows its own progress.
pub fn build_programs() -> Result<Programs> {
    build(&[], "debug")
}

/// The same, optimised: for benches.
pub fn build_release_programs() -> Result<Programs> {
    build(&["--release"], "release")
}

fn build(profile: &[&str], folder: &str) -> Result<Programs> {
    let built = command()
        .args([
            "build",
            "--quiet",
            "--package",
            "dc-operator",
            "--package",
            "dc-agent",
            "--package",
            "dc-api",
            "--package",
            "dcctl",
        ])
        .args(profile)
        .status()
        .context("cannot run cargo")?;
    if !built.success() {
        bail!(
            "the operator, the agent, the API and dcctl cannot be built; cargo has said why above"
        );
    }
    let folder = target_dir().join(folder);
    let program = |name: &str| -> Result<PathBuf> {
        let path = folder.join(name);
        path.canonicalize()
            .with_context(|| format!("cargo has not made {}", path.display()))
    };
    Ok(Programs {
        operator: program("dc-operator")?,
        agent: program("dc-agent")?,
        api: program("dc-api")?,
        dcctl: program("dcctl")?,
    })
}

fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => work_tree().join(Path::new(&dir)),
        None => work_tree().join("target"),
    }
}
