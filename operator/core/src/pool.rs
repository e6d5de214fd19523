//! Storage pools: what their host says of them, and what of them was promised.

use dc_crds::StoragePool;
use dc_crds::pool::DriverKind;
use dc_types::plan::ItemKind;
use dc_types::report::{PoolFacts, PoolPlace, Verb};
use dc_types::{HostName, ObjectRef, PoolName};

use crate::claims::Claims;
use crate::object::{self, Life};
use crate::place::Presence;
use crate::plan::Plan;
use crate::words::{Fact, HomeFact};

pub mod forecast;
pub mod status;

pub use status::status;

/// What was read for one pool.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub pool: &'a StoragePool,
    pub me: &'a ObjectRef,
    pub name: &'a PoolName,
    /// The storage host that its driver names.
    pub host: Option<&'a HostName>,
    pub presence: Presence,
    pub facts: Option<&'a PoolFacts>,
    pub claims: &'a Claims,
    /// Images that are to be kept here.
    pub images: &'a [String],
}

/// Why the driver of a pool cannot do something, when it cannot. A pool that has not been heard of
/// is not said to lack anything.
#[must_use]
pub fn lacks(facts: Option<&PoolFacts>, verb: Verb) -> Option<&str> {
    let lack = facts?.lacks.iter().find(|lack| lack.verb == verb)?;
    Some(&lack.why)
}

/// A pool that its host serves by another driver than its object names: whoever believed the one
/// would place machines where the other does not let them in.
pub(crate) fn served_otherwise(pool: &StoragePool, facts: &PoolFacts) -> Option<Fact> {
    let served = match &facts.place {
        PoolPlace::Iscsi => DriverKind::Iscsi,
        PoolPlace::Rbd(_) => DriverKind::Rbd,
        PoolPlace::Directory { folder: _ } => DriverKind::Directory,
    };
    let driver = &pool.spec.driver;
    (driver.kind() != served).then(|| {
        Fact::Home(HomeFact::PoolServedOtherwise {
            pool: facts.pool.to_string(),
            driver: driver.name(),
            host: driver.host().unwrap_or_default().to_owned(),
            served: served.name(),
        })
    })
}

/// A pool goes when no volume, image or release of it is left.
#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    let Some(host) = seen.host else {
        return Plan::found(Fact::PoolMissing {
            pool: seen.name.to_string(),
        });
    };
    if object::life(&seen.pool.metadata) == Life::Deleting {
        return plan_deletion(seen, host);
    }
    let (pool, name) = (seen.name.to_string(), host.to_string());
    match (seen.presence, seen.facts) {
        (Presence::Never, _) => Plan::found(Fact::HostNeverSeen { host: name }),
        (Presence::Silent, _) => Plan::found(Fact::HostSilent { host: name }),
        (Presence::Connected, None) => Plan::found(Fact::PoolNotServed { pool, host: name }),
        (Presence::Connected, Some(facts)) => match &facts.fault {
            Some(fault) => Plan::found(Fact::PoolFaulty {
                pool,
                fault: fault.clone(),
            }),
            None => Plan {
                found: served_otherwise(seen.pool, facts).into_iter().collect(),
                ..Plan::default()
            },
        },
    }
}

fn plan_deletion(seen: &Seen<'_>, host: &HostName) -> Plan {
    let volumes = seen.claims.volumes_on(host);
    let volumes = volumes.filter(|volume| volume.value.pool == *seen.name);
    let mut by: Vec<String> = volumes
        .map(|volume| format!("volume {}", volume.value.owner))
        .collect();
    let moves = seen.claims.moves.values();
    let moves = moves.filter(|second| second.value.pool == *seen.name);
    by.extend(moves.map(|second| format!("the move of volume {}", second.value.owner)));
    let snapshots = seen.claims.snapshots.values();
    let snapshots = snapshots.filter(|snapshot| snapshot.value.pool == *seen.name);
    by.extend(snapshots.map(|snapshot| format!("snapshot {}", snapshot.value.owner)));
    by.extend(seen.images.iter().map(|image| format!("image {image}")));
    let releases = seen.claims.releases_of(host);
    let of_volumes = releases.filter(|r| {
        let kind = r.value.release.key.kind;
        matches!(kind, ItemKind::Volume | ItemKind::Snapshot)
    });
    by.extend(of_volumes.map(|r| format!("release of {}", r.value.release.key)));
    match by.is_empty() {
        true => Plan::let_go(),
        false => Plan::found(Fact::StillUsed { by }),
    }
}

#[cfg(test)]
mod tests;
