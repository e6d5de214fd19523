//! One machine of a lab that computes and stores, and the agent's own hands in it.
//!
//! Namespaces are of threads: the hands run on a runtime whose threads all entered the machine
//! before they did anything else, while the test itself stays outside, from where it kills
//! daemons.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use dc_agent_core::wanted::{Folders, HostAddresses, HostView};
use dc_host::{Tools, ToolsConfig};
use dc_lab::address::Network;
use dc_lab::apt::{self, Packages};
use dc_lab::cache::Cache;
use dc_lab::images::GuestImage;
use dc_lab::inventory::HostRole;
use dc_lab::lab::{Lab, Owner};
use dc_lab::machine::{Machine, MachineSpec};
use dc_lab::process::Identity;
use dc_lab::progress::run;
use dc_lab::san::SanSpec;
use dc_lab::teardown;
use dc_types::HostName;
use dc_types::plan::{DiskItem, GrantItem, Portal};
use dc_types::report::{Accelerator, Role};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::runtime::Runtime;

/// A lab of one test alone, taken away also when the test fails.
pub struct TestLab(Lab);

impl TestLab {
    fn new(name: &str) -> Result<Self> {
        apt::ensure(Packages::All)?;
        let name = format!("h-{name}-{}", std::process::id()).parse()?;
        let owner = Owner::Test(Identity::own()?);
        Ok(Self(Lab::open_or_create(&name, owner)?))
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        if self.0.folder().exists()
            && let Err(error) = teardown::remove(&self.0)
        {
            eprintln!("{error:#}");
        }
    }
}

pub struct Carrier {
    // Dropped in this order: first the hands, then all they could touch.
    hands: Option<Runtime>,
    pub machine: Machine,
    pub host: Arc<HostView>,
    /// The tiny image, which volumes are made from.
    image: PathBuf,
    lab: TestLab,
}

impl Carrier {
    pub async fn new(name: &str) -> Result<Self> {
        let lab = TestLab::new(name)?;
        let spec = MachineSpec::new("h1", 11, HostRole::Compute);
        let mut spec = spec.with_pool(SanSpec::default());
        spec.roles.push(HostRole::Storage);
        let machine = Machine::ensure(&lab.0, &spec).await?;
        let host = Arc::new(host_view(&machine)?);
        Ok(Self {
            hands: Some(runtime_inside(machine.pid())?),
            machine,
            host,
            image: GuestImage::Tiny.ensure(&Cache::from_env()?)?.path,
            lab,
        })
    }

    /// Cuts the power and boots again: what was in memory is gone, what was on disk is there.
    pub async fn power_cut(&mut self) -> Result<()> {
        if let Some(hands) = self.hands.take() {
            hands.shutdown_background();
        }
        let spec = self.machine.clone().power_cut()?;
        self.machine = Machine::ensure(&self.lab.0, &spec).await?;
        self.hands = Some(runtime_inside(self.machine.pid())?);
        let mut host = host_view(&self.machine)?;
        host.boot_id = "boot-2".into();
        self.host = Arc::new(host);
        Ok(())
    }

    /// New hands, as after a restart of the agent: nothing is carried over.
    pub async fn tools(&self) -> Result<Tools> {
        let config = ToolsConfig {
            host: Arc::clone(&self.host),
            libvirt_uri: Some("qemu:///system".into()),
            tgt: None,
        };
        self.inside(async move { Ok(Tools::real(&config).await?) })
            .await
    }

    /// Runs in the machine.
    pub async fn inside<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let hands = self.hands.as_ref().context("the hands are gone")?;
        hands.spawn(work).await?
    }

    pub fn run(&self, line: &str) -> Result<String> {
        run(self.machine.command("sh").args(["-c", line]))
    }

    /// A target for a disk, as the storage reconciler makes it; the file is thin.
    pub fn make_target(&self, number: u32, disk: &DiskItem) -> Result<()> {
        let file = self
            .machine
            .folder("volumes")?
            .join(disk.volume.to_string());
        if !file.exists() {
            fs::copy(&self.image, &file)?;
            File::options()
                .write(true)
                .open(&file)?
                .set_len(disk.size.0)?;
        }
        let target = GrantItem::target_name(disk.volume, disk.grant);
        let chap = disk.source.chap().expect("a disk over iSCSI");
        let (user, secret) = (&chap.user, &chap.secret.0);
        let (file, initiator) = (file.display(), &disk.initiator);
        self.run(&format!(
            "set -e; T='tgtadm --lld iscsi'
             $T --op new --mode target --tid {number} -T {target}
             $T --op new --mode logicalunit --tid {number} --lun 1 -b {file} --bstype rdwr
             $T --op new --mode account --user {user} --password {secret} || true
             $T --op bind --mode account --tid {number} --user {user}
             $T --op bind --mode target --tid {number} --initiator-name {initiator}"
        ))?;
        Ok(())
    }

    /// Deletes a target under whoever is connected to it: the storage's fence.
    pub fn fence(&self, number: u32, disk: &DiskItem) -> Result<()> {
        let initiator = &disk.initiator;
        self.run(&format!(
            r#"T='tgtadm --lld iscsi'
             $T --op unbind --mode target --tid {number} --initiator-name {initiator}
             until $T --op delete --mode target --tid {number}; do
                 $T --op show --mode conn --tid {number} |
                     awk '/Session:/ {{ s = $2 }} /Connection:/ {{ print s, $2 }}' |
                     while read -r session connection; do
                         $T --op delete --mode conn --tid {number} \
                             --sid "$session" --cid "$connection"
                     done
                 sleep 0.05
             done"#
        ))?;
        Ok(())
    }

    /// What the guest has written to its serial console.
    pub fn console(&self, vm: dc_types::InstanceId) -> String {
        let log = self.host.folders.consoles.join(format!("{vm}.log"));
        let bytes = fs::read(log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if let Some(hands) = self.hands.take() {
            hands.shutdown_background();
        }
    }
}

/// A runtime whose threads all live in the machine of the process `pid`: a thread is born in the
/// namespaces of the one that made it.
fn runtime_inside(pid: u32) -> Result<Runtime> {
    std::thread::spawn(move || {
        let open = |kind: &str| File::open(format!("/proc/{pid}/ns/{kind}"));
        let namespaces = [
            (open("net")?, CloneFlags::CLONE_NEWNET),
            (open("uts")?, CloneFlags::CLONE_NEWUTS),
            (open("mnt")?, CloneFlags::CLONE_NEWNS),
        ];
        // A thread that shares its working folder with others may not change its mounts.
        unshare(CloneFlags::CLONE_FS)?;
        for (namespace, kind) in namespaces {
            setns(namespace, kind)?;
        }
        std::env::set_current_dir("/")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        anyhow::Ok(runtime)
    })
    .join()
    .map_err(|_| anyhow::anyhow!("the thread that enters the machine has panicked"))?
}

fn host_view(machine: &Machine) -> Result<HostView> {
    let address = |network| machine.address(network).into();
    Ok(HostView {
        name: HostName::new(machine.name())?,
        roles: vec![Role::Compute, Role::Storage],
        accelerator: Accelerator::Tcg,
        addresses: HostAddresses {
            management: address(Network::Management),
            storage: address(Network::Storage),
            overlay: address(Network::Overlay),
        },
        portal: Some(Portal {
            address: address(Network::Storage),
            port: 3260,
        }),
        pools: BTreeMap::new(),
        edge: None,
        folders: Folders {
            state: machine.folder("state")?,
            images: machine.folder("images")?,
            seeds: machine.folder("seeds")?,
            consoles: machine.folder("consoles")?,
        },
        boot_id: "boot-1".into(),
    })
}
