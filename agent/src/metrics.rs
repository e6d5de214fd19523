//! What the agent counts. Labels come from closed sets, but for the volumes that machines here have
//! open, which go with them; many simulated agents share one registry,
//! and each takes its part of a gauge away when it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dc_agent_core::vm::meter::DiskCounts;
use dc_types::InstanceId;
use dc_types::plan::{ItemKey, ItemKind, Items};
use dc_types::report::{Detail, Guest, Observation};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pass {
    reconciler: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Disk {
    volume: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// How a session or a call ended, for a label.
pub type OutcomeName = &'static str;

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// Cheap to clone; clones count into the same registry.
#[derive(Clone)]
pub struct Metrics(Arc<Counted>);

struct Counted {
    registry: Registry,
    passes: Durations<Pass>,
    steps: Family<Pass, Counter>,
    guests: Family<State, Gauge>,
    items: Family<Kind, Gauge>,
    releases: Gauge,
    plan_lag: Histogram,
    connected: Gauge,
    sessions: Family<Outcome, Counter>,
    refused: Counter,
    disk_operations: Family<Disk, Counter>,
    disk_bytes: Family<Disk, Counter>,
}

/// From a millisecond to about half a minute.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut counted = Counted {
            registry: Registry::with_prefix("dc_agent"),
            passes: Family::new_with_constructor(durations as fn() -> Histogram),
            steps: Family::default(),
            guests: Family::default(),
            items: Family::default(),
            releases: Gauge::default(),
            plan_lag: durations(),
            connected: Gauge::default(),
            sessions: Family::default(),
            refused: Counter::default(),
            disk_operations: Family::default(),
            disk_bytes: Family::default(),
        };
        counted.register();
        Self(Arc::new(counted))
    }
}

impl Counted {
    fn register(&mut self) {
        let seconds = || Unit::Seconds;
        let registry = &mut self.registry;
        registry.register_with_unit(
            "reconcile_duration",
            "One look, diff and start of steps",
            seconds(),
            self.passes.clone(),
        );
        registry.register("steps", "Steps carried out", self.steps.clone());
        registry.register("guests", "Machines by state", self.guests.clone());
        registry.register("items", "Items of the plan held", self.items.clone());
        registry.register(
            "releases",
            "Releases not confirmed yet",
            self.releases.clone(),
        );
        registry.register_with_unit(
            "plan_lag",
            "From an item's arrival until it is as asked",
            seconds(),
            self.plan_lag.clone(),
        );
        registry.register(
            "sessions_connected",
            "Sessions with an operator",
            self.connected.clone(),
        );
        registry.register(
            "sessions_ended",
            "Sessions by how they ended",
            self.sessions.clone(),
        );
        registry.register(
            "items_refused",
            "Items that the host did not take",
            self.refused.clone(),
        );
        registry.register(
            "disk_operations",
            "Reads and writes of a volume by its machine here, as of the last look",
            self.disk_operations.clone(),
        );
        registry.register_with_unit(
            "disk",
            "Read and written of a volume by its machine here, as of the last look",
            Unit::Bytes,
            self.disk_bytes.clone(),
        );
    }
}

impl Metrics {
    /// The text for Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0.registry)
            .expect("writing to a String does not fail");
        text
    }

    pub fn pass(&self, reconciler: &'static str, result: &'static str, took: Duration) {
        self.0
            .passes
            .get_or_create(&Pass { reconciler, result })
            .observe(took.as_secs_f64());
    }

    pub fn step(&self, reconciler: &'static str, result: &'static str) {
        self.0
            .steps
            .get_or_create(&Pass { reconciler, result })
            .inc();
    }

    pub fn plan_lag(&self, lag: Duration) {
        self.0.plan_lag.observe(lag.as_secs_f64());
    }

    pub fn refused(&self, count: usize) {
        self.0.refused.inc_by(count as u64);
    }

    pub fn session_began(&self) {
        self.0.connected.inc();
    }

    pub fn session_ended(&self, outcome: OutcomeName) {
        self.0.connected.dec();
        self.call_ended(outcome);
    }

    /// A session that did not come to be.
    pub fn call_ended(&self, outcome: OutcomeName) {
        self.0.sessions.get_or_create(&Outcome { outcome }).inc();
    }

    /// One agent's share of the gauges.
    #[must_use]
    pub fn share(&self) -> Share {
        Share {
            metrics: self.clone(),
            counts: Mutex::default(),
        }
    }
}

/// What one agent adds to the gauges; gone when it is dropped.
pub struct Share {
    metrics: Metrics,
    counts: Mutex<Counts>,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    guests: BTreeMap<&'static str, i64>,
    items: BTreeMap<&'static str, i64>,
    releases: i64,
    disks: BTreeMap<InstanceId, DiskCounts>,
}

impl Share {
    pub fn set_plan(&self, items: &Items, releases: usize) {
        let mut counts = BTreeMap::new();
        for key in items.keys() {
            *counts.entry(kind_name(key.kind)).or_default() += 1;
        }
        let mut now = self.lock();
        let Counted {
            items, releases: r, ..
        } = &*self.metrics.0;
        move_gauges(&now.items, &counts, |kind, by| {
            items.get_or_create(&Kind { kind }).inc_by(by);
        });
        now.items = counts;
        let releases = i64::try_from(releases).unwrap_or(i64::MAX);
        r.inc_by(releases - now.releases);
        now.releases = releases;
    }

    pub fn set_guests(&self, observations: &BTreeMap<ItemKey, Observation>) {
        let mut counts = BTreeMap::new();
        for observation in observations.values() {
            if let Detail::Vm { guest, .. } = observation.detail {
                *counts.entry(guest_name(guest)).or_default() += 1;
            }
        }
        self.move_guests(counts);
    }

    /// What QEMU has counted of each volume that is open; those that are no longer are taken away.
    pub fn count_disks(&self, disks: BTreeMap<InstanceId, DiskCounts>) {
        let mut now = self.lock();
        let Counted {
            disk_operations,
            disk_bytes,
            ..
        } = &*self.metrics.0;
        let label = |volume: &InstanceId| Disk {
            volume: volume.to_string(),
        };
        for (volume, counts) in &disks {
            let DiskCounts { operations, bytes } = *counts;
            // One that went back is another QEMU's, which began at nothing.
            let before = now.disks.get(volume).copied().unwrap_or_default();
            let more = |is: u64, was: u64| is.checked_sub(was).unwrap_or(is);
            disk_operations
                .get_or_create(&label(volume))
                .inc_by(more(operations, before.operations));
            disk_bytes
                .get_or_create(&label(volume))
                .inc_by(more(bytes, before.bytes));
        }
        for gone in now
            .disks
            .keys()
            .filter(|volume| !disks.contains_key(volume))
        {
            disk_operations.remove(&label(gone));
            disk_bytes.remove(&label(gone));
        }
        now.disks = disks;
    }

    fn move_guests(&self, counts: BTreeMap<&'static str, i64>) {
        let mut now = self.lock();
        let guests = &self.metrics.0.guests;
        move_gauges(&now.guests, &counts, |state, by| {
            guests.get_or_create(&State { state }).inc_by(by);
        });
        now.guests = counts;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set_plan(&Items::new(), 0);
        self.move_guests(BTreeMap::new());
        self.count_disks(BTreeMap::new());
    }
}

/// Calls `inc_by` with the difference of each name that changed.
fn move_gauges(
    old: &BTreeMap<&'static str, i64>,
    new: &BTreeMap<&'static str, i64>,
    inc_by: impl Fn(&'static str, i64),
) {
    for (&name, &count) in new {
        inc_by(name, count - old.get(name).copied().unwrap_or(0));
    }
    for (&name, &count) in old {
        if !new.contains_key(name) {
            inc_by(name, -count);
        }
    }
}

fn kind_name(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Image => "image",
        ItemKind::Volume => "volume",
        ItemKind::Snapshot => "snapshot",
        ItemKind::Backup => "backup",
        ItemKind::Restore => "restore",
        ItemKind::Manifest => "manifest",
        ItemKind::Grant => "grant",
        ItemKind::Network => "network",
        ItemKind::Endpoint => "endpoint",
        ItemKind::Vm => "vm",
    }
}

fn guest_name(guest: Guest) -> &'static str {
    match guest {
        Guest::Absent => "absent",
        Guest::Starting => "starting",
        Guest::Running => "running",
        Guest::Paused => "paused",
        Guest::Stopping => "stopping",
        Guest::Stopped => "stopped",
        Guest::Crashed => "crashed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_types::Epoch;
    use dc_types::plan::ItemHash;
    use dc_types::report::ItemState;
    use uuid::Uuid;

    fn vm(id: u128, guest: Guest) -> (ItemKey, Observation) {
        let key = ItemKey::new(ItemKind::Vm, Uuid::from_u128(id));
        let observation = Observation {
            key,
            epoch: Epoch::default(),
            hash: ItemHash(0),
            state: ItemState::Ready,
            detail: Detail::Vm {
                held: None,
                moves: Vec::new(),
                used: Vec::new(),
                formatted: Vec::new(),
                probed: None,
                guest,
                last_stop: None,
                machine_type: None,
                started_at: None,
                restart: String::new(),
            },
        };
        (key, observation)
    }

    #[test]
    fn the_guests_of_several_agents_add_up_and_leave_with_them() {
        let metrics = Metrics::default();
        let (a, b) = (metrics.share(), metrics.share());
        a.set_guests(&BTreeMap::from([
            vm(1, Guest::Running),
            vm(2, Guest::Running),
        ]));
        b.set_guests(&BTreeMap::from([vm(3, Guest::Running)]));
        let running = "dc_agent_guests{state=\"running\"}";
        assert!(metrics.render().contains(&format!("{running} 3\n")));
        b.set_guests(&BTreeMap::from([vm(3, Guest::Crashed)]));
        drop(a);
        let text = metrics.render();
        assert!(text.contains(&format!("{running} 0\n")), "{text}");
        assert!(text.contains("dc_agent_guests{state=\"crashed\"} 1\n"));
    }

    #[test]
    fn every_metric_has_the_parts_prefix_and_its_unit() {
        let metrics = Metrics::default();
        metrics.pass("vm", "ok", Duration::from_millis(3));
        metrics.plan_lag(Duration::from_millis(3));
        let text = metrics.render();
        assert!(text.contains("dc_agent_reconcile_duration_seconds_bucket{"));
        assert!(text.contains("dc_agent_plan_lag_seconds_count 1"));
    }

    #[test]
    fn what_is_counted_of_a_volume_only_grows_and_goes_with_its_machine() {
        let metrics = Metrics::default();
        let share = metrics.share();
        let volume = InstanceId(Uuid::from_u128(7));
        let count = |operations, bytes| {
            share.count_disks(BTreeMap::from([(volume, DiskCounts { operations, bytes })]));
            metrics.render()
        };
        count(10, 4096);
        let text = count(15, 8192);
        let operations = format!("dc_agent_disk_operations_total{{volume=\"{volume}\"}} 15");
        assert!(text.contains(&operations), "{text}");
        let bytes = format!("dc_agent_disk_bytes_total{{volume=\"{volume}\"}} 8192");
        assert!(text.contains(&bytes), "{text}");
        // It was started anew.
        let text = count(2, 512);
        assert!(
            text.contains("} 17\n") && text.contains("} 8704\n"),
            "{text}"
        );
        drop(share);
        let text = metrics.render();
        assert!(!text.contains(&volume.to_string()), "{text}");
    }
}
