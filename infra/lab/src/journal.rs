//! What a lab has made outside its own folder, so that all of it can be taken away again.
//!
//! A line is written, and on disk, **before** the thing is made: after a crash at any point, every
//! thing that exists has its line. Lines without a thing are harmless, since removal of what is not
//! there is no error. Removal goes from the last line to the first.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One thing that outlives the program that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Made {
    /// A daemon of [`crate::process`], by its name.
    Process { name: String },
    /// A named network namespace (`ip netns`).
    NetNamespace { name: String },
    /// A network device in the root network namespace.
    Link { name: String },
    /// A mount in the root mount namespace.
    Mount { path: PathBuf },
    /// A loop device over this file.
    LoopDevice { file: PathBuf },
    /// An nftables table in the root network namespace.
    NftTable { family: String, name: String },
    /// A folder outside the lab's own one.
    Folder { path: PathBuf },
}

#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Notes that the thing is about to be made. What is noted already is not noted twice.
    pub fn will_make(&self, made: &Made) -> Result<()> {
        if self.read()?.contains(made) {
            return Ok(());
        }
        let mut line = serde_json::to_vec(made)?;
        line.push(b'\n');
        if self.ends_in_a_cut_line()? {
            line.insert(0, b'\n');
        }
        let write = || -> std::io::Result<()> {
            if let Some(dir) = self.path.parent() {
                fs::create_dir_all(dir)?;
            }
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path)?;
            file.write_all(&line)?;
            file.sync_all()
        };
        write().with_context(|| format!("cannot write the journal {}", self.path.display()))
    }

    /// All that was noted, the first first. A last line that a crash has cut off is not there: its
    /// thing was not made.
    pub fn read(&self) -> Result<Vec<Made>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(error).context(format!("cannot read {}", self.path.display()));
            }
        };
        let mut all = Vec::new();
        for line in text.split_inclusive('\n') {
            let Some(line) = line.strip_suffix('\n') else {
                break;
            };
            if let Ok(made) = serde_json::from_str(line) {
                all.push(made);
            }
        }
        Ok(all)
    }

    fn ends_in_a_cut_line(&self) -> Result<bool> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(bytes.last().is_some_and(|last| *last != b'\n')),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).context(format!("cannot read {}", self.path.display())),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> Made {
        Made::Link {
            name: name.to_owned(),
        }
    }

    #[test]
    fn what_is_noted_is_read_back_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::at(dir.path().join("journal"));
        for name in ["a", "b", "a"] {
            journal.will_make(&link(name)).unwrap();
        }
        assert_eq!(journal.read().unwrap(), [link("a"), link("b")]);
    }

    #[test]
    fn a_line_cut_off_by_a_crash_does_not_hide_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::at(dir.path().join("journal"));
        journal.will_make(&link("a")).unwrap();
        let mut file = OpenOptions::new()
            .append(true)
            .open(journal.path())
            .unwrap();
        file.write_all(b"{\"kind\":\"li").unwrap();
        assert_eq!(journal.read().unwrap(), [link("a")]);
        journal.will_make(&link("b")).unwrap();
        assert_eq!(journal.read().unwrap(), [link("a"), link("b")]);
    }
}
