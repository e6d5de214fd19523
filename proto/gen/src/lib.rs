//! Makes the Rust of the protocol. The result is checked in under `proto/src/generated`, so that
//! building the project needs neither protoc nor this crate; a test here proves it current.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The one generated file, below `proto/`.
pub const GENERATED: &str = "src/generated/dc.agent.v1.rs";

/// The folder `proto/` of the work tree this was built from.
#[must_use]
pub fn proto_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text that [`GENERATED`] ought to have.
pub fn render() -> Result<String> {
    let root = proto_dir();
    let files = protox::compile(["dc/agent/v1/agent.proto"], [&root])
        .context("compile dc/agent/v1/agent.proto")?;
    let out = tempfile::tempdir().context("make a folder for the generated Rust")?;
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        // Its Debug form is written by hand: a secret must not be seen in a log.
        .skip_debug(["dc.agent.v1.Secret"])
        .compile_fds(files)
        .context("generate Rust from dc/agent/v1/agent.proto")?;
    let file = out.path().join("dc.agent.v1.rs");
    fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
}

/// Writes [`GENERATED`]; says whether it was different.
pub fn write() -> Result<bool> {
    let text = render()?;
    let path = proto_dir().join(GENERATED);
    if fs::read_to_string(&path).is_ok_and(|now| now == text) {
        return Ok(false);
    }
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_rust_is_what_the_proto_files_say() {
        let path = proto_dir().join(GENERATED);
        let now = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            now == render().unwrap(),
            "{} is not current: run `cargo xtask gen`",
            path.display()
        );
    }
}
