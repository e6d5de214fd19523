//! A Ceph that tests hand on ([`crate::lent`]), and the driver `rbd` over it.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dc_host::drivers::{Driver, RbdDriver, Remembered};
use dc_host::images::Fetcher;
use dc_host::rbd::RbdPlace;
use dc_lab::apt::{self, Packages};
use dc_lab::ceph::{AGENT_USER, Ceph, CephSpec, Daemon, POOL};
use dc_lab::wait::{Look, until};
use dc_types::plan::{Cephx, GrantAccess, Secret};
use dc_types::{Epoch, InstanceId};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::inside::run;
use crate::site::{DEADLINE, pool};

pub const FOLDER: &str = "/mnt/ceph";
/// Room of the OSD; XFS has a little more. Both are sparse.
const OSD_GIB: u64 = 4;
const DISK_MIB: u64 = 6 << 10;

/// A key as a keyring has it, the same for every user of these tests.
pub const KEY: &str = "AQBAAAAAAAAAABAAMDEyMzQ1Njc4OWFiY2RlZg==";

/// The department of every volume, unless a test says otherwise.
pub const DEPARTMENT: &str = "so-nnmt";

/// The cluster that this test was lent. Its pool is empty.
#[derive(Clone)]
pub struct Cluster {
    pub ceph: Ceph,
}

impl Cluster {
    pub fn lent() -> Self {
        Self {
            ceph: Ceph::at(Path::new(FOLDER), Ipv4Addr::LOCALHOST),
        }
    }

    /// Takes the pool away, or gives it back.
    pub fn rename_pool(&self, away: bool) {
        let (from, to) = match away {
            true => (POOL, "away"),
            false => ("away", POOL),
        };
        self.order(json!({ "prefix": "osd pool rename", "srcpool": from, "destpool": to }));
    }

    /// Forbids the agent's user to change anything, or allows it again. A connection that it has
    /// goes on as it was.
    pub fn forbid(&self, forbidden: bool) {
        let user = format!("client.{AGENT_USER}");
        let (monitor, osd) = match forbidden {
            true => ("allow r", "allow rx"),
            false => ("allow *", "allow *"),
        };
        let caps = ["mon", monitor, "osd", osd];
        self.order(json!({ "prefix": "auth caps", "entity": user, "caps": caps }));
    }

    /// An image that somebody makes by hand, in the namespace that is in its name.
    pub fn make_image(&self, name: &str, size: &str) {
        let rbd = |args: &[&str]| {
            let mut command = self.ceph.command("rbd");
            command.args(args).output().unwrap()
        };
        if let Some((namespace, _)) = name.split_once('/') {
            rbd(&["namespace", "create", &format!("{POOL}/{namespace}")]);
        }
        let made = rbd(&["create", &format!("{POOL}/{name}"), "--size", size]);
        assert!(made.status.success(), "{made:?}");
    }

    /// An order over a connection: the `ceph` program takes a third of a second of a processor to
    /// start, and some cases take the pool away between any two steps.
    fn order(&self, order: Value) {
        let daemons = Daemons::connect(&self.ceph).unwrap();
        daemons.ask(order).unwrap();
    }

    /// An order by Ceph's own tools.
    pub fn ask(&self, args: &[&str]) {
        self.ceph.ask(args).unwrap();
    }

    /// Ends a daemon without warning, and waits until whoever keeps it has started another one.
    pub async fn kill(&self, daemon: Daemon) {
        let old = pid_of(daemon).expect("it runs");
        kill(Pid::from_raw(old), Signal::SIGKILL).unwrap();
        let what = format!("another {daemon}");
        let started = until(&what, DEADLINE, async || match pid_of(daemon) {
            Some(new) if new != old => Look::Holds(()),
            seen => Look::NotYet(format!("{seen:?}")),
        });
        started.await.unwrap();
    }
}

/// There is one of each where a test runs.
fn pid_of(daemon: Daemon) -> Option<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    pids.find(|pid: &i32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // One that has ended and is not waited for yet has no memory any more.
        let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
        name.trim() == daemon.program() && !maps.is_empty()
    })
}

/// Makes a cluster whose daemons are children of this process.
pub async fn make() -> Result<Ceph> {
    apt::ensure(Packages::AllWithCeph)?;
    fs::create_dir_all(FOLDER)?;
    mount_disk();
    let spec = CephSpec { size_gib: OSD_GIB };
    Ceph::ensure_here(Path::new(FOLDER), Ipv4Addr::LOCALHOST, &spec).await
}

/// Puts an empty pool in the place of the one that was used, and takes away all others and every
/// user of a grant.
pub async fn renew(ceph: &Ceph) -> Result<()> {
    let daemons = Daemons::connect(ceph)?;
    let users = daemons.ask(json!({ "prefix": "auth ls", "format": "json" }))?;
    let users = users["auth_dump"].as_array().into_iter().flatten();
    for user in users.filter_map(|user| user["entity"].as_str()) {
        if user.starts_with("client.dc.") {
            daemons.ask(json!({ "prefix": "auth del", "entity": user }))?;
        }
    }
    let pools = daemons.ask(json!({ "prefix": "osd pool ls", "format": "json" }))?;
    let pools: Vec<String> = serde_json::from_value(pools)?;
    for pool in pools.iter().filter(|pool| *pool != "device_health_metrics") {
        daemons.ask(json!({
            "prefix": "osd pool delete", "pool": pool, "pool2": pool,
            "yes_i_really_really_mean_it": true,
        }))?;
    }
    daemons.ask(json!({ "prefix": "osd pool create", "pool": POOL, "pg_num": 8, "pgp_num": 8 }))?;
    // It waits until the pool takes writes.
    let init = ceph.command("rbd").args(["pool", "init", POOL]).output()?;
    ensure!(init.status.success(), "{init:?}");
    until("the capacity of the pool", DEADLINE, async || match daemons
        .ask(json!({ "prefix": "df", "format": "json" }))
    {
        Ok(df) if has_room(&df) => Look::Holds(()),
        Ok(df) => Look::NotYet(df.to_string()),
        Err(error) => Look::NotYet(format!("{error:#}")),
    })
    .await
}

fn has_room(df: &Value) -> bool {
    let mut pools = df["pools"].as_array().into_iter().flatten();
    pools.any(|pool| pool["name"] == POOL && pool["stats"]["max_avail"].as_u64() > Some(0))
}

/// Those of a cluster, asked as its administrator.
struct Daemons(dc_rados::Cluster);

impl Daemons {
    fn connect(ceph: &Ceph) -> Result<Self> {
        let place = dc_rados::Place {
            conf: ceph.configuration(),
            user: "admin".to_owned(),
            monitor_limit_s: DEADLINE.as_secs(),
            osd_limit_s: DEADLINE.as_secs(),
        };
        Ok(Self(dc_rados::Cluster::connect(&place)?))
    }

    fn ask(&self, order: Value) -> Result<Value> {
        let order = order.to_string();
        let answer = self.0.ask(&dc_rados::Target::Monitors, &order, &[]);
        match answer.with_context(|| order)?[..] {
            [] => Ok(Value::Null),
            ref text => Ok(serde_json::from_slice(text)?),
        }
    }
}

/// A sparse disk whose file has no name any more: it goes with the mount, and that with the test.
fn mount_disk() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("ceph-{}", Uuid::new_v4()));
    File::create_new(&file)
        .and_then(|disk| disk.set_len(DISK_MIB << 20))
        .unwrap();
    let name = file.to_str().unwrap();
    run(&["mkfs.xfs", "-q", "-K", name]);
    run(&["mount", "-o", "loop", name, FOLDER]);
    fs::remove_file(&file).unwrap();
}

/// Its pool, as the agent reaches it.
pub fn place() -> RbdPlace {
    RbdPlace {
        conf: Path::new(FOLDER).join("ceph.conf"),
        user: AGENT_USER.to_owned(),
        pool: POOL.to_owned(),
    }
}

/// The driver, as another process of the agent has it.
pub fn attach() -> Arc<dyn Driver> {
    let place = place();
    let fetcher = Arc::new(Fetcher::new("/mnt/images".into()));
    let state = Path::new("/mnt/state");
    let remembered = Remembered::new(state);
    let driver = RbdDriver::of_cluster(pool(), &place, state, remembered, fetcher);
    Arc::new(driver)
}

pub fn access(volume: InstanceId, epoch: Epoch) -> GrantAccess {
    GrantAccess::Rbd {
        cephx: Cephx {
            user: Cephx::user_name(volume, epoch),
            key: Secret(KEY.to_owned()),
            namespace: String::new(),
        },
    }
}

/// qemu-io's name of an image, opened as a user that has the tests' key.
pub fn image_as(user: &str, image: &str) -> String {
    let keyring = format!("{FOLDER}/client.{user}.keyring");
    fs::write(&keyring, format!("[client.{user}]\n\tkey = {KEY}\n")).unwrap();
    format!("rbd:{POOL}/{image}:id={user}:conf={FOLDER}/ceph.conf")
}

/// The same of a volume, by the user of a grant.
pub fn volume_as(volume: InstanceId, epoch: Epoch) -> String {
    let user = Cephx::user_name(volume, epoch);
    image_as(&user, &volume.to_string())
}
