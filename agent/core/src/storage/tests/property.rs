//! Whatever is asked in whatever order, and wherever it is cut off: plans come to an end, and what
//! the model checks at each step holds.

use dc_types::plan::{Disposition, ItemKind, VolumeSource};
use proptest::prelude::*;

use super::model::*;
use crate::storage::*;

#[derive(Clone, Debug)]
enum Event {
    PutVolume {
        n: u128,
        revision: u64,
        gib: u64,
    },
    PutClone {
        n: u128,
        revision: u64,
        of: u128,
    },
    PutImage {
        revision: u64,
    },
    PutGrant {
        n: u128,
        revision: u64,
    },
    /// Snapshot `n` of the volume of that number.
    PutSnapshot {
        n: u128,
        revision: u64,
    },
    PutRestore {
        n: u128,
        revision: u64,
        order: u8,
    },
    Write {
        n: u128,
    },
    Release {
        kind: ItemKind,
        n: u128,
        revision: u64,
        erase: bool,
    },
    ForgetReleases,
    ForgetPlan,
    DaemonRestarts,
    Login {
        n: u128,
    },
    /// This many steps of the plan, then the agent dies.
    Steps(usize),
    Settle,
}

fn event() -> impl Strategy<Value = Event> {
    let n = || 1u128..4;
    let revision = || 1u64..12;
    let kind = prop_oneof![
        Just(ItemKind::Volume),
        Just(ItemKind::Grant),
        Just(ItemKind::Snapshot),
        Just(ItemKind::Image)
    ];
    prop_oneof![
        (n(), revision(), 1u64..6).prop_map(|(n, revision, gib)| Event::PutVolume {
            n,
            revision,
            gib
        }),
        (n(), revision(), 0u128..5).prop_map(|(n, revision, of)| Event::PutClone {
            n,
            revision,
            of
        }),
        revision().prop_map(|revision| Event::PutImage { revision }),
        (n(), revision()).prop_map(|(n, revision)| Event::PutGrant { n, revision }),
        (n(), revision()).prop_map(|(n, revision)| Event::PutGrant { n, revision }),
        (n(), revision()).prop_map(|(n, revision)| Event::PutSnapshot { n, revision }),
        (n(), revision(), 0u8..3).prop_map(|(n, revision, order)| Event::PutRestore {
            n,
            revision,
            order
        }),
        n().prop_map(|n| Event::Write { n }),
        (kind, n(), revision(), any::<bool>()).prop_map(|(kind, n, revision, erase)| {
            Event::Release {
                kind,
                n,
                revision,
                erase,
            }
        }),
        Just(Event::ForgetReleases),
        Just(Event::ForgetPlan),
        Just(Event::DaemonRestarts),
        n().prop_map(|n| Event::Login { n }),
        (0usize..6).prop_map(Event::Steps),
        Just(Event::Settle),
    ]
}

fn happen(model: &mut Model, event: &Event) {
    match event.clone() {
        Event::PutVolume { n, revision, gib } => {
            model.put(volume_item(n, revision, gib, VolumeSource::Blank));
        }
        Event::PutClone { n, revision, of } => {
            let source = match of {
                0 => VolumeSource::Image(image_id(1)),
                4 => VolumeSource::Snapshot {
                    volume: volume_id(1),
                    snapshot: snapshot_id(1),
                },
                of => VolumeSource::Volume(volume_id(of)),
            };
            model.put(volume_item(n, revision, 5, source));
        }
        Event::PutImage { revision } => model.put(image_item(1, revision)),
        Event::PutGrant { n, revision } => model.put(grant_item(n, revision)),
        Event::PutSnapshot { n, revision } => model.put(snapshot_item(n, n, revision)),
        Event::PutRestore { n, revision, order } => {
            let item = volume_item(n, revision, 5, VolumeSource::Blank);
            model.put(restored(item, n, &order.to_string()));
        }
        Event::Write { n } => model.write(n),
        Event::Release {
            kind,
            n,
            revision,
            erase,
        } => {
            let disposition = match (kind, erase) {
                (ItemKind::Volume, true) => Disposition::EraseZero,
                (ItemKind::Volume, false) => Disposition::Retain,
                _ => Disposition::Remove,
            };
            let id = match kind {
                ItemKind::Image => image_id(1).0,
                ItemKind::Snapshot => snapshot_id(n).0,
                _ => volume_id(n).0,
            };
            model.release(kind, id, revision, disposition);
        }
        Event::ForgetReleases => model.releases.clear(),
        Event::ForgetPlan => model.items.clear(),
        Event::DaemonRestarts => model.grants().clear(),
        Event::Login { n } => {
            let volume = volume_id(n);
            for grant in model.grants() {
                if grant.volume == volume {
                    grant.holders.push("iqn.x".into());
                }
            }
        }
        Event::Steps(count) => {
            let steps: Vec<Step> = model.plan().into_iter().take(count).collect();
            model.carry_out(&steps);
        }
        Event::Settle => model.settle(),
    }
}

/// Each volume's watermark.
fn marks(model: &Model) -> Vec<(dc_types::InstanceId, Option<Watermark>)> {
    let pool = &model.seen.pools[&pool()];
    let mark = |there: &VolumeSeen| there.record.as_ref().and_then(|record| record.grants);
    let volumes = pool.contents.volumes.iter();
    volumes.map(|(id, there)| (*id, mark(there))).collect()
}

/// What is there of snapshots is written down, and what is written down as made is there. One that
/// was begun by a plan that was then forgotten may be either.
fn snapshots_are_written_down(there: &VolumeSeen) -> bool {
    let known = there.record.as_ref().map(|record| &record.snapshots);
    let is_known = |id| known.is_some_and(|known| known.contains_key(id));
    let mut made = known.into_iter().flatten();
    there.snapshots.keys().all(is_known)
        && made.all(|(id, known)| known.making == Making::Begun || there.snapshots.contains_key(id))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn after_a_plan_is_carried_out_the_next_is_empty(
        events in prop::collection::vec(event(), 1..25)
    ) {
        let mut model = Model::new();
        for event in &events {
            let before = marks(&model);
            happen(&mut model, event);
            for (id, mark) in before {
                let now = marks(&model).into_iter().find(|(other, _)| *other == id);
                prop_assert!(now.is_some_and(|(_, now)| now >= mark), "a watermark fell");
            }
        }
        model.settle();
        prop_assert_eq!(model.plan(), []);
        // Ready is said of nothing that has a step, and of no two grants of a volume.
        for grant in model.grants().clone() {
            let there = &model.seen.pools[&pool()].contents.volumes[&grant.volume];
            let mark = there.record.as_ref().unwrap().grants;
            prop_assert_eq!(mark, Some(Watermark::open(grant.epoch)));
            let present = matches!(there.bytes, VolumeBytes::Present { .. });
            prop_assert!(present, "a grant without bytes");
        }
        for there in model.seen.pools[&pool()].contents.volumes.values() {
            prop_assert!(snapshots_are_written_down(there), "{:#?}", there);
        }
    }
}

/// Found by the property above, once in many runs.
#[test]
fn no_snapshot_is_begun_of_a_volume_that_is_released() {
    let revisions = [3, 5, 7];
    let all = revisions
        .iter()
        .flat_map(|a| revisions.map(|b| (*a, b)))
        .flat_map(|(a, b)| revisions.map(|c| (a, b, c)));
    for ((asked, made, released), (steps, erase)) in
        all.flat_map(|all| (0..6).flat_map(move |n| [(all, (n, false)), (all, (n, true))]))
    {
        let mut model = Model::new();
        for event in [
            Event::PutSnapshot {
                n: 3,
                revision: asked,
            },
            Event::PutVolume {
                n: 3,
                revision: made,
                gib: 1,
            },
            Event::Steps(steps),
            Event::Release {
                kind: ItemKind::Volume,
                n: 3,
                revision: released,
                erase,
            },
        ] {
            happen(&mut model, &event);
        }
        model.settle();
        assert_eq!(model.plan(), []);
        for there in model.seen.pools[&pool()].contents.volumes.values() {
            let known = there
                .record
                .iter()
                .flat_map(|record| record.snapshots.keys());
            assert!(known.eq(there.snapshots.keys()), "{there:#?}");
        }
    }
}
