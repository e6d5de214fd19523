//! What is expensive to make is made once per machine: built binaries and images.
//!
//! The cache lies outside the work tree (`$DC_CACHE`, else `~/.cache/dc-lab`), so that it survives
//! a fresh clone. An entry is a folder named after a digest of everything that it was made from. It
//! is made beside its place and renamed, so that an entry that exists is whole.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::progress;

/// The first letters of a folder that is being filled.
const UNFINISHED: &str = ".making-";

#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    pub fn from_env() -> Result<Self> {
        let root = match (std::env::var_os("DC_CACHE"), std::env::var_os("HOME")) {
            (Some(given), _) if !given.is_empty() => PathBuf::from(given),
            (_, Some(home)) if !home.is_empty() => Path::new(&home).join(".cache/dc-lab"),
            _ => PathBuf::from("/var/cache/dc-lab"),
        };
        Self::at(root)
    }

    pub fn at(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)
            .with_context(|| format!("cannot make the cache {}", root.display()))?;
        Ok(Self {
            root: root.canonicalize()?,
        })
    }

    /// Where the entry lies, if it is there.
    pub fn find(&self, kind: &str, key: &str) -> Option<PathBuf> {
        let place = self.root.join(kind).join(key);
        place.is_dir().then_some(place)
    }

    /// The entry's folder; `make` fills an empty one if it is not there yet. Two processes that
    /// want the same kind take turns, and the second finds the work done.
    pub fn get_or_make(
        &self,
        kind: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(place) = self.find(kind, key) {
            return Ok(place);
        }
        let shelf = self.root.join(kind);
        fs::create_dir_all(&shelf)?;
        let _turn = wait_turn(&shelf.join(".lock"))?;
        if let Some(place) = self.find(kind, key) {
            return Ok(place);
        }
        clear_abandoned(&shelf)?;
        let bench = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&shelf)?;
        make(bench.path())?;
        let place = shelf.join(key);
        fs::rename(bench.keep(), &place)
            .with_context(|| format!("cannot put {} in its place", place.display()))?;
        Ok(place)
    }
}

/// Whoever was killed while making has left its folder; nobody else makes anything on this shelf
/// while its lock is held.
fn clear_abandoned(shelf: &Path) -> Result<()> {
    for entry in fs::read_dir(shelf)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(UNFINISHED))
        {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A digest of parts, short enough for a file name (128 bits).
pub fn digest<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        // The length first, so that ("ab", "c") and ("a", "bc") differ.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// As [`lock`], and says that it waits: what another command is making may take minutes.
fn wait_turn(path: &Path) -> Result<Flock<File>> {
    match Flock::lock(open_lock(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(held),
        Err(_) => {
            let step = progress::step("waiting for another command that is filling the cache");
            let held = lock(path)?;
            step.done("it is our turn");
            Ok(held)
        }
    }
}

fn open_lock(path: &Path) -> Result<File> {
    let open = || File::options().create(true).append(true).open(path);
    open().with_context(|| format!("cannot open the lock {}", path.display()))
}

/// Waits for the turn to hold the lock file; it is given back when the value is dropped.
pub fn lock(path: &Path) -> Result<Flock<File>> {
    Flock::lock(open_lock(path)?, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .with_context(|| format!("cannot lock {}", path.display()))
}

/// Writes a file so that a reader sees the old content or the new one, never a part, also after a
/// power cut. Its mode is 0600: some of what is written this way is secret.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let made = cache
            .get_or_make("bin", "k1", |place| {
                Ok(fs::write(place.join("tool"), "first")?)
            })
            .unwrap();
        let found = cache
            .get_or_make("bin", "k1", |_| panic!("it is there already"))
            .unwrap();
        assert_eq!(made, found);
        assert_eq!(fs::read_to_string(found.join("tool")).unwrap(), "first");
    }

    #[test]
    fn an_entry_whose_making_failed_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let failed = cache.get_or_make("bin", "k1", |place| {
            fs::write(place.join("half"), "done")?;
            anyhow::bail!("the build broke")
        });
        assert!(failed.is_err());
        assert_eq!(cache.find("bin", "k1"), None);
        let names = fs::read_dir(dir.path().join("bin")).unwrap().flatten();
        let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
        assert_eq!(names, [".lock"], "the half-made folder is gone");
    }

    #[test]
    fn what_a_killed_maker_has_left_is_cleared_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let abandoned = dir.path().join("bin/.making-x/deep");
        fs::create_dir_all(&abandoned).unwrap();
        cache.get_or_make("bin", "k1", |_| Ok(())).unwrap();
        assert!(!dir.path().join("bin/.making-x").exists());
    }

    #[test]
    fn a_digest_tells_where_one_part_ends() {
        assert_ne!(digest(["ab", "c"]), digest(["a", "bc"]));
    }
}
