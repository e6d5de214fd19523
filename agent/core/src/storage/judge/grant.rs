//! Grants: one target for each volume and epoch, the older fenced before the newer is made.
//!
//! The order of the steps of a newer grant, and what a crash after each leaves:
//! 1. the watermark is raised: from here on the old epoch can never be granted again;
//! 2. the old target is deleted: its initiator can write no more;
//! 3. the new target is made, its access list last: until then nobody may log in.

use std::collections::BTreeSet;

use dc_types::plan::{Chap, GrantItem, Item, ItemBody, ItemKey, ItemKind, Release};
use dc_types::report::Detail;
use dc_types::{Bytes, Epoch, InstanceId};

use super::volume::{present_size, sound};
use super::{Judged, Removal, faulty, highest_target, listed, live, sensible, usable};
use crate::storage::known::Known;
use crate::storage::seen::{TargetSeen, VolumeSeen, Watermark};
use crate::storage::step::{Expose, Note, Step};
use crate::storage::trouble::StorageTrouble;
use crate::storage::validate::{file_size, validate_grant};
use crate::wanted::Wanted;

pub(super) fn grant(
    wanted: &Wanted<'_>,
    seen: &Known<'_>,
    item: &Item,
    body: &GrantItem,
) -> Result<Judged, Judged> {
    let chap = validate_grant(body).map_err(|trouble| Judged::refused(trouble, Detail::None))?;
    sensible(own_user(seen, chap))?;
    let pool = usable(seen, &body.pool)?;
    let waits = |trouble| Err(Judged::waits(trouble, Detail::None));
    if let Err(trouble) = listed(seen) {
        return waits(trouble);
    }
    let there = pool.volumes.get(&body.volume);
    if let Some(Err(trouble)) = there.map(sound) {
        return waits(trouble);
    }
    let Some((there, size)) = there.and_then(|there| Some((there, granted_size(there)?))) else {
        let pool = body.pool.clone();
        return waits(StorageTrouble::VolumeMissing { pool });
    };
    let mark = watermark(seen, there, body.volume);
    if let Some(mark) = mark.filter(|mark| !mark.admits(item.epoch)) {
        let behind = behind(seen, item.key, body.volume, mark);
        if behind.is_empty() {
            let (asked, highest) = (item.epoch, mark.epoch);
            let stale = StorageTrouble::StaleEpoch { asked, highest };
            return Err(Judged::refused(stale, Detail::None));
        }
        return Ok(Judged::Steps(behind, Detail::None));
    }
    let mut steps = make(seen, item, body, chap, there);
    let exposes = matches!(steps.last(), Some(Step::Expose { .. }));
    if exposes && growing(wanted, body.volume, size) {
        // What is older is fenced all the same: its session may be what keeps it from growing.
        steps.pop();
        if steps.is_empty() {
            return waits(StorageTrouble::VolumeGrowing);
        }
    }
    Ok(if steps.is_empty() {
        Judged::Ready(Detail::None)
    } else {
        Judged::Steps(steps, Detail::None)
    })
}

/// The size of a volume that may be granted: its bytes are there, and it has a record to keep the
/// watermark in.
fn granted_size(there: &VolumeSeen) -> Option<Bytes> {
    there
        .record
        .as_ref()
        .filter(|record| record.gone.is_none())?;
    present_size(there)
}

/// The daemon keeps accounts by user alone: a user of two grants would have one secret for both.
fn own_user(seen: &Known<'_>, chap: &Chap) -> Result<(), StorageTrouble> {
    let user = chap.user.clone();
    if seen.is_shared(&user) {
        return Err(StorageTrouble::ChapUserShared { user });
    }
    Ok(())
}

/// What is written down, or shown by a target that is there: whichever is higher.
fn watermark(seen: &Known<'_>, there: &VolumeSeen, volume: InstanceId) -> Option<Watermark> {
    let written = there.record.as_ref().and_then(|record| record.grants);
    written.max(highest_target(seen, volume).map(Watermark::open))
}

/// The steps that make the grant, none when it is there.
fn make(
    seen: &Known<'_>,
    item: &Item,
    body: &GrantItem,
    chap: &Chap,
    there: &VolumeSeen,
) -> Vec<Step> {
    let good = |target: &TargetSeen| {
        target.name == GrantItem::target_name(body.volume, item.epoch)
            && target.lun.as_ref() == Some(&there.path)
            && target.accounts == [chap.user.clone()]
            && target.acl == [body.initiator.clone()]
    };
    let mark = Watermark::open(item.epoch);
    let mut steps = Vec::new();
    if there.record.as_ref().and_then(|record| record.grants) < Some(mark) {
        steps.push(Step::Note {
            key: item.key,
            pool: body.pool.clone(),
            volume: body.volume,
            note: Note::Watermark(mark),
        });
    }
    // A target that is not whole was cut off while it was made, so nobody has logged in to it.
    let others = seen.targets_of(body.volume).filter(|target| !good(target));
    steps.extend(others.map(|target| fence(item.key, target)));
    if !seen.targets_of(body.volume).any(good) {
        steps.push(Step::Expose {
            key: item.key,
            expose: Expose {
                pool: body.pool.clone(),
                volume: body.volume,
                epoch: item.epoch,
                path: there.path.clone(),
                initiator: body.initiator.clone(),
                chap: chap.clone(),
            },
        });
    }
    steps
}

/// Targets of epochs that the watermark has left behind, whatever is wanted.
fn behind(seen: &Known<'_>, key: ItemKey, volume: InstanceId, mark: Watermark) -> Vec<Step> {
    let behind = |target: &&TargetSeen| {
        let of = target.grant();
        of.is_some_and(|(_, epoch)| !mark.admits(epoch))
    };
    let targets = seen.targets_of(volume).filter(behind);
    targets.map(|target| fence(key, target)).collect()
}

/// Whether the volume is still to get longer: a target made now would keep the old size.
fn growing(wanted: &Wanted<'_>, volume: InstanceId, size: Bytes) -> bool {
    let item = live(wanted, &ItemKey::new(ItemKind::Volume, volume.0));
    item.is_some_and(|item| match &item.body {
        ItemBody::Volume(body) => file_size(body.size) > size,
        _ => false,
    })
}

fn fence(key: ItemKey, target: &TargetSeen) -> Step {
    Step::Fence {
        key,
        tid: target.tid,
        name: target.name.clone(),
    }
}

pub(in crate::storage) fn grant_release(seen: &Known<'_>, release: &Release) -> Removal {
    let volume = InstanceId(release.key.id);
    if let Err(trouble) = listed(seen) {
        return Removal::Waits(trouble);
    }
    let mut found = seen
        .pools
        .values()
        .filter_map(|pool| pool.volumes.get(&volume));
    if let Some(trouble) = found.find_map(|there| sound(there).err()) {
        return Removal::Waits(trouble);
    }
    let steps = grant_removal_steps(seen, release.key, volume, Some(release.epoch));
    if !steps.is_empty() {
        return Removal::Steps(steps);
    }
    let known = seen
        .pools
        .values()
        .any(|pool| pool.volumes.contains_key(&volume));
    match faulty(seen.pools.values()).filter(|_| !known) {
        Some(trouble) => Removal::Waits(trouble),
        None => Removal::Done("no target of this grant is left".to_owned()),
    }
}

/// The steps that take away a volume's targets up to an epoch, or all of them. The epoch is
/// written down as fenced first, also when no target is there: it must not come back.
pub(in crate::storage) fn grant_removal_steps(
    seen: &Known<'_>,
    key: ItemKey,
    volume: InstanceId,
    epoch: Option<Epoch>,
) -> Vec<Step> {
    let targets: BTreeSet<_> = up_to(seen, volume, epoch)
        .filter_map(|target| Some((target.grant()?.1, target.tid, target.name.clone())))
        .collect();
    let newest = epoch.or(targets.last().map(|(newest, ..)| *newest));
    let mark = newest.map(Watermark::fenced);
    let found = seen
        .pools
        .iter()
        .find_map(|(name, pool)| Some((name, pool.volumes.get(&volume)?.record.as_ref()?)));
    let unwritten = found
        .zip(mark)
        .filter(|((_, record), mark)| record.gone.is_none() && record.grants < Some(*mark));
    let note = unwritten.map(|((pool, _), mark)| Step::Note {
        key,
        pool: pool.clone(),
        volume,
        note: Note::Watermark(mark),
    });
    let fences = targets
        .into_iter()
        .map(|(_, tid, name)| Step::Fence { key, tid, name });
    note.into_iter().chain(fences).collect()
}

fn up_to<'a>(
    seen: &Known<'a>,
    volume: InstanceId,
    epoch: Option<Epoch>,
) -> impl Iterator<Item = &'a TargetSeen> {
    seen.targets_of(volume).filter(move |target| {
        let of = target.grant().map(|(_, of)| of);
        epoch.is_none_or(|epoch| of.is_some_and(|of| of <= epoch))
    })
}
