//! All tools of one host, as the reconcilers are given them.
//!
//! A vertical adds its tool in three places of this file, one line each: the trait object in
//! [`Tools`], the fake in [`Fakes`], and both in the constructors. A reconciler sees [`Tools`]
//! alone and cannot tell a real host from a fake one.
//!
//! Fakes remember as a machine does: they outlive the agent that used them. [`Fakes::tools`] gives
//! the same machine to the next agent, as after a crash; [`Fakes::reboot`] makes it forget what a
//! reboot forgets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use dc_agent_core::vm::meter::{Meter, Rates};
use dc_agent_core::vm::seen::Domain;
use dc_agent_core::wanted::HostView;
use dc_types::{InstanceId, PoolName};
use thiserror::Error;

use crate::backup::{FakePlaces, FakeRepositories, Notes, RealPlaces, Runs};
use crate::conntrack::{Conntrack, RealConntrack};
use crate::dhcp::{Dhcp, RealDhcp};
use crate::drivers::{
    Driver, Drivers, FakeDriver, FakeLocalGrants, fake_folders, fake_pools, real_pools,
};
use crate::enter::Enter;
use crate::firewall::{Firewall, RealFirewall};
use crate::hypervisor::{FakeHypervisor, Hypervisor, Libvirt, NoHypervisor};
use crate::knobs::Knobs;
use crate::links::{FakeNetwork, Links, RealLinks};
use crate::luks::{FakeFormatter, Formatter, QemuFormatter};
use crate::machine::{FakeMachine, Machine, RealMachine};
use crate::probes::Probing;
use crate::seed::{FakeSeeds, SeedFolder, Seeds};
use crate::targets::FakeTargets;

/// What the real tools need to know beyond the host's view of itself.
#[derive(Clone, Debug)]
pub struct ToolsConfig {
    pub host: Arc<HostView>,
    /// Such as `qemu:///system`; absent on hosts that carry no machines.
    pub libvirt_uri: Option<String>,
    /// tgtd's control socket; absent on hosts that hold no volumes.
    pub tgt: Option<TgtControl>,
}

/// Where tgtd is spoken to: `TGT_IPC_SOCKET` and the number given with `-C`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TgtControl {
    pub socket: Option<PathBuf>,
    pub number: u16,
}

/// A tool that cannot be used on this host.
#[derive(Debug, Error)]
pub enum ToolsError {
    #[error("{tool} cannot be used on this host: {message}")]
    Unusable { tool: &'static str, message: String },
}

/// The tools of one host, real or fake.
#[derive(Clone)]
pub struct Tools {
    pub machine: Arc<dyn Machine>,
    // storage
    pub drivers: Drivers,
    /// Backups and restores.
    pub runs: Runs,

    // network
    pub links: Arc<dyn Links>,
    pub firewall: Arc<dyn Firewall>,
    pub dhcp: Arc<dyn Dhcp>,
    pub conntrack: Arc<dyn Conntrack>,

    // vm
    pub hypervisor: Arc<dyn Hypervisor>,
    pub seeds: Arc<dyn Seeds>,
    pub formatter: Arc<dyn Formatter>,
    /// What was counted of disks before; what was remembered may be lost.
    pub meter: Arc<Mutex<Meter>>,
    /// What guests have shown that are probed.
    pub probing: Probing,
}

impl Tools {
    /// The real ones. Opens what is kept open; changes nothing.
    pub async fn real(config: &ToolsConfig) -> Result<Self, ToolsError> {
        let drivers = real_pools(&config.host, config.tgt.as_ref());
        let notes = Notes::on_disk(config.host.folders.state.join("backups"));
        Ok(Self {
            machine: Arc::new(RealMachine),
            // storage
            runs: Runs::new(Arc::new(RealPlaces), drivers.clone(), notes),
            drivers,

            // network
            links: Arc::new(RealLinks::new(Enter::own())),
            firewall: Arc::new(RealFirewall::new(Enter::own())),
            dhcp: Arc::new(RealDhcp::new(
                Enter::own(),
                config.host.folders.state.join("dhcp"),
            )),
            conntrack: Arc::new(RealConntrack::new(Enter::own())),

            // vm
            hypervisor: hypervisor(config),
            seeds: Arc::new(SeedFolder::new(Arc::clone(&config.host))),
            formatter: Arc::new(QemuFormatter::default()),
            meter: Arc::default(),
            probing: Probing::default(),
        })
    }

    /// How much disks are used, after what was counted of them at `now`, seconds since 1970.
    #[must_use]
    pub fn metered(&self, now: i64, domains: &BTreeMap<InstanceId, Domain>) -> Rates {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.take(now, domains)
    }
}

fn hypervisor(config: &ToolsConfig) -> Arc<dyn Hypervisor> {
    match &config.libvirt_uri {
        Some(uri) => Arc::new(Libvirt::new(uri, config.host.accelerator)),
        None => Arc::new(NoHypervisor::new()),
    }
}

/// One fake machine: what its tools remember, and the knobs on them.
#[derive(Clone)]
pub struct Fakes {
    pub knobs: Knobs,
    pub machine: Arc<FakeMachine>,
    // storage
    pub pools: BTreeMap<PoolName, FakeDriver>,
    /// The target daemon that serves them all.
    pub targets: FakeTargets,
    /// What is open in those that are folders of its own.
    pub folders: BTreeMap<PoolName, FakeLocalGrants>,
    /// Where backups are; several machines may share them.
    pub repositories: FakeRepositories,
    /// Which backups are done.
    pub notes: Notes,

    // network
    pub network: FakeNetwork,

    // vm
    pub hypervisor: FakeHypervisor,
    pub seeds: FakeSeeds,
    pub formatter: FakeFormatter,
}

impl Fakes {
    /// A machine on which nothing of ours is yet. Each fake keeps a clone of `knobs`.
    #[must_use]
    pub fn new(host: &HostView) -> Self {
        let knobs = Knobs::new();
        let targets = FakeTargets::new(knobs.clone());
        let folders = fake_folders(host);
        Self {
            machine: Arc::new(FakeMachine::new(knobs.clone())),
            // storage
            pools: fake_pools(host, &knobs, &targets, &folders),
            targets,
            folders,
            repositories: FakeRepositories::default(),
            notes: Notes::in_memory(),

            // network
            network: FakeNetwork::new(knobs.clone()),

            // vm
            hypervisor: FakeHypervisor::new(knobs.clone()),
            seeds: FakeSeeds::new(knobs.clone()),
            formatter: FakeFormatter::new(knobs.clone()),
            knobs,
        }
    }

    /// The tools of this machine.
    #[must_use]
    pub fn tools(&self) -> Tools {
        let drivers = self.drivers();
        let places = FakePlaces {
            repositories: self.repositories.clone(),
            knobs: self.knobs.clone(),
        };
        Tools {
            machine: self.machine.clone(),
            // storage
            runs: Runs::new(Arc::new(places), drivers.clone(), self.notes.clone()),
            drivers,

            // network
            links: Arc::new(self.network.clone()),
            firewall: Arc::new(self.network.clone()),
            dhcp: Arc::new(self.network.clone()),
            conntrack: Arc::new(self.network.clone()),

            // vm
            hypervisor: Arc::new(self.hypervisor.clone()),
            seeds: Arc::new(self.seeds.clone()),
            formatter: Arc::new(self.formatter.of_new_agent()),
            meter: Arc::default(),
            probing: Probing::default(),
        }
    }

    /// One of its pools.
    ///
    /// # Panics
    ///
    /// When the machine has no such pool.
    #[must_use]
    pub fn pool(&self, pool: &PoolName) -> &FakeDriver {
        self.pools.get(pool).expect("the fake machine has the pool")
    }

    fn drivers(&self) -> Drivers {
        let pools = self.pools.iter();
        pools
            .map(|(name, pool)| (name.clone(), Arc::new(pool.clone()) as Arc<dyn Driver>))
            .collect()
    }

    /// What a reboot does: domains, namespaces, interfaces, rules and targets are gone; files stay.
    pub fn reboot(&self) {
        // storage
        self.targets.restart();

        // network
        self.network.reboot();

        // vm
        self.hypervisor.reboot();
    }
}
