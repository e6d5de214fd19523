//! NoCloud seeds for tests that boot an image without the agent: a small FAT disk labelled CIDATA.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress;

/// The three files of a seed; what is empty is left out.
#[derive(Debug, Clone, Default)]
pub struct Seed {
    pub meta_data: String,
    pub user_data: String,
    pub network_config: String,
}

/// Sectors of 512 bytes: 1 MiB, the smallest disk on which mtools makes a sound FAT.
const SECTORS: u64 = 2048;

impl Seed {
    /// Writes the seed's disk to `path`.
    pub fn write_disk(&self, path: &Path) -> Result<()> {
        let Self {
            meta_data,
            user_data,
            network_config,
        } = self;
        let file = fs::File::create(path)
            .with_context(|| format!("cannot make the seed {}", path.display()))?;
        file.set_len(SECTORS * 512)?;
        progress::run(
            Command::new("mformat")
                .args([
                    "-v",
                    "CIDATA",
                    "-h",
                    "1",
                    "-s",
                    "1",
                    "-T",
                    &SECTORS.to_string(),
                ])
                .arg("-i")
                .arg(path)
                .arg("::"),
        )?;
        let bench = tempfile::tempdir()?;
        let files = [
            ("meta-data", meta_data),
            ("user-data", user_data),
            ("network-config", network_config),
        ];
        for (name, content) in files.into_iter().filter(|(_, content)| !content.is_empty()) {
            let source = bench.path().join(name);
            fs::write(&source, content)?;
            let mut copy = Command::new("mcopy");
            copy.arg("-i")
                .arg(path)
                .arg(&source)
                .arg(format!("::{name}"));
            progress::run(&mut copy)?;
        }
        Ok(())
    }
}
