//! Which lab has which index on this machine.
//!
//! The registry lies in `/run`, so a reboot clears it together with all that the labs had running.
//! It is changed only under its lock. A lab whose folder is gone has given its index back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::Flock;

use crate::address::{Addresses, LAST_INDEX, Port};
use crate::cache::{lock, write_whole};

#[derive(Debug, Clone)]
pub struct Registry {
    dir: PathBuf,
}

type Entries = BTreeMap<u8, PathBuf>;

impl Registry {
    pub fn of_this_machine() -> Self {
        Self {
            dir: PathBuf::from("/run/dc-lab"),
        }
    }

    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Gives the lab in `folder` an index of its own: the one it had, if it had one (`wanted`).
    pub fn claim(&self, folder: &Path, wanted: Option<u8>) -> Result<u8> {
        self.change(|entries| {
            entries.retain(|_, owner| owner.is_dir());
            if let Some((index, _)) = entries.iter().find(|(_, owner)| *owner == folder) {
                return Ok(*index);
            }
            let index = match wanted {
                Some(index) => match entries.get(&index) {
                    None => index,
                    Some(owner) => bail!(
                        "the lab in {} stood at place {index}, which the lab in {} has taken since \
                         the machine was restarted; take one of them down first",
                        folder.display(),
                        owner.display()
                    ),
                },
                None => (1..=LAST_INDEX)
                    .find(|index| !entries.contains_key(index) && is_unused(*index))
                    .context("no place is free for another lab on this machine")?,
            };
            entries.insert(index, folder.to_owned());
            Ok(index)
        })
    }

    /// Gives the index back. The last one takes the registry with it.
    pub fn release(&self, folder: &Path) -> Result<()> {
        if !self.dir.is_dir() {
            return Ok(());
        }
        self.change(|entries| {
            entries.retain(|_, owner| owner != folder && owner.is_dir());
            Ok(())
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Entries) -> Result<T>) -> Result<T> {
        let _lock = self.lock()?;
        let file = self.dir.join("labs.json");
        let mut entries: Entries = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Entries::new(),
            Err(error) => return Err(error).context(format!("cannot read {}", file.display())),
        };
        let result = change(&mut entries)?;
        if entries.is_empty() {
            fs::remove_dir_all(&self.dir)?;
        } else {
            write_whole(&file, &serde_json::to_vec_pretty(&entries)?)?;
        }
        Ok(result)
    }

    /// The last lab removes the folder with the lock in it: whoever waited for that lock holds
    /// nothing and asks again.
    fn lock(&self) -> Result<Flock<File>> {
        let path = self.dir.join("lock");
        loop {
            fs::create_dir_all(&self.dir)
                .with_context(|| format!("cannot make {}; are you root?", self.dir.display()))?;
            let held = lock(&path)?;
            let there = fs::metadata(&path).ok().map(|file| file.ino());
            if there == Some(held.metadata()?.ino()) {
                return Ok(held);
            }
        }
    }
}

/// A place whose ports a stranger listens on is passed over.
fn is_unused(index: u8) -> bool {
    let addresses = Addresses::of(index);
    Port::ALL
        .iter()
        .all(|port| TcpListener::bind(addresses.loopback(*port)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labs_get_places_of_their_own_and_keep_them() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(dir.path().join("run"));
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir(&a).unwrap();
        fs::create_dir(&b).unwrap();
        let first = registry.claim(&a, None).unwrap();
        let second = registry.claim(&b, None).unwrap();
        assert_ne!(first, second);
        assert_eq!(registry.claim(&a, None).unwrap(), first);
        registry.release(&a).unwrap();
        assert!(registry.claim(&a, Some(second)).is_err(), "it is taken");
        assert_eq!(registry.claim(&b, Some(second)).unwrap(), second);
    }

    #[test]
    fn the_last_lab_takes_the_registry_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(dir.path().join("run"));
        registry.claim(dir.path(), None).unwrap();
        registry.release(dir.path()).unwrap();
        assert!(!dir.path().join("run").exists());
    }

    #[test]
    fn a_place_whose_ports_are_in_use_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(dir.path().join("run"));
        let first = registry.claim(dir.path(), None).unwrap();
        registry.release(dir.path()).unwrap();
        let _stranger = TcpListener::bind(Addresses::of(first).loopback(Port::Ledger)).unwrap();
        assert_ne!(registry.claim(dir.path(), None).unwrap(), first);
    }
}
