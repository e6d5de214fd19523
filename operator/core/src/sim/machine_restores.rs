//! Restores of machines in the data centre of the tests: what was backed up is read as it was written.

use std::collections::BTreeMap;

use dc_crds::machine_restore::{Identity, MachineRestoreSpec};
use dc_crds::vm::PowerState;
use dc_crds::{MachineRestore, Restore, VirtualMachine};
use dc_types::Bytes;
use dc_types::plan::{Item, ItemBody};
use dc_types::report::{Detail, ManifestFile, ManifestRead, Observation};

use super::{Sim, host, keys};
use crate::backup::{RepositorySeen, file};
use crate::conditions::Judged;
use crate::machine_restore::design::{Design, Given, design};
use crate::machine_restore::{self, Around, Course};
use crate::object;
use crate::place::Presence;
use crate::plan::{Hold, Plan};
use crate::proof::sandbox::NewObject;
use crate::volume::Named;

const JUDGED: Judged<'_> = Judged {
    generation: 1,
    now: "2026-01-01T00:00:00Z",
};

/// What was written beside the volumes, by restic's id.
pub type Manifests = BTreeMap<String, String>;

/// Of a copy called so, stopped.
pub fn copy_of(backup: &str, name: &str) -> MachineRestoreSpec {
    MachineRestoreSpec {
        backup: Some(backup.into()),
        snapshot: None,
        identity: Identity::Copy,
        name: Some(name.into()),
        power_state: PowerState::Stopped,
        system: None,
        class: None,
        pool: None,
        subnets: Vec::new(),
        volumes: Vec::new(),
        verify: false,
    }
}

/// Of the machine itself, running.
pub fn same(backup: &str) -> MachineRestoreSpec {
    MachineRestoreSpec {
        identity: Identity::Same,
        name: None,
        power_state: PowerState::Running,
        ..copy_of(backup, "")
    }
}

/// What a host keeps of a backup, and reads of one.
pub fn with_manifest(said: Observation, item: &Item, manifests: &mut Manifests) -> Observation {
    match (&item.body, &said.detail) {
        (
            ItemBody::Backup(backup),
            Detail::Backup {
                done: Some(done), ..
            },
        ) => {
            manifests.insert(done.backup.clone(), backup.manifest.clone());
            said
        }
        (ItemBody::Manifest(asked), _) => {
            let text = manifests.get(&asked.backup);
            let detail = Detail::Manifest {
                read: text.map(|text| Box::new(read(text))),
            };
            Observation { detail, ..said }
        }
        _ => said,
    }
}

pub fn read(text: &str) -> ManifestRead {
    let told: serde_json::Value = serde_json::from_str(text).unwrap();
    let volumes = told["volumes"].as_array().unwrap().iter();
    let files = volumes.map(|volume| ManifestFile {
        file: file(volume["name"].as_str().unwrap()),
        size: volume["spec"]["size"]
            .as_str()
            .unwrap()
            .parse::<Bytes>()
            .unwrap(),
    });
    ManifestRead {
        machine: text.to_owned(),
        files: files.collect(),
    }
}

impl Sim {
    pub fn add_machine_restore(&mut self, name: &str, spec: MachineRestoreSpec) {
        let mut restore = MachineRestore::new(name, spec);
        restore.metadata = self.meta(name);
        self.machine_restores.insert(name.into(), restore);
    }

    pub fn decide_machine_restore(&self, name: &str) -> Plan {
        let object = &self.machine_restores[name];
        self.with_machine_restore(object, |seen| machine_restore::plan(seen, self.now).0)
    }

    fn with_machine_restore<R>(
        &self,
        object: &MachineRestore,
        look: impl FnOnce(&machine_restore::Seen<'_>) -> R,
    ) -> R {
        let me = object::object_ref(&object.metadata).unwrap();
        let claims = &self.ledger.claims;
        let claim = claims.manifests.get(&me.uid);
        let on = claim.map(|claim| claim.value.host.clone());
        let said = on
            .as_ref()
            .and_then(|on| self.said(on, &machine_restore::key(me.uid)));
        let backup = object.spec.backup.as_ref();
        let backup = backup.and_then(|name| self.backups.get(name));
        let named = machine_restore::repository(object, backup).unwrap_or_default();
        let access = self.access();
        let manifest = said.as_ref().and_then(|said| match &said.detail {
            Detail::Manifest { read } => read.as_deref(),
            _ => None,
        });
        let design = manifest.and_then(|read| design(&object.spec, &me, read).ok());
        let all = (
            self.pools
                .iter()
                .map(|(name, of)| (name.clone(), of))
                .collect(),
            self.subnets
                .iter()
                .map(|(name, of)| (name.clone(), of))
                .collect(),
            self.volumes
                .iter()
                .map(|(name, of)| (name.clone(), of))
                .collect(),
            self.restores
                .iter()
                .map(|(name, of)| (name.clone(), of))
                .collect(),
        );
        let around = design.as_ref().map(|design: &Design| Around {
            system: match design.spec.system == "gone" {
                true => Named::Absent,
                false => Named::There,
            },
            class: self.classes.get(&design.spec.class),
            pools: &all.0,
            subnets: &all.1,
            volumes: &all.2,
            restores: &all.3,
            machine: self.vms.get(&design.name),
        });
        let (classes, ahead) = (self.classes(), |asker| self.ahead(asker));
        look(&machine_restore::Seen {
            restore: object,
            me: &me,
            backup,
            repository: self.repositories.get(named).map(|found| RepositorySeen {
                object: found,
                access: access.as_ref(),
            }),
            pool: object
                .spec
                .pool
                .as_ref()
                .and_then(|name| self.pools.get(name)),
            presence: on.as_ref().map_or(Presence::Never, |on| self.presence(on)),
            said: said.as_ref(),
            around,
            allowance: self.allowance(&classes, &ahead),
            claims,
        })
    }

    pub(super) fn look_at_machine_restore(&mut self, name: &str) -> bool {
        let object = self.machine_restores[name].clone();
        let (plan, status) = self.with_machine_restore(&object, |seen| {
            let (plan, course): (Plan, Course) = machine_restore::plan(seen, self.now);
            let status = machine_restore::status(seen, &plan, &course, &JUDGED);
            (plan, status)
        });
        let mut changed = self.make_objects(&plan);
        let (carried, hold) = self.carry_out(&format!("machine restore {name}"), plan);
        changed |= carried;
        if hold == Hold::LetGo {
            self.machine_restores.remove(name);
            self.orphans_go(&object);
            return true;
        }
        if self.loses_statuses {
            return changed;
        }
        let object = self.machine_restores.get_mut(name).unwrap();
        changed |= object.status.as_ref() != Some(&status);
        object.status = Some(status);
        changed
    }

    /// As the API server does: one of the name that is there stays.
    pub(super) fn make_objects(&mut self, plan: &Plan) -> bool {
        let mut changed = false;
        for new in &plan.try_out {
            match new {
                NewObject::Restore(new) => {
                    let name = new.meta.name.clone().unwrap();
                    if !self.restores.contains_key(&name) {
                        let mut object: Restore = new.object();
                        let owners = object.metadata.owner_references.take();
                        object.metadata = self.meta(&name);
                        object.metadata.owner_references = owners;
                        self.restores.insert(name, object);
                        changed = true;
                    }
                }
                NewObject::Snapshot(new) => {
                    let name = new.meta.name.clone().unwrap();
                    if !self.snapshots.contains_key(&name) {
                        let mut object = new.object();
                        object.metadata = self.meta(&name);
                        self.snapshots.insert(name, object);
                        changed = true;
                    }
                }
                NewObject::Machine(new) => {
                    let name = new.meta.name.clone().unwrap();
                    if !self.vms.contains_key(&name) {
                        let mut object: VirtualMachine = new.object();
                        let asked = object.metadata.clone();
                        object.metadata = self.meta(&name);
                        object.metadata.annotations = asked.annotations;
                        object.metadata.labels = asked.labels;
                        self.vms.insert(name, object);
                        changed = true;
                    }
                }
            }
        }
        changed
    }

    /// What the garbage collector does.
    fn orphans_go(&mut self, gone: &MachineRestore) {
        let uid = gone.metadata.uid.clone().unwrap();
        for name in keys(&self.restores) {
            let restore = self.restores.get_mut(&name).unwrap();
            let owners = restore.metadata.owner_references.iter().flatten();
            if owners.into_iter().any(|owner| owner.uid == uid) {
                super::delete(&mut restore.metadata);
            }
        }
    }

    /// What was written beside the volumes of a backup, for a test to change.
    pub fn manifest(&mut self, backup: &str) -> &mut String {
        let status = self.backups[backup].status.clone().unwrap();
        self.manifests
            .get_mut(&status.snapshot_id.unwrap())
            .unwrap()
    }

    pub fn given(&mut self, backup: &str) -> Given {
        Given::read(&read(self.manifest(backup))).unwrap()
    }

    /// The storage host is asked anew.
    pub fn reads_again(&mut self) {
        let storage = self.hosts.get_mut(&host(super::STORAGE)).unwrap();
        storage
            .held
            .retain(|key, _| key.kind != dc_types::plan::ItemKind::Manifest);
    }
}
