//! Snapshots, clones of them, restores in place, and volumes that go while they have some.

use dc_types::Bytes;
use dc_types::plan::{Disposition, ItemKey, ItemKind, VolumeSource};
use dc_types::report::{Detail, Erasure};

use super::model::*;
use crate::storage::*;

fn volume_key(n: u128) -> ItemKey {
    ItemKey::new(ItemKind::Volume, volume_id(n).0)
}

fn snapshot_key(n: u128) -> ItemKey {
    ItemKey::new(ItemKind::Snapshot, snapshot_id(n).0)
}

/// Volume 1 with a grant, written to once, and its snapshot 1.
fn taken() -> Model {
    let mut model = Model::new();
    model.put(volume_item(1, 5, 10, VolumeSource::Blank));
    model.put(grant_item(1, 6));
    model.settle();
    model.write(1);
    model.put(snapshot_item(1, 1, 7));
    model.settle();
    assert_eq!(model.reason(snapshot_key(1)), "Ready");
    model
}

#[test]
fn a_snapshot_is_taken_while_the_volume_is_open_and_keeps_what_it_held() {
    let mut model = taken();
    model.write(1);
    assert_eq!(model.plan(), []);
    assert_eq!(model.bytes[&snapshot_id(1).0], 1);
    assert_eq!(model.bytes[&volume_id(1).0], 2);
    let status = model.status();
    let told = status
        .observations
        .into_iter()
        .find(|o| o.key == snapshot_key(1));
    let detail = Detail::Snapshot {
        size: Bytes(10 * GIB),
        taken_at: 0,
    };
    assert_eq!(told.unwrap().detail, detail);
}

#[test]
fn a_snapshot_waits_for_its_volume() {
    let mut model = Model::new();
    model.put(snapshot_item(1, 1, 7));
    assert_eq!(model.plan(), []);
    assert_eq!(model.reason(snapshot_key(1)), "VolumeMissing");
    model.put(volume_item(1, 5, 10, VolumeSource::Blank));
    model.settle();
    assert_eq!(model.reason(snapshot_key(1)), "Ready");
}

#[test]
fn a_snapshot_that_was_cut_off_at_any_step_is_taken_once() {
    for steps in 0..3 {
        let mut model = Model::new();
        model.put(volume_item(1, 5, 10, VolumeSource::Blank));
        model.settle();
        model.put(snapshot_item(1, 1, 7));
        let plan = model.plan();
        assert_eq!(plan.len(), 3, "{plan:?}");
        model.carry_out(&plan[..steps]);
        model.settle();
        assert_eq!(
            model.reason(snapshot_key(1)),
            "Ready",
            "cut off after {steps}"
        );
    }
}

#[test]
fn a_lost_snapshot_is_not_taken_again_and_one_that_was_changed_is_told() {
    let mut model = taken();
    let kept = model.volume(1).snapshots.clone();
    model.volume(1).snapshots.clear();
    assert_eq!(model.plan(), []);
    assert_eq!(model.reason(snapshot_key(1)), "SnapshotLost");
    model.volume(1).snapshots = kept;
    let changed = "it has another time".to_owned();
    model
        .volume(1)
        .snapshots
        .get_mut(&snapshot_id(1))
        .unwrap()
        .fault = Some(changed);
    assert_eq!(model.plan(), []);
    assert_eq!(model.reason(snapshot_key(1)), "SnapshotCorrupt");
    // Both go when they are released.
    model.release(ItemKind::Snapshot, snapshot_id(1).0, 7, Disposition::Remove);
    model.settle();
    assert_eq!(model.released(), [snapshot_key(1)]);
}

#[test]
fn a_released_snapshot_is_gone_and_an_older_release_leaves_a_newer_claim_alone() {
    let mut model = taken();
    model.release(ItemKind::Snapshot, snapshot_id(1).0, 6, Disposition::Remove);
    assert_eq!(model.plan(), []);
    assert_eq!(model.released(), [snapshot_key(1)]);
    model.release(ItemKind::Snapshot, snapshot_id(1).0, 7, Disposition::Remove);
    model.settle();
    assert!(model.volume(1).snapshots.is_empty());
    assert_eq!(model.released(), [snapshot_key(1)]);
}

#[test]
fn a_volume_goes_when_its_snapshots_have_gone() {
    let mut model = taken();
    model.put(snapshot_item(2, 1, 8));
    model.settle();
    model.items.clear();
    model.release(ItemKind::Grant, volume_id(1).0, 6, Disposition::Remove);
    model.release(ItemKind::Volume, volume_id(1).0, 5, Disposition::EraseZero);
    model.release(ItemKind::Snapshot, snapshot_id(1).0, 7, Disposition::Remove);
    model.settle();
    assert!(
        !model.released().contains(&volume_key(1)),
        "it has a snapshot yet"
    );
    model.release(ItemKind::Snapshot, snapshot_id(2).0, 8, Disposition::Remove);
    model.settle();
    assert!(model.released().contains(&volume_key(1)));
    assert_eq!(model.volume(1).bytes, VolumeBytes::Absent);
}

#[test]
fn a_clone_of_a_snapshot_waits_for_it_and_is_not_shorter() {
    let mut model = Model::new();
    let source = VolumeSource::Snapshot {
        volume: volume_id(1),
        snapshot: snapshot_id(1),
    };
    model.put(volume_item(1, 5, 10, VolumeSource::Blank));
    model.put(volume_item(2, 6, 10, source.clone()));
    model.put(volume_item(3, 6, 4, source));
    model.settle();
    assert_eq!(model.reason(volume_key(2)), "SourceMissing");
    model.put(snapshot_item(1, 1, 7));
    model.settle();
    assert_eq!(model.reason(volume_key(2)), "Ready");
    assert_eq!(model.reason(volume_key(3)), "SizeBelowSource");
}

#[test]
fn a_volume_is_restored_once_for_each_order_while_nobody_holds_it() {
    let mut model = taken();
    model.write(1);
    model.grants()[0].holders.push("iqn.x".into());
    let asked = volume_item(1, 5, 10, VolumeSource::Blank);
    model.put(restored(asked.clone(), 1, "first"));
    assert_eq!(model.plan(), []);
    assert_eq!(model.reason(volume_key(1)), "RestoreWaits");
    assert_eq!(model.next_look(), Some(5));
    model.grants()[0].holders.clear();
    model.settle();
    assert_eq!(model.bytes[&volume_id(1).0], 1);
    let grant = ItemKey::new(ItemKind::Grant, volume_id(1).0);
    assert_eq!(model.reason(grant), "Ready");
    model.write(1);
    model.put(restored(asked.clone(), 1, "first"));
    assert_eq!(model.plan(), []);
    assert_eq!(model.bytes[&volume_id(1).0], 2);
    model.put(restored(asked, 1, "second"));
    model.settle();
    assert_eq!(model.bytes[&volume_id(1).0], 1);
}

#[test]
fn a_restore_that_was_cut_off_at_any_step_is_finished_before_anybody_gets_in() {
    let grant = ItemKey::new(ItemKind::Grant, volume_id(1).0);
    for steps in 0..4 {
        let mut model = taken();
        model.write(1);
        let asked = volume_item(1, 5, 20, VolumeSource::Blank);
        model.put(restored(asked, 1, "first"));
        let plan = model.plan();
        assert_eq!(plan.len(), 4, "{plan:#?}");
        model.carry_out(&plan[..steps]);
        // The last step is the growth, which keeps nobody out.
        if (1..3).contains(&steps) {
            assert_eq!(model.reason(grant), "VolumeRestoring");
        }
        model.settle();
        assert_eq!(model.bytes[&volume_id(1).0], 1, "cut off after {steps}");
        assert_eq!(model.reason(grant), "Ready");
        let grown = VolumeBytes::Present {
            size: Bytes(20 * GIB),
            allocated: Bytes(0),
        };
        assert_eq!(model.volume(1).bytes, grown);
    }
}

#[test]
fn what_an_erasure_found_is_told_with_its_release_and_a_fence_with_its_own() {
    let mut model = taken();
    model.release(ItemKind::Snapshot, snapshot_id(1).0, 7, Disposition::Remove);
    model.release(ItemKind::Grant, volume_id(1).0, 6, Disposition::Remove);
    model.release(
        ItemKind::Volume,
        volume_id(1).0,
        5,
        Disposition::EraseRandom,
    );
    let erases = |step: &Step| {
        matches!(
            step,
            Step::EraseVolume {
                method: EraseMethod::Random,
                ..
            }
        )
    };
    while !model.plan().iter().any(erases) {
        let plan = model.plan();
        model.carry_out(&plan);
    }
    let plan = model.plan();
    model.carry_out(&plan);
    let erasure = Erasure {
        method: Disposition::EraseRandom,
        extents: 3,
        bytes: Bytes(4096),
        verified: Bytes(4096),
        began_at: 1,
        ended_at: 2,
    };
    let record = model.volume(1).record.as_mut().unwrap();
    record.gone.as_mut().unwrap().erasure = Some(erasure.clone());
    let released = model.status().released;
    let of = |key| released.iter().find(|r| r.key == key).unwrap();
    assert_eq!(of(volume_key(1)).erasure, Some(erasure));
    let fenced = of(ItemKey::new(ItemKind::Grant, volume_id(1).0));
    assert!(
        fenced.note.contains("epoch 1.6 was fenced"),
        "{}",
        fenced.note
    );
}
