use std::sync::Arc;

use dc_types::plan::{EndpointItem, GrantItem, Item, ItemBody, ItemKind, VolumeItem, VolumeSource};
use dc_types::{Bytes, DepartmentName, HostName, InstanceId, PoolName, SubnetUid};

use super::*;

fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: name.into(),
        uid: ObjectUid(Uuid::from_u128(1)),
    }
}

fn posted(key: ItemKey, at: u64, body: ItemBody) -> Posted {
    let item = Item {
        key,
        epoch: epoch(at),
        object: object("web"),
        body,
    };
    Posted {
        hash: item.hash(),
        item: Arc::new(item),
        since: Instant::now(),
    }
}

fn volume(n: u128, at: u64, size: u64) -> (ItemKey, Posted) {
    let volume = InstanceId(Uuid::from_u128(n));
    let key = ItemKey::new(ItemKind::Volume, volume.0);
    let body = ItemBody::Volume(VolumeItem {
        volume,
        pool: PoolName::new("san").unwrap(),
        size: Bytes(size),
        source: VolumeSource::Blank,
        restore: None,
    });
    (key, posted(key, at, body))
}

fn endpoint(n: u128, at: u64) -> (ItemKey, Posted) {
    let vm = InstanceId(Uuid::from_u128(n));
    let key = ItemKey::endpoint(vm, 0);
    let body = ItemBody::Endpoint(EndpointItem {
        department: DepartmentName::new("so-nnmt").unwrap(),
        subnet: SubnetUid(Uuid::from_u128(9)),
        vm,
        card: 0,
        name: "web".into(),
        mac: "52:54:00:00:00:01".parse().unwrap(),
        v4: None,
        v6: None,
        host: HostName::new("h1").unwrap(),
        vtep: "10.0.0.1".parse().unwrap(),
        published: vec![],
    });
    (key, posted(key, at, body))
}

fn held(key: ItemKey, posted: &Posted) -> Held {
    Held {
        key,
        epoch: posted.item.epoch,
        hash: posted.hash,
    }
}

fn release(key: ItemKey, at: u64) -> Release {
    Release {
        key,
        epoch: epoch(at),
        object: object("web"),
        disposition: Disposition::Remove,
    }
}

fn released(key: ItemKey, at: u64) -> Released {
    Released {
        key,
        epoch: epoch(at),
        note: String::new(),
        erasure: None,
    }
}

/// Everything that is said now, each delta in a word.
fn say(outbox: &mut Outbox) -> Vec<String> {
    let mut words = Vec::new();
    while outbox.has_news() {
        match outbox.take() {
            Some((_, OperatorSays::Deltas(deltas))) => {
                words.extend(deltas.iter().map(|delta| match delta {
                    Delta::Upsert(item) => format!("upsert {:?} {}", item.key.kind, item.epoch),
                    Delta::Release(r) => format!("release {:?} {}", r.key.kind, r.epoch),
                }));
            }
            Some((_, OperatorSays::Confirmed(refs))) => {
                words.extend(refs.iter().map(|r| format!("confirmed {}", r.epoch)));
            }
            Some((_, OperatorSays::Welcome(_) | OperatorSays::AskInventory)) => {
                panic!("the session itself says this, not the outbox")
            }
            None => {}
        }
    }
    words
}

#[test]
fn a_host_that_holds_everything_is_told_nothing() {
    let (key, posted) = volume(1, 5, 10);
    let mut outbox = Outbox::new(&[held(key, &posted)]);
    let unplanned = outbox.begin(BTreeMap::from([(key, posted)]), BTreeMap::new());
    assert!(unplanned.is_empty());
    assert!(say(&mut outbox).is_empty());
}

#[test]
fn only_the_difference_is_sent_and_only_once() {
    let (a, a_old) = volume(1, 5, 10);
    let (b, b_new) = volume(2, 6, 10);
    let mut outbox = Outbox::new(&[held(a, &a_old)]);
    outbox.begin(BTreeMap::from([(a, a_old), (b, b_new)]), BTreeMap::new());
    assert_eq!(say(&mut outbox), ["upsert Volume 1.6"]);
    for size in [11, 12, 13] {
        outbox.set_wanted(a, Some(volume(1, 5, size).1));
    }
    assert_eq!(say(&mut outbox), ["upsert Volume 1.5"]);
    assert!(say(&mut outbox).is_empty());
}

#[test]
fn a_volume_that_is_not_on_the_board_is_left_alone_and_counted() {
    let (key, posted) = volume(1, 5, 10);
    let mut outbox = Outbox::new(&[held(key, &posted)]);
    assert_eq!(outbox.begin(BTreeMap::new(), BTreeMap::new()), [key]);
    assert!(say(&mut outbox).is_empty());
}

#[test]
fn an_endpoint_that_is_not_on_the_board_is_removed_at_the_epoch_it_has() {
    let (key, posted) = endpoint(1, 5);
    let mut outbox = Outbox::new(&[held(key, &posted)]);
    assert!(outbox.begin(BTreeMap::new(), BTreeMap::new()).is_empty());
    assert_eq!(say(&mut outbox), ["release Endpoint 1.5"]);
}

#[test]
fn an_endpoint_that_comes_back_waits_until_its_removal_is_confirmed() {
    let (key, posted) = endpoint(1, 5);
    let mut outbox = Outbox::new(&[held(key, &posted)]);
    outbox.begin(BTreeMap::new(), BTreeMap::new());
    say(&mut outbox);
    outbox.set_wanted(key, Some(endpoint(1, 5).1));
    assert!(say(&mut outbox).is_empty());
    outbox.settle(&released(key, 5));
    assert_eq!(say(&mut outbox), ["confirmed 1.5", "upsert Endpoint 1.5"]);
}

#[test]
fn a_removal_begun_in_an_earlier_session_does_not_lose_the_item_that_is_wanted_again() {
    // The host is still removing: it does not hold the item, and refuses it at first.
    let (key, posted) = endpoint(1, 5);
    let mut outbox = Outbox::new(&[]);
    outbox.begin(BTreeMap::from([(key, posted)]), BTreeMap::new());
    assert_eq!(say(&mut outbox), ["upsert Endpoint 1.5"]);
    outbox.settle(&released(key, 5));
    assert_eq!(say(&mut outbox), ["confirmed 1.5", "upsert Endpoint 1.5"]);
}

#[test]
fn a_recorded_release_is_told_once_in_a_session_whatever_the_board_says() {
    let (key, posted) = volume(1, 5, 10);
    let mut outbox = Outbox::new(&[held(key, &posted)]);
    let pending = BTreeMap::from([(key, release(key, 5))]);
    outbox.begin(BTreeMap::from([(key, posted)]), pending.clone());
    assert_eq!(say(&mut outbox), ["release Volume 1.5"]);
    outbox.set_pending(pending);
    assert!(say(&mut outbox).is_empty());
}

#[test]
fn a_newer_grant_goes_out_with_the_release_of_the_older() {
    let volume = InstanceId(Uuid::from_u128(1));
    let key = ItemKey::new(ItemKind::Grant, volume.0);
    let body = ItemBody::Grant(GrantItem {
        volume,
        pool: PoolName::new("san").unwrap(),
        initiator: "iqn".into(),
        access: dc_types::plan::GrantAccess::Iscsi {
            chap: dc_types::plan::Chap {
                user: "dc".into(),
                secret: dc_types::plan::Secret("s".into()),
            },
        },
    });
    let new = posted(key, 8, body);
    let mut outbox = Outbox::new(&[]);
    let pending = BTreeMap::from([(key, release(key, 5))]);
    outbox.begin(BTreeMap::from([(key, new)]), pending);
    assert_eq!(say(&mut outbox), ["release Grant 1.5", "upsert Grant 1.8"]);
    outbox.settle(&released(key, 5));
    assert_eq!(say(&mut outbox), ["confirmed 1.5"]);
}

#[test]
fn the_lag_is_that_of_the_oldest_change_in_a_message() {
    let mut outbox = Outbox::new(&[]);
    let (a, mut a_posted) = volume(1, 5, 10);
    let (b, mut b_posted) = volume(2, 6, 10);
    let start = Instant::now();
    a_posted.since = start;
    b_posted.since = start + Duration::from_secs(1);
    outbox.begin(
        BTreeMap::from([(a, a_posted), (b, b_posted)]),
        BTreeMap::new(),
    );
    let (sequence, _) = outbox.take().unwrap();
    assert_eq!(sequence, Sequence(1));
    let lags = outbox.accepted(sequence, start + Duration::from_secs(3));
    assert_eq!(lags, [Duration::from_secs(3)]);
    assert!(outbox.accepted(sequence, start).is_empty());
}

#[test]
fn a_message_holds_no_more_than_its_limit() {
    let wanted: BTreeMap<_, _> = (1..=300).map(|n| volume(n, 5, 10)).collect();
    let mut outbox = Outbox::new(&[]);
    outbox.begin(wanted, BTreeMap::new());
    let mut sizes = Vec::new();
    while let Some((_, OperatorSays::Deltas(deltas))) = outbox.take() {
        sizes.push(deltas.len());
    }
    assert_eq!(sizes.iter().sum::<usize>(), 300);
    assert!(sizes.iter().all(|n| *n <= DELTAS_PER_MESSAGE), "{sizes:?}");
}

#[test]
fn a_host_may_speak_of_what_it_was_given_and_of_nothing_else() {
    let (mine, posted) = volume(1, 5, 10);
    let (other, _) = volume(2, 5, 10);
    let mut outbox = Outbox::new(&[]);
    outbox.begin(BTreeMap::from([(mine, posted)]), BTreeMap::new());
    assert!(outbox.knows(&mine));
    assert!(!outbox.knows(&other));
}
