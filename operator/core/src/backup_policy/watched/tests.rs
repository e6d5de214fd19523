use dc_crds::{Backup, BackupSpec, BackupStatus};

use super::super::NewBackup;
use super::super::plan::name;
use super::super::tests::{at, look, made, policy, vm};
use super::*;
use crate::words::Fact;

/// One of a machine's backups by the policy, with its Ready or Usual condition.
fn with_condition(mut backup: Backup, type_: &str, reason: &str) -> Backup {
    let status = backup.status.get_or_insert_default();
    status.conditions.push(dc_crds::Condition {
        type_: type_.into(),
        status: dc_crds::ConditionStatus::False,
        reason: reason.into(),
        message: String::new(),
        observed_generation: 1,
        last_transition_time: String::new(),
    });
    backup
}

fn of_day(vm: &str, day: &str, done: bool) -> Backup {
    let at = at(&format!("2026-11-{day}T18:00:00Z"));
    let spec = BackupSpec {
        vm: vm.into(),
        repository: "main".into(),
        policy: Some("nightly".into()),
        scheduled_at: Some(crate::backup::status::time(at)),
    };
    let new = NewBackup {
        namespace: "so-nnmt".into(),
        name: name(vm, "nightly", at),
        spec,
    };
    made(&new, done)
}

#[test]
fn a_machine_whose_backup_does_not_get_on_is_failing_and_one_that_waits_is_not() {
    let (policy, vms) = (policy(), [vm("so-nnmt", "web", 1)]);
    let now = at("2026-11-25T19:00:00Z");
    let before = of_day("web", "24", true);
    let failing = |reason: &str| {
        let last = with_condition(of_day("web", "25", false), "Ready", reason);
        look(&policy, &vms, &[before.clone(), last], now).1.failing
    };
    for reason in [
        "RepositoryUnreachable",
        "RepositoryFull",
        "WrongPassword",
        "HostsApart",
    ] {
        assert_eq!(failing(reason), ["so-nnmt/web"], "{reason}");
    }
    for reason in ["Copying", "Waits", "RepositoryBegins", "WaitsForTurn"] {
        assert!(failing(reason).is_empty(), "{reason}");
    }
    // One that was in trouble once, and is done, is well.
    let done = with_condition(of_day("web", "25", true), "Ready", "RepositoryFull");
    let (_, progress) = look(&policy, &vms, std::slice::from_ref(&done), now);
    assert!(progress.failing.is_empty());
    let mut failed = of_day("web", "25", false);
    failed.status = Some(BackupStatus {
        state: "Failed".into(),
        ..BackupStatus::default()
    });
    let (plan, progress) = look(&policy, &vms, &[failed], now);
    assert_eq!(progress.failing, ["so-nnmt/web"]);
    let told = WatchFact::Failing {
        machines: vec!["so-nnmt/web".into()],
        all: 1,
    };
    assert!(plan.found.contains(&Fact::from(told)), "{:?}", plan.found);
}

#[test]
fn an_unusual_backup_stays_an_alarm_after_a_usual_one_until_it_is_looked_at_or_old() {
    let (mut policy, vms) = (policy(), [vm("so-nnmt", "web", 1)]);
    let now = at("2026-11-25T19:00:00Z");
    let odd = with_condition(of_day("web", "23", true), "Usual", "LooksEncrypted");
    let all = [odd, of_day("web", "24", true), of_day("web", "25", true)];
    let (_, progress) = look(&policy, &vms, &all, now);
    assert_eq!(progress.unusual, ["so-nnmt/web-nightly-202611231800"]);
    policy.spec.watch = Some(dc_crds::backup_policy::Watch {
        runs: 2,
        least: 1,
        ..dc_crds::backup_policy::Watch::default()
    });
    let (_, progress) = look(&policy, &vms, &all, now);
    assert!(progress.unusual.is_empty());
    // Of a machine that is gone nobody is alarmed.
    let (_, progress) = look(&policy, &[], &all, now);
    assert!(progress.unusual.is_empty());
}

#[test]
fn the_figures_of_the_last_runs_are_those_of_each_machines_last_one() {
    let policy = policy();
    let vms = [vm("so-nnmt", "web", 1), vm("so-nnmt", "db", 2)];
    let figured = |vm: &str, day: &str, read: i64, ended: &str| {
        let mut backup = of_day(vm, day, true);
        let status = backup.status.as_mut().unwrap();
        status.figures = Some(dc_crds::backup::RunFigures {
            size_bytes: 1000,
            read_bytes: read,
            added_bytes: read / 2,
        });
        status.began_at = status.taken_at.clone();
        status.ended_at = Some(ended.into());
        backup
    };
    let all = [
        figured("web", "24", 70, "2026-11-24T23:00:00Z"),
        figured("web", "25", 50, "2026-11-25T18:10:00Z"),
        figured("db", "23", 30, "2026-11-23T18:20:00Z"),
        of_day("web", "26", false),
    ];
    let (_, progress) = look(&policy, &vms, &all, at("2026-11-26T19:00:00Z"));
    let last = LastRuns {
        size: 2000,
        read: 80,
        added: 40,
        oldest: Some(at("2026-11-23T18:00:00Z")),
        lag_s: Some(1200),
        duration_s: Some(1200),
    };
    assert_eq!(progress.last, last);
}
