//! How far backups and restores are, and what they have done.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Trouble;
use crate::Bytes;

/// How far a run is. It is told in few steps: each is written to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub done: Bytes,
    /// What is to be read of the storage, or written to it.
    pub of: Bytes,
}

/// A backup that is in the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDone {
    /// As restic names it: 64 hexadecimal digits.
    pub backup: String,
    /// Of all volumes together.
    pub size: Bytes,
    /// By the host's clock, seconds since 1970: of the attempt that ended well.
    pub began_at: i64,
    pub ended_at: i64,
    /// What the run did. Not known when its answer was lost, and a repetition found the backup.
    pub counts: Option<BackupCounts>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupCounts {
    /// Of the storage.
    pub read: Bytes,
    /// What the repository has grown by.
    pub added: Bytes,
    /// In the order of the item.
    pub volumes: Vec<VolumeBackedUp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeBackedUp {
    pub file: String,
    pub size: Bytes,
    pub read: Bytes,
    /// Why nothing was taken from the backup before; `None` when only changes were read.
    pub full: Option<Trouble>,
}

/// A volume that holds what the backup held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreDone {
    /// What was written, zeros included.
    pub written: Bytes,
    /// By the host's clock, seconds since 1970: of the attempt that ended well.
    pub began_at: i64,
    pub ended_at: i64,
    /// Of what was read back from the volume, as long as the backup's file: each block is what the
    /// backup says of it. Absent when that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Sha256>,
}

/// What stands beside the volumes of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRead {
    /// All that is needed to build the machine anew, in JSON, as it was written.
    pub machine: String,
    pub files: Vec<ManifestFile>,
}

/// One volume of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Such as `root.raw`.
    pub file: String,
    pub size: Bytes,
}

/// A SHA-256; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256(pub [u8; 32]);

/// A text that is no SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a SHA-256: 64 hexadecimal digits, in small letters")]
pub struct NotSha256(String);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = NotSha256;
    fn from_str(text: &str) -> Result<Self, NotSha256> {
        let wrong = || NotSha256(text.to_owned());
        let small = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 64 || !text.bytes().all(small) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = text.get(at * 2..at * 2 + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = NotSha256;
    fn try_from(text: String) -> Result<Self, NotSha256> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(sum: Sha256) -> Self {
        sum.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_as_it_is_written_and_nothing_else_does() {
        let sum = Sha256(std::array::from_fn(|at| 7 * u8::try_from(at).unwrap()));
        let text = sum.to_string();
        assert_eq!(text.parse(), Ok(sum));
        for wrong in [
            &text[1..],
            &text.to_uppercase(),
            &format!("g{}", &text[1..]),
            "é",
        ] {
            assert!(wrong.parse::<Sha256>().is_err(), "{wrong}");
        }
    }
}
