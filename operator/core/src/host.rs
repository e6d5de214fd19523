//! Hosts: what their agents say of them, what was promised on them, and whether they may go.

use dc_crds::Host;
use dc_crds::host::HostRole;
use dc_types::report::{HostFacts, Role};
use dc_types::{Bytes, HostName, MiB, ObjectRef};

use crate::claims::Claims;
use crate::place::{Duty, HostState, Presence, Service, zone_type};

pub mod plan;
pub mod status;

pub use plan::plan;
pub use status::status;

/// What was read for one host.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub host: &'a Host,
    pub me: &'a ObjectRef,
    pub name: &'a HostName,
    pub presence: Presence,
    pub facts: Option<&'a HostFacts>,
    pub version: Option<&'a str>,
    pub claims: &'a Claims,
}

#[must_use]
pub fn role(role: HostRole) -> Role {
    match role {
        HostRole::Compute => Role::Compute,
        HostRole::Storage => Role::Storage,
        HostRole::Gateway => Role::Gateway,
    }
}

/// The host as placement knows it. A host carries machines when its object asks for that and its
/// agent is set up for it; before the agent has spoken, what the object asks is believed.
#[must_use]
pub fn placement_state(
    host: &Host,
    name: &HostName,
    presence: Presence,
    facts: Option<&HostFacts>,
) -> HostState {
    let asked = host.spec.roles.contains(&HostRole::Compute);
    let able = facts.is_none_or(|facts| facts.roles.contains(&Role::Compute));
    HostState {
        name: name.clone(),
        duty: match asked && able {
            true => Duty::Compute,
            false => Duty::Other,
        },
        presence,
        service: match host.spec.maintenance || host.metadata.deletion_timestamp.is_some() {
            true => Service::Maintenance,
            false => Service::Open,
        },
        zones: host
            .spec
            .zones
            .iter()
            .map(|kind| zone_type(*kind))
            .collect(),
        vcpu_limit: facts.map_or(0, |facts| vcpu_limit(host, facts)),
        memory_limit: facts.map_or(MiB(0), |facts| memory_limit(host, facts)),
        machine_types: facts.map(|f| f.machine_types.clone()).unwrap_or_default(),
        firmwares: facts.map(|f| f.firmwares.clone()).unwrap_or_default(),
        cpu_models: facts.map(|f| f.cpu_models.clone()).unwrap_or_default(),
    }
}

/// vCPUs it may promise.
#[must_use]
pub fn vcpu_limit(host: &Host, facts: &HostFacts) -> u64 {
    u64::from(facts.vcpus) * u64::from(host.spec.vcpu_ratio)
}

/// Memory it may promise: what it has less what it keeps for itself.
#[must_use]
pub fn memory_limit(host: &Host, facts: &HostFacts) -> MiB {
    let reserved = host.spec.reserved_memory.parse::<Bytes>();
    let reserved = reserved.map_or(MiB(0), Bytes::to_mib);
    MiB(facts.memory.0.saturating_sub(reserved.0))
}

#[cfg(test)]
mod tests;
