use dc_crds::backup::BackupVolume;
use dc_crds::backup_policy::{KeepRules, MachineSelector, Schedule};
use dc_crds::{
    Backup, BackupPolicy, BackupPolicySpec, BackupSpec, BackupStatus, VirtualMachine, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn policy(name: &str, departments: &[&str]) -> BackupPolicy {
    BackupPolicy::new(
        name,
        BackupPolicySpec {
            repository: "main".into(),
            selector: MachineSelector {
                departments: departments.iter().map(|&name| name.to_owned()).collect(),
                ..MachineSelector::default()
            },
            schedule: Schedule {
                cron: "0 1 * * *".into(),
                time_zone: "Asia/Ho_Chi_Minh".into(),
                jitter_minutes: 0,
                window_minutes: None,
            },
            keep: KeepRules {
                last: 1,
                daily: 0,
                weekly: 0,
                monthly: 0,
                yearly: 0,
            },
            prove: None,
            watch: None,
            suspend: false,
        },
    )
}

/// With a root of its own, and these volumes.
fn vm(name: &str, volumes: &[&str]) -> VirtualMachine {
    let mut disks = vec![json!({"name": "root", "template": {"pool": "san-1", "size": "1Gi"}})];
    for volume in volumes {
        disks.push(json!({"name": volume, "volume": volume}));
    }
    let spec = json!({"system": "land", "class": "small", "disks": disks, "interfaces": []});
    let mut vm = VirtualMachine::new(name, serde_json::from_value(spec).unwrap());
    vm.metadata.namespace = Some("so-nnmt".into());
    vm
}

fn volume(name: &str) -> Volume {
    let spec = json!({"system": "land", "pool": "san-1", "size": "1Gi"});
    let mut volume = Volume::new(name, serde_json::from_value(spec).unwrap());
    volume.metadata.namespace = Some("so-nnmt".into());
    volume.metadata.creation_timestamp = Some(Time("2026-11-01T00:00:00Z".parse().unwrap()));
    volume
}

fn backup(name: &str, taken: &str, volumes: &[&str]) -> Backup {
    let mut backup = Backup::new(
        name,
        BackupSpec {
            vm: "web".into(),
            repository: "main".into(),
            policy: None,
            scheduled_at: None,
        },
    );
    let volumes = volumes.iter().map(|&volume| BackupVolume {
        volume: volume.into(),
        file: format!("{volume}.raw"),
        size: "1Gi".into(),
        incremental: true,
        why_full: None,
    });
    backup.status = Some(BackupStatus {
        snapshot_id: Some("0".repeat(64)),
        taken_at: Some(taken.into()),
        volumes: volumes.collect(),
        ..BackupStatus::default()
    });
    backup
}

fn look(
    policies: &[BackupPolicy],
    machines: &[VirtualMachine],
    volumes: &[Volume],
    backups: &[Backup],
) -> Vec<Line> {
    let machines: Vec<_> = machines.iter().map(|vm| (vm, None)).collect();
    lines(&Seen {
        policies: &policies.iter().collect::<Vec<_>>(),
        machines: &machines,
        volumes: &volumes.iter().collect::<Vec<_>>(),
        backups: &backups.iter().collect::<Vec<_>>(),
    })
}

fn reason(line: &Line) -> Option<String> {
    line.bare.as_ref().map(|fact| fact.words().reason)
}

#[test]
fn each_volume_says_what_backs_it_up_or_why_nothing_does() {
    let mut idle = policy("idle", &["so-nnmt"]);
    idle.spec.suspend = true;
    let mut unreadable = policy("unreadable", &["so-nnmt"]);
    unreadable.spec.schedule.cron = "nightly".into();
    let others = policy("others", &["so-y-te"]);
    let machines = [vm("web", &["data"])];
    let volumes = [volume("web-root"), volume("data"), volume("loose")];
    let seen = look(std::slice::from_ref(&others), &machines, &volumes, &[]);
    let names: Vec<&str> = seen.iter().map(|line| line.volume.as_str()).collect();
    assert_eq!(names, ["data", "loose", "web-root"]);
    let reasons: Vec<_> = seen.iter().map(reason).collect();
    let no_policy = Some("NoPolicy".to_owned());
    assert_eq!(
        reasons,
        [no_policy.clone(), Some("NoMachine".into()), no_policy]
    );
    assert_eq!(seen[0].machine.as_deref(), Some("web"));
    let seen = look(
        &[idle.clone(), unreadable.clone()],
        &machines,
        &volumes,
        &[],
    );
    assert_eq!(reason(&seen[2]).as_deref(), Some("PolicyIdle"));
    let says = seen[2].bare.as_ref().unwrap().words().en;
    assert!(
        says.contains("idle") && says.contains("unreadable"),
        "{says}"
    );
    let works = policy("nightly", &[]);
    let seen = look(&[idle, unreadable, works], &machines, &volumes, &[]);
    assert_eq!(seen[2].policies, ["nightly"]);
    assert_eq!((reason(&seen[0]), reason(&seen[2])), (None, None));
}

#[test]
fn a_machine_that_is_being_deleted_protects_nothing() {
    let mut going = vm("web", &["data"]);
    going.metadata.deletion_timestamp = Some(Time("2026-11-20T00:00:00Z".parse().unwrap()));
    let volumes = [volume("data")];
    let seen = look(&[policy("nightly", &[])], &[going], &volumes, &[]);
    assert_eq!(reason(&seen[0]).as_deref(), Some("NoMachine"));
}

#[test]
fn a_volume_that_several_share_is_backed_up_if_one_of_them_is() {
    let mut chosen = policy("chosen", &[]);
    chosen.spec.selector.labels = [("role".to_owned(), "database".to_owned())].into();
    let plain = vm("plain", &["shared"]);
    let mut database = vm("database", &["shared"]);
    database.metadata.labels = Some([("role".to_owned(), "database".to_owned())].into());
    let volumes = [volume("shared")];
    for machines in [
        [plain.clone(), database.clone()],
        [database.clone(), plain.clone()],
    ] {
        let seen = look(std::slice::from_ref(&chosen), &machines, &volumes, &[]);
        assert_eq!(reason(&seen[0]), None);
        assert_eq!(seen[0].machine.as_deref(), Some("database"));
    }
}

#[test]
fn the_last_backup_holds_this_volume_and_no_older_one_of_its_name() {
    let volumes = [volume("data"), volume("web-root")];
    let mut unfinished = backup("running", "2026-11-20T00:00:00Z", &["data"]);
    unfinished.status.as_mut().unwrap().snapshot_id = None;
    let backups = [
        // Before the volume was made.
        backup("older", "2026-10-01T00:00:00Z", &["data"]),
        backup("first", "2026-11-10T00:00:00Z", &["web-root"]),
        backup("second", "2026-11-12T00:00:00Z", &["web-root"]),
        backup("third", "2026-11-11T00:00:00Z", &["web-root"]),
        unfinished,
    ];
    let seen = look(&[], &[vm("web", &["data"])], &volumes, &backups);
    assert_eq!(seen[0].last, None);
    assert_eq!(seen[1].last.as_ref().unwrap().backup, "second");
}

proptest! {
    /// Whatever there is: a volume is bare just when no policy that works is for a machine that has it.
    #[test]
    fn nothing_is_both_protected_and_bare(
        suspended in proptest::collection::vec(any::<bool>(), 0..4),
        held in proptest::collection::vec(any::<bool>(), 1..4),
    ) {
        let policies: Vec<BackupPolicy> = suspended
            .iter()
            .enumerate()
            .map(|(n, suspend)| {
                let mut one = policy(&format!("p{n}"), &[]);
                one.spec.suspend = *suspend;
                one
            })
            .collect();
        let names: Vec<String> = (0..held.len()).map(|n| format!("v{n}")).collect();
        let volumes: Vec<Volume> = names.iter().map(|name| volume(name)).collect();
        let has = names.iter().zip(&held).filter(|(_, held)| **held);
        let has: Vec<&str> = has.map(|(name, _)| name.as_str()).collect();
        let seen = look(&policies, &[vm("web", &has)], &volumes, &[]);
        let works = suspended.iter().any(|suspended| !suspended);
        for line in &seen {
            let protected = works && has.contains(&line.volume.as_str());
            prop_assert_eq!(line.bare.is_none(), protected);
            prop_assert_eq!(!line.policies.is_empty(), protected);
        }
    }
}
