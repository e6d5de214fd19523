//! The recipes, carried in the program so that it builds the images that it was built for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::GuestImage;

pub(super) struct RecipeFile {
    pub name: &'static str,
    pub content: &'static str,
}

impl RecipeFile {
    pub fn write_into(&self, dir: &Path) -> Result<()> {
        let path = dir.join(self.name);
        fs::write(&path, self.content)
            .with_context(|| format!("cannot write {}", path.display()))?;
        if self.content.starts_with("#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

macro_rules! recipe {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(RecipeFile {
            name: $name,
            content: include_str!(concat!("../../images/", $folder, "/", $name)),
        }),*]
    };
}

pub(super) fn files(image: GuestImage) -> &'static [RecipeFile] {
    match image {
        GuestImage::Tiny => recipe!("tiny":
            "boot", "build.sh", "counter", "init", "inittab", "lease", "modules", "network",
            "probe", "profile", "seed", "syslinux.cfg", "user-data", "yaml.awk",
        ),
        GuestImage::Debian => recipe!("debian":
            "build.sh", "customize.sh", "initramfs.sh", "packages",
        ),
    }
}
