//! One agent: its keeper, its reconcilers, its facts and its session, as tasks that start
//! and end together. Real and simulated hosts run the same.

use std::sync::Arc;
use std::time::Duration;

use dc_agent_core::HostView;
use dc_host::Tools;
use dc_types::HostName;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::SizeOverride;
use crate::identity::IdentityStore;
use crate::keeper::{Keeper, KeeperError, Place};
use crate::metrics::Metrics;
use crate::reconciler::{self, Reconciler};
use crate::verticals::{Backup, Network, Storage, Vm};
use crate::{facts, session};

/// What an agent is made of.
pub struct Parts {
    pub host: Arc<HostView>,
    pub size: SizeOverride,
    pub tools: Tools,
    pub place: Place,
    pub metrics: Metrics,
    /// Whom to talk to; nobody in tests that stand in for the operator.
    pub operator: Option<Operator>,
}

pub struct Operator {
    pub addresses: Vec<String>,
    pub identity: IdentityStore,
}

/// A running agent; its tasks end when it is dropped.
pub struct Agent {
    pub host: HostName,
    pub keeper: Arc<Keeper>,
    pub health: Health,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// How an agent does, for whoever supervises it.
#[derive(Clone)]
pub struct Health {
    looks: [(&'static str, watch::Receiver<u64>); 4],
    connected: watch::Receiver<bool>,
}

impl Health {
    /// What has not been looked at once yet; ready when this is empty.
    #[must_use]
    pub fn waits_for(&self) -> Vec<&'static str> {
        let unseen = self.looks.iter().filter(|(_, looks)| *looks.borrow() == 0);
        unseen.map(|(name, _)| *name).collect()
    }

    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }
}

impl Agent {
    /// Reads the ledger and starts the tasks.
    pub fn start(parts: Parts) -> Result<Self, KeeperError> {
        let Parts {
            host,
            size,
            tools,
            place,
            metrics,
            operator,
        } = parts;
        let keeper = Arc::new(Keeper::open(host.clone(), place, metrics.clone())?);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let pools = watch::Sender::default();
        let start = Start {
            tools: &tools,
            keeper: &keeper,
            metrics: &metrics,
            pools: &pools,
            stop: &stop,
        };
        let machines = Arc::new(Notify::new());
        tasks.spawn(follow_hypervisor(
            tools.clone(),
            machines.clone(),
            stop.clone(),
        ));
        let storage = Arc::new(Notify::new());
        if !host.pools.is_empty() {
            tasks.spawn(follow_pools(tools.clone(), storage.clone(), stop.clone()));
        }
        let runs = Arc::new(Notify::new());
        tasks.spawn(follow_runs(tools.clone(), runs.clone(), stop.clone()));
        let looks = [
            (
                Storage::NAME,
                start.reconciler::<Storage>(&mut tasks, storage),
            ),
            (Backup::NAME, start.reconciler::<Backup>(&mut tasks, runs)),
            (
                Network::NAME,
                start.reconciler::<Network>(&mut tasks, Arc::default()),
            ),
            (Vm::NAME, start.reconciler::<Vm>(&mut tasks, machines)),
        ];
        let configured = facts::configured(&host, size);
        let facts = watch::Sender::new(Arc::new(configured));
        let current = facts.subscribe();
        tasks.spawn(facts::run(facts::Surroundings {
            host: host.clone(),
            size,
            tools,
            pools: pools.subscribe(),
            facts,
            stop: stop.clone(),
        }));
        let connected = watch::Sender::new(false);
        let health = Health {
            looks,
            connected: connected.subscribe(),
        };
        if let Some(Operator {
            addresses,
            identity,
        }) = operator
        {
            tasks.spawn(session::run(session::Surroundings {
                host: host.clone(),
                keeper: keeper.clone(),
                identity,
                operators: addresses,
                facts: current,
                metrics,
                connected,
                stop: stop.clone(),
            }));
        }
        Ok(Self {
            host: host.name.clone(),
            keeper,
            health,
            stop,
            tasks,
        })
    }

    /// Resolves when a task has ended that should not have: a fault of ours.
    pub async fn failed(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Err(error)) => format!("a task of host {} panicked: {error}", self.host),
            Some(Ok(())) => format!("a task of host {} ended", self.host),
            None => format!("no task of host {} is left", self.host),
        }
    }

    /// Ends the session properly and all else where it stands; guests are not touched.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What every reconciler is started with.
struct Start<'a> {
    tools: &'a Tools,
    keeper: &'a Arc<Keeper>,
    metrics: &'a Metrics,
    pools: &'a watch::Sender<Vec<dc_types::report::PoolFacts>>,
    stop: &'a CancellationToken,
}

impl Start<'_> {
    fn reconciler<R: Reconciler>(
        &self,
        tasks: &mut JoinSet<()>,
        wake: Arc<Notify>,
    ) -> watch::Receiver<u64> {
        let looks = watch::Sender::new(0);
        let counted = looks.subscribe();
        tasks.spawn(reconciler::run::<R>(reconciler::Surroundings {
            tools: self.tools.clone(),
            keeper: self.keeper.clone(),
            metrics: self.metrics.clone(),
            wake,
            pools: self.pools.clone(),
            looks,
            stop: self.stop.clone(),
        }));
        counted
    }
}

/// Wakes the machines' reconciler when a domain may have changed; a hypervisor that never says
/// anything leaves it to the timer.
async fn follow_hypervisor(tools: Tools, wake: Arc<Notify>, stop: CancellationToken) {
    let mut changes = tools.hypervisor.changes();
    loop {
        tokio::select! {
            Ok(()) = changes.changed() => wake.notify_one(),
            () = stop.cancelled() => return,
        }
    }
}

/// How long runs may take to remove their locks; those that take longer are cut off, and go on at
/// the next start.
const STOPPING: Duration = Duration::from_secs(10);

/// Wakes the backups' reconciler when a run has ended, and ends them all with the agent.
async fn follow_runs(tools: Tools, wake: Arc<Notify>, stop: CancellationToken) {
    let mut changes = tools.runs.changes();
    loop {
        tokio::select! {
            Ok(()) = changes.changed() => wake.notify_one(),
            () = stop.cancelled() => break,
        }
    }
    let stopped = tokio::time::timeout(STOPPING, tools.runs.stop()).await;
    if stopped.is_err() {
        tracing::warn!("a backup or restore does not stop in time, and is cut off");
    }
}

/// Wakes the storage reconciler when a pool's grants may have changed by themselves.
async fn follow_pools(tools: Tools, wake: Arc<Notify>, stop: CancellationToken) {
    let follow = tools.drivers.iter().map(|(_, driver)| driver.follow(&wake));
    tokio::select! {
        _ = futures::future::join_all(follow) => stop.cancelled().await,
        () = stop.cancelled() => {}
    }
}
