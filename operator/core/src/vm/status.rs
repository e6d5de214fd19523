//! What people read of a machine.

use dc_crds::condition::types;
use dc_crds::vm::InterfaceStatus;
use dc_crds::{ConditionStatus, VirtualMachineStatus};
use dc_types::claim::VmClaim;
use dc_types::report::{Detail, Guest};
use k8s_openapi::jiff::Timestamp;

use super::{Seen, home, id};
use crate::claims::Claimed;
use crate::conditions::{Draft, Judged, merge};
use crate::lease::{self, Term};
use crate::object::{self, Life};
use crate::place::Presence;
use crate::plan::Plan;
use crate::words::{Fact, all_words};

/// What an agent says of a guest whose definition is newer than its start.
const RESTART: &str = "RestartNeeded";

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, judged: &Judged<'_>) -> VirtualMachineStatus {
    let claim = seen.claims.vms.get(&id(seen.me));
    let old = seen.vm.status.as_ref();
    let (restart, found) = restart_apart(&plan.found);
    let words = all_words(&found).unwrap_or_else(|| match claim {
        Some(claim) => Fact::Running {
            host: claim.value.host.to_string(),
        }
        .words(),
        None => Fact::Deleting.words(),
    });
    let mut drafts = vec![
        Draft::ready(words),
        placed(seen, claim),
        attached(seen, claim),
    ];
    // What is wrong with a lease is among what was found.
    let term = lease::judge(seen.leases.iter().copied(), seen.now).unwrap_or_default();
    drafts.extend(term.as_ref().map(Term::draft));
    drafts.extend(
        restart.map(|fact| Draft::new(types::RESTART_NEEDED, ConditionStatus::True, fact.words())),
    );
    let guest = GuestSeen::find(seen);
    VirtualMachineStatus {
        conditions: merge(old.map_or(&[], |old| &old.conditions), drafts, judged),
        state: state(seen, claim, &guest).to_owned(),
        host: claim.map(|claim| claim.value.host.to_string()),
        instance_id: claim.map(|claim| claim.value.vm.to_string()),
        epoch: claim.map(|claim| claim.epoch.to_string()),
        machine_type: claim.map(|claim| claim.value.machine_type.clone()),
        address_text: claim.map(address_text).unwrap_or_default(),
        interfaces: claim
            .map(|claim| interfaces(seen, claim))
            .unwrap_or_default(),
        last_stop: guest
            .last_stop
            .or_else(|| old.and_then(|old| old.last_stop.clone())),
        started_at: guest.started_at,
    }
}

/// A guest that runs as it was started runs well: that a change waits for its next start is told
/// beside that it is ready, not instead.
fn restart_apart(found: &[Fact]) -> (Option<Fact>, Vec<Fact>) {
    let waits = |fact: &Fact| matches!(fact, Fact::HostSays { reason, .. } if reason == RESTART);
    let (restart, found): (Vec<Fact>, Vec<Fact>) = found.iter().cloned().partition(waits);
    (restart.into_iter().next(), found)
}

/// What its host last said of the guest.
struct GuestSeen {
    guest: Option<Guest>,
    last_stop: Option<String>,
    started_at: Option<String>,
}

impl GuestSeen {
    fn find(seen: &Seen<'_>) -> Self {
        match seen.said.map(|said| &said.detail) {
            Some(Detail::Vm {
                guest,
                last_stop,
                machine_type: _,
                started_at,
                restart: _,
                held: _,
                moves: _,
                used: _,
                formatted: _,
                probed: _,
            }) => Self {
                guest: Some(*guest),
                last_stop: last_stop.map(|stop| format!("{stop:?}")),
                started_at: started_at
                    .and_then(|second| Timestamp::from_second(second).ok())
                    .map(|at| at.to_string()),
            },
            Some(
                Detail::None
                | Detail::Image { .. }
                | Detail::Volume { .. }
                | Detail::Snapshot { .. }
                | Detail::Backup { .. }
                | Detail::Restore { .. }
                | Detail::Manifest { .. },
            )
            | None => Self {
                guest: None,
                last_stop: None,
                started_at: None,
            },
        }
    }
}

fn state(seen: &Seen<'_>, claim: Option<&Claimed<VmClaim>>, guest: &GuestSeen) -> &'static str {
    if object::life(&seen.vm.metadata) == Life::Deleting {
        return "Releasing";
    }
    let Some(claim) = claim else {
        return "Pending";
    };
    let presence = seen.index.host(&claim.value.host).map(|host| host.presence);
    if presence != Some(Presence::Connected) {
        return "Unknown";
    }
    match guest.guest {
        None => "Pending",
        Some(Guest::Absent) => match seen.vm.spec.power_state {
            dc_crds::vm::PowerState::Running => "Starting",
            dc_crds::vm::PowerState::Stopped => "Stopped",
        },
        Some(Guest::Starting) => "Starting",
        Some(Guest::Running) => "Running",
        Some(Guest::Paused) => "Paused",
        Some(Guest::Stopping) => "Stopping",
        Some(Guest::Stopped) => "Stopped",
        Some(Guest::Crashed) => "Crashed",
    }
}

fn placed(seen: &Seen<'_>, claim: Option<&Claimed<VmClaim>>) -> Draft {
    match claim {
        Some(claim) => Draft::new(
            types::PLACED,
            ConditionStatus::True,
            home::placed(seen, &claim.value.host).words(),
        ),
        None => Draft::new(
            types::PLACED,
            ConditionStatus::False,
            Fact::NotPlaced.words(),
        ),
    }
}

fn attached(seen: &Seen<'_>, claim: Option<&Claimed<VmClaim>>) -> Draft {
    let held = claim.map_or(0, |claim| {
        let mine = |volume: &&dc_types::InstanceId| {
            let attached = seen.claims.attachment_of(**volume);
            attached.is_some_and(|attached| attached.value.vm == claim.value.vm)
        };
        claim.value.volumes.iter().filter(mine).count()
    });
    match claim {
        Some(_) => Draft::new(
            types::ATTACHED,
            ConditionStatus::True,
            Fact::Attached { volumes: held }.words(),
        ),
        None => Draft::new(
            types::ATTACHED,
            ConditionStatus::False,
            Fact::NotPlaced.words(),
        ),
    }
}

/// The first address, as `kubectl get vm` shows it.
fn address_text(claim: &Claimed<VmClaim>) -> String {
    let card = claim.value.cards.first();
    let v4 = card.and_then(|card| card.v4).map(|v4| v4.to_string());
    let v6 = card.and_then(|card| card.v6).map(|v6| v6.to_string());
    v4.or(v6).unwrap_or_default()
}

fn interfaces(seen: &Seen<'_>, claim: &Claimed<VmClaim>) -> Vec<InterfaceStatus> {
    let named = &seen.vm.spec.interfaces;
    let with_names = claim.value.cards.iter().zip(named);
    with_names
        .map(|(card, named)| InterfaceStatus {
            subnet: named.subnet.clone(),
            mac: card.mac.to_string(),
            ipv4: card.v4.map(|v4| v4.to_string()),
            ipv6: card.v6.map(|v6| v6.to_string()),
        })
        .collect()
}

#[cfg(test)]
mod tests;
