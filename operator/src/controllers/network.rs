//! The network of a department, projected onto the boards of the hosts that carry it.

use std::collections::BTreeSet;
use std::sync::Arc;

use dc_crds::{Subnet, VirtualMachine, Zone};
use dc_operator_core::claims::Claims;
use dc_operator_core::network::{
    Projection, Seen, Step, SubnetSeen, VmSeen, plan, project, published,
};
use dc_operator_core::object;
use dc_operator_core::place::zone_type;
use dc_operator_core::words::Standing;
use dc_types::claim::CardClaim;
use dc_types::{DepartmentName, Service, SubnetUid};

use super::look::Look;
use super::queue::Ended;
use super::settle::Settled;
use super::{Context, lock};
use crate::stores::{Key, Kind};

/// Every department there is, as an object, as a claim, or on the boards.
pub fn keys(context: &Context) -> Vec<Key> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let departments = context.stores.departments.keys(Kind::Department);
    names.extend(departments.iter().map(|key| key.name.to_string()));
    names.extend(context.parts.ledger.with_claims(|claims| {
        let names = claims.departments.keys();
        names.map(ToString::to_string).collect::<Vec<_>>()
    }));
    names.extend(lock(&context.networks).keys().map(ToString::to_string));
    names
        .iter()
        .map(|name| Key::global(Kind::Network, name))
        .collect()
}

pub fn reconcile(context: &Context, key: &Key) -> Settled {
    let Ok(department) = DepartmentName::new(&*key.name) else {
        return Settled::gone();
    };
    let mut look = Look::new(context, key);
    let subnets = read_subnets(&mut look, &department);
    look.end();
    let overlay = context.hosts.overlay();
    let new = context.parts.ledger.with_claims(|claims| {
        let Some(claim) = claims.departments.get(&department) else {
            return Projection::default();
        };
        project(&Seen {
            department: &department,
            owner: &claim.value.owner,
            claim,
            subnets: subnets_seen(claims, &subnets),
            vms: vms_seen(context, claims, &department, &subnets),
            hosts: &overlay,
        })
    });
    let mut networks = lock(&context.networks);
    let old = networks.remove(&department).unwrap_or_default();
    for step in plan(&old, &new) {
        match step {
            Step::Set(host, item) => context.parts.board.set(&host, item),
            Step::Unset(host, item) => context.parts.board.unset(&host, &item),
        }
    }
    if new != Projection::default() {
        networks.insert(department, new);
    }
    Settled {
        standing: Standing::Settled,
        ended: Ended::Well,
    }
}

type Subnets = Vec<(Arc<Subnet>, Option<Arc<Zone>>)>;

fn read_subnets(look: &mut Look<'_>, department: &DepartmentName) -> Subnets {
    let subnets = look
        .context
        .stores
        .subnets
        .in_namespace(department.as_str());
    let mut read = Vec::new();
    for subnet in subnets {
        if let Some(uid) = object::uid(&subnet.metadata) {
            look.claim(uid.0);
        }
        let zone = look.zone("", &subnet.spec.zone);
        read.push((subnet, zone));
    }
    read
}

/// A subnet whose zone is gone lets nothing in.
fn subnets_seen<'a>(claims: &'a Claims, subnets: &'a Subnets) -> Vec<SubnetSeen<'a>> {
    let seen = subnets.iter().filter_map(|(subnet, zone)| {
        let uid = object::uid(&subnet.metadata)?;
        let zone = zone.as_ref()?;
        Some(SubnetSeen {
            name: subnet.metadata.name.as_deref()?,
            claim: claims.subnets.get(&SubnetUid(uid.0))?,
            zone: zone_type(zone.spec.type_),
            ingress: &zone.spec.ingress,
            dns: &subnet.spec.dns,
        })
    });
    seen.collect()
}

fn vms_seen<'a>(
    context: &Context,
    claims: &'a Claims,
    department: &DepartmentName,
    subnets: &Subnets,
) -> Vec<VmSeen<'a>> {
    let claimed = claims.vms_in(department.as_str());
    claimed
        .map(|claim| {
            let owner = &claim.value.owner;
            let vm = context.stores.vms.get(&owner.namespace, &owner.name);
            let vm = vm.filter(|vm| object::uid(&vm.metadata) == Some(owner.uid));
            VmSeen {
                claim,
                published: vm
                    .map(|vm| services(&vm, &claim.value.cards, subnets))
                    .unwrap_or_default(),
            }
        })
        .collect()
}

/// What each card publishes: what its object names now and its claim has. What is taken out of the
/// object is closed at once, what is new in it is open once it is claimed. Nothing where a name is not
/// the zone's.
fn services(vm: &VirtualMachine, claimed: &[CardClaim], subnets: &Subnets) -> Vec<Vec<Service>> {
    let cards = vm.spec.interfaces.iter().zip(claimed);
    cards
        .map(|(card, claimed)| {
            let named = |subnet: &Subnet| subnet.metadata.name.as_ref() == Some(&card.subnet);
            let found = subnets.iter().find(|(subnet, _)| named(subnet));
            let zone = found.and_then(|(_, zone)| zone.as_deref());
            let named = card.publish.iter().cloned();
            let open: Vec<String> = named
                .filter(|name| claimed.publish.contains(name))
                .collect();
            let services = zone.map(|zone| published(zone, &open));
            services.and_then(Result::ok).unwrap_or_default()
        })
        .collect()
}
