//! Whether an item makes sense by itself. The operator has checked most of this; a host believes
//! nobody, because what it is told ends in file names and addresses.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use dc_types::Bytes;
use dc_types::plan::{BackupItem, ManifestItem, RepositoryAccess, RepositoryPlace, RestoreItem};

use super::trouble::BackupTrouble;

/// What restic gives a file's name in a backup, and every file system takes.
const NAME_MAX: usize = 255;

/// The largest text that is taken for a machine's description; it is held in memory.
const MANIFEST_MAX: usize = 1 << 20;

pub fn validate_backup(item: &BackupItem) -> Result<(), BackupTrouble> {
    let BackupItem {
        run: _,
        repository,
        make: _,
        machine,
        manifest,
        volumes,
        parent,
        limit,
    } = item;
    validate_repository(repository)?;
    let plain = |c: char| !c.is_control() && !c.is_whitespace();
    if machine.is_empty() || machine.len() > NAME_MAX || !machine.chars().all(plain) {
        return invalid(format!(
            "machine {machine:?} is no name of 1 to {NAME_MAX} bytes without spaces"
        ));
    }
    if manifest.len() > MANIFEST_MAX {
        return invalid(format!(
            "the machine's description has {} bytes, and at most {MANIFEST_MAX} are taken",
            manifest.len()
        ));
    }
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(manifest) {
        return invalid(format!("the machine's description is no JSON: {error}"));
    }
    if volumes.is_empty() {
        return invalid("a backup of no volumes would hold nothing".to_owned());
    }
    let mut files = BTreeSet::from(["manifest.json"]);
    for volume in volumes {
        validate_file(&volume.file)?;
        if !files.insert(&volume.file) {
            return invalid(format!(
                "file {:?} of the backup would be two things: name each volume otherwise, and none \
                 manifest.json",
                volume.file
            ));
        }
    }
    validate_limit(*limit)?;
    parent.as_deref().map_or(Ok(()), validate_id)
}

pub fn validate_restore(item: &RestoreItem) -> Result<(), BackupTrouble> {
    let RestoreItem {
        run: _,
        repository,
        backup,
        file,
        volume: _,
        pool: _,
        size: _,
        verify: _,
        limit,
    } = item;
    validate_repository(repository)?;
    validate_id(backup)?;
    validate_limit(*limit)?;
    validate_file(file)
}

pub fn validate_manifest(item: &ManifestItem) -> Result<(), BackupTrouble> {
    let ManifestItem {
        run: _,
        repository,
        backup,
    } = item;
    validate_repository(repository)?;
    validate_id(backup)
}

fn validate_limit(limit: Option<Bytes>) -> Result<(), BackupTrouble> {
    match limit {
        Some(Bytes(0)) => invalid("at 0 bytes a second it would never end".to_owned()),
        Some(_) | None => Ok(()),
    }
}

fn validate_id(id: &str) -> Result<(), BackupTrouble> {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    match id.len() == 64 && id.bytes().all(hex) {
        true => Ok(()),
        false => invalid(format!(
            "backup {id:?} is not 64 lower-case hexadecimal digits: see restic snapshots --json"
        )),
    }
}

fn validate_file(file: &str) -> Result<(), BackupTrouble> {
    let is_name = !file.contains(['/', '\\', '\0']) && !matches!(file, "" | "." | "..");
    match is_name && file.len() <= NAME_MAX {
        true => Ok(()),
        false => invalid(format!(
            "file {file:?} of the backup is no name of 1 to {NAME_MAX} bytes without a slash"
        )),
    }
}

fn validate_repository(access: &RepositoryAccess) -> Result<(), BackupTrouble> {
    if access.password.0.is_empty() {
        return invalid("the repository's password is empty".to_owned());
    }
    match &access.place {
        RepositoryPlace::Folder { path } => validate_folder(path),
        RepositoryPlace::Rest {
            url,
            user: _,
            login: _,
            ca,
        } => {
            validate_url(url)?;
            match ca.is_empty() || ca.contains("-----BEGIN CERTIFICATE-----") {
                true => Ok(()),
                false => invalid(format!(
                    "what is given as the certificates that the server at {url} is signed by holds \
                     none in PEM"
                )),
            }
        }
    }
}

/// From the root on, and only down.
fn validate_folder(path: &str) -> Result<(), BackupTrouble> {
    let mut parts = Path::new(path).components();
    let rooted = parts.next() == Some(Component::RootDir);
    let down = parts
        .clone()
        .all(|part| matches!(part, Component::Normal(_)));
    match rooted && down && parts.count() > 0 && !path.contains('\0') {
        true => Ok(()),
        false => invalid(format!(
            "repository folder {path:?} is not a path from the root on without '..'"
        )),
    }
}

/// What is in it may be shown; a password would be too.
fn validate_url(url: &str) -> Result<(), BackupTrouble> {
    let rest = url.strip_prefix("https://").unwrap_or_default();
    let odd = |c: char| c.is_control() || c.is_whitespace() || "@?#\\".contains(c);
    if rest.is_empty() || rest.starts_with('/') || url.len() > 2048 || rest.chars().any(odd) {
        // What may hold a password is not repeated.
        return invalid(
            "the repository's address is not https://host:port/folder/ without user, password and \
             query"
                .to_owned(),
        );
    }
    Ok(())
}

fn invalid(why: String) -> Result<(), BackupTrouble> {
    Err(BackupTrouble::Invalid(why))
}
