//! A Ceph of the test's own, and the driver `rbd` over it. It lies in a file without a name, and
//! its daemons are children of the test: all of it is gone when the test ends, however it does.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use dc_host::drivers::{Driver, RbdDriver, Remembered};
use dc_host::images::Fetcher;
use dc_host::rbd::RbdPlace;
use dc_lab::apt::{self, Packages};
use dc_lab::ceph::{AGENT_USER, Ceph, CephSpec, POOL};
use dc_types::plan::{Cephx, GrantAccess, Secret};
use dc_types::{Epoch, InstanceId};
use uuid::Uuid;

use crate::inside::run;
use crate::site::pool;

const FOLDER: &str = "/mnt/ceph";
/// Room of the OSD; XFS has a little more. Both are sparse.
const OSD_GIB: u64 = 10;
const DISK_MIB: u64 = 14 << 10;

/// A key as a keyring has it, the same for every user of these tests.
pub const KEY: &str = "AQBAAAAAAAAAABAAMDEyMzQ1Njc4OWFiY2RlZg==";

/// The department of every volume, unless a test says otherwise.
pub const DEPARTMENT: &str = "so-nnmt";

pub struct Cluster {
    pub ceph: Ceph,
}

impl Cluster {
    pub async fn start() -> Self {
        apt::ensure(Packages::AllWithCeph).unwrap();
        for folder in [FOLDER, "/mnt/state", "/mnt/images"] {
            fs::create_dir_all(folder).unwrap();
        }
        mount_disk();
        let spec = CephSpec { size_gib: OSD_GIB };
        let ceph = Ceph::ensure_here(Path::new(FOLDER), Ipv4Addr::LOCALHOST, &spec);
        Self {
            ceph: ceph.await.unwrap(),
        }
    }

    #[cfg(feature = "rbd-row")]
    /// Takes the pool away, or gives it back.
    pub fn rename_pool(&self, away: bool) {
        let (from, to) = match away {
            true => (POOL, "away"),
            false => ("away", POOL),
        };
        self.ask(&["osd", "pool", "rename", from, to]);
    }

    #[cfg(feature = "rbd-row")]
    /// An image that somebody makes by hand, in the namespace that is in its name.
    pub fn make_image(&self, name: &str) {
        let rbd = |args: &[&str]| {
            let mut command = self.ceph.command("rbd");
            command.args(args).output().unwrap()
        };
        if let Some((namespace, _)) = name.split_once('/') {
            rbd(&["namespace", "create", &format!("{POOL}/{namespace}")]);
        }
        let made = rbd(&["create", &format!("{POOL}/{name}"), "--size", "1M"]);
        assert!(made.status.success(), "{made:?}");
    }

    /// An order by Ceph's own tools.
    pub fn ask(&self, args: &[&str]) {
        self.ceph.ask(args).unwrap();
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

/// The driver, as another process of the agent has it.
pub fn attach() -> Arc<dyn Driver> {
    let place = RbdPlace {
        conf: Path::new(FOLDER).join("ceph.conf"),
        user: AGENT_USER.to_owned(),
        pool: POOL.to_owned(),
    };
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
