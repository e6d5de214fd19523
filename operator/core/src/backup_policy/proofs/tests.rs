use std::collections::BTreeSet;

use dc_crds::backup_policy::{BackupPolicySpec, KeepRules, MachineSelector, Schedule};
use dc_crds::{BackupPolicy, BackupSpec, BackupStatus, VirtualMachine};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use uuid::Uuid;

use super::super::{Repository, plan};
use super::*;

const START: i64 = 1_764_000_000;

fn policy(sample: u32) -> BackupPolicy {
    let mut policy = BackupPolicy::new(
        "nightly",
        BackupPolicySpec {
            repository: "main".into(),
            selector: MachineSelector::default(),
            schedule: Schedule {
                cron: "0 1 * * *".into(),
                time_zone: "Asia/Ho_Chi_Minh".into(),
                jitter_minutes: 0,
                window_minutes: None,
            },
            keep: KeepRules {
                last: 3,
                daily: 0,
                weekly: 0,
                monthly: 0,
                yearly: 0,
            },
            watch: None,
            prove: Some(Prove {
                sample,
                ..Prove::default()
            }),
            suspend: false,
        },
    );
    policy.metadata.uid = Some(Uuid::from_u128(7).to_string());
    policy
}

fn vm(name: &str) -> VirtualMachine {
    let spec = json!({"system": "land", "class": "small", "disks": [], "interfaces": []});
    let mut vm = VirtualMachine::new(name, serde_json::from_value(spec).unwrap());
    vm.metadata.namespace = Some("so-nnmt".into());
    vm.metadata.uid = Some(Uuid::new_v5(&Uuid::nil(), name.as_bytes()).to_string());
    vm
}

fn time(day: i64) -> String {
    crate::backup::status::time(START + day * DAY_S)
}

/// One that was done on this day.
fn backup(vm: &str, day: i64) -> Backup {
    let spec = BackupSpec {
        vm: vm.into(),
        repository: "main".into(),
        policy: Some("nightly".into()),
        scheduled_at: Some(time(day)),
    };
    let name = format!("{vm}-{day}");
    let mut backup = Backup::new(&name, spec);
    backup.metadata.namespace = Some("so-nnmt".into());
    backup.metadata.uid = Some(Uuid::new_v5(&Uuid::nil(), name.as_bytes()).to_string());
    backup.status = Some(BackupStatus {
        snapshot_id: Some("a".repeat(64)),
        taken_at: Some(time(day)),
        ..BackupStatus::default()
    });
    backup
}

fn proven(mut backup: Backup, day: i64) -> Backup {
    backup.status.as_mut().unwrap().proven_at = Some(time(day));
    backup
}

fn failed(mut backup: Backup) -> Backup {
    backup.status.as_mut().unwrap().failed_proof = Some("x".into());
    backup
}

/// What is due on a day: names of backups, and machines that are unproven.
fn look(
    policy: &BackupPolicy,
    backups: &[Backup],
    proofs: &[RestoreProof],
    day: i64,
) -> (Vec<NewProof>, Vec<String>) {
    let vms: Vec<VirtualMachine> = ["web", "db"].map(vm).into();
    let machines: Vec<_> = vms.iter().map(|vm| (vm, None)).collect();
    let (plan, progress) = plan(&Seen {
        policy,
        machines: &machines,
        backups: &backups.iter().collect::<Vec<_>>(),
        proofs: &proofs.iter().collect::<Vec<_>>(),
        repository: Repository::There,
        now: START + day * DAY_S,
    });
    (plan.prove, progress.unproven)
}

fn names(due: &[NewProof]) -> Vec<&str> {
    due.iter().map(|proof| proof.name.as_str()).collect()
}

#[test]
fn the_last_backup_of_each_machine_is_tried_weekly_and_after_a_failure_at_once() {
    let policy = policy(0);
    let first = [backup("web", 0), backup("web", 1), backup("db", 1)];
    let (due, unproven) = look(&policy, &first, &[], 1);
    assert_eq!(names(&due), ["db-1", "web-1"]);
    assert!(
        due.iter()
            .all(|proof| proof.spec.why == ProofReason::Latest)
    );
    assert_eq!(due[0].spec.probes.console.as_deref(), Some("login:"));
    assert_eq!(unproven, Vec::<String>::new(), "there was no time yet");

    // While one goes on, and for a week after it has shown it.
    let runs = [due[1].object()];
    assert_eq!(names(&look(&policy, &first, &runs, 2).0), ["db-1"]);
    let shown = [proven(backup("web", 1), 2), backup("web", 8)];
    assert_eq!(names(&look(&policy, &shown, &[], 8).0), Vec::<&str>::new());
    assert_eq!(names(&look(&policy, &shown, &[], 9).0), ["web-8"]);
    // A failed one is not repeated; the next backup is tried at once.
    let broken = [proven(backup("web", 1), 2), failed(backup("web", 3))];
    let (due, unproven) = look(&policy, &broken, &[], 3);
    assert_eq!(
        (names(&due), unproven),
        (vec![], vec!["so-nnmt/web".to_owned()])
    );
    let next = [&broken[..], &[backup("web", 4)]].concat();
    assert_eq!(names(&look(&policy, &next, &[], 4).0), ["web-4"]);
    // Shown since.
    let mended = [&broken[..], &[proven(backup("web", 4), 5)]].concat();
    assert_eq!(look(&policy, &mended, &[], 5), (vec![], vec![]));
}

#[test]
fn who_was_not_shown_to_come_back_for_two_weeks_is_told() {
    let policy = policy(0);
    let old = [proven(backup("web", 0), 1), backup("db", 0)];
    assert_eq!(look(&policy, &old, &[], 14).1, Vec::<String>::new());
    assert_eq!(look(&policy, &old, &[], 15).1, ["so-nnmt/db"]);
    assert_eq!(
        look(&policy, &old, &[], 16).1,
        ["so-nnmt/db", "so-nnmt/web"]
    );
    let mut quiet = policy.clone();
    quiet.spec.prove.as_mut().unwrap().suspend = true;
    assert_eq!(look(&quiet, &old, &[], 16), (vec![], vec![]));
    let mut asleep = policy.clone();
    asleep.spec.suspend = true;
    assert_eq!(look(&asleep, &old, &[], 16).0, []);
}

#[test]
fn of_the_others_some_are_drawn_each_week_the_same_by_everyone_and_never_twice() {
    let policy = policy(1);
    // Of each, three are kept, and the last one is tried anyway.
    let all: Vec<Backup> = (0..6)
        .flat_map(|day| [backup("web", day), backup("db", day)])
        .collect();
    let drawn = |proofs: &[RestoreProof], day| {
        let (due, _) = look(&policy, &all, proofs, day);
        let samples = due
            .into_iter()
            .filter(|one| one.spec.why == ProofReason::Sample);
        samples.collect::<Vec<_>>()
    };
    let mut proofs = Vec::new();
    let mut tried = BTreeSet::new();
    for week in 0..6 {
        let day = 6 + 7 * week;
        let once = drawn(&proofs, day);
        assert_eq!(once, drawn(&proofs, day), "drawn otherwise");
        for new in once {
            let kept = ["web-3", "web-4", "db-3", "db-4"];
            assert!(kept.contains(&new.name.as_str()), "{}", new.name);
            assert!(tried.insert(new.name.clone()), "{} twice", new.name);
            let mut made = new.object();
            let at = Timestamp::from_second(START + day * DAY_S).unwrap();
            made.metadata.creation_timestamp = Some(Time(at));
            proofs.push(made);
        }
        assert_eq!(drawn(&proofs, day), [], "one a week");
    }
    assert_eq!(tried.len(), 4);
}
