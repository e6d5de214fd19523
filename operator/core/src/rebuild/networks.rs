//! Segment ids and prefixes: from the newest network that a host holds, else from the status of the
//! Subnet.

use std::net::IpAddr;

use super::{
    BTreeMap, BTreeSet, DepartmentClaim, DepartmentName, Epoch, Inventory, ItemBody, NetworkItem,
    ObjectRef, ObjectUid, Objects, Outcome, Subnet, SubnetClaim, SubnetUid, Vni, keys,
};
use dc_crds::Department;
use ipnet::IpNet;

use crate::object::{self, object_ref};

pub(super) fn rebuild(outcome: &mut Outcome, inventories: &[Inventory], objects: &Objects) {
    let networks = newest(inventories);
    rebuild_transits(outcome, &networks, &objects.departments);
    let mut subnets: BTreeMap<SubnetUid, SubnetClaim> = BTreeMap::new();
    for network in networks.values() {
        for segment in &network.segments {
            let owner = ObjectRef {
                namespace: network.department.to_string(),
                name: segment.name.clone(),
                uid: ObjectUid(segment.subnet.0),
            };
            let claim = SubnetClaim {
                subnet: segment.subnet,
                owner,
                vni: segment.vni,
                v4: segment.v4,
                v6: segment.v6,
            };
            subnets.insert(segment.subnet, claim);
        }
    }
    for subnet in &objects.subnets {
        if let Some(claim) = claim_of_status(subnet) {
            subnets.entry(claim.subnet).or_insert(claim);
        }
    }
    let zones = zones(&objects.subnets);
    for claim in subnets.values() {
        put_subnet(outcome, claim, zones.get(&claim.subnet).copied());
    }
    note_strangers(outcome, &subnets);
}

/// The newest network of each department, wherever it lies.
fn newest(inventories: &[Inventory]) -> BTreeMap<&DepartmentName, &NetworkItem> {
    let mut newest: BTreeMap<&DepartmentName, (Epoch, &NetworkItem)> = BTreeMap::new();
    for item in inventories.iter().flat_map(|inventory| &inventory.items) {
        let ItemBody::Network(network) = &item.body else {
            continue;
        };
        let known = newest.get(&network.department).map(|(epoch, _)| *epoch);
        if known.is_none_or(|known| known < item.epoch) {
            newest.insert(&network.department, (item.epoch, network));
        }
    }
    let networks = newest.into_iter();
    networks
        .map(|(name, (_, network))| (name, network))
        .collect()
}

fn rebuild_transits(
    outcome: &mut Outcome,
    networks: &BTreeMap<&DepartmentName, &NetworkItem>,
    departments: &[Department],
) {
    for (name, network) in networks {
        let objects = departments.iter();
        let mut objects = objects.filter_map(|department| object_ref(&department.metadata));
        let Some(owner) = objects.find(|d| d.name == name.as_str()) else {
            outcome.disagree(format!(
                "hosts carry a network of department {name}, but there is no such Department: \
                 apply it again, or its guests stay without an owner"
            ));
            continue;
        };
        let claim = DepartmentClaim {
            owner: owner.clone(),
            transit: network.transit,
        };
        outcome.hold(keys::vni(network.transit), owner.uid, &owner);
        outcome.put(format!("{}{name}", keys::DEPARTMENT), &claim);
    }
}

fn put_subnet(outcome: &mut Outcome, claim: &SubnetClaim, zone: Option<&Subnet>) {
    let owner = &claim.owner;
    outcome.put(keys::subnet(claim.subnet), claim);
    outcome.hold(keys::vni(claim.vni), owner.uid, owner);
    let Some(object) = zone else { return };
    // What the department chose itself is nobody else's business; what came from the zone's pool is.
    let from_pool = [
        claim
            .v4
            .filter(|_| object.spec.ipv4.is_none())
            .map(IpNet::V4),
        claim
            .v6
            .filter(|_| object.spec.ipv6.is_none())
            .map(IpNet::V6),
    ];
    for net in from_pool.into_iter().flatten() {
        let key = keys::prefix(&object.spec.zone, &net.to_string());
        outcome.hold(key, owner.uid, owner);
    }
}

fn zones(subnets: &[Subnet]) -> BTreeMap<SubnetUid, &Subnet> {
    let uid = |subnet: &Subnet| Some(SubnetUid(object::uid(&subnet.metadata)?.0));
    let named = subnets
        .iter()
        .filter_map(|subnet| Some((uid(subnet)?, subnet)));
    named.collect()
}

fn claim_of_status(subnet: &Subnet) -> Option<SubnetClaim> {
    let status = subnet.status.as_ref()?;
    let owner = object_ref(&subnet.metadata)?;
    Some(SubnetClaim {
        subnet: SubnetUid(owner.uid.0),
        owner,
        vni: Vni(status.vni?),
        v4: status.ipv4.as_ref().and_then(|net| net.parse().ok()),
        v6: status.ipv6.as_ref().and_then(|net| net.parse().ok()),
    })
}

/// Addresses that lie in a subnet which nobody knows any more.
fn note_strangers(outcome: &mut Outcome, subnets: &BTreeMap<SubnetUid, SubnetClaim>) {
    let strange: BTreeSet<SubnetUid> = outcome
        .keys
        .keys()
        .filter_map(|key| key.strip_prefix("address/")?.split_once('/'))
        .filter(|(_, address)| address.parse::<IpAddr>().is_ok())
        .filter_map(|(subnet, _)| subnet.parse().ok())
        .filter(|subnet| !subnets.contains_key(subnet))
        .collect();
    for subnet in strange {
        outcome.disagree(format!(
            "machines have addresses in subnet {subnet}, which no host carries and no Subnet is: \
             they keep them, and reach nobody"
        ));
    }
}
