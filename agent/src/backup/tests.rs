//! The backup vertical over a fake machine: the real archiver between fake pools and a repository in
//! memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dc_agent_core::backup::{Seen, plan, status};
use dc_agent_core::storage::{Extent, Note};
use dc_agent_core::wanted::{
    Folders, HostAddresses, HostView, PoolConfig, Releases, Status, WantedOwned,
};
use dc_backup::store::{Kind, Store};
use dc_backup::{Id, Password, Repository};
use dc_host::drivers::Driver;
use dc_host::{Fakes, Tools};
use dc_types::plan::{
    BackupItem, BackupVolume, Disposition, Item, ItemBody, ItemKey, ItemKind, Items, ManifestItem,
    Release, RepositoryAccess, RepositoryPlace, RestoreItem, Secret, VolumeSource,
};
use dc_types::report::{
    Accelerator, BackupDone, Detail, ItemState, Observation, RestoreDone, Role, Trouble,
};
use dc_types::{
    Bytes, Epoch, HostName, InstanceId, ObjectRef, ObjectUid, PoolName, RunId, SnapshotId,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::apply;

mod backups;
mod others;
mod restores;

const MIB: u64 = 1 << 20;
/// Three blocks of the archiver's grid, the last one short.
const SIZE: u64 = 10 * MIB;
/// It opens [`CHEAP_KEY`].
const PASSWORD: &str = "mật khẩu $(reboot) '";

/// The key of a repository to be, whose password takes a thousandth of the usual time to try.
const CHEAP_KEY: &[u8] = include_bytes!("../../backup/fixtures/cheap-key.json");

/// Generous: scrypt takes its time by intent, and the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(300);

fn pool() -> PoolName {
    PoolName::new("p1").unwrap()
}

fn volume(n: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(n))
}

fn snapshot(n: u128) -> SnapshotId {
    SnapshotId(Uuid::from_u128(1000 + n))
}

fn place(n: u128) -> RepositoryPlace {
    RepositoryPlace::Folder {
        path: format!("/srv/backup/{n}"),
    }
}

fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

fn host() -> HostView {
    let address = "10.0.0.1".parse().unwrap();
    let folder = "/pools/p1".into();
    HostView {
        name: HostName::new("s1").unwrap(),
        roles: vec![Role::Storage],
        accelerator: Accelerator::Tcg,
        addresses: HostAddresses {
            management: address,
            storage: address,
            overlay: address,
        },
        portal: None,
        pools: BTreeMap::from([(pool(), PoolConfig::Iscsi { folder })]),
        edge: None,
        folders: Folders {
            state: "/state".into(),
            images: "/images".into(),
            seeds: "/seeds".into(),
            consoles: "/consoles".into(),
        },
        boot_id: "boot".into(),
    }
}

/// Different at each place and for each seed, and no zeros.
fn bytes(seed: u64, length: u64) -> Vec<u8> {
    let at = (0..length).map(|at| ((at.wrapping_mul(seed | 1) >> 7) % 251) as u8 | 1);
    at.collect()
}

/// A storage host's machine, what is asked of it, and the agent's process on it.
struct Bench {
    fakes: Fakes,
    tools: Tools,
    items: Items,
    releases: Releases,
    ready: BTreeSet<ItemKey>,
}

impl Bench {
    fn new() -> Self {
        let fakes = Fakes::new(&host());
        let store = fakes.repositories.store(&place(1));
        let key = Id::new(Sha256::digest(CHEAP_KEY).into());
        store.write(Kind::Key, key, CHEAP_KEY).unwrap();
        Self {
            tools: fakes.tools(),
            fakes,
            items: Items::new(),
            releases: Releases::new(),
            ready: BTreeSet::new(),
        }
    }

    /// Another process of the agent on the same machine.
    fn restart(&mut self) {
        self.fakes.knobs.revive();
        self.tools = self.fakes.tools();
    }

    fn driver(&self) -> Arc<dyn Driver> {
        self.tools.drivers.of(&pool()).unwrap().clone()
    }

    async fn make_volume(&mut self, n: u128, size: u64) {
        let driver = self.driver();
        let owner = ObjectRef {
            namespace: "so-nnmt".into(),
            name: format!("volume-{n}"),
            uid: ObjectUid(volume(n).0),
        };
        let note = Note::Owner {
            owner,
            epoch: epoch(2),
        };
        driver.note_volume(volume(n), &note).await.unwrap();
        let blank = VolumeSource::Blank;
        let made = driver.create_volume(volume(n), Bytes(size), &blank).await;
        made.unwrap();
        driver.note_volume(volume(n), &Note::Made).await.unwrap();
        self.ready
            .insert(ItemKey::new(ItemKind::Volume, volume(n).0));
    }

    async fn write(&self, n: u128, start: u64, bytes: Vec<u8>) {
        let opened = self.driver().open_volume(volume(n)).await.unwrap();
        opened.write(start, bytes).await.unwrap();
    }

    async fn read(&self, n: u128) -> Vec<u8> {
        let opened = self.driver().open_volume(volume(n)).await.unwrap();
        let whole = Extent::new(0, opened.size().0);
        opened.read(whole).await.unwrap()
    }

    /// Snapshot `n` of a volume.
    async fn take(&mut self, of: u128, n: u128) {
        let taken = self.driver().create_snapshot(volume(of), snapshot(n)).await;
        taken.unwrap();
        let key = ItemKey::new(ItemKind::Snapshot, snapshot(n).0);
        self.ready.insert(key);
    }

    fn put(&mut self, key: ItemKey, revision: u64, body: ItemBody) -> ItemKey {
        let object = ObjectRef {
            namespace: "so-nnmt".into(),
            name: "nightly".into(),
            uid: ObjectUid(key.id),
        };
        let item = Item {
            key,
            epoch: epoch(revision),
            object,
            body,
        };
        self.items.insert(key, item);
        key
    }

    fn put_backup(&mut self, backup: BackupItem) -> ItemKey {
        let key = ItemKey::new(ItemKind::Backup, backup.run.0);
        self.put(key, 3, ItemBody::Backup(Box::new(backup)))
    }

    fn put_restore(&mut self, restore: RestoreItem) -> ItemKey {
        let key = ItemKey::new(ItemKind::Restore, restore.run.0);
        self.put(key, 3, ItemBody::Restore(Box::new(restore)))
    }

    /// Of what stands beside the volumes of a backup.
    fn put_manifest(&mut self, n: u128, backup: &str) -> ItemKey {
        let manifest = ManifestItem {
            run: RunId(Uuid::from_u128(n)),
            repository: access(1),
            backup: backup.into(),
        };
        let key = ItemKey::new(ItemKind::Manifest, manifest.run.0);
        self.put(key, 3, ItemBody::Manifest(Box::new(manifest)))
    }

    fn release(&mut self, key: ItemKey) {
        let item = self.items.remove(&key).unwrap();
        let release = Release {
            key,
            epoch: item.epoch,
            object: item.object,
            disposition: Disposition::Remove,
        };
        self.releases.insert(key, release);
    }

    fn wanted(&self) -> WantedOwned {
        WantedOwned {
            items: Arc::new(self.items.clone()),
            releases: Arc::new(self.releases.clone()),
            host: Arc::new(host()),
            ready: Arc::new(self.ready.clone()),
        }
    }

    async fn seen(&self) -> Seen {
        self.tools.runs.read(&self.wanted()).await
    }

    /// Looks and acts, as the loop does, until what stands is as awaited.
    async fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let wanted = self.wanted();
        let mut last = Status::default();
        let work = async {
            loop {
                let seen = self.seen().await;
                let view = wanted.as_wanted();
                last = status(&view, &seen, &BTreeMap::new(), &BTreeSet::new());
                if is_so(&last) {
                    return;
                }
                for step in plan(&view, &seen) {
                    apply(&self.tools, &step).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let done = tokio::time::timeout(DEADLINE, work).await;
        assert!(done.is_ok(), "{what}: {last:?}");
        last
    }

    async fn until_ready(&self, key: ItemKey) -> Detail {
        let is_ready = |status: &Status| observed(status, key).state == ItemState::Ready;
        let status = self.until("it is done", is_ready).await;
        observed(&status, key).detail
    }

    async fn until_failed(&self, key: ItemKey) -> Trouble {
        let has_failed =
            |status: &Status| matches!(observed(status, key).state, ItemState::Failed(_));
        let status = self.until("it fails", has_failed).await;
        match observed(&status, key).state {
            ItemState::Failed(trouble) => trouble,
            other => panic!("{other:?}"),
        }
    }

    async fn until_released(&self, key: ItemKey) {
        let is_released = |status: &Status| status.released.iter().any(|done| done.key == key);
        self.until("it is released", is_released).await;
    }

    async fn back_up(&self, key: ItemKey) -> BackupDone {
        match self.until_ready(key).await {
            Detail::Backup {
                progress: None,
                done: Some(done),
            } => *done,
            other => panic!("{other:?}"),
        }
    }

    async fn restore(&self, key: ItemKey) -> RestoreDone {
        match self.until_ready(key).await {
            Detail::Restore {
                progress: None,
                done: Some(done),
            } => done,
            other => panic!("{other:?}"),
        }
    }

    fn count(&self, kind: Kind) -> usize {
        let store = self.fakes.repositories.store(&place(1));
        store.list(kind).unwrap().len()
    }

    fn repository(&self) -> Repository {
        let store = self.fakes.repositories.store(&place(1));
        Repository::open(store, &Password::new(PASSWORD)).unwrap()
    }

    /// A volume with something in it, its snapshot, and a backup of it.
    async fn with_backup() -> (Self, BackupDone) {
        let mut bench = Self::new();
        bench.make_volume(1, SIZE).await;
        bench.write(1, 0, bytes(3, SIZE)).await;
        bench.take(1, 1).await;
        let key = bench.put_backup(first(1));
        let done = bench.back_up(key).await;
        (bench, done)
    }
}

fn observed(status: &Status, key: ItemKey) -> Observation {
    let mut all = status.observations.iter();
    all.find(|observation| observation.key == key)
        .unwrap()
        .clone()
}

fn access(n: u128) -> RepositoryAccess {
    RepositoryAccess {
        place: place(n),
        password: Secret(PASSWORD.into()),
    }
}

/// Run `n`, of snapshot 1 of volume 1, into a repository that may be new.
fn first(n: u128) -> BackupItem {
    BackupItem {
        run: RunId(Uuid::from_u128(5000 + n)),
        repository: access(1),
        make: true,
        machine: "so-nnmt/db-1".into(),
        manifest: r#"{"name":"db-1"}"#.into(),
        volumes: vec![BackupVolume {
            file: "root.raw".into(),
            volume: volume(1),
            pool: pool(),
            snapshot: snapshot(1),
            base: None,
        }],
        parent: None,
        limit: None,
    }
}

/// Run `n`, onto volume `to`.
fn restoring(n: u128, backup: &BackupDone, to: u128) -> RestoreItem {
    RestoreItem {
        run: RunId(Uuid::from_u128(7000 + n)),
        repository: access(1),
        backup: backup.backup.clone(),
        file: "root.raw".into(),
        volume: volume(to),
        pool: pool(),
        size: Bytes(SIZE),
        verify: false,
        limit: None,
    }
}
