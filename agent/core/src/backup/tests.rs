//! What begins, what waits and what is told, given what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dc_types::plan::{
    BackupItem, BackupVolume, Disposition, Item, ItemBody, ItemHash, ItemKey, ItemKind, Items,
    ManifestItem, Release, RepositoryAccess, RepositoryPlace, RestoreItem, Secret,
};
use dc_types::report::{
    BackupDone, Detail, ItemState, ManifestRead, Observation, Progress, RestoreDone, Trouble,
};
use dc_types::{Bytes, Epoch, InstanceId, ObjectRef, ObjectUid, PoolName, RunId, SnapshotId};
use uuid::Uuid;

use super::*;
use crate::wanted::tests::host_view;
use crate::wanted::{HostView, Releases, Status, Wanted};

fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

fn folder(n: u128) -> RepositoryPlace {
    RepositoryPlace::Folder {
        path: format!("/srv/backup/{n}"),
    }
}

fn access(place: RepositoryPlace) -> RepositoryAccess {
    RepositoryAccess {
        place,
        password: Secret("mật khẩu".into()),
    }
}

fn item(key: ItemKey, revision: u64, body: ItemBody) -> Item {
    Item {
        key,
        epoch: epoch(revision),
        object: ObjectRef {
            namespace: "so-nnmt".into(),
            name: "nightly".into(),
            uid: ObjectUid(key.id),
        },
        body,
    }
}

/// Run `n`, of snapshot `n`, into the repository of that number.
fn backup(n: u128, repository: u128) -> BackupItem {
    BackupItem {
        run: RunId(Uuid::from_u128(n)),
        repository: access(folder(repository)),
        make: false,
        machine: "so-nnmt/db-1".into(),
        manifest: r#"{"name":"db-1"}"#.into(),
        volumes: vec![BackupVolume {
            file: "root.raw".into(),
            volume: InstanceId(Uuid::from_u128(100 + n)),
            pool: PoolName::new("p1").unwrap(),
            snapshot: SnapshotId(Uuid::from_u128(200 + n)),
            base: None,
        }],
        parent: None,
        limit: None,
    }
}

fn restore(n: u128) -> RestoreItem {
    RestoreItem {
        run: RunId(Uuid::from_u128(n)),
        repository: access(folder(1)),
        backup: "a".repeat(64),
        file: "root.raw".into(),
        volume: InstanceId(Uuid::from_u128(100 + n)),
        pool: PoolName::new("p1").unwrap(),
        size: Bytes(1 << 30),
        verify: false,
        limit: None,
    }
}

struct Model {
    host: HostView,
    items: Items,
    releases: Releases,
    ready: BTreeSet<ItemKey>,
    seen: Seen,
}

impl Model {
    fn new() -> Self {
        Self {
            host: host_view(),
            items: Items::new(),
            releases: Releases::new(),
            ready: BTreeSet::new(),
            seen: Seen::default(),
        }
    }

    /// With its snapshot there.
    fn put_backup(&mut self, backup: BackupItem) -> ItemKey {
        let key = ItemKey::new(ItemKind::Backup, backup.run.0);
        for volume in &backup.volumes {
            let snapshot = ItemKey::new(ItemKind::Snapshot, volume.snapshot.0);
            self.ready.insert(snapshot);
        }
        let body = ItemBody::Backup(Box::new(backup));
        self.items.insert(key, item(key, 3, body));
        key
    }

    fn put_restore(&mut self, restore: RestoreItem) -> ItemKey {
        let key = ItemKey::new(ItemKind::Restore, restore.run.0);
        self.ready
            .insert(ItemKey::new(ItemKind::Volume, restore.volume.0));
        let body = ItemBody::Restore(Box::new(restore));
        self.items.insert(key, item(key, 3, body));
        key
    }

    fn put_manifest(&mut self, n: u128) -> ItemKey {
        let manifest = ManifestItem {
            run: RunId(Uuid::from_u128(n)),
            repository: access(folder(1)),
            backup: "a".repeat(64),
        };
        let key = ItemKey::new(ItemKind::Manifest, manifest.run.0);
        self.items
            .insert(key, item(key, 3, ItemBody::Manifest(Box::new(manifest))));
        key
    }

    fn release(&mut self, key: ItemKey, revision: u64) {
        let release = Release {
            key,
            epoch: epoch(revision),
            object: item(key, revision, ItemBody::Restore(Box::new(restore(1)))).object,
            disposition: Disposition::Remove,
        };
        self.releases.insert(key, release);
    }

    fn see(&mut self, key: ItemKey, state: RunState) {
        let epoch = epoch(3);
        self.seen.runs.insert(key, RunSeen { epoch, state });
    }

    fn fail(&mut self, key: ItemKey, times: u32, ago: Duration) {
        let state = RunState::Failed {
            asked: self.items[&key].hash(),
            trouble: locked(),
            times,
            ago,
        };
        self.see(key, state);
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            items: &self.items,
            releases: &self.releases,
            host: &self.host,
            ready: &self.ready,
        }
    }

    fn begun(&self) -> Vec<ItemKey> {
        let steps = plan(&self.wanted(), &self.seen).into_iter();
        let begins = steps.filter(|step| matches!(step, Step::Begin { .. }));
        begins.map(|step| step.key()).collect()
    }

    fn status(&self) -> Status {
        status(
            &self.wanted(),
            &self.seen,
            &BTreeMap::new(),
            &BTreeSet::new(),
        )
    }

    fn observed(&self, key: ItemKey) -> Observation {
        let mut all = self.status().observations.into_iter();
        all.find(|observation| observation.key == key).unwrap()
    }

    /// The reason of what is pending or failed.
    fn reason(&self, key: ItemKey) -> (bool, String) {
        match self.observed(key).state {
            ItemState::Ready => panic!("{key} is ready"),
            ItemState::Pending(trouble) => (false, trouble.reason),
            ItemState::Failed(trouble) => (true, trouble.reason),
        }
    }
}

fn locked() -> Trouble {
    BackupTrouble::Failed {
        cause: Cause::RepositoryLocked,
        said: "another client".into(),
    }
    .into()
}

fn done() -> BackupDone {
    BackupDone {
        backup: "b".repeat(64),
        size: Bytes(5),
        began_at: 1,
        ended_at: 2,
        counts: None,
    }
}

#[test]
fn a_run_waits_for_its_snapshots_and_a_restore_for_its_volume() {
    let mut model = Model::new();
    let (saved, restored) = (
        model.put_backup(backup(1, 1)),
        model.put_restore(restore(2)),
    );
    let ready = std::mem::take(&mut model.ready);
    assert_eq!(model.begun(), []);
    assert_eq!(model.reason(saved), (false, "WaitsForSnapshot".into()));
    assert_eq!(model.reason(restored), (false, "WaitsForVolume".into()));
    model.ready = ready;
    assert_eq!(model.begun(), [saved, restored]);
    assert_eq!(model.reason(saved), (false, "Running".into()));
}

#[test]
fn what_runs_is_done_or_unknown_is_not_begun() {
    let mut model = Model::new();
    let saved = model.put_backup(backup(1, 1));
    let progress = Progress {
        done: Bytes(59),
        of: Bytes(100),
    };
    let phase = Phase::Moving(Some(progress));
    model.see(
        saved,
        RunState::Running {
            phase,
            before: None,
        },
    );
    assert_eq!(plan(&model.wanted(), &model.seen), []);
    let told = Progress {
        done: Bytes(55),
        of: Bytes(100),
    };
    let detail = Detail::Backup {
        progress: Some(told),
        done: None,
    };
    assert_eq!(model.observed(saved).detail, detail);
    model.see(saved, RunState::Unknown("no disk".into()));
    assert_eq!(plan(&model.wanted(), &model.seen), []);
    assert_eq!(model.reason(saved), (false, "RunUnknown".into()));
    model.see(saved, RunState::BackedUp(done()));
    assert_eq!(plan(&model.wanted(), &model.seen), []);
    let observed = model.observed(saved);
    assert_eq!(observed.state, ItemState::Ready);
    let detail = Detail::Backup {
        progress: None,
        done: Some(Box::new(done())),
    };
    assert_eq!(observed.detail, detail);
    assert_eq!(next_look(&model.wanted(), &model.seen), None);
}

#[test]
fn a_failed_run_is_tried_again_after_its_pause_or_when_something_else_is_asked() {
    let mut model = Model::new();
    let saved = model.put_backup(backup(1, 1));
    model.fail(saved, 3, Duration::from_secs(3));
    assert_eq!(model.begun(), []);
    assert_eq!(model.reason(saved), (true, "RepositoryLocked".into()));
    let look = next_look(&model.wanted(), &model.seen);
    assert_eq!(look, Some(Duration::from_secs(1)));
    model.fail(saved, 3, Duration::from_secs(4));
    assert_eq!(model.begun(), [saved]);
    // Told until it is known to go better.
    assert_eq!(model.reason(saved), (true, "RepositoryLocked".into()));
    for (phase, is_told) in [(Phase::Opening, true), (Phase::Moving(None), false)] {
        let before = Some(locked());
        model.see(saved, RunState::Running { phase, before });
        assert_eq!(model.reason(saved).0, is_told, "{phase:?}");
    }
    let state = RunState::Failed {
        asked: ItemHash(1),
        trouble: locked(),
        times: 9,
        ago: Duration::ZERO,
    };
    model.see(saved, state);
    assert_eq!(model.begun(), [saved]);
}

#[test]
fn pauses_double_and_end_at_ten_minutes() {
    let pauses: Vec<u64> = (0..12).map(|n| pause(n).as_secs()).collect();
    assert_eq!(pauses, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]);
    assert_eq!(pause(u32::MAX), Duration::from_mins(10));
}

#[test]
fn a_repository_that_hangs_holds_up_its_own_runs_alone() {
    let mut model = Model::new();
    let keys: Vec<_> = (1..=4).map(|n| model.put_backup(backup(n, 1))).collect();
    let other = model.put_backup(backup(5, 2));
    assert_eq!(model.begun(), [keys[0], keys[1], other]);
    assert_eq!(model.reason(keys[2]), (false, "WaitsForTurn".into()));
    for key in &keys[..2] {
        let phase = Phase::Opening;
        model.see(
            *key,
            RunState::Running {
                phase,
                before: None,
            },
        );
    }
    assert_eq!(model.begun(), [other]);
    model.see(keys[0], RunState::BackedUp(done()));
    assert_eq!(model.begun(), [keys[2], other]);
}

#[test]
fn a_release_ends_what_runs_and_is_done_when_nothing_does() {
    let mut model = Model::new();
    let saved = model.put_backup(backup(1, 1));
    let phase = Phase::Moving(None);
    model.see(
        saved,
        RunState::Running {
            phase,
            before: None,
        },
    );
    model.release(saved, 3);
    let end = Step::End {
        key: saved,
        epoch: epoch(3),
    };
    assert_eq!(plan(&model.wanted(), &model.seen), [end]);
    assert_eq!(model.reason(saved), (false, "Releasing".into()));
    assert_eq!(model.status().released, []);
    model.seen.runs.clear();
    assert_eq!(plan(&model.wanted(), &model.seen), [], "the item is as old");
    assert_eq!(model.status().released.len(), 1);
}

#[test]
fn a_release_of_an_older_epoch_leaves_the_newer_run_alone() {
    let mut model = Model::new();
    let saved = model.put_backup(backup(1, 1));
    model.release(saved, 2);
    assert_eq!(model.begun(), [saved]);
    let phase = Phase::Opening;
    model.see(
        saved,
        RunState::Running {
            phase,
            before: None,
        },
    );
    assert_eq!(plan(&model.wanted(), &model.seen), []);
    assert_eq!(model.status().released.len(), 1);
}

#[test]
fn what_a_restore_has_done_stays_beside_the_volume_when_it_is_released() {
    let mut model = Model::new();
    let restored = model.put_restore(restore(1));
    let done = RestoreDone {
        written: Bytes(7),
        began_at: 1,
        ended_at: 2,
        verified: None,
    };
    model.see(restored, RunState::Restored(done));
    assert_eq!(model.observed(restored).state, ItemState::Ready);
    model.release(restored, 3);
    assert_eq!(plan(&model.wanted(), &model.seen), []);
    assert_eq!(model.status().released.len(), 1);
}

#[test]
fn items_that_make_no_sense_are_refused_before_anything_begins() {
    let rest = |url: &str, ca: &str| RepositoryPlace::Rest {
        url: url.into(),
        user: "so-nnmt".into(),
        login: Secret("hunter2".into()),
        ca: ca.into(),
    };
    let pem = "-----BEGIN CERTIFICATE-----";
    let place = |place| move |item: &mut BackupItem| item.repository.place = place;
    let path = |path: &str| place(RepositoryPlace::Folder { path: path.into() });
    type Spoil = Box<dyn FnOnce(&mut BackupItem)>;
    let bad: Vec<(&str, Spoil)> = vec![
        ("relative", Box::new(path("srv"))),
        ("root", Box::new(path("/"))),
        ("up", Box::new(path("/srv/../etc"))),
        ("no TLS", Box::new(place(rest("http://h/r/", pem)))),
        (
            "login shown",
            Box::new(place(rest("https://u:hunter2@h/", pem))),
        ),
        ("no host", Box::new(place(rest("https:///r/", pem)))),
        (
            "no CA",
            Box::new(place(rest("https://h/r/", "-----BEGIN KEY-----"))),
        ),
        (
            "no password",
            Box::new(|item| item.repository.password = Secret(String::new())),
        ),
        ("no JSON", Box::new(|item| item.manifest = "{".into())),
        ("nothing", Box::new(|item| item.volumes.clear())),
        (
            "file",
            Box::new(|item| item.volumes[0].file = "../x".into()),
        ),
        (
            "manifest",
            Box::new(|item| item.volumes[0].file = "manifest.json".into()),
        ),
        (
            "twice",
            Box::new(|item| item.volumes.push(item.volumes[0].clone())),
        ),
        (
            "parent",
            Box::new(|item| item.parent = Some("latest".into())),
        ),
        ("limit", Box::new(|item| item.limit = Some(Bytes(0)))),
        ("machine", Box::new(|item| item.machine = "a b".into())),
    ];
    for (what, spoil) in bad {
        let mut spoilt = backup(1, 1);
        spoil(&mut spoilt);
        let mut model = Model::new();
        let saved = model.put_backup(spoilt);
        assert_eq!(model.begun(), [], "{what}");
        let ItemState::Failed(trouble) = model.observed(saved).state else {
            panic!("{what} is taken");
        };
        assert_eq!(trouble.reason, "InvalidItem", "{what}");
        assert!(!trouble.message.contains("hunter2"), "{}", trouble.message);
    }
    let mut model = Model::new();
    let good = BackupItem {
        repository: access(rest("https://backup:8000/so-nnmt/", pem)),
        ..backup(1, 1)
    };
    let saved = model.put_backup(good);
    assert_eq!(model.begun(), [saved]);
    let latest = RestoreItem {
        backup: "latest".into(),
        ..restore(2)
    };
    let restored = model.put_restore(latest);
    assert_eq!(model.reason(restored), (true, "InvalidItem".into()));
    let endless = RestoreItem {
        limit: Some(Bytes(0)),
        ..restore(3)
    };
    let restored = model.put_restore(endless);
    assert_eq!(model.reason(restored), (true, "InvalidItem".into()));
}

#[test]
fn a_manifest_waits_for_nothing_is_kept_until_it_is_released_and_then_forgotten() {
    let mut model = Model::new();
    let key = model.put_manifest(1);
    assert_eq!(model.begun(), [key]);
    assert_eq!(model.observed(key).detail, Detail::Manifest { read: None });
    let read = Box::new(ManifestRead {
        machine: "{}".into(),
        files: Vec::new(),
    });
    model.see(key, RunState::Read(read.clone()));
    assert_eq!(plan(&model.wanted(), &model.seen), []);
    let observed = model.observed(key);
    assert_eq!(observed.state, ItemState::Ready);
    assert_eq!(observed.detail, Detail::Manifest { read: Some(read) });
    assert_eq!(next_look(&model.wanted(), &model.seen), None);
    model.items.clear();
    model.release(key, 3);
    let epoch = epoch(3);
    assert_eq!(
        plan(&model.wanted(), &model.seen),
        [Step::End { key, epoch }]
    );
    assert_eq!(model.status().released, []);
    model.seen.runs.clear();
    assert_eq!(model.status().released.len(), 1);
}

#[test]
fn no_secret_is_in_a_step_that_is_logged() {
    let mut model = Model::new();
    model.put_backup(backup(1, 1));
    let steps = format!("{:?}", plan(&model.wanted(), &model.seen));
    assert!(!steps.contains("mật khẩu"), "{steps}");
}
