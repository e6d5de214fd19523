//! One run, on its own thread.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use dc_agent_core::backup::{BackupTrouble, Cause, Order};
use dc_agent_core::storage::{Contents, Filled, Note as VolumeNote};
use dc_backup::archive::{self, Archived, Job, Limits, Outcome, Volume};
use dc_backup::manifest::Origin;
use dc_backup::target::Writing;
use dc_backup::{Access, Password, Repository, SnapshotId as BackupId};
use dc_types::plan::{BackupItem, BackupVolume, ManifestItem, RepositoryAccess, RestoreItem};
use dc_types::report::{
    BackupCounts, BackupDone, ManifestFile, ManifestRead, RestoreDone, Sha256, Trouble,
    VolumeBackedUp,
};
use dc_types::{Bytes, Epoch, PoolName};
use jiff::Timestamp;
use tokio::runtime::Handle;

use super::bytes::{Snapshot, VolumeTarget, open_snapshot};
use super::notes::Note;
use super::runs::{Active, Shared, Stage};
use super::trouble::{failed, in_full, of_driver, of_driver_at, of_opening, of_run, of_verifying};

/// How many blobs of a restore are held at a time.
const WRITERS: usize = 4;

pub(super) struct Work {
    pub shared: Arc<Shared>,
    pub epoch: Epoch,
    pub runtime: Handle,
    pub active: Arc<Active>,
}

/// What came of a run.
pub(super) enum Done {
    /// It is written down that it is done.
    Noted,
    /// There is nothing to write down.
    Read(Box<ManifestRead>),
}

/// Why a run is not done.
pub(super) enum Ended {
    /// As was asked.
    Stopped,
    Trouble(BackupTrouble),
}

impl Work {
    /// When this returns well, what is done is written down, if anything is.
    pub fn carry_out(&self, order: &Order) -> Result<Done, Ended> {
        match order {
            Order::Backup(item) => self.back_up(item).map(|()| Done::Noted),
            Order::Restore(item) => self.restore(item).map(|()| Done::Noted),
            Order::Manifest(item) => self.read_manifest(item).map(Done::Read),
        }
    }

    fn back_up(&self, item: &BackupItem) -> Result<(), Ended> {
        let began_at = now();
        let there = self.find_snapshots(item);
        let repository = self.open(&item.repository, item.make)?;
        let done = match there {
            Ok(time) => self.archive(item, &repository, time),
            // An earlier try may have made the backup, and its answer was lost.
            Err(missing) => match archive::find_run(&repository, &item.machine, &name(item)) {
                Ok(Some(backup)) => self.found(&repository, backup),
                Ok(None) => Err(missing),
                Err(error) => Err(of_run(error)),
            },
        };
        let done = BackupDone {
            began_at,
            ended_at: now(),
            ..done?
        };
        let epoch = self.epoch;
        let noted = self.shared.notes.write(item.run, Note { epoch, done });
        noted.map_err(|error| {
            let said = format!("that it is done could not be written down: {error}");
            failed(Cause::StateUnwritable, said)
        })
    }

    /// When they stood, the youngest of them; an error when one is not there.
    fn find_snapshots(&self, item: &BackupItem) -> Result<Timestamp, Ended> {
        let mut youngest = i64::MIN;
        let mut pools: BTreeMap<&PoolName, Contents> = BTreeMap::new();
        for BackupVolume {
            volume,
            pool,
            snapshot,
            ..
        } in &item.volumes
        {
            if !pools.contains_key(pool) {
                let driver = self.shared.drivers.of(pool).map_err(of_driver)?;
                let contents = self.runtime.block_on(driver.list()).map_err(of_driver)?;
                pools.insert(pool, contents);
            }
            let of = pools.get(pool).and_then(|of| of.volumes.get(volume));
            let Some(seen) = of.and_then(|of| of.snapshots.get(snapshot)) else {
                let said = format!(
                    "snapshot {snapshot} of volume {volume} is not in pool {pool}: take another, \
                     and back up that one"
                );
                return Err(failed(Cause::SnapshotMissing, said));
            };
            if let Some(fault) = &seen.fault {
                let said = format!("snapshot {snapshot} of volume {volume}: {fault}");
                return Err(failed(Cause::SnapshotUnreadable, said));
            }
            youngest = youngest.max(seen.taken_at);
        }
        let odd = |error: jiff::Error| failed(Cause::SnapshotUnreadable, error.to_string());
        Timestamp::from_second(youngest).map_err(odd)
    }

    fn archive(
        &self,
        item: &BackupItem,
        repository: &Repository,
        time: Timestamp,
    ) -> Result<BackupDone, Ended> {
        let control = &self.active.control;
        self.active.enter(Stage::Waiting);
        let _turn = self.shared.gate.wait_to_move(control).map_err(of_run)?;
        self.active.enter(Stage::Moving);
        let snapshots = self.open_snapshots(item)?;
        let opened = item.volumes.iter().zip(&snapshots);
        let job = Job {
            machine: item.machine.clone(),
            run: name(item),
            tags: Vec::new(),
            time,
            description: serde_json::from_str(&item.manifest)
                .map_err(|error| failed(Cause::Broken, error.to_string()))?,
            volumes: opened
                .map(|(volume, snapshot)| Volume {
                    file: volume.file.clone(),
                    origin: Origin {
                        volume: volume.volume.to_string(),
                        snapshot: volume.snapshot.to_string(),
                    },
                    source: &snapshot.source,
                    since: snapshot.since.clone(),
                    allocated: snapshot.allocated.clone(),
                })
                .collect(),
            parent: item.parent.as_deref().map(parse).transpose()?,
        };
        let limits = Limits {
            bytes_per_second: item.limit.and_then(|Bytes(limit)| NonZeroU64::new(limit)),
            ..Limits::default()
        };
        match archive::archive(repository, &job, limits, control).map_err(of_run)? {
            Outcome::Done(archived) => Ok(counted(&archived)),
            Outcome::DoneBefore(backup) => self.found(repository, backup),
        }
    }

    fn open_snapshots(&self, item: &BackupItem) -> Result<Vec<Snapshot>, Ended> {
        let volumes = item.volumes.iter();
        let opened = volumes.map(|of| {
            let driver = self.shared.drivers.of(&of.pool).map_err(of_driver)?;
            let opening = open_snapshot(&**driver, of.volume, of.base, of.snapshot);
            let opened = self.runtime.block_on(opening);
            opened.map_err(|error| of_driver_at(Cause::SnapshotUnreadable, error))
        });
        opened.collect()
    }

    /// A backup of this run that is there already: what the run did is not known any more.
    fn found(&self, repository: &Repository, backup: BackupId) -> Result<BackupDone, Ended> {
        let manifest = repository
            .manifest(Access::Locked, backup)
            .map_err(of_run)?;
        let sizes = manifest.volumes.iter().map(|volume| volume.size);
        Ok(BackupDone {
            backup: hex(backup),
            size: Bytes(sizes.sum()),
            began_at: 0,
            ended_at: 0,
            counts: None,
        })
    }

    fn restore(&self, item: &RestoreItem) -> Result<(), Ended> {
        let began_at = now();
        let driver = self.shared.drivers.of(&item.pool).map_err(of_driver)?;
        let record = self.runtime.block_on(driver.read_record(item.volume));
        let record = record.map_err(of_driver)?;
        if record.is_some_and(|record| record.filled.is_some_and(|by| by.run == item.run)) {
            return Ok(());
        }
        let repository = self.open(&item.repository, false)?;
        let backup = find(&repository, &item.backup)?;
        let control = &self.active.control;
        self.active.enter(Stage::Waiting);
        let _turn = self.shared.gate.wait_to_move(control).map_err(of_run)?;
        self.active.enter(Stage::Moving);
        let target = self
            .runtime
            .block_on(VolumeTarget::open(&**driver, item.volume));
        let target = target.map_err(|error| of_driver_at(Cause::VolumeUnwritable, error))?;
        let file = &item.file;
        let how = Writing {
            writers: WRITERS,
            bytes_per_second: item.limit.and_then(|Bytes(limit)| NonZeroU64::new(limit)),
        };
        let written =
            repository.restore_volume(Access::Locked, backup, file, &target, how, control);
        let written = written.map_err(of_run)?;
        let verified = match item.verify {
            true => {
                let sum = repository.verify_volume(Access::Locked, backup, file, &target, control);
                Some(Sha256(sum.map_err(of_verifying)?))
            }
            false => None,
        };
        // Nobody is let in while it is open.
        drop(target);
        let filled = Filled {
            run: item.run,
            done: RestoreDone {
                written: Bytes(written),
                began_at,
                ended_at: now(),
                verified,
            },
        };
        let note = VolumeNote::Filled(filled);
        let noted = self
            .runtime
            .block_on(driver.note_volume(item.volume, &note));
        noted.map_err(|error| of_driver_at(Cause::StateUnwritable, error))
    }

    /// Takes no turn: it is little, and somebody waits for it before anything is moved.
    fn read_manifest(&self, item: &ManifestItem) -> Result<Box<ManifestRead>, Ended> {
        let repository = self.open(&item.repository, false)?;
        let backup = find(&repository, &item.backup)?;
        let manifest = repository.manifest(Access::Locked, backup);
        let manifest = manifest.map_err(of_run)?;
        let files = manifest.volumes.into_iter().map(|volume| ManifestFile {
            file: volume.file,
            size: Bytes(volume.size),
        });
        Ok(Box::new(ManifestRead {
            machine: manifest.machine.to_string(),
            files: files.collect(),
        }))
    }

    /// Opens a repository, or makes it where that is allowed: then nobody else of this host makes
    /// it at the same time.
    fn open(&self, access: &RepositoryAccess, make: bool) -> Result<Repository, Ended> {
        let control = &self.active.control;
        let store = self.shared.places.open(&access.place, &self.runtime);
        let store = store.map_err(|error| of_opening(error.into()))?;
        let password = Password::new(access.password.0.clone());
        let opened = match make {
            false => Repository::open(store, &password),
            true => {
                let making = self.shared.gate.wait_to_make(&access.place, control);
                let _making = making.map_err(of_run)?;
                Repository::ensure(store, &password)
            }
        };
        let opened = opened.map_err(of_opening)?;
        match control.is_stopped() {
            true => Err(Ended::Stopped),
            false => Ok(opened),
        }
    }
}

fn counted(archived: &Archived) -> BackupDone {
    let volumes = archived.volumes.iter();
    let volumes = volumes.map(|volume| VolumeBackedUp {
        file: volume.file.clone(),
        size: Bytes(volume.size),
        read: Bytes(volume.bytes_read),
        full: volume.full.as_ref().map(|why| Trouble {
            reason: why.word().to_owned(),
            message: why.to_string(),
        }),
    });
    let volumes: Vec<_> = volumes.collect();
    for holder in &archived.locks_removed {
        tracing::warn!("the lock of a dead client was removed: {holder}");
    }
    BackupDone {
        backup: hex(archived.backup),
        size: Bytes(volumes.iter().map(|volume| volume.size.0).sum()),
        began_at: 0,
        ended_at: 0,
        counts: Some(BackupCounts {
            read: Bytes(volumes.iter().map(|volume| volume.read.0).sum()),
            added: Bytes(archived.bytes_written),
            volumes,
        }),
    }
}

/// By which a repetition finds what it has done.
fn name(item: &BackupItem) -> String {
    item.run.to_string()
}

fn hex(backup: BackupId) -> String {
    backup.to_hex().as_str().to_owned()
}

fn parse(backup: &str) -> Result<BackupId, Ended> {
    let id = backup.parse::<dc_backup::Id>();
    id.map(BackupId::from).map_err(|error| {
        let said = format!(
            "backup {backup:?} is not named as restic does: {}",
            in_full(&error)
        );
        failed(Cause::BackupMissing, said)
    })
}

/// A backup that is there.
fn find(repository: &Repository, backup: &str) -> Result<BackupId, Ended> {
    let backup = parse(backup)?;
    match repository.holds(backup).map_err(of_run)? {
        true => Ok(backup),
        false => {
            let said =
                format!("the repository has no backup {backup}: it was forgotten, or is another's");
            Err(failed(Cause::BackupMissing, said))
        }
    }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}
