//! The work of a leader: every object is looked at whenever something it depends on has changed.
//!
//! One queue of keys for all kinds, a few workers; the five words of each kind are in its module:
//! `read` here, `validate`, `plan` and `status` in `dc-operator-core`, `apply` in [`settle`], which
//! is the same for all. Who is woken by what is in [`route`] and [`interest`].
//!
//! What always holds:
//! - A key is never looked at by two workers at once.
//! - Nothing is listed and nothing is searched for a change: wake-ups follow indexes.
//! - The boards are complete only when every department's network was projected in this term; only
//!   then is anything sent to hosts.
//! - When the term ends all of it is dropped; the stores stay warm for the next.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use dc_operator_core::network::Projection;
use dc_types::{DepartmentName, Term};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use std::collections::HashMap;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::events::Events;
use crate::logs;
use crate::metrics::ReconcileResult;
use crate::operator::Parts;
use crate::stores::{Key, Kind, Stores};

mod api;
mod backup;
mod backup_policy;
mod cephx;
mod chap;
mod class;
mod department;
mod host;
mod hosts;
mod image;
mod interest;
mod look;
mod machine_restore;
mod network;
mod pace;
mod pool;
mod proof;
mod queue;
mod quota;
mod readings;
mod repository;
mod request;
mod restore;
mod rewrap;
mod route;
mod settle;
mod showback;
mod snapshot;
mod status;
mod subnet;
mod system;
mod vm;
mod volume;
mod zone;

use queue::{Ended, Queue, spread};
use settle::{SettleError, Settled};

/// How many keys are looked at at once: most of a look is waiting for the API server or the ledger.
const WORKERS: usize = 16;

/// Everything is looked at again this often, in case something was missed. It costs no request when
/// nothing has changed.
const RESYNC: Duration = Duration::from_secs(900);

/// How long statuses that we wrote may be remembered after the watch has shown them.
const SWEEP: Duration = Duration::from_secs(5);

/// What all looks of one term share.
pub struct Context {
    pub parts: Parts,
    stores: Stores,
    events: Events,
    queue: Queue<Key>,
    interests: interest::Interests,
    hosts: hosts::Hosts,
    reports: status::Memory,
    pace: pace::Pace,
    wishes: quota::Wishes,
    made: api::Made,
    secrets: vm::Secrets,
    logins: repository::Logins,
    records: showback::Records,
    readings: readings::Readings,
    /// What was last put on the boards of each department.
    networks: Mutex<HashMap<DepartmentName, Projection>>,
    /// Departments whose network was not projected yet in this term; `None` when all were.
    unprojected: Mutex<Option<BTreeSet<Key>>>,
}

/// The controllers of one process. Cheap to clone.
#[derive(Clone)]
pub struct Controllers {
    stores: Stores,
}

impl Controllers {
    /// Begins to keep the stores; nothing is decided yet.
    #[must_use]
    pub fn start(client: &Client) -> Self {
        Self {
            stores: Stores::start(client),
        }
    }

    /// Works until the term is over. The boards must be empty when it begins.
    pub async fn lead(self, parts: Parts, term: Term) -> Result<()> {
        let leader = parts.leader.clone();
        let metrics = parts.metrics.clone();
        let work = async {
            parts.ledger.wait_good().await;
            self.stores.wait_read().await;
            tracing::info!(%term, "leading");
            work(self.stores.clone(), parts).await
        };
        let ended = tokio::select! {
            ended = work => ended,
            () = leader.wait_lost(term) => Ok(()),
        };
        metrics.forget_quotas();
        ended
    }
}

async fn work(stores: Stores, parts: Parts) -> Result<()> {
    let instance = parts.leader.address().unwrap_or_default();
    let context = Arc::new(Context {
        events: Events::start(parts.client.clone(), parts.metrics.clone(), &instance),
        parts,
        stores,
        queue: Queue::default(),
        interests: interest::Interests::default(),
        hosts: hosts::Hosts::default(),
        reports: status::Memory::default(),
        pace: pace::Pace::default(),
        wishes: quota::Wishes::default(),
        made: api::Made::default(),
        secrets: vm::Secrets::default(),
        logins: repository::Logins::default(),
        records: showback::Records::default(),
        readings: readings::Readings::default(),
        networks: Mutex::default(),
        unprojected: Mutex::new(Some(BTreeSet::new())),
    });
    let mut tasks = JoinSet::new();
    // Listens before the first look, so that nothing is missed in between.
    for task in route::tasks(&context) {
        tasks.spawn(task);
    }
    begin(&context);
    for _ in 0..WORKERS {
        tasks.spawn(worker(context.clone()));
    }
    tasks.spawn(resync(context.clone()));
    tasks.spawn(sweep(context.clone()));
    tasks.spawn(readings::serve(context.clone()));
    tasks.spawn(rewrap::serve(context.clone()));
    match tasks.join_next().await {
        Some(Err(error)) => Err(error.into()),
        Some(Ok(())) | None => anyhow::bail!("a task of the controllers has ended"),
    }
}

/// Wakes everything there is, networks first: the boards wait for them.
fn begin(context: &Arc<Context>) {
    for host in context.stores.hosts.keys(Kind::Host) {
        route::refresh_host(context, &host.name);
    }
    let networks = network::keys(context);
    {
        let mut unprojected = lock(&context.unprojected);
        *unprojected = Some(networks.iter().cloned().collect());
    }
    if networks.is_empty() {
        projected(context, None);
    }
    wake_all(context);
}

pub(crate) fn wake_all(context: &Context) {
    for key in network::keys(context) {
        context.queue.wake(key);
    }
    for key in context.stores.keys() {
        context.queue.wake(key);
    }
}

/// The network of a department is on the boards; when it was the last one, the boards are complete.
fn projected(context: &Context, key: Option<&Key>) {
    let mut unprojected = lock(&context.unprojected);
    let Some(waiting) = unprojected.as_mut() else {
        return;
    };
    if let Some(key) = key {
        waiting.remove(key);
    }
    if waiting.is_empty() {
        *unprojected = None;
        context.parts.board.complete();
        tracing::info!("the boards are complete");
    }
}

async fn sweep(context: Arc<Context>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        context.reports.sweep(|key| context.stores.version(key));
    }
}

async fn resync(context: Arc<Context>) {
    loop {
        tokio::time::sleep(spread(RESYNC)).await;
        wake_all(&context);
    }
}

async fn worker(context: Arc<Context>) {
    loop {
        let key = context.queue.next().await;
        let began = Instant::now();
        let span = logs::of_look(&context.stores, &key);
        let result = reconcile(&context, &key).instrument(span.clone()).await;
        let (label, ended) = match &result {
            Ok(settled) => (settled.result(), settled.ended),
            Err(SettleError::NotLeader) => (ReconcileResult::Waiting, Ended::Failed),
            Err(error) => {
                let error = anyhow::Error::msg(chain(error));
                span.in_scope(|| tracing::warn!("could not be looked after: {error:#}"));
                (ReconcileResult::Error, Ended::Failed)
            }
        };
        let took = began.elapsed();
        context
            .parts
            .metrics
            .reconciled(key.kind.name(), label, took);
        context.queue.done(key, ended);
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    match key.kind {
        Kind::Department => department::reconcile(context, key).await,
        Kind::Host => host::reconcile(context, key).await,
        Kind::Zone => zone::reconcile(context, key).await,
        Kind::Pool => pool::reconcile(context, key).await,
        Kind::Image => image::reconcile(context, key).await,
        Kind::Class => class::reconcile(context, key).await,
        Kind::System => system::reconcile(context, key).await,
        Kind::Subnet => subnet::reconcile(context, key).await,
        Kind::Volume => volume::reconcile(context, key).await,
        Kind::Snapshot => snapshot::reconcile(context, key).await,
        Kind::Vm => vm::reconcile(context, key).await,
        Kind::Request => request::reconcile(context, key).await,
        Kind::Approval => request::reconcile_approval(context, key).await,
        Kind::Policy => request::reconcile_policy(context, key).await,
        Kind::Repository => repository::reconcile(context, key).await,
        Kind::BackupPolicy => backup_policy::reconcile(context, key).await,
        Kind::Backup => backup::reconcile(context, key).await,
        Kind::Restore => restore::reconcile(context, key).await,
        Kind::MachineRestore => machine_restore::reconcile(context, key).await,
        Kind::Showback => showback::reconcile(context, key).await,
        Kind::Proof => proof::reconcile(context, key).await,
        Kind::Network => {
            let settled = network::reconcile(context, key);
            projected(context, Some(key));
            Ok(settled)
        }
    }
}

/// Now, as conditions write it.
fn now() -> String {
    time_text(Timestamp::now())
}

fn time_text(now: Timestamp) -> String {
    // Seconds are what Kubernetes' own conditions have.
    Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is kept this way is changed in one step each time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
