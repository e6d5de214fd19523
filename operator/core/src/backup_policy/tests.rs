use dc_crds::backup_policy::{KeepRules, MachineSelector, Schedule};
use dc_crds::{
    Backup, BackupPolicy, BackupPolicySpec, BackupSpec, BackupStatus, InformationSystem,
    VirtualMachine,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::keep::{kept, verdict};
use super::plan::name;
use super::schedule::{validate, zone};
use super::*;
use crate::plan::Plan;
use crate::words::{BackupFact, Fact, ProofFact};

const ZONE: &str = "Asia/Ho_Chi_Minh";

pub(super) fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_second()
}

fn schedule(cron: &str) -> Schedule {
    Schedule {
        cron: cron.into(),
        time_zone: ZONE.into(),
        jitter_minutes: 0,
        window_minutes: None,
    }
}

fn rules(last: u32, daily: u32, weekly: u32, monthly: u32, yearly: u32) -> KeepRules {
    KeepRules {
        last,
        daily,
        weekly,
        monthly,
        yearly,
    }
}

pub(super) fn policy() -> BackupPolicy {
    let mut policy = BackupPolicy::new(
        "nightly",
        BackupPolicySpec {
            repository: "main".into(),
            selector: MachineSelector::default(),
            schedule: schedule("0 1 * * *"),
            keep: rules(0, 30, 0, 12, 0),
            prove: None,
            watch: None,
            suspend: false,
        },
    );
    policy.metadata.uid = Some(Uuid::from_u128(7).to_string());
    policy.metadata.creation_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
    policy
}

pub(super) fn vm(department: &str, name: &str, n: u128) -> VirtualMachine {
    let spec = json!({"system": "land", "class": "small", "disks": [], "interfaces": []});
    let mut vm = VirtualMachine::new(name, serde_json::from_value(spec).unwrap());
    vm.metadata.namespace = Some(department.into());
    vm.metadata.uid = Some(Uuid::from_u128(n).to_string());
    vm.metadata.creation_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
    vm
}

/// As the API server shows it once the controller has made it, and it has ended if `done`.
pub(super) fn made(new: &NewBackup, done: bool) -> Backup {
    let mut backup = new.object();
    backup.status = done.then(|| BackupStatus {
        state: "Done".into(),
        snapshot_id: Some("0".repeat(64)),
        taken_at: new.spec.scheduled_at.clone(),
        ..BackupStatus::default()
    });
    backup
}

pub(super) fn look(
    policy: &BackupPolicy,
    vms: &[VirtualMachine],
    backups: &[Backup],
    now: i64,
) -> (Plan, Progress) {
    let machines: Vec<_> = vms.iter().map(|vm| (vm, None)).collect();
    let backups: Vec<&Backup> = backups.iter().collect();
    plan(&Seen {
        policy,
        machines: &machines,
        backups: &backups,
        proofs: &[],
        repository: Repository::There,
        now,
    })
}

#[test]
fn a_schedule_is_of_its_time_zone() {
    let nightly = validate(&schedule("0 1 * * *")).unwrap();
    // 01:00 in Son La is 18:00 UTC of the day before.
    let noon = at("2026-11-26T05:00:00Z");
    assert_eq!(nightly.last(noon), Some(at("2026-11-25T18:00:00Z")));
    assert_eq!(nightly.next(noon), Some(at("2026-11-26T18:00:00Z")));
    let on_time = at("2026-11-25T18:00:00Z");
    assert_eq!(nightly.last(on_time), Some(on_time));
    assert_eq!(nightly.last(on_time - 1), Some(at("2026-11-24T18:00:00Z")));
    for cron in ["0 1 * *", "61 * * * *", "0 0 1 * * *", "nightly please", ""] {
        let error = validate(&schedule(cron)).unwrap_err();
        assert!(matches!(error, BackupFact::CronInvalid { .. }), "{cron}");
    }
    let mars = Schedule {
        time_zone: "Mars/Olympus".into(),
        ..schedule("0 1 * * *")
    };
    let unknown = BackupFact::ZoneUnknown {
        zone: "Mars/Olympus".into(),
    };
    assert_eq!(validate(&mars).unwrap_err(), unknown);
    // A date that never comes has no time, and nothing hangs.
    let never = validate(&schedule("0 0 30 2 *"));
    assert!(never.is_err() || never.unwrap().next(noon).is_none());
}

#[test]
fn a_machine_is_backed_up_once_for_each_time_however_often_it_is_looked_at() {
    let (policy, vms) = (policy(), [vm("so-nnmt", "web", 1)]);
    let (mut backups, mut now) = (Vec::new(), at("2026-11-25T17:59:00Z"));
    // Before its time there is nothing: the one of yesterday was made up for.
    let (first, _) = look(&policy, &vms, &backups, now);
    backups.extend(first.begin.iter().map(|new| made(new, true)));
    assert_eq!(backups.len(), 1, "the last one that was missed, once");
    for _ in 0..3 * 24 * 60 {
        now += 60;
        let (plan, _) = look(&policy, &vms, &backups, now);
        assert!(plan.begin.len() <= 1);
        backups.extend(plan.begin.iter().map(|new| made(new, true)));
        let (again, progress) = look(&policy, &vms, &backups, now);
        assert!(again.begin.is_empty() && progress.late.is_empty());
    }
    let names: Vec<&str> = backups
        .iter()
        .filter_map(|b| b.metadata.name.as_deref())
        .collect();
    assert_eq!(
        names,
        [
            "web-nightly-202611241800",
            "web-nightly-202611251800",
            "web-nightly-202611261800",
            "web-nightly-202611271800",
        ]
    );
    let spec = &backups[1].spec;
    assert_eq!(spec.scheduled_at.as_deref(), Some("2026-11-25T18:00:00Z"));
}

#[test]
fn of_what_was_missed_the_last_is_made_up_for_within_the_window() {
    let (mut policy, vms) = (policy(), [vm("so-nnmt", "web", 1)]);
    let (mut backups, now) = (Vec::new(), at("2026-11-25T18:00:00Z"));
    let (plan, _) = look(&policy, &vms, &backups, now);
    backups.extend(plan.begin.iter().map(|new| made(new, true)));
    // The operators were off for a week.
    let later = at("2026-12-02T20:00:00Z");
    let (plan, _) = look(&policy, &vms, &backups, later);
    let names: Vec<&str> = plan.begin.iter().map(|new| new.name.as_str()).collect();
    assert_eq!(names, ["web-nightly-202612021800"]);
    policy.spec.schedule.window_minutes = Some(60);
    let (plan, progress) = look(&policy, &vms, &backups, later);
    assert!(plan.begin.is_empty());
    assert_eq!(progress.late, ["so-nnmt/web"]);
    let late = BackupFact::Late {
        machines: vec!["so-nnmt/web".into()],
        all: 1,
    };
    assert_eq!(plan.found, [Fact::Backup(late)]);
    // The next time is on time again; the clock that was set back makes nothing twice.
    let next = at("2026-12-03T18:30:00Z");
    let (plan, _) = look(&policy, &vms, &backups, next);
    backups.extend(plan.begin.iter().map(|new| made(new, true)));
    assert_eq!(backups.len(), 2);
    let (plan, _) = look(&policy, &vms, &backups, later);
    assert!(plan.begin.is_empty());
}

#[test]
fn nothing_is_begun_before_the_last_one_has_ended_and_the_machine_is_late() {
    let (policy, vms) = (policy(), [vm("so-nnmt", "web", 1)]);
    let now = at("2026-11-25T18:00:00Z");
    let (plan, _) = look(&policy, &vms, &[], now);
    let running = [made(&plan.begin[0], false)];
    let (plan, progress) = look(&policy, &vms, &running, now + 60);
    assert!(plan.begin.is_empty() && plan.found.is_empty());
    assert_eq!((progress.running, progress.backed_up), (1, 0));
    let (plan, progress) = look(&policy, &vms, &running, now + 24 * 3600);
    assert!(plan.begin.is_empty());
    assert_eq!(progress.late, ["so-nnmt/web"]);
    let done = [made(
        &NewBackup {
            namespace: "so-nnmt".into(),
            name: "x".into(),
            spec: running[0].spec.clone(),
        },
        true,
    )];
    let (plan, _) = look(&policy, &vms, &done, now + 24 * 3600);
    assert_eq!(plan.begin.len(), 1);
}

#[test]
fn what_was_due_before_machine_or_policy_were_there_is_not_made_up_for() {
    let (policy, mut machine) = (policy(), vm("so-nnmt", "web", 1));
    let made_at = at("2026-11-26T02:00:00Z");
    machine.metadata.creation_timestamp = Some(Time(Timestamp::from_second(made_at).unwrap()));
    let vms = [machine];
    let (plan, _) = look(&policy, &vms, &[], made_at + 60);
    assert!(plan.begin.is_empty());
    assert_eq!(
        plan.again_at.unwrap().as_second(),
        at("2026-11-26T18:00:00Z")
    );
    let (plan, _) = look(&policy, &vms, &[], at("2026-11-26T18:00:00Z"));
    assert_eq!(plan.begin.len(), 1);
}

#[test]
fn machines_are_spread_each_at_the_same_minute_always() {
    let mut policy = policy();
    policy.spec.schedule.jitter_minutes = 60;
    let vms: Vec<_> = (0..200)
        .map(|n| vm("so-nnmt", &format!("m{n}"), 0x9e37_79b9_7f4a_7c15 * (n + 1)))
        .collect();
    let midnight = at("2026-11-25T18:00:00Z");
    let mut begun = std::collections::BTreeMap::new();
    let last: Vec<Backup> = vms
        .iter()
        .map(|vm| {
            let spec = BackupSpec {
                vm: vm.metadata.name.clone().unwrap(),
                repository: "main".into(),
                policy: Some("nightly".into()),
                scheduled_at: Some("2026-11-24T18:00:00Z".into()),
            };
            let namespace = "so-nnmt".into();
            let name = "before".into();
            made(
                &NewBackup {
                    namespace,
                    name,
                    spec,
                },
                true,
            )
        })
        .collect();
    for minute in 0..60 {
        let (plan, _) = look(&policy, &vms, &last, midnight + minute * 60 + 59);
        for new in plan.begin {
            begun.entry(new.spec.vm).or_insert(minute);
        }
    }
    assert_eq!(begun.len(), 200, "all within the hour");
    let minutes: std::collections::BTreeSet<_> = begun.values().collect();
    assert!(minutes.len() > 30, "{minutes:?}");
    let uid = |n: u128| ObjectUid(Uuid::from_u128(n));
    assert_eq!(jitter_s(uid(7), uid(1), 60), jitter_s(uid(7), uid(1), 60));
    assert_eq!(jitter_s(uid(7), uid(1), 0), 0);
}

#[test]
fn all_that_is_named_must_fit_a_machine() {
    let system: InformationSystem = serde_json::from_value(json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "InformationSystem",
        "metadata": {"name": "land", "namespace": "so-nnmt"},
        "spec": {"displayName": {"vi": "a", "en": "b"}, "securityLevel": 3},
    }))
    .unwrap();
    let mut machine = vm("so-nnmt", "web", 1);
    machine.metadata.labels = Some([("role".to_owned(), "database".to_owned())].into());
    let fits = |selector: serde_json::Value| {
        let mut policy = policy();
        policy.spec.selector = serde_json::from_value(selector).unwrap();
        selects(&policy, &machine, Some(&system))
    };
    assert!(fits(json!({})));
    let all = json!({"departments": ["so-nnmt", "so-khcn"], "systems": ["land"],
        "securityLevels": [3, 4], "labels": {"role": "database"}});
    assert!(fits(all.clone()));
    for (field, other) in [
        ("departments", json!(["so-khcn"])),
        ("systems", json!(["portal"])),
        ("securityLevels", json!([4])),
        ("labels", json!({"role": "web"})),
        ("labels", json!({"other": "database"})),
    ] {
        let mut selector = all.clone();
        selector[field] = other;
        assert!(!fits(selector), "{field}");
    }
    let mut going = machine.clone();
    going.metadata.deletion_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
    assert!(!selects(&policy(), &going, Some(&system)));
}

#[test]
fn names_are_of_machine_policy_and_time_and_always_fit() {
    let minute = at("2026-11-25T18:00:00Z");
    let (long, other) = ("m".repeat(63), format!("{}x", "m".repeat(62)));
    let first = name(&long, "nightly", minute);
    assert!(
        first.len() <= 63 && first.ends_with("-202611251800"),
        "{first}"
    );
    assert_ne!(first, name(&other, "nightly", minute));
    assert_ne!(first, name(&long, "weekly", minute));
    assert_ne!(first, name(&long, "nightly", minute + 60));
}

#[test]
fn the_rules_keep_the_last_of_each_period_and_no_more() {
    let zone = zone(ZONE).unwrap();
    let start = at("2024-12-31T18:00:00Z");
    let taken: Vec<i64> = (0..800).map(|day| start + day * 24 * 3600).collect();
    let keep = |rules: &KeepRules| kept(rules, &zone, &taken);
    assert_eq!(keep(&rules(3, 0, 0, 0, 0)).len(), 3);
    assert_eq!(keep(&rules(0, 30, 0, 0, 0)).len(), 30);
    assert_eq!(keep(&rules(0, 0, 8, 0, 0)).len(), 8);
    assert_eq!(keep(&rules(0, 0, 0, 12, 0)).len(), 12);
    assert_eq!(
        keep(&rules(0, 0, 0, 0, 10)).len(),
        3,
        "as many years as there are"
    );
    assert_eq!(keep(&rules(1000, 0, 0, 0, 0)).len(), 800);
    // Each rule keeps the last one, so they overlap.
    let all = keep(&rules(1, 1, 1, 1, 1));
    assert_eq!(all.into_iter().collect::<Vec<_>>(), [taken[799]]);
    // The last of a month is the last of its days in the schedule's zone: 18:00 UTC is the next day.
    let monthly = keep(&rules(0, 0, 0, 2, 0));
    let before = monthly.first().copied().unwrap();
    assert_eq!(before, at("2027-02-27T18:00:00Z"));
    // Two of one day: the later one is kept, whatever the order they are given in.
    let same = [at("2026-11-25T01:00:00Z"), at("2026-11-25T02:00:00Z")];
    assert_eq!(kept(&rules(0, 5, 0, 0, 0), &zone, &same), [same[1]].into());
    assert!(kept(&rules(0, 5, 0, 0, 0), &zone, &[]).is_empty());
}

#[test]
fn what_is_kept_only_grows_when_a_rule_does_and_forgetting_twice_changes_nothing() {
    let zone = zone(ZONE).unwrap();
    let start = at("2026-01-01T18:00:00Z");
    let taken: Vec<i64> = (0..400).map(|n| start + n * 7 * 3600).collect();
    for n in 0..20 {
        let some = rules(n % 3, n, n / 2, n / 3, n / 7);
        let more = rules(some.last + 1, some.daily + 1, some.weekly, some.monthly, 5);
        let first = kept(&some, &zone, &taken);
        assert!(first.is_subset(&kept(&more, &zone, &taken)));
        let left: Vec<i64> = first.iter().copied().collect();
        assert_eq!(kept(&some, &zone, &left), first, "what is left is kept");
    }
}

#[test]
fn a_backup_says_whether_it_may_go_and_one_by_hand_never_may() {
    let mut policy = policy();
    policy.spec.keep = rules(1, 0, 0, 0, 0);
    let backup = |minute: &str, of: Option<&str>| {
        let spec = BackupSpec {
            vm: "web".into(),
            repository: "main".into(),
            policy: of.map(Into::into),
            scheduled_at: of.map(|_| minute.to_owned()),
        };
        let mut backup = Backup::new("x", spec);
        backup.status = Some(BackupStatus {
            taken_at: Some(minute.into()),
            ..BackupStatus::default()
        });
        backup
    };
    let old = backup("2026-11-24T18:00:00Z", Some("nightly"));
    let new = backup("2026-11-25T18:00:00Z", Some("nightly"));
    let siblings = [&old, &new];
    let name = || "nightly".to_owned();
    let says = |one| verdict(one, Some(&policy), &siblings);
    assert_eq!(
        says(&old),
        Fact::Backup(BackupFact::MayGo { policy: name() })
    );
    assert_eq!(
        says(&new),
        Fact::Backup(BackupFact::Kept { policy: name() })
    );
    let free = Fact::Backup(BackupFact::NotScheduled);
    assert_eq!(verdict(&old, None, &siblings), free);
    // The last that was shown to come back stays; only the last.
    let mut proven = old.clone();
    proven.status.as_mut().unwrap().proven_at = Some("2026-11-26T00:00:00Z".into());
    let siblings = [&proven, &new];
    let as_proven = Fact::Proof(ProofFact::KeptAsProven { policy: name() });
    assert_eq!(verdict(&proven, Some(&policy), &siblings), as_proven);
    let mut newer = new.clone();
    newer.status.as_mut().unwrap().proven_at = Some("2026-11-27T00:00:00Z".into());
    let both = verdict(&proven, Some(&policy), &[&proven, &newer]);
    assert_eq!(both, Fact::Backup(BackupFact::MayGo { policy: name() }));
    let by_hand = backup("2020-01-01T00:00:00Z", None);
    assert_eq!(says(&by_hand), free);
}
