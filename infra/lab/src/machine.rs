//! A machine of the lab: a mount, a network and a UTS namespace with a disk of its own.
//!
//! ```text
//!          ensure                    power_cut / stop
//!   off ──────────► up (holder, cables, daemons of its role) ──────────► off
//!    ▲                                                                    │
//!    └──────────────── the disk stays: /etc, /var, the SAN ◄──────────────┘
//! ```
//!
//! What always holds: everything that runs in a machine is found without any record
//! ([`inhabitants`]), so it can be ended after any crash; a running machine is never restarted by
//! [`Machine::ensure`]; what happens in a machine changes nothing outside but its own folder.
//! Not done here: the agent. It is started by whoever has its configuration, by
//! [`Machine::daemon`], and it alone makes guests, volumes and networks.
//!
//! The daemons started here are those that a real host's systemd would start: libvirtd on compute
//! hosts, tgtd on storage hosts, the mount of its pool on those that have one ([`crate::san`]). Ceph is started by who
//! wants it ([`crate::ceph`]), and ends with its machine.

mod holder;
pub mod inhabitants;
mod libvirt;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::address::Network;
use crate::ceph;
use crate::console::{Console, Pty};
use crate::inventory::HostRole;
use crate::lab::Lab;
use crate::process::{self, Ensured, Identity, Spec};
use crate::san::{self, SanSpec};
use crate::wires::{Fabric, Outside};

/// How long guests and daemons may take to end when a machine is stopped in order.
const STOP_GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// A DNS label, unique in the lab; also the name of its Host object.
    pub name: String,
    /// Its number on all three networks, 10 to 250, unique in the lab.
    pub number: u8,
    pub roles: Vec<HostRole>,
    /// The file system that its pool lies on, if it has one.
    pub pool: Option<SanSpec>,
}

impl MachineSpec {
    pub fn new(name: impl Into<String>, number: u8, role: HostRole) -> Self {
        Self {
            name: name.into(),
            number,
            roles: vec![role],
            pool: (role == HostRole::Storage).then(SanSpec::default),
        }
    }

    /// The same with a file system for a pool.
    #[must_use]
    pub fn with_pool(self, pool: SanSpec) -> Self {
        Self {
            pool: Some(pool),
            ..self
        }
    }

    fn has(&self, role: HostRole) -> bool {
        self.roles.contains(&role)
    }
}

/// A machine that is up.
#[derive(Debug, Clone)]
pub struct Machine {
    lab: Lab,
    spec: MachineSpec,
    holder: Identity,
}

impl Machine {
    /// Makes the machine be up, wired, and with the daemons of its roles; what runs is kept.
    pub async fn ensure(lab: &Lab, spec: &MachineSpec) -> Result<Self> {
        Self::ensure_up(lab, spec)
            .await
            .with_context(|| format!("cannot start the machine {}", spec.name))
    }

    async fn ensure_up(lab: &Lab, spec: &MachineSpec) -> Result<Self> {
        let fabric = Fabric::ensure(lab)?;
        let was_off = holder::running(lab, &spec.name)?.is_none();
        if was_off {
            clear_remains(lab, spec, &fabric)?;
        }
        let disk = folder(lab, &spec.name).join("disk");
        std::fs::create_dir_all(&disk)?;
        refuse_hidden(lab.folder())?;
        let machine = Self {
            lab: lab.clone(),
            spec: spec.clone(),
            holder: holder::ensure(lab, spec, &disk).await?,
        };
        fabric.plug(machine.pid(), spec.number)?;
        if spec.has(HostRole::Gateway) {
            Outside::ensure(lab)?.plug(machine.pid())?;
        }
        if spec.has(HostRole::Compute) {
            libvirt::ensure(&machine).await?;
        }
        if let Some(pool) = &spec.pool {
            san::ensure_pool(&machine, pool).await?;
        }
        if spec.has(HostRole::Storage) {
            san::ensure_tgtd(&machine)
                .await
                .context("cannot bring up tgtd")?;
        }
        Ok(machine)
    }

    /// The machine as it is, if it is up; nothing is changed.
    pub fn find(lab: &Lab, spec: &MachineSpec) -> Result<Option<Self>> {
        let holder = holder::running(lab, &spec.name)?;
        Ok(holder.map(|holder| Self {
            lab: lab.clone(),
            spec: spec.clone(),
            holder,
        }))
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    pub fn spec(&self) -> &MachineSpec {
        &self.spec
    }

    /// The process whose namespaces are the machine's; another one after each boot.
    pub fn pid(&self) -> u32 {
        self.holder.pid
    }

    pub fn address(&self, network: Network) -> Ipv4Addr {
        self.lab.addresses().host(network, self.spec.number)
    }

    /// A folder that belongs to the machine and outlives its boots, under the same path inside and
    /// outside; made if it is not there. The agent's state, images and seeds belong in one.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = folder(&self.lab, self.name()).join(name);
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// A path of the machine as seen from outside (while it is up): its /run, /etc and /var differ
    /// from ours.
    pub fn path(&self, inside: &str) -> PathBuf {
        holder::root_of(self.pid()).join(inside.trim_start_matches('/'))
    }

    /// A command inside the machine; its working folder is `/`, so paths are to be absolute.
    pub fn command(&self, program: &str) -> Command {
        let mut command = process::enter_command(self.pid(), Path::new("/"));
        command.arg(program);
        command
    }

    /// The same for callers with a runtime.
    pub fn command_async(&self, program: &str) -> tokio::process::Command {
        tokio::process::Command::from(self.command(program))
    }

    /// A daemon of this machine, to be started by [`process::ensure`]; it ends with the machine.
    pub fn daemon(&self, name: &str, program: impl Into<PathBuf>) -> Spec {
        Spec::new(daemon_name(self.name(), name), program).enter(self.pid())
    }

    /// The address of libvirt, from outside the machine (`qemu:///system` inside).
    pub fn libvirt_uri(&self) -> String {
        libvirt::uri_from_outside(self)
    }

    /// The serial console of a guest on this machine, by its libvirt name or uuid. One at a time:
    /// two readers would share what the guest says.
    pub fn guest_console(&self, domain: &str) -> Result<Console<Pty>> {
        libvirt::open_console(self, domain)
            .with_context(|| format!("no console of {domain} on {}", self.name()))
    }

    /// Ends libvirtd without warning; guests must not notice. [`Machine::ensure_libvirtd`] brings
    /// it back.
    pub fn kill_libvirtd(&self) -> Result<()> {
        libvirt::kill(self)
    }

    /// Ends libvirtd in order, as an upgrade would; guests must not notice.
    pub fn stop_libvirtd(&self) -> Result<()> {
        libvirt::stop(self)
    }

    pub async fn ensure_libvirtd(&self) -> Result<Ensured> {
        libvirt::ensure(self).await
    }

    pub fn kill_tgtd(&self) -> Result<()> {
        san::kill_tgtd(self)
    }

    /// Starts tgtd as systemd would: empty, for the agent to fill.
    pub async fn ensure_tgtd(&self) -> Result<Ensured> {
        san::ensure_tgtd(self).await
    }

    /// Everyone who lives in the machine: daemons, guests, helpers, the holder.
    pub fn inhabitants(&self) -> Vec<Identity> {
        inhabitants::of_machine(&self.lab, self.name())
    }

    /// Takes the power away: everything in the machine is killed at once, its memory is lost, its
    /// disk stays. [`Machine::ensure`] boots it again; the agent is the caller's to start.
    pub fn power_cut(self) -> Result<MachineSpec> {
        let Self {
            lab,
            spec,
            holder: _,
        } = self;
        inhabitants::end(&lab, &spec.name, None, Duration::ZERO)?;
        forget_processes(&lab, &spec.name)?;
        Ok(spec)
    }

    /// Stops the machine in order: daemons and guests are asked to end, file systems unmounted,
    /// cables taken away. Its disk stays until the lab is removed.
    pub async fn stop(self) -> Result<()> {
        let name = self.spec.name.clone();
        self.stop_in_order()
            .await
            .with_context(|| format!("cannot stop the machine {name}"))
    }

    async fn stop_in_order(self) -> Result<()> {
        let Self { lab, spec, holder } = self.clone();
        // The agent first: it must not take the end of the others for a failure to be mended.
        process::stop(&lab, &daemon_name(&spec.name, "agent"))?;
        ceph::stop(&self)?;
        inhabitants::end(&lab, &spec.name, Some(holder), STOP_GRACE)?;
        if spec.pool.is_some() {
            san::unmount(&self)?;
        }
        inhabitants::end(&lab, &spec.name, None, STOP_GRACE)?;
        forget_processes(&lab, &spec.name)?;
        if spec.pool.is_some() {
            san::wait_until_detached(&lab, &spec.name).await?;
        }
        Fabric::ensure(&lab)?.unplug(spec.number)?;
        if spec.has(HostRole::Gateway) {
            Outside::ensure(&lab)?.unplug()?;
        }
        Ok(())
    }
}

/// What is left of a former life must be gone before the next: guests whose holder was killed
/// would keep the old namespaces, the disk and the cables.
fn clear_remains(lab: &Lab, spec: &MachineSpec, fabric: &Fabric) -> Result<()> {
    inhabitants::end(lab, &spec.name, None, Duration::ZERO)?;
    forget_processes(lab, &spec.name)?;
    fabric.unplug(spec.number)?;
    if spec.has(HostRole::Gateway) {
        Outside::ensure(lab)?.unplug()?;
    }
    Ok(())
}

fn forget_processes(lab: &Lab, machine: &str) -> Result<()> {
    let prefix = daemon_name(machine, "");
    for name in process::recorded(lab)? {
        if name == machine || name.starts_with(&prefix) {
            process::stop(lab, &name)?;
        }
    }
    Ok(())
}

fn daemon_name(machine: &str, daemon: &str) -> String {
    format!("{machine}.{daemon}")
}

fn folder(lab: &Lab, machine: &str) -> PathBuf {
    lab.folder().join("machines").join(machine)
}

/// A machine has its own /run, /etc and /var: a lab that lies there could not be seen from inside.
fn refuse_hidden(lab_folder: &Path) -> Result<()> {
    for hidden in ["/run", "/etc", "/var", "/sys", "/proc"] {
        if lab_folder.starts_with(hidden) {
            bail!(
                "the work tree must not lie under {hidden}, for machines of a lab have their own: \
                 move it (the lab's folder is {})",
                lab_folder.display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_tree_that_machines_could_not_see_is_refused() {
        assert!(refuse_hidden(Path::new("/var/lib/ci/work/.lab/a")).is_err());
        assert!(refuse_hidden(Path::new("/variants/.lab/a")).is_ok());
    }
}
