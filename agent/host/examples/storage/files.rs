//! The folder drivers on XFS, beside `cp --reflink` and `qemu-img convert`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dc_agent_core::wanted::{Folders, HostAddresses, HostView, PoolConfig};
use dc_host::drivers::Driver;
use dc_host::{TgtControl, Tools, ToolsConfig};
use dc_types::plan::{Chap, GrantAccess, GrantItem, Secret};
use dc_types::report::{Accelerator, Role};
use dc_types::{Bytes, Epoch, HostName, InstanceId, PoolName, SnapshotId};

use super::{Floor, GIB, Outcome, Place, run};

const PORTAL: &str = "127.0.0.1:3260";
const CONTROL: u16 = 9;

pub struct Files {
    name: &'static str,
    driver: Arc<dyn Driver>,
    folder: PathBuf,
    root: PathBuf,
    tgtd: Option<Child>,
}

impl Files {
    pub async fn start(folder: &Path, name: &'static str) -> Outcome<Self> {
        let folder = folder.join(name);
        fs::create_dir(&folder)?;
        let root = mount(&folder)?;
        let control = TgtControl {
            socket: Some(folder.join("tgt")),
            number: CONTROL,
        };
        let tgtd = (name == "iscsi").then(|| {
            Command::new("tgtd")
                .args(["-f", "-C", &CONTROL.to_string()])
                .args(["--iscsi", &format!("portal={PORTAL}")])
                .env("TGT_IPC_SOCKET", folder.join("tgt"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        });
        let mut files = Self {
            name,
            driver: attach(&folder, &root, name, control).await?,
            folder,
            root,
            tgtd: tgtd.transpose()?,
        };
        files.wait_for_tgtd().await?;
        match files.driver.ensure_pool().await.fault {
            None => Ok(files),
            Some(fault) => Err(fault.into()),
        }
    }

    async fn wait_for_tgtd(&mut self) -> Outcome<()> {
        let Some(tgtd) = &mut self.tgtd else {
            return Ok(());
        };
        while self.driver.list_grants().await.is_err() {
            if let Some(ended) = tgtd.try_wait()? {
                return Err(format!("tgtd: {ended}").into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn path(&self, volume: InstanceId) -> PathBuf {
        self.root.join(format!("volumes/{volume}.raw"))
    }

    /// What `cp --reflink=always` and an fsync take for a volume's file.
    fn copy(&self, volume: InstanceId) -> Outcome<Floor> {
        let to = self.root.join("copied-by-hand");
        let began = Instant::now();
        let mut cp = Command::new("cp");
        run(cp.arg("--reflink=always").arg(self.path(volume)).arg(&to))?;
        File::open(&to)?.sync_all()?;
        let took = began.elapsed();
        fs::remove_file(to)?;
        Ok(("cp --reflink, fsync", took))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(tgtd) = &mut self.tgtd {
            let _ = tgtd.kill();
            let _ = tgtd.wait();
        }
    }
}

/// A file system with reflinks in a sparse file.
fn mount(folder: &Path) -> Outcome<PathBuf> {
    let (disk, root) = (folder.join("disk"), folder.join("pool"));
    File::create(&disk)?.set_len(64 * GIB)?;
    fs::create_dir(&root)?;
    let mut mkfs = Command::new("mkfs.xfs");
    run(mkfs.args(["-q", "-K", "-m", "reflink=1"]).arg(&disk))?;
    let mut mount = Command::new("mount");
    run(mount.args(["-o", "loop"]).arg(&disk).arg(&root))?;
    Ok(root)
}

async fn attach(
    folder: &Path,
    root: &Path,
    name: &str,
    control: TgtControl,
) -> Outcome<Arc<dyn Driver>> {
    let (pool, address) = (PoolName::new("p1")?, [127, 0, 0, 1].into());
    let (config, role) = match name {
        "iscsi" => (
            PoolConfig::Iscsi {
                folder: root.to_owned(),
            },
            Role::Storage,
        ),
        _ => (
            PoolConfig::Directory {
                folder: root.to_owned(),
            },
            Role::Compute,
        ),
    };
    let at = |name: &str| folder.join(name);
    let host = HostView {
        name: HostName::new("h1")?,
        roles: vec![role],
        accelerator: Accelerator::Tcg,
        addresses: HostAddresses {
            management: address,
            storage: address,
            overlay: address,
        },
        portal: None,
        pools: BTreeMap::from([(pool.clone(), config)]),
        edge: None,
        folders: Folders {
            state: at("state"),
            images: at("images"),
            seeds: at("seeds"),
            consoles: at("consoles"),
        },
        boot_id: "boot".into(),
    };
    let config = ToolsConfig {
        host: Arc::new(host),
        libvirt_uri: None,
        tgt: Some(control),
    };
    Ok(Tools::real(&config).await?.drivers.of(&pool)?.clone())
}

impl Place for Files {
    fn name(&self) -> &'static str {
        self.name
    }

    fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    fn create(&self, size: Bytes) -> Outcome<Floor> {
        let path = self.root.join("made-by-hand");
        let began = Instant::now();
        let file = File::create(&path)?;
        file.set_len(size.0)?;
        file.sync_all()?;
        let took = began.elapsed();
        fs::remove_file(path)?;
        Ok(("truncate, fsync", took))
    }

    fn clone(&self, volume: InstanceId) -> Outcome<Floor> {
        self.copy(volume)
    }

    fn snapshot(&self, volume: InstanceId) -> Outcome<Floor> {
        self.copy(volume)
    }

    fn changed(&self, _: InstanceId, _: SnapshotId, _: SnapshotId) -> Outcome<Option<Floor>> {
        Ok(None)
    }

    fn read(&self, volume: InstanceId, snapshot: SnapshotId) -> Outcome<Floor> {
        let file = format!("snapshots/{volume}/{snapshot}.raw");
        let (file, to) = (self.root.join(file), self.folder.join("converted"));
        let began = Instant::now();
        let mut convert = Command::new("qemu-img");
        convert.args(["convert", "-f", "raw", "-O", "raw"]);
        run(convert.arg(&file).arg(&to))?;
        let took = began.elapsed();
        fs::remove_file(&to)?;
        Ok(("qemu-img convert", took))
    }

    fn holder(&self, volume: InstanceId, epoch: Epoch) -> Option<(GrantAccess, Vec<String>)> {
        self.tgtd.as_ref()?;
        let (user, secret) = (format!("{volume}.{epoch}"), "0123456789abcdef".to_owned());
        let file = self.folder.join("secret");
        fs::write(&file, &secret).ok()?;
        let target = GrantItem::target_name(volume, epoch);
        let name = GrantItem::initiator_name(&HostName::new("h1").ok()?, volume);
        let disk = format!(
            "driver=iscsi,transport=tcp,portal={PORTAL},target={target},lun=1,\
             initiator-name={name},user={user},password-secret=s0"
        );
        let arguments = vec![
            "--object".to_owned(),
            format!("secret,id=s0,file={}", file.display()),
            "--image-opts".to_owned(),
            disk,
        ];
        let chap = Chap {
            user,
            secret: Secret(secret),
        };
        Some((GrantAccess::Iscsi { chap }, arguments))
    }
}
