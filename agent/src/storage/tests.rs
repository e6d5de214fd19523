//! The storage vertical over a fake machine: each call failed, unanswered, or the last of a
//! process, and then gone on with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dc_agent_core::storage::{Admits, GrantForm, GrantSeen, Seen, Step, Watermark, plan, status};
use dc_agent_core::wanted::{
    Folders, HostAddresses, HostView, PoolConfig, Releases, Status, WantedOwned,
};
use dc_host::targets::Targets;
use dc_host::{Fakes, Rule, Tools};
use dc_types::plan::{
    Chap, Disposition, GrantAccess, GrantItem, ImageFormat, ImageItem, ImageSource, Item, ItemBody,
    ItemKey, ItemKind, Items, Release, RestoreOrder, Secret, SnapshotItem, VolumeItem,
    VolumeSource,
};
use dc_types::report::{Accelerator, ItemState, Role, Trouble};
use dc_types::{
    Bytes, Epoch, HostName, ImageUid, InstanceId, ObjectRef, ObjectUid, PoolName, SnapshotId,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::{apply, read};

const GIB: u64 = 1 << 30;

fn pool() -> PoolName {
    PoolName::new("p1").unwrap()
}

fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

fn volume(n: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(n))
}

fn snapshot(n: u128) -> SnapshotId {
    SnapshotId(Uuid::from_u128(2000 + n))
}

fn image() -> ImageUid {
    ImageUid(Uuid::from_u128(1000))
}

fn object(id: Uuid) -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: "data".into(),
        uid: ObjectUid(id),
    }
}

fn host() -> HostView {
    let address = "10.0.0.1".parse().unwrap();
    HostView {
        name: HostName::new("s1").unwrap(),
        roles: vec![Role::Storage],
        accelerator: Accelerator::Tcg,
        addresses: HostAddresses {
            management: address,
            storage: address,
            overlay: address,
        },
        portal: None,
        pools: BTreeMap::from([(
            pool(),
            PoolConfig::Iscsi {
                folder: "/pools/p1".into(),
            },
        )]),
        edge: None,
        folders: Folders {
            state: "/state".into(),
            images: "/images".into(),
            seeds: "/seeds".into(),
            consoles: "/consoles".into(),
        },
        boot_id: "boot".into(),
    }
}

/// A storage host's machine, and what is asked of it.
struct Bench {
    fakes: Fakes,
    items: Items,
    releases: Releases,
    troubles: BTreeMap<ItemKey, Trouble>,
}

impl Bench {
    fn new() -> Self {
        Self {
            fakes: Fakes::new(&host()),
            items: Items::new(),
            releases: Releases::new(),
            troubles: BTreeMap::new(),
        }
    }

    fn tools(&self) -> Tools {
        self.fakes.tools()
    }

    fn put(&mut self, kind: ItemKind, id: Uuid, revision: u64, body: ItemBody) {
        let key = ItemKey::new(kind, id);
        let item = Item {
            key,
            epoch: epoch(revision),
            object: object(id),
            body,
        };
        self.items.insert(key, item);
    }

    fn put_image(&mut self) {
        let body = ImageItem {
            image: image(),
            pool: pool(),
            source: ImageSource::File("debian.qcow2".into()),
            sha256: "a".repeat(64),
            format: ImageFormat::Qcow2,
            max_download: Bytes(GIB),
            max_virtual: Bytes(10 * GIB),
        };
        self.put(ItemKind::Image, image().0, 2, ItemBody::Image(body));
    }

    fn put_volume(&mut self, n: u128, revision: u64, gib: u64, source: VolumeSource) {
        let body = VolumeItem {
            volume: volume(n),
            pool: pool(),
            size: Bytes(gib * GIB),
            source,
            restore: None,
        };
        let body = ItemBody::Volume(body);
        self.put(ItemKind::Volume, volume(n).0, revision, body);
    }

    /// Snapshot `n` of the volume of that number.
    fn put_snapshot(&mut self, n: u128, revision: u64) {
        let body = SnapshotItem {
            snapshot: snapshot(n),
            volume: volume(n),
            pool: pool(),
        };
        let body = ItemBody::Snapshot(body);
        self.put(ItemKind::Snapshot, snapshot(n).0, revision, body);
    }

    fn put_grant(&mut self, n: u128, revision: u64) {
        let body = ItemBody::Grant(grant(n, revision));
        self.put(ItemKind::Grant, volume(n).0, revision, body);
    }

    fn release(&mut self, kind: ItemKind, id: Uuid, revision: u64, disposition: Disposition) {
        let key = ItemKey::new(kind, id);
        let release = Release {
            key,
            epoch: epoch(revision),
            object: object(id),
            disposition,
        };
        self.releases.insert(key, release);
    }

    fn wanted(&self) -> WantedOwned {
        WantedOwned {
            items: Arc::new(self.items.clone()),
            releases: Arc::new(self.releases.clone()),
            host: Arc::new(host()),
            ready: Arc::default(),
        }
    }

    async fn seen(&self) -> Seen {
        match read(&self.tools(), &self.wanted()).await {
            Ok(seen) => seen,
        }
    }

    async fn plan(&self) -> Vec<Step> {
        plan(&self.wanted().as_wanted(), &self.seen().await)
    }

    async fn status(&self) -> Status {
        let seen = self.seen().await;
        let wanted = self.wanted();
        status(&wanted.as_wanted(), &seen, &self.troubles, &BTreeSet::new())
    }

    /// One look and the steps it asks for. A failure skips the rest of its key.
    async fn round(&mut self) {
        self.troubles.clear();
        for step in self.plan().await {
            if self.troubles.contains_key(&step.key()) {
                continue;
            }
            if let Err(trouble) = apply(&self.tools(), &step).await {
                self.troubles.insert(step.key(), trouble);
            }
            self.check().await;
        }
    }

    /// Rounds until nothing is left to do. Every trouble must heal by trying again.
    async fn settle(&mut self) {
        for _ in 0..12 {
            if self.plan().await.is_empty() {
                return;
            }
            self.round().await;
        }
        panic!(
            "it does not settle: {:#?} {:#?}",
            self.plan().await,
            self.troubles
        );
    }

    /// What must hold after every step: of each volume at most one target lets anybody in, and it
    /// is the one of the watermark.
    async fn check(&self) {
        if self.fakes.knobs.is_cut_off() {
            return;
        }
        let seen = self.seen().await;
        let volumes = seen.pools.values().flat_map(|pool| &pool.contents.volumes);
        for (id, there) in volumes {
            let open: Vec<&GrantSeen> = seen
                .grants_of(*id)
                .filter(|grant| matches!(grant.form, GrantForm::Whole(Admits::Iscsi { .. })))
                .collect();
            assert!(open.len() <= 1, "two open grants: {open:#?}");
            let mark = there.record.as_ref().and_then(|record| record.grants);
            for grant in open {
                assert!(
                    mark.is_some_and(|mark| mark >= Watermark::open(grant.epoch)),
                    "{grant:?} is open above {mark:?}"
                );
            }
        }
    }

    async fn targets(&self) -> Vec<String> {
        let targets = self.fakes.targets.list_targets().await.unwrap();
        targets.into_iter().map(|target| target.name).collect()
    }
}

fn grant(n: u128, revision: u64) -> GrantItem {
    GrantItem {
        volume: volume(n),
        pool: pool(),
        initiator: format!("iqn.2025-06.vn.gov.sonla.dc:host:h1:{revision}"),
        access: GrantAccess::Iscsi {
            chap: chap(n, revision),
        },
    }
}

fn chap(n: u128, revision: u64) -> Chap {
    Chap {
        user: format!("{}.{revision}", volume(n)),
        secret: Secret(format!("secret000000{revision}")),
    }
}

fn ask_for_all(bench: &mut Bench) {
    bench.put_image();
    bench.put_volume(1, 5, 10, VolumeSource::Image(image()));
    bench.put_volume(2, 5, 20, VolumeSource::Blank);
    bench.put_grant(1, 6);
    bench.put_grant(2, 6);
    bench.put_snapshot(1, 6);
    bench.put_snapshot(2, 6);
    let snapshot = VolumeSource::Snapshot {
        volume: volume(1),
        snapshot: snapshot(1),
    };
    bench.put_volume(3, 6, 10, snapshot);
}

fn ask_for_change(bench: &mut Bench) {
    bench.put_grant(1, 9);
    bench.put_volume(2, 5, 30, VolumeSource::Blank);
    let key = ItemKey::new(ItemKind::Volume, volume(2).0);
    if let Some(ItemBody::Volume(body)) = bench.items.get_mut(&key).map(|item| &mut item.body) {
        body.restore = Some(RestoreOrder {
            snapshot: snapshot(2),
            order: "first".into(),
        });
    }
}

fn ask_for_nothing(bench: &mut Bench) {
    for n in [1, 2] {
        let id = volume(n).0;
        bench.release(ItemKind::Grant, id, 9, Disposition::Remove);
    }
    for n in [1, 2] {
        bench.release(ItemKind::Snapshot, snapshot(n).0, 6, Disposition::Remove);
    }
    bench.release(ItemKind::Volume, volume(1).0, 5, Disposition::EraseZero);
    bench.release(ItemKind::Volume, volume(2).0, 5, Disposition::Retain);
    bench.release(ItemKind::Volume, volume(3).0, 6, Disposition::EraseRandom);
    bench.release(ItemKind::Image, image().0, 2, Disposition::Remove);
}

/// From nothing to everything, to a change, to nothing again.
const STAGES: [fn(&mut Bench); 3] = [ask_for_all, ask_for_change, ask_for_nothing];

async fn expect_stage(bench: &Bench, stage: usize) {
    let status = bench.status().await;
    match stage {
        0 | 1 => {
            for observation in status.observations {
                let state = &observation.state;
                assert_eq!(*state, ItemState::Ready, "{}", observation.key);
            }
            let of_1 = ["1.6", "1.9"][stage];
            let names = bench.targets().await;
            assert_eq!(names.len(), 2, "{names:?}");
            let there = names.contains(&GrantItem::target_name(volume(1), of_1.parse().unwrap()));
            assert!(there, "{names:?}");
        }
        _ => {
            assert_eq!(status.released.len(), 8, "{:#?}", status.released);
            assert!(bench.targets().await.is_empty());
            let erased = BTreeSet::from_iter(bench.fakes.pool(&pool()).erased());
            assert_eq!(erased, BTreeSet::from([volume(1), volume(3)]));
            assert_eq!(
                bench.fakes.pool(&pool()).retained(),
                BTreeSet::from([volume(2)])
            );
        }
    }
}

#[tokio::test]
async fn everything_comes_up_changes_and_goes() {
    let mut bench = Bench::new();
    for (stage, ask) in STAGES.iter().enumerate() {
        ask(&mut bench);
        bench.settle().await;
        expect_stage(&bench, stage).await;
    }
    assert_eq!(bench.fakes.targets.accounts(), 0);
}

#[tokio::test]
async fn a_process_that_dies_at_any_call_is_followed_by_one_that_goes_on() {
    let mut after = 0;
    for stage in 0..STAGES.len() {
        loop {
            let mut bench = Bench::new();
            for ask in &STAGES[..stage] {
                ask(&mut bench);
                bench.settle().await;
            }
            STAGES[stage](&mut bench);
            bench.fakes.knobs.set("*", Rule::cut_off_after(after));
            for _ in 0..6 {
                bench.round().await;
            }
            let died = bench.fakes.knobs.is_cut_off();
            bench.fakes.knobs.revive();
            bench.check().await;
            bench.settle().await;
            expect_stage(&bench, stage).await;
            after += 1;
            if !died {
                assert!(after > 15, "the process hardly did anything");
                after = 0;
                break;
            }
        }
    }
}

#[tokio::test]
async fn every_call_may_fail_once_or_lose_its_answer() {
    let mut probe = Bench::new();
    for ask in STAGES {
        ask(&mut probe);
        probe.settle().await;
    }
    let calls: Vec<String> = probe.fakes.knobs.counts().into_keys().collect();
    assert!(calls.len() > 15, "{calls:?}");
    for call in &calls {
        for rule in [Rule::fail_once(), Rule::lose_answer_once()] {
            let mut bench = Bench::new();
            for (stage, ask) in STAGES.iter().enumerate() {
                ask(&mut bench);
                bench.fakes.knobs.set(call.clone(), rule.clone());
                bench.round().await;
                bench.settle().await;
                bench.fakes.knobs.revive();
                bench.settle().await;
                expect_stage(&bench, stage).await;
            }
        }
    }
}

#[tokio::test]
async fn every_step_may_be_done_twice() {
    let mut bench = Bench::new();
    for (stage, ask) in STAGES.iter().enumerate() {
        ask(&mut bench);
        for _ in 0..12 {
            for step in bench.plan().await {
                for _ in 0..2 {
                    // A target that is there is not made twice; the first one stays.
                    let again = apply(&bench.tools(), &step).await;
                    let exposes = matches!(step, Step::Expose { .. });
                    assert!(again.is_ok() || exposes, "{step:?}: {again:?}");
                }
                bench.check().await;
            }
        }
        expect_stage(&bench, stage).await;
    }
}

#[tokio::test]
async fn a_daemon_that_forgot_gets_the_current_epoch_back_and_a_reboot_too() {
    let mut bench = Bench::new();
    ask_for_all(&mut bench);
    bench.settle().await;
    let before: BTreeSet<String> = bench.targets().await.into_iter().collect();
    bench.fakes.reboot();
    assert!(bench.targets().await.is_empty());
    bench.settle().await;
    let after: BTreeSet<String> = bench.targets().await.into_iter().collect();
    assert_eq!(before, after);
    expect_stage(&bench, 0).await;
}

#[tokio::test]
async fn an_initiator_of_an_old_epoch_is_cut_and_stays_out() {
    let mut bench = Bench::new();
    ask_for_all(&mut bench);
    bench.settle().await;
    let targets = &bench.fakes.targets.clone();
    let (old, new) = (grant(1, 6), grant(1, 9));
    let name = GrantItem::target_name(volume(1), epoch(6));
    let (old_chap, new_chap) = (&chap(1, 6), &chap(1, 9));
    let session = targets.log_in(&name, &old.initiator, old_chap).unwrap();
    targets.begin_log_in(&name, &old.initiator);
    targets.keep_active(&name, 2);
    bench.put_grant(1, 9);
    bench.settle().await;
    assert!(!targets.is_logged_in(session));
    assert!(targets.log_in(&name, &old.initiator, old_chap).is_none());
    let next = GrantItem::target_name(volume(1), epoch(9));
    assert!(targets.log_in(&next, &old.initiator, old_chap).is_none());
    assert!(targets.log_in(&next, &new.initiator, new_chap).is_some());
    // An old plan comes back, to an agent that remembers nothing and a daemon that forgot.
    targets.restart();
    bench.put_grant(1, 6);
    bench.settle().await;
    assert!(targets.log_in(&name, &old.initiator, old_chap).is_none());
}

#[tokio::test]
async fn an_expose_that_was_planned_before_a_fence_is_refused_by_the_storage() {
    let mut bench = Bench::new();
    ask_for_all(&mut bench);
    let of_1 =
        |step: &Step| matches!(step, Step::Expose { expose, .. } if expose.volume == volume(1));
    while !bench.plan().await.iter().any(of_1) {
        bench.round().await;
    }
    let late = bench.plan().await;
    bench.put_grant(1, 9);
    bench.settle().await;
    bench.fakes.targets.restart();
    // Its watermark is written first, and is lower than what is there.
    let step = late.iter().find(|step| of_1(step)).unwrap();
    let trouble = apply(&bench.tools(), step).await.unwrap_err();
    assert_eq!(trouble.reason, "StaleEpoch");
    assert!(bench.targets().await.is_empty());
}

#[tokio::test]
async fn a_pool_or_daemon_that_hides_holds_only_its_own_back() {
    let mut bench = Bench::new();
    ask_for_all(&mut bench);
    bench.settle().await;
    bench
        .fakes
        .knobs
        .set("tgt.list_targets", Rule::fail_always());
    bench.put_volume(4, 5, 10, VolumeSource::Blank);
    bench.release(ItemKind::Grant, volume(1).0, 6, Disposition::Remove);
    bench.settle().await;
    let status = bench.status().await;
    let state = |kind, n| {
        let key = ItemKey::new(kind, volume(n).0);
        let found = status.observations.iter().find(|o| o.key == key);
        found.unwrap().state.clone()
    };
    assert_eq!(state(ItemKind::Volume, 4), ItemState::Ready);
    let silent = state(ItemKind::Grant, 2);
    assert!(
        matches!(&silent, ItemState::Pending(t) if t.reason == "GrantsUnknown"),
        "{silent:?}"
    );
    assert_eq!(status.released, []);
    bench.fakes.knobs.revive();
    let broken = bench.fakes.pool(&pool()).clone();
    broken.set_fault(Some("no disk".into()));
    assert_eq!(bench.plan().await.len(), 1, "the fence needs no pool");
    broken.set_fault(None);
    bench.settle().await;
    assert_eq!(bench.status().await.released.len(), 1);
}

#[derive(Clone, Debug)]
enum Event {
    Volume {
        n: u128,
        revision: u64,
        gib: u64,
        cloned: bool,
    },
    Image,
    Grant {
        n: u128,
        revision: u64,
    },
    Release {
        kind: ItemKind,
        n: u128,
        revision: u64,
        disposition: Disposition,
    },
    Reboot,
    CutOff {
        after: u64,
    },
    Round,
}

fn event() -> impl Strategy<Value = Event> {
    let n = || 1u128..3;
    let revision = || 1u64..9;
    let disposition = prop_oneof![
        Just(Disposition::Retain),
        Just(Disposition::EraseDiscard),
        Just(Disposition::EraseZero)
    ];
    let kind = prop_oneof![Just(ItemKind::Volume), Just(ItemKind::Grant)];
    prop_oneof![
        (n(), revision(), 3u64..6, any::<bool>()).prop_map(|(n, revision, gib, cloned)| {
            Event::Volume {
                n,
                revision,
                gib,
                cloned,
            }
        }),
        Just(Event::Image),
        (n(), revision()).prop_map(|(n, revision)| Event::Grant { n, revision }),
        (kind, n(), revision(), disposition).prop_map(|(kind, n, revision, disposition)| {
            Event::Release {
                kind,
                n,
                revision,
                disposition,
            }
        }),
        Just(Event::Reboot),
        (0u64..20).prop_map(|after| Event::CutOff { after }),
        Just(Event::Round),
    ]
}

async fn happen(bench: &mut Bench, event: Event) {
    match event {
        Event::Volume {
            n,
            revision,
            gib,
            cloned,
        } => {
            let source = match cloned {
                true => VolumeSource::Image(image()),
                false => VolumeSource::Blank,
            };
            bench.put_volume(n, revision, gib, source);
        }
        Event::Image => bench.put_image(),
        Event::Grant { n, revision } => bench.put_grant(n, revision),
        Event::Release {
            kind,
            n,
            revision,
            disposition,
        } => {
            bench.release(kind, volume(n).0, revision, disposition);
        }
        Event::Reboot => bench.fakes.reboot(),
        Event::CutOff { after } => {
            bench.fakes.knobs.set("*", Rule::cut_off_after(after));
            bench.round().await;
            bench.fakes.knobs.revive();
        }
        Event::Round => bench.round().await,
    }
    bench.check().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_happens_the_next_plan_comes_to_an_end(
        events in prop::collection::vec(event(), 1..20)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new();
            for event in events {
                happen(&mut bench, event).await;
            }
            bench.settle().await;
            let again = bench.plan().await;
            assert!(again.is_empty(), "{again:#?}");
        });
    }
}
