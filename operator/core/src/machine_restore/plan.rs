//! The next step of one restore of a machine.

use dc_crds::machine_restore::RebuiltVolume;
use dc_types::claim::{ManifestClaim, PendingRelease, keys};
use dc_types::plan::{Disposition, Release};
use dc_types::report::{Detail, ManifestRead};
use k8s_openapi::jiff::Timestamp;

use super::design::{Design, design};
use super::validate::{fits, machine_taken, validate};
use super::{Around, Seen, item, key, objects, status};
use crate::claims::Claimed;
use crate::conditions::find;
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::proof::sandbox::NewObject;
use crate::restore::status::{DONE, STOPPED, recorded};
use crate::sight::{self, Sight};
use crate::txn::Txn;
use crate::words::{Fact, MachineRestoreFact};

/// How far it is, as this look found it: written down with the status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// Its machine's name and volumes, once nothing keeps them from being made.
    pub begun: Option<(String, Vec<RebuiltVolume>)>,
    pub ended: Option<Ended>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With the instance id of the machine.
    Done(String),
    /// This volume was deleted before it was written.
    Stopped(String),
}

#[must_use]
pub fn plan(seen: &Seen<'_>, now: Timestamp) -> (Plan, Course) {
    let claim = seen.claims.manifests.get(&seen.me.uid);
    if object::life(&seen.restore.metadata) == Life::Deleting {
        return only(match claim {
            None => Plan::let_go(),
            Some(claim) => give_back(seen, claim),
        });
    }
    if !object::is_held(&seen.restore.metadata) {
        return only(Plan::found(Fact::Creating));
    }
    match (claim, status::ended(seen.restore)) {
        (None, Some(_)) => only(Plan::default()),
        (Some(claim), Some(_)) => only(give_back(seen, claim)),
        (None, None) => only(match validate(seen) {
            Ok(claim) => {
                let txn = Txn::new(format!("machine restore {}: claim", seen.me));
                Plan::claim(txn.claim(keys::manifest(seen.me.uid), &claim))
            }
            Err(fact) => Plan::found(fact),
        }),
        (Some(claim), None) => with_manifest(seen, claim, now),
    }
}

fn only(plan: Plan) -> (Plan, Course) {
    (plan, Course::default())
}

fn found(fact: MachineRestoreFact) -> Plan {
    Plan::found(Fact::MachineRestore(fact))
}

/// The host forgets what it has read. It changes nothing, so nothing is waited for.
fn give_back(seen: &Seen<'_>, claim: &Claimed<ManifestClaim>) -> Plan {
    let ManifestClaim { owner, host, .. } = &claim.value;
    let item = key(owner.uid);
    let release = PendingRelease {
        host: host.clone(),
        release: Release {
            key: item,
            epoch: claim.epoch,
            object: owner.clone(),
            disposition: Disposition::Remove,
        },
    };
    let claim_key = keys::manifest(seen.me.uid);
    let txn = Txn::new(format!("machine restore {}: let go", seen.me))
        .unchanged(claim_key.clone(), claim.revision)
        .delete(claim_key)
        .put(keys::release(host, &item), &release);
    Plan {
        uncarry: vec![(host.clone(), item)],
        ..Plan::claim(txn)
    }
}

/// What the host has said of the manifest, however long ago: it never changes.
#[must_use]
pub fn read<'a>(seen: &'a Seen<'_>) -> Option<&'a ManifestRead> {
    match &seen.said?.detail {
        Detail::Manifest { read } => read.as_deref(),
        _ => None,
    }
}

fn with_manifest(
    seen: &Seen<'_>,
    claim: &Claimed<ManifestClaim>,
    now: Timestamp,
) -> (Plan, Course) {
    let access = match super::validate::access(seen, claim) {
        Ok(access) => access,
        Err(fact) => return only(Plan::found(fact)),
    };
    let item = item(claim, access);
    let host = &claim.value.host;
    let reading = || {
        let host = host.to_string();
        found(MachineRestoreFact::Reading { host })
    };
    let designed = read(seen).map(|manifest| design(&seen.restore.spec, seen.me, manifest));
    let (plan, course) = match (designed, seen.around) {
        (Some(Ok(design)), Some(around)) => build(seen, &design, &around, now),
        (Some(Ok(_)), None) => only(reading()),
        (Some(Err(wrong)), _) => {
            let wrong = wrong.into_iter().map(Fact::MachineRestore);
            only(Plan::all_found(wrong.collect()))
        }
        (None, _) => only(
            match sight::of_item(host, seen.presence, &item, seen.said) {
                Sight::Told(fact) => Plan::found(fact),
                Sight::AsAsked(_) | Sight::OnTheWay(_) => reading(),
            },
        ),
    };
    let plan = Plan {
        carry: vec![(host.clone(), item)],
        ..plan
    };
    (plan, course)
}

fn build(seen: &Seen<'_>, design: &Design, around: &Around<'_>, now: Timestamp) -> (Plan, Course) {
    let status = seen.restore.status.clone().unwrap_or_default();
    if status.volumes.is_empty() {
        return match fits(seen, design, around) {
            Err(wrong) => only(Plan::all_found(wrong)),
            // Written down first: what is made after that is its own.
            Ok(()) => (
                Plan {
                    again_at: Some(now),
                    ..volumes(0, design.volumes.len(), None)
                },
                Course {
                    begun: Some((design.name.clone(), first(design))),
                    ended: None,
                },
            ),
        };
    }
    let mut noted = status.volumes;
    let mut plan = Plan::default();
    let mut says = None;
    for (volume, noted) in design.volumes.iter().zip(&mut noted) {
        if noted.done {
            continue;
        }
        let Some(restore) = around.restores.get(&volume.restore) else {
            let new = objects::restore(seen, volume);
            plan.try_out.push(NewObject::Restore(Box::new(new)));
            continue;
        };
        match recorded(restore) {
            Some(DONE) => noted.done = true,
            Some(STOPPED) => {
                let ended = Some(Ended::Stopped(volume.to.name.clone()));
                return end(design, noted_all(design, seen), ended, now);
            }
            Some(_) | None => {
                let conditions = restore.status.iter().flat_map(|status| &status.conditions);
                let conditions: Vec<_> = conditions.cloned().collect();
                let ready = find(&conditions, dc_crds::condition::types::READY);
                says = says.or(ready.map(|ready| format!("{}: {}", volume.to.name, ready.message)));
            }
        }
    }
    let done = noted.iter().filter(|volume| volume.done).count();
    let begun = Some((design.name.clone(), noted.clone()));
    if done < design.volumes.len() {
        plan.found = volumes(done, design.volumes.len(), says).found;
        return (plan, Course { begun, ended: None });
    }
    match around.machine {
        Some(machine) if objects::is_built_by(machine, seen) => {
            let id = machine.metadata.uid.clone().unwrap_or_default();
            end(design, noted, Some(Ended::Done(id)), now)
        }
        Some(_) => {
            let fact = machine_taken(seen, design, around);
            plan.found = fact.map(Fact::MachineRestore).into_iter().collect();
            (plan, Course { begun, ended: None })
        }
        None => {
            plan.try_out.push(objects::machine(seen, design));
            plan.found = found(MachineRestoreFact::Building {
                machine: design.name.clone(),
            })
            .found;
            (plan, Course { begun, ended: None })
        }
    }
}

fn noted_all(design: &Design, seen: &Seen<'_>) -> Vec<RebuiltVolume> {
    let status = seen.restore.status.as_ref();
    status.map_or_else(|| first(design), |status| status.volumes.clone())
}

/// Looked at again once it is written down: then its claim goes.
fn end(
    design: &Design,
    noted: Vec<RebuiltVolume>,
    ended: Option<Ended>,
    now: Timestamp,
) -> (Plan, Course) {
    let plan = Plan {
        again_at: Some(now),
        ..Plan::default()
    };
    let begun = Some((design.name.clone(), noted));
    (plan, Course { begun, ended })
}

fn volumes(done: usize, of: usize, says: Option<String>) -> Plan {
    found(MachineRestoreFact::Writing { done, of, says })
}

fn first(design: &Design) -> Vec<RebuiltVolume> {
    let volumes = design.volumes.iter();
    let volumes = volumes.map(|volume| RebuiltVolume {
        was: volume.was.clone(),
        volume: volume.to.name.clone(),
        restore: volume.restore.clone(),
        done: false,
    });
    volumes.collect()
}
