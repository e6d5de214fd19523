//! Recovery keys, in a folder that root alone can read: a file for each, called by the key's id.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dc_operator_core::backup::password::{RecoveryKey, RecoveryKeyError};
use dc_operator_core::backup::repository::RecoveryKeys;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

/// A printed key is 84 bytes.
const LONGEST: u64 = 4096;

#[derive(Debug, Error)]
pub enum RecoveryError {
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} can be read by everybody; take that right away, as by `chmod o-rwx`", .path.display())]
    Open { path: PathBuf },
    #[error("{} is no recovery key", .path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: RecoveryKeyError,
    },
    #[error("{}: a key's file is called by its id: a-z, 0-9 and -, at most 63", .path.display())]
    Name { path: PathBuf },
    #[error("the system gives no random bytes")]
    Random,
}

/// A key that nobody has had.
pub fn new() -> Result<RecoveryKey, RecoveryError> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| RecoveryError::Random)?;
    Ok(RecoveryKey::new(bytes))
}

/// Every key of a folder. Files that begin with a dot are left alone: a mounted Secret has some.
pub fn read(folder: &Path) -> Result<RecoveryKeys, RecoveryError> {
    let cannot = |source| RecoveryError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut keys = RecoveryKeys::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.map(str::to_owned) else {
            return Err(RecoveryError::Name { path });
        };
        if name.starts_with('.') {
            continue;
        }
        if !is_id(&name) {
            return Err(RecoveryError::Name { path });
        }
        keys.insert(name, read_closed(&path)?);
    }
    Ok(keys)
}

fn is_id(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = !name.starts_with('-') && !name.ends_with('-');
    (1..=63).contains(&name.len()) && name.bytes().all(plain) && ends
}

fn read_closed(path: &Path) -> Result<RecoveryKey, RecoveryError> {
    let found = fs::metadata(path).map_err(|source| RecoveryError::Read {
        path: path.to_owned(),
        source,
    })?;
    if found.permissions().mode() & 0o007 != 0 {
        let path = path.to_owned();
        return Err(RecoveryError::Open { path });
    }
    read_one(path)
}

/// One key as it is printed, from a file or from standard input (`-`).
pub fn read_one(path: &Path) -> Result<RecoveryKey, RecoveryError> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().take(LONGEST).read_to_string(&mut text),
        false => fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text)),
    };
    read.map_err(|source| RecoveryError::Read {
        path: path.to_owned(),
        source,
    })?;
    RecoveryKey::read(&text).map_err(|source| RecoveryError::Key {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_keys_of_a_folder_are_read_and_one_that_everybody_can_read_is_refused() {
        let folder = std::env::temp_dir().join(format!("recovery-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let (first, second) = (new().unwrap(), new().unwrap());
        assert_ne!(first, second);
        write(
            &folder.join("2026a"),
            &format!("{}\n", first.printed()),
            0o400,
        );
        write(&folder.join("2027"), &second.printed(), 0o440);
        write(&folder.join("..data"), "of a mounted Secret", 0o444);
        let keys = read(&folder).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys["2026a"], first);
        assert_eq!(read_one(&folder.join("2027")).unwrap(), second);
        write(&folder.join("open"), &first.printed(), 0o444);
        assert!(matches!(read(&folder), Err(RecoveryError::Open { .. })));
        fs::remove_file(folder.join("open")).unwrap();
        write(&folder.join("Bad Name"), &first.printed(), 0o400);
        assert!(matches!(read(&folder), Err(RecoveryError::Name { .. })));
        fs::remove_file(folder.join("Bad Name")).unwrap();
        write(&folder.join("short"), "0000", 0o400);
        assert!(matches!(read(&folder), Err(RecoveryError::Key { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }
}
