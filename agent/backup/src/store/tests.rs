//! What every store keeps to, on the two that need no server.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;

fn ids(store: &dyn Store, kind: Kind) -> Vec<(Id, u64)> {
    let mut listed = store.list(kind).unwrap();
    listed.sort_unstable();
    listed
}

fn keeps_to_the_trait(store: &dyn Store) {
    store.create().unwrap();
    store.create().unwrap();
    let (a, b) = (Id::new([0xa1; 32]), Id::new([0xb2; 32]));
    for kind in Kind::ALL {
        assert_eq!(ids(store, kind), []);
        let missing = store.read(kind, a, None).unwrap_err();
        assert!(missing.is_not_there(), "{missing}");
        store.remove(kind, a).unwrap();
    }
    for kind in [Kind::Pack, Kind::Index, Kind::Snapshot] {
        store.write(kind, a, b"0123456789").unwrap();
        store.write(kind, a, b"0123456789").unwrap();
        store.write(kind, b, b"").unwrap();
        assert_eq!(ids(store, kind), [(a, 10), (b, 0)]);
        assert_eq!(store.read(kind, a, None).unwrap(), b"0123456789");
        assert_eq!(store.read(kind, a, Some(3..5)).unwrap(), b"34");
        store.read(kind, a, Some(8..12)).unwrap_err();
        store.remove(kind, a).unwrap();
        store.remove(kind, a).unwrap();
        assert_eq!(ids(store, kind), [(b, 0)]);
    }
    store.write(Kind::Config, a, b"{}").unwrap();
    assert_eq!(store.list(Kind::Config).unwrap(), [(Id::default(), 2)]);
    assert_eq!(store.read(Kind::Config, b, None).unwrap(), b"{}");
}

#[test]
fn memory_keeps_to_the_trait() {
    keeps_to_the_trait(&MemoryStore::default());
}

#[test]
fn a_folder_keeps_to_the_trait() {
    let folder = tempfile::tempdir().unwrap();
    keeps_to_the_trait(&LocalStore::new(folder.path().join("new")));
}

#[test]
fn what_a_killed_write_leaves_in_a_folder_is_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    store.create().unwrap();
    fs::write(folder.path().join("data/a1/.unfinished-x"), "half").unwrap();
    fs::write(folder.path().join("index/readme"), "not ours").unwrap();
    assert_eq!(ids(&store, Kind::Pack), []);
    assert_eq!(ids(&store, Kind::Index), []);
}

#[test]
fn what_a_killed_write_left_is_swept_when_nobody_can_still_write_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    store.create().unwrap();
    let id = Id::new([0xa1; 32]);
    store.write(Kind::Pack, id, b"whole").unwrap();
    let age = |path: &str, hours: u64| {
        let path = folder.path().join(path);
        fs::write(&path, "half").unwrap();
        let then = SystemTime::now() - Duration::from_hours(hours);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(then).unwrap();
        path
    };
    let gone = [
        age("data/a1/.unfinished-x", 25),
        age("locks/.unfinished-x", 25),
        age(".unfinished-x", 48),
    ];
    let kept = [
        age("data/a1/.unfinished-y", 1),
        age("index/readme", 48),
        store.path(Kind::Pack, id),
    ];
    for _ in 0..2 {
        store.sweep().unwrap();
        assert!(!gone.iter().any(|path| path.exists()), "{gone:?}");
        assert!(kept.iter().all(|path| path.exists()), "{kept:?}");
    }
}

#[test]
fn a_folder_that_is_not_mounted_is_an_error_and_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path().join("away"));
    for kind in Kind::ALL {
        assert!(store.list(kind).unwrap_err().is_not_there());
    }
}

#[test]
fn a_store_is_cut_off_where_it_is_asked_to_be() {
    let (a, b) = (Id::new([1; 32]), Id::new([2; 32]));
    for (at, left) in [
        (CutAt::Before(1), vec![(a, 1)]),
        (CutAt::After(1), vec![(a, 1), (b, 1)]),
    ] {
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let cut = CutStore::new(Arc::clone(&inner), at);
        cut.write(Kind::Pack, a, b"a").unwrap();
        cut.read(Kind::Pack, a, None).unwrap();
        cut.write(Kind::Pack, b, b"b").unwrap_err();
        cut.read(Kind::Pack, a, None).unwrap_err();
        cut.remove(Kind::Pack, a).unwrap_err();
        assert_eq!(ids(&*inner, Kind::Pack), left);
    }
}

#[test]
fn an_address_that_is_not_https_or_trusts_nobody_is_refused() {
    for (url, ca_pem) in [("http://127.0.0.1/x", "x"), ("https://127.0.0.1/x", "x")] {
        let address = RestAddress {
            url: url.to_owned(),
            user: "user".to_owned(),
            password: "secret".to_owned(),
            ca_pem: ca_pem.to_owned(),
        };
        assert!(!format!("{address:?}").contains("secret"));
        RestStore::new(address).unwrap_err();
    }
}
