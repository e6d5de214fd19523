//! Choosing a prefix and a network id: the same choice from the same claims, every time.

use dc_crds::zone::{PoolV4, PoolV6};
use dc_types::Vni;
use dc_types::claim::keys;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::validate::overlaps;
use crate::claims::Claims;

/// The first prefix of the pool that overlaps none that is claimed, by whomever.
#[must_use]
pub fn first_v4(claims: &Claims, pool: &PoolV4) -> Option<Ipv4Net> {
    let taken = claims.subnets.values().filter_map(|s| s.value.v4);
    let pool_net = IpNet::V4(pool.cidr);
    let taken: Vec<IpNet> = taken
        .map(IpNet::V4)
        .filter(|net| overlaps(*net, pool_net))
        .collect();
    let mut candidates = pool.cidr.subnets(pool.prefix_length).ok()?;
    candidates.find(|net| !taken.iter().any(|other| overlaps(IpNet::V4(*net), *other)))
}

/// As [`first_v4`]: each subnet gets a /64.
#[must_use]
pub fn first_v6(claims: &Claims, pool: &PoolV6) -> Option<Ipv6Net> {
    let taken = claims.subnets.values().filter_map(|s| s.value.v6);
    let pool_net = IpNet::V6(pool.cidr);
    let taken: Vec<IpNet> = taken
        .map(IpNet::V6)
        .filter(|net| overlaps(*net, pool_net))
        .collect();
    let mut candidates = pool.cidr.trunc().subnets(64).ok()?;
    candidates.find(|net| !taken.iter().any(|other| overlaps(IpNet::V6(*net), *other)))
}

/// A network id that nobody holds: the one after the highest, so that an id just given back is not
/// at once another's; the first gap when the highest is the last there is.
#[must_use]
pub fn free_vni(claims: &Claims) -> Option<Vni> {
    let subnets = claims.subnets.values().map(|s| s.value.vni);
    let transits = claims.departments.values().map(|d| d.value.transit);
    let highest = subnets.chain(transits).max();
    let next = highest.map_or(Vni::FIRST.0, |vni| vni.0.saturating_add(1));
    let free = |vni: &u32| !claims.held.contains_key(&keys::vni(Vni(*vni)));
    (next.max(Vni::FIRST.0)..=Vni::LAST.0)
        .find(free)
        .or_else(|| (Vni::FIRST.0..=Vni::LAST.0).find(free))
        .map(Vni)
}
