//! Restores: what a backup holds is brought back. Made, followed, and stopped by deleting them.
//!
//! What it is brought back to is one field of [`RestoreTo`] for each way there is: beside what is
//! there, or over it.

use dc_crds::Restore;
use dc_crds::restore::{self, InPlace, RestoreSpec, RestoreTarget};
use dc_crds::volume::{EraseMethod, Reclaim};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::volumes::{ReclaimRule, Volumes};
use super::{Create, Facts, Kind, named, view};
use crate::app::App;
use crate::door::Caller;
use crate::problem::{Fault, Problem};
use crate::rights::{Person, Resource};

pub struct Restores;

/// An order to bring back what a backup holds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Restore)]
pub struct RestoreView {
    #[serde(flatten)]
    pub meta: view::Meta,
    /// Absent when a snapshot of the repository is named instead.
    pub backup: Option<String>,
    pub snapshot: Option<RepositorySnapshot>,
    pub to: RestoreTo,
    /// The snapshot of what was there before it was written over.
    pub before: Option<String>,
    /// Pending, Waiting, Writing, Done, Stopped or Releasing. Done and Stopped are for good.
    pub state: String,
    /// How much of it is done, such as `3.4 GiB of 20.0 GiB`; only while it runs.
    pub progress: Option<String>,
    /// What was written.
    pub written: Option<String>,
    /// Of what was read back, when that was asked for: each block is as in the backup.
    pub sha256: Option<String>,
    /// RFC 3339.
    pub began_at: Option<String>,
    pub ended_at: Option<String>,
}

/// A backup whose record is gone, as restic knows it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositorySnapshot {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub repository: String,
    /// All 64 hexadecimal digits.
    #[schema(pattern = "^[0-9a-f]{64}$", max_length = 64)]
    pub id: String,
}

/// What becomes of it: exactly one of them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreTo {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_volume: Option<NewRestoredVolume>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place: Option<RestoredInPlace>,
}

/// One volume of the backup, written over a volume of the department that is there. What is there is
/// snapshotted first, which counts in the quota; no machine has the volume meanwhile.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoredInPlace {
    /// Which volume of the backup, by the name it had.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub of: String,
    /// The volume that is written over.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub volume: String,
    /// Have the guest of the machine that has it stopped, and started again afterwards as its machine
    /// asks. Otherwise that machine must be asked to be stopped.
    #[serde(default)]
    pub stop_machine: bool,
    /// Read it back when it is written, and compare it with the backup.
    #[serde(default)]
    pub verify: bool,
    /// What it belongs to and where it lies, as the volume itself says.
    #[serde(skip)]
    found: Option<Found>,
}

#[derive(Clone, Debug)]
struct Found {
    system: String,
    pool: String,
    size: String,
}

impl RestoredInPlace {
    #[must_use]
    pub fn new(of: String, volume: String, stop_machine: bool, verify: bool) -> Self {
        Self {
            of,
            volume,
            stop_machine,
            verify,
            found: None,
        }
    }
}

/// One volume of the backup, as a new volume of the department. It counts in its quota, and no machine
/// gets it before all of it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRestoredVolume {
    /// Which volume of the backup, by the name it had.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub of: String,
    /// What the new one is called.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub name: String,
    /// The information system it belongs to.
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub system: String,
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub pool: String,
    /// Such as 20Gi, not less than the volume had. Absent: as much as it had. A snapshot needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
        max_length = 18
    )]
    pub size: Option<String>,
    /// What happens to its bytes when it is deleted.
    #[serde(default)]
    pub reclaim: ReclaimRule,
    /// Read it back when it is written, and compare it with the backup.
    #[serde(default)]
    pub verify: bool,
}

/// A restore to be made, of exactly one of backup and snapshot.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRestore {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub name: String,
    /// A backup of the department.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub backup: Option<String>,
    /// When there is no record of the backup any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<RepositorySnapshot>,
    pub to: RestoreTo,
}

impl Kind for Restores {
    type Object = Restore;
    type View = RestoreView;
    const RESOURCE: Resource = Resource {
        group: dc_crds::GROUP,
        plural: "restores",
    };

    fn view(object: &Restore) -> RestoreView {
        let RestoreSpec {
            backup,
            snapshot,
            volume,
            verify,
            department: _,
            to,
            in_place,
        } = object.spec.clone();
        let status = object.status.clone().unwrap_or_default();
        RestoreView {
            meta: Self::meta(object),
            backup,
            snapshot: snapshot.map(|of| RepositorySnapshot {
                repository: of.repository,
                id: of.id,
            }),
            to: where_to(volume, verify, to, in_place),
            before: status.before,
            state: status.state,
            progress: status.progress,
            written: status.written,
            sha256: status.sha256,
            began_at: status.began_at,
            ended_at: status.ended_at,
        }
    }

    fn meta(object: &Restore) -> view::Meta {
        let status = object.status.as_ref();
        view::meta(
            &object.metadata,
            status.map_or(&[], |status| &status.conditions),
        )
    }

    fn facts(object: &Restore) -> Facts<'_> {
        Facts {
            system: Some(&object.spec.to.system),
            state: object.status.as_ref().map(|status| status.state.as_str()),
            ..Facts::default()
        }
    }
}

impl Create for Restores {
    type New = NewRestore;

    fn name(new: &NewRestore, _: &Person) -> String {
        new.name.clone()
    }

    fn object(department: &str, name: &str, new: NewRestore) -> Restore {
        let NewRestore {
            name: _,
            backup,
            snapshot,
            to,
        } = new;
        let Order {
            volume,
            verify,
            to,
            in_place,
        } = order(to);
        let spec = RestoreSpec {
            backup,
            snapshot: snapshot.map(|of| restore::RepositorySnapshot {
                repository: of.repository,
                id: of.id,
            }),
            volume,
            verify,
            department: None,
            to,
            in_place,
        };
        let mut restore = Restore::new("", spec);
        restore.metadata = named(department, name);
        restore
    }

    fn audited(new: &NewRestore) -> Value {
        json!(new)
    }

    fn completed(mut new: NewRestore, app: &App, department: &str) -> NewRestore {
        if let Some(over) = &mut new.to.in_place {
            let volume = app.kinds.of::<Volumes>().get(department, &over.volume);
            over.found = volume.map(|volume| Found {
                system: volume.spec.system.clone(),
                pool: volume.spec.pool.clone(),
                size: volume.spec.size.clone(),
            });
        }
        new
    }

    fn judge(new: &NewRestore, app: &App, _: &Caller, department: &str) -> Result<(), Problem> {
        let fault =
            |field: &str, message: &str| Err(Problem::Invalid(vec![Fault::new(field, message)]));
        match (&new.to.new_volume, &new.to.in_place) {
            (Some(_), None) => Ok(()),
            (None, Some(over)) => {
                let there = app.kinds.of::<Volumes>().get(department, &over.volume);
                match there {
                    Some(_) => Ok(()),
                    None => fault(
                        "to.inPlace.volume",
                        "the department has no volume of this name",
                    ),
                }
            }
            (None, None) | (Some(_), Some(_)) => {
                fault("to", "name exactly one of newVolume and inPlace")
            }
        }
    }
}

/// What of a spec says where it goes.
struct Order {
    volume: String,
    verify: bool,
    to: RestoreTarget,
    in_place: Option<InPlace>,
}

fn order(to: RestoreTo) -> Order {
    match to {
        RestoreTo {
            in_place: Some(over),
            new_volume: _,
        } => {
            let found = over.found;
            let of_found = |pick: fn(&Found) -> &String| found.as_ref().map(pick).cloned();
            Order {
                volume: over.of,
                verify: over.verify,
                to: RestoreTarget {
                    name: over.volume,
                    system: of_found(|found| &found.system).unwrap_or_default(),
                    pool: of_found(|found| &found.pool).unwrap_or_default(),
                    // Only a snapshot of the repository needs it; the volume keeps the one it has.
                    size: of_found(|found| &found.size),
                    reclaim: Reclaim::Retain,
                    erase_method: EraseMethod::Discard,
                    qos: None,
                },
                in_place: Some(InPlace {
                    stop_machine: over.stop_machine,
                }),
            }
        }
        RestoreTo {
            in_place: None,
            new_volume,
        } => beside(new_volume.unwrap_or_default()),
    }
}

fn beside(new: NewRestoredVolume) -> Order {
    let NewRestoredVolume {
        of,
        name,
        system,
        pool,
        size,
        reclaim,
        verify,
    } = new;
    let (reclaim, erase_method) = reclaim.parts();
    Order {
        volume: of,
        verify,
        to: RestoreTarget {
            name,
            system,
            pool,
            size,
            reclaim,
            erase_method,
            qos: None,
        },
        in_place: None,
    }
}

fn where_to(of: String, verify: bool, to: RestoreTarget, in_place: Option<InPlace>) -> RestoreTo {
    match in_place {
        Some(InPlace { stop_machine }) => RestoreTo {
            new_volume: None,
            in_place: Some(RestoredInPlace::new(of, to.name, stop_machine, verify)),
        },
        None => RestoreTo {
            new_volume: Some(NewRestoredVolume {
                of,
                name: to.name,
                system: to.system,
                pool: to.pool,
                size: to.size,
                reclaim: ReclaimRule::of(to.reclaim, to.erase_method),
                verify,
            }),
            in_place: None,
        },
    }
}
