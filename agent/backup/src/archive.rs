//! One run: from the volumes of a machine to a backup in the repository.
//!
//! ```text
//! lock ── index ── the backup before ── plan of each volume ── pipeline ── tree ── index ── snapshot ── unlock
//! ```

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use dc_agent_core::storage::Extent;
use jiff::Timestamp;
use rustic_core::Id;
use rustic_core::repofile::SnapshotId;
use serde_json::Value;

use crate::blocks;
use crate::cipher::Cipher;
use crate::control::Control;
use crate::error::BackupError;
use crate::lock::{Holder, Lock, Mode};
use crate::manifest::{MANIFEST, Origin};
use crate::pack::{BlobKind, PACK, Pack};
use crate::plan::{Before, How, Plan, plan};
use crate::repository::{Index, Repository};
use crate::source::Source;
use crate::store::Kind;

pub(crate) mod pace;
mod parent;
mod pipeline;
mod write;

pub use parent::WhyFull;

/// What is to be backed up.
pub struct Job<'a> {
    /// The machine, as the backup's host.
    pub machine: String,
    /// Which run this is. One that is repeated under the same name, because its answer was lost, is
    /// done once.
    pub run: String,
    pub tags: Vec<String>,
    /// When the volumes stood as they are read.
    pub time: Timestamp,
    /// For [`crate::manifest::Manifest::machine`].
    pub description: Value,
    pub volumes: Vec<Volume<'a>>,
    /// The backup before, if there is one.
    pub parent: Option<SnapshotId>,
}

pub struct Volume<'a> {
    /// The name of its file in the backup.
    pub file: String,
    pub origin: Origin,
    pub source: &'a dyn Source,
    /// What changed, if the storage can tell.
    pub since: Option<Since>,
    /// All that may hold data, for when `since` is of no use; `None` is everything.
    pub allocated: Option<Vec<Extent>>,
}

/// What differs from a snapshot of the same volume: never less, perhaps more.
#[derive(Debug, Clone)]
pub struct Since {
    pub snapshot: String,
    pub extents: Vec<Extent>,
}

/// How much is done at a time. In memory at most: 12 MiB for each reader, 20 MiB for each upload,
/// and 40 MiB beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Each reads, hashes, compresses and encrypts. At least 1.
    pub readers: usize,
    /// At least 1.
    pub uploads: usize,
    /// When a pack is full, in bytes: see `pack.rs`.
    pub pack_bytes: usize,
    /// After how many packs an index is written: what comes before it need not be written again
    /// after a cut-off.
    pub packs_per_index: usize,
    /// How much is read of the storage.
    pub bytes_per_second: Option<NonZeroU64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            readers: 4,
            uploads: 2,
            pack_bytes: PACK,
            // 2 GiB: minutes.
            packs_per_index: 128,
            bytes_per_second: None,
        }
    }
}

/// What a run has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done(Archived),
    /// By this run, when it ran before.
    DoneBefore(SnapshotId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    pub backup: SnapshotId,
    /// In the order of the job.
    pub volumes: Vec<VolumeArchived>,
    /// What the repository has grown by, in bytes.
    pub bytes_written: u64,
    /// Locks of dead clients that were removed.
    pub locks_removed: Vec<Holder>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeArchived {
    pub file: String,
    /// Why nothing could be taken from the backup before; `None` when it was.
    pub full: Option<WhyFull>,
    /// In bytes.
    pub size: u64,
    /// Of the storage, in bytes.
    pub bytes_read: u64,
    pub blocks_kept: u64,
    /// Known to be zero without reading.
    pub blocks_zero: u64,
    pub blocks_read: u64,
    /// Of those read, those whose content was new to the repository.
    pub blocks_new: u64,
}

/// A volume with what is to be done about it.
struct Planned<'a> {
    volume: &'a Volume<'a>,
    before: Option<Before>,
    full: Option<WhyFull>,
    plan: Plan,
}

impl Planned<'_> {
    fn bytes_to_read(&self) -> u64 {
        let blocks = self.plan.reads();
        let lengths = blocks.map(|block| blocks::extent(block, self.plan.size).length);
        lengths.sum()
    }
}

/// Backs up.
///
/// # Errors
/// Whatever has stopped it. The repository is sound then, and a repetition goes on with what the
/// index knows.
pub fn archive(
    repository: &Repository,
    job: &Job<'_>,
    limits: Limits,
    control: &Control,
) -> Result<Outcome, BackupError> {
    validate(job)?;
    let lock = repository.lock(Mode::Shared)?;
    if let Some(backup) = find_run(repository, &job.machine, &job.run)? {
        lock.release()?;
        return Ok(Outcome::DoneBefore(backup));
    }
    if let Err(error) = repository.store.sweep() {
        tracing::warn!(%error, "what dead writers left in a repository is not all removed");
    }
    let index = repository.index()?;
    let planned = plan_volumes(&index, job);
    control.expect(planned.iter().map(Planned::bytes_to_read).sum());
    let run = Run {
        repository,
        index: &index,
        lock: &lock,
        limits,
        control,
    };
    let (backup, written) = run.carry_out(job, &planned)?;
    let locks_removed = lock.removed.clone();
    if let Err(error) = lock.release() {
        // The backup is there, and the lock is a shared one that becomes stale.
        tracing::warn!(%error, "the lock of a backup that is done could not be removed");
    }
    let volumes = planned.iter().zip(&written.volumes);
    Ok(Outcome::Done(Archived {
        backup,
        volumes: volumes
            .map(|(planned, counts)| report(planned, counts))
            .collect(),
        bytes_written: written.bytes,
        locks_removed,
    }))
}

fn report(planned: &Planned<'_>, counts: &pipeline::Counts) -> VolumeArchived {
    VolumeArchived {
        file: planned.volume.file.clone(),
        full: planned.full.clone(),
        size: planned.plan.size,
        bytes_read: counts.bytes_read,
        blocks_kept: planned.plan.count(How::Keep),
        blocks_zero: planned.plan.count(How::Zero),
        blocks_read: planned.plan.count(How::Read),
        blocks_new: counts.blocks_new,
    }
}

/// Names that every file system takes, each once.
fn validate(job: &Job<'_>) -> Result<(), BackupError> {
    let mut seen = BTreeSet::from([MANIFEST]);
    for volume in &job.volumes {
        let file = volume.file.as_str();
        let why = match file {
            "" | "." | ".." => "that is no name of a file",
            _ if file.contains(['/', '\\', '\0']) => "a file's name has no slash in it",
            _ if file.len() > 255 => "a file's name has at most 255 bytes",
            _ if !seen.insert(file) => "another file of the backup has that name",
            _ => continue,
        };
        return Err(BackupError::Impossible {
            what: format!("a volume as {file:?}"),
            why: why.to_owned(),
        });
    }
    Ok(())
}

/// The tag by which a repetition finds what it has done.
fn run_tag(run: &str) -> String {
    format!("run={run}")
}

/// The backup that a run of this name has made of the machine.
///
/// # Errors
/// When the backups cannot be listed.
pub fn find_run(
    repository: &Repository,
    machine: &str,
    run: &str,
) -> Result<Option<SnapshotId>, BackupError> {
    let tag = run_tag(run);
    let of_run = repository
        .backups()?
        .into_iter()
        .find(|backup| backup.hostname == machine && backup.tags.contains(&tag));
    Ok(of_run.map(|backup| backup.id))
}

fn plan_volumes<'a>(index: &Index, job: &'a Job<'a>) -> Vec<Planned<'a>> {
    let parent = parent::read(index, job.parent);
    let volumes = job.volumes.iter();
    volumes
        .map(|volume| {
            let base = parent::base(&parent, volume);
            let size = volume.source.size();
            let everything = || vec![Extent::new(0, size)];
            let (before, full, extents) = match base {
                Ok((before, since)) => (Some(before), None, since.extents.clone()),
                Err(why) => {
                    let allocated = volume.allocated.clone();
                    (None, Some(why), allocated.unwrap_or_else(everything))
                }
            };
            let has = |id: &Id| index.length(*id).is_some();
            let plan = plan(size, before.as_ref(), &extents, has);
            Planned {
                volume,
                before,
                full,
                plan,
            }
        })
        .collect()
}

/// What a run works with.
struct Run<'a> {
    repository: &'a Repository,
    index: &'a Index,
    lock: &'a Lock,
    limits: Limits,
    control: &'a Control,
}

impl Run<'_> {
    fn carry_out(
        &self,
        job: &Job<'_>,
        planned: &[Planned<'_>],
    ) -> Result<(SnapshotId, pipeline::Written), BackupError> {
        let cipher = &self.repository.cipher;
        let manifest = write::manifest(job, planned)?;
        let manifest_size = manifest.len() as u64;
        let manifest = cipher.seal(&manifest, false)?;
        let mut files = vec![(MANIFEST.to_owned(), manifest_size, vec![manifest.id])];
        let mut known_up_front = vec![manifest];
        let mut outlines = Vec::new();
        for planned in planned {
            let zeros = seal_zeros(cipher, &planned.plan)?;
            let zero = |length| {
                let blob = zeros.iter().find(|(of, _)| *of == length);
                blob.map(|(_, sealed)| sealed.id).unwrap_or_default()
            };
            outlines.push(planned.plan.outline(planned.before.as_ref(), zero));
            known_up_front.extend(zeros.into_iter().map(|(_, sealed)| sealed));
        }
        let mut written = pipeline::run(self, planned, known_up_front)?;
        for (volume, block, id) in std::mem::take(&mut written.blobs) {
            let blob = usize::try_from(block).ok();
            if let Some(blob) = blob.and_then(|block| outlines[volume].get_mut(block)) {
                *blob = id;
            }
        }
        for (planned, blobs) in planned.iter().zip(outlines) {
            files.push((planned.volume.file.clone(), planned.plan.size, blobs));
        }
        let tree = write::tree(job.time, files)?;
        let tree = cipher.seal(&tree, true)?;
        let mut pack = Pack::new(BlobKind::Tree);
        pack.add(&tree)?;
        let pack = pack.finish(cipher)?;
        self.control.check()?;
        let store = &self.repository.store;
        store.write(Kind::Pack, pack.indexed.id, &pack.bytes)?;
        written.bytes += pack.bytes.len() as u64;
        written.unindexed.push(pack.indexed);
        self.lock.check()?;
        written.bytes += write::index(self.repository, &written.unindexed)?;
        let snapshot = write::snapshot(job, tree.id)?;
        let (id, bytes) = cipher.seal_file(&snapshot)?;
        self.control.check()?;
        self.lock.check()?;
        store.write(Kind::Snapshot, id, &bytes)?;
        written.bytes += bytes.len() as u64;
        Ok((SnapshotId::from(id), written))
    }
}

fn seal_zeros(
    cipher: &Cipher,
    plan: &Plan,
) -> Result<Vec<(u64, crate::cipher::Sealed)>, BackupError> {
    let zero_runs = plan.runs.iter().filter(|run| run.how == How::Zero);
    let lengths: BTreeSet<u64> = zero_runs
        .flat_map(|run| [run.first, run.first + run.count - 1])
        .map(|block| blocks::extent(block, plan.size).length)
        .collect();
    let mut zeros = Vec::new();
    for length in lengths {
        let bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        zeros.push((length, cipher.seal(&bytes, false)?));
    }
    Ok(zeros)
}

#[cfg(test)]
mod tests;
