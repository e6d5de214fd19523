//! One case, one sentence.

use std::collections::BTreeSet;

use dc_types::Bytes;
use dc_types::plan::{
    Chap, Disposition, GrantAccess, GrantItem, ItemBody, ItemKey, ItemKind, VolumeSource,
};
use dc_types::report::{Detail, ItemState, Trouble};

use super::model::*;
use crate::storage::*;

fn key(kind: ItemKind, n: u128) -> ItemKey {
    ItemKey::new(kind, volume_id(n).0)
}

fn granted(revision: u64) -> Model {
    let mut model = Model::new();
    model.put(volume_item(1, 5, 10, VolumeSource::Blank));
    model.put(grant_item(1, revision));
    model.settle();
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "Ready");
    model
}

#[test]
fn an_image_comes_before_its_volume_and_the_volume_before_its_grant() {
    let mut model = Model::new();
    model.put(image_item(1, 3));
    model.put(volume_item(1, 5, 10, VolumeSource::Image(image_id(1))));
    model.put(grant_item(1, 6));
    assert!(matches!(model.plan()[..], [Step::FetchImage { .. }]));
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "SourceMissing");
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "VolumeMissing");
    model.settle();
    for observation in model.status().observations {
        assert_eq!(observation.state, ItemState::Ready, "{}", observation.key);
    }
}

#[test]
fn a_newer_grant_marks_then_fences_then_opens() {
    let mut model = granted(6);
    model.put(grant_item(1, 9));
    let steps = model.plan();
    assert!(
        matches!(
            &steps[..],
            [
                Step::Note { note: Note::Watermark(mark), .. },
                Step::Fence { grant, .. },
                Step::Expose { .. },
            ] if *mark == Watermark::open(epoch(9)) && grant.epoch == epoch(6)
        ),
        "{steps:#?}"
    );
    model.settle();
    assert_eq!(model.grants().len(), 1);
    assert_eq!(model.grants()[0].epoch, epoch(9));
}

#[test]
fn an_old_grant_is_refused_after_a_newer_one_also_by_an_agent_that_remembers_nothing() {
    let mut model = granted(9);
    model.put(grant_item(1, 6));
    model.grants().clear();
    assert_eq!(model.plan(), []);
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "StaleEpoch");
}

#[test]
fn a_released_grant_never_comes_back_and_the_next_one_does() {
    let mut model = granted(6);
    model.release(ItemKind::Grant, volume_id(1).0, 6, Disposition::Remove);
    model.settle();
    assert_eq!(model.grants().len(), 0);
    assert_eq!(model.released(), [key(ItemKind::Grant, 1)]);
    // The operator forgets the release, and an old plan comes back.
    model.releases.clear();
    assert_eq!(model.plan(), []);
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "StaleEpoch");
    model.put(grant_item(1, 7));
    model.settle();
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "Ready");
}

#[test]
fn a_target_daemon_that_forgot_everything_gets_the_current_epoch_again_under_the_same_name() {
    let mut model = granted(6);
    let before = model.grants()[0].clone();
    model.grants().clear();
    let steps = model.plan();
    assert!(matches!(steps[..], [Step::Expose { .. }]), "{steps:?}");
    model.settle();
    assert_eq!(model.grants()[0].epoch, before.epoch);
    assert_ne!(model.grants()[0].handle, before.handle);
}

#[test]
fn a_target_that_was_cut_off_while_it_was_made_is_made_anew() {
    let mut model = granted(6);
    model.grants()[0].form = GrantForm::Broken("it admits nobody".into());
    assert!(matches!(
        model.plan()[..],
        [Step::Fence { .. }, Step::Expose { .. }]
    ));
    model.settle();
    assert!(matches!(model.grants()[0].form, GrantForm::Whole(_)));
}

#[test]
fn an_older_target_that_turns_up_is_fenced_and_the_current_one_left_alone() {
    let mut model = granted(9);
    let mut old = model.grants()[0].clone();
    old.handle = "77".into();
    old.epoch = epoch(6);
    model.grants().push(old.clone());
    assert!(matches!(&model.plan()[..], [Step::Fence { grant, .. }] if *grant == old));
}

#[test]
fn while_grants_are_not_known_nothing_is_granted_released_or_erased() {
    let mut model = granted(6);
    model.forget_grants();
    model.release(ItemKind::Volume, volume_id(1).0, 5, Disposition::EraseZero);
    model.release(ItemKind::Grant, volume_id(1).0, 6, Disposition::Remove);
    assert_eq!(model.plan(), []);
    assert_eq!(model.released(), []);
    model.releases.clear();
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "GrantsUnknown");
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "Ready");
}

#[test]
fn a_volume_is_kept_until_its_grant_is_released() {
    let mut model = granted(6);
    model.release(
        ItemKind::Volume,
        volume_id(1).0,
        5,
        Disposition::EraseDiscard,
    );
    assert_eq!(model.plan(), []);
    assert_eq!(model.released(), []);
    model.release(ItemKind::Grant, volume_id(1).0, 6, Disposition::Remove);
    model.settle();
    assert_eq!(model.volume(1).bytes, VolumeBytes::Absent);
    assert_eq!(model.released().len(), 2);
}

#[test]
fn a_volume_that_nobody_released_stays_when_the_plan_is_empty() {
    let mut model = granted(6);
    model.items.clear();
    assert_eq!(model.plan(), []);
    assert_eq!(model.grants().len(), 1);
}

#[test]
fn a_lost_file_is_not_made_anew() {
    let mut model = granted(6);
    model.grants().clear();
    model.volume(1).bytes = VolumeBytes::Absent;
    assert_eq!(model.plan(), []);
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "VolumeLost");
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "VolumeMissing");
}

#[test]
fn a_creation_that_was_cut_off_is_done_again() {
    let mut model = Model::new();
    model.put(volume_item(1, 5, 10, VolumeSource::Blank));
    let steps = model.plan();
    model.apply(&steps[0]);
    let again = model.plan();
    assert!(matches!(again[0], Step::CreateVolume { .. }), "{again:?}");
    model.settle();
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "Ready");
}

#[test]
fn a_release_never_takes_the_bytes_of_a_newer_claim() {
    let mut model = Model::new();
    model.put(volume_item(1, 9, 10, VolumeSource::Blank));
    model.release(ItemKind::Volume, volume_id(1).0, 5, Disposition::EraseZero);
    // Stop after every step: the release is looked at again each time.
    while let Some(step) = model.plan().first().cloned() {
        assert!(!matches!(step, Step::EraseVolume { .. }));
        model.apply(&step);
    }
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "Ready");
    assert_eq!(model.released(), [key(ItemKind::Volume, 1)]);
}

#[test]
fn a_volume_that_was_erased_is_not_made_again_by_an_old_claim() {
    let mut model = Model::new();
    model.put(volume_item(1, 5, 10, VolumeSource::Blank));
    model.settle();
    model.release(ItemKind::Volume, volume_id(1).0, 5, Disposition::EraseZero);
    model.settle();
    assert_eq!(model.released(), [key(ItemKind::Volume, 1)]);
    model.releases.clear();
    assert_eq!(model.plan(), []);
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "VolumeGone");
}

#[test]
fn remove_said_of_a_volume_keeps_its_bytes() {
    let mut model = Model::new();
    model.put(volume_item(1, 5, 10, VolumeSource::Blank));
    model.settle();
    model.release(ItemKind::Volume, volume_id(1).0, 5, Disposition::Remove);
    assert!(matches!(model.plan()[..], [Step::RetainVolume { .. }]));
}

#[test]
fn a_volume_grows_under_its_holder_and_its_grant_is_made_anew() {
    let mut model = granted(6);
    model.grants()[0].holders.push("iqn.x".into());
    let before = model.grants()[0].handle.clone();
    model.put(volume_item(1, 5, 20, VolumeSource::Blank));
    let steps = model.plan();
    assert!(matches!(steps[..], [Step::GrowVolume { .. }]), "{steps:?}");
    model.apply(&steps[0]);
    // It is not as asked before its machine can see it.
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "GrantOutgrown");
    let steps = model.plan();
    assert!(
        matches!(steps[..], [Step::Fence { .. }, Step::Expose { .. }]),
        "{steps:?}"
    );
    // Cut off in between it is made all the same.
    model.apply(&steps[0]);
    model.settle();
    let grant = &model.grants()[0];
    assert_eq!(grant.epoch, epoch(6));
    assert_ne!(grant.handle, before);
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "Ready");
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "Ready");
}

#[test]
fn a_growth_that_was_cut_off_before_it_grew_leaves_the_grant_alone_until_it_has() {
    let mut model = granted(6);
    let handle = model.grants()[0].handle.clone();
    model.put(volume_item(1, 5, 20, VolumeSource::Blank));
    let note = Note::Outgrown(BTreeSet::from([handle]));
    let record = model.volume(1).record.take();
    model.volume(1).record = VolumeRecord::with(record, &note);
    let steps = model.plan();
    assert!(matches!(steps[..], [Step::GrowVolume { .. }]), "{steps:?}");
    model.settle();
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "Ready");
}

#[test]
fn a_grant_of_a_newer_epoch_is_made_while_the_volume_grows() {
    let mut model = granted(6);
    model.put(volume_item(1, 5, 20, VolumeSource::Blank));
    model.put(grant_item(1, 9));
    model.settle();
    assert_eq!(model.grants()[0].epoch, epoch(9));
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "Ready");
}

#[test]
fn a_volume_of_a_pool_that_lacks_it_grows_only_when_nothing_has_it_open() {
    let mut model = granted(6);
    model.lack_growth();
    model.grants()[0].holders.push("iqn.x".into());
    model.put(volume_item(1, 5, 20, VolumeSource::Blank));
    assert_eq!(model.plan(), []);
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "VolumeInUse");
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "Ready");
    model.grants()[0].holders.clear();
    let steps = model.plan();
    assert!(
        matches!(steps[..], [Step::Fence { .. }, Step::GrowVolume { .. }]),
        "{steps:?}"
    );
    model.apply(&steps[0]);
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "VolumeGrowing");
    model.settle();
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "Ready");
    let grown = VolumeBytes::Present {
        size: Bytes(20 * GIB),
        allocated: Bytes(0),
    };
    assert_eq!(model.volume(1).bytes, grown);
}

#[test]
fn a_newer_grant_fences_the_older_also_while_the_volume_is_to_grow() {
    let mut model = granted(6);
    model.lack_growth();
    model.grants()[0].holders.push("iqn.x".into());
    model.put(volume_item(1, 5, 20, VolumeSource::Blank));
    model.put(grant_item(1, 9));
    model.settle();
    assert_eq!(model.grants()[0].epoch, epoch(9));
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "Ready");
}

#[test]
fn sizes_that_cannot_be_are_refused_with_what_to_do() {
    let mut model = granted(6);
    model.put(volume_item(1, 5, 1, VolumeSource::Blank));
    model.put(volume_item(2, 5, 0, VolumeSource::Blank));
    model.put(image_item(1, 3));
    model.put(volume_item(3, 5, 1, VolumeSource::Image(image_id(1))));
    model.settle();
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "SizeShrinks");
    assert_eq!(model.reason(key(ItemKind::Volume, 2)), "InvalidItem");
    assert_eq!(model.reason(key(ItemKind::Volume, 3)), "SizeBelowSource");
    let ItemState::Failed(trouble) = model.state(key(ItemKind::Volume, 3)) else {
        panic!("it is refused");
    };
    assert!(
        trouble.message.contains("2Gi or more"),
        "{}",
        trouble.message
    );
}

#[test]
fn a_faulty_or_unknown_pool_holds_everything_of_it_back() {
    let mut model = Model::new();
    model.put(volume_item(1, 5, 10, VolumeSource::Blank));
    model.release(ItemKind::Volume, volume_id(2).0, 5, Disposition::Retain);
    let facts = &mut model.seen.pools.get_mut(&pool()).unwrap().facts;
    facts.fault = Some("its folder is empty".into());
    assert_eq!(model.plan(), []);
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "PoolUnusable");
    assert_eq!(model.released(), []);
    model.seen.pools.clear();
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "PoolUnknown");
}

fn chap(grant: &mut GrantItem) -> &mut Chap {
    match &mut grant.access {
        GrantAccess::Iscsi { chap } => chap,
        access => panic!("{access:?}"),
    }
}

#[test]
fn two_grants_with_one_chap_user_are_both_refused() {
    let mut model = Model::new();
    for n in [1, 2] {
        model.put(volume_item(n, 5, 10, VolumeSource::Blank));
        let mut item = grant_item(n, 6);
        if let ItemBody::Grant(grant) = &mut item.body {
            chap(grant).user = "dc".into();
        }
        model.put(item);
    }
    model.settle();
    assert_eq!(model.grants().len(), 0);
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "ChapUserShared");
    assert_eq!(model.reason(key(ItemKind::Grant, 2)), "ChapUserShared");
}

#[test]
fn what_would_mean_something_to_the_target_daemon_is_refused() {
    let bad: [fn(&mut GrantItem); 4] = [
        |grant| grant.initiator = "iqn.a,b=c".into(),
        |grant| grant.initiator = "ALL".into(),
        |grant| chap(grant).user = "a,password=b".into(),
        |grant| chap(grant).secret.0 = "short".into(),
    ];
    for spoil in bad {
        let mut item = grant_item(1, 6);
        let ItemBody::Grant(grant) = &mut item.body else {
            panic!("it is a grant")
        };
        spoil(grant);
        let trouble = validate_grant(grant).unwrap_err();
        assert_eq!(trouble.reason(), "InvalidItem", "{trouble:?}");
        assert!(!format!("{trouble:?}").contains("secret0"));
    }
}

#[test]
fn image_sources_stay_in_their_folder_and_on_http() {
    use dc_types::plan::ImageSource;
    let ItemBody::Image(good) = image_item(1, 3).body else {
        panic!("it is an image")
    };
    assert_eq!(validate_image(&good), Ok(()));
    for source in [
        ImageSource::File("../etc/shadow".into()),
        ImageSource::File("/etc/shadow".into()),
        ImageSource::File("a/../../b".into()),
        ImageSource::File(String::new()),
        ImageSource::Http("file:///etc/shadow".into()),
        ImageSource::Http("http://".into()),
        ImageSource::Http("http://a b".into()),
    ] {
        let mut bad = good.clone();
        bad.source = source;
        assert!(validate_image(&bad).is_err(), "{:?}", bad.source);
    }
    let mut bad = good;
    bad.sha256 = "A".repeat(64);
    assert!(validate_image(&bad).is_err());
}

#[test]
fn a_failed_try_is_told_until_it_succeeds() {
    let mut model = Model::new();
    model.put(image_item(1, 3));
    let key = ItemKey::new(ItemKind::Image, image_id(1).0);
    assert_eq!(model.reason(key), "Working");
    let trouble = Trouble::from(StorageTrouble::ImageEncrypted);
    model.troubles.insert(key, trouble);
    assert_eq!(model.reason(key), "ImageEncrypted");
    model.settle();
    assert_eq!(model.reason(key), "Ready");
}

#[test]
fn an_image_of_another_checksum_is_fetched_again() {
    let mut model = Model::new();
    model.put(image_item(1, 3));
    model.settle();
    let mut other = image_item(1, 4);
    if let ItemBody::Image(image) = &mut other.body {
        image.sha256 = "b".repeat(64);
    }
    model.put(other);
    assert!(matches!(model.plan()[..], [Step::FetchImage { .. }]));
}

#[test]
fn what_a_guest_writes_is_not_a_report_for_each_write() {
    let mut model = granted(6);
    let detail = |model: &mut Model, bytes: u64| {
        model.volume(1).bytes = VolumeBytes::Present {
            size: Bytes(10 * GIB),
            allocated: Bytes(bytes),
        };
        let status = model.status();
        let found = status.observations.into_iter();
        found
            .map(|o| o.detail)
            .find(|d| matches!(d, Detail::Volume { .. }))
    };
    assert_eq!(detail(&mut model, 5000), detail(&mut model, 6000));
    assert_ne!(detail(&mut model, 5000), detail(&mut model, GIB));
}

#[test]
fn a_file_holds_whole_sectors() {
    assert_eq!(file_size(Bytes(1_350_000_000_000)).0, 1_350_000_000_000);
    assert_eq!(file_size(Bytes(1)), Bytes(512));
    assert_eq!(file_size(Bytes(1025)), Bytes(1536));
}

#[test]
fn a_volume_whose_record_cannot_be_read_is_left_as_it_is() {
    let mut model = granted(6);
    model.volume(1).fault = Some("its record is not JSON".into());
    model.put(grant_item(1, 9));
    model.release(ItemKind::Volume, volume_id(1).0, 5, Disposition::EraseZero);
    assert_eq!(model.plan(), []);
    assert_eq!(model.released(), []);
    assert_eq!(model.reason(key(ItemKind::Grant, 1)), "VolumeUnusable");
    model.releases.clear();
    assert_eq!(model.reason(key(ItemKind::Volume, 1)), "VolumeUnusable");
}

#[test]
fn the_progress_of_an_image_is_told_in_few_steps_and_looked_at_often() {
    let mut model = Model::new();
    model.put(image_item(1, 3));
    let key = ItemKey::new(ItemKind::Image, image_id(1).0);
    let mut told = std::collections::BTreeSet::new();
    for mib in 0..=500 {
        let progress = ImageProgress::Reading {
            done: Bytes(mib << 20),
            of: Some(Bytes(500 << 20)),
        };
        model.seen.fetching.insert(image_id(1), progress);
        let ItemState::Pending(trouble) = model.state(key) else {
            panic!("it is on the way");
        };
        told.insert(trouble.message);
    }
    assert_eq!(told.len(), 11, "{told:?}");
    assert!(
        told.iter()
            .any(|text| text.contains("read 30 % of 500 MiB"))
    );
    assert_eq!(model.next_look(), Some(3));
    model.seen.fetching.clear();
    assert_eq!(model.next_look(), None);
}

#[test]
fn the_end_of_a_session_that_keeps_a_volume_from_growing_is_looked_for() {
    let mut model = granted(6);
    model.lack_growth();
    model.grants()[0].holders.push("iqn.x".into());
    model.put(volume_item(1, 5, 20, VolumeSource::Blank));
    assert_eq!(model.next_look(), Some(5));
    model.forget_grants();
    assert_eq!(model.next_look(), Some(1));
}
