//! Metrics of backups. They are gauges of what the records say, made anew at each look: a restart or
//! another leader counts nothing twice and loses nothing.

use dc_operator_core::backup_policy::Progress;
use dc_operator_core::backup_policy::watched::LastRuns;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Department, signed};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Policy {
    policy: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyAmount {
    policy: String,
    /// One of [`MACHINES`], or of [`BYTES`].
    amount: &'static str,
}

const MACHINES: [&str; 7] = [
    "all",
    "backed_up",
    "running",
    "late",
    "unproven",
    "failing",
    "unusual",
];
const BYTES: [&str; 3] = ["size", "read", "added"];

/// Cheap to clone; all clones count into one.
#[derive(Clone, Default)]
pub struct Backups {
    unprotected: Family<Department, Gauge>,
    unprotected_volumes: Family<Department, Gauge>,
    machines: Family<PolicyAmount, Gauge>,
    last: Family<PolicyAmount, Gauge>,
    oldest: Family<Policy, Gauge>,
    lag: Family<Policy, Gauge>,
    duration: Family<Policy, Gauge>,
}

impl Backups {
    pub(super) fn register(&self, r: &mut Registry) {
        r.register(
            "unprotected_machines",
            "Machines that no backup policy is for; told by the leader",
            self.unprotected.clone(),
        );
        r.register(
            "unprotected_volumes",
            "Volumes that no backup policy backs up; told by the leader",
            self.unprotected_volumes.clone(),
        );
        r.register(
            "backup_policy_machines",
            "Machines of a backup policy: all, those that have a backup by it, late ones, \
             unproven ones, those whose backup fails or is unlike those before it, and backups that \
             run; told by the leader",
            self.machines.clone(),
        );
        r.register_with_unit(
            "backup_policy_last",
            "Of the last backups of a policy's machines, added up: size of all volumes, what was \
             read of them, what the repository has grown by; told by the leader",
            Unit::Bytes,
            self.last.clone(),
        );
        r.register_with_unit(
            "backup_policy_oldest_timestamp",
            "When the oldest of the last backups of a policy's machines was taken, since 1970",
            Unit::Seconds,
            self.oldest.clone(),
        );
        r.register_with_unit(
            "backup_policy_lag",
            "The longest time from when a machine's last backup was due to when it was whole",
            Unit::Seconds,
            self.lag.clone(),
        );
        r.register_with_unit(
            "backup_policy_duration",
            "The longest time that a machine's last backup was read for",
            Unit::Seconds,
            self.duration.clone(),
        );
    }

    /// Shows how many machines and volumes of a department no policy backs up.
    pub fn unprotected(&self, department: &str, machines: usize, volumes: usize) {
        let label = of_department(department);
        let machines = signed(machines as u64);
        self.unprotected.get_or_create(&label).set(machines);
        let volumes = signed(volumes as u64);
        self.unprotected_volumes.get_or_create(&label).set(volumes);
    }

    /// Shows how the machines of a policy stand.
    pub fn policy(&self, policy: &str, progress: &Progress) {
        let Progress {
            machines,
            backed_up,
            running,
            late,
            unproven,
            failing,
            unusual,
            last,
            next: _,
        } = progress;
        let count = |names: &[String]| names.len() as u64;
        let amounts = [
            *machines,
            *backed_up,
            *running,
            count(late),
            count(unproven),
            count(failing),
            count(unusual),
        ];
        for (amount, value) in MACHINES.into_iter().zip(amounts) {
            let label = of_amount(policy, amount);
            self.machines.get_or_create(&label).set(signed(value));
        }
        self.last_runs(policy, last);
    }

    fn last_runs(&self, policy: &str, last: &LastRuns) {
        let LastRuns {
            size,
            read,
            added,
            oldest,
            lag_s,
            duration_s,
        } = last;
        for (amount, value) in BYTES.into_iter().zip([*size, *read, *added]) {
            let label = of_amount(policy, amount);
            self.last.get_or_create(&label).set(signed(value));
        }
        let label = Policy {
            policy: policy.to_owned(),
        };
        let families = [&self.oldest, &self.lag, &self.duration];
        for (family, value) in families.into_iter().zip([oldest, lag_s, duration_s]) {
            // What is not known has no line.
            if let Some(value) = value {
                family.get_or_create(&label).set(*value);
            } else {
                family.remove(&label);
            }
        }
    }

    /// A policy is gone.
    pub fn forget_policy(&self, policy: &str) {
        for amount in MACHINES {
            self.machines.remove(&of_amount(policy, amount));
        }
        for amount in BYTES {
            self.last.remove(&of_amount(policy, amount));
        }
        let label = Policy {
            policy: policy.to_owned(),
        };
        for family in [&self.oldest, &self.lag, &self.duration] {
            family.remove(&label);
        }
    }

    /// A department is gone.
    pub(super) fn forget_department(&self, department: &str) {
        let label = of_department(department);
        self.unprotected.remove(&label);
        self.unprotected_volumes.remove(&label);
    }

    pub(super) fn clear(&self) {
        self.unprotected.clear();
        self.unprotected_volumes.clear();
        self.machines.clear();
        self.last.clear();
        for family in [&self.oldest, &self.lag, &self.duration] {
            family.clear();
        }
    }
}

fn of_department(department: &str) -> Department {
    Department {
        department: department.to_owned(),
    }
}

fn of_amount(policy: &str, amount: &'static str) -> PolicyAmount {
    PolicyAmount {
        policy: policy.to_owned(),
        amount,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prometheus_client::encoding::text::encode;

    use super::*;

    fn shown(backups: &Backups) -> String {
        let mut registry = Registry::with_prefix("dc_operator");
        backups.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    fn progress(last: LastRuns) -> Progress {
        Progress {
            machines: 3,
            unusual: vec!["so-nnmt/web-nightly".into()],
            last,
            ..Progress::default()
        }
    }

    #[test]
    fn the_metrics_that_the_docs_name_are_there() {
        let backups = Backups::default();
        backups.unprotected("so-nnmt", 1, 2);
        let known = LastRuns {
            size: 5,
            read: 4,
            added: 3,
            oldest: Some(2),
            lag_s: Some(1),
            duration_s: Some(1),
        };
        backups.policy("nightly", &progress(known));
        let text = shown(&backups);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/backup.md");
        let docs = std::fs::read_to_string(path).unwrap();
        let (_, section) = docs.split_once("## For the NOC").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let mut named = 0;
        for part in section.split("dc_operator_").skip(1) {
            let letter = |c: char| c.is_ascii_lowercase() || c == '_';
            let name: String = part.chars().take_while(|c| letter(*c)).collect();
            assert!(
                text.contains(&format!("\ndc_operator_{name}{{")),
                "{name}: {text}"
            );
            named += 1;
        }
        assert!(named > 10);
        for part in section.split("amount=\"").skip(1) {
            let (amount, _) = part.split_once('"').unwrap();
            assert!(text.contains(&format!("amount=\"{amount}\"")), "{amount}");
        }
    }

    #[test]
    fn what_is_not_known_and_what_is_gone_has_no_line() {
        let backups = Backups::default();
        let known = LastRuns {
            oldest: Some(2),
            ..LastRuns::default()
        };
        backups.policy("nightly", &progress(known));
        assert!(shown(&backups).contains("oldest_timestamp_seconds{policy=\"nightly\"} 2"));
        backups.policy("nightly", &progress(LastRuns::default()));
        assert!(!shown(&backups).contains("oldest_timestamp_seconds{"));
        backups.forget_policy("nightly");
        assert!(!shown(&backups).contains("nightly"));
    }
}
