//! Which backups of a policy are to be tried, and whose machines have none that was shown to come
//! back.

use std::collections::{BTreeMap, BTreeSet};

use dc_crds::backup_policy::Prove;
use dc_crds::proof::{ProofReason, RestoreProofSpec};
use dc_crds::{Backup, RestoreProof};
use k8s_openapi::jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::keep::is_kept;
use super::{Seen, selects};
use crate::object;
use crate::proof::{NewProof, has_ended};

const DAY_S: i64 = 86_400;

/// What is due, and who is unproven: `department/machine`, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Due {
    pub prove: Vec<NewProof>,
    pub unproven: Vec<String>,
}

/// When one was taken; of two of the same second, the one for the later time is younger.
type Age<'a> = (i64, &'a str);

/// One machine's backups that are done, the oldest first.
struct Machine<'a> {
    backups: Vec<(Age<'a>, &'a Backup)>,
    proofs: Vec<&'a RestoreProof>,
}

#[must_use]
pub(super) fn due(seen: &Seen<'_>) -> Due {
    let prove = seen.policy.spec.prove.clone().unwrap_or_default();
    let every = i64::from(prove.every_days) * DAY_S;
    let mut due = Due::default();
    if prove.suspend {
        return due;
    }
    let machines = machines(seen);
    for ((department, vm), machine) in &machines {
        if machine.is_unproven(seen.now, every) {
            due.unproven.push(format!("{department}/{vm}"));
        }
        let latest = machine.latest_due(seen.now, every);
        due.prove
            .extend(latest.and_then(|backup| order(backup, &prove, ProofReason::Latest)));
    }
    due.prove.extend(sample(seen, &prove, every, &machines));
    due
}

fn machines<'a>(seen: &Seen<'a>) -> BTreeMap<(&'a str, &'a str), Machine<'a>> {
    let selected = seen.machines.iter();
    let selected: BTreeSet<(&str, &str)> = selected
        .filter(|(vm, system)| selects(seen.policy, vm, *system))
        .filter_map(|(vm, _)| {
            Some((
                vm.metadata.namespace.as_deref()?,
                vm.metadata.name.as_deref()?,
            ))
        })
        .collect();
    let mut of_backup: BTreeMap<(&str, &str), Vec<&RestoreProof>> = BTreeMap::new();
    for proof in seen.proofs {
        let namespace = proof.metadata.namespace.as_deref().unwrap_or_default();
        let key = (namespace, proof.spec.backup.as_str());
        of_backup.entry(key).or_default().push(proof);
    }
    let mut machines: BTreeMap<(&str, &str), Machine<'_>> = BTreeMap::new();
    for backup in seen.backups {
        let (Some(namespace), Some(name), Some(taken)) = (
            backup.metadata.namespace.as_deref(),
            backup.metadata.name.as_deref(),
            taken_at(backup),
        ) else {
            continue;
        };
        let key = (namespace, backup.spec.vm.as_str());
        if !selected.contains(&key) {
            continue;
        }
        let machine = machines.entry(key).or_insert_with(|| Machine {
            backups: Vec::new(),
            proofs: Vec::new(),
        });
        let of = backup.spec.scheduled_at.as_deref().unwrap_or_default();
        machine.backups.push(((taken, of), backup));
        let proofs = of_backup.get(&(namespace, name)).into_iter().flatten();
        machine.proofs.extend(proofs);
    }
    for machine in machines.values_mut() {
        machine.backups.sort_by_key(|(taken, _)| *taken);
    }
    machines
}

impl<'a> Machine<'a> {
    /// When one of its backups was last shown to come back, and when that one was taken.
    fn proven(&self) -> Option<(i64, Age<'a>)> {
        let proven = self.backups.iter().filter_map(|(taken, backup)| {
            let at = backup.status.as_ref()?.proven_at.as_ref()?;
            Some((second(at)?, *taken))
        });
        proven.max()
    }

    /// Whether one that is no older than the last proven one was tried, and did not come back.
    fn has_failed(&self) -> bool {
        let since = self.proven().map(|(_, taken)| taken);
        self.backups.iter().any(|(taken, backup)| {
            let status = backup.status.as_ref();
            Some(*taken) >= since && status.is_some_and(|s| s.failed_proof.is_some())
        })
    }

    fn is_unproven(&self, now: i64, every: i64) -> bool {
        let Some(((first, _), _)) = self.backups.first() else {
            return false;
        };
        let since = self.proven().map_or(*first, |(at, _)| at);
        self.has_failed() || now > since.saturating_add(2 * every)
    }

    /// Its last backup, when it is to be tried now.
    fn latest_due(&self, now: i64, every: i64) -> Option<&Backup> {
        let (_, last) = self.backups.last()?;
        // One that has ended counts once its backup tells what came of it.
        let mut proofs = self.proofs.iter();
        let runs = proofs.any(|proof| !has_ended(proof) || !self.is_told(proof));
        let rests = self.proven().is_some_and(|(at, _)| now < at + every);
        (!runs && !self.was_tried(last) && (!rests || self.has_failed())).then_some(*last)
    }

    fn is_told(&self, proof: &RestoreProof) -> bool {
        let mut backups = self.backups.iter();
        backups.any(|(_, backup)| {
            let status = backup.status.as_ref();
            backup.metadata.name.as_deref() == Some(&*proof.spec.backup)
                && status.is_some_and(|s| s.proven_at.is_some() || s.failed_proof.is_some())
        })
    }

    fn was_tried(&self, backup: &Backup) -> bool {
        let name = backup.metadata.name.as_deref();
        let told = backup.status.as_ref();
        told.is_some_and(|told| told.proven_at.is_some() || told.failed_proof.is_some())
            || self
                .proofs
                .iter()
                .any(|proof| Some(proof.spec.backup.as_str()) == name)
    }
}

/// By lot among those that are kept, are not the last of their machine, and were never tried: which
/// ones nobody can choose, and every leader draws the same.
fn sample(
    seen: &Seen<'_>,
    prove: &Prove,
    every: i64,
    machines: &BTreeMap<(&str, &str), Machine<'_>>,
) -> Vec<NewProof> {
    let period = seen.now.div_euclid(every);
    let drawn = machines.values().flat_map(|machine| &machine.proofs);
    let drawn = drawn.filter(|proof| {
        let made = proof.metadata.creation_timestamp.as_ref();
        proof.spec.why == ProofReason::Sample
            && made.is_some_and(|at| at.0.as_second().div_euclid(every) == period)
    });
    let left = usize::try_from(prove.sample).unwrap_or_default();
    let left = left.saturating_sub(drawn.count());
    let policy = object::uid(&seen.policy.metadata);
    let lot = |backup: &Backup| {
        let of = object::uid(&backup.metadata);
        let text = format!("{policy:?}/{period}/{of:?}");
        <[u8; 32]>::from(Sha256::digest(text))
    };
    let mut rest: Vec<&Backup> = Vec::new();
    for machine in machines.values() {
        let Some((_, others)) = machine.backups.split_last() else {
            continue;
        };
        let all: Vec<&Backup> = machine.backups.iter().map(|(_, backup)| *backup).collect();
        let untried = others.iter().map(|(_, backup)| *backup);
        rest.extend(
            untried
                .filter(|backup| !machine.was_tried(backup) && is_kept(backup, seen.policy, &all)),
        );
    }
    rest.sort_by_key(|backup| lot(backup));
    let chosen = rest.into_iter().take(left);
    chosen
        .filter_map(|backup| order(backup, prove, ProofReason::Sample))
        .collect()
}

/// Called as its backup: two looks, or two leaders, make one.
fn order(backup: &Backup, prove: &Prove, why: ProofReason) -> Option<NewProof> {
    let Prove {
        suspend: _,
        every_days: _,
        sample: _,
        pool,
        probes,
        restore_seconds,
        boot_seconds,
    } = prove.clone();
    let name = backup.metadata.name.clone()?;
    Some(NewProof {
        namespace: backup.metadata.namespace.clone()?,
        spec: RestoreProofSpec {
            backup: name.clone(),
            pool,
            class: None,
            firmware: None,
            probes,
            restore_seconds,
            boot_seconds,
            why,
        },
        name,
        backup_uid: backup.metadata.uid.clone()?,
    })
}

/// Of one that is done and not about to go.
fn taken_at(backup: &Backup) -> Option<i64> {
    let status = backup.status.as_ref()?;
    status.snapshot_id.as_ref()?;
    if object::life(&backup.metadata) == object::Life::Deleting {
        return None;
    }
    second(status.taken_at.as_ref()?)
}

fn second(text: &str) -> Option<i64> {
    Some(text.parse::<Timestamp>().ok()?.as_second())
}

#[cfg(test)]
mod tests;
