//! What is written beside the packs, as restic has it: manifest, tree, index and snapshot.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustic_core::Id;
use rustic_core::repofile::{Metadata, Node, NodeType, SnapshotFile, StringList, Tree};
use serde::Serialize;

use super::{Job, Planned, run_tag};
use crate::blocks::BLOCK;
use crate::error::BackupError;
use crate::manifest::{FORMAT, Manifest, VolumeEntry};
use crate::pack::{IndexFile, IndexedPack};
use crate::repository::Repository;
use crate::store::Kind;

fn json(what: &str, value: &impl Serialize) -> Result<Vec<u8>, BackupError> {
    serde_json::to_vec(value).map_err(|error| BackupError::Corrupt {
        what: what.to_owned(),
        fault: error.to_string(),
    })
}

pub fn manifest(job: &Job<'_>, planned: &[Planned<'_>]) -> Result<Vec<u8>, BackupError> {
    let mut volumes: Vec<_> = planned
        .iter()
        .map(|planned| VolumeEntry {
            file: planned.volume.file.clone(),
            size: planned.plan.size,
            block: BLOCK,
            origin: planned.volume.origin.clone(),
        })
        .collect();
    volumes.sort_by(|a, b| a.file.cmp(&b.file));
    let manifest = Manifest {
        format: FORMAT,
        machine: job.description.clone(),
        volumes,
    };
    json("the manifest", &manifest)
}

/// The backup's only folder: each file with its name, its size and its blobs.
pub fn tree(time: Timestamp, files: Vec<(String, u64, Vec<Id>)>) -> Result<Vec<u8>, BackupError> {
    let mut nodes: Vec<Node> = files
        .into_iter()
        .map(|(name, size, blobs)| {
            let meta = Metadata {
                mode: Some(0o600),
                mtime: Some(time),
                atime: Some(time),
                ctime: Some(time),
                uid: Some(0),
                gid: Some(0),
                user: Some("root".to_owned()),
                group: Some("root".to_owned()),
                size,
                links: 1,
                ..Metadata::default()
            };
            let mut node = Node::new_node(name.as_ref(), NodeType::File, meta);
            node.content = Some(blobs.into_iter().map(Into::into).collect());
            node
        })
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let tree = Tree { nodes }.serialize();
    tree.map(|(bytes, _)| bytes)
        .map_err(|error| BackupError::Corrupt {
            what: "the tree".to_owned(),
            fault: error.to_string(),
        })
}

/// How many bytes it has.
pub fn index(repository: &Repository, packs: &[IndexedPack]) -> Result<u64, BackupError> {
    let index = json("the index", &IndexFile { packs })?;
    let (id, bytes) = repository.cipher.seal_file(&index)?;
    repository.store.write(Kind::Index, id, &bytes)?;
    Ok(bytes.len() as u64)
}

pub fn snapshot(job: &Job<'_>, tree: Id) -> Result<Vec<u8>, BackupError> {
    let mut paths = StringList::default();
    // All backups of a machine are of one path, so that tools that group by host and path see them
    // as one line, also when a disk comes or goes.
    paths.add("/".to_owned());
    let mut tags = StringList::default();
    for tag in job.tags.iter().cloned().chain([run_tag(&job.run)]) {
        tags.add(tag);
    }
    let snapshot = SnapshotFile {
        time: job.time.to_zoned(TimeZone::UTC),
        program_version: concat!("dc-backup ", env!("CARGO_PKG_VERSION")).to_owned(),
        parent: job.parent,
        tree: tree.into(),
        paths,
        hostname: job.machine.clone(),
        username: "root".to_owned(),
        tags,
        ..SnapshotFile::default()
    };
    json("the snapshot", &snapshot)
}
