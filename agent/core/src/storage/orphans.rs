//! What lies in a pool that no claim speaks of: found, shown, and never removed by itself.
//!
//! An orphan may be all that is left of somebody's data: a ledger that was restored from the past, a
//! pool's disk that came from another data centre, a file that was copied by hand. People decide.
//! The opposite, a claim whose thing is missing, is told by the item's own state.

use dc_types::Bytes;
use dc_types::plan::{ItemKey, ItemKind};
use dc_types::report::{Orphan, OrphanKind};
use uuid::Uuid;

use super::seen::{GrantSeen, PoolSeen, VolumeBytes, VolumeSeen};
use crate::wanted::Wanted;

/// More are counted, not named: each is told to the operator and written to the pool's object.
const MOST: usize = 50;

/// The orphans of one pool, by kind and name.
#[must_use]
pub fn orphans(wanted: &Wanted<'_>, pool: &PoolSeen) -> Vec<Orphan> {
    let mut found = pool.contents.strays.clone();
    for (id, there) in &pool.contents.volumes {
        if !is_asked(wanted, ItemKind::Volume, id.0) {
            found.extend(volume(there));
        }
        for (snapshot, taken) in &there.snapshots {
            if !is_asked(wanted, ItemKind::Snapshot, snapshot.0) {
                found.push(Orphan {
                    kind: OrphanKind::Snapshot,
                    name: format!("snapshot {snapshot} of {}", there.place),
                    size: taken.size,
                    since: Some(taken.taken_at),
                });
            }
        }
    }
    for (id, image) in &pool.contents.images {
        if !is_asked(wanted, ItemKind::Image, id.0) {
            found.push(Orphan {
                kind: OrphanKind::Image,
                name: format!("image {id}"),
                size: image.virtual_size,
                since: None,
            });
        }
    }
    let unasked = pool.grants.listed().iter();
    let unasked = unasked.filter(|grant| !is_asked(wanted, ItemKind::Grant, grant.volume.0));
    found.extend(unasked.map(grant));
    found.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    cut(found)
}

/// An item that is wanted, or is being taken away.
fn is_asked(wanted: &Wanted<'_>, kind: ItemKind, id: Uuid) -> bool {
    let key = ItemKey::new(kind, id);
    wanted.items.contains_key(&key) || wanted.releases.contains_key(&key)
}

/// Of a volume whose bytes are gone only the record is left, which is as it should be.
fn volume(there: &VolumeSeen) -> Option<Orphan> {
    let size = match there.bytes {
        VolumeBytes::Present { allocated, .. } => allocated,
        VolumeBytes::Erasing => Bytes(0),
        VolumeBytes::Absent => return None,
    };
    let owner = there.record.as_ref().map(|record| &record.owner);
    let of = owner.map_or("nobody knows whose".to_owned(), |owner| {
        format!("of {owner}")
    });
    Some(Orphan {
        kind: OrphanKind::Volume,
        name: format!("{} ({of})", there.place),
        size,
        since: None,
    })
}

fn grant(grant: &GrantSeen) -> Orphan {
    Orphan {
        kind: OrphanKind::Grant,
        name: format!(
            "grant {} of volume {}, epoch {}",
            grant.handle, grant.volume, grant.epoch
        ),
        size: Bytes(0),
        since: None,
    }
}

fn cut(mut found: Vec<Orphan>) -> Vec<Orphan> {
    if found.len() <= MOST {
        return found;
    }
    let rest = found.split_off(MOST - 1);
    found.push(Orphan {
        kind: OrphanKind::Other,
        name: format!("and {} more", rest.len()),
        size: Bytes(rest.iter().map(|orphan| orphan.size.0).sum()),
        since: rest.iter().filter_map(|orphan| orphan.since).min(),
    });
    found
}
