//! Backups and restores in the data centre of the tests.

use std::collections::BTreeMap;

use dc_crds::backup::{BackupRepositorySpec, BackupSpec, FolderPlace};
use dc_crds::restore::{RestoreSpec, RestoreTarget};
use dc_crds::{Backup, BackupRepository, Restore};
use dc_types::plan::RepositoryAccess;
use dc_types::report::Detail;
use dc_types::{HostName, ObjectRef};

use super::{POOL, STORAGE, Sim, host};
use crate::backup::password::RecoveryKey;
use crate::backup::repository::{Logins, access};
use crate::backup::status::Known;
use crate::backup::{self, Made, RepositorySeen, manifest};
use crate::conditions::Judged;
use crate::object;
use crate::place::Presence;
use crate::plan::{Hold, Plan};
use crate::restore;
use crate::sight::Removal;
use crate::words::BackupFact;

pub const REPOSITORY: &str = "main";

const JUDGED: Judged<'_> = Judged {
    generation: 1,
    now: "2026-01-01T00:00:00Z",
};

/// A folder.
pub fn repository() -> BackupRepository {
    let spec = BackupRepositorySpec {
        folder: Some(FolderPlace {
            path: "/backups".into(),
        }),
        rest: None,
        recovery_key: "first".into(),
        bandwidth: Some("100Mi".into()),
    };
    BackupRepository::new(REPOSITORY, spec)
}

impl Sim {
    pub fn add_backup(&mut self, name: &str, vm: &str) {
        let spec = BackupSpec {
            vm: vm.into(),
            repository: REPOSITORY.into(),
            policy: None,
            scheduled_at: None,
        };
        let mut backup = Backup::new(name, spec);
        backup.metadata = self.meta(name);
        self.backups.insert(name.into(), backup);
    }

    pub fn add_restore(&mut self, name: &str, backup: &str, volume: &str, to: &str) {
        let spec = RestoreSpec {
            backup: Some(backup.into()),
            snapshot: None,
            volume: volume.into(),
            verify: false,
            department: None,
            to: RestoreTarget {
                name: to.into(),
                system: "portal".into(),
                pool: POOL.into(),
                size: None,
                reclaim: dc_crds::volume::Reclaim::default(),
                erase_method: dc_crds::volume::EraseMethod::default(),
                qos: None,
            },
            in_place: None,
        };
        let mut restore = Restore::new(name, spec);
        restore.metadata = self.meta(name);
        self.restores.insert(name.into(), restore);
    }

    pub(super) fn access(&self) -> Result<RepositoryAccess, BackupFact> {
        let keys = BTreeMap::from([("first".to_owned(), RecoveryKey::new([7; 32]))]);
        let found = self.repositories.get(REPOSITORY);
        let found = found.cloned().unwrap_or_else(repository);
        access(&found, super::NAMESPACE, &keys, Logins::NotAsked)
    }

    /// What the operator decides for a backup now; nothing is carried out.
    pub fn decide_backup(&self, name: &str) -> Plan {
        self.with_backup(&self.backups[name], backup::plan)
    }

    fn with_backup<R>(&self, object: &Backup, look: impl FnOnce(&backup::Seen<'_>) -> R) -> R {
        let me = object::object_ref(&object.metadata).unwrap();
        let group = backup::group(object);
        let claims = &self.ledger.claims;
        let claim = claims.backups.get(&me.uid);
        let on = claim.map_or_else(|| host(STORAGE), |claim| claim.value.host.clone());
        let access = self.access();
        let key = backup::key(me.uid);
        let done = |other: &&Backup| {
            let status = other.status.as_ref();
            status.is_some_and(|status| status.snapshot_id.is_some())
        };
        self.with_snapshot(&group, |group| {
            look(&backup::Seen {
                backup: object,
                me: &me,
                vm: self.vms.get(&object.spec.vm),
                around: &manifest::Around::default(),
                repository: self.repositories.get(&object.spec.repository).map(|found| {
                    RepositorySeen {
                        object: found,
                        access: access.as_ref(),
                    }
                }),
                target: group.target,
                machine: group.machine,
                members: group.members,
                presence: self.presence(&on),
                said: self.said(&on, &key).as_ref(),
                removal: claim.map_or(Removal::NotAsked, |claim| {
                    self.removal(&on, &key, claim.epoch)
                }),
                made: match self.backups.values().find(done) {
                    Some(_) => Made::Certainly,
                    None => Made::Unknown,
                },
                claims,
            })
        })
    }

    pub(super) fn look_at_backup(&mut self, name: &str) -> bool {
        let object = self.backups[name].clone();
        let (plan, status) = self.with_backup(&object, |seen| {
            let plan = backup::plan(seen);
            let status = backup::status(seen, &plan, Known::default(), &JUDGED);
            (plan, status)
        });
        let (mut changed, hold) = self.carry_out(&format!("backup {name}"), plan);
        if hold == Hold::LetGo {
            self.backups.remove(name);
            return true;
        }
        if self.loses_statuses {
            return changed;
        }
        let object = self.backups.get_mut(name).unwrap();
        changed |= object.status.as_ref() != Some(&status);
        object.status = Some(status);
        changed
    }

    pub fn decide_restore(&self, name: &str) -> Plan {
        self.with_restore(&self.restores[name], restore::plan)
    }

    fn with_restore<R>(&self, object: &Restore, look: impl FnOnce(&restore::Seen<'_>) -> R) -> R {
        let me = object::object_ref(&object.metadata).unwrap();
        let claims = &self.ledger.claims;
        let claim = claims.restores.get(&me.uid);
        let on = claim.map_or_else(|| host(STORAGE), |claim| claim.value.host.clone());
        let key = restore::key(me.uid);
        let source = restore::source(object, &me, "dc-system");
        let backup = object.spec.backup.as_ref();
        let backup = backup.and_then(|name| self.backups.get(name));
        let named = restore::repository(object, backup).unwrap_or_default();
        let access = self.access();
        let volume = self.volumes.get(&object.spec.to.name);
        let volume_ref = volume.and_then(|v| object::object_ref(&v.metadata));
        let volume_said = volume_ref.and_then(|of: ObjectRef| {
            let on: HostName = host(STORAGE);
            self.said(&on, &self.key_of(&of))
        });
        let id = volume.and_then(|v| object::uid(&v.metadata));
        let attached = id.and_then(|id| claims.attachment_of(dc_types::InstanceId(id.0)));
        let holder = attached.and_then(|attached| claims.vms.get(&attached.value.vm));
        let holder = holder.map(|holder| holder.value.owner.name.clone());
        look(&restore::Seen {
            restore: object,
            me: &me,
            backup,
            repository: self.repositories.get(named).map(|found| RepositorySeen {
                object: found,
                access: access.as_ref(),
            }),
            volume,
            volume_said: volume_said.as_ref(),
            holder: holder.and_then(|name| self.vms.get(&name)),
            before: self.snapshots.get(&restore::in_place::snapshot_name(&me)),
            presence: match self.presence(&on) {
                Presence::Connected => Presence::Connected,
                other => other,
            },
            said: self.said(&on, &key).as_ref(),
            removal: claim.map_or(Removal::NotAsked, |claim| {
                self.removal(&on, &key, claim.epoch)
            }),
            source: source.as_ref().map(|name| *name),
            refused: None,
            claims,
        })
    }

    pub(super) fn look_at_restore(&mut self, name: &str) -> bool {
        let object = self.restores[name].clone();
        let (plan, status) = self.with_restore(&object, |seen| {
            let plan = restore::plan(seen);
            let status = restore::status(seen, &plan, &JUDGED);
            (plan, status)
        });
        let made = self.make_objects(&plan);
        let (mut changed, hold) = self.carry_out(&format!("restore {name}"), plan);
        changed |= made;
        if hold == Hold::LetGo {
            self.restores.remove(name);
            return true;
        }
        if self.loses_statuses {
            return changed;
        }
        let object = self.restores.get_mut(name).unwrap();
        changed |= object.status.as_ref() != Some(&status);
        object.status = Some(status);
        changed
    }

    /// The storage host has not got further with any backup or restore.
    pub fn works(&mut self, works: bool) {
        self.hosts.get_mut(&host(STORAGE)).unwrap().copies = works;
    }
}

/// A host that has not got to the end of what takes long.
pub fn on_its_way(said: dc_types::report::Observation) -> dc_types::report::Observation {
    use dc_types::Bytes;
    use dc_types::report::{ItemState, Progress, Trouble};
    let progress = Some(Progress {
        done: Bytes(1 << 20),
        of: Bytes(4 << 20),
    });
    let detail = match said.detail {
        Detail::Backup { .. } => Detail::Backup {
            progress,
            done: None,
        },
        Detail::Restore { .. } => Detail::Restore {
            progress,
            done: None,
        },
        _ => return said,
    };
    dc_types::report::Observation {
        state: ItemState::Pending(Trouble {
            reason: "Copying".into(),
            message: "on its way".into(),
        }),
        detail,
        ..said
    }
}
