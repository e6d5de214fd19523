//! What one item or release asks, given what was seen.

use std::collections::BTreeMap;

use dc_types::plan::{
    BackupItem, Item, ItemBody, ItemKey, ItemKind, Release, RepositoryPlace, RestoreItem,
};
use dc_types::report::{Detail, Progress, Trouble};

use super::plan::{KINDS, PER_REPOSITORY, pause};
use super::seen::{Phase, RunState, Seen};
use super::step::{Order, Step};
use super::trouble::BackupTrouble;
use super::validate::{validate_backup, validate_manifest, validate_restore};
use crate::wanted::Wanted;

/// What an item asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Ready(Detail),
    Begin(Step),
    /// It goes on by itself.
    Waits(Trouble, Detail),
    /// It is tried again, or never: until what is asked changes.
    Failed(Trouble, Detail),
}

/// How many runs of each repository go on.
pub(super) type Turns<'a> = BTreeMap<&'a RepositoryPlace, usize>;

/// The runs that go on now, by repository.
pub(super) fn count_turns<'a>(wanted: &Wanted<'a>, seen: &Seen) -> Turns<'a> {
    let mut turns = Turns::new();
    for item in KINDS.into_iter().flat_map(|kind| wanted.of_kind(kind)) {
        let run = seen.runs.get(&item.key).map(|run| &run.state);
        if matches!(run, Some(RunState::Running { .. }))
            && let Some(place) = place_of(item)
        {
            *turns.entry(place).or_default() += 1;
        }
    }
    turns
}

fn place_of(item: &Item) -> Option<&RepositoryPlace> {
    match &item.body {
        ItemBody::Backup(backup) => Some(&backup.repository.place),
        ItemBody::Restore(restore) => Some(&restore.repository.place),
        ItemBody::Manifest(manifest) => Some(&manifest.repository.place),
        _ => None,
    }
}

/// `turns` counts those that begin as well.
pub(super) fn judge_item<'a>(
    wanted: &Wanted<'a>,
    seen: &Seen,
    item: &'a Item,
    turns: &mut Turns<'a>,
) -> Judged {
    let waits = |trouble: BackupTrouble| Judged::Waits(trouble.into(), no_detail(item));
    let release = wanted.releases.get(&item.key);
    if let Some(release) = release
        && (release.epoch >= item.epoch || end_of(seen, release).is_some())
    {
        return waits(BackupTrouble::Releasing);
    }
    let failed = match seen.runs.get(&item.key).map(|run| &run.state) {
        Some(RunState::BackedUp(done)) => {
            return Judged::Ready(Detail::Backup {
                progress: None,
                done: Some(Box::new(done.clone())),
            });
        }
        Some(RunState::Restored(done)) => {
            return Judged::Ready(Detail::Restore {
                progress: None,
                done: Some(*done),
            });
        }
        Some(RunState::Read(read)) => {
            return Judged::Ready(Detail::Manifest {
                read: Some(read.clone()),
            });
        }
        Some(RunState::Running { phase, before }) => return running(item, *phase, before.as_ref()),
        Some(RunState::Unknown(why)) => return waits(BackupTrouble::Unknown(why.clone())),
        Some(RunState::Failed {
            asked,
            trouble,
            times,
            ago,
        }) => {
            if *asked == item.hash() && *ago < pause(*times) {
                return Judged::Failed(trouble.clone(), no_detail(item));
            }
            Some(trouble)
        }
        None => None,
    };
    if let Err(trouble) = sensible(item) {
        return Judged::Failed(trouble.into(), no_detail(item));
    }
    if let Some(trouble) = missing(wanted, item) {
        return waits(trouble);
    }
    let Some((order, place)) = Order::of(item).zip(place_of(item)) else {
        return waits(BackupTrouble::Invalid("it is of another kind".to_owned()));
    };
    let turn = turns.entry(place).or_default();
    if *turn >= PER_REPOSITORY {
        // What it failed of before says more.
        return match failed {
            Some(trouble) => Judged::Failed(trouble.clone(), no_detail(item)),
            None => waits(BackupTrouble::WaitsForTurn {
                most: PER_REPOSITORY,
            }),
        };
    }
    *turn += 1;
    Judged::Begin(Step::Begin {
        key: item.key,
        epoch: item.epoch,
        asked: item.hash(),
        order,
    })
}

fn sensible(item: &Item) -> Result<(), BackupTrouble> {
    match &item.body {
        ItemBody::Backup(backup) => validate_backup(backup),
        ItemBody::Restore(restore) => validate_restore(restore),
        ItemBody::Manifest(manifest) => validate_manifest(manifest),
        _ => Ok(()),
    }
}

/// What of this host has to be there first.
fn missing(wanted: &Wanted<'_>, item: &Item) -> Option<BackupTrouble> {
    match &item.body {
        ItemBody::Backup(backup) => missing_snapshot(wanted, backup),
        ItemBody::Restore(restore) => missing_volume(wanted, restore),
        _ => None,
    }
}

fn missing_snapshot(wanted: &Wanted<'_>, backup: &BackupItem) -> Option<BackupTrouble> {
    let is_ready = |id| wanted.ready.contains(&ItemKey::new(ItemKind::Snapshot, id));
    let mut volumes = backup.volumes.iter();
    let volume = volumes.find(|volume| !is_ready(volume.snapshot.0))?;
    Some(BackupTrouble::WaitsForSnapshot {
        volume: volume.volume,
        snapshot: volume.snapshot,
    })
}

fn missing_volume(wanted: &Wanted<'_>, restore: &RestoreItem) -> Option<BackupTrouble> {
    let volume = restore.volume;
    let is_ready = wanted
        .ready
        .contains(&ItemKey::new(ItemKind::Volume, volume.0));
    (!is_ready).then_some(BackupTrouble::WaitsForVolume { volume })
}

fn running(item: &Item, phase: Phase, before: Option<&Trouble>) -> Judged {
    // A trouble stays while it is tried again: else it would come and go with each try.
    if let (Phase::Opening | Phase::Waiting, Some(trouble)) = (phase, before) {
        return Judged::Failed(trouble.clone(), no_detail(item));
    }
    let (what, progress) = match phase {
        Phase::Opening => ("the repository is being opened".to_owned(), None),
        Phase::Waiting => {
            let what = "other runs of this host move data; it goes on when one of them ends";
            (what.to_owned(), None)
        }
        Phase::Moving(progress) => match progress.map(coarse) {
            Some(progress) => {
                let Progress { done, of } = progress;
                (format!("{done} of {of} are done"), Some(progress))
            }
            None => ("it is found out what has to be moved".to_owned(), None),
        },
    };
    Judged::Waits(BackupTrouble::Running(what).into(), detail(item, progress))
}

/// In 20 steps, because each change is told to the operator and written to the object.
fn coarse(progress: Progress) -> Progress {
    let step = progress.of.0.div_ceil(20).max(1);
    let done = match progress.done >= progress.of {
        true => progress.of.0,
        false => progress.done.0 / step * step,
    };
    Progress {
        done: dc_types::Bytes(done),
        of: progress.of,
    }
}

fn no_detail(item: &Item) -> Detail {
    detail(item, None)
}

pub(super) fn detail(item: &Item, progress: Option<Progress>) -> Detail {
    match item.key.kind {
        ItemKind::Restore => Detail::Restore {
            progress,
            done: None,
        },
        ItemKind::Manifest => Detail::Manifest { read: None },
        _ => Detail::Backup {
            progress,
            done: None,
        },
    }
}

/// What has to be ended for a release; `None` when nothing is left.
pub(super) fn end_of(seen: &Seen, release: &Release) -> Option<Step> {
    let run = seen.runs.get(&release.key)?;
    // What is done of a restore is the volume's, and stays beside it.
    let is_left = !matches!(run.state, RunState::Restored(_));
    (is_left && run.epoch <= release.epoch).then_some(Step::End {
        key: release.key,
        epoch: release.epoch,
    })
}
