//! One host of all roles over fakes, and the plan of the first version's ledger for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dc_agent::agent::{Agent, Parts};
use dc_agent::config::SizeOverride;
use dc_agent::disk::Durability;
use dc_agent::keeper::Place;
use dc_agent::metrics::Metrics;
use dc_agent_core::ledger::{self, Change};
use dc_agent_core::{Folders, HostAddresses, HostView, Ledger, PoolConfig, Standing};
use dc_host::Fakes;
use dc_types::plan::{Disposition, ItemKey, Portal, Release};
use dc_types::report::{Accelerator, ItemState, Role};
use dc_types::{HostName, PoolName};
use tempfile::TempDir;

/// Generous: what is waited for takes a second or two.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A machine that outlives its agents, and the folder of their ledger.
pub struct TestHost {
    pub fakes: Fakes,
    pub folder: TempDir,
    pub boot: u32,
}

impl TestHost {
    pub fn new() -> Self {
        Self {
            fakes: Fakes::new(&view(1)),
            folder: tempfile::tempdir().unwrap(),
            boot: 1,
        }
    }

    pub fn place(&self) -> Place {
        Place::Disk {
            folder: self.folder.path().join("state"),
            durability: Durability::Unsynced,
        }
    }

    /// An agent without an operator: the test stands in for it.
    pub fn start(&self) -> Agent {
        self.start_counting(&Metrics::default())
    }

    pub fn start_counting(&self, metrics: &Metrics) -> Agent {
        Agent::start(Parts {
            host: Arc::new(view(self.boot)),
            size: SizeOverride::default(),
            tools: self.fakes.tools(),
            place: self.place(),
            metrics: metrics.clone(),
            operator: None,
        })
        .unwrap()
    }

    pub fn reboot(&mut self) {
        self.fakes.reboot();
        self.boot += 1;
    }
}

pub fn view(boot: u32) -> HostView {
    let address = |text: &str| text.parse().unwrap();
    HostView {
        name: HostName::new("h1").unwrap(),
        roles: vec![Role::Compute, Role::Storage],
        accelerator: Accelerator::Tcg,
        addresses: HostAddresses {
            management: address("10.250.0.1"),
            storage: address("10.250.1.3"),
            overlay: address("10.250.2.1"),
        },
        portal: Some(Portal {
            address: address("10.250.1.3"),
            port: 3260,
        }),
        pools: BTreeMap::from([(
            PoolName::new("san").unwrap(),
            PoolConfig::Iscsi {
                folder: "/san".into(),
            },
        )]),
        edge: None,
        folders: Folders {
            state: "/state".into(),
            images: "/images".into(),
            seeds: "/seeds".into(),
            consoles: "/consoles".into(),
        },
        boot_id: format!("boot-{boot}"),
    }
}

/// An item of each kind for this host.
pub fn plan() -> Ledger {
    let text = include_bytes!("../../core/fixtures/ledger-v1.json");
    ledger::parse(&HostName::new("h1").unwrap(), text).unwrap()
}

pub fn upserts() -> Vec<Change> {
    let plan = plan();
    let items = plan.items.values();
    items
        .map(|item| Change::Upsert(Box::new(item.clone()), plan.sent[&item.key]))
        .collect()
}

pub fn releases() -> Vec<Change> {
    let plan = plan();
    let items = plan.items.values();
    items
        .map(|item| {
            Change::Release(Release {
                key: item.key,
                epoch: item.epoch,
                object: item.object.clone(),
                disposition: Disposition::Remove,
            })
        })
        .collect()
}

/// Waits until the host stands as told, or says how it stands when it does not.
pub async fn until(agent: &Agent, what: &str, holds: impl Fn(&Standing) -> bool) -> Arc<Standing> {
    let mut standing = agent.keeper.standing();
    let waiting = standing.wait_for(|standing| holds(standing));
    match tokio::time::timeout(DEADLINE, waiting).await {
        Ok(standing) => standing.unwrap().clone(),
        Err(_) => panic!("{what}: {:#?}", *agent.keeper.standing().borrow()),
    }
}

pub fn all_ready(standing: &Standing) -> bool {
    plan().items.keys().all(|key| is_ready(standing, key))
}

pub fn is_ready(standing: &Standing, key: &ItemKey) -> bool {
    let observation = standing.observations.get(key);
    observation.is_some_and(|o| o.state == ItemState::Ready)
}

pub fn all_released(standing: &Standing) -> bool {
    let plan = plan();
    plan.items.values().all(|item| {
        let released = standing.released.get(&item.key);
        released.is_some_and(|r| r.epoch >= item.epoch)
    })
}

/// What the machine carries, for comparing: guests that run, targets, files, namespaces.
#[derive(Debug, PartialEq, Eq)]
pub struct Carried {
    pub guests: usize,
    pub network: String,
}

pub fn carried(host: &TestHost) -> Carried {
    Carried {
        guests: host.fakes.hypervisor.running(),
        network: format!("{:?}", host.fakes.network.machine()),
    }
}
