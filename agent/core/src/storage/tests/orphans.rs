//! What nobody asked for.

use dc_types::Bytes;
use dc_types::plan::{Disposition, ItemKind, VolumeSource};
use dc_types::report::{Orphan, OrphanKind};

use super::model::*;

fn all() -> Model {
    let mut model = Model::new();
    model.put(image_item(1, 3));
    model.put(volume_item(1, 5, 10, VolumeSource::Blank));
    model.put(snapshot_item(1, 1, 7));
    model.put(grant_item(1, 6));
    model.settle();
    model
}

#[test]
fn what_is_asked_for_is_no_orphan_also_while_it_is_taken_away() {
    let mut model = all();
    assert_eq!(model.orphans(), []);
    model.items.clear();
    model.release(ItemKind::Grant, volume_id(1).0, 6, Disposition::Remove);
    model.release(ItemKind::Volume, volume_id(1).0, 5, Disposition::Retain);
    model.release(ItemKind::Snapshot, snapshot_id(1).0, 7, Disposition::Remove);
    model.release(ItemKind::Image, image_id(1).0, 3, Disposition::Remove);
    assert_eq!(model.orphans(), []);
    model.settle();
    assert_eq!(model.orphans(), []);
}

#[test]
fn what_nobody_asks_for_is_shown_and_nothing_is_done_about_it() {
    let mut model = all();
    model.items.clear();
    assert_eq!(model.plan(), []);
    let found = model.orphans();
    let kinds: Vec<OrphanKind> = found.iter().map(|orphan| orphan.kind).collect();
    let expected = [
        OrphanKind::Volume,
        OrphanKind::Snapshot,
        OrphanKind::Image,
        OrphanKind::Grant,
    ];
    assert_eq!(kinds, expected, "{found:#?}");
    assert!(found[0].name.contains("so-nnmt"), "{}", found[0].name);
}

#[test]
fn many_orphans_are_counted() {
    let mut model = Model::new();
    let stray = |n: u64| Orphan {
        kind: OrphanKind::Other,
        name: format!("{n:03}"),
        size: Bytes(n),
        since: Some(n as i64),
    };
    model.stray((0..200).map(stray).collect());
    let found = model.orphans();
    assert_eq!(found.len(), 50);
    let last = Orphan {
        kind: OrphanKind::Other,
        name: "and 151 more".into(),
        size: Bytes((49..200).sum()),
        since: Some(49),
    };
    assert_eq!(found[49], last);
}
