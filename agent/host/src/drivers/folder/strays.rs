//! What lies in a pool's folder and has no place there: shown to people, never removed.
//!
//! Volumes and snapshots that are as they should be and that nobody asks for are not here: whether
//! they are asked for is decided where that is known.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dc_agent_core::storage::Contents;
use dc_types::report::{Orphan, OrphanKind};
use dc_types::{Bytes, ImageUid, InstanceId, SnapshotId};

use super::files::{all_names, names_in};
use super::layout::{FOLDERS, PoolFolder};
use crate::drivers::DriverError;

/// Files of the pool itself.
const OWN_FILES: [&str; 3] = ["pool.json", "erased.jsonl", "lost+found"];

/// Everything that is no part of `contents`, and what was retained.
pub fn list(folder: &PoolFolder, contents: &Contents) -> Result<Vec<Orphan>, DriverError> {
    let mut found = Vec::new();
    let mut add = |kind, path: &Path| found.extend(orphan(folder, kind, path));
    let root = &folder.root;
    for name in all_names(folder, root)? {
        let known = |known: &str| name == *known;
        if !FOLDERS.iter().any(|name| known(name)) && !OWN_FILES.iter().any(|name| known(name)) {
            add(OrphanKind::Other, &root.join(name));
        }
    }
    for (name, suffix) in [
        ("records", ".json"),
        ("volumes", ".raw"),
        ("erasing", ".raw"),
    ] {
        let path = root.join(name);
        for name in names_in::<InstanceId>(folder, &path, suffix)?.others {
            add(OrphanKind::Other, &path.join(name));
        }
    }
    let path = root.join("grants");
    for name in all_names(folder, &path)? {
        let volume = name.to_str().and_then(|name| name.split('.').next());
        if volume.is_none_or(|id| id.parse::<InstanceId>().is_err()) {
            add(OrphanKind::Other, &path.join(name));
        }
    }
    let path = root.join("retained");
    for name in all_names(folder, &path)? {
        // Beside each lies whose it was.
        if name.to_str().is_none_or(|name| !name.ends_with(".json")) {
            add(OrphanKind::Volume, &path.join(name));
        }
    }
    let path = root.join("images");
    for id in names_in::<ImageUid>(folder, &path, ".raw")?.ours {
        if !contents.images.contains_key(&id) {
            add(OrphanKind::Image, &folder.image(id));
        }
    }
    for volume in contents.volumes.keys() {
        let path = folder.snapshots(*volume);
        let names = match path.exists() {
            true => names_in::<SnapshotId>(folder, &path, ".raw")?.others,
            false => Vec::new(),
        };
        for name in names {
            let ours = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if ours.is_none_or(|id| id.parse::<SnapshotId>().is_err()) {
                add(OrphanKind::Other, &path.join(name));
            }
        }
    }
    Ok(found)
}

/// `None` when it has gone meanwhile.
fn orphan(folder: &PoolFolder, kind: OrphanKind, path: &Path) -> Option<Orphan> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some(Orphan {
        kind,
        name: folder.shown(path).display().to_string(),
        size: Bytes(metadata.blocks() * 512),
        since: Some(metadata.mtime()),
    })
}
