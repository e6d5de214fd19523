//! What Prometheus may know of the operator. Labels come from closed sets, or name hosts and pools.

mod backups;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dc_operator_core::quota::report::{self, Row};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::leader::Leader;
use crate::ledger::{Health, Ledger};
use crate::observed::Observed;
pub use backups::Backups;

mod guests;
mod keys;

use guests::{GUESTS, guest_name};
use keys::MasterKey;

/// From 1 ms, the least a reconcile with no I/O takes, to 33 s, when somebody should look.
const DURATIONS: (f64, f64, u16) = (0.001, 2.0, 16);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reconcile {
    /// A kind of ours, such as `VirtualMachine`.
    pub kind: &'static str,
    pub result: ReconcileResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ReconcileResult {
    /// As asked.
    Ready,
    /// Waiting for something that comes by itself.
    Waiting,
    /// Refused: a person must change something.
    Refused,
    /// We could not do our job.
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ApiWrite {
    pub kind: &'static str,
    /// `apply`, `patch_status`, `delete`, `event` …
    pub verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Department {
    pub department: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    pub outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    pub kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct State {
    pub state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HostAmount {
    pub host: String,
    /// `total`, `promised` or `available`.
    pub amount: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PoolAmount {
    pub pool: String,
    /// `total`, `promised`, `used` or `orphaned`.
    pub amount: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QuotaAmount {
    pub department: String,
    /// As in the status of Departments: `vcpus`, `memory`, `storage/<class>` …
    pub resource: String,
    /// `used`, `reserved` or `limit`; no limit, no such line.
    pub amount: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PoolName {
    pub pool: String,
}

/// Cheap to clone; all clones count into one.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconcile: Family<Reconcile, Histogram>,
    api_writes: Family<ApiWrite, Counter>,
    commits: Family<Outcome, Counter>,
    plan_lag: Histogram,
    joins: Family<Outcome, Counter>,
    refused: Family<Reason, Counter>,
    orphans: Family<Kind, Counter>,
    sessions: Gauge,
    leading: Gauge,
    ledger_trusted: Gauge,
    claims: Family<Kind, Gauge>,
    guests: Family<State, Gauge>,
    host_vcpus: Family<HostAmount, Gauge>,
    host_memory: Family<HostAmount, Gauge>,
    pool: Family<PoolAmount, Gauge>,
    quota: Family<QuotaAmount, Gauge>,
    /// What was shown last of each department, so that a line that is gone is taken away.
    quota_shown: Arc<Mutex<HashMap<String, Vec<QuotaAmount>>>>,
    pub backups: Backups,
    pool_orphans: Family<PoolName, Gauge>,
    pool_usable: Family<PoolName, Gauge>,
    volume_keys: Family<MasterKey, Gauge>,
}

fn durations() -> Histogram {
    let (first, factor, count) = DURATIONS;
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(
        first, factor, count,
    ))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("dc_operator");
        let r = &mut registry;
        let metrics = Self {
            reconcile: Family::new_with_constructor(durations),
            api_writes: Family::default(),
            commits: Family::default(),
            plan_lag: durations(),
            joins: Family::default(),
            refused: Family::default(),
            orphans: Family::default(),
            sessions: Gauge::default(),
            leading: Gauge::default(),
            ledger_trusted: Gauge::default(),
            claims: Family::default(),
            guests: Family::default(),
            host_vcpus: Family::default(),
            host_memory: Family::default(),
            pool: Family::default(),
            quota: Family::default(),
            quota_shown: Arc::default(),
            backups: Backups::default(),
            pool_orphans: Family::default(),
            pool_usable: Family::default(),
            volume_keys: Family::default(),
            registry: Arc::default(),
        };
        let m = &metrics;
        r.register_with_unit(
            "reconcile_duration",
            "Time to reconcile one object",
            Unit::Seconds,
            m.reconcile.clone(),
        );
        r.register(
            "api_writes",
            "Writes to the Kubernetes API",
            m.api_writes.clone(),
        );
        r.register(
            "ledger_commits",
            "Transactions of the ledger",
            m.commits.clone(),
        );
        r.register_with_unit(
            "plan_lag",
            "From a change of a host's plan to its being on that host's disk",
            Unit::Seconds,
            m.plan_lag.clone(),
        );
        r.register("joins", "Join and renewal requests", m.joins.clone());
        r.register(
            "session_refusals",
            "Sessions and reports that were refused",
            m.refused.clone(),
        );
        r.register(
            "unplanned_items",
            "Items found at hosts that neither plan nor ledger knows; they are left alone",
            m.orphans.clone(),
        );
        r.register("sessions", "Hosts that are connected", m.sessions.clone());
        r.register("leading", "1 while this operator leads", m.leading.clone());
        r.register(
            "ledger_trusted",
            "1 while the ledger is whole and believed",
            m.ledger_trusted.clone(),
        );
        r.register("claims", "Claims in the ledger", m.claims.clone());
        r.register("guests", "Guests of connected hosts", m.guests.clone());
        r.register("host_vcpus", "vCPUs of a host", m.host_vcpus.clone());
        r.register_with_unit(
            "host_memory",
            "Memory of a host",
            Unit::Bytes,
            m.host_memory.clone(),
        );
        r.register_with_unit("pool_size", "Storage pools", Unit::Bytes, m.pool.clone());
        r.register(
            "quota_amount",
            "What departments use, wait for and may use: counts, or bytes; told by the leader",
            m.quota.clone(),
        );
        m.backups.register(r);
        r.register(
            "pool_orphans",
            "What lies in a pool and nobody claims",
            m.pool_orphans.clone(),
        );
        r.register(
            "pool_usable",
            "1 while a pool's host says nothing against its use",
            m.pool_usable.clone(),
        );
        r.register(
            "volume_keys",
            "Keys of encrypted volumes by the master key that wraps them; told by the leader",
            m.volume_keys.clone(),
        );
        Self {
            registry: Arc::new(registry),
            ..metrics
        }
    }
}

impl Metrics {
    pub fn reconciled(&self, kind: &'static str, result: ReconcileResult, took: Duration) {
        self.reconcile
            .get_or_create(&Reconcile { kind, result })
            .observe(took.as_secs_f64());
    }

    pub fn wrote(&self, kind: &'static str, verb: &'static str) {
        self.api_writes
            .get_or_create(&ApiWrite { kind, verb })
            .inc();
    }

    pub fn committed(&self, outcome: &'static str) {
        self.commits.get_or_create(&Outcome { outcome }).inc();
    }

    pub fn plan_accepted(&self, lag: Duration) {
        self.plan_lag.observe(lag.as_secs_f64());
    }

    pub fn joined(&self, outcome: &'static str) {
        self.joins.get_or_create(&Outcome { outcome }).inc();
    }

    pub fn session_refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    pub fn found_unplanned(&self, kind: &'static str) {
        self.orphans.get_or_create(&Kind { kind }).inc();
    }

    /// Shows how one department stands with its quota.
    pub fn quota(&self, department: &str, rows: &[Row]) {
        let amounts = rows.iter().flat_map(|row| {
            let resource = report::name(&row.thing);
            let label = move |amount| QuotaAmount {
                department: department.to_owned(),
                resource: resource.clone(),
                amount,
            };
            let limit = row.limit.map(|limit| (label("limit"), limit));
            let seen = [(label("used"), row.used), (label("reserved"), row.reserved)];
            seen.into_iter().chain(limit)
        });
        let amounts: Vec<(QuotaAmount, u64)> = amounts.collect();
        let mut shown = lock(&self.quota_shown);
        let labels: Vec<QuotaAmount> = amounts.iter().map(|(label, _)| label.clone()).collect();
        let before = shown.insert(department.to_owned(), labels.clone());
        for gone in before.into_iter().flatten() {
            if !labels.contains(&gone) {
                self.quota.remove(&gone);
            }
        }
        for (label, amount) in amounts {
            self.quota.get_or_create(&label).set(signed(amount));
        }
    }

    /// A department is gone.
    pub fn forget_quota(&self, department: &str) {
        self.backups.forget_department(department);
        for gone in lock(&self.quota_shown)
            .remove(department)
            .unwrap_or_default()
        {
            self.quota.remove(&gone);
        }
    }

    /// No department is known to this operator any more: it does not lead.
    pub fn forget_quotas(&self) {
        lock(&self.quota_shown).clear();
        self.quota.clear();
        self.backups.clear();
        self.volume_keys.clear();
    }

    /// The whole text, with what is counted at the moment of asking.
    pub fn render(&self, ledger: &Ledger, leader: &Leader, observed: &Observed) -> String {
        self.measure_claims(ledger, observed);
        self.sessions
            .set(observed.connected().try_into().unwrap_or(i64::MAX));
        self.leading.set(leader.term().is_some().into());
        self.ledger_trusted
            .set((ledger.health() == Health::Good).into());
        let guests = observed.guests();
        for guest in GUESTS {
            let state = guest_name(guest);
            let count = guests.get(&guest).copied().unwrap_or_default();
            self.guests
                .get_or_create(&State { state })
                .set(signed(count));
        }
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn measure_claims(&self, ledger: &Ledger, observed: &Observed) {
        let facts = observed.all_facts();
        self.host_vcpus.clear();
        self.host_memory.clear();
        self.pool.clear();
        self.pool_orphans.clear();
        self.pool_usable.clear();
        ledger.with_claims(|claims| {
            for (kind, count) in [
                ("vm", claims.vms.len()),
                ("volume", claims.volumes.len()),
                ("move", claims.moves.len()),
                ("attachment", claims.attachments.len()),
                ("key", claims.keys.len()),
                ("destroyed", claims.destroyed.len()),
                ("snapshot", claims.snapshots.len()),
                ("hold", claims.holds.len()),
                ("backup", claims.backups.len()),
                ("restore", claims.restores.len()),
                ("manifest", claims.manifests.len()),
                ("erased", claims.erased.len()),
                ("subnet", claims.subnets.len()),
                ("release", claims.releases.len()),
                ("held", claims.held.len()),
            ] {
                self.claims
                    .get_or_create(&Kind { kind })
                    .set(signed(count as u64));
            }
            for (host, facts) in &facts {
                let promise = claims.promised_on(host);
                let vcpus = |amount, n| set_host(&self.host_vcpus, host.as_str(), amount, n);
                vcpus("total", u64::from(facts.vcpus));
                vcpus("promised", promise.vcpus);
                let memory = |amount, mib: u64| {
                    set_host(&self.host_memory, host.as_str(), amount, mib << 20)
                };
                memory("total", facts.memory.0);
                memory("available", facts.memory_available.0);
                memory("promised", promise.memory.0);
                for pool in &facts.pools {
                    let set = |amount, bytes| {
                        let pool = pool.pool.to_string();
                        let gauge = self
                            .pool
                            .get_or_create(&PoolAmount { pool, amount })
                            .clone();
                        gauge.set(signed(bytes));
                    };
                    set("total", pool.capacity.0);
                    set("used", pool.used.0);
                    set("promised", claims.promised_in(&pool.pool).0);
                    set("orphaned", pool.orphans.iter().map(|o| o.size.0).sum());
                    let name = PoolName {
                        pool: pool.pool.to_string(),
                    };
                    let orphans = pool.orphans.len() as u64;
                    let gauge = self.pool_orphans.get_or_create(&name).clone();
                    gauge.set(signed(orphans));
                    let gauge = self.pool_usable.get_or_create(&name).clone();
                    gauge.set(i64::from(pool.fault.is_none()));
                }
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is kept this way is changed in one step each time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_host(family: &Family<HostAmount, Gauge>, host: &str, amount: &'static str, value: u64) {
    let host = host.to_owned();
    family
        .get_or_create(&HostAmount { host, amount })
        .set(signed(value));
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
