//! The next step of one host: only its deletion asks for anything.

use super::Seen;
use crate::claims::host_key;
use crate::object::{self, Life};
use crate::place::Presence;
use crate::plan::Plan;
use crate::txn::Txn;
use crate::words::Fact;

#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    if object::life(&seen.host.metadata) == Life::Deleting {
        return plan_deletion(seen);
    }
    let name = seen.name.to_string();
    match seen.presence {
        Presence::Never => Plan::found(Fact::HostNeverSeen { host: name }),
        Presence::Silent => Plan::found(Fact::HostSilent { host: name }),
        Presence::Connected => match roles_differ(seen) {
            Some(fact) => Plan::found(fact),
            None => Plan::default(),
        },
    }
}

fn roles_differ(seen: &Seen<'_>) -> Option<Fact> {
    let facts = seen.facts?;
    let mut asked: Vec<_> = seen
        .host
        .spec
        .roles
        .iter()
        .map(|r| super::role(*r))
        .collect();
    let mut found = facts.roles.clone();
    asked.sort_unstable();
    found.sort_unstable();
    (asked != found).then(|| Fact::RolesDiffer {
        asked: roles_text(&asked),
        found: roles_text(&found),
    })
}

pub(super) fn roles_text(roles: &[dc_types::report::Role]) -> String {
    let mut words: Vec<String> = roles
        .iter()
        .map(|role| format!("{role:?}").to_lowercase())
        .collect();
    words.sort_unstable();
    words.join(",")
}

/// A host goes when no claim names it and it owes no release; its certificate is then worthless.
fn plan_deletion(seen: &Seen<'_>) -> Plan {
    let vms = seen.claims.vms_on(seen.name);
    let vms = vms.map(|vm| format!("machine {}", vm.value.owner));
    let volumes = seen.claims.volumes_on(seen.name);
    let volumes = volumes.map(|volume| format!("volume {}", volume.value.owner));
    let moves = seen.claims.moves.values();
    let moves = moves.filter(|second| second.value.host == *seen.name);
    let moves = moves.map(|second| format!("the move of volume {}", second.value.owner));
    let releases = seen.claims.releases_of(seen.name);
    let releases = releases.map(|r| format!("release of {}", r.value.release.key));
    let volumes = volumes.chain(moves);
    let by: Vec<String> = vms.chain(volumes).chain(releases).collect();
    if !by.is_empty() {
        return Plan::found(Fact::StillUsed { by });
    }
    match seen.claims.hosts.get(seen.name) {
        None => Plan::let_go(),
        Some(identity) => {
            let key = host_key(seen.name);
            Plan::claim(
                Txn::new(format!("host {}: let go", seen.name))
                    .unchanged(key.clone(), identity.revision)
                    .delete(key),
            )
        }
    }
}
