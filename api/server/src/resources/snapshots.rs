//! Snapshots: one volume, or all volumes of a machine at one instant; made, kept, deleted.

use dc_crds::snapshot::ConsistencyReached;
use dc_crds::{VolumeSnapshot, VolumeSnapshotSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Create, Facts, Kind, named, view};
use crate::rights::{Person, Resource};

pub struct Snapshots;

/// Volumes as they stood at one moment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VolumeSnapshot)]
pub struct SnapshotView {
    #[serde(flatten)]
    pub meta: view::Meta,
    pub system: String,
    /// The volume it is of; absent when it is of a machine.
    pub volume: Option<String>,
    /// The machine whose volumes it is of; absent when it is of one volume.
    pub virtual_machine: Option<String>,
    /// Pending, Holding, Taking, Verifying, Taken or Releasing.
    pub state: String,
    /// What was reached; absent until it is certain.
    pub consistency: Option<Consistency>,
    /// RFC 3339: when the last of its volumes was taken.
    pub taken_at: Option<String>,
    pub volumes: Vec<TakenVolume>,
}

/// What a guest that starts from it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum Consistency {
    /// As after a power cut.
    Crash,
    /// File systems were written out.
    FileSystem,
    /// Applications had written their data out too.
    Application,
}

impl Consistency {
    #[must_use]
    pub fn of(reached: ConsistencyReached) -> Self {
        match reached {
            ConsistencyReached::Crash => Self::Crash,
            ConsistencyReached::FileSystem => Self::FileSystem,
            ConsistencyReached::Application => Self::Application,
        }
    }
}

/// One volume of a snapshot.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TakenVolume {
    /// Its name when it was taken.
    pub volume: String,
    pub size: String,
    /// RFC 3339.
    pub taken_at: Option<String>,
}

/// A snapshot to be taken, of exactly one of the two.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewVolumeSnapshot {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub name: String,
    /// The information system it belongs to.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub system: String,
    /// A volume of the department.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub volume: Option<String>,
    /// A machine of the department, with all its volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub virtual_machine: Option<String>,
}

impl Kind for Snapshots {
    type Object = VolumeSnapshot;
    type View = SnapshotView;
    const RESOURCE: Resource = Resource {
        group: dc_crds::GROUP,
        plural: "volumesnapshots",
    };

    fn view(object: &VolumeSnapshot) -> SnapshotView {
        let VolumeSnapshotSpec { system, volume, vm } = &object.spec;
        let status = object.status.clone().unwrap_or_default();
        let volumes = status.volumes.into_iter().map(|taken| TakenVolume {
            volume: taken.volume,
            size: taken.size,
            taken_at: taken.taken_at,
        });
        SnapshotView {
            meta: view::meta(&object.metadata, &status.conditions),
            system: system.clone(),
            volume: volume.clone(),
            virtual_machine: vm.clone(),
            state: status.state,
            consistency: status.consistency.map(Consistency::of),
            taken_at: status.taken_at,
            volumes: volumes.collect(),
        }
    }

    fn meta(object: &VolumeSnapshot) -> view::Meta {
        let status = object.status.as_ref();
        view::meta(
            &object.metadata,
            status.map_or(&[], |status| &status.conditions),
        )
    }

    fn facts(object: &VolumeSnapshot) -> Facts<'_> {
        Facts {
            system: Some(&object.spec.system),
            state: object.status.as_ref().map(|status| status.state.as_str()),
            virtual_machine: object.spec.vm.as_deref(),
        }
    }
}

impl Create for Snapshots {
    type New = NewVolumeSnapshot;

    fn name(new: &NewVolumeSnapshot, _: &Person) -> String {
        new.name.clone()
    }

    fn object(department: &str, name: &str, new: NewVolumeSnapshot) -> VolumeSnapshot {
        let NewVolumeSnapshot {
            name: _,
            system,
            volume,
            virtual_machine,
        } = new;
        let spec = VolumeSnapshotSpec {
            system,
            volume,
            vm: virtual_machine,
        };
        let mut snapshot = VolumeSnapshot::new("", spec);
        snapshot.metadata = named(department, name);
        snapshot
    }

    fn audited(new: &NewVolumeSnapshot) -> Value {
        json!(new)
    }
}
