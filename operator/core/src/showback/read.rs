//! What each system of a department holds now.

use std::collections::BTreeMap;

use dc_crds::usage::{StorageHeld, SystemHeld};
use dc_crds::{VirtualMachine, Volume};
use dc_types::{Bytes, InstanceId};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::claims::Claims;
use crate::object;
use crate::quota::PoolClasses;

/// The objects of one department that claims are made for.
pub struct Owned<'a> {
    pub vms: &'a [&'a VirtualMachine],
    pub volumes: &'a [&'a Volume],
    pub classes: &'a PoolClasses,
}

/// By system, in the order of their names; a system that holds nothing is left out.
#[must_use]
pub fn held(owned: &Owned<'_>, claims: &Claims) -> Vec<SystemHeld> {
    let mut systems: BTreeMap<&str, SystemHeld> = BTreeMap::new();
    for vm in owned.vms {
        let claim = id(&vm.metadata).and_then(|id| claims.vms.get(&id));
        let Some(claim) = claim else { continue };
        let held = systems.entry(&vm.spec.system).or_default();
        held.virtual_machines += 1;
        held.vcpus += i64::from(claim.value.vcpus);
        held.memory_mib += number(claim.value.memory.0);
        let cards = claim.value.cards.iter();
        let addresses =
            cards.map(|card| i64::from(card.v4.is_some()) + i64::from(card.v6.is_some()));
        held.addresses += addresses.sum::<i64>();
    }
    for volume in owned.volumes {
        let claim = id(&volume.metadata).and_then(|id| claims.volumes.get(&id));
        let Some(claim) = claim else { continue };
        let held = systems.entry(&volume.spec.system).or_default();
        // The pool itself has lost its object: what lies there has no class any more.
        let pool = claim.value.pool.as_str();
        let class = owned.classes.of(pool).unwrap_or("unknown");
        add(&mut held.storage, class, claim.value.size);
    }
    let named = systems.into_iter().map(|(system, held)| SystemHeld {
        system: system.to_owned(),
        ..held
    });
    named.collect()
}

fn id(meta: &ObjectMeta) -> Option<InstanceId> {
    object::uid(meta).map(|uid| InstanceId(uid.0))
}

fn number(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

fn add(storage: &mut Vec<StorageHeld>, class: &str, size: Bytes) {
    let size_mib = number(size.0.div_ceil(1 << 20));
    let at = storage.partition_point(|held| held.class.as_str() < class);
    match storage.get_mut(at) {
        Some(held) if held.class == class => held.size_mib += size_mib,
        _ => storage.insert(
            at,
            StorageHeld {
                class: class.to_owned(),
                size_mib,
            },
        ),
    }
}
