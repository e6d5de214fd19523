use dc_crds::backup::{BackupVolume, RunFigures};
use dc_crds::{BackupSpec, BackupStatus};
use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn ran(day: i64, read: u64, added: u64) -> Run {
    Run {
        backup: format!("day-{day}"),
        taken_at: day * DAY,
        volumes: vec!["web-root".into()],
        figures: Some(Figures {
            size: 20 * GIB,
            read,
            added,
        }),
        incremental: true,
    }
}

/// Ten quiet days: 500 MiB each, of which a fifth stays.
fn quiet() -> Vec<Run> {
    (0..10).map(|day| ran(day, 500 * MIB, 100 * MIB)).collect()
}

fn reason(fact: WatchFact) -> String {
    Fact::from(fact).words().reason
}

fn judged(run: &Run, before: Vec<Run>) -> String {
    reason(judge(&Watch::default(), run, before))
}

#[test]
fn files_that_are_encrypted_show_as_much_change_that_does_not_compress() {
    assert_eq!(judged(&ran(10, 600 * MIB, 120 * MIB), quiet()), "Usual");
    // All of it is rewritten, and none of it is known or compresses.
    let encrypted = judge(&Watch::default(), &ran(10, 8 * GIB, 8 * GIB), quiet());
    assert!(encrypted.is_alarm());
    let words = Fact::from(encrypted).words();
    assert_eq!(words.reason, "LooksEncrypted");
    for figure in ["8 GiB", "500 MiB", "100 %", "20 %", "day-9", "looked-at"] {
        assert!(words.en.contains(figure), "{figure}: {}", words.en);
        assert!(words.vi.contains(figure), "{figure}: {}", words.vi);
    }
    // An upgrade changes much and compresses as ever; media that are copied in compress little.
    assert_eq!(judged(&ran(10, 8 * GIB, GIB), quiet()), "MuchChanged");
    assert_eq!(
        judged(&ran(10, 2 * GIB, 2 * GIB), quiet()),
        "LittleCompressed"
    );
    // A machine that hardly works is no alarm when it does a little more.
    let idle: Vec<Run> = (0..10).map(|day| ran(day, 4 * MIB, MIB)).collect();
    assert_eq!(judged(&ran(10, 900 * MIB, 900 * MIB), idle), "Usual");
}

#[test]
fn after_a_week_without_backups_a_weeks_change_is_usual() {
    assert_eq!(judged(&ran(10, 3 * GIB, 600 * MIB), quiet()), "MuchChanged");
    assert_eq!(judged(&ran(16, 3 * GIB, 600 * MIB), quiet()), "Usual");
}

#[test]
fn what_cannot_be_compared_is_not_compared_and_says_why() {
    let two: Vec<Run> = quiet().into_iter().take(2).collect();
    let wild = ran(10, 19 * GIB, 19 * GIB);
    assert_eq!(judged(&wild, two), "TooFewRuns");
    let mut full = wild.clone();
    full.incremental = false;
    assert_eq!(judged(&full, quiet()), "ReadInFull");
    let mut lost = wild.clone();
    lost.figures = None;
    assert_eq!(judged(&lost, quiet()), "FiguresNotKnown");
    // Of those before it, too, only what is comparable counts.
    let full: Vec<Run> = quiet()
        .into_iter()
        .map(|run| Run {
            incremental: false,
            ..run
        })
        .collect();
    assert_eq!(judged(&wild, full), "TooFewRuns");
}

#[test]
fn a_backup_that_holds_less_than_the_one_before_is_told() {
    let mut before = quiet();
    let mut last = ran(9, 500 * MIB, 100 * MIB);
    last.volumes = vec!["data".into(), "web-root".into()];
    last.figures.as_mut().unwrap().size = 40 * GIB;
    before.push(last);
    let smaller = judge(&Watch::default(), &ran(10, 500 * MIB, MIB), before.clone());
    assert!(smaller.is_alarm());
    let words = Fact::from(smaller).words();
    assert_eq!(words.reason, "Shrunken");
    for part in ["20 GiB", "40 GiB", "data", "day-9"] {
        assert!(
            words.en.contains(part) && words.vi.contains(part),
            "{words:?}"
        );
    }
    // Also when what the run did is not known.
    let mut lost = ran(10, 0, 0);
    lost.figures = None;
    assert_eq!(judged(&lost, before), "Shrunken");
}

fn backup(day: i64, read: u64, added: u64) -> Backup {
    let taken_at = Timestamp::from_second(day * DAY).unwrap().to_string();
    let mut backup = Backup::new(
        &format!("day-{day}"),
        BackupSpec {
            vm: "web".into(),
            repository: "main".into(),
            policy: Some("nightly".into()),
            scheduled_at: Some(taken_at.clone()),
        },
    );
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap();
    backup.status = Some(BackupStatus {
        snapshot_id: Some("0".repeat(64)),
        taken_at: Some(taken_at),
        figures: Some(RunFigures {
            size_bytes: bytes(20 * GIB),
            read_bytes: bytes(read),
            added_bytes: bytes(added),
        }),
        volumes: vec![BackupVolume {
            volume: "web-root".into(),
            file: "web-root.raw".into(),
            size: "20Gi".into(),
            incremental: true,
            why_full: None,
        }],
        ..BackupStatus::default()
    });
    backup
}

#[test]
fn what_somebody_has_looked_at_is_no_alarm_and_stays_told() {
    let policy = crate::backup_policy::tests::policy();
    let mut all: Vec<Backup> = (0..10)
        .map(|day| backup(day, 500 * MIB, 100 * MIB))
        .collect();
    all.push(backup(10, 8 * GIB, 8 * GIB));
    // What came later does not change what is said of it.
    all.push(backup(11, 8 * GIB, 8 * GIB));
    let told = |all: &[Backup], policy: Option<&BackupPolicy>| {
        let siblings: Vec<&Backup> = all.iter().collect();
        usual(&all[10], policy, &siblings).map(|fact| fact.words().reason)
    };
    assert_eq!(told(&all, Some(&policy)).as_deref(), Some("LooksEncrypted"));
    let says = [(LOOKED_AT.to_owned(), "image update, an@".to_owned())];
    all[10].metadata.annotations = Some(says.clone().into());
    assert_eq!(told(&all, Some(&policy)).as_deref(), Some("LookedAt"));
    // It says nothing of one that is as the others.
    all[3].metadata.annotations = Some(says.into());
    let siblings: Vec<&Backup> = all.iter().collect();
    let third = usual(&all[3], Some(&policy), &siblings).unwrap();
    assert_eq!(third.words().reason, "Usual");
    let mut quiet = policy.clone();
    quiet.spec.watch = Some(Watch {
        suspend: true,
        ..Watch::default()
    });
    assert_eq!(told(&all, Some(&quiet)), None);
    assert_eq!(told(&all, None), None);
}

fn history() -> impl Strategy<Value = Vec<Run>> {
    let one = (0..64 * GIB, 0..64 * GIB, any::<bool>());
    proptest::collection::vec(one, 0..20).prop_map(|all| {
        let all = all.into_iter().zip(0..);
        let all = all.map(|((read, added, incremental), day)| Run {
            incremental,
            ..ran(day, read, added.min(read))
        });
        all.collect()
    })
}

proptest! {
    /// It does not matter in which order the records are read.
    #[test]
    fn the_order_in_which_records_are_read_decides_nothing(
        (before, shuffled) in history().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        read in 0..64 * GIB,
    ) {
        let run = ran(30, read, read / 2);
        let watch = Watch::default();
        prop_assert_eq!(judge(&watch, &run, before), judge(&watch, &run, shuffled));
    }

    /// A machine that does the same each day is never an alarm, whatever that is.
    #[test]
    fn who_does_the_same_each_day_is_no_alarm(
        read in 0..64 * GIB,
        part in 0..=100u64,
        days in 0..30i64,
    ) {
        let added = read / 100 * part;
        let before = (0..days).map(|day| ran(day, read, added)).collect();
        prop_assert!(!judge(&Watch::default(), &ran(days, read, added), before).is_alarm());
    }

    /// More change never makes an alarm of change go away.
    #[test]
    fn more_change_is_never_less_of_an_alarm(
        before in history(),
        (less, more) in (0..64 * GIB, 0..64 * GIB).prop_map(|(a, b)| (a.min(b), a.max(b))),
    ) {
        let much = |read| matches!(
            judge(&Watch::default(), &ran(30, read, 0), before.clone()),
            WatchFact::MuchChanged(_) | WatchFact::LooksEncrypted(_)
        );
        prop_assert!(!much(less) || much(more));
    }
}
