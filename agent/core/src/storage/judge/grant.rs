//! Grants: one for each volume and epoch, the older fenced before the newer is made.
//!
//! The order of the steps of a newer grant, and what a crash after each leaves:
//! 1. the watermark is raised: from here on the old epoch can never be granted again;
//! 2. the old grant is taken away: its holder can write no more;
//! 3. the new grant is made: until then nobody gets in.
//!
//! A grant that the volume has outgrown is taken away and made again under the same epoch: its holder
//! waits meanwhile, comes back by itself, and sends again what it had no answer to. That is no old
//! epoch coming back: nobody else was let in between.

use std::collections::BTreeSet;

use dc_types::plan::{
    GrantAccess, GrantItem, Item, ItemBody, ItemKey, ItemKind, Release, VolumeItem,
};
use dc_types::report::Detail;
use dc_types::{Bytes, Epoch, InstanceId};

use super::volume::{grows_online, pending_restore, present_size, sound};
use super::{Judged, Removal, faulty, find, highest_grant, listed, live, sensible, usable};
use crate::storage::known::Known;
use crate::storage::record::{Note, Watermark};
use crate::storage::seen::{Admits, GrantForm, GrantSeen, PoolSeen, VolumeSeen};
use crate::storage::step::{Expose, Step};
use crate::storage::trouble::StorageTrouble;
use crate::storage::validate::{file_size, validate_grant};
use crate::wanted::Wanted;

pub(super) fn grant(
    wanted: &Wanted<'_>,
    seen: &Known<'_>,
    item: &Item,
    body: &GrantItem,
) -> Result<Judged, Judged> {
    sensible(validate_grant(body))?;
    sensible(own_user(seen, body))?;
    let pool = usable(seen, &body.pool)?;
    let waits = |trouble| Err(Judged::waits(trouble, Detail::None));
    if let Err(trouble) = listed(pool) {
        return waits(trouble);
    }
    let there = pool.contents.volumes.get(&body.volume);
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
    let asked = asked_size(wanted, body.volume).unwrap_or(size);
    // One that is outgrown is made anew once, when the volume has its size.
    let outgrown = match &there.record {
        Some(record) if asked <= size => &record.outgrown,
        Some(_) | None => &BTreeSet::new(),
    };
    let mut steps = make(seen, item, body, (there, outgrown));
    let exposes = matches!(steps.last(), Some(Step::Expose { .. }));
    let changing = changing(wanted, (pool, there), body.volume, asked > size);
    if let Some(trouble) = changing.filter(|_| exposes) {
        // What is older is fenced all the same: its holder may be what the change waits for.
        steps.pop();
        if steps.is_empty() {
            return waits(trouble);
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
fn own_user(seen: &Known<'_>, body: &GrantItem) -> Result<(), StorageTrouble> {
    match &body.access {
        GrantAccess::Iscsi { chap, .. } if seen.is_shared(&chap.user) => {
            let user = chap.user.clone();
            Err(StorageTrouble::ChapUserShared { user })
        }
        GrantAccess::Iscsi { .. } | GrantAccess::Rbd { .. } | GrantAccess::File { .. } => Ok(()),
    }
}

/// What is written down, or shown by a grant that is there: whichever is higher.
fn watermark(seen: &Known<'_>, there: &VolumeSeen, volume: InstanceId) -> Option<Watermark> {
    let written = there.record.as_ref().and_then(|record| record.grants);
    written.max(highest_grant(seen, volume).map(Watermark::open))
}

/// The steps that make the grant, none when it is there.
fn make(
    seen: &Known<'_>,
    item: &Item,
    body: &GrantItem,
    (there, outgrown): (&VolumeSeen, &BTreeSet<String>),
) -> Vec<Step> {
    let whole = GrantForm::Whole(Admits::of(&body.initiator, &body.access));
    let good = |grant: &GrantSeen| {
        grant.pool == body.pool
            && grant.epoch == item.epoch
            && grant.form == whole
            && !outgrown.contains(&grant.handle)
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
    // One that is not whole was cut off while it was made, so nobody got in through it.
    let others = seen.grants_of(body.volume).filter(|grant| !good(grant));
    steps.extend(others.map(|grant| fence(item.key, grant)));
    if !seen.grants_of(body.volume).any(good) {
        steps.push(Step::Expose {
            key: item.key,
            expose: Expose {
                pool: body.pool.clone(),
                volume: body.volume,
                epoch: item.epoch,
                initiator: body.initiator.clone(),
                access: body.access.clone(),
            },
        });
    }
    steps
}

/// Grants of epochs that the watermark has left behind, whatever is wanted.
fn behind(seen: &Known<'_>, key: ItemKey, volume: InstanceId, mark: Watermark) -> Vec<Step> {
    let behind = seen
        .grants_of(volume)
        .filter(|grant| !mark.admits(grant.epoch));
    behind.map(|grant| fence(key, grant)).collect()
}

fn volume_item<'a>(wanted: &Wanted<'a>, volume: InstanceId) -> Option<&'a VolumeItem> {
    let item = live(wanted, &ItemKey::new(ItemKind::Volume, volume.0))?;
    match &item.body {
        ItemBody::Volume(body) => Some(body),
        _ => None,
    }
}

/// How large the volume is to be.
fn asked_size(wanted: &Wanted<'_>, volume: InstanceId) -> Option<Bytes> {
    volume_item(wanted, volume).map(|body| file_size(body.size))
}

/// Why the volume is not opened yet, although nothing is the matter with it: it is to be brought
/// back to a snapshot or written from a backup first, or made longer in a pool that does not do that under a holder.
fn changing(
    wanted: &Wanted<'_>,
    (pool, there): (&PoolSeen, &VolumeSeen),
    volume: InstanceId,
    grows: bool,
) -> Option<StorageTrouble> {
    if grows && !grows_online(pool) {
        return Some(StorageTrouble::VolumeGrowing);
    }
    if is_to_be_filled(wanted, there, volume) {
        return Some(StorageTrouble::VolumeRestoring);
    }
    let body = volume_item(wanted, volume)?;
    pending_restore(body, there).map(|_| StorageTrouble::VolumeRestoring)
}

/// Whether a restore from a backup is asked for that is not done. The operator opens the volume
/// after that; a guest that was let in before would see half of it.
fn is_to_be_filled(wanted: &Wanted<'_>, there: &VolumeSeen, volume: InstanceId) -> bool {
    let filled = there.record.as_ref().and_then(|record| record.filled);
    let mut restores = wanted.of_kind(ItemKind::Restore);
    restores.any(|item| match &item.body {
        ItemBody::Restore(restore) => {
            restore.volume == volume
                && live(wanted, &item.key).is_some()
                && filled.is_none_or(|filled| filled.run != restore.run)
        }
        _ => false,
    })
}

fn fence(key: ItemKey, grant: &GrantSeen) -> Step {
    let grant = grant.clone();
    Step::Fence { key, grant }
}

pub(in crate::storage) fn grant_release(seen: &Known<'_>, release: &Release) -> Removal {
    let volume = InstanceId(release.key.id);
    if let Some(trouble) = seen.pools().find_map(|pool| listed(pool).err()) {
        return Removal::Waits(trouble);
    }
    let found = find(seen, volume);
    if let Some(trouble) = found.and_then(|(_, there)| sound(there).err()) {
        return Removal::Waits(trouble);
    }
    let steps = grant_removal_steps(seen, release.key, volume, Some(release.epoch));
    if !steps.is_empty() {
        return Removal::Steps(steps);
    }
    if found.is_none()
        && let Some(trouble) = faulty(seen.pools())
    {
        return Removal::Waits(trouble);
    }
    let record = found.and_then(|(_, there)| there.record.as_ref());
    let proof = record.and_then(|record| record.fence.as_ref());
    match proof.filter(|proof| proof.epoch <= release.epoch) {
        Some(proof) => Removal::done(format!(
            "epoch {} was fenced in {} ms: {} deleted",
            proof.epoch,
            proof.took_ms,
            proof.deleted.join(", ")
        )),
        None => Removal::done("no grant of this volume is left"),
    }
}

/// The steps that take away a volume's grants up to an epoch, or all of them. The epoch is written
/// down as fenced first, also when no grant is there: it must not come back.
pub(in crate::storage) fn grant_removal_steps(
    seen: &Known<'_>,
    key: ItemKey,
    volume: InstanceId,
    epoch: Option<Epoch>,
) -> Vec<Step> {
    let mut grants: Vec<&GrantSeen> = seen
        .grants_of(volume)
        .filter(|grant| epoch.is_none_or(|epoch| grant.epoch <= epoch))
        .collect();
    grants.sort_by_key(|grant| grant.epoch);
    let newest = epoch.or(grants.last().map(|newest| newest.epoch));
    let mark = newest.map(Watermark::fenced);
    let found = find(seen, volume)
        .and_then(|(pool, there)| Some((pool, there.record.as_ref()?)))
        .zip(mark);
    let unwritten =
        found.filter(|((_, record), mark)| record.gone.is_none() && record.grants < Some(*mark));
    let note = unwritten.map(|((pool, _), mark)| Step::Note {
        key,
        pool: pool.clone(),
        volume,
        note: Note::Watermark(mark),
    });
    let fences = grants.into_iter().map(|grant| fence(key, grant));
    note.into_iter().chain(fences).collect()
}
