//! The next step of one proof.

use dc_crds::proof::{ProofResult, ProofStep, RestoreProofSpec, StepTime, Trial, Verdict};
use dc_types::plan::Probes;
use dc_types::report::{Detail, Guest, ItemState, Probed};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::validate::validate;
use super::{Seen, Turn, deletion, sandbox, volume_names};
use crate::conditions::find;
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::restore::status::{DONE, recorded};
use crate::words::{Fact, ProofFact};

/// What a storage host says of a restore that no waiting mends: the backup does not come back.
const FOR_GOOD: [&str; 4] = [
    "RepositoryDamaged",
    "BackupMissing",
    "WrongPassword",
    "VolumeDiffers",
];

/// How far a proof is, as this look found it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// What is tried: written down before anything is made of it.
    pub trial: Option<Trial>,
    pub step: Option<ProofStep>,
    /// Decided now; written down before anything is erased.
    pub verdict: Option<Verdict>,
    /// Nothing of the sandbox is left.
    pub is_over: bool,
}

#[must_use]
pub fn plan(seen: &Seen<'_>) -> (Plan, Course) {
    let status = seen.proof.status.clone().unwrap_or_default();
    if object::life(&seen.proof.metadata) == Life::Deleting {
        let erase = deletion::rest(seen);
        return match (erase.is_empty(), seen.sandbox.nothing_left) {
            (true, true) => (Plan::let_go(), Course::default()),
            _ => (
                Plan {
                    remove: erase,
                    ..Plan::found(Fact::Deleting)
                },
                Course::default(),
            ),
        };
    }
    if !object::is_held(&seen.proof.metadata) {
        return (Plan::found(Fact::Creating), Course::default());
    }
    if status.evidence.is_some() {
        return (Plan::default(), Course::default());
    }
    let Some(trial) = status.trial else {
        return begin(seen);
    };
    match status.verdict {
        None => go_on(seen, trial),
        Some(_) => (
            erase(seen),
            Course {
                trial: Some(trial),
                step: Some(ProofStep::Erase),
                verdict: None,
                is_over: seen.sandbox.nothing_left,
            },
        ),
    }
}

fn begin(seen: &Seen<'_>) -> (Plan, Course) {
    let trial = match validate(seen) {
        Ok(trial) => trial,
        Err(found) => return (Plan::all_found(found), Course::default()),
    };
    if seen.turn == Turn::Waits {
        return (found(ProofFact::WaitsForTurn), Course::default());
    }
    // Written down first: whoever leads next then tries the same.
    let plan = Plan {
        again_at: Some(seen.now),
        ..found(ProofFact::Restoring { says: None })
    };
    let course = Course {
        trial: Some(trial),
        step: Some(ProofStep::Restore),
        ..Course::default()
    };
    (plan, course)
}

fn erase(seen: &Seen<'_>) -> Plan {
    Plan {
        remove: deletion::rest(seen),
        again_at: seen.sandbox.nothing_left.then_some(seen.now),
        ..found(ProofFact::Erasing)
    }
}

fn found(fact: ProofFact) -> Plan {
    Plan::found(Fact::Proof(fact))
}

/// What one look at the sandbox shows.
enum Sight {
    /// It is at a step, and goes on by itself.
    At(ProofStep, ProofFact),
    Failed(ProofStep, ProofFact),
    Proven,
}

fn go_on(seen: &Seen<'_>, mut trial: Trial) -> (Plan, Course) {
    let mut plan = Plan::default();
    let sight = look(seen, &mut trial, &mut plan);
    let (sight, due) = in_time(seen, sight);
    let mut course = Course {
        trial: Some(trial),
        ..Course::default()
    };
    match sight {
        Sight::At(step, fact) => {
            course.step = Some(step);
            plan.found = vec![Fact::Proof(fact)];
            plan.again_at = due;
        }
        Sight::Failed(step, fact) => {
            course.step = Some(step);
            course.verdict = Some(verdict(ProofResult::Failed, Some(step), fact));
            plan = decided(seen);
        }
        Sight::Proven => {
            course.step = Some(ProofStep::Probe);
            course.verdict = Some(verdict(ProofResult::Proven, None, ProofFact::Proven));
            plan = decided(seen);
        }
    }
    (plan, course)
}

/// Nothing is done until the verdict is written down.
fn decided(seen: &Seen<'_>) -> Plan {
    Plan {
        again_at: Some(seen.now),
        ..found(ProofFact::Erasing)
    }
}

fn verdict(result: ProofResult, failed_at: Option<ProofStep>, fact: ProofFact) -> Verdict {
    let words = Fact::Proof(fact).words();
    Verdict {
        result,
        failed_at,
        reason: words.reason.clone(),
        message: words.message(),
    }
}

/// Makes what is missing, and tells how far it is.
fn look(seen: &Seen<'_>, trial: &mut Trial, plan: &mut Plan) -> Sight {
    match restores(seen, trial, plan) {
        Some(sight) => sight,
        None => guest(seen, trial, plan),
    }
}

/// `None` once all volumes are written and the same as in the backup.
fn restores(seen: &Seen<'_>, trial: &mut Trial, plan: &mut Plan) -> Option<Sight> {
    let names: Vec<String> = volume_names(trial).collect();
    let mut waits = None;
    for (number, name) in names.iter().enumerate() {
        let volume = trial.volumes[number].volume.clone();
        let Some((restore, said)) = seen.sandbox.restores.get(name) else {
            // One that was there and is gone was taken away from under it.
            if trial.volumes[number].sha256.is_none() {
                let new = sandbox::restore(seen.namespace, seen.me, trial, number);
                plan.try_out.push(new);
                waits = waits.or(Some(None));
            }
            continue;
        };
        let status = restore.status.clone().unwrap_or_default();
        if let Some(ended) = recorded(restore) {
            let fact = match (ended, status.sha256) {
                (DONE, Some(sum)) => {
                    trial.volumes[number].sha256 = Some(sum);
                    continue;
                }
                // Its host is of an older version, which reads nothing back.
                (DONE, None) => ProofFact::NotCompared { volume },
                (_, _) => ProofFact::Disturbed { what: name.clone() },
            };
            return Some(Sight::Failed(ProofStep::Restore, fact));
        }
        if let Some(ItemState::Failed(trouble)) = said.map(|said| &said.state)
            && FOR_GOOD.contains(&trouble.reason.as_str())
        {
            let fact = ProofFact::NotRestored {
                volume,
                reason: trouble.reason.clone(),
                says: trouble.message.clone(),
            };
            return Some(Sight::Failed(ProofStep::Restore, fact));
        }
        let ready = find(&status.conditions, dc_crds::condition::types::READY);
        waits = waits.or(Some(ready.map(|ready| ready.message.clone())));
    }
    let says = waits?;
    Some(Sight::At(ProofStep::Restore, ProofFact::Restoring { says }))
}

fn guest(seen: &Seen<'_>, trial: &mut Trial, plan: &mut Plan) -> Sight {
    let asked = &seen.proof.spec.probes;
    let Some(machine) = seen.sandbox.machine else {
        if began(seen, ProofStep::Probe).is_some() {
            let what = trial.sandbox.clone();
            return Sight::Failed(ProofStep::Probe, ProofFact::Disturbed { what });
        }
        let new = sandbox::machine(seen.namespace, seen.me, trial, asked);
        plan.try_out.push(new);
        return Sight::At(ProofStep::Boot, ProofFact::Booting { says: None });
    };
    trial.host = seen.sandbox.host.map(str::to_owned).or(trial.host.take());
    let told = seen.sandbox.machine_said.map(|said| &said.detail);
    let Some(Detail::Vm { guest, probed, .. }) = told else {
        return booting(machine);
    };
    let probes = Probes {
        console: asked.console.clone(),
        agent: asked.guest_agent,
        command: asked.command.clone(),
    };
    let probed = probed.as_deref().copied().unwrap_or_default();
    if probed.satisfies(&probes) {
        return Sight::Proven;
    }
    let host = trial.host.clone().unwrap_or_default();
    match guest {
        Guest::Running | Guest::Paused | Guest::Stopping => Sight::At(
            ProofStep::Probe,
            ProofFact::Probing {
                host,
                missing: missing(&probes, probed),
            },
        ),
        Guest::Crashed => Sight::Failed(ProofStep::Probe, ProofFact::Crashed { host }),
        Guest::Stopped => Sight::Failed(ProofStep::Probe, ProofFact::StoppedByItself { host }),
        Guest::Absent | Guest::Starting => booting(machine),
    }
}

fn booting(machine: &dc_crds::VirtualMachine) -> Sight {
    let status = machine.status.as_ref();
    let ready = status.and_then(|s| find(&s.conditions, dc_crds::condition::types::READY));
    let says = ready.map(|ready| ready.message.clone());
    Sight::At(ProofStep::Boot, ProofFact::Booting { says })
}

/// The fields of what has not been shown.
fn missing(asked: &Probes, probed: Probed) -> Vec<String> {
    let mut missing = Vec::new();
    if let Some(text) = asked.console.as_ref().filter(|_| !probed.console) {
        missing.push(format!("console: {text:?}"));
    }
    if asked.agent && !probed.agent {
        missing.push("guestAgent".to_owned());
    }
    if !asked.command.is_empty() && probed.command != Some(0) {
        missing.push(match probed.command {
            Some(code) => format!("command: {code}"),
            None => "command".to_owned(),
        });
    }
    missing
}

/// When a step began, if it did.
fn began(seen: &Seen<'_>, step: ProofStep) -> Option<Timestamp> {
    let steps = seen.proof.status.as_ref().map(|status| &status.steps);
    let mut steps = steps.into_iter().flatten();
    let StepTime { began_at, .. } = steps.find(|time| time.step == step)?;
    began_at.parse().ok()
}

/// What goes on for too long has failed; else, when that would be.
fn in_time(seen: &Seen<'_>, sight: Sight) -> (Sight, Option<Timestamp>) {
    let RestoreProofSpec {
        restore_seconds,
        boot_seconds,
        ..
    } = seen.proof.spec;
    let Sight::At(step, fact) = sight else {
        return (sight, None);
    };
    let (since, seconds) = match step {
        ProofStep::Restore => (began(seen, step), restore_seconds),
        _ => (began(seen, ProofStep::Boot), boot_seconds),
    };
    // A step that has just begun has all its time.
    let since = since.unwrap_or(seen.now);
    let due = since.saturating_add(SignedDuration::from_secs(i64::from(seconds)));
    let due = due.unwrap_or(Timestamp::MAX);
    if seen.now < due {
        return (Sight::At(step, fact), Some(due));
    }
    let words = Fact::Proof(fact).words();
    let fact = ProofFact::TooLong {
        seconds,
        en: words.en,
        vi: words.vi,
    };
    (Sight::Failed(step, fact), None)
}
