//! Volumes that are written from a backup: granted to nobody before that is done.

use dc_types::Bytes;
use dc_types::RunId;
use dc_types::plan::{
    Disposition, Item, ItemBody, ItemKey, ItemKind, RepositoryAccess, RepositoryPlace, RestoreItem,
    Secret, VolumeSource,
};
use dc_types::report::RestoreDone;
use uuid::Uuid;

use super::model::*;
use crate::storage::*;

/// Run `n`, onto volume 1.
fn restore_item(n: u128) -> Item {
    let run = RunId(Uuid::from_u128(n));
    let body = RestoreItem {
        run,
        repository: RepositoryAccess {
            place: RepositoryPlace::Folder {
                path: "/srv/backup".into(),
            },
            password: Secret("secret".into()),
        },
        backup: "a".repeat(64),
        file: "root.raw".into(),
        volume: volume_id(1),
        pool: pool(),
        size: Bytes(GIB),
        verify: false,
        limit: None,
    };
    Item {
        key: ItemKey::new(ItemKind::Restore, run.0),
        epoch: epoch(6),
        object: object(n),
        body: ItemBody::Restore(Box::new(body)),
    }
}

fn filled(n: u128) -> Filled {
    Filled {
        run: RunId(Uuid::from_u128(n)),
        done: RestoreDone {
            written: Bytes(GIB),
            began_at: 1,
            ended_at: 2,
            verified: None,
        },
    }
}

/// As the backup vertical does when a run is done.
fn note(model: &mut Model, filled: Filled) {
    let there = model.volume(1);
    there.record = VolumeRecord::with(there.record.take(), &Note::Filled(filled));
}

fn grant_key() -> ItemKey {
    ItemKey::new(ItemKind::Grant, volume_id(1).0)
}

fn asked() -> Model {
    let mut model = Model::new();
    model.put(volume_item(1, 5, 1, VolumeSource::Blank));
    model.put(restore_item(9));
    model.put(grant_item(1, 6));
    model.settle();
    model
}

#[test]
fn a_volume_is_granted_when_its_restore_is_written_down() {
    let mut model = asked();
    assert_eq!(model.reason(grant_key()), "VolumeRestoring");
    assert!(model.grants().is_empty());
    assert_eq!(model.next_look(), Some(5));
    note(&mut model, filled(8));
    model.settle();
    assert_eq!(model.reason(grant_key()), "VolumeRestoring", "another run");
    note(&mut model, filled(9));
    model.settle();
    assert_eq!(model.reason(grant_key()), "Ready");
}

#[test]
fn a_restore_that_is_released_keeps_nobody_out() {
    let mut model = asked();
    let key = restore_item(9).key;
    model.items.remove(&key);
    model.release(ItemKind::Restore, key.id, 6, Disposition::Remove);
    model.settle();
    assert_eq!(model.reason(grant_key()), "Ready");
}

#[test]
fn what_a_volume_was_filled_with_goes_with_its_bytes() {
    let mut model = asked();
    note(&mut model, filled(9));
    model.settle();
    for kind in [ItemKind::Grant, ItemKind::Volume] {
        model.items.remove(&ItemKey::new(kind, volume_id(1).0));
        let how = Disposition::EraseDiscard;
        model.release(kind, volume_id(1).0, 6, how);
    }
    model.settle();
    model.releases.clear();
    model.put(volume_item(1, 8, 1, VolumeSource::Blank));
    model.settle();
    let record = model.volume(1).record.clone().unwrap();
    assert_eq!(record.filled, None);
}
