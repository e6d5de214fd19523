//! Subnets: a prefix of each family and a VXLAN network id, claimed for life.
//!
//! A prefix that the subnet names is taken as it is, if it is private and overlaps no other of the
//! department; else the first gap of the zone's pool is. It is given back when no machine holds an
//! address of it.

use dc_crds::{Subnet, Zone};
use dc_types::claim::SubnetClaim;
use dc_types::{ObjectRef, SubnetUid};

use crate::claims::{Claimed, Claims};
use crate::quota::Allowance;
use crate::volume::Named;

pub mod allocate;
pub mod plan;
pub mod status;
pub mod validate;

pub use plan::plan;
pub use status::status;
pub use validate::{ValidSubnet, validate};

/// What was read for one subnet.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub subnet: &'a Subnet,
    pub me: &'a ObjectRef,
    /// Of the system it names, if it names one.
    pub system: Named,
    pub zone: Option<&'a Zone>,
    pub claims: &'a Claims,
    pub allowance: Allowance<'a>,
    /// The other subnets of the department that have a claim: their names and claims.
    pub siblings: &'a [(String, SubnetClaim)],
}

#[must_use]
pub fn uid(me: &ObjectRef) -> SubnetUid {
    SubnetUid(me.uid.0)
}

impl<'a> Seen<'a> {
    #[must_use]
    pub fn claim(&self) -> Option<&'a Claimed<SubnetClaim>> {
        self.claims.subnets.get(&uid(self.me))
    }

    /// The machines that hold an address here.
    #[must_use]
    pub fn machines(&self) -> Vec<String> {
        let me = uid(self.me);
        let here = self.claims.vms_in(&self.me.namespace);
        here.filter(|vm| vm.value.cards.iter().any(|card| card.subnet == me))
            .map(|vm| format!("machine {}", vm.value.owner.name))
            .collect()
    }

    #[must_use]
    pub fn addresses_used(&self) -> usize {
        let me = uid(self.me);
        let cards = self
            .claims
            .vms_in(&self.me.namespace)
            .flat_map(|vm| &vm.value.cards);
        cards.filter(|card| card.subnet == me).count()
    }
}

#[cfg(test)]
mod tests;
