use super::*;
use dc_types::plan::{Disposition, Formatted, ItemKind, Luks, Secret};

fn host() -> HostName {
    HostName::new("h1").unwrap()
}

/// The first version's ledger: an item of each kind, and a release.
fn fixture() -> Ledger {
    parse(&host(), include_bytes!("../../fixtures/ledger-v1.json")).unwrap()
}

fn one(kind: ItemKind) -> Item {
    let ledger = fixture();
    let mut items = ledger.items.values();
    items.find(|i| i.key.kind == kind).cloned().unwrap()
}

fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

fn at(mut item: Item, revision: u64) -> Change {
    item.epoch = epoch(revision);
    let sent = item.hash();
    Change::Upsert(Box::new(item), sent)
}

fn release(item: &Item, revision: u64) -> Change {
    Change::Release(Release {
        key: item.key,
        epoch: epoch(revision),
        object: item.object.clone(),
        disposition: Disposition::Remove,
    })
}

fn reasons(observations: &[Observation]) -> Vec<String> {
    observations
        .iter()
        .map(|o| match &o.state {
            ItemState::Failed(trouble) => trouble.reason.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_ledger_of_the_first_version_is_still_read() {
    let ledger = fixture();
    assert_eq!(ledger.items.len(), 6);
    assert_eq!(ledger.releases.len(), 1);
    assert_eq!(ledger.term.revision, 3);
    assert_eq!(ledger.held()[0].hash, ItemHash(1000));
}

#[test]
fn a_ledger_that_is_written_reads_back() {
    let ledger = fixture();
    assert_eq!(parse(&host(), &render(&host(), &ledger)).unwrap(), ledger);
}

#[test]
fn a_ledger_of_another_host_or_a_newer_form_or_cut_short_is_not_taken_for_an_empty_one() {
    let text = render(&host(), &fixture());
    let other = HostName::new("h2").unwrap();
    assert!(matches!(
        parse(&other, &text),
        Err(LedgerFileError::AnotherHost { .. })
    ));
    assert!(matches!(
        parse(&host(), br#"{"version":3,"all":"different"}"#),
        Err(LedgerFileError::Newer { found: 3 })
    ));
    for cut in [0, 1, text.len() / 2, text.len() - 1] {
        assert!(matches!(
            parse(&host(), &text[..cut]),
            Err(LedgerFileError::Form(_))
        ));
    }
}

#[test]
fn an_item_of_an_older_epoch_is_refused() {
    let mut ledger = Ledger::default();
    let grant = one(ItemKind::Grant);
    assert!(
        ledger
            .accept(&host(), vec![at(grant.clone(), 20)])
            .is_empty()
    );
    let refused = ledger.accept(&host(), vec![at(grant.clone(), 19)]);
    assert_eq!(reasons(&refused), ["OldEpoch"]);
    assert_eq!(ledger.items[&grant.key].epoch, epoch(20));
    assert!(
        ledger
            .accept(&host(), vec![at(grant.clone(), 20)])
            .is_empty()
    );
}

#[test]
fn what_was_released_does_not_come_back_until_claimed_anew() {
    let mut ledger = Ledger::default();
    let volume = one(ItemKind::Volume);
    ledger.accept(&host(), vec![at(volume.clone(), 20), release(&volume, 20)]);
    assert!(ledger.items.is_empty() && ledger.sent.is_empty());
    let refused = ledger.accept(&host(), vec![at(volume.clone(), 20)]);
    assert_eq!(reasons(&refused), ["AlreadyReleased"]);
    assert!(
        ledger
            .accept(&host(), vec![at(volume.clone(), 21)])
            .is_empty()
    );
    assert!(ledger.releases.contains_key(&volume.key), "both stand");
}

#[test]
fn a_release_of_an_older_epoch_leaves_the_newer_item() {
    let mut ledger = Ledger::default();
    let vm = one(ItemKind::Vm);
    ledger.accept(&host(), vec![at(vm.clone(), 20), release(&vm, 19)]);
    assert_eq!(ledger.items[&vm.key].epoch, epoch(20));
    ledger.accept(&host(), vec![release(&vm, 18)]);
    assert_eq!(
        ledger.releases[&vm.key].epoch,
        epoch(19),
        "the newest counts"
    );
}

#[test]
fn a_release_is_kept_until_its_own_epoch_is_confirmed() {
    let mut ledger = Ledger::default();
    let vm = one(ItemKind::Vm);
    ledger.accept(&host(), vec![release(&vm, 20)]);
    assert!(!ledger.confirmed(&vm.key, epoch(19)));
    assert!(ledger.releases.contains_key(&vm.key));
    assert!(ledger.confirmed(&vm.key, epoch(20)));
    assert!(ledger.releases.is_empty());
}

#[test]
fn a_machine_of_another_host_is_refused() {
    let mut ledger = Ledger::default();
    let vm = one(ItemKind::Vm);
    let other = HostName::new("h2").unwrap();
    let refused = ledger.accept(&other, vec![at(vm.clone(), 20)]);
    assert_eq!(reasons(&refused), ["AnotherHost"]);
    assert!(ledger.items.is_empty());
    assert!(ledger.accept(&host(), vec![at(vm, 20)]).is_empty());
}

#[test]
fn a_leader_of_a_lower_term_is_not_followed() {
    let mut ledger = Ledger::default();
    let term = |incarnation, revision| Term {
        incarnation,
        revision,
    };
    assert_eq!(ledger.follow(term(1, 50)), Ok(true));
    assert_eq!(ledger.follow(term(1, 50)), Ok(false));
    let refused = ledger.follow(term(1, 49)).unwrap_err();
    assert_eq!(refused.followed, term(1, 50));
    // The ledger was lost and begun anew: its revisions are small, its incarnation is not.
    assert_eq!(ledger.follow(term(2, 3)), Ok(true));
    assert!(ledger.follow(term(1, 900)).is_err());
}

#[test]
fn nothing_is_removed_without_a_release() {
    let before = fixture();
    let mut ledger = before.clone();
    ledger.accept(&host(), vec![]);
    ledger
        .follow(Term {
            incarnation: 9,
            revision: 9,
        })
        .unwrap();
    ledger.accept(&host(), vec![at(one(ItemKind::Image), 30)]);
    assert_eq!(
        ledger.items.keys().collect::<Vec<_>>(),
        before.items.keys().collect::<Vec<_>>()
    );
}

#[test]
fn the_key_of_a_volume_is_never_on_disk_and_is_asked_for_again() {
    let key = "0123456789abcdef".repeat(4);
    let mut item = one(ItemKind::Vm);
    let ItemBody::Vm(vm) = &mut item.body else {
        panic!("not a machine");
    };
    vm.disks[0].luks = Some(Luks {
        key: Some(Secret(key.clone())),
        formatted: Formatted::Done,
    });
    let (at_key, sent) = (item.key, item.hash());
    let mut ledger = fixture();
    let refused = ledger.accept(&host(), vec![at(item.clone(), item.epoch.revision)]);
    assert_eq!(refused, []);
    assert_eq!(ledger.items[&at_key], item);
    let text = render(&host(), &ledger);
    let shown = String::from_utf8(text.clone()).unwrap();
    assert!(!shown.contains(&key), "{shown}");
    assert!(!format!("{ledger:?}").contains(&key));
    // An agent that knows nothing of encryption would open it as it is.
    assert!(shown.starts_with("{\"version\":2,"), "{shown}");
    assert!(render(&host(), &fixture()).starts_with(b"{\"version\":1,"));
    let found = parse(&host(), &text).unwrap();
    let ItemBody::Vm(vm) = &found.items[&at_key].body else {
        panic!("not a machine");
    };
    let luks = vm.disks[0].luks.clone().unwrap();
    assert_eq!((luks.key, luks.formatted), (None, Formatted::Done));
    let held = found.held();
    let held = held.iter().find(|held| held.key == at_key).unwrap();
    assert_ne!(held.hash, sent, "the operator would not send it again");
}
