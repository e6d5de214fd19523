//! What people read of a host.

use dc_crds::condition::types;
use dc_crds::{ConditionStatus, HostStatus};

use super::plan::roles_text;
use super::{Seen, memory_limit, role, vcpu_limit};
use crate::conditions::{Draft, Judged, merge};
use crate::plan::Plan;
use crate::words::size::human_memory;
use crate::words::{Fact, all_words};

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, judged: &Judged<'_>) -> HostStatus {
    let old = seen.host.status.clone().unwrap_or_default();
    let asked: Vec<_> = seen.host.spec.roles.iter().map(|r| role(*r)).collect();
    let roles = roles_text(&asked);
    let words = all_words(&plan.found).unwrap_or_else(|| match seen.host.spec.maintenance {
        true => Fact::Maintenance.words(),
        false => Fact::Carries {
            roles: roles.clone(),
        }
        .words(),
    });
    let joined = match seen.claims.hosts.contains_key(seen.name) {
        true => Draft::new(types::JOINED, ConditionStatus::True, Fact::Ready.words()),
        false => Draft::new(
            types::JOINED,
            ConditionStatus::False,
            Fact::HostNeverSeen {
                host: seen.name.to_string(),
            }
            .words(),
        ),
    };
    let promise = seen.claims.promised_on(seen.name);
    // What a silent host was last seen to be stays readable.
    let facts = seen.facts;
    HostStatus {
        conditions: merge(&old.conditions, vec![Draft::ready(words), joined], judged),
        roles_text: roles,
        virtual_machines: i64::try_from(promise.vms).unwrap_or(i64::MAX),
        vcpus_text: match facts {
            Some(facts) => format!("{} of {}", promise.vcpus, vcpu_limit(seen.host, facts)),
            None => old.vcpus_text,
        },
        memory_text: match facts {
            Some(facts) => format!(
                "{} of {}",
                human_memory(promise.memory),
                human_memory(memory_limit(seen.host, facts))
            ),
            None => old.memory_text,
        },
        boot_id: facts.map(|f| f.boot_id.clone()).or(old.boot_id),
        agent_version: seen.version.map(str::to_owned).or(old.agent_version),
        accelerator: facts
            .map(|f| format!("{:?}", f.accelerator).to_lowercase())
            .or(old.accelerator),
        machine_types: facts
            .map(|f| f.machine_types.iter().take(8).cloned().collect())
            .unwrap_or(old.machine_types),
        overlay_address: facts.map(|f| f.overlay.to_string()).or(old.overlay_address),
    }
}
