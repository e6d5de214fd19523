//! A lab: its name, its folder, its place among the labs of this machine.
//!
//! All that a lab keeps lies in `.lab/<name>/` of the work tree. What it has outside of that folder
//! (processes, namespaces, devices, mounts) is in its [`Journal`] and is taken away by
//! [`crate::teardown`].

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::address::Addresses;
use crate::cache::write_whole;
use crate::journal::Journal;
use crate::process::Identity;
use crate::registry::Registry;

/// The name of a lab: a DNS label, for it becomes part of host and cluster names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabName(String);

impl LabName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LabName {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=40).contains(&name.len())
            && name.bytes().all(label)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if !fits {
            bail!(
                "{name:?} cannot name a lab: use 1 to 40 lower-case letters, digits and hyphens, \
                 with no hyphen first or last"
            );
        }
        Ok(Self(name.to_owned()))
    }
}

/// Who answers for a lab's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Owner {
    /// A person, by `cargo xtask down`.
    Person,
    /// The test process that made it; once that is gone, the lab is an orphan.
    Test(Identity),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Identification {
    name: LabName,
    index: u8,
    id: Uuid,
    owner: Owner,
}

#[derive(Debug, Clone)]
pub struct Lab {
    identification: Identification,
    folder: PathBuf,
    journal: Journal,
}

impl Lab {
    /// The lab of this name in this work tree, made if it is not there.
    pub fn open_or_create(name: &LabName, owner: Owner) -> Result<Self> {
        let labs = labs_folder();
        fs::create_dir_all(&labs)?;
        let folder = labs.canonicalize()?.join(name.as_str());
        let old = read_identification(&folder)?;
        fs::create_dir_all(&folder)?;
        let index =
            Registry::of_this_machine().claim(&folder, old.as_ref().map(|old| old.index))?;
        let identification = old.unwrap_or_else(|| Identification {
            name: name.clone(),
            index,
            id: Uuid::new_v4(),
            owner,
        });
        write_whole(
            &folder.join("lab.json"),
            &serde_json::to_vec_pretty(&identification)?,
        )?;
        Ok(Self::from_parts(identification, folder))
    }

    /// The lab of this name in this work tree, if there is one.
    pub fn open(name: &LabName) -> Result<Option<Self>> {
        let Ok(labs) = labs_folder().canonicalize() else {
            return Ok(None);
        };
        let folder = labs.join(name.as_str());
        Ok(read_identification(&folder)?.map(|found| Self::from_parts(found, folder)))
    }

    /// All labs of this work tree.
    pub fn list() -> Result<Vec<Self>> {
        let Ok(entries) = fs::read_dir(labs_folder()) else {
            return Ok(Vec::new());
        };
        let mut labs = Vec::new();
        for entry in entries {
            // Another command may take one away while we look.
            let Ok(folder) = entry?.path().canonicalize() else {
                continue;
            };
            if let Some(found) = read_identification(&folder)? {
                labs.push(Self::from_parts(found, folder));
            }
        }
        Ok(labs)
    }

    fn from_parts(identification: Identification, folder: PathBuf) -> Self {
        let journal = Journal::at(folder.join("journal.jsonl"));
        Self {
            identification,
            folder,
            journal,
        }
    }

    pub fn name(&self) -> &LabName {
        &self.identification.name
    }

    /// Unique to this lab for all time; processes carry it in their environment.
    pub fn id(&self) -> Uuid {
        self.identification.id
    }

    pub fn owner(&self) -> Owner {
        self.identification.owner
    }

    pub fn index(&self) -> u8 {
        self.identification.index
    }

    pub fn addresses(&self) -> Addresses {
        Addresses::of(self.identification.index)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder of the lab's own, made if it is not there.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    pub fn run_dir(&self) -> PathBuf {
        self.folder.join("run")
    }

    pub fn logs_dir(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Only one program at a time may change a lab. Held until the value is dropped.
    pub fn lock(&self) -> Result<Flock<File>> {
        let folder =
            File::open(&self.folder).with_context(|| format!("the lab {} is gone", self.name()))?;
        Flock::lock(folder, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| errno)
            .with_context(|| format!("another command is working on the lab {}", self.name()))
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}

fn read_identification(folder: &Path) -> Result<Option<Identification>> {
    let path = folder.join("lab.json");
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is damaged", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The root of the work tree.
pub fn work_tree() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn labs_folder() -> PathBuf {
    work_tree().join(".lab")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_dns_label_is_refused() {
        for bad in ["", "Sonla", "a b", "-a", "a-", "../x", &"x".repeat(41)] {
            assert!(bad.parse::<LabName>().is_err(), "{bad:?}");
        }
        assert_eq!("sonla-2".parse::<LabName>().unwrap().as_str(), "sonla-2");
    }

    #[test]
    fn the_work_tree_is_the_one_with_the_workspace() {
        assert!(work_tree().join("infra/cluster/go.mod").is_file());
    }
}
