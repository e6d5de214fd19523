//! Snapshots, holds and erasures in the data centre of the tests.

use std::collections::BTreeMap;

use dc_crds::{VolumeSnapshot, VolumeSnapshotSpec};
use dc_types::claim::{PendingRelease, SnapshotClaim, keys};
use dc_types::plan::{Item, ItemBody};
use dc_types::report::{Consistency, Detail, Erasure, HoldSeen, HoldState, Observation, Released};
use dc_types::{Bytes, HostName, InstanceId, ObjectRef};

use super::{STORAGE, Sim, host};
use crate::claims::Claimed;
use crate::conditions::Judged;
use crate::object;
use crate::plan::{Hold, Plan};
use crate::snapshot::{self, MachineSeen, MemberSeen, Purpose, Seen, Target, TargetSeen};
use crate::txn::Txn;
use crate::volume::{Named, PoolSeen, erasure};
use crate::{pool, vm};

/// What a host says of a machine, with how its hold stands.
pub fn with_hold(
    said: Observation,
    item: &Item,
    before: Option<Observation>,
    lets_go: bool,
) -> Observation {
    let ItemBody::Vm(body) = &item.body else {
        return said;
    };
    let last = before.and_then(|before| match before.detail {
        Detail::Vm { held, .. } => held.as_deref().copied(),
        _ => None,
    });
    let now = match (body.hold, last) {
        (Some(hold), Some(last)) if hold.id == last.id => Some(last),
        (Some(hold), _) => Some(HoldSeen {
            id: hold.id,
            level: Consistency::FileSystem,
            state: match lets_go {
                true => HoldState::Broken,
                false => HoldState::Holding,
            },
        }),
        (None, Some(last)) if last.state == HoldState::Holding => Some(HoldSeen {
            state: HoldState::Kept,
            ..last
        }),
        (None, last) => last,
    };
    let mut said = said;
    if let Detail::Vm { held, .. } = &mut said.detail {
        *held = now.map(Box::new);
    }
    said
}

impl Sim {
    pub fn add_snapshot(&mut self, name: &str, vm: Option<&str>, volume: Option<&str>) {
        let mut snapshot = VolumeSnapshot::new(
            name,
            VolumeSnapshotSpec {
                system: "portal".into(),
                volume: volume.map(Into::into),
                vm: vm.map(Into::into),
            },
        );
        snapshot.metadata = self.meta(name);
        self.snapshots.insert(name.into(), snapshot);
    }

    pub fn add_snapshot_of_vm(&mut self, name: &str, vm: &str) {
        self.add_snapshot(name, Some(vm), None);
    }

    /// The host has nothing left: what the operator's sessions write then.
    pub(super) fn confirm(&mut self, host: &HostName, pending: &PendingRelease) {
        let release = &pending.release;
        let released = Released {
            key: release.key,
            epoch: release.epoch,
            note: String::new(),
            erasure: erasure::erases(release.disposition).then_some(Erasure {
                method: release.disposition,
                extents: 3,
                bytes: Bytes(3 << 20),
                verified: Bytes(1 << 40),
                began_at: 1_700_000_000,
                ended_at: 1_700_000_060,
            }),
        };
        let txn = Txn::new("confirmed").delete(keys::release(host, &release.key));
        let txn = erasure::note(txn, &self.ledger.claims, pending, &released);
        assert!(self.ledger.commit(&txn), "{txn:?}");
    }

    /// What the operator decides for a snapshot now; nothing is carried out.
    pub fn decide_snapshot(&self, name: &str) -> Plan {
        self.with_snapshot(&self.snapshots[name], snapshot::plan)
    }

    pub(super) fn with_snapshot<R>(
        &self,
        object: &VolumeSnapshot,
        look: impl FnOnce(&Seen<'_>) -> R,
    ) -> R {
        let me = object::object_ref(&object.metadata).unwrap();
        let names = match (&object.spec.vm, &object.spec.volume) {
            (Some(vm), _) => self.vms.get(vm).map(|found| {
                let disks = found.spec.disks.iter();
                disks.map(|disk| vm::volume_name(vm, disk)).collect()
            }),
            (None, Some(volume)) => Some(vec![volume.clone()]),
            (None, None) => None,
        };
        let targets: Option<Vec<TargetSeen<'_>>> = names.map(|names: Vec<String>| {
            let names = names.into_iter();
            names.map(|name| self.target_seen(name)).collect()
        });
        let machine = self.machine_of(object, &me, targets.as_deref().unwrap_or_default());
        let mut members = BTreeMap::new();
        for claim in self.ledger.claims.snapshots_by(me.uid) {
            let key = snapshot::key(claim.value.snapshot);
            let storage = &claim.value.host;
            let member = MemberSeen {
                presence: self.presence(storage),
                said: self.said(storage, &key),
                removal: self.removal(storage, &key, claim.epoch),
            };
            members.insert(claim.value.snapshot, member);
        }
        let (classes, ahead) = (self.classes(), |asker| self.ahead(asker));
        look(&Seen {
            purpose: Purpose::Department(self.allowance(&classes, &ahead)),
            snapshot: object,
            me: &me,
            system: Named::There,
            target: match &targets {
                Some(targets) => Target::Volumes(targets),
                None => Target::Absent,
            },
            machine: machine.as_ref(),
            members: &members,
            claims: &self.ledger.claims,
        })
    }

    fn target_seen(&self, name: String) -> TargetSeen<'_> {
        let volume = self.volumes.get(&name);
        let me = volume.and_then(|v| object::object_ref(&v.metadata));
        let storage = volume.map_or_else(|| host(STORAGE), |v| self.storage_of(v));
        TargetSeen {
            said: me.and_then(|me| self.said(&storage, &self.key_of(&me))),
            pool: volume
                .and_then(|v| self.pools.get(&v.spec.pool))
                .map(|pool| PoolSeen {
                    pool,
                    presence: self.presence(&storage),
                    facts: volume.and_then(|v| self.facts_of(&storage, &v.spec.pool)),
                }),
            name,
            volume,
        }
    }

    fn machine_of(
        &self,
        object: &VolumeSnapshot,
        me: &ObjectRef,
        targets: &[TargetSeen<'_>],
    ) -> Option<MachineSeen> {
        let claims = &self.ledger.claims;
        let begun = claims
            .snapshots_by(me.uid)
            .next()
            .map(|claim| claim.value.held);
        let id = begun.unwrap_or_else(|| match &object.spec.vm {
            Some(vm) => {
                let uid = object::uid(&self.vms.get(vm)?.metadata)?;
                Some(InstanceId(uid.0))
            }
            None => {
                let volume = object::uid(&targets.first()?.volume?.metadata)?;
                let attached = claims.attachment_of(InstanceId(volume.0))?;
                Some(attached.value.vm)
            }
        })?;
        let claim = claims.vms.get(&id)?;
        let on = claim.value.host.clone();
        Some(MachineSeen {
            vm: id,
            name: claim.value.owner.name.clone(),
            presence: self.presence(&on),
            said: self.said(&on, &vm::key(&claim.value.owner)),
            host: on,
        })
    }

    pub(super) fn look_at_snapshot(&mut self, name: &str) -> bool {
        let object = self.snapshots[name].clone();
        let judged = Judged {
            generation: 1,
            now: "2026-01-01T00:00:00Z",
        };
        let (plan, status) = self.with_snapshot(&object, |seen| {
            let plan = snapshot::plan(seen);
            let status = snapshot::status(seen, &plan, &judged);
            (plan, status)
        });
        let (mut changed, hold) = self.carry_out(&format!("snapshot {name}"), plan);
        if hold == Hold::LetGo {
            self.snapshots.remove(name);
            return true;
        }
        let object = self.snapshots.get_mut(name).unwrap();
        changed |= object.status.as_ref() != Some(&status);
        object.status = Some(status);
        changed
    }

    /// Carries out one plan, and lets every host do what it was told.
    pub fn play(&mut self, plan: &Plan) {
        self.carry_out("played", plan.clone());
        for name in super::keys(&self.hosts) {
            self.play_host(&name);
        }
    }

    /// How many hosts were told of a snapshot.
    pub fn boards_held(&self, claim: &Claimed<SnapshotClaim>) -> usize {
        let key = snapshot::key(claim.value.snapshot);
        let boards = self.boards.values();
        boards.filter(|board| board.contains_key(&key)).count()
    }

    /// The pool's driver cannot do this, from now on.
    pub fn lacks(&mut self, verb: dc_types::report::Verb, why: &str) {
        let facts = self.host_objects.get_mut(&host(STORAGE)).unwrap();
        facts.1.pools[0].lacks.push(dc_types::report::Lack {
            verb,
            why: why.into(),
        });
        assert!(pool::lacks(facts.1.pools.first(), verb).is_some());
    }
}
