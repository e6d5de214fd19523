//! Volumes: made blank, from an image or from another volume; grown; deleted.

use dc_crds::volume::{Access, EraseMethod, Reclaim, SourceSpec};
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
    /// Pending, Creating, Available, Attached or Releasing.
    pub state: String,
    /// The machine that holds it.
    pub attached_to: Option<String>,
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

/// At most one of the two; blank when both are absent.
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
}

impl NewSource {
    #[must_use]
    pub fn spec(self) -> SourceSpec {
        let Self { image, volume } = self;
        SourceSpec {
            image,
            volume,
            snapshot: None,
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
}

/// What may change.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeChange {
    /// The larger size.
    #[schema(
        pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
        max_length = 18
    )]
    pub size: String,
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
            encrypted: false,
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
        let VolumeChange { size } = change;
        Patch {
            spec: json!({ "size": size }),
            needs: None,
        }
    }
}
