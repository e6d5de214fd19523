//! Every verb repeated, and cut off before each of its effects and repeated.
//!
//! A rig on the machine starts this program once more for each cut-off: the child attaches to the
//! same pool, does the verb, and ends itself without any cleaning up right before its first, second,
//! third … effect. Then another process repeats the verb. A rig in memory uses its knobs.
//!
//! The same with a pool that goes away right before each effect and comes back: after the verb, or
//! before the verb's next effect.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dc_agent_core::storage::{EraseMethod, Note, Removal, VolumeBytes, Watermark};
use dc_host::drivers::{Driver, DriverError, cutoff};
use dc_types::plan::{ImageItem, VolumeSource};
use dc_types::report::Verb;
use dc_types::{Bytes, ImageUid, InstanceId, SnapshotId};
use serde::{Deserialize, Serialize};

use super::bench::{Bench, MIB, SIZE, epoch, order, owner, pool};
use super::bytes::assert_same;
use super::rig::{Place, Rig};

const VERB: &str = "DC_STORAGE_TEST_VERB";
const AFTER: &str = "DC_STORAGE_TEST_AFTER";
const DONE: &str = "the verb was done to its end";

/// One verb, as it can be told to another process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Asked {
    Create {
        volume: InstanceId,
        source: VolumeSource,
    },
    Grow(InstanceId),
    Retain(InstanceId),
    Discard(InstanceId),
    Zero(InstanceId),
    Randomize(InstanceId),
    Snapshot {
        volume: InstanceId,
        snapshot: SnapshotId,
    },
    DropSnapshot {
        volume: InstanceId,
        snapshot: SnapshotId,
    },
    Restore {
        volume: InstanceId,
        snapshot: SnapshotId,
    },
    Grant(InstanceId),
    Revoke(InstanceId),
    Fetch(ImageItem),
    RemoveImage(ImageUid),
}

const KINDS: [&str; 13] = [
    "create", "clone", "grow", "retain", "discard", "zero", "random", "snapshot", "drop",
    "restore", "grant", "revoke", "image",
];

/// How a process that was to do a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Done,
    CutOff,
}

pub async fn act<R: Rig>(asked: &Asked, driver: &dyn Driver) -> Result<(), DriverError> {
    let removal = |volume: &InstanceId| Removal {
        pool: pool(),
        volume: *volume,
        epoch: epoch(6),
        owner: owner(),
    };
    let erase = async |volume: &InstanceId, method| {
        let erased = driver.erase_volume(&removal(volume), method).await;
        erased.map(drop)
    };
    match asked {
        Asked::Create { volume, source } => {
            driver.create_volume(*volume, Bytes(SIZE), source).await
        }
        Asked::Grow(volume) => driver.grow_volume(*volume, Bytes(SIZE + MIB)).await,
        Asked::Retain(volume) => driver.retain_volume(&removal(volume)).await,
        Asked::Discard(volume) => erase(volume, EraseMethod::Discard).await,
        Asked::Zero(volume) => erase(volume, EraseMethod::Zero).await,
        Asked::Randomize(volume) => erase(volume, EraseMethod::Random).await,
        Asked::Snapshot { volume, snapshot } => driver.create_snapshot(*volume, *snapshot).await,
        Asked::DropSnapshot { volume, snapshot } => {
            driver.delete_snapshot(*volume, *snapshot).await
        }
        Asked::Restore { volume, snapshot } => driver.restore_volume(*volume, *snapshot).await,
        Asked::Grant(volume) => driver.grant(&order::<R>(*volume, 6)).await,
        Asked::Revoke(volume) => {
            for grant in driver.list_grants().await? {
                if grant.volume == *volume {
                    driver.revoke(&grant).await?;
                }
            }
            Ok(())
        }
        Asked::Fetch(item) => driver.fetch_image(item, epoch(2)).await,
        Asked::RemoveImage(image) => driver.remove_image(*image).await,
    }
}

/// In a child: does the verb it was started for.
pub fn act_as_asked<R: Rig>() -> Option<()> {
    let asked: Asked = serde_json::from_str(&std::env::var(VERB).ok()?).unwrap();
    let after: u64 = std::env::var(AFTER).unwrap().parse().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let driver = R::attach(None).await;
        assert_eq!(driver.ensure_pool().await.fault, None);
        cutoff::die_before(after);
        act::<R>(&asked, &*driver).await.unwrap();
        println!("{DONE}");
    });
    Some(())
}

/// Does a verb in a process that ends before its effect after `after` others.
pub fn cut_off_child(asked: &Asked, after: u64) -> Ended {
    // The process outside the namespaces has told which test this is.
    let mut told = std::env::args().skip_while(|argument| argument != "--exact");
    let test = told.nth(1).expect("this process runs one test");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture", "--test-threads", "1"])
        .env(VERB, serde_json::to_string(asked).unwrap())
        .env(AFTER, after.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && said.contains(DONE) {
        return Ended::Done;
    }
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(signal, Some(6), "{asked:?}:\n{said}\n{failed}");
    Ended::CutOff
}

/// A volume with bytes, and a verb that is asked of it.
struct Stage {
    volume: InstanceId,
    /// What it holds before the verb.
    before: Vec<u8>,
    /// What the verb is to bring about, of a volume or a snapshot.
    after: Vec<u8>,
    snapshot: SnapshotId,
    asked: Asked,
}

/// `None` when the driver lacks what it takes.
async fn prepare<R: Rig>(bench: &mut Bench<R>, kind: &str) -> Option<Stage> {
    let needs_snapshot = ["snapshot", "drop", "restore"].contains(&kind);
    if needs_snapshot && bench.lacks(Verb::Snapshot).await {
        return None;
    }
    let volume = bench.blank().await;
    let bytes = bench.random.bytes(2 * MIB);
    bench.write(volume, 3 * MIB, &bytes).await;
    let mut before = vec![0; SIZE as usize];
    before[(3 * MIB) as usize..(5 * MIB) as usize].copy_from_slice(&bytes);
    let mut stage = Stage {
        volume,
        after: before.clone(),
        before,
        snapshot: bench.new_snapshot(),
        asked: Asked::Grow(volume),
    };
    let snapshot = stage.snapshot;
    stage.asked = match kind {
        "create" | "clone" => {
            let source = match kind {
                "clone" => VolumeSource::Volume(volume),
                _ => VolumeSource::Blank,
            };
            if source == VolumeSource::Blank {
                stage.after.fill(0);
            }
            stage.volume = bench.new_volume();
            bench.own(stage.volume).await;
            Asked::Create {
                volume: stage.volume,
                source,
            }
        }
        "grow" => {
            stage.after.resize((SIZE + MIB) as usize, 0);
            Asked::Grow(volume)
        }
        "retain" => Asked::Retain(volume),
        "discard" => Asked::Discard(volume),
        "zero" => Asked::Zero(volume),
        "random" => Asked::Randomize(volume),
        "snapshot" => Asked::Snapshot { volume, snapshot },
        "drop" => {
            stage.snapshot = bench.snapshot(volume).await;
            Asked::DropSnapshot {
                volume,
                snapshot: stage.snapshot,
            }
        }
        "restore" => {
            stage.snapshot = bench.snapshot(volume).await;
            bench.write(volume, 0, &[9; 8192]).await;
            stage.before[..8192].fill(9);
            Asked::Restore {
                volume,
                snapshot: stage.snapshot,
            }
        }
        "grant" | "revoke" => {
            let note = Note::Watermark(Watermark::open(epoch(6)));
            bench.driver.note_volume(volume, &note).await.unwrap();
            if kind == "grant" {
                Asked::Grant(volume)
            } else {
                bench.grant(volume, 6).await.unwrap();
                Asked::Revoke(volume)
            }
        }
        "image" => Asked::Fetch(bench.rig.image(&bytes)?),
        other => panic!("no verb {other}"),
    };
    Some(stage)
}

/// What is there after a cut-off is as it was or as it is to be, never in between.
async fn see_whole<R: Rig>(bench: &Bench<R>, stage: &Stage) {
    let seen = bench.seen(stage.volume).await;
    let erases = matches!(
        stage.asked,
        Asked::Discard(_) | Asked::Zero(_) | Asked::Randomize(_)
    );
    match seen.as_ref().map(|seen| seen.bytes) {
        Some(VolumeBytes::Present { size, .. }) if bench.grants(stage.volume).await.is_empty() => {
            let now = bench.read(stage.volume).await;
            assert_eq!(size.0, now.len() as u64);
            let whole = now == stage.before || now == stage.after;
            assert!(whole, "{:?} left something in between", stage.asked);
        }
        Some(VolumeBytes::Erasing) => assert!(erases, "{:?}", stage.asked),
        _ => {}
    }
    let snapshots = seen.map(|seen| seen.snapshots).unwrap_or_default();
    if let Some(there) = snapshots.get(&stage.snapshot) {
        assert_eq!(there.fault, None, "{:?}", stage.asked);
        let now = bench.read_snapshot(stage.volume, stage.snapshot).await;
        assert_same(&now, &stage.after, "the snapshot");
    }
}

/// The verb has done what it is for.
async fn see_done<R: Rig>(bench: &mut Bench<R>, stage: &Stage) {
    let Stage {
        volume,
        before: _,
        after,
        snapshot,
        asked,
    } = stage;
    match asked {
        Asked::Create { .. } | Asked::Grow(_) | Asked::Restore { .. } => {
            assert_same(&bench.read(*volume).await, after, "the volume");
        }
        Asked::Retain(_) | Asked::Discard(_) | Asked::Zero(_) | Asked::Randomize(_) => {
            let seen = bench.seen(*volume).await.unwrap();
            assert_eq!(seen.bytes, VolumeBytes::Absent);
            assert!(seen.record.unwrap().gone.is_some());
        }
        Asked::Snapshot { .. } => {
            assert_same(&bench.read_snapshot(*volume, *snapshot).await, after, "it");
        }
        Asked::DropSnapshot { .. } => {
            assert!(bench.seen(*volume).await.unwrap().snapshots.is_empty());
        }
        Asked::Grant(_) => {
            let grants = bench.grants(*volume).await;
            assert_eq!(grants.len(), 1, "{grants:?}");
            if let Some(holder) = R::holder(*volume, epoch(6)) {
                holder.act(&["read 0 512"]);
            }
        }
        Asked::Revoke(_) => assert_eq!(bench.grants(*volume).await, []),
        Asked::Fetch(item) => {
            let images = bench.driver.list().await.unwrap().images;
            assert_eq!(images[&item.image].sha256, item.sha256);
        }
        Asked::RemoveImage(_) => assert!(bench.driver.list().await.unwrap().images.is_empty()),
    }
}

/// Takes away what a case has left, so that the next has the same room. A cluster has room for all of
/// them, and an erasure there is a dozen programs.
async fn clear<R: Rig>(bench: &mut Bench<R>, stage: &Stage) {
    bench.wait_until_free(stage.volume).await;
    bench.fence(stage.volume).await;
    if R::PLACE == Place::Ceph {
        bench.drop_snapshot(stage.volume, stage.snapshot).await;
        return;
    }
    let volumes = bench.driver.list().await.unwrap().volumes;
    for (volume, there) in volumes {
        for snapshot in there.snapshots.keys() {
            bench.drop_snapshot(volume, *snapshot).await;
        }
        let record = there
            .record
            .iter()
            .flat_map(|record| record.snapshots.keys());
        for snapshot in record {
            bench.drop_snapshot(volume, *snapshot).await;
        }
        let order = bench.removal(volume);
        let erased = bench
            .driver
            .erase_volume(&order, EraseMethod::Discard)
            .await;
        erased.unwrap();
    }
    if let Asked::Fetch(item) = &stage.asked {
        let removed = act::<R>(&Asked::RemoveImage(item.image), &*bench.driver).await;
        removed.unwrap();
    }
}

pub async fn every_verb_may_be_repeated<R: Rig>(bench: &mut Bench<R>) {
    for kind in KINDS {
        let Some(stage) = prepare(bench, kind).await else {
            continue;
        };
        for _ in 0..3 {
            let done = act::<R>(&stage.asked, &*bench.driver).await;
            done.unwrap_or_else(|error| panic!("{kind}: {error:?}"));
            bench.restart().await;
        }
        see_done(bench, &stage).await;
        clear(bench, &stage).await;
    }
}

pub async fn every_verb_may_be_cut_off_anywhere_and_repeated<R: Rig>(bench: &mut Bench<R>) {
    for kind in KINDS {
        for after in 0.. {
            let Some(stage) = prepare(bench, kind).await else {
                break;
            };
            let ended = bench.rig.cut_off(&stage.asked, after).await;
            bench.restart().await;
            see_whole(bench, &stage).await;
            let done = act::<R>(&stage.asked, &*bench.driver).await;
            done.unwrap_or_else(|error| panic!("{kind}, cut off after {after}: {error:?}"));
            see_done(bench, &stage).await;
            clear(bench, &stage).await;
            if ended == Ended::Done {
                println!("{kind}: {after} effects");
                assert!(after > 0, "{kind} has no effect");
                break;
            }
        }
    }
    see_nothing_left(bench).await;
}

async fn see_nothing_left<R: Rig>(bench: &Bench<R>) {
    let left = bench.driver.list().await.unwrap().strays;
    let retained = |name: &str| name.contains("retained");
    let left: Vec<_> = left.iter().filter(|stray| !retained(&stray.name)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// When a pool that went away in the middle of a verb is there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    /// When the verb has ended.
    After,
    /// Before the verb's next effect: at its end all is as at its begin.
    Within,
}

pub async fn every_verb_may_lose_its_pool_anywhere_and_be_repeated<R: Rig>(bench: &mut Bench<R>) {
    lose_pool(bench, Back::After).await;
}

pub async fn every_verb_may_lose_its_pool_for_a_moment_and_be_repeated<R: Rig>(
    bench: &mut Bench<R>,
) {
    lose_pool(bench, Back::Within).await;
}

async fn lose_pool<R: Rig>(bench: &mut Bench<R>, back: Back) {
    if R::PLACE == Place::Memory {
        // What is in memory does all of a verb at once.
        return;
    }
    for kind in KINDS {
        for after in 0.. {
            let Some(stage) = prepare(bench, kind).await else {
                break;
            };
            let is_away = Arc::new(AtomicBool::new(false));
            let was_away = take_before(bench.rig.taker(), after, back, is_away.clone());
            let done = act::<R>(&stage.asked, &*bench.driver).await;
            cutoff::call_off();
            let went = was_away.load(Ordering::SeqCst);
            if went {
                println!("{kind}, the pool away after {after}, back {back:?}: {done:?}");
            }
            if is_away.load(Ordering::SeqCst) {
                bench.rig.take_away(false);
            }
            bench.restart().await;
            match done {
                Ok(()) => see_done(bench, &stage).await,
                Err(_) => see_whole(bench, &stage).await,
            }
            let done = act::<R>(&stage.asked, &*bench.driver).await;
            done.unwrap_or_else(|error| panic!("{kind}, away after {after}: {error:?}"));
            see_done(bench, &stage).await;
            clear(bench, &stage).await;
            if !went {
                break;
            }
        }
    }
    see_nothing_left(bench).await;
}

/// Takes the pool away right before the effect after `after` others; what it gives tells whether it
/// came to that.
fn take_before(
    take: Box<dyn Fn(bool) + Send>,
    after: u64,
    back: Back,
    is_away: Arc<AtomicBool>,
) -> Arc<AtomicBool> {
    let went = Arc::new(AtomicBool::new(false));
    let told = went.clone();
    cutoff::call_before(after, move || {
        take(true);
        told.store(true, Ordering::SeqCst);
        is_away.store(true, Ordering::SeqCst);
        if back == Back::Within {
            cutoff::call_before(0, move || {
                take(false);
                is_away.store(false, Ordering::SeqCst);
            });
        }
    });
    went
}
