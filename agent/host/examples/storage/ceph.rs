//! The driver `rbd` on a real Ceph, beside the program `rbd` and `qemu-img convert`.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use dc_host::drivers::{Driver, RbdDriver, Remembered};
use dc_host::images::Fetcher;
use dc_host::rbd::RbdPlace;
use dc_lab::apt::{self, Packages};
use dc_lab::ceph::{AGENT_USER, Ceph, CephSpec, POOL};
use dc_types::plan::{Cephx, GrantAccess, Secret};
use dc_types::{Bytes, Epoch, InstanceId, PoolName, SnapshotId};

use super::{Floor, GIB, Outcome, Place, run};

/// As a keyring has it.
const KEY: &str = "AQBAAAAAAAAAABAAMDEyMzQ1Njc4OWFiY2RlZg==";

/// What the volumes of a case take, several times.
const OSD_GIB: u64 = 16;

pub struct Rbd {
    driver: Arc<dyn Driver>,
    ceph: Ceph,
    folder: PathBuf,
}

impl Rbd {
    pub async fn start(folder: &Path) -> Outcome<Self> {
        apt::ensure(Packages::AllWithCeph)?;
        let folder = folder.join("rbd");
        let (disk, root) = (folder.join("disk"), folder.join("ceph"));
        fs::create_dir_all(&root)?;
        File::create(&disk)?.set_len((OSD_GIB + 2) * GIB)?;
        run(Command::new("mkfs.xfs").args(["-q", "-K"]).arg(&disk))?;
        let mut mount = Command::new("mount");
        run(mount.args(["-o", "loop"]).arg(&disk).arg(&root))?;
        // Sockets have short paths.
        let short = PathBuf::from("/mnt/ceph");
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/mnt"]))?;
        fs::create_dir(&short)?;
        run(Command::new("mount").arg("--bind").arg(&root).arg(&short))?;
        let spec = CephSpec { size_gib: OSD_GIB };
        let ceph = Ceph::ensure_here(&short, Ipv4Addr::LOCALHOST, &spec).await?;
        let place = RbdPlace {
            conf: ceph.configuration(),
            user: AGENT_USER.to_owned(),
            pool: POOL.to_owned(),
        };
        let state = folder.join("state");
        let driver = RbdDriver::of_cluster(
            PoolName::new("p1")?,
            &place,
            &state,
            Remembered::new(&state),
            Arc::new(Fetcher::new(folder.join("images"))),
        );
        match driver.ensure_pool().await.fault {
            None => Ok(Self {
                driver: Arc::new(driver),
                ceph,
                folder,
            }),
            Some(fault) => Err(fault.into()),
        }
    }

    fn rbd(&self, args: &[&str]) -> Outcome<()> {
        run(self.ceph.command("rbd").args(args))
    }

    /// What a call of `rbd` takes, with another that takes its work back.
    fn time(&self, what: &'static str, calls: &[&[&str]], back: &[&[&str]]) -> Outcome<Floor> {
        let began = Instant::now();
        for call in calls {
            self.rbd(call)?;
        }
        let took = began.elapsed();
        for call in back {
            self.rbd(call)?;
        }
        Ok((what, took))
    }
}

impl Place for Rbd {
    fn name(&self) -> &'static str {
        "rbd"
    }

    fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    fn create(&self, size: Bytes) -> Outcome<Floor> {
        let size = format!("{size}B", size = size.0);
        let create: &[&str] = &["create", "by-hand", "--size", &size];
        let rm: &[&str] = &["rm", "--no-progress", "by-hand"];
        self.time("rbd create", &[create], &[rm])
    }

    fn clone(&self, volume: InstanceId) -> Outcome<Floor> {
        let from = format!("{volume}@by-hand");
        let take: &[&str] = &["snap", "create", "--no-progress", &from];
        let clone: &[&str] = &["clone", "--rbd-default-clone-format", "2", &from, "by-hand"];
        let rm: &[&str] = &["rm", "--no-progress", "by-hand"];
        let drop: &[&str] = &["snap", "rm", "--no-progress", &from];
        self.time("rbd snap create, clone", &[take, clone], &[rm, drop])
    }

    fn snapshot(&self, volume: InstanceId) -> Outcome<Floor> {
        let of = format!("{volume}@by-hand");
        let take: &[&str] = &["snap", "create", "--no-progress", &of];
        let drop: &[&str] = &["snap", "rm", "--no-progress", &of];
        self.time("rbd snap create", &[take], &[drop])
    }

    fn changed(
        &self,
        volume: InstanceId,
        from: SnapshotId,
        to: SnapshotId,
    ) -> Outcome<Option<Floor>> {
        let (of, from) = (format!("{volume}@{to}"), from.to_string());
        let diff: &[&str] = &["diff", "--format", "json", "--from-snap", &from, &of];
        self.time("rbd diff", &[diff], &[]).map(Some)
    }

    fn read(&self, volume: InstanceId, snapshot: SnapshotId) -> Outcome<Floor> {
        let (conf, to) = (self.ceph.configuration(), self.folder.join("converted"));
        let image = format!("rbd:{POOL}/{volume}@{snapshot}:conf={}", conf.display());
        let began = Instant::now();
        let mut convert = self.ceph.command("qemu-img");
        convert.args(["convert", "-f", "raw", "-O", "raw", &image]);
        run(convert.arg(&to))?;
        let took = began.elapsed();
        fs::remove_file(&to)?;
        Ok(("qemu-img convert", took))
    }

    fn holder(&self, volume: InstanceId, epoch: Epoch) -> Option<(GrantAccess, Vec<String>)> {
        let user = Cephx::user_name(volume, epoch);
        let conf = self.ceph.configuration();
        let keyring = conf.with_file_name(format!("client.{user}.keyring"));
        fs::write(keyring, format!("[client.{user}]\n\tkey = {KEY}\n")).ok()?;
        let image = format!("rbd:{POOL}/{volume}:id={user}:conf={}", conf.display());
        let cephx = Cephx {
            user,
            key: Secret(KEY.to_owned()),
            namespace: String::new(),
        };
        let arguments = vec!["-f".into(), "raw".into(), image];
        Some((GrantAccess::Rbd { cephx }, arguments))
    }
}
