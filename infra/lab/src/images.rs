//! The guest images of the lab, built on this machine and kept in the cache.
//!
//! An image is named after the digest of its recipe (`infra/lab/images/<name>/`, carried in this
//! program): a changed recipe makes a new image, and an image that is there is whole. What apt
//! delivers is not part of the name: an image keeps the kernel it was built with until its recipe
//! changes or the cache is cleared.
//!
//! Recipes run in a mount namespace of their own, so that whatever mmdebstrap mounts is gone with
//! it, also after a crash. [`seed`] makes the disks that tell a guest who it is.

mod recipe;
pub mod seed;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::{Cache, digest, write_whole};
use crate::progress;

/// What can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestImage {
    /// Cloud kernel and busybox: up in seconds with 128 MB, boots from BIOS; see its recipe for
    /// what it serves.
    Tiny,
    /// Debian 12 with cloud-init: boots from BIOS and UEFI.
    Debian,
}

impl GuestImage {
    pub const ALL: [Self; 2] = [Self::Tiny, Self::Debian];

    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Debian => "debian-12",
        }
    }

    pub fn format(self) -> DiskFormat {
        match self {
            Self::Tiny => DiskFormat::Raw,
            Self::Debian => DiskFormat::Qcow2,
        }
    }

    /// The image, built if the cache does not have it: seconds for the tiny one, a minute or two
    /// for Debian. Needs root and the packages of [`crate::apt`].
    pub fn ensure(self, cache: &Cache) -> Result<BuiltImage> {
        let files = recipe::files(self);
        let key = format!("{}-{}", self.name(), recipe_digest(files));
        let entry = cache.get_or_make("images", &key, |entry| {
            let step = progress::step(format!("building the guest image {}", self.name()));
            build(self, files, entry)
                .with_context(|| format!("cannot build the guest image {}", self.name()))?;
            step.done("built");
            Ok(())
        })?;
        read_built(self, &entry)
    }

    fn file_name(self) -> String {
        format!("{}.{}", self.name(), self.format().name())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    Raw,
    Qcow2,
}

impl DiskFormat {
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// An image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    pub path: PathBuf,
    pub format: DiskFormat,
    /// Of the file, in lower-case hexadecimal: what an Image object must state.
    pub sha256: String,
    pub size_bytes: u64,
}

/// What is kept beside the file, so that its checksum is computed once.
#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    sha256: String,
    size_bytes: u64,
}

const FACTS: &str = "facts.json";

fn recipe_digest(files: &[recipe::RecipeFile]) -> String {
    let parts = files
        .iter()
        .flat_map(|file| [file.name.as_bytes(), file.content.as_bytes()]);
    digest(parts)
}

fn build(image: GuestImage, files: &[recipe::RecipeFile], entry: &Path) -> Result<()> {
    // Beside the result, so that nothing large lands in a memory-backed /tmp.
    let bench = tempfile::Builder::new()
        .prefix("work-")
        .tempdir_in(entry)
        .context("cannot make a work folder")?;
    let recipe_dir = bench.path().join("recipe");
    let work = bench.path().join("work");
    fs::create_dir(&recipe_dir)?;
    fs::create_dir(&work)?;
    for file in files {
        file.write_into(&recipe_dir)?;
    }
    let out = entry.join(image.file_name());
    progress::run(
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--"])
            .arg("./build.sh")
            .arg(&out)
            .current_dir(&recipe_dir)
            .env("WORK", &work)
            .env("LC_ALL", "C"),
    )?;
    let (sha256, size_bytes) = checksum(&out)?;
    let facts = Facts { sha256, size_bytes };
    write_whole(&entry.join(FACTS), &serde_json::to_vec(&facts)?)?;
    bench.close().context("cannot clear the work folder")
}

fn read_built(image: GuestImage, entry: &Path) -> Result<BuiltImage> {
    let facts = fs::read(entry.join(FACTS))
        .with_context(|| format!("the cached image {} is damaged", entry.display()))?;
    let Facts { sha256, size_bytes } = serde_json::from_slice(&facts)?;
    Ok(BuiltImage {
        path: entry.join(image.file_name()),
        format: image.format(),
        sha256,
        size_bytes,
    })
}

fn checksum(path: &Path) -> Result<(String, u64)> {
    let mut file = File::open(path).with_context(|| format!("no image at {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
    let hex = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok((hex, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_has_a_build_script_that_may_be_run() {
        for image in GuestImage::ALL {
            let build = recipe::files(image).iter().find(|f| f.name == "build.sh");
            assert!(build.is_some_and(|file| file.content.starts_with("#!/bin/sh")));
        }
    }

    #[test]
    fn every_file_of_a_recipe_is_carried() {
        for (image, folder) in [(GuestImage::Tiny, "tiny"), (GuestImage::Debian, "debian")] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("images")
                .join(folder);
            let mut there: Vec<String> = fs::read_dir(dir)
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
            let mut carried: Vec<String> = recipe::files(image)
                .iter()
                .map(|f| f.name.to_owned())
                .collect();
            there.sort();
            carried.sort();
            assert_eq!(there, carried);
        }
    }

    #[test]
    fn a_changed_recipe_makes_another_image() {
        let one = recipe::RecipeFile {
            name: "build.sh",
            content: "a",
        };
        let other = recipe::RecipeFile {
            name: "build.sh",
            content: "b",
        };
        assert_ne!(recipe_digest(&[one]), recipe_digest(&[other]));
    }
}
