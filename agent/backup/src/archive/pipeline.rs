//! From blocks to packs in the repository, some at a time, in bounded memory.
//!
//! ```text
//! readers ══ sealed blobs ══> packer ── packs ══> uploads ── what is stored ──> index, now and then
//!  (n threads, each reads,     (1)     (at most one      (n)                     (this thread)
//!   hashes, seals)                      waiting)
//! ```
//!
//! The first error stops all of them: each looks whether there is one before it goes on, and a
//! channel whose other end has gone away ends the one that holds it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rustic_core::Id;

use super::pace::Pace;
use super::{Planned, Run, write};
use crate::blocks;
use crate::cipher::{Sealed, hash};
use crate::error::BackupError;
use crate::pack::{BlobKind, IndexedPack, Pack, Packed};
use crate::store::Kind;

/// What came of it.
#[derive(Debug, Default)]
pub struct Written {
    /// Which blob each block is that was read: volume, block, blob.
    pub blobs: Vec<(usize, u64, Id)>,
    /// Packs that are stored, and in no index yet.
    pub unindexed: Vec<IndexedPack>,
    /// Of each volume.
    pub volumes: Vec<Counts>,
    /// What the repository has grown by.
    pub bytes: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    pub bytes_read: u64,
    pub blocks_new: u64,
}

/// The first error.
#[derive(Default)]
struct Failure(Mutex<Option<BackupError>>);

impl Failure {
    fn first(&self) -> MutexGuard<'_, Option<BackupError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_none(&self) -> bool {
        self.first().is_none()
    }

    /// `None` when it was an error, which is kept if it is the first.
    fn keep<T>(&self, result: Result<T, BackupError>) -> Option<T> {
        result
            .map_err(|error| self.first().get_or_insert(error).to_string())
            .ok()
    }
}

/// The blobs that the repository has, and those that this run is writing.
struct Known<'a> {
    run: &'a Run<'a>,
    claimed: Mutex<HashSet<Id>>,
}

impl Known<'_> {
    /// Whether the blob is to be written by whoever asks: nobody has it, nor does another write it.
    fn claim(&self, id: Id) -> bool {
        if self.run.index.length(id).is_some() {
            return false;
        }
        let claimed = self.claimed.lock();
        claimed.unwrap_or_else(PoisonError::into_inner).insert(id)
    }
}

/// What a reader has done.
#[derive(Default)]
struct Read {
    blobs: Vec<(usize, u64, Id)>,
    counts: Vec<Counts>,
}

pub fn run(
    run: &Run<'_>,
    planned: &[Planned<'_>],
    first: Vec<Sealed>,
) -> Result<Written, BackupError> {
    let known = Known {
        run,
        claimed: Mutex::default(),
    };
    let first: Vec<_> = first
        .into_iter()
        .filter(|blob| known.claim(blob.id))
        .collect();
    let failure = Failure::default();
    let pace = Pace::new(run.limits.bytes_per_second);
    let volumes = planned.iter().enumerate();
    let blocks = volumes.flat_map(|(volume, planned)| {
        let blocks = planned.plan.reads();
        blocks.map(move |block| (volume, block))
    });
    let blocks = Mutex::new(blocks);
    let next = || {
        let mut blocks = blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.next()
    };
    let readers = run.limits.readers.max(1);
    let (to_pack, sealed) = bounded(readers);
    let (to_store, packed) = bounded(1);
    let (to_index, stored) = unbounded();

    let mut written = thread::scope(|scope| {
        let (failure, known, pace, next) = (&failure, &known, &pace, &next);
        let readers: Vec<_> = (0..readers)
            .map(|_| {
                let to_pack = to_pack.clone();
                scope.spawn(move || read(run, planned, next, known, pace, failure, &to_pack))
            })
            .collect();
        drop(to_pack);
        scope.spawn(move || {
            let packed = pack(run, first, &sealed, &to_store, failure);
            failure.keep(packed);
        });
        for _ in 0..run.limits.uploads.max(1) {
            let (packed, to_index) = (packed.clone(), to_index.clone());
            scope.spawn(move || store(run, &packed, &to_index, failure));
        }
        drop((packed, to_index));
        let mut written = index(run, &stored, failure);
        written.volumes = vec![Counts::default(); planned.len()];
        for reader in readers {
            // A panic goes on from here, as from any scope.
            let read = reader
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.blobs.extend(read.blobs);
            for (sum, counts) in written.volumes.iter_mut().zip(read.counts) {
                sum.bytes_read += counts.bytes_read;
                sum.blocks_new += counts.blocks_new;
            }
        }
        written
    });
    match failure.first().take() {
        Some(error) => Err(error),
        None => {
            written.blobs.sort_unstable();
            Ok(written)
        }
    }
}

fn read(
    run: &Run<'_>,
    planned: &[Planned<'_>],
    next: impl Fn() -> Option<(usize, u64)>,
    known: &Known<'_>,
    pace: &Pace,
    failure: &Failure,
    to_pack: &Sender<Sealed>,
) -> Read {
    let mut read = Read {
        blobs: Vec::new(),
        counts: vec![Counts::default(); planned.len()],
    };
    let mut bytes = Vec::new();
    while failure.is_none()
        && let Some((volume, block)) = next()
    {
        let done = read_block(run, &planned[volume], block, pace, &mut bytes).and_then(|id| {
            let counts = &mut read.counts[volume];
            counts.bytes_read += bytes.len() as u64;
            run.control.advance(bytes.len() as u64);
            let new = known.claim(id);
            counts.blocks_new += u64::from(new);
            let sealed = new.then(|| run.repository.cipher.seal(&bytes, false));
            Ok((id, sealed.transpose()?))
        });
        let Some((id, sealed)) = failure.keep(done) else {
            break;
        };
        read.blobs.push((volume, block, id));
        // The packer is gone only when something has failed.
        if sealed.is_some_and(|sealed| to_pack.send(sealed).is_err()) {
            break;
        }
    }
    read
}

fn read_block(
    run: &Run<'_>,
    planned: &Planned<'_>,
    block: u64,
    pace: &Pace,
    bytes: &mut Vec<u8>,
) -> Result<Id, BackupError> {
    run.control.check()?;
    let extent = blocks::extent(block, planned.plan.size);
    pace.wait(extent.length, run.control)?;
    bytes.resize(usize::try_from(extent.length).unwrap_or_default(), 0);
    let source = planned.volume.source;
    let filled = source.read_at(extent.start, bytes);
    filled.map_err(|source| BackupError::Source {
        volume: planned.volume.file.clone(),
        at: extent.start,
        source,
    })?;
    Ok(hash(bytes))
}

fn pack(
    run: &Run<'_>,
    first: Vec<Sealed>,
    sealed: &Receiver<Sealed>,
    to_store: &Sender<Packed>,
    failure: &Failure,
) -> Result<(), BackupError> {
    let cipher = &run.repository.cipher;
    let mut pack = Pack::new(BlobKind::Data);
    for blob in first.into_iter().chain(sealed) {
        if !failure.is_none() {
            return Ok(());
        }
        pack.add(&blob)?;
        if pack.size() >= run.limits.pack_bytes {
            let full = std::mem::replace(&mut pack, Pack::new(BlobKind::Data));
            if to_store.send(full.finish(cipher)?).is_err() {
                return Ok(());
            }
        }
    }
    if !pack.is_empty() && failure.is_none() {
        // If nobody takes it, something has failed.
        let _ = to_store.send(pack.finish(cipher)?);
    }
    Ok(())
}

fn store(
    run: &Run<'_>,
    packed: &Receiver<Packed>,
    to_index: &Sender<(IndexedPack, u64)>,
    failure: &Failure,
) {
    for pack in packed {
        if !failure.is_none() {
            return;
        }
        let id = pack.indexed.id;
        let stored = run.control.check().and_then(|()| {
            let store = &run.repository.store;
            Ok(store.write(Kind::Pack, id, &pack.bytes)?)
        });
        if failure.keep(stored).is_none() {
            return;
        }
        let size = pack.bytes.len() as u64;
        if to_index.send((pack.indexed, size)).is_err() {
            return;
        }
    }
}

/// Until nothing more is stored. After a failure, nothing more is written either.
fn index(run: &Run<'_>, stored: &Receiver<(IndexedPack, u64)>, failure: &Failure) -> Written {
    let mut written = Written::default();
    for (pack, size) in stored {
        written.bytes += size;
        written.unindexed.push(pack);
        if written.unindexed.len() >= run.limits.packs_per_index.max(1) && failure.is_none() {
            let indexed = run
                .lock
                .check()
                .and_then(|()| write::index(run.repository, &written.unindexed));
            if let Some(size) = failure.keep(indexed) {
                written.bytes += size;
                written.unindexed.clear();
            }
        }
    }
    written
}
