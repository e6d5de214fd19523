//! Machine restores: a machine is built anew from what a backup holds of it. Made, followed, and stopped
//! by deleting them.

use dc_crds::MachineRestore;
use dc_crds::machine_restore::{
    Identity, MachineRestoreSpec, RebuiltVolume, SubnetInstead, VolumeInstead,
};
use dc_crds::restore;
use dc_crds::vm::PowerState;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::restores::RepositorySnapshot;
use super::{Create, Facts, Kind, named, view};
use crate::rights::{Person, Resource};

pub struct MachineRestores;

/// An order to build a machine anew: all its volumes as they were at the one instant of the backup,
/// then the machine.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MachineRestore)]
pub struct MachineRestoreView {
    #[serde(flatten)]
    pub meta: view::Meta,
    /// Absent when a snapshot of the repository is named instead.
    pub backup: Option<String>,
    pub snapshot: Option<RepositorySnapshot>,
    pub identity: MachineIdentity,
    /// The machine that is built.
    pub virtual_machine: Option<String>,
    /// Whether its guest is started once it is built.
    pub start: bool,
    /// Pending, Reading, Writing, Building, Done, Stopped or Releasing. Done and Stopped are for good.
    pub state: String,
    /// How many of its volumes are whole, such as `1 of 3`.
    pub progress: Option<String>,
    pub volumes: Vec<RebuiltVolumeView>,
}

/// One volume of the machine.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RebuiltVolume)]
pub struct RebuiltVolumeView {
    /// As it was called.
    pub was: String,
    /// The volume that is made.
    pub volume: String,
    /// The restore that writes it.
    pub restore: String,
    /// Whether all of it is written.
    pub done: bool,
}

/// Whether it is the machine again, or another one with the same content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum MachineIdentity {
    /// Another machine: another name, other MACs and addresses, published to nobody.
    #[default]
    Copy,
    /// The machine itself: its name, MACs and addresses. The one it was must be gone.
    Same,
}

/// A machine restore to be made, of exactly one of backup and snapshot. What is absent is as it was.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewMachineRestore {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub name: String,
    /// A backup of the department.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub backup: Option<String>,
    /// When there is no record of the backup any more; `pool` is needed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<RepositorySnapshot>,
    #[serde(default)]
    pub identity: MachineIdentity,
    /// What the copy is called; not with identity Same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$", max_length = 40)]
    pub virtual_machine: Option<String>,
    /// Start its guest once it is built.
    #[serde(default)]
    pub start: bool,
    /// The information system it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub system: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub class: Option<String>,
    /// Where all its volumes are put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub pool: Option<String>,
    /// Subnets in the place of those it was in; its cards there have free addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 8)]
    pub subnets: Vec<OtherSubnet>,
    /// What is otherwise with single volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 32)]
    pub volumes: Vec<OtherVolume>,
    /// Read each volume back when it is written, and compare it with the backup.
    #[serde(default)]
    pub verify: bool,
}

/// A subnet in the place of another.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OtherSubnet {
    /// As it was called.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub was: String,
    /// A subnet of the department.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub subnet: String,
}

/// What is otherwise with one volume.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OtherVolume {
    /// As it was called.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub was: String,
    /// The name of the volume that is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub pool: Option<String>,
}

impl MachineIdentity {
    fn of(identity: Identity) -> Self {
        match identity {
            Identity::Copy => Self::Copy,
            Identity::Same => Self::Same,
        }
    }

    fn spec(self) -> Identity {
        match self {
            Self::Copy => Identity::Copy,
            Self::Same => Identity::Same,
        }
    }
}

impl RebuiltVolumeView {
    fn of(volume: RebuiltVolume) -> Self {
        let RebuiltVolume {
            was,
            volume,
            restore,
            done,
        } = volume;
        Self {
            was,
            volume,
            restore,
            done,
        }
    }
}

impl Kind for MachineRestores {
    type Object = MachineRestore;
    type View = MachineRestoreView;
    const RESOURCE: Resource = Resource {
        group: dc_crds::GROUP,
        plural: "machinerestores",
    };

    fn view(object: &MachineRestore) -> MachineRestoreView {
        let spec = object.spec.clone();
        let status = object.status.clone().unwrap_or_default();
        let volumes = status.volumes.into_iter();
        MachineRestoreView {
            meta: Self::meta(object),
            backup: spec.backup,
            snapshot: spec.snapshot.map(|of| RepositorySnapshot {
                repository: of.repository,
                id: of.id,
            }),
            identity: MachineIdentity::of(spec.identity),
            virtual_machine: status.machine.or(spec.name),
            start: spec.power_state == PowerState::Running,
            state: status.state,
            progress: status.progress,
            volumes: volumes.map(RebuiltVolumeView::of).collect(),
        }
    }

    fn meta(object: &MachineRestore) -> view::Meta {
        let status = object.status.as_ref();
        view::meta(
            &object.metadata,
            status.map_or(&[], |status| &status.conditions),
        )
    }

    fn facts(object: &MachineRestore) -> Facts<'_> {
        let status = object.status.as_ref();
        Facts {
            system: object.spec.system.as_deref(),
            state: status.map(|status| status.state.as_str()),
            virtual_machine: status.and_then(|status| status.machine.as_deref()),
        }
    }
}

impl Create for MachineRestores {
    type New = NewMachineRestore;

    fn name(new: &NewMachineRestore, _: &Person) -> String {
        new.name.clone()
    }

    fn object(department: &str, name: &str, new: NewMachineRestore) -> MachineRestore {
        let NewMachineRestore {
            name: _,
            backup,
            snapshot,
            identity,
            virtual_machine,
            start,
            system,
            class,
            pool,
            subnets,
            volumes,
            verify,
        } = new;
        let subnets = subnets.into_iter().map(|of| SubnetInstead {
            was: of.was,
            subnet: of.subnet,
        });
        let volumes = volumes.into_iter().map(|of| VolumeInstead {
            was: of.was,
            name: of.name,
            pool: of.pool,
        });
        let spec = MachineRestoreSpec {
            backup,
            snapshot: snapshot.map(|of| restore::RepositorySnapshot {
                repository: of.repository,
                id: of.id,
            }),
            identity: identity.spec(),
            name: virtual_machine,
            power_state: match start {
                true => PowerState::Running,
                false => PowerState::Stopped,
            },
            system,
            class,
            pool,
            subnets: subnets.collect(),
            volumes: volumes.collect(),
            verify,
        };
        let mut restore = MachineRestore::new("", spec);
        restore.metadata = named(department, name);
        restore
    }

    fn audited(new: &NewMachineRestore) -> Value {
        json!(new)
    }
}
