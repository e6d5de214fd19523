//! A storage host as values: carrying out a step changes `Seen` as the real tools would.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::plan::{
    Chap, Disposition, GrantAccess, GrantItem, ImageFormat, ImageItem, ImageSource, Item, ItemBody,
    ItemKey, ItemKind, Items, Release, RestoreOrder, Secret, SnapshotItem, VolumeItem,
    VolumeSource,
};
use dc_types::report::{ItemState, Lack, Orphan, PoolFacts, PoolPlace, Trouble, Verb};
use dc_types::{
    Bytes, Epoch, HostName, ImageUid, InstanceId, ObjectRef, ObjectUid, PoolName, SnapshotId,
};
use uuid::Uuid;

use crate::storage::*;
use crate::wanted::tests::host_view;
use crate::wanted::{HostView, Releases, Status, Wanted};

pub const GIB: u64 = 1 << 30;

pub fn pool() -> PoolName {
    PoolName::new("p1").unwrap()
}

pub fn volume_id(n: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(n))
}

pub fn image_id(n: u128) -> ImageUid {
    ImageUid(Uuid::from_u128(1000 + n))
}

pub fn snapshot_id(n: u128) -> SnapshotId {
    SnapshotId(Uuid::from_u128(2000 + n))
}

pub fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

pub fn object(n: u128) -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: format!("v{n}"),
        uid: ObjectUid(Uuid::from_u128(n)),
    }
}

fn item(kind: ItemKind, id: Uuid, revision: u64, body: ItemBody) -> Item {
    Item {
        key: ItemKey::new(kind, id),
        epoch: epoch(revision),
        object: object(id.as_u128()),
        body,
    }
}

pub fn volume_item(n: u128, revision: u64, gib: u64, source: VolumeSource) -> Item {
    let volume = volume_id(n);
    let body = VolumeItem {
        volume,
        pool: pool(),
        size: Bytes(gib * GIB),
        source,
        restore: None,
    };
    item(ItemKind::Volume, volume.0, revision, ItemBody::Volume(body))
}

/// The same item, with an order to bring the volume back to one of its snapshots.
pub fn restored(mut item: Item, snapshot: u128, order: &str) -> Item {
    if let ItemBody::Volume(body) = &mut item.body {
        body.restore = Some(RestoreOrder {
            snapshot: snapshot_id(snapshot),
            order: order.to_owned(),
        });
    }
    item
}

/// Snapshot `n` of volume `of`.
pub fn snapshot_item(n: u128, of: u128, revision: u64) -> Item {
    let snapshot = snapshot_id(n);
    let body = SnapshotItem {
        snapshot,
        volume: volume_id(of),
        pool: pool(),
    };
    let body = ItemBody::Snapshot(body);
    item(ItemKind::Snapshot, snapshot.0, revision, body)
}

pub fn grant_item(n: u128, revision: u64) -> Item {
    let volume = volume_id(n);
    let vm = volume_id(500 + u128::from(revision));
    let body = GrantItem {
        volume,
        pool: pool(),
        initiator: GrantItem::initiator_name(&HostName::new("h2").unwrap(), vm),
        access: GrantAccess::Iscsi {
            chap: Chap {
                user: format!("{volume}.{revision}"),
                secret: Secret(format!("secret000000{revision}")),
            },
        },
    };
    item(ItemKind::Grant, volume.0, revision, ItemBody::Grant(body))
}

pub fn image_item(n: u128, revision: u64) -> Item {
    let image = image_id(n);
    let body = ImageItem {
        image,
        pool: pool(),
        source: ImageSource::File("debian.qcow2".into()),
        sha256: "a".repeat(64),
        format: ImageFormat::Qcow2,
        max_download: Bytes(GIB),
        max_virtual: Bytes(10 * GIB),
    };
    item(ItemKind::Image, image.0, revision, ItemBody::Image(body))
}

/// The agent and its machine.
pub struct Model {
    pub items: Items,
    pub releases: Releases,
    pub seen: Seen,
    pub troubles: BTreeMap<ItemKey, Trouble>,
    host: HostView,
    next_handle: u32,
    /// What each volume and snapshot holds: a number that changes with each write.
    pub bytes: BTreeMap<Uuid, u32>,
}

impl Model {
    pub fn new() -> Self {
        let facts = PoolFacts {
            pool: pool(),
            capacity: Bytes(1000 * GIB),
            used: Bytes(0),
            reflink: true,
            fault: None,
            place: PoolPlace::Iscsi,
            lacks: Vec::new(),
            orphans: Vec::new(),
        };
        let there = PoolSeen {
            facts,
            contents: Contents::default(),
            grants: GrantsSeen::default(),
        };
        Self {
            items: Items::new(),
            releases: Releases::new(),
            seen: Seen {
                pools: BTreeMap::from([(pool(), there)]),
                ..Seen::default()
            },
            troubles: BTreeMap::new(),
            host: host_view(),
            next_handle: 1,
            bytes: BTreeMap::new(),
        }
    }

    pub fn put(&mut self, item: Item) {
        self.items.insert(item.key, item);
    }

    pub fn release(&mut self, kind: ItemKind, id: Uuid, revision: u64, disposition: Disposition) {
        let key = ItemKey::new(kind, id);
        let release = Release {
            key,
            epoch: epoch(revision),
            object: object(id.as_u128()),
            disposition,
        };
        self.releases.insert(key, release);
    }

    fn wanted<'a>(&'a self, ready: &'a BTreeSet<ItemKey>) -> Wanted<'a> {
        Wanted {
            items: &self.items,
            releases: &self.releases,
            host: &self.host,
            ready,
        }
    }

    pub fn plan(&self) -> Vec<Step> {
        plan(&self.wanted(&BTreeSet::new()), &self.seen)
    }

    pub fn status(&self) -> Status {
        status(
            &self.wanted(&BTreeSet::new()),
            &self.seen,
            &self.troubles,
            &BTreeSet::new(),
        )
    }

    pub fn orphans(&self) -> Vec<Orphan> {
        let nothing = BTreeSet::new();
        let mut facts = pool_facts(&self.wanted(&nothing), &self.seen);
        facts.remove(0).orphans
    }

    /// Things that have no place in the pool.
    pub fn stray(&mut self, strays: Vec<Orphan>) {
        self.pool_mut().contents.strays = strays;
    }

    pub fn next_look(&self) -> Option<u32> {
        next_look(&self.wanted(&BTreeSet::new()), &self.seen)
    }

    pub fn state(&self, key: ItemKey) -> ItemState {
        let status = self.status();
        let found = status.observations.into_iter().find(|o| o.key == key);
        found.expect("every item is observed").state
    }

    /// `Ready`, or the reason.
    pub fn reason(&self, key: ItemKey) -> String {
        match self.state(key) {
            ItemState::Ready => "Ready".to_owned(),
            ItemState::Pending(t) | ItemState::Failed(t) => t.reason,
        }
    }

    pub fn released(&self) -> Vec<ItemKey> {
        self.status().released.into_iter().map(|r| r.key).collect()
    }

    /// Plans and carries out until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..10 {
            let steps = self.plan();
            if steps.is_empty() {
                return;
            }
            self.carry_out(&steps);
        }
        panic!("the plan does not come to an end: {:#?}", self.plan());
    }

    /// A failure skips the rest of its key.
    pub fn carry_out(&mut self, steps: &[Step]) {
        let mut failed = BTreeSet::new();
        for step in steps {
            if !failed.contains(&step.key()) && self.try_apply(step).is_err() {
                failed.insert(step.key());
            }
        }
    }

    fn pool_mut(&mut self) -> &mut PoolSeen {
        self.seen.pools.get_mut(&pool()).unwrap()
    }

    pub fn volume(&mut self, n: u128) -> &mut VolumeSeen {
        let volume = volume_id(n);
        self.entry(volume)
    }

    fn entry(&mut self, volume: InstanceId) -> &mut VolumeSeen {
        let volumes = &mut self.pool_mut().contents.volumes;
        volumes.entry(volume).or_insert(VolumeSeen {
            place: format!("/pools/p1/volumes/{volume}.raw"),
            bytes: VolumeBytes::Absent,
            record: None,
            snapshots: BTreeMap::new(),
            fault: None,
        })
    }

    /// The guest writes, if it is let in.
    pub fn write(&mut self, n: u128) {
        let volume = volume_id(n);
        if self.seen.grants_of(volume).next().is_some() {
            *self.bytes.entry(volume.0).or_default() += 1;
        }
    }

    pub fn grants(&mut self) -> &mut Vec<GrantSeen> {
        match &mut self.pool_mut().grants {
            GrantsSeen::Listed(all) => all,
            GrantsSeen::Unknown(why) => panic!("grants are not known: {why}"),
        }
    }

    /// The driver no longer says who may open what.
    pub fn forget_grants(&mut self) {
        self.pool_mut().grants = GrantsSeen::Unknown("no answer".into());
    }

    /// From now on the pool grows no volume that somebody holds.
    pub fn lack_growth(&mut self) {
        let lack = Lack {
            verb: Verb::GrowOnline,
            why: "only while nobody writes".into(),
        };
        self.pool_mut().facts.lacks.push(lack);
    }

    fn lacks_growth(&mut self) -> bool {
        let lacks = &self.pool_mut().facts.lacks;
        lacks.iter().any(|lack| lack.verb == Verb::GrowOnline)
    }

    pub fn apply(&mut self, step: &Step) {
        self.try_apply(step).expect("the step can be carried out");
    }

    /// Carries a step out, and checks what must hold whenever it is.
    fn try_apply(&mut self, step: &Step) -> Result<(), StorageTrouble> {
        match step.clone() {
            Step::FetchImage { item, epoch, .. } => {
                let there = ImageSeen {
                    sha256: item.sha256,
                    format: item.format,
                    virtual_size: Bytes(2 * GIB),
                    epoch,
                };
                self.pool_mut().contents.images.insert(item.image, there);
            }
            Step::RemoveImage { image, .. } => {
                self.pool_mut().contents.images.remove(&image);
            }
            Step::CreateVolume {
                volume,
                size,
                source,
                ..
            } => self.create(volume, size, &source)?,
            Step::GrowVolume { volume, size, .. } => self.grow(volume, size),
            Step::Note { volume, note, .. } => self.note(volume, &note),
            Step::RetainVolume { order, .. } => {
                self.remove(order.volume, order.epoch, Disposition::Retain)
            }
            Step::EraseVolume { order, .. } => {
                self.remove(order.volume, order.epoch, Disposition::EraseZero)
            }
            Step::Fence { grant, .. } => {
                // Two keys of one plan may fence the same grant: the second finds it gone.
                self.grants().retain(|there| there.handle != grant.handle);
                let proof = FenceProof {
                    epoch: grant.epoch,
                    deleted: vec![format!("target {}", grant.handle)],
                    ended_at: 0,
                    took_ms: 9,
                };
                if self.entry(grant.volume).record.is_some() {
                    self.note(grant.volume, &Note::Fenced(proof));
                }
            }
            Step::CreateSnapshot {
                volume, snapshot, ..
            } => self.snapshot(volume, snapshot),
            Step::DeleteSnapshot {
                volume, snapshot, ..
            } => {
                self.entry(volume).snapshots.remove(&snapshot);
            }
            Step::RestoreVolume {
                volume, snapshot, ..
            } => self.restore(volume, snapshot),
            Step::Expose { expose, .. } => self.expose(&expose),
        }
        Ok(())
    }

    fn create(
        &mut self,
        volume: InstanceId,
        size: Bytes,
        source: &VolumeSource,
    ) -> Result<(), StorageTrouble> {
        let needs = {
            let pool = &self.pool_mut().contents;
            match source {
                VolumeSource::Blank => Some(Bytes(0)),
                VolumeSource::Image(image) => pool.images.get(image).map(|i| i.virtual_size),
                VolumeSource::Volume(of) => pool.volumes.get(of).and_then(|of| match of.bytes {
                    VolumeBytes::Present { size, .. } => Some(size),
                    _ => None,
                }),
                VolumeSource::Snapshot { volume, snapshot } => {
                    let of = pool.volumes.get(volume);
                    of.and_then(|of| Some(of.snapshots.get(snapshot)?.size))
                }
            }
        };
        // An earlier step of the same plan may have taken the source away.
        let needs = needs.ok_or_else(|| StorageTrouble::SourceMissing {
            source: format!("{source:?}"),
            pool: pool(),
        })?;
        assert!(needs <= size, "a source is cut off");
        let there = self.entry(volume);
        assert_eq!(there.bytes, VolumeBytes::Absent, "bytes are overwritten");
        assert!(there.record.is_some(), "bytes without a claim");
        there.bytes = VolumeBytes::Present {
            size,
            allocated: Bytes(0),
        };
        Ok(())
    }

    fn grow(&mut self, volume: InstanceId, asked: Bytes) {
        let handles: BTreeSet<String> = self
            .seen
            .grants_of(volume)
            .map(|g| g.handle.clone())
            .collect();
        if !handles.is_empty() {
            assert!(!self.lacks_growth(), "grown while open");
            self.note(volume, &Note::Outgrown(handles));
        }
        match &mut self.entry(volume).bytes {
            VolumeBytes::Present { size, .. } => {
                assert!(asked > *size, "a volume shrinks");
                *size = asked;
            }
            bytes => panic!("grown while {bytes:?}"),
        }
    }

    fn snapshot(&mut self, volume: InstanceId, snapshot: SnapshotId) {
        let held = self.bytes.get(&volume.0).copied().unwrap_or_default();
        let there = self.entry(volume);
        let VolumeBytes::Present { size, .. } = there.bytes else {
            panic!("a snapshot of {:?}", there.bytes);
        };
        let record = there.record.as_ref().expect("a snapshot without a record");
        let known = record
            .snapshots
            .get(&snapshot)
            .expect("a snapshot without a claim");
        assert_eq!(
            known.making,
            Making::Begun,
            "a lost snapshot is taken again"
        );
        let taken = SnapshotSeen {
            size,
            taken_at: 0,
            fault: None,
        };
        if there.snapshots.insert(snapshot, taken).is_none() {
            self.bytes.insert(snapshot.0, held);
        }
    }

    fn restore(&mut self, volume: InstanceId, snapshot: SnapshotId) {
        assert_eq!(
            self.seen.grants_of(volume).count(),
            0,
            "restored while open"
        );
        let held = self.bytes.get(&snapshot.0).copied().unwrap_or_default();
        let there = self.entry(volume);
        let from = there
            .snapshots
            .get(&snapshot)
            .expect("restored from nothing")
            .size;
        match &mut there.bytes {
            VolumeBytes::Present { size, .. } => *size = from.max(*size),
            bytes => panic!("restored while {bytes:?}"),
        }
        self.bytes.insert(volume.0, held);
    }

    fn note(&mut self, volume: InstanceId, note: &Note) {
        let there = self.entry(volume);
        there.record = VolumeRecord::with(there.record.take(), note);
        assert!(there.record.is_some(), "a note without a record: {note:?}");
    }

    fn remove(&mut self, volume: InstanceId, epoch: Epoch, disposition: Disposition) {
        assert_eq!(self.seen.grants_of(volume).count(), 0, "removed while open");
        assert!(
            self.entry(volume).snapshots.is_empty(),
            "removed while it has snapshots"
        );
        let record = self.entry(volume).record.as_ref();
        assert!(
            record.is_none_or(|record| record.epoch <= epoch),
            "a newer claim's bytes are removed"
        );
        self.entry(volume).bytes = VolumeBytes::Absent;
        let gone = Gone {
            epoch,
            disposition,
            note: format!("gone as {disposition:?}"),
            erasure: None,
        };
        self.note(volume, &Note::Gone(gone));
    }

    fn expose(&mut self, expose: &Expose) {
        let mark = self.entry(expose.volume).record.clone().unwrap().grants;
        assert_eq!(
            mark,
            Some(Watermark::open(expose.epoch)),
            "granted too early"
        );
        let open = self.seen.grants_of(expose.volume).count();
        assert_eq!(open, 0, "two grants of one volume");
        let handle = self.next_handle.to_string();
        self.next_handle += 1;
        self.grants().push(GrantSeen {
            pool: pool(),
            volume: expose.volume,
            epoch: expose.epoch,
            handle,
            form: GrantForm::Whole(Admits::of(&expose.initiator, &expose.access)),
            holders: Vec::new(),
        });
    }
}
