//! `manifest.json`: what stands beside the volumes in every backup, for whoever restores it, also
//! without this product.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// The file's name in a backup; no volume may have it.
pub const MANIFEST: &str = "manifest.json";

/// What is written and understood. A later version adds fields without raising it; it is raised
/// when an older reader would understand something wrongly.
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Everything needed to build the machine anew elsewhere; its shape is the caller's.
    pub machine: Value,
    /// In the order of their files' names.
    pub volumes: Vec<VolumeEntry>,
}

/// One file of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeEntry {
    pub file: String,
    /// In bytes.
    pub size: u64,
    /// In bytes; on which grid the file is cut.
    pub block: u64,
    pub origin: Origin,
}

/// Which state of which volume it is. The next backup takes unchanged blocks from this one only if
/// its changed extents are told from this very snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The volume's id, the same for life.
    pub volume: String,
    /// The snapshot of the storage that was read.
    pub snapshot: String,
}

/// What is no manifest for us.
#[derive(Debug, Error)]
pub enum NoManifest {
    #[error("it has format {found}, and {FORMAT} is understood")]
    Format { found: u32 },
    #[error(transparent)]
    Broken(#[from] serde_json::Error),
}

impl Manifest {
    /// # Errors
    /// When it is none, or one of a format that is not understood.
    pub fn parse(json: &[u8]) -> Result<Self, NoManifest> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_slice(json)?;
        if version.format != FORMAT {
            let found = version.format;
            return Err(NoManifest::Format { found });
        }
        Ok(serde_json::from_slice(json)?)
    }

    #[must_use]
    pub fn volume(&self, file: &str) -> Option<&VolumeEntry> {
        self.volumes.iter().find(|volume| volume.file == file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first version wrote it: it stays readable.
    const FIRST: &str = r#"{"format":1,"machine":{"name":"db-1"},"volumes":[{"file":"root.raw",
        "size":4194304,"block":4194304,"origin":{"volume":"v","snapshot":"s"}}]}"#;

    #[test]
    fn a_manifest_of_the_first_version_is_read() {
        let manifest = Manifest::parse(FIRST.as_bytes()).unwrap();
        assert_eq!(manifest.volume("root.raw").unwrap().origin.snapshot, "s");
        assert_eq!(manifest.volume("data.raw"), None);
    }

    #[test]
    fn a_manifest_of_another_format_is_refused_with_its_number() {
        let other = r#"{"format":2,"entirely":"different"}"#;
        let refused = Manifest::parse(other.as_bytes()).unwrap_err();
        assert_eq!(refused.to_string(), "it has format 2, and 1 is understood");
    }
}
