use rustic_core::repofile::MasterKey;

use super::*;
use crate::store::MemoryStore;

struct Place {
    store: Arc<dyn Store>,
    cipher: Cipher,
}

impl Place {
    fn new() -> Self {
        Self {
            store: Arc::new(MemoryStore::default()),
            cipher: Cipher::new(&MasterKey::new()),
        }
    }

    fn take(&self, mode: Mode) -> Result<Lock, BackupError> {
        Lock::take(Arc::clone(&self.store), &self.cipher, mode)
    }

    fn put(&self, holder: &Holder) -> Id {
        write(&*self.store, &self.cipher, holder).unwrap()
    }

    fn count(&self) -> usize {
        self.store.list(Kind::Lock).unwrap().len()
    }
}

fn elsewhere(mode: Mode, age: SignedDuration) -> Holder {
    Holder {
        time: Timestamp::now() - age,
        hostname: "elsewhere".to_owned(),
        ..Holder::now(mode)
    }
}

#[test]
fn shared_locks_stand_beside_each_other_and_an_exclusive_one_stands_alone() {
    let place = Place::new();
    let first = place.take(Mode::Shared).unwrap();
    let second = place.take(Mode::Shared).unwrap();
    let refused = place.take(Mode::Exclusive).unwrap_err();
    assert!(matches!(refused, BackupError::Locked { .. }), "{refused}");
    assert_eq!(place.count(), 2);
    first.release().unwrap();
    drop(second);
    assert_eq!(place.count(), 0);

    let alone = place.take(Mode::Exclusive).unwrap();
    for mode in [Mode::Shared, Mode::Exclusive] {
        assert!(matches!(place.take(mode), Err(BackupError::Locked { .. })));
    }
    alone.release().unwrap();
    assert_eq!(place.count(), 0);
}

#[test]
fn a_lock_of_a_dead_client_is_removed_and_told() {
    let place = Place::new();
    let old = elsewhere(Mode::Exclusive, SignedDuration::from_mins(31));
    place.put(&old);
    let mut child = process::Command::new("true").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    child.wait().unwrap();
    let dead = Holder {
        pid,
        ..Holder::now(Mode::Exclusive)
    };
    place.put(&dead);
    let lock = place.take(Mode::Exclusive).unwrap();
    let mut removed = lock.removed.clone();
    removed.sort_by_key(|holder| holder.time);
    assert_eq!(removed, [old, dead]);
    assert_eq!(place.count(), 1);
}

#[test]
fn a_lock_of_a_client_that_may_live_is_respected() {
    let place = Place::new();
    place.put(&elsewhere(Mode::Exclusive, SignedDuration::from_mins(29)));
    let refused = place.take(Mode::Shared).unwrap_err().to_string();
    assert!(refused.contains("elsewhere exclusively"), "{refused}");
    assert_eq!(place.count(), 1);
}

#[test]
fn a_lock_that_cannot_be_read_is_told_and_left() {
    let place = Place::new();
    let id = Id::new([7; 32]);
    place.store.write(Kind::Lock, id, b"noise").unwrap();
    let refused = place.take(Mode::Shared).unwrap_err();
    assert!(matches!(refused, BackupError::Corrupt { .. }), "{refused}");
    place.store.write(Kind::Lock, id, b"").unwrap();
    place.take(Mode::Shared).unwrap();
}

#[test]
fn a_renewed_lock_has_a_new_name_and_a_removed_one_is_lost() {
    let place = Place::new();
    let lock = place.take(Mode::Shared).unwrap();
    let old = lock.shared.state().id;
    let (new, _) = lock.shared.renew(old).unwrap().unwrap();
    assert_ne!(old, new);
    assert_eq!(place.count(), 1);
    assert_eq!(lock.shared.renew(old).unwrap(), None);
    lock.shared.state().id = new;
    lock.check().unwrap();
    lock.shared.state().is_lost = true;
    assert!(matches!(lock.check(), Err(BackupError::LockLost)));
}

#[test]
fn a_lock_of_restic_itself_is_understood() {
    let json = r#"{"time":"2015-06-27T12:18:51.759239612+02:00","exclusive":false,
        "hostname":"kasimir","username":"fd0","pid":13607,"uid":1000,"gid":100}"#;
    let holder: Holder = serde_json::from_str(json).unwrap();
    assert_eq!(holder.hostname, "kasimir");
    assert!(holder.is_stale(Timestamp::now()));
}
