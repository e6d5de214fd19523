//! VolumeSnapshot: claims for each volume, a hold of the guest that has them, items on storage hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use dc_crds::{StoragePool, Volume, VolumeSnapshot};
use dc_operator_core::claims::{Claimed, Claims};
use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use dc_operator_core::place::Presence;
use dc_operator_core::snapshot::{
    MachineSeen, MemberSeen, Purpose, Seen, Target, TargetSeen, key as item_key, plan, status,
};
use dc_operator_core::vm;
use dc_operator_core::volume::{self, Named, PoolSeen};
use dc_types::claim::SnapshotClaim;
use dc_types::report::{HostFacts, Observation};
use dc_types::{InstanceId, ObjectRef, SnapshotId};

use super::look::Look;
use super::pool::facts_of;
use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now, quota};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(snapshot) = context.stores.snapshots.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let snapshot = context.reports.latest(snapshot);
    let Some(me) = object::object_ref(&snapshot.metadata) else {
        return Ok(Settled::gone());
    };
    let now = now();
    settle(context, key, &snapshot, Kind::Snapshot, |look, _| {
        let read = Read::new(look, &snapshot, &me);
        let budget = quota::Read::new(look, &me.namespace);
        let ledger = &context.parts.ledger;
        let decision = ledger.with_claims(|claims| {
            let ahead = |asker| budget.ahead(claims, asker);
            let members = read.members(look, claims);
            let targets = read.targets();
            let seen = Seen {
                snapshot: &snapshot,
                me: &me,
                system: read.system,
                target: match &targets {
                    Some(targets) => Target::Volumes(targets),
                    None => Target::Absent,
                },
                machine: read.machine.as_ref(),
                members: &members,
                claims,
                purpose: Purpose::Department(budget.allowance(&ahead)),
            };
            let plan = plan(&seen);
            let judged = Judged {
                generation: object::generation(&snapshot.metadata),
                now: &now,
            };
            Decision {
                status: Some(status(&seen, &plan, &judged)),
                wake: wake(key, &read),
                plan,
                counts: Counts::None,
            }
        });
        quota::heed(look, &me.namespace, &decision.plan.found);
        decision
    })
    .await
}

/// Who sums up what a commit of this snapshot changes.
pub(super) fn wake(key: &Key, read: &Read) -> Vec<Key> {
    let volumes = read.volumes.iter().flatten();
    let mut wake: Vec<Key> = volumes
        .clone()
        .map(|volume| Key::new(Kind::Volume, &key.namespace, &volume.name))
        .collect();
    let pools = volumes.filter_map(|volume| volume.pool.as_ref()?.0.metadata.name.clone());
    wake.extend(pools.map(|pool| Key::global(Kind::Pool, &pool)));
    let machine = read.machine.iter();
    wake.extend(machine.map(|m| Key::new(Kind::Vm, &key.namespace, &m.name)));
    wake
}

/// What was read around one snapshot.
pub(super) struct Read {
    system: Named,
    /// `None` when the machine that it names is not there.
    volumes: Option<Vec<VolumeRead>>,
    pub(super) machine: Option<MachineSeen>,
    claimed: Vec<Claimed<SnapshotClaim>>,
}

struct VolumeRead {
    name: String,
    volume: Option<Arc<Volume>>,
    said: Option<Observation>,
    pool: Option<(Arc<StoragePool>, Presence, Option<Arc<HostFacts>>)>,
}

impl Read {
    pub(super) fn new(look: &mut Look<'_>, snapshot: &VolumeSnapshot, me: &ObjectRef) -> Self {
        let spec = &snapshot.spec;
        let system = match look.system(&me.namespace, &spec.system) {
            Some(_) => Named::There,
            None => Named::Absent,
        };
        let ledger = look.context.parts.ledger.clone();
        let claimed: Vec<Claimed<SnapshotClaim>> =
            ledger.with_claims(|claims| claims.snapshots_by(me.uid).cloned().collect());
        for claim in &claimed {
            look.claim(claim.value.snapshot.0);
        }
        let names = names(look, snapshot, me);
        let volumes = names.map(|names| {
            let volumes = names.into_iter();
            let read = volumes.map(|name| read_volume(look, &me.namespace, name));
            read.collect::<Vec<_>>()
        });
        let first = volumes.iter().flatten().next();
        let machine = machine_id(look, snapshot, me, &claimed, first);
        Self {
            system,
            machine: machine.and_then(|vm| read_machine(look, vm)),
            volumes,
            claimed,
        }
    }

    pub(super) fn targets(&self) -> Option<Vec<TargetSeen<'_>>> {
        let volumes = self.volumes.as_ref()?;
        let targets = volumes.iter().map(|read| TargetSeen {
            name: read.name.clone(),
            volume: read.volume.as_deref(),
            said: read.said.clone(),
            pool: read.pool.as_ref().map(|(pool, presence, facts)| PoolSeen {
                pool,
                presence: *presence,
                facts: facts.as_deref().and_then(|facts| {
                    let name = pool.metadata.name.as_deref().unwrap_or_default();
                    facts_of(facts, name)
                }),
            }),
        });
        Some(targets.collect())
    }

    pub(super) fn members(
        &self,
        look: &mut Look<'_>,
        claims: &Claims,
    ) -> BTreeMap<SnapshotId, MemberSeen> {
        let members = self.claimed.iter().map(|claim| {
            let (host, key) = (&claim.value.host, item_key(claim.value.snapshot));
            let member = MemberSeen {
                presence: look.presence(host),
                said: look.said(host, &key),
                removal: look.removal(claims, host, &key, claim.epoch),
            };
            (claim.value.snapshot, member)
        });
        members.collect()
    }
}

/// The volumes it asks for, by name.
fn names(look: &mut Look<'_>, snapshot: &VolumeSnapshot, me: &ObjectRef) -> Option<Vec<String>> {
    match (&snapshot.spec.vm, &snapshot.spec.volume) {
        (Some(vm), _) => {
            let found = look.vm(&me.namespace, vm)?;
            let disks = found.spec.disks.iter();
            Some(disks.map(|disk| vm::volume_name(vm, disk)).collect())
        }
        (None, Some(volume)) => Some(vec![volume.clone()]),
        (None, None) => None,
    }
}

fn read_volume(look: &mut Look<'_>, namespace: &str, name: String) -> VolumeRead {
    let volume = look.volume(namespace, &name);
    let me = volume
        .as_ref()
        .and_then(|v| object::object_ref(&v.metadata));
    let Some(me) = me else {
        return VolumeRead {
            name,
            volume,
            said: None,
            pool: None,
        };
    };
    look.claim(me.uid.0);
    let host = look.context.parts.ledger.with_claims(|claims| {
        let claim = claims.volumes.get(&volume::id(&me));
        claim.map(|claim| {
            let pool = claim.value.pool.to_string();
            (claim.value.host.clone(), (claim.value.place(), pool))
        })
    });
    let (host, at) = host.unzip();
    let (place, pool_name) = at.unzip();
    if let Some(place) = place {
        // Who has it is claimed by the place.
        look.claim(place.0);
    }
    let pool = pool_name.and_then(|pool| look.pool("", &pool));
    VolumeRead {
        said: host
            .as_ref()
            .zip(place)
            .and_then(|(host, place)| look.said(host, &volume::key(place))),
        pool: pool.zip(host).map(|(pool, host)| {
            let facts = look.facts_once(&host);
            (pool, look.presence(&host), facts)
        }),
        name,
        volume,
    }
}

/// The machine that was held when it was begun; before that, the one that has the volumes now.
fn machine_id(
    look: &mut Look<'_>,
    snapshot: &VolumeSnapshot,
    me: &ObjectRef,
    claimed: &[Claimed<SnapshotClaim>],
    first: Option<&VolumeRead>,
) -> Option<InstanceId> {
    if let Some(begun) = claimed.first() {
        return begun.value.held;
    }
    if let Some(vm) = &snapshot.spec.vm {
        let found = look.vm(&me.namespace, vm)?;
        return object::uid(&found.metadata).map(|uid| InstanceId(uid.0));
    }
    let uid = object::uid(&first?.volume.as_ref()?.metadata)?;
    look.context.parts.ledger.with_claims(|claims| {
        let attached = claims.attachment_of(InstanceId(uid.0))?;
        Some(attached.value.vm)
    })
}

/// Its host, and what that says; `None` while it has none.
fn read_machine(look: &mut Look<'_>, id: InstanceId) -> Option<MachineSeen> {
    look.claim(id.0);
    let (host, owner) = look.context.parts.ledger.with_claims(|claims| {
        let claim = claims.vms.get(&id)?;
        Some((claim.value.host.clone(), claim.value.owner.clone()))
    })?;
    Some(MachineSeen {
        vm: id,
        name: owner.name.clone(),
        presence: look.presence(&host),
        said: look.said(&host, &vm::key(&owner)),
        host,
    })
}
