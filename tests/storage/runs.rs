//! Backups and restores as an agent is given them: a real pool, a repository in a folder, and items.

use std::fs;
use std::sync::Arc;

use dc_agent::agent::{Agent, Parts};
use dc_agent::config::SizeOverride;
use dc_agent::disk::Durability;
use dc_agent::keeper::Place;
use dc_agent::metrics::Metrics;
use dc_agent_core::ledger::Change;
use dc_agent_core::{HostView, Standing};
use dc_host::{Fakes, Tools};
use dc_lab::wait::{Look, until};
use dc_types::plan::{
    BackupItem, BackupVolume, Disposition, GrantAccess, GrantItem, Item, ItemBody, ItemKey,
    ItemKind, Release, RepositoryAccess, RepositoryPlace, RestoreItem, Secret, SnapshotItem,
    VolumeItem, VolumeSource,
};
use dc_types::report::{BackupDone, Detail, ItemState, Observation};
use dc_types::{Bytes, ObjectRef, ObjectUid, RunId};
use uuid::Uuid;

use crate::conformance::bytes::all_are;
use crate::inside::{inside, run};
use crate::site::{
    DEADLINE, MIB, POOL_FOLDER, PoolConfig, XFS, attach, epoch, host_with, mount_pool, pool,
    snapshot, volume,
};

const SIZE: u64 = 40 * MIB;
const REPOSITORY: &str = "/mnt/repository";
const PASSWORD: &str = "mật khẩu";

/// The storage of a host is real; it has no network and no machines.
struct Site {
    host: Arc<HostView>,
    tools: Tools,
    agent: Agent,
}

impl Site {
    async fn start() -> Self {
        let folder = POOL_FOLDER.into();
        let host = Arc::new(host_with(PoolConfig::Directory { folder }));
        let real = attach(&host).await;
        let tools = Tools {
            drivers: real.drivers,
            runs: real.runs,
            ..Fakes::new(&host).tools()
        };
        let agent = Agent::start(Parts {
            host: host.clone(),
            size: SizeOverride::default(),
            tools: tools.clone(),
            place: Place::Disk {
                folder: host.folders.state.clone(),
                durability: Durability::Synced,
            },
            metrics: Metrics::default(),
            operator: None,
        });
        Self {
            agent: agent.unwrap(),
            host,
            tools,
        }
    }

    /// Another process of the agent, from what the one before has on its disk.
    async fn restart(self) -> Self {
        self.agent.stop().await;
        drop(self.tools);
        Self::start().await
    }

    async fn ask(&self, kind: ItemKind, id: Uuid, body: ItemBody) -> ItemKey {
        let key = ItemKey::new(kind, id);
        let item = Item {
            key,
            epoch: epoch(3),
            object: object(id),
            body,
        };
        let sent = item.hash();
        let change = Change::Upsert(Box::new(item), sent);
        let refused = self.agent.keeper.accept(vec![change]).await.unwrap();
        assert_eq!(refused, []);
        key
    }

    async fn ask_volume(&self, n: u128, size: u64) -> ItemKey {
        let body = ItemBody::Volume(VolumeItem {
            volume: volume(n),
            pool: pool(),
            size: Bytes(size),
            source: VolumeSource::Blank,
            restore: None,
        });
        self.ask(ItemKind::Volume, volume(n).0, body).await
    }

    async fn ask_snapshot(&self, n: u128) -> ItemKey {
        let body = ItemBody::Snapshot(SnapshotItem {
            snapshot: snapshot(n),
            volume: volume(1),
            pool: pool(),
        });
        self.ask(ItemKind::Snapshot, snapshot(n).0, body).await
    }

    async fn ask_backup(&self, backup: BackupItem) -> ItemKey {
        let (id, body) = (backup.run.0, ItemBody::Backup(Box::new(backup)));
        self.ask(ItemKind::Backup, id, body).await
    }

    async fn release(&self, key: ItemKey) {
        let release = Release {
            key,
            epoch: epoch(3),
            object: object(key.id),
            disposition: Disposition::Remove,
        };
        let change = vec![Change::Release(release)];
        self.agent.keeper.accept(change).await.unwrap();
        self.until(&format!("{key} to be released"), |standing| {
            standing.released.contains_key(&key)
        })
        .await;
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Standing) -> bool) -> Arc<Standing> {
        let mut standing = self.agent.keeper.standing();
        let reached = standing.wait_for(|standing| is_so(standing));
        let reached = tokio::time::timeout(DEADLINE, reached).await;
        let reached = reached.map(|reached| reached.unwrap().clone());
        reached.unwrap_or_else(|_| panic!("{what}: {:?}", self.agent.keeper.standing().borrow()))
    }

    async fn until_ready(&self, key: ItemKey) -> Observation {
        let is_ready = |standing: &Standing| standing.ready().contains(&key);
        let standing = self.until(&format!("{key} to be ready"), is_ready).await;
        standing.observations[&key].clone()
    }

    async fn until_backed_up(&self, key: ItemKey) -> BackupDone {
        match self.until_ready(key).await.detail {
            Detail::Backup {
                done: Some(done), ..
            } => *done,
            other => panic!("{other:?}"),
        }
    }

    async fn write(&self, start: u64, length: usize, seed: u8) {
        let driver = self.tools.drivers.of(&pool()).unwrap();
        let opened = driver.open_volume(volume(1)).await.unwrap();
        let bytes = (0..length).map(|at| (at % 251) as u8 ^ seed);
        opened.write(start, bytes.collect()).await.unwrap();
        opened.flush().await.unwrap();
    }
}

fn object(id: Uuid) -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: "data".into(),
        uid: ObjectUid(id),
    }
}

fn access() -> RepositoryAccess {
    let path = REPOSITORY.into();
    RepositoryAccess {
        place: RepositoryPlace::Folder { path },
        password: Secret(PASSWORD.into()),
    }
}

/// Run `n`, of the snapshot of that number.
fn backup(n: u128) -> BackupItem {
    BackupItem {
        run: RunId(Uuid::from_u128(3000 + n)),
        repository: access(),
        make: n == 1,
        machine: "so-nnmt/db-1".into(),
        manifest: r#"{"name":"db-1"}"#.into(),
        volumes: vec![BackupVolume {
            file: "root.raw".into(),
            volume: volume(1),
            pool: pool(),
            snapshot: snapshot(n),
            base: None,
        }],
        parent: None,
        limit: None,
    }
}

fn restic(args: &[&str]) -> String {
    fs::write("/mnt/password", PASSWORD).unwrap();
    let mut line = vec!["restic", "--no-cache", "-r", REPOSITORY];
    line.extend(["--password-file", "/mnt/password"]);
    run(&[&line[..], args].concat())
}

#[test]
fn an_agent_backs_up_what_changed_and_restores_it_before_anybody_is_let_in() {
    let name = "runs::an_agent_backs_up_what_changed_and_restores_it_before_anybody_is_let_in";
    inside(name, || async {
        let _disk = mount_pool(XFS);
        let mut site = Site::start().await;
        let source = site.ask_volume(1, SIZE).await;
        site.until_ready(source).await;
        site.write(0, 9 << 20, 1).await;

        // Asked together: the backup waits for its snapshot.
        let saved = site.ask_backup(backup(1)).await;
        site.ask_snapshot(1).await;
        let first = site.until_backed_up(saved).await;
        let counts = first.counts.as_ref().unwrap();
        assert_eq!(first.size, Bytes(SIZE));
        assert_eq!(counts.read, Bytes(12 * MIB), "the holes are known");
        assert!(counts.volumes[0].full.is_some());

        site = site.restart().await;
        assert_eq!(site.until_backed_up(saved).await, first);

        site.write(30 << 20, 4096, 2).await;
        let taken = site.ask_snapshot(2).await;
        site.until_ready(taken).await;
        let mut next = backup(2);
        next.parent = Some(first.backup.clone());
        next.volumes[0].base = Some(snapshot(1));
        let next = site.ask_backup(next).await;
        let second = site.until_backed_up(next).await;
        let counts = second.counts.as_ref().unwrap();
        assert_eq!(counts.volumes[0].full, None);
        assert_eq!(counts.read, Bytes(4 * MIB));
        restic(&["check", "--read-data"]);

        restore_and_grant(&site, &second).await;
        let restored = fs::read(format!("{POOL_FOLDER}/volumes/{}.raw", volume(2))).unwrap();
        let folder = format!("{POOL_FOLDER}/snapshots/{}", volume(1));
        let taken = fs::read(format!("{folder}/{}.raw", snapshot(2))).unwrap();
        assert!(restored[..taken.len()] == taken[..]);
        assert!(all_are(&restored[taken.len()..], 0));

        for key in [saved, next] {
            site.release(key).await;
        }
        let kept = fs::read_dir(site.host.folders.state.join("backups")).unwrap();
        assert_eq!(kept.count(), 0);
        site.agent.stop().await;
    });
}

/// Volume, restore and grant asked at once; the grant is there only when the restore is done.
async fn restore_and_grant(site: &Site, backup: &BackupDone) {
    let id = Uuid::from_u128(4000);
    let grant = GrantItem {
        volume: volume(2),
        pool: pool(),
        initiator: GrantItem::initiator_name(&site.host.name, volume(9)),
        access: GrantAccess::File {
            local: site.host.name.clone(),
        },
    };
    let restore = RestoreItem {
        run: RunId(id),
        repository: access(),
        backup: backup.backup.clone(),
        file: "root.raw".into(),
        volume: volume(2),
        pool: pool(),
        size: Bytes(SIZE + MIB),
        verify: false,
        limit: None,
    };
    let restore = ItemBody::Restore(Box::new(restore));
    let restore = site.ask(ItemKind::Restore, id, restore).await;
    let id = volume(2).0;
    let grant = site.ask(ItemKind::Grant, id, ItemBody::Grant(grant)).await;
    site.ask_volume(2, SIZE + MIB).await;
    let granted = |standing: &Standing| standing.ready().contains(&grant);
    let standing = site.until("the grant", granted).await;
    let restored = &standing.observations[&restore];
    assert_eq!(restored.state, ItemState::Ready);
    let Detail::Restore {
        done: Some(done), ..
    } = &restored.detail
    else {
        panic!("{restored:?}");
    };
    assert_eq!(done.written, Bytes(SIZE));
}

#[test]
fn an_agent_that_ends_in_the_middle_of_a_backup_does_it_at_its_next_start() {
    let name = "runs::an_agent_that_ends_in_the_middle_of_a_backup_does_it_at_its_next_start";
    inside(name, || async {
        let _disk = mount_pool(XFS);
        let site = Site::start().await;
        let source = site.ask_volume(1, SIZE).await;
        site.until_ready(source).await;
        site.write(0, 30 << 20, 1).await;
        site.ask_snapshot(1).await;
        // Seconds, so that it ends in the middle; were it faster, it would be done once all the same.
        let slow = BackupItem {
            limit: Some(Bytes(4 * MIB)),
            ..backup(1)
        };
        let saved = site.ask_backup(slow).await;
        let reads = |standing: &Standing| {
            let detail = standing.observations.get(&saved).map(|seen| &seen.detail);
            matches!(detail, Some(Detail::Backup { progress, done }) if progress.is_some() || done.is_some())
        };
        site.until("it reads", reads).await;
        let site = site.restart().await;
        let done = site.until_backed_up(saved).await;
        let listed = restic(&["snapshots", "--json"]);
        assert_eq!(listed.matches("\"run=").count(), 1, "{listed}");
        assert!(listed.contains(&done.backup), "{listed}");
        restic(&["check", "--read-data"]);

        // Stopped for good: nothing of it is left but what the next one finds again.
        let endless = BackupItem {
            limit: Some(Bytes(1)),
            run: RunId(Uuid::from_u128(3009)),
            ..backup(1)
        };
        let endless = site.ask_backup(endless).await;
        let runs = |standing: &Standing| {
            let seen = standing.observations.get(&endless);
            seen.is_some_and(|seen| seen.state != ItemState::Ready)
        };
        site.until("it runs", runs).await;
        site.release(endless).await;
        assert_eq!(restic(&["snapshots", "--json"]), listed);
        assert_eq!(restic(&["list", "locks", "--no-lock"]).trim(), "");
        site.agent.stop().await;
    });
}

const KILLED: &str = "DC_STORAGE_TEST_IS_KILLED";

/// An agent in a process of its own, on the same machine, with what the one before had on its disk;
/// killed once something is so.
async fn kill_once(name: &str, what: &str, is_so: impl Fn() -> bool) {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(KILLED, "1")
        .spawn()
        .unwrap();
    until(what, DEADLINE, async || match is_so() {
        true => Look::Holds(()),
        false => Look::NotYet(format!("the agent has ended: {:?}", child.try_wait())),
    })
    .await
    .unwrap();
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
}

fn locks() -> usize {
    fs::read_dir(format!("{REPOSITORY}/locks")).map_or(0, Iterator::count)
}

fn bytes_of(n: u128) -> Vec<u8> {
    fs::read(format!("{POOL_FOLDER}/volumes/{}.raw", volume(n))).unwrap()
}

#[test]
fn a_process_that_is_killed_in_a_backup_and_in_a_restore_leaves_what_the_next_one_finishes() {
    let name = "runs::a_process_that_is_killed_in_a_backup_and_in_a_restore_leaves_what_the_next_one_finishes";
    // The one that is killed is on the machine that the other has made.
    if std::env::var_os(KILLED).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let _agent = Site::start().await;
            std::future::pending::<()>().await;
        });
    }
    inside(name, || async move {
        const BLOCK: usize = 4 << 20;
        let _disk = mount_pool(XFS);
        let site = Site::start().await;
        for (n, size) in [(1, SIZE), (2, SIZE)] {
            let made = site.ask_volume(n, size).await;
            site.until_ready(made).await;
        }
        site.write(0, SIZE as usize, 1).await;
        let source = bytes_of(1);
        let taken = site.ask_snapshot(1).await;
        site.until_ready(taken).await;
        // After its first block it waits for weeks.
        let endless = Some(Bytes(1));
        let slow = BackupItem {
            limit: endless,
            ..backup(1)
        };
        let saved = site.ask_backup(slow).await;
        site.agent.stop().await;
        kill_once(name, "it is in the repository", || locks() == 1).await;
        assert_eq!(locks(), 1, "nobody has taken its lock away");
        let listed = restic(&["snapshots", "--json", "--no-lock"]);
        assert!(!listed.contains("\"run="), "{listed}");

        let site = Site::start().await;
        site.ask_backup(backup(1)).await;
        let done = site.until_backed_up(saved).await;
        let listed = restic(&["snapshots", "--json"]);
        assert_eq!(listed.matches("\"run=").count(), 1, "{listed}");
        restic(&["check", "--read-data"]);

        let restore = RestoreItem {
            run: RunId(Uuid::from_u128(4001)),
            repository: access(),
            backup: done.backup,
            file: "root.raw".into(),
            volume: volume(2),
            pool: pool(),
            size: Bytes(SIZE),
            verify: true,
            limit: endless,
        };
        let ask = |restore: &RestoreItem| ItemBody::Restore(Box::new(restore.clone()));
        let id = restore.run.0;
        let restored = site.ask(ItemKind::Restore, id, ask(&restore)).await;
        site.agent.stop().await;
        let has_some = || {
            let bytes = bytes_of(2);
            locks() == 1 && bytes.chunks(BLOCK).any(|block| !all_are(block, 0))
        };
        kill_once(name, "it has written some", has_some).await;
        let half = bytes_of(2);
        assert!(half != source && half.len() == source.len());

        let site = Site::start().await;
        let whole = RestoreItem {
            limit: None,
            ..restore
        };
        site.ask(ItemKind::Restore, id, ask(&whole)).await;
        let seen = site.until_ready(restored).await;
        assert!(bytes_of(2) == source);
        let Detail::Restore {
            done: Some(done), ..
        } = seen.detail
        else {
            panic!("{seen:?}");
        };
        assert!(done.verified.is_some());
        assert_eq!(locks(), 0);
        site.agent.stop().await;
    });
}
