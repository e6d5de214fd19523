//! The loop of one reconciler: look, say how things stand, do what is missing, look again.
//!
//! ```text
//!   plan changed · host event · time passed · steps done
//!        │
//!        ▼
//!      read ──▶ plan ──▶ status ──▶ keeper
//!                 │
//!                 └──▶ lanes: the steps of one id in their order, several ids at a time
//! ```
//!
//! A wake-up carries no data: the loop looks again. A failed step skips the rest of its key, which
//! is tried again after a pause; other keys go on. Steps that take long (an image, an erasure, a
//! hanging tool) stay in flight: their id is left out of further plans until they are done, and
//! after [`PATIENCE`] they no longer hold back others.
//!
//! What always holds: no id is worked on twice at the same time. Nothing is remembered that could
//! not be seen again, so that the loop may end at any point.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dc_agent_core::backoff::{self, Asked, Failures};
use dc_agent_core::vm::meter::DiskCounts;
use dc_agent_core::{Status, Wanted, WantedOwned};
use dc_host::Tools;
use dc_types::InstanceId;
use dc_types::plan::{ItemKey, ItemKind};
use dc_types::report::{Detail, ItemState, Observation, PoolFacts, Trouble};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, info, warn};
use uuid::Uuid;

use crate::keeper::{Keeper, Look};
use crate::logs;
use crate::metrics::Metrics;

/// One vertical, as the loop sees it.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    type Seen: Send + Sync;
    type Step: Debug + Send + Sync;

    const NAME: &'static str;
    /// The kinds it answers for.
    const KINDS: &'static [ItemKind];
    /// The kinds whose change wakes it.
    const LOOKS_AT: &'static [ItemKind];
    /// Whether it waits for what others say is ready.
    const WAITS_FOR_READY: bool;
    /// How many ids it works on at a time.
    const LANES: usize;

    fn key(step: &Self::Step) -> ItemKey;
    /// For logs, from a closed set.
    fn name(step: &Self::Step) -> &'static str;
    async fn read(tools: &Tools, wanted: &WantedOwned) -> Result<Self::Seen, Trouble>;
    fn plan(wanted: &Wanted<'_>, seen: &Self::Seen) -> Vec<Self::Step>;
    fn status(
        wanted: &Wanted<'_>,
        seen: &Self::Seen,
        troubles: &BTreeMap<ItemKey, Trouble>,
        busy: &BTreeSet<ItemKey>,
    ) -> Status;
    async fn apply(tools: &Tools, step: &Self::Step) -> Result<(), Trouble>;

    /// When to look again because of time alone, if earlier than the timer.
    fn next_look(_wanted: &Wanted<'_>, _seen: &Self::Seen) -> Option<Duration> {
        None
    }

    /// What was counted of the volumes that machines here have open.
    fn disks(_wanted: &Wanted<'_>, _seen: &Self::Seen) -> Option<BTreeMap<InstanceId, DiskCounts>> {
        None
    }

    /// What was seen of storage pools.
    fn pools(_wanted: &Wanted<'_>, _seen: &Self::Seen) -> Option<Vec<PoolFacts>> {
        None
    }
}

/// Without any event the host is looked at this often, so that what changed behind our back is
/// found; spread by a quarter so that hosts do not look in step.
pub const TIMER: Duration = Duration::from_secs(30);

/// Steps that take longer no longer keep others from starting.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A look that takes longer has failed.
const READ_DEADLINE: Duration = Duration::from_secs(60);

/// A tool may be away for so long, as when its daemon restarts, before it is told of.
const GRACE: Duration = Duration::from_secs(5);

/// Steps that end together are followed by one look.
const GATHER: Duration = Duration::from_millis(10);

/// What the loop is given.
pub struct Surroundings {
    pub tools: Tools,
    pub keeper: Arc<Keeper>,
    pub metrics: Metrics,
    /// Host events: something has changed, look again.
    pub wake: Arc<Notify>,
    pub pools: watch::Sender<Vec<PoolFacts>>,
    /// How often this loop has looked.
    pub looks: watch::Sender<u64>,
    pub stop: CancellationToken,
}

/// The steps of one id, to be done in order.
struct Lane<R: Reconciler> {
    id: Uuid,
    /// What its lines in the log are about.
    span: Span,
    asked: BTreeMap<ItemKey, Asked>,
    steps: Vec<R::Step>,
}

struct Done {
    id: Uuid,
    /// Each key of the lane, what was asked, and how it ended.
    keys: Vec<(ItemKey, Asked, Result<(), Trouble>)>,
}

struct Flight {
    since: Instant,
    keys: BTreeSet<ItemKey>,
}

struct Loop<R: Reconciler> {
    around: Surroundings,
    started: Instant,
    failures: Failures,
    flights: BTreeMap<Uuid, Flight>,
    running: JoinSet<Done>,
    queue: VecDeque<Lane<R>>,
    /// Since when looking has failed, and how often.
    blind: Option<(Instant, u32)>,
}

/// Runs until told to stop. Steps in flight are then dropped where they stand.
pub async fn run<R: Reconciler>(around: Surroundings) {
    let mut plan = around.keeper.plan();
    let stop = around.stop.clone();
    let mut this = Loop::<R> {
        around,
        started: Instant::now(),
        failures: Failures::default(),
        flights: BTreeMap::new(),
        running: JoinSet::new(),
        queue: VecDeque::new(),
        blind: None,
    };
    loop {
        let wanted = plan.borrow_and_update().clone();
        let again = tokio::select! {
            again = this.pass(&wanted) => again,
            () = stop.cancelled() => return,
        };
        this.around.looks.send_modify(|looks| *looks += 1);
        tokio::select! {
            () = this.wait(&wanted, &mut plan, again) => {}
            () = stop.cancelled() => return,
        }
    }
}

impl<R: Reconciler> Loop<R> {
    /// One look. Answers when to look again at the latest.
    async fn pass(&mut self, wanted: &WantedOwned) -> Duration {
        let began = Instant::now();
        let read = tokio::time::timeout(READ_DEADLINE, R::read(&self.around.tools, wanted));
        let seen = match read.await {
            Ok(Ok(seen)) => seen,
            Ok(Err(trouble)) => return self.blind(wanted, trouble, began).await,
            Err(_) => {
                let trouble = Trouble {
                    reason: "LookTimedOut".to_owned(),
                    message: format!(
                        "looking at the host's {} took longer than {} s: one of its tools hangs",
                        R::NAME,
                        READ_DEADLINE.as_secs()
                    ),
                };
                return self.blind(wanted, trouble, began).await;
            }
        };
        self.blind = None;
        let view = wanted.as_wanted();
        if let Some(pools) = R::pools(&view, &seen) {
            self.around.pools.send_if_modified(|old| {
                let changed = *old != pools;
                *old = pools;
                changed
            });
        }
        if let Some(disks) = R::disks(&view, &seen) {
            self.around.keeper.count_disks(disks);
        }
        self.enqueue(&view, R::plan(&view, &seen));
        let troubles = self.failures.troubles();
        let status = R::status(&view, &seen, &troubles, &self.busy());
        let look = Look {
            kinds: R::KINDS,
            status,
            troubles,
        };
        self.around.keeper.stand(look).await;
        self.launch();
        self.around.metrics.pass(R::NAME, "ok", began.elapsed());
        self.next_look(R::next_look(&view, &seen))
    }

    /// Looking failed: nothing is done, and after a while everything is said to be unknown.
    async fn blind(&mut self, wanted: &WantedOwned, trouble: Trouble, began: Instant) -> Duration {
        self.around.metrics.pass(R::NAME, "blind", began.elapsed());
        let (since, times) = self.blind.unwrap_or((began, 0));
        self.blind = Some((since, times + 1));
        warn!(
            host = %wanted.host.name, reconciler = R::NAME, reason = %trouble.reason, times,
            "cannot look: {}", trouble.message
        );
        if since.elapsed() >= GRACE {
            let status = unknown(&wanted.as_wanted(), R::KINDS, &trouble);
            let look = Look {
                kinds: R::KINDS,
                status,
                troubles: BTreeMap::new(),
            };
            self.around.keeper.stand(look).await;
        }
        backoff::pause(times + 1).min(TIMER)
    }

    fn next_look(&self, of_vertical: Option<Duration>) -> Duration {
        // Three quarters to five quarters of the timer.
        let spread = u32::from(Uuid::new_v4().as_bytes()[0]);
        let timer = TIMER * (384 + spread) / 512;
        let now = self.started.elapsed();
        let retry = self.failures.next_try(now).map(|at| at - now);
        [Some(timer), of_vertical, retry]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(timer)
    }

    /// Replaces what waits to be done by what is missing now.
    fn enqueue(&mut self, wanted: &Wanted<'_>, steps: Vec<R::Step>) {
        let mut asked: BTreeMap<ItemKey, Asked> = BTreeMap::new();
        for step in &steps {
            let key = R::key(step);
            asked
                .entry(key)
                .or_insert_with(|| fingerprint(wanted, &key));
        }
        // A key that nothing is missing of has recovered, by itself or by us.
        let flights = &self.flights;
        self.failures
            .retain(|key| asked.contains_key(key) || flights.contains_key(&key.id));
        let now = self.started.elapsed();
        let mut lanes: Vec<Lane<R>> = Vec::new();
        let mut place: BTreeMap<Uuid, usize> = BTreeMap::new();
        for step in steps {
            let key = R::key(&step);
            let what = asked[&key];
            if self.flights.contains_key(&key.id) || !self.failures.may_try(&key, what, now) {
                continue;
            }
            let at = *place.entry(key.id).or_insert_with(|| {
                lanes.push(Lane {
                    id: key.id,
                    span: logs::of_steps(R::NAME, wanted, &key),
                    asked: BTreeMap::new(),
                    steps: Vec::new(),
                });
                lanes.len() - 1
            });
            lanes[at].asked.insert(key, what);
            lanes[at].steps.push(step);
        }
        self.queue = lanes.into();
    }

    fn busy(&self) -> BTreeSet<ItemKey> {
        let flying = self.flights.values().flat_map(|f| f.keys.iter().copied());
        let waiting = self.queue.iter().flat_map(|l| l.asked.keys().copied());
        flying.chain(waiting).collect()
    }

    /// Starts what waits, as far as there is room.
    fn launch(&mut self) {
        let young = |f: &&Flight| f.since.elapsed() < PATIENCE;
        let mut room = R::LANES.saturating_sub(self.flights.values().filter(young).count());
        while room > 0
            && let Some(lane) = self.queue.pop_front()
        {
            room -= 1;
            let flight = Flight {
                since: Instant::now(),
                keys: lane.asked.keys().copied().collect(),
            };
            self.flights.insert(lane.id, flight);
            let tools = self.around.tools.clone();
            let metrics = self.around.metrics.clone();
            let span = lane.span.clone();
            self.running
                .spawn(run_lane::<R>(lane, tools, metrics).instrument(span));
        }
    }

    /// Waits until there is a reason to look again; meanwhile lanes end and others start.
    async fn wait(
        &mut self,
        wanted: &WantedOwned,
        plan: &mut watch::Receiver<WantedOwned>,
        again: Duration,
    ) {
        let until = tokio::time::Instant::now() + again;
        let mut gather: Option<tokio::time::Instant> = None;
        loop {
            let patience = self.patience();
            let wake = [Some(until), gather, patience].into_iter().flatten().min();
            let wake = wake.unwrap_or(until);
            tokio::select! {
                Some(done) = self.running.join_next() => {
                    self.landed(done);
                    self.launch();
                    if self.flights.is_empty() {
                        return;
                    }
                    if self.queue.is_empty() && gather.is_none() {
                        gather = Some(tokio::time::Instant::now() + GATHER);
                    }
                }
                changed = plan.changed() => {
                    let matters = changed.is_ok() && matters::<R>(wanted, &plan.borrow());
                    if matters {
                        return;
                    }
                }
                () = self.around.wake.notified() => return,
                () = tokio::time::sleep_until(wake) => {
                    if patience.is_some_and(|p| p <= wake) {
                        self.launch();
                    }
                    if Some(wake) == gather || wake == until {
                        return;
                    }
                }
            }
        }
    }

    /// When the next flight is old enough to make room for what waits.
    fn patience(&self) -> Option<tokio::time::Instant> {
        if self.queue.is_empty() {
            return None;
        }
        let ends = self.flights.values().map(|f| f.since + PATIENCE);
        let now = Instant::now();
        ends.filter(|&end| end > now)
            .min()
            .map(tokio::time::Instant::from_std)
    }

    fn landed(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let Done { id, keys } = done.expect("a step does not panic");
        self.flights.remove(&id);
        let now = self.started.elapsed();
        for (key, asked, outcome) in keys {
            match outcome {
                Ok(()) => self.failures.succeeded(&key),
                Err(trouble) => self.failures.failed(key, asked, now, trouble),
            }
        }
    }
}

/// Does the steps of one id. A failure skips what is left of its key.
async fn run_lane<R: Reconciler>(lane: Lane<R>, tools: Tools, metrics: Metrics) -> Done {
    let Lane {
        id,
        span: _,
        asked,
        steps,
    } = lane;
    let mut done: Vec<&str> = Vec::new();
    let lane_began = Instant::now();
    let mut failed: BTreeMap<ItemKey, Trouble> = BTreeMap::new();
    for step in &steps {
        let key = R::key(step);
        if failed.contains_key(&key) {
            continue;
        }
        let began = Instant::now();
        match R::apply(&tools, step).await {
            Ok(()) => {
                debug!(%key, took = ?began.elapsed(), "{step:?}");
                done.push(R::name(step));
                metrics.step(R::NAME, "ok");
            }
            Err(trouble) => {
                info!(
                    %key, step = R::name(step), reason = %trouble.reason,
                    "step failed: {}", trouble.message
                );
                metrics.step(R::NAME, "failed");
                failed.insert(key, trouble);
            }
        }
    }
    if !done.is_empty() {
        let took_ms = u64::try_from(lane_began.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(steps = done.join(" "), took_ms, "done");
    }
    let keys = asked.into_iter().map(|(key, what)| {
        let outcome = failed.remove(&key).map_or(Ok(()), Err);
        (key, what, outcome)
    });
    Done {
        id,
        keys: keys.collect(),
    }
}

/// Tells one thing that a key was asked from the next.
fn fingerprint(wanted: &Wanted<'_>, key: &ItemKey) -> Asked {
    let mut hasher = DefaultHasher::new();
    if let Some(item) = wanted.items.get(key) {
        item.hash().hash(&mut hasher);
    }
    if let Some(release) = wanted.releases.get(key) {
        (release.epoch, release.disposition as u8).hash(&mut hasher);
    }
    hasher.finish()
}

/// Whether a change of the plan is one that this reconciler looks at.
fn matters<R: Reconciler>(old: &WantedOwned, new: &WantedOwned) -> bool {
    if R::WAITS_FOR_READY && old.ready != new.ready {
        return true;
    }
    let (old, new) = (old.as_wanted(), new.as_wanted());
    R::LOOKS_AT.iter().any(|&kind| {
        !old.of_kind(kind).eq(new.of_kind(kind))
            || !old.releases_of_kind(kind).eq(new.releases_of_kind(kind))
    })
}

/// Unknown is not healthy: everything of these kinds has failed for the same reason.
fn unknown(wanted: &Wanted<'_>, kinds: &[ItemKind], trouble: &Trouble) -> Status {
    let items = kinds.iter().flat_map(|&kind| wanted.of_kind(kind));
    let observations = items.map(|item| Observation {
        key: item.key,
        epoch: item.epoch,
        hash: item.hash(),
        state: ItemState::Failed(trouble.clone()),
        detail: Detail::None,
    });
    Status {
        observations: observations.collect(),
        released: Vec::new(),
    }
}
