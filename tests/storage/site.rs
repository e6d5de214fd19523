//! A storage host: a pool on XFS, tgtd, and the agent's storage reconciler over the real tools.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dc_agent::storage::{apply, read};
use dc_agent_core::storage::{Seen, Step, plan, status};
pub use dc_agent_core::wanted::PoolConfig;
use dc_agent_core::wanted::{Folders, HostAddresses, HostView, Releases, Status, WantedOwned};
use dc_host::targets::{RealTargets, TargetSeen, Targets};
use dc_host::{TgtControl, Tools, ToolsConfig};
use dc_lab::wait::{Look, until};
use dc_types::plan::{
    Chap, Disposition, GrantAccess, GrantItem, ImageItem, Item, ItemBody, ItemKey, ItemKind, Items,
    Release, Secret, VolumeItem, VolumeSource,
};
use dc_types::report::{Accelerator, ItemState, Role, Trouble};
use dc_types::{
    Bytes, Epoch, HostName, ImageUid, InstanceId, ObjectRef, ObjectUid, PoolName, SnapshotId,
};
use uuid::Uuid;

use crate::initiator::Initiator;
use crate::inside::run;

pub const MIB: u64 = 1 << 20;
/// XFS is not made smaller than 300 MiB.
pub const POOL_MIB: u64 = 512;
pub const DEADLINE: Duration = Duration::from_secs(300);

pub const POOL_FOLDER: &str = "/mnt/pool";
const SOCKET: &str = "/mnt/tgt.sock";
const CONTROL: u16 = 7;
pub const PORTAL: &str = "127.0.0.1:3260";

pub struct Site {
    pub tools: Tools,
    pub items: Items,
    pub releases: Releases,
    pub troubles: BTreeMap<ItemKey, Trouble>,
    /// The disk under the pool.
    pub disk: File,
    /// The target daemon, as the pool's driver speaks to it.
    pub targets: RealTargets,
    host: Arc<HostView>,
    tgtd: Child,
}

pub fn pool() -> PoolName {
    PoolName::new("p1").unwrap()
}

pub fn volume(n: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(n))
}

pub fn image(n: u128) -> ImageUid {
    ImageUid(Uuid::from_u128(1000 + n))
}

pub fn snapshot(n: u128) -> SnapshotId {
    SnapshotId(Uuid::from_u128(2000 + n))
}

pub fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

pub fn key(kind: ItemKind, n: u128) -> ItemKey {
    match kind {
        ItemKind::Image => ItemKey::new(kind, image(n).0),
        ItemKind::Snapshot => ItemKey::new(kind, snapshot(n).0),
        _ => ItemKey::new(kind, volume(n).0),
    }
}

fn object(id: Uuid) -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: "data".into(),
        uid: ObjectUid(id),
    }
}

/// A storage host whose pool is opened over iSCSI.
pub fn iscsi_host() -> HostView {
    host_with(PoolConfig::Iscsi {
        folder: POOL_FOLDER.into(),
    })
}

/// A host with one pool.
pub fn host_with(config: PoolConfig) -> HostView {
    let address = "127.0.0.1".parse().unwrap();
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
        pools: BTreeMap::from([(pool(), config)]),
        edge: None,
        folders: Folders {
            state: "/mnt/state".into(),
            images: "/mnt/images".into(),
            seeds: "/mnt/seeds".into(),
            consoles: "/mnt/consoles".into(),
        },
        boot_id: "boot".into(),
    }
}

fn control() -> TgtControl {
    TgtControl {
        socket: Some(SOCKET.into()),
        number: CONTROL,
    }
}

/// The tools of a host, as another process of its agent has them.
pub async fn attach(host: &Arc<HostView>) -> Tools {
    let config = ToolsConfig {
        host: Arc::clone(host),
        libvirt_uri: None,
        tgt: Some(control()),
    };
    Tools::real(&config).await.unwrap()
}

/// Makes a file system in a sparse file and mounts it as the pool's folder. The file has no name any
/// more: it goes with whoever has it open.
pub fn mount_pool(mkfs: &[&str]) -> File {
    let (disk, name) = disk();
    for folder in [POOL_FOLDER, "/mnt/images"] {
        fs::create_dir(folder).unwrap();
    }
    run(&[mkfs, &[&name]].concat());
    run(&["mount", "-o", "loop", &name, POOL_FOLDER]);
    fs::remove_file(&name).unwrap();
    disk
}

pub const XFS: &[&str] = &["mkfs.xfs", "-q", "-K", "-m", "reflink=1"];

fn disk() -> (File, String) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("pool-{}", Uuid::new_v4()));
    let disk = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    disk.set_len(POOL_MIB * MIB).unwrap();
    (disk, path.to_str().unwrap().to_owned())
}

impl Site {
    pub async fn new() -> Self {
        let disk = mount_pool(XFS);
        let host = Arc::new(iscsi_host());
        let site = Self {
            tools: attach(&host).await,
            items: Items::new(),
            releases: Releases::new(),
            troubles: BTreeMap::new(),
            disk,
            targets: RealTargets::new(&control(), &host.folders.state.join("storage")),
            host,
            tgtd: start_tgtd(),
        };
        site.tgtd_answers().await;
        site
    }

    /// Another process takes the agent's place.
    pub async fn restart_agent(&mut self) {
        self.tools = attach(&self.host).await;
    }

    pub fn kill_tgtd(&mut self) {
        self.tgtd.kill().unwrap();
        self.tgtd.wait().unwrap();
    }

    pub async fn start_tgtd(&mut self) {
        let control = format!("{SOCKET}.{CONTROL}");
        for left in [control.clone(), format!("{control}.lock")] {
            let _ = fs::remove_file(left);
        }
        self.tgtd = start_tgtd();
        self.tgtd_answers().await;
    }

    async fn tgtd_answers(&self) {
        let targets = &self.targets;
        let answers = until("tgtd", DEADLINE, async || {
            Look::from_attempt(targets.list_targets().await.map_err(anyhow::Error::from))
        });
        answers.await.unwrap();
    }

    pub fn put(&mut self, kind: ItemKind, id: Uuid, revision: u64, body: ItemBody) {
        let key = ItemKey::new(kind, id);
        let item = Item {
            key,
            epoch: epoch(revision),
            object: object(id),
            body,
        };
        self.items.insert(key, item);
    }

    pub fn put_image(&mut self, body: ImageItem) {
        self.put(ItemKind::Image, body.image.0, 2, ItemBody::Image(body));
    }

    pub fn put_volume(&mut self, n: u128, size: u64, source: VolumeSource) {
        let body = VolumeItem {
            volume: volume(n),
            pool: pool(),
            size: Bytes(size),
            source,
            restore: None,
        };
        self.put(ItemKind::Volume, volume(n).0, 5, ItemBody::Volume(body));
    }

    pub fn put_grant(&mut self, n: u128, revision: u64) {
        let body = ItemBody::Grant(grant(n, revision));
        self.put(ItemKind::Grant, volume(n).0, revision, body);
    }

    pub fn release(&mut self, kind: ItemKind, n: u128, revision: u64, disposition: Disposition) {
        let key = key(kind, n);
        let release = Release {
            key,
            epoch: epoch(revision),
            object: object(key.id),
            disposition,
        };
        self.releases.insert(key, release);
    }

    fn wanted(&self) -> WantedOwned {
        WantedOwned {
            items: Arc::new(self.items.clone()),
            releases: Arc::new(self.releases.clone()),
            host: Arc::clone(&self.host),
            ready: Arc::default(),
        }
    }

    pub async fn seen(&self) -> Seen {
        match read(&self.tools, &self.wanted()).await {
            Ok(seen) => seen,
        }
    }

    pub async fn plan(&self) -> Vec<Step> {
        plan(&self.wanted().as_wanted(), &self.seen().await)
    }

    pub async fn status(&self) -> Status {
        let seen = self.seen().await;
        let wanted = self.wanted();
        status(&wanted.as_wanted(), &seen, &self.troubles, &BTreeSet::new())
    }

    /// One look and the steps it asks for. A failure skips the rest of its key.
    pub async fn round(&mut self) {
        self.troubles.clear();
        for step in self.plan().await {
            if self.troubles.contains_key(&step.key()) {
                continue;
            }
            if let Err(trouble) = apply(&self.tools, &step).await {
                self.troubles.insert(step.key(), trouble);
            }
        }
    }

    /// One look and the first step it asks for, as when the agent ends after it.
    pub async fn first_step(&self) {
        let steps = self.plan().await;
        let step = steps.first().expect("there is something to do");
        apply(&self.tools, step).await.unwrap();
    }

    /// Rounds until nothing is left to do.
    pub async fn settle(&mut self) {
        for _ in 0..8 {
            if self.plan().await.is_empty() {
                return;
            }
            self.round().await;
        }
        panic!(
            "it does not settle: {:#?} {:#?}",
            self.plan().await,
            self.troubles
        );
    }

    /// The one target of a volume.
    pub async fn target(&self, n: u128) -> TargetSeen {
        let listed = self.targets.list_targets().await.unwrap();
        let mut of = listed.into_iter();
        of.find(|target| target.grant().is_some_and(|(of, _)| of == volume(n)))
            .expect("the volume has a target")
    }

    /// Until a thread of tgtd waits for the disk, as one does while the pool is frozen.
    pub async fn wait_until_tgtd_is_stuck(&self) {
        let tasks = format!("/proc/{}/task", self.tgtd.id());
        let stuck = until("tgtd to wait for the disk", DEADLINE, async || {
            let mut tasks = fs::read_dir(&tasks).unwrap().flatten();
            let waits = tasks.any(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit(") ")
                    .next()
                    .is_some_and(|rest| rest.starts_with('D'))
            });
            match waits {
                true => Look::Holds(()),
                false => Look::NotYet("no thread waits".to_owned()),
            }
        });
        stuck.await.unwrap();
    }

    /// `Ready`, or the reason and the message.
    pub async fn stand(&self, key: ItemKey) -> String {
        let status = self.status().await;
        let found = status.observations.into_iter().find(|o| o.key == key);
        match found.expect("every item is observed").state {
            ItemState::Ready => "Ready".to_owned(),
            ItemState::Pending(t) | ItemState::Failed(t) => format!("{}: {}", t.reason, t.message),
        }
    }

    pub async fn expect_ready(&self) {
        for observation in self.status().await.observations {
            let key = observation.key;
            assert_eq!(observation.state, ItemState::Ready, "{key}");
        }
    }

    /// What was told of a release that is done.
    pub async fn released(&self, key: ItemKey) -> Option<String> {
        let status = self.status().await;
        let mut released = status.released.into_iter();
        released.find(|r| r.key == key).map(|r| r.note)
    }
}

fn start_tgtd() -> Child {
    Command::new("tgtd")
        .args(["-f", "-C", &CONTROL.to_string()])
        .args(["--iscsi", &format!("portal={PORTAL}")])
        .env("TGT_IPC_SOCKET", SOCKET)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("tgtd of the package tgt can be started")
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.tgtd.kill();
        let _ = self.tgtd.wait();
    }
}

pub fn grant(n: u128, revision: u64) -> GrantItem {
    let host = HostName::new("h1").unwrap();
    let vm = volume(5000 + u128::from(revision));
    GrantItem {
        volume: volume(n),
        pool: pool(),
        initiator: GrantItem::initiator_name(&host, vm),
        access: GrantAccess::Iscsi {
            chap: Chap {
                user: format!("{}.{revision}", volume(n)),
                secret: Secret(format!("secret0000000{revision}")),
            },
        },
    }
}

/// The initiator that a grant is for.
pub fn initiator(n: u128, revision: u64) -> Initiator {
    let grant = grant(n, revision);
    let chap = grant.access.chap().expect("a grant over iSCSI").clone();
    Initiator {
        target: GrantItem::target_name(volume(n), epoch(revision)),
        name: grant.initiator,
        user: Some(chap.user),
        secret: chap.secret.0,
    }
}

pub fn volume_path(n: u128) -> PathBuf {
    Path::new("/mnt/pool/volumes").join(format!("{}.raw", volume(n)))
}
