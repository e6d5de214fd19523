//! A storage host as values: carrying out a step changes `Seen` as the real tools would.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dc_types::plan::{
    Chap, Disposition, GrantAccess, GrantItem, ImageFormat, ImageItem, ImageSource, Item, ItemBody,
    ItemKey, ItemKind, Items, Release, Secret, VolumeItem, VolumeSource,
};
use dc_types::report::{ItemState, PoolFacts, PoolPlace, Trouble};
use dc_types::{Bytes, Epoch, HostName, ImageUid, InstanceId, ObjectRef, ObjectUid, PoolName};
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
    next_tid: u32,
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
            volumes: BTreeMap::new(),
            images: BTreeMap::new(),
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
            next_tid: 1,
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
        let path = PathBuf::from(format!("/pools/p1/volumes/{volume}.raw"));
        self.pool_mut().volumes.entry(volume).or_insert(VolumeSeen {
            path,
            bytes: VolumeBytes::Absent,
            record: None,
            fault: None,
        })
    }

    pub fn targets(&mut self) -> &mut Vec<TargetSeen> {
        match &mut self.seen.targets {
            TargetsSeen::Listed(all) => all,
            TargetsSeen::Unknown(why) => panic!("targets are not known: {why}"),
        }
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
                self.pool_mut().images.insert(item.image, there);
            }
            Step::RemoveImage { image, .. } => {
                self.pool_mut().images.remove(&image);
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
            Step::Fence { tid, name, .. } => {
                // Two keys of one plan may fence the same target: the second finds it gone.
                assert!(
                    self.targets()
                        .iter()
                        .all(|t| t.tid != tid || t.name == name)
                );
                self.targets().retain(|target| target.tid != tid);
            }
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
            let pool = self.pool_mut();
            match source {
                VolumeSource::Blank => Some(Bytes(0)),
                VolumeSource::Image(image) => pool.images.get(image).map(|i| i.virtual_size),
                VolumeSource::Snapshot { .. } => None,
                VolumeSource::Volume(of) => pool.volumes.get(of).and_then(|of| match of.bytes {
                    VolumeBytes::Present { size, .. } => Some(size),
                    _ => None,
                }),
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
        assert_eq!(self.seen.targets_of(volume).count(), 0, "grown while open");
        match &mut self.entry(volume).bytes {
            VolumeBytes::Present { size, .. } => {
                assert!(asked > *size, "a volume shrinks");
                *size = asked;
            }
            bytes => panic!("grown while {bytes:?}"),
        }
    }

    fn note(&mut self, volume: InstanceId, note: &Note) {
        let there = self.entry(volume);
        there.record = VolumeRecord::with(there.record.take(), note);
        assert!(there.record.is_some(), "a note without a record: {note:?}");
    }

    fn remove(&mut self, volume: InstanceId, epoch: Epoch, disposition: Disposition) {
        assert_eq!(
            self.seen.targets_of(volume).count(),
            0,
            "removed while open"
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
        let open = self.seen.targets_of(expose.volume).count();
        assert_eq!(open, 0, "two targets of one volume");
        let tid = Tid(self.next_tid);
        self.next_tid += 1;
        self.targets().push(TargetSeen {
            tid,
            name: GrantItem::target_name(expose.volume, expose.epoch),
            lun: Some(expose.path.clone()),
            accounts: vec![expose.chap.user.clone()],
            acl: vec![expose.initiator.clone()],
            sessions: Vec::new(),
        });
    }
}
