//! A volume that was on its way to another pool when the ledger was lost.

use dc_crds::{Volume, VolumeStatus};
use dc_types::claim::MovePhase;
use dc_types::plan::{Mirror, MirrorOrder};

use super::*;

/// Machine 1 on h1, whose volume 101 of s1 is copied to place 301 of s2: what each host holds.
fn moving(order: MirrorOrder) -> [Inventory; 3] {
    let mut machine = vm(1, "h1", 5);
    let ItemBody::Vm(body) = &mut machine.body else {
        panic!("not a machine");
    };
    let disk = &mut body.disks[0];
    disk.mirror = Some(Box::new(Mirror {
        place: id(301),
        grant: epoch(8),
        source: disk.source.clone(),
        order,
    }));
    let mut place = volume(301, 7);
    place.object = object("v101", 101);
    [
        inventory("h1", vec![machine]),
        inventory("s1", vec![volume(101, 4), grant(101, "h1", 1, 5)]),
        inventory("s2", vec![place, grant(301, "h1", 1, 8)]),
    ]
}

#[test]
fn a_move_is_taken_up_as_one_that_may_have_gone_over() {
    for order in [MirrorOrder::Copy, MirrorOrder::Switch] {
        let outcome = rebuild(&moving(order), &objects());
        assert_eq!(of_storage(&outcome), Vec::<&String>::new());
        let claims = read(&outcome);
        assert_eq!(claims.volumes[&id(101)].value.place(), id(101));
        let second = &claims.moves[&id(101)];
        assert_eq!(second.value.phase, MovePhase::Switching);
        assert_eq!(
            (second.value.place, &second.value.host),
            (id(301), &host("s2"))
        );
        assert_eq!(second.epoch, epoch(7), "its storage knows it by this one");
        for place in [id(101), id(301)] {
            let attached = &claims.attachments[&place].value;
            assert_eq!((attached.volume, attached.vm), (id(101), id(1)));
        }
    }
}

#[test]
fn a_move_without_one_of_its_places_is_told_and_not_claimed() {
    let [h1, s1, s2] = moving(MirrorOrder::Switch);
    let outcome = rebuild(&[h1.clone(), s1], &objects());
    assert!(read(&outcome).moves.is_empty());
    let told = of_storage(&outcome);
    assert!(
        told.iter().any(|told| told.contains("was being moved")),
        "{told:?}"
    );
    let outcome = rebuild(&[h1, s2], &objects());
    let claims = read(&outcome);
    assert!(
        claims.moves.is_empty() && claims.volumes.is_empty(),
        "the copy is not the volume"
    );
    let told = of_storage(&outcome);
    assert!(
        told.iter().any(|told| told.contains("keep that place")),
        "{told:?}"
    );
}

#[test]
fn a_restore_that_was_done_before_the_move_is_not_ordered_again() {
    let (machine, place, granted) = moved_machine();
    let spec = serde_json::json!({"system": "s", "pool": "san", "size": "1Gi"});
    let mut told = Volume::new("v101", serde_json::from_value(spec).unwrap());
    told.metadata.uid = Some(Uuid::from_u128(101).to_string());
    told.status = Some(VolumeStatus {
        restored: Some("7".into()),
        ..VolumeStatus::default()
    });
    let objects = Objects {
        volumes: vec![told],
        ..objects()
    };
    let inventories = [
        inventory("h1", vec![machine]),
        inventory("s1", vec![place, granted]),
    ];
    let claims = read(&rebuild(&inventories, &objects));
    let restored = claims.volumes[&id(101)].value.restored.clone();
    assert_eq!(restored.as_deref(), Some("7"));
}
