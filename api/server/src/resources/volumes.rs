//! Volumes: made blank, from an image, from another volume or from a snapshot; grown; moved to another
//! pool; deleted.

use dc_crds::volume::{Access, EraseMethod, Reclaim, SnapshotSource, SourceSpec};
use dc_crds::{Volume, VolumeSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Change, Create, Facts, Kind, Patch, named, view};
use crate::rights::{Person, Resource};

pub struct Volumes;

/// A thin volume of a pool.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Volume)]
pub struct VolumeView {
    #[serde(flatten)]
    pub meta: view::Meta,
    pub system: String,
    pub pool: String,
    /// What is wanted.
    pub size: String,
    /// What is there.
    pub actual_size: Option<String>,
    pub source: SourceView,
    pub reclaim: ReclaimRule,
    /// Whether its bytes are encrypted at rest, by a key of its own.
    pub encrypted: bool,
    /// On its way to another pool, which `pool` names already.
    pub moving: Option<MovingView>,
    /// Pending, Creating, Available, Attached or Releasing.
    pub state: String,
    /// The machine that holds it.
    pub attached_to: Option<String>,
}

/// How far a volume is on its way to another pool. Its guest goes on meanwhile.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VolumeMove)]
pub struct MovingView {
    /// The other pool: the one that it goes to, or what is left of it lies in.
    pub other: String,
    /// Reserved, Copying, Switching, Recalled, Ending or Leaving.
    pub phase: String,
    /// How much is copied, in steps of 5.
    pub percent: Option<u32>,
}

/// What it was made from; blank when all are absent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VolumeSource)]
pub struct SourceView {
    pub image: Option<String>,
    pub volume: Option<String>,
    pub snapshot: Option<String>,
}

/// What happens to the bytes when the volume is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ReclaimRule {
    /// They stay in the pool; the data centre can give them back.
    #[default]
    Retain,
    /// All blocks are given back and read as zeros.
    Discard,
    /// All blocks are written with zeros, then given back.
    Zero,
    /// All blocks are written with random bytes, then with zeros, then given back.
    Random,
    /// The key of an encrypted volume is destroyed, then all blocks are given back.
    KeyDestruction,
}

impl ReclaimRule {
    #[must_use]
    pub fn of(reclaim: Reclaim, method: EraseMethod) -> Self {
        match (reclaim, method) {
            (Reclaim::Retain, _) => Self::Retain,
            (Reclaim::Erase, EraseMethod::Discard) => Self::Discard,
            (Reclaim::Erase, EraseMethod::Zero) => Self::Zero,
            (Reclaim::Erase, EraseMethod::Random) => Self::Random,
            (Reclaim::Erase, EraseMethod::KeyDestruction) => Self::KeyDestruction,
        }
    }

    #[must_use]
    pub fn parts(self) -> (Reclaim, EraseMethod) {
        match self {
            Self::Retain => (Reclaim::Retain, EraseMethod::Discard),
            Self::Discard => (Reclaim::Erase, EraseMethod::Discard),
            Self::Zero => (Reclaim::Erase, EraseMethod::Zero),
            Self::Random => (Reclaim::Erase, EraseMethod::Random),
            Self::KeyDestruction => (Reclaim::Erase, EraseMethod::KeyDestruction),
        }
    }
}

/// At most one of them; blank when all are absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewVolumeSource)]
pub struct NewSource {
    /// An image of the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub image: Option<String>,
    /// A volume of the same department and pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub volume: Option<String>,
    /// A snapshot of the same department and pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotOf>,
}

/// One volume of a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotOf {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub name: String,
    /// Which of its volumes, by the name it had; not needed when it has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub volume: Option<String>,
}

impl NewSource {
    #[must_use]
    pub fn spec(self) -> SourceSpec {
        let Self {
            image,
            volume,
            snapshot,
        } = self;
        SourceSpec {
            image,
            volume,
            snapshot: snapshot.map(|of| SnapshotSource {
                name: of.name,
                volume: of.volume,
            }),
            restore: None,
        }
    }
}

/// A volume to be made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewVolume {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub name: String,
    /// The information system it belongs to.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub system: String,
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub pool: String,
    /// Such as 20Gi. It may grow, never shrink.
    #[schema(
        pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
        max_length = 18
    )]
    pub size: String,
    #[serde(default)]
    pub source: NewSource,
    #[serde(default)]
    pub reclaim: ReclaimRule,
    /// Encrypt its bytes at rest, by a key of its own. Of a blank volume alone, and for good.
    #[serde(default)]
    pub encrypted: bool,
}

/// What may change; what is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeChange {
    /// The larger size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
        max_length = 18
    )]
    pub size: Option<String>,
    /// The pool that it moves to while its guest goes on. Until it has gone over, naming the pool that
    /// it was in takes the move back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub pool: Option<String>,
}

impl Kind for Volumes {
    type Object = Volume;
    type View = VolumeView;
    const RESOURCE: Resource = Resource {
        group: dc_crds::GROUP,
        plural: "volumes",
    };

    fn view(object: &Volume) -> VolumeView {
        let spec = &object.spec;
        let status = object.status.clone().unwrap_or_default();
        VolumeView {
            meta: view::meta(&object.metadata, &status.conditions),
            system: spec.system.clone(),
            pool: spec.pool.clone(),
            size: spec.size.clone(),
            actual_size: status.size,
            source: SourceView {
                image: spec.source.image.clone(),
                volume: spec.source.volume.clone(),
                snapshot: spec.source.snapshot.as_ref().map(|from| from.name.clone()),
            },
            reclaim: ReclaimRule::of(spec.reclaim, spec.erase_method),
            encrypted: spec.encrypted,
            moving: status.moving.map(|of| MovingView {
                other: of.other,
                phase: of.phase,
                percent: of.percent,
            }),
            state: status.state,
            attached_to: status.attached_to,
        }
    }

    fn meta(object: &Volume) -> view::Meta {
        let status = object.status.as_ref();
        view::meta(
            &object.metadata,
            status.map_or(&[], |status| &status.conditions),
        )
    }

    fn facts(object: &Volume) -> Facts<'_> {
        Facts {
            system: Some(&object.spec.system),
            state: object.status.as_ref().map(|status| status.state.as_str()),
            virtual_machine: object
                .status
                .as_ref()
                .and_then(|status| status.attached_to.as_deref()),
        }
    }
}

impl Create for Volumes {
    type New = NewVolume;

    fn name(new: &NewVolume, _: &Person) -> String {
        new.name.clone()
    }

    fn object(department: &str, name: &str, new: NewVolume) -> Volume {
        let NewVolume {
            name: _,
            system,
            pool,
            size,
            source,
            reclaim,
            encrypted,
        } = new;
        let (reclaim, erase_method) = reclaim.parts();
        let spec = VolumeSpec {
            system,
            pool,
            size,
            source: source.spec(),
            access: Access::Exclusive,
            reclaim,
            erase_method,
            qos: None,
            restore: None,
            encrypted,
        };
        let mut volume = Volume::new("", spec);
        volume.metadata = named(department, name);
        volume
    }

    fn audited(new: &NewVolume) -> Value {
        json!(new)
    }
}

impl Change for Volumes {
    type Change = VolumeChange;

    fn patch(change: VolumeChange) -> Patch {
        Patch {
            spec: json!(change),
            needs: None,
        }
    }
}
