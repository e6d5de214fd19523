//! BackupPolicy: which machines are backed up when, and what is kept.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;
use crate::proof::{BOOT_SECONDS, Probes, RESTORE_SECONDS};

/// Backups of all machines that it selects, by a schedule.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "BackupPolicy",
    status = "BackupPolicyStatus",
    shortname = "bpol",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Schedule","type":"string","jsonPath":".spec.schedule.cron"}"#,
    printcolumn = r#"{"name":"Repository","type":"string","jsonPath":".spec.repository"}"#,
    printcolumn = r#"{"name":"Machines","type":"integer","jsonPath":".status.machines"}"#,
    printcolumn = r#"{"name":"Backed up","type":"integer","jsonPath":".status.backedUp"}"#,
    printcolumn = r#"{"name":"Running","type":"integer","jsonPath":".status.running"}"#,
    printcolumn = r#"{"name":"Late","type":"integer","jsonPath":".status.late"}"#,
    printcolumn = r#"{"name":"Unproven","type":"integer","jsonPath":".status.unproven"}"#,
    printcolumn = r#"{"name":"Failing","type":"integer","jsonPath":".status.failing"}"#,
    printcolumn = r#"{"name":"Unusual","type":"integer","jsonPath":".status.unusual"}"#,
    printcolumn = r#"{"name":"Next","type":"string","jsonPath":".status.next"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BackupPolicySpec {
    /// The BackupRepository that its backups go to.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub repository: String,
    /// Which machines. Nothing named: all of the data centre.
    #[serde(default)]
    pub selector: MachineSelector,
    /// When.
    pub schedule: Schedule,
    /// What is kept of each machine's backups; the rest may go.
    pub keep: KeepRules,
    /// How its backups are tried. Absent: weekly, as it is written at each field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prove: Option<Prove>,
    /// When a run is so unlike those before it that somebody should look. Absent: as it is written at
    /// each field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// Begins nothing while it is true.
    #[serde(default)]
    pub suspend: bool,
}

/// RestoreProofs of its backups: the last one of each machine, and some of the others by lot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prove {
    /// Tries none while it is true.
    #[serde(default)]
    pub suspend: bool,
    /// How often the last backup of each machine is tried. Default 7.
    #[serde(default = "default_every_days")]
    #[schemars(range(min = 1, max = 366))]
    pub every_days: u32,
    /// How many of all others that were never tried are tried in that time. Default 1.
    #[serde(default = "default_sample")]
    #[schemars(range(min = 0, max = 100))]
    pub sample: u32,
    /// The StoragePool that they are restored to. Absent: that of each machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub pool: Option<String>,
    /// What shows that they have come up. Default: a console that shows `login:`.
    #[serde(default)]
    pub probes: Probes,
    /// As with a RestoreProof. Default: a day.
    #[serde(default = "default_restore_seconds")]
    #[schemars(range(min = 10, max = 2_592_000))]
    pub restore_seconds: u32,
    /// As with a RestoreProof. Default: half an hour.
    #[serde(default = "default_boot_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub boot_seconds: u32,
}

/// A run of a machine is compared with those before it. What encrypts a machine's files shows as much
/// more that has changed, and as less that can be compressed or is known in the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("quantity(self.leastChange).compareTo(quantity('1Mi')) >= 0 && quantity(self.leastChange).compareTo(quantity('64Ti')) <= 0").message("watch.leastChange: from 1Mi to 64Ti"))]
#[x_kube(validation = Rule::new("self.least <= self.runs").message("watch: least is not more than runs"))]
pub struct Watch {
    /// Compares none while it is true.
    #[serde(default)]
    pub suspend: bool,
    /// With how many of the runs before. Default 10.
    #[serde(default = "default_runs")]
    #[schemars(range(min = 1, max = 100))]
    pub runs: u32,
    /// With fewer than so many nothing is said. Default 3.
    #[serde(default = "default_least")]
    #[schemars(range(min = 1, max = 100))]
    pub least: u32,
    /// How many times as much has changed as their median. Default 5.
    #[serde(default = "default_changed_times")]
    #[schemars(range(min = 2, max = 1000))]
    pub changed_times: u32,
    /// Less than this is never much. Default 1Gi.
    #[serde(default = "default_least_change")]
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|k|M|G|T)?$"),
        length(max = 18)
    )]
    pub least_change: String,
    /// By how many percent of what was read the repository has grown by more than their median.
    /// Default 30.
    #[serde(default = "default_stored_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub stored_percent: u32,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            suspend: false,
            runs: default_runs(),
            least: default_least(),
            changed_times: default_changed_times(),
            least_change: default_least_change(),
            stored_percent: default_stored_percent(),
        }
    }
}

fn default_runs() -> u32 {
    10
}

fn default_least() -> u32 {
    3
}

fn default_changed_times() -> u32 {
    5
}

fn default_least_change() -> String {
    "1Gi".to_owned()
}

fn default_stored_percent() -> u32 {
    30
}

impl Default for Prove {
    fn default() -> Self {
        Self {
            suspend: false,
            every_days: default_every_days(),
            sample: default_sample(),
            pool: None,
            probes: Probes::default(),
            restore_seconds: RESTORE_SECONDS,
            boot_seconds: BOOT_SECONDS,
        }
    }
}

fn default_every_days() -> u32 {
    7
}

fn default_sample() -> u32 {
    1
}

fn default_restore_seconds() -> u32 {
    RESTORE_SECONDS
}

fn default_boot_seconds() -> u32 {
    BOOT_SECONDS
}

/// A machine is selected if all that is named fits it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineSelector {
    /// Departments, any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(
            regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
            length(max = 63)
        )
    )]
    pub departments: Vec<String>,
    /// Names of InformationSystems, any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(
            regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
            length(max = 63)
        )
    )]
    pub systems: Vec<String>,
    /// Security levels of the machine's InformationSystem, any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), inner(range(min = 1, max = 5)))]
    pub security_levels: Vec<u8>,
    /// Labels of the VirtualMachine, all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
}

/// When backups begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Minute, hour, day of the month, month, day of the week: `0 1 * * *` is nightly at 01:00.
    #[schemars(regex(pattern = "^[0-9A-Za-z*/,#?L \\-]{9,128}$"), length(max = 128))]
    pub cron: String,
    /// By the name of the time zone database. Default Asia/Ho_Chi_Minh.
    #[serde(default = "default_zone")]
    #[schemars(
        regex(pattern = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"),
        length(max = 64)
    )]
    pub time_zone: String,
    /// Machines begin spread over so many minutes, each always at the same one of them. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1440))]
    pub jitter_minutes: u32,
    /// For how many minutes after its time a backup may still be begun: one that was missed for longer
    /// waits for the next time, and the machine is late. Default: until the next time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 44640))]
    pub window_minutes: Option<u32>,
}

fn default_zone() -> String {
    "Asia/Ho_Chi_Minh".to_owned()
}

/// A backup is kept if any rule keeps it. Days, weeks (from Monday), months and years are those of the
/// schedule's time zone, and the last backup of each counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.last + self.daily + self.weekly + self.monthly + self.yearly >= 1").message("keep: keep at least one"))]
pub struct KeepRules {
    /// So many of the last ones.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub last: u32,
    /// One for each of the last so many days that have one; and so on.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub daily: u32,
    /// Weeks.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub weekly: u32,
    /// Months.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub monthly: u32,
    /// Years.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub yearly: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupPolicyStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Machines that it selects.
    #[serde(default)]
    pub machines: i64,
    /// Those of them that have a backup by it.
    #[serde(default)]
    pub backed_up: i64,
    /// Backups by it that are not done.
    #[serde(default)]
    pub running: i64,
    /// Machines whose last time has passed without a backup, or whose backup of it is not done by the
    /// next time.
    #[serde(default)]
    pub late: i64,
    /// Some of them, as `department/machine`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_machines: Vec<String>,
    /// Machines that have backups by it of which none was shown to come back, in twice the time in
    /// which one should be, or whose last trial failed.
    #[serde(default)]
    pub unproven: i64,
    /// Some of them, as `department/machine`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unproven_machines: Vec<String>,
    /// Machines whose last backup by it has failed, or does not get on.
    #[serde(default)]
    pub failing: i64,
    /// Some of them, as `department/machine`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing_machines: Vec<String>,
    /// Machines with a backup that is unlike those before it, at which nobody has looked.
    #[serde(default)]
    pub unusual: i64,
    /// Some of their backups, as `department/backup`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unusual_backups: Vec<String>,
    /// When the oldest of the machines' last backups was taken, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_last_backup: Option<String>,
    /// The next time, RFC 3339 in UTC, before jitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
