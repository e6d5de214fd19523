//! The backup before: whether a volume's unchanged blocks can be taken from it.

use std::collections::HashMap;
use std::fmt;

use rustic_core::Id;
use rustic_core::repofile::{Node, SnapshotId};

use super::{Since, Volume};
use crate::blocks::{self, BLOCK};
use crate::manifest::Manifest;
use crate::plan::Before;
use crate::repository::Index;

/// Why a volume is read in full. What the repository has already is not written again all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyFull {
    /// There is no backup before.
    First,
    /// The storage cannot tell what changed.
    NoChanges,
    /// The backup before is gone, damaged, of another tool or of a version that is not understood.
    Unreadable(String),
    NotInParent,
    /// The file of that name was of another volume.
    OtherVolume(String),
    /// The changes are told from another snapshot than the one that the backup before was made of.
    OtherSnapshot(String),
    /// It is cut on another grid.
    OtherBlocks,
}

impl WhyFull {
    /// For programs, from a closed set.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::First => "First",
            Self::NoChanges => "NoChanges",
            Self::Unreadable(_) => "ParentUnreadable",
            Self::NotInParent => "NotInParent",
            Self::OtherVolume(_) => "OtherVolume",
            Self::OtherSnapshot(_) => "OtherSnapshot",
            Self::OtherBlocks => "OtherBlocks",
        }
    }
}

impl fmt::Display for WhyFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("there is no backup before"),
            Self::NoChanges => f.write_str("the storage cannot tell what has changed"),
            Self::Unreadable(why) => write!(f, "the backup before cannot be used: {why}"),
            Self::NotInParent => f.write_str("the backup before has no such volume"),
            Self::OtherVolume(id) => write!(f, "the backup before is of another volume, {id}"),
            Self::OtherSnapshot(id) => write!(
                f,
                "the backup before was made of snapshot {id}, and the changes are told from another"
            ),
            Self::OtherBlocks => f.write_str("the backup before is cut on another grid"),
        }
    }
}

pub struct Parent {
    manifest: Manifest,
    /// By name: its size, and its blobs, each with its length if the repository still has it.
    files: HashMap<String, (u64, Vec<Blob>)>,
}

type Blob = (Id, Option<u64>);

/// With the length of each blob that the repository still has.
pub fn read(index: &Index, parent: Option<SnapshotId>) -> Result<Parent, WhyFull> {
    let parent = parent.ok_or(WhyFull::First)?;
    let opened = index.open_backup(parent);
    let (manifest, nodes) = opened.map_err(|error| WhyFull::Unreadable(error.to_string()))?;
    let with_lengths = |node: Node| {
        let ids = node.content.into_iter().flatten();
        let blobs = ids.map(|id| {
            let id = id.into_inner();
            (id, index.length(id))
        });
        (node.meta.size, blobs.collect())
    };
    let files = nodes.into_iter();
    Ok(Parent {
        manifest,
        files: files
            .map(|(name, node)| (name, with_lengths(node)))
            .collect(),
    })
}

/// What a volume's unchanged blocks are taken from, and the changes since.
pub fn base<'a>(
    parent: &Result<Parent, WhyFull>,
    volume: &'a Volume<'_>,
) -> Result<(Before, &'a Since), WhyFull> {
    let parent = parent.as_ref().map_err(Clone::clone)?;
    let since = volume.since.as_ref().ok_or(WhyFull::NoChanges)?;
    let entry = parent.manifest.volume(&volume.file);
    let entry = entry.ok_or(WhyFull::NotInParent)?;
    let (size, blobs) = parent.files.get(&volume.file).ok_or(WhyFull::NotInParent)?;
    if entry.origin.volume != volume.origin.volume {
        return Err(WhyFull::OtherVolume(entry.origin.volume.clone()));
    }
    if entry.origin.snapshot != since.snapshot {
        return Err(WhyFull::OtherSnapshot(entry.origin.snapshot.clone()));
    }
    // The manifest says so, and the blobs must agree: another tool may have rewritten the backup.
    let on_the_grid = |(block, (_, length)): (u64, &Blob)| {
        length.is_none_or(|length| length == blocks::extent(block, *size).length)
    };
    let agrees = entry.block == BLOCK
        && entry.size == *size
        && blobs.len() as u64 == blocks::count(*size)
        && (0..).zip(blobs).all(on_the_grid);
    match agrees {
        false => Err(WhyFull::OtherBlocks),
        true => {
            let blobs = blobs.iter().map(|(id, _)| *id).collect();
            Ok((Before { size: *size, blobs }, since))
        }
    }
}
